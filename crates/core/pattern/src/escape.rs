//! What follows a backslash.

use crate::translate::{Flaw, Reader};

/// One escape, in or outside a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    Byte(u8),
    /// Above 0xff; only in UTF mode.
    Char(char),
    /// A set of bytes, written as the items of a class; true: everything but them.
    Set(&'static str, bool),
    /// `\1`, `\g{1}`.
    Back(usize),
    /// `\b`, `\B`, `\A`, `\z`, `\Z`, `\G`, `\K`, `\R`, `\X`, `\Q`, `\E`, `\k`, `\g`, `\p`, `\P`, `\C`, `\N`.
    Other(char),
}

/// Horizontal blanks.
const BLANK: &str = "\\t\\x20\\xA0";
/// Vertical blanks.
const VERTICAL: &str = "\\n\\x0B\\f\\r\\x85";

/// Reads an escape; the reader stands behind the backslash. `groups` is the number of groups of the whole
/// pattern: `\11` is a backreference only when there are as many.
pub(crate) fn read(reader: &mut Reader<'_>, in_class: bool, groups: usize) -> Result<Escape, Flaw> {
    let Some(letter) = reader.next() else { return Err(Flaw::new("\\ at end of pattern", reader.at())) };
    Ok(match letter {
        'a' => Escape::Byte(7),
        'e' => Escape::Byte(0x1b),
        'f' => Escape::Byte(0x0c),
        'n' => Escape::Byte(b'\n'),
        'r' => Escape::Byte(b'\r'),
        't' => Escape::Byte(b'\t'),
        'b' if in_class => Escape::Byte(8),
        'd' => Escape::Set("0-9", false),
        'D' => Escape::Set("0-9", true),
        'w' => Escape::Set("0-9A-Z_a-z", false),
        'W' => Escape::Set("0-9A-Z_a-z", true),
        's' => Escape::Set("\\t\\n\\x0B\\f\\r\\x20", false),
        'S' => Escape::Set("\\t\\n\\x0B\\f\\r\\x20", true),
        'h' => Escape::Set(BLANK, false),
        'H' => Escape::Set(BLANK, true),
        'v' => Escape::Set(VERTICAL, false),
        'V' => Escape::Set(VERTICAL, true),
        'c' => match reader.next() {
            Some(letter) if letter.is_ascii_graphic() => {
                Escape::Byte(letter.to_ascii_uppercase() as u8 ^ 0x40)
            }
            _ => return Err(Flaw::new("\\c must be followed by a printable ASCII character", reader.at())),
        },
        'x' => hexadecimal(reader)?,
        'o' => braced_octal(reader)?,
        '0' => octal(reader, 0),
        '1'..='9' => number(reader, letter, in_class, groups),
        'A' | 'B' | 'C' | 'E' | 'G' | 'K' | 'N' | 'P' | 'Q' | 'R' | 'X' | 'Z' | 'b' | 'g' | 'k' | 'p'
        | 'z' => Escape::Other(letter),
        letter if letter.is_ascii_alphabetic() => {
            return Err(Flaw::new("unrecognized character follows \\", reader.at() - 1));
        }
        letter if letter.is_ascii() => Escape::Byte(letter as u8),
        letter => Escape::Char(letter),
    })
}

/// `\xh`, `\xhh`, `\x{h...}`; without digits a zero byte.
fn hexadecimal(reader: &mut Reader<'_>) -> Result<Escape, Flaw> {
    if reader.take('{') {
        let digits = reader.take_while(|letter| letter.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).ok();
        if digits.is_empty() || !reader.take('}') {
            let reason = "missing terminating } for hexadecimal escape";
            return Err(Flaw::new(reason, reader.at()));
        }
        return code(reader, value);
    }
    let mut value = 0;
    for _ in 0..2 {
        let Some(digit) = reader.peek().and_then(|letter| letter.to_digit(16)) else { break };
        value = value * 16 + digit;
        reader.next();
    }
    code(reader, Some(value))
}

fn braced_octal(reader: &mut Reader<'_>) -> Result<Escape, Flaw> {
    if !reader.take('{') {
        return Err(Flaw::new("missing opening brace after \\o", reader.at()));
    }
    let digits = reader.take_while(|letter| letter.is_digit(8));
    let value = u32::from_str_radix(digits, 8).ok();
    if !reader.take('}') {
        return Err(Flaw::new("non-octal character in \\o{} (closing brace missing?)", reader.at()));
    }
    code(reader, value)
}

/// Up to two more octal digits.
fn octal(reader: &mut Reader<'_>, first: u32) -> Escape {
    let mut value = first;
    for _ in 0..2 {
        let Some(digit) = reader.peek().and_then(|letter| letter.to_digit(8)) else { break };
        value = value * 8 + digit;
        reader.next();
    }
    Escape::Byte((value & 0xff) as u8)
}

fn number(reader: &mut Reader<'_>, first: char, in_class: bool, groups: usize) -> Escape {
    let value = first.to_digit(10).unwrap_or_default();
    if !in_class {
        let rest = reader.peek_while(|letter| letter.is_ascii_digit());
        let whole = format!("{first}{rest}").parse().unwrap_or(usize::MAX);
        if whole < 10 || whole <= groups {
            reader.skip(rest.len());
            return Escape::Back(whole);
        }
    }
    if value >= 8 { Escape::Byte(first as u8) } else { octal(reader, value) }
}

fn code(reader: &Reader<'_>, value: Option<u32>) -> Result<Escape, Flaw> {
    let large = Flaw::new("character code point value in \\x{} or \\o{} is too large", reader.at());
    match value {
        Some(value) if value < 0x100 => Ok(Escape::Byte(value as u8)),
        Some(value) if reader.unicode => char::from_u32(value).map(Escape::Char).ok_or(large),
        _ => Err(large),
    }
}

/// A class of all bytes that fit.
pub(crate) fn byte_items(mut fits: impl FnMut(u8) -> bool) -> String {
    let mut class = String::from("[");
    let mut byte = 0u16;
    while byte < 256 {
        let first = byte;
        while byte < 256 && fits(byte as u8) {
            byte += 1;
        }
        if byte > first {
            class.push_str(&format!("\\x{first:02X}-\\x{:02X}", byte - 1));
        }
        byte += 1;
    }
    // A class must not be empty; this one fits nothing.
    if class.len() == 1 { "[^\\x00-\\xFF]".to_owned() } else { class + "]" }
}
