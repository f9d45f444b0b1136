//! PCRE's spelling to the engines'.

use std::fmt::Write;

use crate::PatternError;
use crate::class;
use crate::escape::{self, Escape};
use crate::property;

/// What `$` without `(?m)` becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dollar {
    /// The very end.
    End,
    /// The end, or before a line feed that ends the text.
    BeforeLineFeed,
}

/// A pattern in the engines' spelling.
#[derive(Debug)]
pub(crate) struct Translation {
    pub(crate) text: String,
    /// It needs the backtracking engine.
    pub(crate) fancy: bool,
    /// `(*UTF8)` was there.
    pub(crate) unicode: bool,
    /// It has a `$` or `\Z` whose meaning depends on a last line feed.
    pub(crate) dollar: bool,
}

/// A flaw at an offset of the pattern.
#[derive(Debug)]
pub(crate) struct Flaw {
    reason: &'static str,
    offset: usize,
}

impl Flaw {
    pub(crate) const fn new(reason: &'static str, offset: usize) -> Self {
        Self { reason, offset }
    }
}

pub(crate) fn translate(source: &str, dollar: Dollar) -> Result<Translation, PatternError> {
    let (unicode, start) = verbs(source);
    let reader = Reader { text: source, at: start, unicode, quoting: false };
    let out =
        Translation { text: String::with_capacity(source.len() + 8), fancy: false, unicode, dollar: false };
    let groups = count_groups(&source[start..]);
    let mut translator = Translator {
        reader,
        out,
        dollar,
        groups,
        opened: 0,
        parens: Vec::new(),
        flags: Flags::default(),
        atom: None,
    };
    match translator.run() {
        Ok(()) => Ok(translator.out),
        Err(flaw) => Err(PatternError::new(source, flaw.reason, flaw.offset)),
    }
}

/// Reads the verbs in front: whether characters are meant, and where the pattern itself begins.
fn verbs(source: &str) -> (bool, usize) {
    let (mut unicode, mut at) = (false, 0);
    while let Some(rest) = source[at..].strip_prefix("(*") {
        let Some(end) = rest.find(')') else { break };
        match &rest[..end] {
            "UTF8" | "UTF" | "UCP" => unicode = true,
            "ANYCRLF" | "LF" | "NO_JIT" | "NO_START_OPT" | "NO_AUTO_POSSESS" | "BSR_ANYCRLF"
            | "BSR_UNICODE" => {}
            _ => break,
        }
        at += end + 3;
    }
    (unicode, at)
}

/// Groups that capture, for telling `\11` from an octal number. A bracket in a class may be counted too;
/// that only matters for numbers above nine.
fn count_groups(text: &str) -> usize {
    let bytes = text.as_bytes();
    let opens = bytes.iter().enumerate().filter(|(at, byte)| {
        **byte == b'(' && (*at == 0 || bytes[*at - 1] != b'\\') && {
            let rest = &bytes[*at + 1..];
            !rest.starts_with(b"?") && !rest.starts_with(b"*")
                || rest.starts_with(b"?P<")
                || rest.starts_with(b"?'")
                || rest.starts_with(b"?<") && !rest.starts_with(b"?<=") && !rest.starts_with(b"?<!")
        }
    });
    opens.count()
}

/// The pattern's text and a place in it.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    pub(crate) unicode: bool,
    /// Between `\Q` and `\E`.
    pub(crate) quoting: bool,
}

impl<'a> Reader<'a> {
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    pub(crate) fn take(&mut self, letter: char) -> bool {
        let there = self.peek() == Some(letter);
        if there {
            self.at += letter.len_utf8();
        }
        there
    }

    pub(crate) fn peek_while(&self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|letter| !wanted(letter)).unwrap_or(rest.len())]
    }

    pub(crate) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let taken = self.peek_while(wanted);
        self.at += taken.len();
        taken
    }

    /// Goes on by bytes that were seen in [`Self::rest`].
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

/// A byte of the pattern that stands for itself.
pub(crate) fn push_byte(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'_' | b'=' | b'%' | b',' | b':' | b'@' | b'"' | b'\'')
    {
        out.push(char::from(byte));
    } else if byte.is_ascii_punctuation() && !matches!(byte, b'<' | b'>' | b'`') {
        out.push('\\');
        out.push(char::from(byte));
    } else {
        let _ = write!(out, "\\x{byte:02X}");
    }
}

