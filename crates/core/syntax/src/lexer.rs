//! Bytes to words, by the rules of nginx's reader.

use crate::{Span, Word};

/// nginx reads through a buffer of this size; a word must fit in it.
const LONGEST: usize = 4096;

/// What ended a run of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Semicolon,
    /// `{`.
    Open,
    /// `}`, never with words before it.
    Close,
    /// The text is over, never with words before it.
    File,
}

/// A text that cannot be split into words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) message: String,
    /// What is to be underlined.
    pub(crate) span: Span,
    /// Offset of the byte whose line nginx names.
    pub(crate) stood: u32,
    pub(crate) help: Option<&'static str>,
}

/// Reads one file.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    file: u32,
    at: usize,
    /// In `-g`, whose end is worded in another way.
    parameter: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str, file: u32, parameter: bool) -> Self {
        Self { text, bytes: text.as_bytes(), file, at: 0, parameter }
    }

    /// The words up to the next `;`, `{`, `}` or the end, what ended them, and the span of that byte.
    pub(crate) fn next(&mut self) -> Result<(Vec<Word>, End, Span), Flaw> {
        let mut words = Vec::new();
        loop {
            self.skip_blank();
            let Some(&byte) = self.bytes.get(self.at) else {
                if words.is_empty() {
                    return Ok((words, End::File, self.span(self.at, self.at)));
                }
                return Err(self.end_of_text(self.words_span(&words)));
            };
            match byte {
                b';' | b'{' | b'}' => {
                    let here = self.span(self.at, self.at + 1);
                    if words.is_empty() != (byte == b'}') {
                        return Err(self.unexpected());
                    }
                    self.at += 1;
                    let end = match byte {
                        b';' => End::Semicolon,
                        b'{' => End::Open,
                        _ => End::Close,
                    };
                    return Ok((words, end, here));
                }
                b'"' | b'\'' => {
                    words.push(self.quoted(byte)?);
                    self.after_quote()?;
                }
                _ => words.push(self.plain()?),
            }
        }
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'#' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// A word in quotes; the reader stands on the opening one.
    fn quoted(&mut self, quote: u8) -> Result<Word, Flaw> {
        let open = self.at;
        self.at += 1;
        loop {
            if self.at - open > LONGEST && self.at < self.bytes.len() {
                return Err(Flaw {
                    message: format!(
                        "too long parameter, probably missing terminating \"{}\" character",
                        char::from(quote)
                    ),
                    span: self.span(open, open + 1),
                    stood: offset(open),
                    help: Some("a word holds at most 4096 bytes; close the quote that was opened here"),
                });
            }
            match self.bytes.get(self.at) {
                None => {
                    let mut flaw = self.end_of_text(self.span(open, open + 1));
                    flaw.help = Some("this quote is never closed");
                    return Err(flaw);
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                Some(byte) if *byte == quote => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let text = unescape(&self.text[open + 1..self.at - 1]);
        Ok(Word { text, span: self.span(open, self.at), quoted: true })
    }

    /// Behind a closing quote only a blank, `;`, `{` and `)` may stand.
    fn after_quote(&self) -> Result<(), Flaw> {
        match self.bytes.get(self.at) {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => Ok(()),
            Some(_) => {
                let mut flaw = self.unexpected();
                flaw.help = Some("put a space, \";\" or \"{\" behind the closing quote");
                Err(flaw)
            }
        }
    }

    fn plain(&mut self) -> Result<Word, Flaw> {
        let start = self.at;
        let mut variable = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            if self.at - start >= LONGEST {
                return Err(self.too_long(start));
            }
            match byte {
                b'{' if variable => self.at += 1,
                b'\\' => {
                    variable = false;
                    self.at = (self.at + 2).min(self.bytes.len());
                }
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' => {
                    let text = unescape(&self.text[start..self.at]);
                    return Ok(Word { text, span: self.span(start, self.at), quoted: false });
                }
                _ => {
                    variable = byte == b'$';
                    self.at += 1;
                }
            }
        }
        Err(self.end_of_text(self.span(start, self.at)))
    }

    fn too_long(&self, start: usize) -> Flaw {
        let shown: String = self.text[start..].chars().take(10).collect();
        Flaw {
            message: format!("too long parameter \"{shown}...\" started"),
            span: self.span(start, start + shown.len()),
            stood: offset(start),
            help: Some("a word holds at most 4096 bytes"),
        }
    }

    fn unexpected(&self) -> Flaw {
        let letter = self.text.get(self.at..).and_then(|rest| rest.chars().next()).unwrap_or('?');
        Flaw {
            message: format!("unexpected \"{letter}\""),
            span: self.span(self.at, self.at + letter.len_utf8()),
            stood: offset(self.at),
            help: None,
        }
    }

    fn end_of_text(&self, span: Span) -> Flaw {
        let message = if self.parameter {
            "unexpected end of parameter, expecting \";\""
        } else {
            "unexpected end of file, expecting \";\" or \"}\""
        };
        Flaw {
            message: message.to_owned(),
            span,
            stood: offset(self.bytes.len()),
            help: Some("the last directive needs \";\""),
        }
    }

    fn words_span(&self, words: &[Word]) -> Span {
        match (words.first(), words.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.span(self.at, self.at),
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start: offset(start), end: offset(end.min(self.bytes.len())) }
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// `\"`, `\'` and `\\` lose the backslash, `\t`, `\r` and `\n` become control characters, all others stay.
fn unescape(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let mut text = String::with_capacity(raw.len());
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.clone().next() {
            Some(quote @ ('"' | '\'' | '\\')) => text.push(quote),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            _ => {
                text.push('\\');
                continue;
            }
        }
        letters.next();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let (words, ..) = Lexer::new(text, 0, false).next().expect("the text has words");
        words.into_iter().map(|word| word.text).collect()
    }

    fn flaw(text: &str) -> String {
        let mut lexer = Lexer::new(text, 0, false);
        loop {
            match lexer.next() {
                Err(flaw) => return flaw.message,
                Ok((_, End::File, _)) => return String::new(),
                Ok(_) => {}
            }
        }
    }

    #[test]
    fn words_of_a_directive() {
        assert_eq!(words("a b\tc\r\nd;"), ["a", "b", "c", "d"]);
        assert_eq!(words("a 'b c' \"d;{\" e#f;"), ["a", "b c", "d;{", "e#f"]);
        assert_eq!(words("# note\n a # more ; \n b;"), ["a", "b"]);
        assert_eq!(words("a b'c d;"), ["a", "b'c", "d"]);
        assert_eq!(words("a '' \"\";"), ["a", "", ""]);
    }

    #[test]
    fn a_parenthesis_behind_a_quote_is_a_word() {
        assert_eq!(words("if ($x = \"y\"){"), ["if", "($x", "=", "y", ")"]);
    }

    #[test]
    fn a_variable_in_braces_opens_no_block() {
        assert_eq!(words("a ${b}c x$y;"), ["a", "${b}c", "x$y"]);
        assert_eq!(words("a${b} {"), ["a${b}"]);
    }

    #[test]
    fn escapes() {
        assert_eq!(words(r#"a \; \" "\"\\\t\d" \.x\ y;"#), ["a", "\\;", "\"", "\"\\\t\\d", "\\.x\\ y"]);
        assert_eq!(words("a \\\u{e9} b;"), ["a", "\\\u{e9}", "b"]);
    }

    #[test]
    fn flaws() {
        assert_eq!(flaw("a"), "unexpected end of file, expecting \";\" or \"}\"");
        assert_eq!(flaw("a 'b"), "unexpected end of file, expecting \";\" or \"}\"");
        assert_eq!(flaw("a \\"), "unexpected end of file, expecting \";\" or \"}\"");
        assert_eq!(flaw(";"), "unexpected \";\"");
        assert_eq!(flaw("a }"), "unexpected \"}\"");
        assert_eq!(flaw("a 'b'c;"), "unexpected \"c\"");
        let long = "x".repeat(5000);
        assert_eq!(flaw(&format!("a {long};")), "too long parameter \"xxxxxxxxxx...\" started");
        assert_eq!(
            flaw(&format!("a '{long}';")),
            "too long parameter, probably missing terminating \"'\" character"
        );
    }

    #[test]
    fn the_longest_word() {
        let fits = "x".repeat(4095);
        assert_eq!(words(&format!("a {fits};")), ["a", &fits]);
    }
}
