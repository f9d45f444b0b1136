//! Files as they were read, and where they come from.

use std::borrow::Cow;
use std::io;

use crate::bytes::encode;

/// Where files come from.
pub trait Source {
    /// The whole file.
    ///
    /// # Errors
    /// What the operating system says; its words become part of the diagnostic.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// The paths that match a pattern of `*`, `?` and `[...]`, sorted. None is not an error.
    fn glob(&self, pattern: &str) -> Vec<String>;

    /// Whether any execute bit is set: keepalived includes no such file.
    fn is_executable(&self, path: &str) -> bool {
        let _ = path;
        false
    }
}

/// One file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As nginx prints it: absolute, after the prefix was put before it.
    pub path: String,
    /// Bytes that are not UTF-8 are kept as [`crate::decode`] says.
    pub text: String,
    /// The text of `-g`, which nginx calls `command line` and does not dump.
    pub command_line: bool,
}

impl SourceFile {
    /// The file's own bytes, for a dump.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        encode(&self.text)
    }

    /// Line of an offset, counted from 1.
    #[must_use]
    pub fn line(&self, offset: u32) -> usize {
        self.before(offset).bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// Line and column (in characters) of an offset, both counted from 1.
    #[must_use]
    pub fn position(&self, offset: u32) -> (usize, usize) {
        let before = self.before(offset);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (self.line(offset), before[start..].chars().count() + 1)
    }

    /// The text of the line that holds an offset, and the offset of its first byte.
    #[must_use]
    pub fn line_text(&self, offset: u32) -> (&str, u32) {
        let start = self.before(offset).rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        (line, u32::try_from(start).unwrap_or(u32::MAX))
    }

    fn before(&self, offset: u32) -> &str {
        let mut end = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }
}

/// A path as nginx completes it: absolute ones stay, others go behind the directory.
#[must_use]
pub fn absolute(directory: &str, path: &str) -> String {
    if path.starts_with('/') || directory.is_empty() {
        path.to_owned()
    } else if directory.ends_with('/') {
        format!("{directory}{path}")
    } else {
        format!("{directory}/{path}")
    }
}
