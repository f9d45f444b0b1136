//! A line as letters that know where they stand, so that words keep their place through every expansion.

use crate::{Span, Word};

/// One letter and the range of the file that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) value: char,
    pub(super) start: u32,
    pub(super) end: u32,
    /// It was written so that it starts no comment: `\#`, `\!`, `${_HASH}` or `${_BANG}`.
    pub(super) kept: bool,
}

/// Letters that all stand in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) file: u32,
    pub(super) letters: Vec<Letter>,
}

/// What [`Line::split`] finds first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Open(Span),
    Close(Span),
    Text(Line),
}

/// The words of a line.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) list: Vec<Word>,
    /// What stands behind the first word, without outer blanks.
    pub(super) rest: String,
    /// A quote that is never closed; its words are left out.
    pub(super) open: Option<Span>,
    /// The first letter outside quotes that is [`Letter::kept`].
    pub(super) kept: Option<Span>,
}

impl Line {
    /// The text at `offset` of a file.
    pub(super) fn new(file: u32, text: &str, offset: usize) -> Self {
        let place = |at: usize| u32::try_from(offset + at).unwrap_or(u32::MAX);
        let letters = text
            .char_indices()
            .map(|(at, value)| Letter {
                value,
                start: place(at),
                end: place(at + value.len_utf8()),
                kept: false,
            })
            .collect();
        Self { file, letters }
    }

