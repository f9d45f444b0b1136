//! Regular expressions over bytes with the grammar nginx's users write.
//! Where a pattern may stand and what it means is left to weir-config and weir-http.

mod captures;
mod class;
mod engine;
mod escape;
mod property;
mod translate;

use std::fmt;
use std::sync::OnceLock;

pub use captures::Captures;

use engine::Engine;
use translate::{Dollar, Translation};

/// A compiled pattern.
///
/// The grammar is PCRE's as nginx compiles it: bytes, not characters, unless the pattern starts with
/// `(*UTF8)`. Where the pattern has no look-around, backreference, atomic group or possessive quantifier,
/// matching takes time linear in the text. Others backtrack up to a limit; running over it is no match.
#[derive(Debug)]
pub struct Pattern {
    source: String,
    caseless: bool,
    /// With `$` as the very end: right for every text that does not end in a line feed.
    engine: Engine,
    /// PCRE's `$` also stands before a last line feed. Compiled when such a text comes.
    before_line_feed: Option<OnceLock<Option<Engine>>>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A flaw of the pattern in PCRE's words as nginx prints them, or something that PCRE takes and Weir
    /// does not.
    pub fn new(source: &str, caseless: bool) -> Result<Self, PatternError> {
        let strict = translate::translate(source, Dollar::End)?;
        let engine =
            Engine::new(&strict, caseless).map_err(|reason| PatternError::unknown(source, reason))?;
        let before_line_feed = strict.dollar.then(OnceLock::new);
        Ok(Self { source: source.to_owned(), caseless, engine, before_line_feed })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether a match is anywhere in the text.
    #[must_use]
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.engine_for(text).is_match(text)
    }

    /// Finds the first match; answers whether there is one. Without one the captures are empty.
    pub fn captures(&self, text: &[u8], captures: &mut Captures) -> bool {
        self.engine_for(text).captures(text, captures)
    }

    /// The named groups with their numbers, in the pattern's order.
    pub fn names(&self) -> impl Iterator<Item = (u16, &str)> {
        self.engine.names.iter().map(|(group, name)| (*group, name.as_str()))
    }

    /// The number of groups, without group 0, which is the whole match.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.engine.groups
    }

    /// Whether matching takes time linear in the text.
    #[must_use]
    pub fn linear(&self) -> bool {
        self.engine.linear()
    }

    fn engine_for(&self, text: &[u8]) -> &Engine {
        let Some(lazy) = self.before_line_feed.as_ref().filter(|_| text.last() == Some(&b'\n')) else {
            return &self.engine;
        };
        let compile = || {
            let translation: Translation = translate::translate(&self.source, Dollar::BeforeLineFeed).ok()?;
            Engine::new(&translation, self.caseless).ok()
        };
        lazy.get_or_init(compile).as_ref().unwrap_or(&self.engine)
    }
}

/// Why a pattern cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// PCRE's words.
    reason: String,
    source: String,
    /// Offset in bytes at which PCRE gave up; the length of the pattern when that is its end.
    offset: usize,
}

impl PatternError {
    pub(crate) fn new(source: &str, reason: &str, offset: usize) -> Self {
        Self { reason: reason.to_owned(), source: source.to_owned(), offset }
    }

    /// The engine's own words, for what the translation let through.
    fn unknown(source: &str, reason: String) -> Self {
        Self { reason, source: source.to_owned(), offset: source.len() }
    }

    /// Offset in bytes into the pattern, at most its length.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcre2_compile() failed: {} in \"{}\"", self.reason, self.source)?;
        match self.source.get(self.offset..) {
            None | Some("") => Ok(()),
            Some(rest) => write!(f, " at \"{rest}\""),
        }
    }
}

impl std::error::Error for PatternError {}
