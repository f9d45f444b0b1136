//! `include` lines: their forms, checks and patterns. What is found is left to the reader.

use super::line::{Line, is_separator, trim};

/// Paths that the braces of one pattern may stand for.
const ALTERNATIVES: usize = 1000;

/// What counts as an error when files are included; all else is a warning, or silent for a pattern without match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checks {
    /// A file cannot be read, is a folder or executable.
    pub(super) read: bool,
    /// A file without wildcards is missing.
    pub(super) found: bool,
    /// A pattern with wildcards matches nothing.
    pub(super) wildcard: bool,
    /// One of the paths in braces is missing.
    pub(super) brace: bool,
}

impl Checks {
    pub(super) const ALL: Self = Self { read: true, found: true, wildcard: true, brace: true };

    fn with(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            found: self.found || other.found,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }

    /// Applies the words of `include_check`; answers those that it does not know.
    pub(super) fn set<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let (mut first, mut unknown) = (true, Vec::new());
        for word in words {
            let (name, value) = match word.strip_prefix('-') {
                Some(name) => (name, false),
                None => (word.strip_prefix('+').unwrap_or(word), true),
            };
            if std::mem::take(&mut first) && !word.starts_with(['+', '-']) {
                *self = Self::default();
            }
            match name {
                "read" | "readable" => self.read = value,
                "match" => (self.read, self.found) = (self.read || value, value),
                "wildcard_match" => (self.read, self.wildcard) = (self.read || value, value),
                "brace_match" => (self.read, self.brace) = (self.read || value, value),
                _ => unknown.push(word),
            }
        }
        if first {
            *self = Self::ALL;
        }
        unknown
    }
}

/// The pattern of an `include` line and the checks that hold for it.
pub(super) fn read(line: &Line, checks: Checks) -> Option<(Line, Checks)> {
    if !line.starts_with("include") {
        return None;
    }
    let value = |at: usize| line.letters.get(at).map(|letter| letter.value);
    let own = Checks { read: true, ..Checks::default() };
    let (len, own) = match (value(7)?, value(8)) {
        (blank, _) if is_separator(blank) => (8, Checks::default()),
        (_, Some(blank)) if !is_separator(blank) => return None,
        (_, None) => return None,
        ('r', _) => (9, own),
        ('m', _) => (9, Checks { found: true, ..own }),
        ('w', _) => (9, Checks { found: true, wildcard: true, ..own }),
        ('b', _) => (9, Checks { brace: true, ..own }),
        ('a', _) => (9, Checks::ALL),
        _ => return None,
    };
    let letters = trim(line.letters.get(len..).unwrap_or_default()).to_vec();
    Some((Line { file: line.file, letters }, checks.with(own)))
}

/// The paths that the braces of a pattern stand for, as the shell's `{a,b}`; none if there are too many.
pub(super) fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let (mut open, mut done) = (vec![pattern.to_owned()], Vec::new());
    while let Some(pattern) = open.pop() {
        match braces(&pattern) {
            None => done.push(pattern),
            Some((start, parts, end)) => {
                let (before, after) = (&pattern[..start], &pattern[end..]);
                open.extend(parts.iter().rev().map(|part| format!("{before}{part}{after}")));
            }
        }
        if open.len() + done.len() > ALTERNATIVES {
            return None;
        }
    }
    Some(done)
}

/// The first `{a,b}`: where it starts, its parts, and where it ends. `{}` is text.
fn braces(pattern: &str) -> Option<(usize, Vec<&str>, usize)> {
    let (mut depth, mut start, mut part) = (0_usize, 0, 0);
    let mut parts = Vec::new();
    let mut letters = pattern.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '{' if depth == 0 && pattern[at..].starts_with("{}") => {
                letters.next();
            }
            '{' => {
                if depth == 0 {
                    (start, part) = (at, at + 1);
                }
                depth += 1;
            }
            ',' if depth == 1 => {
                parts.push(&pattern[part..at]);
                part = at + 1;
            }
            '}' if depth == 1 => {
                parts.push(&pattern[part..at]);
                return Some((start, parts, at + 1));
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}