    /// Letters that stand elsewhere, seen from the place of their use.
    pub(super) fn placed(letters: &[Letter], place: Span) -> Self {
        let letters = letters.iter().map(|letter| letter.at(place)).collect();
        Self { file: place.file, letters }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(super) fn text(&self) -> String {
        text(&self.letters)
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let mut letters = self.letters.iter();
        prefix.chars().all(|wanted| letters.next().is_some_and(|letter| letter.value == wanted))
    }

    pub(super) fn span(&self) -> Span {
        span(self.file, &self.letters)
    }

    /// The letters from `at` on, without outer blanks.
    pub(super) fn behind(&self, at: usize) -> Self {
        let letters = self.letters.get(at..).unwrap_or_default();
        Self { file: self.file, letters: trim(letters).to_vec() }
    }

    /// Takes outer blanks and the comment away; answers where a quote is opened and never closed.
    ///
    /// A backslash guards the letter behind it: `\"` is no quote, and `\#` and `\!` lose the backslash. One that
    /// ends the line stands directly behind the last word. With `defining` it counts behind a comment as well,
    /// as in keepalived 2.2.
    pub(super) fn clean(&mut self, defining: bool) -> Option<Span> {
        let letters = trim(&self.letters);
        let mut cleaned: Vec<Letter> = Vec::with_capacity(letters.len());
        let mut quote = None;
        let mut continued = None;
        let mut at = 0;
        while let Some(&letter) = letters.get(at) {
            at += 1;
            match (letter.value, letters.get(at)) {
                ('"', _) => quote = if quote.is_some() { None } else { Some(letter) },
                ('\\', None) => {
                    continued = Some(letter);
                    break;
                }
                ('\\', Some(&next)) => {
                    at += 1;
                    if quote.is_none() && matches!(next.value, '#' | '!') {
                        cleaned.push(Letter { start: letter.start, kept: true, ..next });
                    } else {
                        cleaned.extend([letter, next]);
                    }
                    continue;
                }
                ('#' | '!', _) if quote.is_none() && !letter.kept => {
                    let last = letters.last().copied();
                    continued = last.filter(|last| defining && last.value == '\\');
                    break;
                }
                _ => {}
            }
            cleaned.push(letter);
        }
        while cleaned.last().is_some_and(|letter| is_blank(letter.value)) {
            cleaned.pop();
        }
        cleaned.extend(continued);
        self.letters = cleaned;
        quote.map(|letter| letter.span(self.file))
    }

    /// Cuts the line at its first brace outside quotes, and answers what stands in front and what is left.
    ///
    /// The braces of `${NAME}` are none, although keepalived takes them for braces when the name is not defined.
    pub(super) fn split(self) -> (Part, Option<Self>) {
        let Some(at) = brace(&self.letters) else { return (Part::Text(self), None) };
        let letter = self.letters.get(at).copied();
        match letter.filter(|_| at == 0) {
            Some(letter) => {
                let span = letter.span(self.file);
                let part = if letter.value == '{' { Part::Open(span) } else { Part::Close(span) };
                let rest = self.behind(1);
                (part, (!rest.is_empty()).then_some(rest))
            }
            None => {
                let (front, rest) = self.letters.split_at(at);
                let line = |letters: &[Letter]| Self { file: self.file, letters: trim(letters).to_vec() };
                (Part::Text(line(front)), Some(line(rest)))
            }
        }
    }

    /// The first `${NAME}` outside quotes.
    pub(super) fn reference(&self) -> Option<Span> {
        let letters = &self.letters;
        let mut at = 0;
        while let Some(letter) = letters.get(at) {
            match (letter.value, reference(letters, at)) {
                ('"', _) => at += count(letters, at + 1, |letter| letter.value != '"') + 1,
                (_, Some(len)) => return letters.get(at..at + len).map(|found| span(self.file, found)),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Splits on blanks and quotes, as `alloc_strvec` does: a quote begins a word wherever it stands.
    pub(super) fn words(&self) -> Words {
        let mut words = Words { list: Vec::new(), rest: String::new(), open: None, kept: None };
        let letters = &self.letters;
        let is = |at: usize, wanted: char| letters.get(at).is_some_and(|letter| letter.value == wanted);
        let mut at = 0;
        let mut keyword = None;
        loop {
            at += count(letters, at, |letter| is_separator(letter.value));
            if at >= letters.len() {
                break;
            }
            let start = at;
            let quoted = is(at, '"');
            let inner = if quoted {
                let len = count(letters, at + 1, |letter| letter.value != '"');
                at += len + 2;
                if at > letters.len() {
                    words.open = letters.get(start).map(|letter| letter.span(self.file));
                    break;
                }
                start + 1..at - 1
            } else {
                at += count(letters, at, |letter| !is_separator(letter.value) && letter.value != '"');
                start..at
            };
            let inner = letters.get(inner).unwrap_or_default();
            if !quoted && words.kept.is_none() {
                words.kept = inner.iter().find(|letter| letter.kept).map(|letter| letter.span(self.file));
            }
            let span = span(self.file, letters.get(start..at).unwrap_or_default());
            words.list.push(Word { text: text(inner), span, quoted });
            keyword.get_or_insert(at);
        }
        let rest = letters.get(keyword.unwrap_or(letters.len())..).unwrap_or_default();
        words.rest = text(rest).trim_matches(is_separator).to_owned();
        words
    }
}

impl Letter {
    pub(super) fn at(self, place: Span) -> Self {
        Self { start: place.start, end: place.end, ..self }
    }

    pub(super) fn span(self, file: u32) -> Span {
        Span { file, start: self.start, end: self.end }
    }
}

/// A blank or a tab: what keepalived takes away at the ends of a line.
pub(super) fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

/// What parts words.
pub(super) fn is_separator(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\u{c}' | '\n' | '\r' | '\u{b}')
}

/// Letters without blanks around them.
pub(super) fn trim(letters: &[Letter]) -> &[Letter] {
    let start = count(letters, 0, |letter| is_blank(letter.value));
    let end = letters.iter().rposition(|letter| !is_blank(letter.value)).map_or(start, |at| at + 1);
    letters.get(start..end).unwrap_or_default()
}

pub(super) fn text(letters: &[Letter]) -> String {
    letters.iter().map(|letter| letter.value).collect()
}

/// How many letters from `at` on are as wanted.
pub(super) fn count(letters: &[Letter], at: usize, wanted: impl Fn(&Letter) -> bool) -> usize {
    letters.iter().skip(at).take_while(|letter| wanted(letter)).count()
}

fn span(file: u32, letters: &[Letter]) -> Span {
    let start = letters.first().map_or(0, |letter| letter.start);
    Span { file, start, end: letters.last().map_or(start, |letter| letter.end) }
}

/// The first brace outside quotes. Behind a quote that is never closed there is none.
fn brace(letters: &[Letter]) -> Option<usize> {
    let mut at = 0;
    while let Some(letter) = letters.get(at) {
        match letter.value {
            '"' => at += count(letters, at + 1, |letter| letter.value != '"') + 1,
            '$' => at += reference(letters, at).map_or(0, |len| len - 1),
            '{' | '}' => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of a `${NAME}` or `${NAME PARAMETERS}` that starts at `at`.
pub(super) fn reference(letters: &[Letter], at: usize) -> Option<usize> {
    let is = |at: usize, wanted: char| letters.get(at).is_some_and(|letter| letter.value == wanted);
    let first = letters.get(at + 2)?.value;
    if !is(at, '$') || !is(at + 1, '{') || !(first.is_ascii_alphabetic() || first == '_') {
        return None;
    }
    let len = count(letters, at + 2, |letter| {
        letter.value.is_ascii_alphanumeric() || letter.value == '_' || is_blank(letter.value)
    });
    is(at + 2 + len, '}').then_some(len + 3)
}
