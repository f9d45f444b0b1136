//! `[...]`: PCRE's classes know no nesting and no set operations, the engines do.

use crate::escape::{self, Escape};
use crate::property;
use crate::translate::{Flaw, Reader, push_byte, push_char};

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// One item of a class.
enum Item {
    Byte(u8),
    Char(char),
    /// Already in the engine's words.
    Set(String),
}

/// Translates a class; the reader stands behind the `[`.
pub(crate) fn translate(reader: &mut Reader<'_>, out: &mut String) -> Result<(), Flaw> {
    out.push('[');
    if reader.take('^') {
        out.push('^');
    }
    let mut first = true;
    loop {
        if !first && reader.take(']') {
            out.push(']');
            return Ok(());
        }
        first = false;
        let Some(item) = item(reader)? else { continue };
        let from = match item {
            Item::Set(text) => {
                out.push_str(&text);
                // A dash behind a set is itself.
                if reader.take('-') {
                    out.push_str("\\-");
                }
                continue;
            }
            single => single,
        };
        if reader.peek() != Some('-') || matches!(reader.peek_second(), None | Some(']')) {
            push(out, &from, reader.unicode);
            continue;
        }
        range(reader, &from, out)?;
    }
}

/// The reader stands on the dash of a range.
fn range(reader: &mut Reader<'_>, from: &Item, out: &mut String) -> Result<(), Flaw> {
    reader.next();
    let start = reader.at();
    let Some(to) = item(reader)? else {
        push(out, from, reader.unicode);
        out.push_str("\\-");
        return Ok(());
    };
    if let Item::Set(text) = &to {
        push(out, from, reader.unicode);
        out.push_str("\\-");
        out.push_str(text);
        return Ok(());
    }
    if !reader.unicode && (matches!(from, Item::Char(_)) || matches!(to, Item::Char(_))) {
        return byte_range(from, &to, start, out);
    }
    if value(from) > value(&to) {
        return Err(Flaw::new("range out of order in character class", start));
    }
    push(out, from, reader.unicode);
    out.push('-');
    push(out, &to, reader.unicode);
    Ok(())
}

/// A range of which an end is a character of several bytes, in a pattern of bytes: its last (or first) byte
/// is the end, the others are items.
fn byte_range(from: &Item, to: &Item, start: usize, out: &mut String) -> Result<(), Flaw> {
    let (from, to) = (bytes(from), bytes(to));
    let (Some((low, before)), Some((high, behind))) = (from.split_last(), to.split_first()) else {
        return Ok(());
    };
    if low > high {
        return Err(Flaw::new("range out of order in character class", start));
    }
    before.iter().for_each(|byte| push_byte(out, *byte));
    push_byte(out, *low);
    out.push('-');
    push_byte(out, *high);
    behind.iter().for_each(|byte| push_byte(out, *byte));
    Ok(())
}

fn bytes(item: &Item) -> Vec<u8> {
    match item {
        Item::Byte(byte) => vec![*byte],
        Item::Char(letter) => letter.to_string().into_bytes(),
        Item::Set(_) => Vec::new(),
    }
}

fn value(item: &Item) -> u32 {
    match item {
        Item::Byte(byte) => u32::from(*byte),
        Item::Char(letter) => u32::from(*letter),
        Item::Set(_) => 0,
    }
}

fn push(out: &mut String, item: &Item, unicode: bool) {
    match item {
        Item::Byte(byte) => push_byte(out, *byte),
        Item::Char(letter) => push_char(out, *letter, unicode),
        Item::Set(text) => out.push_str(text),
    }
}

/// The next item; absent for something that adds nothing (`\E`).
fn item(reader: &mut Reader<'_>) -> Result<Option<Item>, Flaw> {
    let Some(letter) = reader.next() else {
        return Err(Flaw::new("missing terminating ] for character class", reader.at()));
    };
    if reader.quoting {
        if letter == '\\' && reader.take('E') {
            reader.quoting = false;
            return Ok(None);
        }
        return Ok(Some(single(letter)));
    }
    match letter {
        '[' => Ok(Some(match posix(reader)? {
            Some(set) => Item::Set(set),
            None => Item::Byte(b'['),
        })),
        '\\' => escaped(reader),
        letter => Ok(Some(single(letter))),
    }
}

fn single(letter: char) -> Item {
    if letter.is_ascii() { Item::Byte(letter as u8) } else { Item::Char(letter) }
}

fn escaped(reader: &mut Reader<'_>) -> Result<Option<Item>, Flaw> {
    let here = reader.at();
    match escape::read(reader, true, 0)? {
        Escape::Byte(byte) => Ok(Some(Item::Byte(byte))),
        Escape::Char(letter) => Ok(Some(Item::Char(letter))),
        Escape::Set(items, false) => Ok(Some(Item::Set(items.to_owned()))),
        Escape::Set(items, true) => Ok(Some(Item::Set(format!("[^{items}]")))),
        Escape::Other('E') => Ok(None),
        Escape::Other('Q') => {
            reader.quoting = true;
            Ok(None)
        }
        Escape::Other(letter @ ('p' | 'P')) => {
            property::read(reader, letter == 'P').map(|set| Some(Item::Set(set)))
        }
        Escape::Other(_) | Escape::Back(_) => {
            Err(Flaw::new("escape sequence is invalid in character class", here + 1))
        }
    }
}

/// `[:alpha:]` or `[:^alpha:]`; the reader stands behind the inner `[`.
fn posix(reader: &mut Reader<'_>) -> Result<Option<String>, Flaw> {
    let rest = reader.rest();
    let Some(inner) = rest.strip_prefix(':') else { return Ok(None) };
    let Some(end) = inner.find(":]") else { return Ok(None) };
    let name = &inner[..end];
    let plain = name.strip_prefix('^').unwrap_or(name);
    if !plain.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Ok(None);
    }
    if !POSIX.contains(&plain) {
        return Err(Flaw::new("unknown POSIX class name", reader.at() - 1));
    }
    reader.skip(end + 3);
    Ok(Some(format!("[:{name}:]")))
}
