//! The two matchers: automata where they can, backtracking where they cannot.

use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;

use crate::Captures;
use crate::translate::Translation;

/// Steps after which a backtracking match is given up.
const BACKTRACKS: usize = 1_000_000;
/// Bytes that a compiled automaton may take.
const SIZE: usize = 10 * 1024 * 1024;
/// Groups whose places fit on the stack.
const STACK: usize = 10;

#[derive(Debug)]
pub(crate) struct Engine {
    matcher: Matcher,
    /// Without group 0.
    pub(crate) groups: usize,
    pub(crate) names: Vec<(u16, String)>,
}

#[derive(Debug)]
enum Matcher {
    Linear(meta::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

impl Engine {
    pub(crate) fn new(pattern: &Translation, caseless: bool) -> Result<Self, String> {
        let matcher =
            if pattern.fancy { backtracking(pattern, caseless)? } else { linear(pattern, caseless)? };
        let names: Vec<Option<&str>> = match &matcher {
            Matcher::Linear(regex) => {
                regex.group_info().pattern_names(regex_automata::PatternID::ZERO).collect()
            }
            Matcher::Backtracking(regex) => regex.capture_names().collect(),
        };
        let groups = names.len().saturating_sub(1);
        let named = names
            .iter()
            .enumerate()
            .filter_map(|(group, name)| Some((u16::try_from(group).ok()?, (*name)?.to_owned())));
        Ok(Self { names: named.collect(), groups, matcher })
    }

    pub(crate) fn linear(&self) -> bool {
        matches!(self.matcher, Matcher::Linear(_))
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Linear(regex) => regex.is_match(text),
            Matcher::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    pub(crate) fn captures(&self, text: &[u8], captures: &mut Captures) -> bool {
        captures.clear();
        match &self.matcher {
            Matcher::Linear(regex) if self.groups < STACK => {
                let mut slots = [None; STACK * 2];
                fill(regex, text, &mut slots[..(self.groups + 1) * 2], captures)
            }
            Matcher::Linear(regex) => fill(regex, text, &mut vec![None; (self.groups + 1) * 2], captures),
            Matcher::Backtracking(regex) => {
                let Ok(Some(found)) = regex.captures(text) else { return false };
                captures.fill((0..self.groups + 1).map(|group| {
                    let place = found.get(group)?;
                    Some((place.start(), place.end()))
                }));
                true
            }
        }
    }
}

fn fill(
    regex: &meta::Regex,
    text: &[u8],
    slots: &mut [Option<NonMaxUsize>],
    captures: &mut Captures,
) -> bool {
    if regex.search_slots(&regex_automata::Input::new(text), slots).is_none() {
        return false;
    }
    captures.fill(slots.chunks_exact(2).map(|pair| Some((pair[0]?.get(), pair[1]?.get()))));
    true
}

fn linear(pattern: &Translation, caseless: bool) -> Result<Matcher, String> {
    let syntax = syntax::Config::new().unicode(pattern.unicode).utf8(false).case_insensitive(caseless);
    let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(SIZE));
    let built = meta::Builder::new().configure(config).syntax(syntax).build(&pattern.text);
    built.map(Matcher::Linear).map_err(|error| match (error.size_limit(), error.syntax_error()) {
        (Some(_), _) => "regular expression is too large".to_owned(),
        (None, Some(reason)) => last_line(&reason.to_string()),
        (None, None) => last_line(&error.to_string()),
    })
}

fn backtracking(pattern: &Translation, caseless: bool) -> Result<Matcher, String> {
    let mode =
        if pattern.unicode { fancy_regex::BytesMode::UnicodeBytes } else { fancy_regex::BytesMode::Ascii };
    let mut builder = fancy_regex::RegexBuilder::new(&pattern.text);
    builder.bytes_mode(mode).case_insensitive(caseless).backtrack_limit(BACKTRACKS).delegate_size_limit(SIZE);
    builder
        .build()
        .map(|regex| Matcher::Backtracking(Box::new(regex)))
        .map_err(|error| last_line(&error.to_string()))
}

/// The engines draw the pattern over several lines and put the reason last.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
