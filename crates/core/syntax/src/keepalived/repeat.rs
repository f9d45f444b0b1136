//! `~SEQ(...)` and `~LST(...)`: a line that is read once for each value of its variables.

use std::collections::VecDeque;

use super::definition::Definitions;
use super::line::{Letter, Line, count, is_blank, text};
use super::reports::Reports;
use crate::Diagnostic;

/// A line and the values that its variables still have to take.
#[derive(Debug)]
pub(super) struct Repeat {
    line: Line,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Sequence { variable: String, next: Option<i64>, step: i64, last: i64, hex: bool },
    List { variables: Vec<String>, sets: VecDeque<Vec<Vec<Letter>>> },
}

/// Why a specification cannot be read, and how it is written.
type Flaw = (&'static str, &'static str);

const SEQUENCE: &str = "write ~SEQ(NAME, START, STEP, END), ~SEQ(NAME, START, END) or ~SEQ(NAME, END)";
const LIST: &str = "write ~LST(NAME, VALUE, ...) or ~LST({NAME, NAME}, {VALUE, VALUE}, ...)";

impl Repeat {
    /// Reads a line that starts with `~SEQ` or `~LST`. Definitions in the numbers of a sequence are expanded.
    pub(super) fn read(
        line: &Line,
        definitions: &mut Definitions,
        folder: &str,
        reports: &mut Reports,
    ) -> Option<Self> {
        let outcome = if line.starts_with("~SEQ") {
            sequence(line, |numbers| {
                definitions.expand(numbers, folder, reports);
            })
        } else {
            list(line)
        };
        match outcome {
            Ok(repeat) => Some(repeat),
            Err((problem, help)) => {
                reports.add(Diagnostic::error(problem).at(line.span()).help(help));
                None
            }
        }
    }

    /// Sets the variables to their next values and answers the line.
    pub(super) fn next(&mut self, definitions: &mut Definitions) -> Option<Line> {
        match &mut self.values {
            Values::Sequence { variable, next, step, last, hex } => {
                let value = (*next)?;
                let shown = if *hex { format!("{value:x}") } else { value.to_string() };
                definitions.set(variable, &Line::new(0, &shown, 0).letters);
                let inside = |next: &i64| if *step > 0 { next <= last } else { next >= last };
                *next = value.checked_add(*step).filter(inside);
            }
            Values::List { variables, sets } => {
                let set = sets.pop_front()?;
                for (variable, value) in variables.iter().zip(&set) {
                    definitions.set(variable, value);
                }
            }
        }
        Some(self.line.clone())
    }
}

/// Letters read from left to right.
struct Cursor<'a> {
    letters: &'a [Letter],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn value(&self) -> Option<char> {
        self.letters.get(self.at).map(|letter| letter.value)
    }

    fn blanks(&mut self) {
        self.at += count(self.letters, self.at, |letter| is_blank(letter.value));
    }

    /// Takes a letter and the blanks behind it.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.value() == Some(wanted);
        if found {
            self.at += 1;
            self.blanks();
        }
        found
    }

    /// Takes letters up to a blank or one of `ends`, and the blanks behind them.
    fn word(&mut self, ends: &[char]) -> &'a [Letter] {
        let start = self.at;
        self.at +=
            count(self.letters, start, |letter| !is_blank(letter.value) && !ends.contains(&letter.value));
        let word = self.letters.get(start..self.at).unwrap_or_default();
        self.blanks();
        word
    }
}

fn sequence(line: &Line, expand: impl FnOnce(&mut Line)) -> Result<Repeat, Flaw> {
    let mut cursor = Cursor { letters: &line.letters, at: 4 };
    let hex = cursor.take('x');
    cursor.blanks();
    let opened = cursor.take('(');
    let variable = text(cursor.word(&[',', ')']));
    if !opened || variable.is_empty() || variable.starts_with('{') || !cursor.take(',') {
        return Err(("~SEQ has no variable and end", SEQUENCE));
    }
    let start = cursor.at;
    cursor.at += count(&line.letters, start, |letter| letter.value != ')');
    let letters = line.letters.get(start..cursor.at).unwrap_or_default().to_vec();
    if !cursor.take(')') {
        return Err(("~SEQ has no \")\"", SEQUENCE));
    }
    let mut numbers = Line { file: line.file, letters };
    expand(&mut numbers);
    let numbers: Option<Vec<i64>> = numbers.text().split(',').map(number).collect();
    let (start, step, last) = match numbers.as_deref() {
        Some(&[last]) => (if last < 0 { -1 } else { 1 }, if last < 1 { -1 } else { 1 }, last),
        Some(&[start, last]) => (start, if start <= last { 1 } else { -1 }, last),
        Some(&[start, step, last]) => (start, step, last),
        _ => return Err(("~SEQ has something else than one to three numbers", SEQUENCE)),
    };
    if step == 0 || start < last && step < 0 || start > last && step > 0 {
        return Err(("~SEQ has a step that never leads from start to end", SEQUENCE));
    }
    if hex && (start < 0 || last < 0) {
        return Err(("~SEQx has a negative number", SEQUENCE));
    }
    let values = Values::Sequence { variable, next: Some(start), step, last, hex };
    Ok(Repeat { line: line.behind(cursor.at), values })
}

/// A number as C reads it: `0x` for base 16, a leading `0` for base 8, nothing for 0.
fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return (digits.len() == text.len()).then_some(0);
    }
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (digits, if digits.starts_with('0') { 8 } else { 10 }),
    };
    let value = i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(if negative { -value } else { value })
}

fn list(line: &Line) -> Result<Repeat, Flaw> {
    let mut cursor = Cursor { letters: &line.letters, at: 4 };
    cursor.blanks();
    if !cursor.take('(') {
        return Err(("~LST has no \"(\"", LIST));
    }
    let variables = variables(&mut cursor).ok_or(("~LST has no variables", LIST))?;
    let mut sets = VecDeque::new();
    loop {
        let mut set = set(&mut cursor).ok_or(("~LST has no \")\"", LIST))?;
        if set.len() > variables.len() {
            return Err(("~LST has more values than variables", LIST));
        }
        set.resize(variables.len(), Vec::new());
        sets.push_back(set);
        if cursor.take(')') {
            break;
        }
        if !cursor.take(',') {
            return Err(("~LST has values without \",\" between them", LIST));
        }
    }
    Ok(Repeat { line: line.behind(cursor.at), values: Values::List { variables, sets } })
}

/// `NAME,` or `{NAME, NAME},`
fn variables(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let braces = cursor.take('{');
    let mut names = Vec::new();
    loop {
        names.push(text(cursor.word(&[',', '}'])));
        if !braces {
            return cursor.take(',').then_some(names);
        }
        if cursor.take('}') {
            return cursor.take(',').then_some(names);
        }
        if !cursor.take(',') {
            return None;
        }
    }
}

/// `VALUE` or `{VALUE, VALUE}`
fn set(cursor: &mut Cursor<'_>) -> Option<Vec<Vec<Letter>>> {
    let ends = [',', '}', ')'];
    if !cursor.take('{') {
        let value = cursor.word(&ends).to_vec();
        return matches!(cursor.value(), Some(',' | ')')).then(|| vec![value]);
    }
    let mut values = Vec::new();
    loop {
        values.push(cursor.word(&ends).to_vec());
        if cursor.take('}') {
            return Some(values);
        }
        if !cursor.take(',') {
            return None;
        }
    }
}
