//! Spans of a buffer, header lines and the token lists in their values.
//! What a header means is left to the request and response heads.

use memchr::memchr;

/// A part of the buffer that a head was read from: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The bytes of this span; empty when it lies outside of `buf`.
    #[must_use]
    pub fn of<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it spans nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// From offsets below 4 GiB, which every caller has checked for its buffer.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }
}

/// One header line: the name as sent, the value without the spaces around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

/// How far a head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head goes on beyond the bytes at hand.
    Partial,
    /// The empty line after the head was read.
    Complete,
}

/// HTTP versions that are spoken; a minor version above 1 counts as 1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// What may stand in a header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Of a client: tab is the only control character (RFC 9110, 5.5), a colon is demanded.
    Client,
    /// Of a peer, as nginx reads it: CR and NUL are refused; a line without colon is a name without value.
    Peer,
}

/// A header line taken apart; offsets count from the start of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) name_end: usize,
    pub(crate) value: (usize, usize),
    /// The name has an underscore.
    pub(crate) underscore: bool,
    /// The name has another character than a letter, a digit, `-` and `_`.
    pub(crate) unusual: bool,
}

/// Takes a line without its line end apart; the error is the offset of the offending byte.
pub(crate) fn split(line: &[u8], strictness: Strictness) -> Result<Parts, usize> {
    let (mut underscore, mut unusual, mut colon) = (false, false, None);
    for (at, &byte) in line.iter().enumerate() {
        match class(byte) {
            Class::Usual => {}
            Class::Underscore => underscore = true,
            Class::Unusual => unusual = true,
            Class::Colon => {
                colon = Some(at);
                break;
            }
            Class::Fatal => return Err(at),
        }
    }
    let name_end = match (colon, strictness) {
        (Some(0), _) => return Err(0),
        (Some(at), _) => at,
        (None, Strictness::Client) => return Err(line.len()),
        (None, Strictness::Peer) => line.len(),
    };
    let mut end = line.len();
    let mut start = (name_end + 1).min(end);
    while line.get(start) == Some(&b' ') {
        start += 1;
    }
    while end > start && line.get(end - 1) == Some(&b' ') {
        end -= 1;
    }
    let value = line.get(start..end).unwrap_or_default();
    let bad = match strictness {
        Strictness::Client => control(value),
        Strictness::Peer => memchr::memchr2(b'\r', 0, value),
    };
    match bad {
        Some(at) => Err(start + at),
        None => Ok(Parts { name_end, value: (start, end), underscore, unusual }),
    }
}

/// Offset of the first control character other than tab.
pub(crate) fn control(text: &[u8]) -> Option<usize> {
    // Without an early exit the usual case runs over whole vector registers.
    let found = text.iter().fold(false, |found, &byte| found | is_control(byte));
    if found { text.iter().position(|&byte| is_control(byte)) } else { None }
}

fn is_control(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
}

/// End of the line that starts at `from`, behind its LF; `scanned` bytes are known to hold none.
pub(crate) fn line_end(buf: &[u8], scanned: usize) -> Option<usize> {
    memchr(b'\n', buf.get(scanned..)?).map(|at| scanned + at + 1)
}

/// A line without its LF or CRLF.
pub(crate) fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The members of a comma-separated list, without the white space around them (RFC 9110, 5.6.1).
pub(crate) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A length in decimal digits that fits a file offset; nothing else may stand there.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value
        .iter()
        .try_fold(0_u64, |sum, &byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            sum.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .filter(|&sum| sum <= i64::MAX as u64)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Letter, digit, `-`.
    Usual,
    Underscore,
    Colon,
    /// Control characters and space: the line is refused.
    Fatal,
    /// Anything else.
    Unusual,
}

static CLASSES: [Class; 256] = classes();

#[allow(clippy::indexing_slicing)] // runs at compile time
const fn classes() -> [Class; 256] {
    let mut classes = [Class::Unusual; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => Class::Usual,
            b'_' => Class::Underscore,
            b':' => Class::Colon,
            0..=0x20 | 0x7f => Class::Fatal,
            _ => Class::Unusual,
        };
        byte += 1;
    }
    classes
}

#[allow(clippy::indexing_slicing)] // a byte cannot miss a table of 256
fn class(byte: u8) -> Class {
    CLASSES[byte as usize]
}
