//! One canonical layout for a file: four spaces for a level, one directive on a line, comments kept.

/// A piece of a file as the layout sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// With its quotes and escapes.
    Word(&'a str),
    /// From the `#`, without the line's end.
    Comment(&'a str),
    Semicolon,
    Open,
    Close,
    LineFeed,
}

/// Lays a file out. Words stay as they are written; runs of empty lines become one. A text that cannot be
/// read is handed back as it is in its rest: the result means what the text meant.
#[must_use]
pub fn format(text: &str) -> String {
    let mut layout = Layout { out: String::with_capacity(text.len() + text.len() / 8), ..Layout::default() };
    let mut rest = text;
    while let Some((piece, after)) = next(rest) {
        layout.add(piece);
        rest = after;
    }
    layout.end()
}

#[derive(Default)]
struct Layout {
    out: String,
    depth: usize,
    /// Something was written.
    filled: bool,
    /// The last thing written is a line break of the layout: a word may end with an escaped one of its own.
    broken: bool,
    /// A directive has begun and is not ended.
    inside: bool,
    /// Line feeds since the last piece.
    feeds: usize,
    /// The last piece opened a block, or nothing was written yet: no empty line follows.
    opened: bool,
}

impl Layout {
    fn add(&mut self, piece: Piece<'_>) {
        let beside = matches!(piece, Piece::Comment(_)) && self.feeds == 0;
        match piece {
            Piece::LineFeed => {
                self.feeds += 1;
                return;
            }
            Piece::Comment(text) => self.comment(text),
            Piece::Word(text) => {
                self.place();
                self.out.push_str(text);
                self.inside = true;
            }
            Piece::Semicolon => {
                self.out.push(';');
                self.inside = false;
            }
            Piece::Open => {
                self.place();
                self.out.push('{');
                self.inside = false;
                self.depth += 1;
            }
            Piece::Close => {
                self.depth = self.depth.saturating_sub(1);
                self.inside = false;
                self.feeds = self.feeds.min(1);
                self.line();
                self.out.push('}');
            }
        }
        self.filled = true;
        self.broken = self.inside && matches!(piece, Piece::Comment(_));
        self.feeds = 0;
        self.opened = piece == Piece::Open || beside && self.opened;
    }

    /// Makes room for a word: on a line of its own when it begins a directive.
    fn place(&mut self) {
        if !self.inside {
            self.line();
        } else if self.broken {
            self.indent(self.depth + 1);
        } else {
            self.out.push(' ');
        }
    }

    fn comment(&mut self, text: &str) {
        if self.filled && self.feeds == 0 {
            self.out.push(' ');
            self.out.push_str(text.trim_end());
        } else if self.inside {
            if !self.broken {
                self.out.push('\n');
            }
            self.indent(self.depth + 1);
            self.out.push_str(text.trim_end());
        } else {
            self.line();
            self.out.push_str(text.trim_end());
        }
        if self.inside {
            self.out.push('\n');
        }
    }

    /// Ends the line, keeps one empty line, and starts the next.
    fn line(&mut self) {
        if self.filled && !self.broken {
            self.out.push('\n');
        }
        if self.filled && self.feeds > 1 && !self.opened && !self.inside {
            self.out.push('\n');
        }
        self.indent(self.depth);
    }

    fn indent(&mut self, depth: usize) {
        (0..depth).for_each(|_| self.out.push_str("    "));
    }

    fn end(mut self) -> String {
        if self.filled && !self.broken {
            self.out.push('\n');
        }
        self.out
    }
}

/// The next piece of a text and what stands behind it.
fn next(text: &str) -> Option<(Piece<'_>, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\r']);
    let first = text.bytes().next()?;
    let (piece, len) = match first {
        b'\n' => (Piece::LineFeed, 1),
        b';' => (Piece::Semicolon, 1),
        b'{' => (Piece::Open, 1),
        b'}' => (Piece::Close, 1),
        b'#' => {
            let len = text.find('\n').unwrap_or(text.len());
            (Piece::Comment(&text[..len]), len)
        }
        b'"' | b'\'' => {
            let len = quoted(text.as_bytes(), first);
            (Piece::Word(&text[..len]), len)
        }
        _ => {
            let len = plain(text.as_bytes());
            (Piece::Word(&text[..len]), len)
        }
    };
    Some((piece, &text[len..]))
}

/// Length of a word in quotes; of the whole text when the quote is never closed.
fn quoted(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Length of a word without quotes.
fn plain(bytes: &[u8]) -> usize {
    let (mut at, mut variable) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'{' if variable => at += 1,
            b'\\' => {
                variable = false;
                at += 2;
            }
            b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => return at.max(1),
            byte => {
                variable = byte == b'$';
                at += 1;
            }
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn a_file_is_laid_out() {
        let text = "\n\n# top\nuser  a ;\n\n\nhttp{ # here\n\n  map $a $b{default 1;'' \"x y\";}\n\
                    # alone\nserver{listen 80;}\n\n}\n";
        let expected = "# top\nuser a;\n\nhttp { # here\n    map $a $b {\n        default 1;\n        '' \"x y\";\n    }\n    \
                        # alone\n    server {\n        listen 80;\n    }\n}\n";
        assert_eq!(format(text), expected);
        assert_eq!(format(expected), expected);
    }

    #[test]
    fn a_comment_inside_a_directive_stays_there() {
        let text = "a b # one\n # two\nc;\nd;";
        assert_eq!(format(text), "a b # one\n    # two\n    c;\nd;\n");
        assert_eq!(format(&format(text)), format(text));
    }

    #[test]
    fn an_escaped_line_feed_at_the_end_of_a_word_ends_no_line() {
        let text = "a x\\\n\n# one\n\n# two\nb y\\\nz;";
        let expected = "a x\\\n\n    # one\n    # two\n    b y\\\nz;\n";
        assert_eq!(format(text), expected);
        assert_eq!(format(expected), expected);
    }
}
