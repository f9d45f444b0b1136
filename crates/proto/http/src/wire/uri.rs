//! Paths of requests: decoded and normalized as nginx does, escaped and unescaped.
//! What the path leads to is left to routing.

use memchr::memchr;

/// How a target was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UriFlags {
    /// The path had percent-encoded bytes.
    pub quoted: bool,
    /// The path had dot segments or empty segments, or the target a fragment or no path.
    pub complex: bool,
}

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("\"%\" without two hexadecimal digits")]
    Quoting,
    #[error("encoded NUL")]
    Nul,
    #[error("\"..\" above the root")]
    AboveRoot,
}

/// Where the last segment of the path stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment {
    Usual,
    /// Right behind a slash.
    Slash,
    /// `/.`
    Dot,
    /// `/..`
    DotDot,
}

/// Decodes and normalizes the path of `target`, which is `/path?args`, `?args` or empty, over `uri`, and
/// copies what follows the `?` over `args`. A fragment is dropped.
///
/// # Errors
/// The check that failed; the outputs are then of no use.
pub fn normalize(
    target: &[u8],
    merge_slashes: bool,
    uri: &mut Vec<u8>,
    args: &mut Vec<u8>,
) -> Result<UriFlags, UriError> {
    uri.clear();
    args.clear();
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#' | b'%')).unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    if is_plain(path) && matches!(target.get(end), None | Some(b'?')) {
        let rest = target.get(end + 1..).unwrap_or_default();
        let fragment = memchr(b'#', rest);
        uri.extend_from_slice(path);
        args.extend_from_slice(rest.get(..fragment.unwrap_or(rest.len())).unwrap_or_default());
        return Ok(UriFlags { quoted: false, complex: fragment.is_some() });
    }
    rewrite(target, merge_slashes, uri, args)
}

/// Whether a path without encoded bytes is its own normal form.
fn is_plain(path: &[u8]) -> bool {
    let twice = path.iter().zip(path.iter().skip(1));
    path.first() == Some(&b'/')
        && !twice.fold(false, |found, (&a, &b)| found | (a == b'/') & matches!(b, b'/' | b'.'))
}

fn rewrite(
    target: &[u8],
    merge_slashes: bool,
    uri: &mut Vec<u8>,
    args: &mut Vec<u8>,
) -> Result<UriFlags, UriError> {
    let mut flags = UriFlags { quoted: false, complex: true };
    let mut segment = Segment::Usual;
    let mut rest = target;
    if target.first() != Some(&b'/') {
        segment = Segment::Slash;
        uri.push(b'/');
    }
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let mut byte = *byte;
        // Encoded "%", "#" and "?" are plain text; any other encoded byte acts like the byte itself.
        let mut literal = false;
        if byte == b'%' {
            (byte, rest) = decode(tail)?;
            literal = matches!(byte, b'%' | b'#' | b'?');
            flags.quoted = true;
        }
        if !literal && matches!(byte, b'?' | b'#') {
            if byte == b'?' {
                let end = memchr(b'#', rest).unwrap_or(rest.len());
                args.extend_from_slice(rest.get(..end).unwrap_or_default());
            }
            break;
        }
        segment = step(segment, byte, merge_slashes, uri)?;
    }
    match segment {
        Segment::Dot => uri.truncate(uri.len() - 1),
        Segment::DotDot => up(uri)?,
        Segment::Usual | Segment::Slash => {}
    }
    Ok(flags)
}

/// Appends one byte of a path, or takes back what a dot segment removes.
fn step(segment: Segment, byte: u8, merge_slashes: bool, uri: &mut Vec<u8>) -> Result<Segment, UriError> {
    let next = match (segment, byte) {
        (Segment::Slash, b'/') if merge_slashes => return Ok(Segment::Slash),
        (Segment::Dot, b'/') => {
            uri.truncate(uri.len() - 1);
            return Ok(Segment::Slash);
        }
        (Segment::DotDot, b'/') => {
            up(uri)?;
            return Ok(Segment::Slash);
        }
        (_, b'/') => Segment::Slash,
        (Segment::Slash, b'.') => Segment::Dot,
        (Segment::Dot, b'.') => Segment::DotDot,
        _ => Segment::Usual,
    };
    uri.push(byte);
    Ok(next)
}

