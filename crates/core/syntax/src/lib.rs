//! Lexers and trees with spans for the nginx and the keepalived grammar, and diagnostics that show the line.
//! What a directive means is left to weir-config.

mod bytes;
mod diagnostic;
mod format;
pub mod keepalived;
mod lexer;
mod parser;
mod source;

pub use bytes::{decode, encode};
pub use diagnostic::{Diagnostic, Severity};
pub use format::format;
pub use parser::{Parsed, parse, parse_all};
pub use source::{Source, SourceFile, absolute};

/// A range of bytes in one file of a [`Tree`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Index into [`Tree::files`].
    pub file: u32,
    /// Offset in bytes into [`SourceFile::text`].
    pub start: u32,
    /// Offset of the first byte behind the range.
    pub end: u32,
}

impl Span {
    /// The range from the start of this one to the end of another of the same file.
    #[must_use]
    pub const fn to(self, other: Self) -> Self {
        Self { file: self.file, start: self.start, end: other.end }
    }

    /// The last byte: the line on which nginx reports a directive is the one that holds it.
    #[must_use]
    pub const fn last(self) -> Self {
        Self { start: if self.end > self.start { self.end - 1 } else { self.start }, ..self }
    }
}

/// One word of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Without quotes, escapes resolved.
    pub text: String,
    /// With its quotes.
    pub span: Span,
    pub quoted: bool,
}

/// A name, its words, and what stands between its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    pub name: Word,
    pub args: Vec<Word>,
    /// Absent when the directive ended with `;`.
    pub block: Option<Vec<Self>>,
    /// From the name to the `;` or `{`.
    pub span: Span,
    /// The `}` of a block. nginx reports what it finds wrong when it leaves a block on that line.
    pub close: Option<Span>,
}

/// All files of a configuration with every `include` expanded in its place.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Each file once, in the order in which nginx reads them.
    pub files: Vec<SourceFile>,
    pub items: Vec<Directive>,
}
