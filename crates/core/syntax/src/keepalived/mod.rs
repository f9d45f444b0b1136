//! The grammar of keepalived.conf: lines, braces, definitions, conditions, sequences, includes.

mod definition;
mod format;
mod include;
mod keywords;
mod kind;
mod line;
mod reader;
mod repeat;
mod reports;
mod tree;

pub use format::format;
pub use kind::is_keepalived;

use crate::{Diagnostic, Source, SourceFile, Span, Word};
use reader::Reader;
use tree::Builder;

/// One line: a keyword, its words, and what stands between the braces that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The keyword; in a list, such as `virtual_ipaddress`, the first word of the item.
    pub name: Word,
    /// Split on blanks, `"..."` grouped; without comments, definitions expanded.
    pub args: Vec<Word>,
    /// The text behind the keyword as it stands, definitions expanded, comments and outer blanks removed, quotes and
    /// backslashes kept: what a script's command line is split from.
    pub rest: String,
    /// Absent without braces.
    pub block: Option<Vec<Self>>,
    /// From the keyword to the end of its last word. What comes out of a definition has the place of its use.
    pub span: Span,
    /// The `}` of a block, if there is one.
    pub close: Option<Span>,
}

/// All files of a configuration with every include in its place.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Each file once, in the order of reading.
    pub files: Vec<SourceFile>,
    pub items: Vec<Statement>,
}

/// What the grammar has to know of the caller.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `-i`, what `@id` lines are compared with. Absent: the first label of [`Self::node`].
    pub config_id: Option<String>,
    /// The host's name.
    pub node: String,
    /// The environment for `${_ENV NAME}`.
    pub environment: Vec<(String, String)>,
}

/// A tree, as far as it could be read, and what was found wrong. keepalived goes on after all of it, so what is an
/// [`crate::Severity::Error`] here is what it logs as an error.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    pub tree: Tree,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file and everything it includes. A mistake never ends the reading; what could not be understood is left
/// out and reported.
#[must_use]
pub fn parse(path: &str, settings: &Settings, source: &dyn Source) -> Parsed {
    read(path, None, settings, source)
}

/// Reads a text as if it were the file at `path`, and everything it includes.
#[must_use]
pub fn parse_text(path: &str, text: &str, settings: &Settings, source: &dyn Source) -> Parsed {
    read(path, Some(text), settings, source)
}

fn read(path: &str, text: Option<&str>, settings: &Settings, source: &dyn Source) -> Parsed {
    let mut reader = Reader::new(settings, source);
    reader.start(path, text);
    Builder::new(reader).build()
}