/// Removes the `/..` at the end and the segment before it.
fn up(uri: &mut Vec<u8>) -> Result<(), UriError> {
    let kept = uri.len().checked_sub(3).and_then(|len| uri.get(..len)).unwrap_or_default();
    let slash = memchr::memrchr(b'/', kept).ok_or(UriError::AboveRoot)?;
    uri.truncate(slash + 1);
    Ok(())
}

/// The byte of the two digits behind a `%`, and what follows them.
fn decode(text: &[u8]) -> Result<(u8, &[u8]), UriError> {
    let [high, low, rest @ ..] = text else { return Err(UriError::Quoting) };
    let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low).ok_or(UriError::Quoting)?;
    if byte == 0 { Err(UriError::Nul) } else { Ok((byte, rest)) }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// What a text is escaped for; the sets are nginx's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A path: `?` and everything that RFC 3986 forbids unescaped.
    Uri,
    /// A query string's part: also `&`, `+` and `;`.
    Args,
    /// Everything but letters, digits and `-._~`.
    UriComponent,
    /// A link within HTML: as a path, but `?` stays and `'` goes.
    Html,
}

/// Appends `src` to `out`, percent-encoded for `kind` with upper-case digits.
pub fn escape(kind: Escape, src: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(src.len());
    for &byte in src {
        if escapes(kind, byte) {
            out.push(b'%');
            out.extend(DIGITS.get(usize::from(byte >> 4)));
            out.extend(DIGITS.get(usize::from(byte & 15)));
        } else {
            out.push(byte);
        }
    }
}

fn escapes(kind: Escape, byte: u8) -> bool {
    let never_plain = !matches!(byte, 0x21..=0x7e) || b"\"#%<>\\^`{|}".contains(&byte);
    match kind {
        Escape::Uri => never_plain || byte == b'?',
        Escape::Args => never_plain || b"?&+;".contains(&byte),
        Escape::UriComponent => !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        Escape::Html => never_plain || byte == b'\'',
    }
}

/// What an escaped text is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unescape {
    /// Every encoded byte is decoded.
    Plain,
    /// A path: what follows the first `?` stays as it is.
    Uri,
    /// A redirect's target: as a path, and encoded bytes that a URI must encode stay encoded.
    Redirect,
}

/// Appends `src` to `out`, decoded. As in nginx, a `%` without two digits disappears: alone before another
/// character, with both characters when only the first of them is a digit.
pub fn unescape(kind: Unescape, src: &[u8], out: &mut Vec<u8>) {
    let mut rest = src;
    while let [byte, tail @ ..] = rest {
        let stop;
        (rest, stop) = match byte {
            b'%' => unquote(kind, tail, out),
            _ => {
                out.push(*byte);
                (tail, *byte == b'?' && kind != Unescape::Plain)
            }
        };
        if stop {
            break;
        }
    }
    out.extend_from_slice(rest);
}

/// Reads what stands behind a `%`. Returns what follows, and whether decoding stops.
fn unquote<'a>(kind: Unescape, text: &'a [u8], out: &mut Vec<u8>) -> (&'a [u8], bool) {
    let [first, tail @ ..] = text else { return (&[], false) };
    let Some(high) = hex(*first) else {
        out.push(*first);
        return (tail, false);
    };
    let [second, tail @ ..] = tail else { return (&[], false) };
    let Some(low) = hex(*second) else { return (tail, false) };
    let byte = high << 4 | low;
    if kind == Unescape::Redirect && !matches!(byte, b'&'..=b'~') {
        out.extend_from_slice(&[b'%', *first, *second]);
    } else {
        out.push(byte);
    }
    (tail, byte == b'?' && kind != Unescape::Plain)
}
