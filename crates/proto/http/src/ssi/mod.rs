//! Server-side includes: commands in a page, found while its bytes come.
//! What a command does is left to the shell; the texts in it are read in [`text`].

use memchr::memmem;

pub mod text;

#[cfg(test)]
mod tests;

/// How a command begins.
const OPEN: &[u8] = b"<!--#";
/// Bytes of the longest names, as in nginx.
const NAME: usize = 32;

/// `<!--# name key="value" ... -->`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub name: Vec<u8>,
    /// Keys and values in order. Backslashes in values are still there.
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'d> {
    /// Goes to the client as it is.
    Text(&'d [u8]),
    Command(Command),
    /// Something between the marks of a command that is none, and why.
    Flaw(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Text,
    /// So many bytes of the mark that opens a command were seen.
    Open(usize),
    BeforeName,
    Name,
    BeforeKey,
    Key,
    BeforeEqual,
    BeforeValue,
    /// In a value that ends with this quote.
    Value(u8),
    /// Behind a backslash in it.
    Quoted(u8),
    AfterValue,
    /// Behind the first or second hyphen of the mark that closes a command.
    Close1,
    Close2,
    /// The command is none; its end is looked for.
    Bad,
    BadClose1,
    BadClose2,
}

/// Splits a page into its parts.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// Bytes of the longest value.
    limit: usize,
    command: Command,
    flaw: String,
}

impl Parser {
    /// A parser at the start of a page that takes values of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { state: State::Text, limit, command: Command::default(), flaw: String::new() }
    }

    /// The next part of a page in `data`, of which `at` bytes were looked at. `None` when more bytes are needed;
    /// all of `data` was looked at then.
    pub fn next<'d>(&mut self, data: &'d [u8], at: &mut usize) -> Option<Piece<'d>> {
        loop {
            let rest = data.get(*at..).filter(|rest| !rest.is_empty())?;
            match self.state {
                State::Text => {
                    if let Some(text) = self.text(rest) {
                        *at += text.len();
                        return Some(Piece::Text(text));
                    }
                    *at += OPEN.len().min(rest.len());
                }
                State::Open(seen) => {
                    let byte = rest[0];
                    if OPEN.get(seen) == Some(&byte) {
                        *at += 1;
                        self.state =
                            if seen + 1 == OPEN.len() { self.begin() } else { State::Open(seen + 1) };
                        continue;
                    }
                    // The byte itself is looked at again: it may open a command.
                    self.state = State::Text;
                    return Some(Piece::Text(&OPEN[..seen]));
                }
                _ => {
                    *at += 1;
                    if let Some(piece) = self.step(rest[0]) {
                        return Some(piece);
                    }
                }
            }
        }
    }

    /// What is left when the page is at its end.
    pub fn end(&mut self) -> Option<Piece<'static>> {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Open(seen) => Some(Piece::Text(&OPEN[..seen])),
            _ => None,
        }
    }

    /// Text before the next mark, or nothing when a mark, or what may become one, stands here.
    fn text<'d>(&mut self, rest: &'d [u8]) -> Option<&'d [u8]> {
        let end = match memmem::find(rest, OPEN) {
            Some(0) => {
                self.state = self.begin();
                return None;
            }
            Some(end) => end,
            None => {
                let most = (OPEN.len() - 1).min(rest.len());
                let partial = (1..=most).rev().find(|&count| rest.ends_with(&OPEN[..count]));
                match partial {
                    Some(count) if count == rest.len() => {
                        self.state = State::Open(count);
                        return None;
                    }
                    Some(count) => rest.len() - count,
                    None => rest.len(),
                }
            }
        };
        rest.get(..end)
    }

    fn begin(&mut self) -> State {
        self.command.name.clear();
        self.command.params.clear();
        State::BeforeName
    }

    /// Takes one byte within a command.
    fn step(&mut self, byte: u8) -> Option<Piece<'static>> {
        let blank = matches!(byte, b' ' | b'\r' | b'\n' | b'\t');
        match self.state {
            State::Text | State::Open(_) => {}
            State::BeforeName if blank => {}
            State::BeforeName => {
                self.command.name.push(byte);
                self.state = State::Name;
            }
            State::Name => self.name(byte, blank),
            State::BeforeKey if blank => {}
            State::BeforeKey if byte == b'-' => self.state = State::Close1,
            State::BeforeKey => {
                self.command.params.push((vec![byte], Vec::new()));
                self.state = State::Key;
            }
            State::Key => self.key(byte, blank),
            State::BeforeEqual | State::BeforeValue if blank => {}
            State::BeforeEqual if byte == b'=' => self.state = State::BeforeValue,
            State::BeforeEqual => self.bad(byte, "after the parameter"),
            State::BeforeValue if matches!(byte, b'"' | b'\'') => self.state = State::Value(byte),
            State::BeforeValue => self.bad(byte, "before the value of the parameter"),
            State::Value(quote) if byte == quote => self.state = State::AfterValue,
            State::Value(quote) => {
                self.state = if byte == b'\\' { State::Quoted(quote) } else { State::Value(quote) };
                self.value(byte);
            }
            State::Quoted(quote) => {
                self.state = State::Value(quote);
                self.value(byte);
            }
            State::AfterValue if blank => self.state = State::BeforeKey,
            State::AfterValue if byte == b'-' => self.state = State::Close1,
            State::AfterValue => self.bad(byte, "after the value of the parameter"),
            State::Close1 if byte == b'-' => self.state = State::Close2,
            State::Close2 if byte == b'>' => {
                self.state = State::Text;
                return Some(Piece::Command(std::mem::take(&mut self.command)));
            }
            State::Close1 | State::Close2 => self.bad(byte, "at the end"),
            State::Bad if byte == b'-' => self.state = State::BadClose1,
            State::BadClose1 if byte == b'-' => self.state = State::BadClose2,
            State::BadClose2 if byte == b'>' => {
                self.state = State::Text;
                return Some(Piece::Flaw(std::mem::take(&mut self.flaw)));
            }
            State::Bad | State::BadClose1 | State::BadClose2 => self.state = State::Bad,
        }
        None
    }

    fn name(&mut self, byte: u8, blank: bool) {
        match byte {
            _ if blank => self.state = State::BeforeKey,
            b'-' => self.state = State::Close1,
            _ if self.command.name.len() == NAME => {
                self.flaw = format!("the \"{}...\" SSI command is too long", lossy(&self.command.name));
                self.state = State::Bad;
            }
            _ => self.command.name.push(byte),
        }
    }

    fn key(&mut self, byte: u8, blank: bool) {
        match (byte, self.command.params.last_mut()) {
            _ if blank => self.state = State::BeforeEqual,
            (b'=', _) => self.state = State::BeforeValue,
            (b'-', _) => self.bad(byte, "after the parameter"),
            (_, Some((key, _))) if key.len() < NAME => key.push(byte),
            (_, last) => {
                let key = last.map(|(key, _)| lossy(key)).unwrap_or_default();
                self.flaw = format!(
                    "too long \"{key}...\" parameter in \"{}\" SSI command",
                    lossy(&self.command.name)
                );
                self.state = State::Bad;
            }
        }
    }

    fn value(&mut self, byte: u8) {
        let Some((key, value)) = self.command.params.last_mut() else { return };
        if value.len() < self.limit {
            value.push(byte);
            return;
        }
        self.flaw = format!(
            "too long \"{}...\" value of \"{}\" parameter in \"{}\" SSI command",
            lossy(value),
            lossy(key),
            lossy(&self.command.name)
        );
        self.state = State::Bad;
    }

    fn bad(&mut self, byte: u8, place: &str) {
        let key = self.command.params.last().map(|(key, _)| lossy(key)).unwrap_or_default();
        self.flaw = format!(
            "unexpected \"{}\" symbol {place} \"{key}\" in \"{}\" SSI command",
            byte.escape_ascii(),
            lossy(&self.command.name)
        );
        self.state = if byte == b'-' { State::BadClose1 } else { State::Bad };
    }
}

