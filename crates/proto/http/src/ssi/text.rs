//! Texts in commands: variables, conditions, links, and their encodings.

use super::lossy;
use crate::wire::uri::{Unescape, unescape};

/// The value of a text with variables. `variable` gives the value of a name, or nothing when there is none.
/// A backslash before a backslash, a quote or a dollar sign disappears.
///
/// # Errors
/// What is wrong with the text, for the error log.
pub fn evaluate(text: &[u8], mut variable: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'$', _) => {
                let (name, after) = name(tail).ok_or_else(|| invalid(text, tail))?;
                if let Some(value) = variable(name) {
                    out.extend_from_slice(&value);
                }
                rest = after;
            }
            (b'\\', []) => {}
            (b'\\', [next, after @ ..]) => {
                if !matches!(next, b'\\' | b'\'' | b'"' | b'$') {
                    out.push(b'\\');
                }
                out.push(*next);
                rest = after;
            }
            (byte, _) => out.push(*byte),
        }
    }
    Ok(out)
}

/// A variable's name behind the dollar sign, and what follows it.
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, bracket) = match text {
        [b'{', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = if bracket { rest.strip_prefix(b"}")? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

fn invalid(text: &[u8], tail: &[u8]) -> String {
    match tail {
        [b'{', name @ ..] if !name.is_empty() && !name.contains(&b'}') => {
            format!("the closing bracket in \"{}\" variable is missing", lossy(name))
        }
        _ => format!("invalid variable name in \"{}\"", lossy(text)),
    }
}

/// What `if` and `elif` test. The texts are still to be evaluated.
#[derive(Debug, PartialEq, Eq)]
pub enum Condition {
    /// The text is not empty.
    Text(Vec<u8>),
    Equal {
        left: Vec<u8>,
        right: Vec<u8>,
        negate: bool,
    },
    Match {
        left: Vec<u8>,
        pattern: Vec<u8>,
        negate: bool,
    },
}

impl Condition {
    /// Reads an expression. The left side is taken in lower case, as nginx does.
    ///
    /// # Errors
    /// That it is none, for the error log.
    pub fn parse(expression: &[u8]) -> Result<Self, String> {
        let invalid = || format!("invalid expression in \"{}\"", lossy(expression));
        let of_left = |byte: &u8| byte.is_ascii_alphanumeric() || b"${}_\"'".contains(byte);
        let end = expression.iter().position(|byte| !of_left(byte)).unwrap_or(expression.len());
        let (left, rest) = expression.split_at(end);
        let left = left.to_ascii_lowercase();
        let rest = skip_blanks(rest);
        let (rest, negate) = match rest {
            [] => return Ok(Self::Text(left)),
            [b'=', rest @ ..] => (rest, false),
            [b'!', b'=', rest @ ..] => (rest, true),
            _ => return Err(invalid()),
        };
        match skip_blanks(rest) {
            [b'/', pattern @ .., b'/'] => Ok(Self::Match { left, pattern: pattern.to_vec(), negate }),
            [b'/', _, ..] => Err(invalid()),
            // So that a text can begin with a slash.
            [b'\\', right @ ..] if right.starts_with(b"/") => {
                Ok(Self::Equal { left, right: right.to_vec(), negate })
            }
            right => Ok(Self::Equal { left, right: right.to_vec(), negate }),
        }
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte == b' ').count();
    text.get(blanks..).unwrap_or_default()
}

/// Path and arguments of a link to a page of the same server, decoded. `within` is the path of the page that has
/// the link, before which a relative one is put.
///
/// # Errors
/// That it leads out of the server's folders, for the error log.
pub fn link(link: &[u8], within: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut whole = Vec::new();
    if link.first().is_some_and(|byte| *byte != b'/') {
        let folder = memchr::memrchr(b'/', within).map_or(0, |at| at + 1);
        whole.extend_from_slice(within.get(..folder).unwrap_or_default());
    }
    whole.extend_from_slice(link);
    let end = memchr::memchr(b'?', &whole).unwrap_or(whole.len());
    let (quoted, args) = whole.split_at(end);
    let mut path = Vec::with_capacity(quoted.len());
    unescape(Unescape::Plain, quoted, &mut path);
    let climbs = path.split(|byte| *byte == b'/').any(|segment| segment == b"..");
    if path.is_empty() || climbs || path.contains(&0) {
        return Err(format!("unsafe URI \"{}\" was detected", lossy(&whole)));
    }
    Ok((path, args.get(1..).unwrap_or_default().to_vec()))
}

/// Appends a text so that HTML shows it as it is.
pub fn entities(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            _ => out.push(*byte),
        }
    }
}