/// A character that stands for itself: its bytes, or itself in UTF mode.
pub(crate) fn push_char(out: &mut String, letter: char, unicode: bool) {
    if unicode && !letter.is_ascii() {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(letter));
        return;
    }
    let mut buffer = [0; 4];
    letter.encode_utf8(&mut buffer).bytes().for_each(|byte| push_byte(out, byte));
}

#[derive(Clone, Copy, Default)]
struct Flags {
    extended: bool,
    multi_line: bool,
}

struct Translator<'a> {
    reader: Reader<'a>,
    out: Translation,
    dollar: Dollar,
    groups: usize,
    /// Capturing groups opened so far, for relative references.
    opened: usize,
    /// For each open parenthesis the flags to restore when it closes, and where it starts in the output.
    parens: Vec<(Flags, usize)>,
    flags: Flags,
    /// Where in the output the last thing that may be repeated starts.
    atom: Option<usize>,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), Flaw> {
        while let Some(letter) = self.reader.next() {
            self.one(letter)?;
        }
        if self.parens.is_empty() {
            Ok(())
        } else {
            Err(Flaw::new("missing closing parenthesis", self.reader.at()))
        }
    }

    fn one(&mut self, letter: char) -> Result<(), Flaw> {
        if self.reader.quoting {
            if letter == '\\' && self.reader.take('E') {
                self.reader.quoting = false;
            } else {
                self.literal(letter);
            }
            return Ok(());
        }
        match letter {
            '\\' => self.escape(),
            '[' => {
                self.begin_atom();
                class::translate(&mut self.reader, &mut self.out.text)
            }
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.atom = None;
                self.out.text.push('|');
                Ok(())
            }
            '*' | '+' | '?' => self.repeat(&letter.to_string()),
            '{' => match self.counts()? {
                Some(counts) => self.repeat(&counts),
                None => {
                    self.literal('{');
                    Ok(())
                }
            },
            '^' => {
                self.begin_atom();
                self.out.text.push('^');
                Ok(())
            }
            '$' => {
                self.end_of_text();
                Ok(())
            }
            '.' => {
                self.begin_atom();
                self.out.text.push('.');
                Ok(())
            }
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' if self.flags.extended => Ok(()),
            '#' if self.flags.extended => {
                self.reader.take_while(|letter| letter != '\n');
                Ok(())
            }
            letter => {
                self.literal(letter);
                Ok(())
            }
        }
    }

    fn begin_atom(&mut self) {
        self.atom = Some(self.out.text.len());
    }

    fn literal(&mut self, letter: char) {
        if letter.is_ascii() || self.out.unicode {
            self.begin_atom();
            push_char(&mut self.out.text, letter, self.out.unicode);
            return;
        }
        // What repeats in a pattern of bytes is the last byte.
        let mut buffer = [0; 4];
        for byte in letter.encode_utf8(&mut buffer).bytes() {
            self.begin_atom();
            push_byte(&mut self.out.text, byte);
        }
    }

    fn atom(&mut self, text: &str) {
        self.begin_atom();
        self.out.text.push_str(text);
    }

    fn fancy(&mut self, text: &str) {
        self.out.fancy = true;
        self.atom(text);
    }

    fn end_of_text(&mut self) {
        if self.flags.multi_line {
            self.atom("(?m:$)");
            return;
        }
        self.out.dollar = true;
        match self.dollar {
            Dollar::End => self.atom("\\z"),
            Dollar::BeforeLineFeed => self.fancy("(?=\\n?\\z)"),
        }
    }

    /// `*`, `+`, `?` or `{n,m}` with a lazy or possessive mark behind it.
    fn repeat(&mut self, counts: &str) -> Result<(), Flaw> {
        let Some(start) = self.atom.take() else {
            return Err(Flaw::new("quantifier does not follow a repeatable item", self.reader.at() - 1));
        };
        if self.reader.take('+') {
            // An atomic group around it is the same.
            self.out.text.insert_str(start, "(?>");
            self.out.text.push_str(counts);
            self.out.text.push(')');
            self.out.fancy = true;
            return Ok(());
        }
        self.out.text.push_str(counts);
        if self.reader.take('?') {
            self.out.text.push('?');
        }
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}`, or absent when the brace stands for itself.
    fn counts(&mut self) -> Result<Option<String>, Flaw> {
        let start = self.reader.at();
        let rest = self.reader.rest();
        let Some(end) = rest.find('}') else { return Ok(None) };
        let inner = &rest[..end];
        let (low, high) = inner.split_once(',').map_or((inner, None), |(low, high)| (low, Some(high)));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(low) || !high.is_none_or(digits) || low.is_empty() && high.is_none_or(str::is_empty) {
            return Ok(None);
        }
        let number = |text: &str| -> Result<u32, Flaw> {
            let value = if text.is_empty() { Ok(0) } else { text.parse() };
            value
                .ok()
                .filter(|value| *value <= 65_535)
                .ok_or(Flaw::new("number too big in {} quantifier", start + end))
        };
        let from = number(low)?;
        let counts = match high {
            None => format!("{{{from}}}"),
            Some("") => format!("{{{from},}}"),
            Some(high) => {
                let to = number(high)?;
                if to < from {
                    return Err(Flaw::new("numbers out of order in {} quantifier", start + end));
                }
                format!("{{{from},{to}}}")
            }
        };
        self.reader.skip(end + 1);
        Ok(Some(counts))
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        match escape::read(&mut self.reader, false, self.groups)? {
            Escape::Byte(byte) => {
                self.begin_atom();
                push_byte(&mut self.out.text, byte);
            }
            Escape::Char(letter) => self.literal(letter),
            Escape::Set(items, negated) => self.atom(&format!("[{}{items}]", if negated { "^" } else { "" })),
            Escape::Back(group) => self.back(group)?,
            Escape::Other(letter) => return self.other(letter),
        }
        Ok(())
    }

    fn back(&mut self, group: usize) -> Result<(), Flaw> {
        if group == 0 || group > self.groups {
            return Err(Flaw::new("reference to non-existent subpattern", self.reader.at()));
        }
        // The group around it keeps a digit behind it apart.
        self.fancy(&format!("(?:\\{group})"));
        Ok(())
    }

    fn other(&mut self, letter: char) -> Result<(), Flaw> {
        match letter {
            'A' | 'b' | 'B' | 'z' => self.atom(&format!("\\{letter}")),
            'G' => self.atom("\\A"),
            'Z' => {
                let multi_line = std::mem::take(&mut self.flags.multi_line);
                self.end_of_text();
                self.flags.multi_line = multi_line;
            }
            'K' => self.fancy("\\K"),
            'N' => self.atom("[^\\n]"),
            'C' => self.atom("(?s:.)"),
            'R' => self.fancy("(?>\\r\\n|[\\n\\x0B\\f\\r\\x85])"),
            'Q' => self.reader.quoting = true,
            'E' => {}
            'p' | 'P' => {
                let set = property::read(&mut self.reader, letter == 'P')?;
                self.atom(&set);
            }
            'k' => {
                let name = self.delimited()?;
                self.fancy(&format!("\\k<{name}>"));
            }
            'g' => self.reference()?,
            _ => return Err(Flaw::new("escape sequence is not supported", self.reader.at() - 1)),
        }
        Ok(())
    }

    /// A name between `<>`, `''` or `{}`.
    fn delimited(&mut self) -> Result<String, Flaw> {
        let close = match self.reader.next() {
            Some('<') => '>',
            Some('\'') => '\'',
            Some('{') => '}',
            _ => {
                let reason = "\\k is not followed by a braced, angle-bracketed, or quoted name";
                return Err(Flaw::new(reason, self.reader.at()));
            }
        };
        self.name(close)
    }

    /// A name up to the closing letter, which is taken too.
    fn name(&mut self, close: char) -> Result<String, Flaw> {
        let start = self.reader.at();
        let name = self.reader.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if name.is_empty() {
            return Err(Flaw::new("subpattern name expected", start));
        }
        if name.starts_with(|letter: char| letter.is_ascii_digit()) {
            return Err(Flaw::new("subpattern name must start with a non-digit", start));
        }
        if !self.reader.take(close) {
            let reason = "syntax error in subpattern name (missing terminator?)";
            return Err(Flaw::new(reason, self.reader.at()));
        }
        Ok(name.to_owned())
    }

    /// What follows `\g`: `1`, `{1}`, `{-1}`, `{name}` refer back; `<1>`, `'name'` call.
    fn reference(&mut self) -> Result<(), Flaw> {
        if matches!(self.reader.peek(), Some('<' | '\'')) {
            let close = if self.reader.next() == Some('<') { '>' } else { '\'' };
            let name = self.reader.take_while(|letter| letter != close).to_owned();
            self.reader.take(close);
            self.fancy(&format!("\\g<{name}>"));
            return Ok(());
        }
        let braced = self.reader.take('{');
        let relative = self.reader.take('-');
        let digits = self.reader.take_while(|letter| letter.is_ascii_digit());
        if digits.is_empty() {
            let name = self.name('}')?;
            self.fancy(&format!("\\k<{name}>"));
            return Ok(());
        }
        if braced && !self.reader.take('}') {
            return Err(Flaw::new("a numbered reference must not be zero", self.reader.at()));
        }
        let number: usize = digits.parse().unwrap_or(usize::MAX);
        let group = if relative { (self.opened + 1).saturating_sub(number) } else { number };
        self.back(group)
    }

    fn close(&mut self) -> Result<(), Flaw> {
        let Some((flags, start)) = self.parens.pop() else {
            return Err(Flaw::new("unmatched closing parenthesis", self.reader.at() - 1));
        };
        self.flags = flags;
        self.out.text.push(')');
        self.atom = Some(start);
        Ok(())
    }

    fn push_open(&mut self, text: &str) {
        self.parens.push((self.flags, self.out.text.len()));
        self.out.text.push_str(text);
        self.atom = None;
    }

    fn open(&mut self) -> Result<(), Flaw> {
        if self.reader.rest().starts_with('*') {
            return Err(Flaw::new("(*VERB) not recognized or malformed", self.reader.at() + 1));
        }
        if !self.reader.take('?') {
            self.opened += 1;
            self.push_open("(");
            return Ok(());
        }
        let rest = self.reader.rest();
        for (pcre, engine) in
            [(":", "(?:"), (">", "(?>"), ("=", "(?="), ("!", "(?!"), ("<=", "(?<="), ("<!", "(?<!")]
        {
            if rest.starts_with(pcre) {
                self.reader.skip(pcre.len());
                self.out.fancy |= pcre != ":";
                self.push_open(engine);
                return Ok(());
            }
        }
        for (prefix, close) in [("P<", '>'), ("<", '>'), ("'", '\'')] {
            if rest.starts_with(prefix) {
                self.reader.skip(prefix.len());
                let name = self.name(close)?;
                self.opened += 1;
                self.push_open(&format!("(?P<{name}>"));
                return Ok(());
            }
        }
        self.special(rest)
    }

    /// Comments, references, calls, conditions and flags.
    fn special(&mut self, rest: &str) -> Result<(), Flaw> {
        if rest.starts_with('#') {
            self.reader.take_while(|letter| letter != ')');
            let closed = self.reader.take(')');
            return if closed {
                Ok(())
            } else {
                Err(Flaw::new("missing ) after (?# comment", self.reader.at()))
            };
        }
        for (prefix, before) in [("P=", "\\k<"), ("P>", "\\g<"), ("&", "\\g<")] {
            if rest.starts_with(prefix) {
                self.reader.skip(prefix.len());
                let name = self.name(')')?;
                self.fancy(&format!("{before}{name}>"));
                return Ok(());
            }
        }
        if rest.starts_with('R') || rest.starts_with(|letter: char| letter.is_ascii_digit()) {
            let number = self.reader.take_while(|letter| letter != ')').replace('R', "0");
            self.reader.take(')');
            self.fancy(&format!("\\g<{number}>"));
            return Ok(());
        }
        if rest.starts_with('(') {
            self.reader.skip(1);
            let condition = self.reader.take_while(|letter| letter != ')').to_owned();
            self.reader.take(')');
            self.out.fancy = true;
            self.push_open(&format!("(?({condition})"));
            return Ok(());
        }
        self.change_flags()
    }

    fn change_flags(&mut self) -> Result<(), Flaw> {
        let (mut on, mut off, mut minus) = (String::new(), String::new(), false);
        let mut flags = self.flags;
        loop {
            match self.reader.next() {
                Some('-') => minus = true,
                Some('^') => {
                    off.push_str("ims");
                    flags = Flags::default();
                }
                Some('J') => {}
                Some('x') => flags.extended = !minus,
                Some(letter @ ('i' | 'm' | 's' | 'U')) => {
                    if letter == 'm' {
                        flags.multi_line = !minus;
                    }
                    if minus { off.push(letter) } else { on.push(letter) }
                }
                Some(end @ (')' | ':')) => {
                    off.retain(|letter| !on.contains(letter));
                    let minus = if off.is_empty() { "" } else { "-" };
                    if end == ':' {
                        self.push_open(&format!("(?{on}{minus}{off}:"));
                    } else if !on.is_empty() || !off.is_empty() {
                        self.out.text.push_str(&format!("(?{on}{minus}{off})"));
                        self.atom = None;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                Some(_) => {
                    return Err(Flaw::new("unrecognized character after (? or (?-", self.reader.at() - 1));
                }
                None => return Err(Flaw::new("missing closing parenthesis", self.reader.at())),
            }
        }
    }
}