impl Command {
    /// The command as it could have been written, for a block that is carried out later.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(OPEN);
        out.extend_from_slice(&self.name);
        for (key, value) in &self.params {
            let quote = if value.contains(&b'"') { b'\'' } else { b'"' };
            out.push(b' ');
            out.extend_from_slice(key);
            out.extend_from_slice(&[b'=', quote]);
            out.extend_from_slice(value);
            out.push(quote);
        }
        out.extend_from_slice(b" -->");
    }

    /// The values of the parameters of these names, in their order.
    ///
    /// # Errors
    /// What is wrong with the parameters, for the error log.
    pub fn values<const N: usize>(&self, names: [&str; N]) -> Result<[Option<&[u8]>; N], String> {
        let mut values = [None; N];
        for (key, value) in &self.params {
            let slot = names.iter().zip(&mut values).find(|(name, _)| name.as_bytes() == key);
            let (key, command) = (lossy(key), lossy(&self.name));
            match slot {
                None => {
                    return Err(format!("invalid parameter name: \"{key}\" in \"{command}\" SSI command"));
                }
                Some((_, slot @ None)) => *slot = Some(value.as_slice()),
                Some(_) => return Err(format!("duplicate \"{key}\" parameter in \"{command}\" SSI command")),
            }
        }
        Ok(values)
    }

    /// A parameter that has to be there.
    ///
    /// # Errors
    /// That it is absent, for the error log.
    pub fn mandatory<'v>(&self, name: &str, value: Option<&'v [u8]>) -> Result<&'v [u8], String> {
        let command = lossy(&self.name);
        value.ok_or_else(|| format!("mandatory \"{name}\" parameter is absent in \"{command}\" SSI command"))
    }
}

fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
