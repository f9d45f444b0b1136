//! Where something stands, over the trees of both grammars.

use weir_syntax::{SourceFile, Span};

/// A place in the files of one node.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub files: &'a [SourceFile],
    /// Absent where the files do not say it at all.
    pub span: Option<Span>,
}

impl Place<'_> {
    /// Path, line and column, the latter counted from 1.
    #[must_use]
    pub fn position(&self) -> Option<(&str, usize, usize)> {
        let span = self.span?;
        let file = self.files.get(span.file as usize)?;
        let (line, column) = file.position(span.start);
        Some((&file.path, line, column))
    }
}

impl std::fmt::Display for Place<'_> {
    /// `FILE:LINE`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.position() {
            Some((path, line, _)) => write!(f, "{path}:{line}"),
            None => f.write_str("the defaults"),
        }
    }
}
