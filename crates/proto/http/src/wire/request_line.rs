//! The request line: method, target, version (RFC 9112, 3), as strict as nginx or stricter.
//! Decoding of the target is left to `uri`.

use memchr::memchr;

use super::error::HeadError;
use super::field::{Span, Version, control};
use super::host;

/// Longest method; the longest registered one has 17 characters.
const METHOD_MAX: usize = 32;

/// Host and path of a target in absolute form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    pub scheme: Span,
    /// `host[:port]`
    pub host: Span,
    /// From the first `/` or `?`; empty when there is none.
    pub path: Span,
}

/// What a request line says; spans count from the start of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) version: Version,
    pub(super) absolute: Option<Authority>,
}

/// Refuses a line that can be seen to be wrong from its first bytes, whether its end is there or not.
pub(super) fn precheck(line: &[u8]) -> Result<(), HeadError> {
    let method = line.iter().take(METHOD_MAX + 1).take_while(|&&byte| is_method(byte)).count();
    match line.get(method) {
        _ if method > METHOD_MAX => return Err(HeadError::InvalidMethod),
        None => return Ok(()),
        Some(b' ') if method > 0 => {}
        Some(_) => return Err(HeadError::InvalidMethod),
    }
    let target = line.iter().skip(method).take(METHOD_MAX).find(|&&byte| byte != b' ');
    match target {
        Some(&byte) if !starts_target(byte) => Err(HeadError::InvalidRequest),
        _ => Ok(()),
    }
}

/// Reads a line without its line end; `precheck` has passed it.
pub(super) fn parse(line: &[u8]) -> Result<RequestLine, HeadError> {
    let method_end = memchr(b' ', line).ok_or(HeadError::InvalidMethod)?;
    let method = line.get(..method_end).unwrap_or_default();
    let start = skip_spaces(line, method_end);
    let rest = line.get(start..).unwrap_or_default();
    // A line that ends with its target is HTTP/0.9, which is not spoken.
    let length = memchr(b' ', rest).ok_or(HeadError::InvalidRequest)?;
    let target = rest.get(..length).unwrap_or_default();
    if control(target).is_some() || memchr(b'\t', target).is_some() {
        return Err(HeadError::InvalidRequest);
    }
    let absolute = match target.first() {
        Some(b'/') if method != b"CONNECT" => None,
        Some(_) if method == b"CONNECT" => {
            connect(target)?;
            None
        }
        Some(_) => Some(absolute(target, start)?),
        None => return Err(HeadError::InvalidRequest),
    };
    let version = version(line.get(skip_spaces(line, start + length)..).unwrap_or_default())?;
    Ok(RequestLine {
        method: Span::new(0, method_end),
        target: Span::new(start, start + length),
        version,
        absolute,
    })
}

/// `scheme://host[:port]` and an optional path; `base` is the target's offset in the line.
fn absolute(target: &[u8], base: usize) -> Result<Authority, HeadError> {
    let colon = memchr(b':', target).ok_or(HeadError::InvalidRequest)?;
    let scheme = target.get(..colon).unwrap_or_default();
    let first = scheme.first().is_some_and(u8::is_ascii_alphabetic);
    if !first || !scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)) {
        return Err(HeadError::InvalidRequest);
    }
    let rest = target.get(colon..).unwrap_or_default();
    let rest = rest.strip_prefix(b"://").ok_or(HeadError::InvalidRequest)?;
    let length = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = rest.get(..length).unwrap_or_default();
    if !is_authority(authority) {
        return Err(HeadError::InvalidRequest);
    }
    host::split(authority).map_err(|_| HeadError::InvalidAuthority)?;
    let host_start = base + colon + 3;
    Ok(Authority {
        scheme: Span::new(base, base + colon),
        host: Span::new(host_start, host_start + length),
        path: Span::new(host_start + length, base + target.len()),
    })
}

/// `host:port`, the only form of CONNECT (RFC 9112, 3.2.3).
fn connect(target: &[u8]) -> Result<(), HeadError> {
    let (_, port) = bare_host(target);
    match port {
        [b':', digits @ ..] if !digits.is_empty() && is_authority(target) => {}
        _ => return Err(HeadError::InvalidRequest),
    }
    host::split(target).map(|_| ()).map_err(|_| HeadError::InvalidAuthority)
}

/// Letters, digits, `.` and `-`, or a literal in brackets; then maybe a port.
fn is_authority(text: &[u8]) -> bool {
    match bare_host(text).1 {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The host of an authority, and what follows it.
fn bare_host(text: &[u8]) -> (&[u8], &[u8]) {
    let length = if text.first() == Some(&b'[') {
        memchr(b']', text).map_or(0, |at| at + 1)
    } else {
        text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte)).count()
    };
    text.split_at_checked(length).unwrap_or_default()
}

/// `HTTP/1.x` with spaces behind it.
fn version(text: &[u8]) -> Result<Version, HeadError> {
    let digits = text.strip_prefix(b"HTTP/").ok_or(HeadError::InvalidRequest)?;
    let dot = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match digits.get(..dot).unwrap_or_default() {
        [] | [b'0', ..] => return Err(HeadError::InvalidRequest),
        [b'1'] => {}
        _ => return Err(HeadError::InvalidVersion),
    }
    let minor = digits.get(dot..).unwrap_or_default();
    let minor = minor.strip_prefix(b".").ok_or(HeadError::InvalidRequest)?;
    let spaces = minor.iter().rev().take_while(|&&byte| byte == b' ').count();
    let minor = minor.get(..minor.len() - spaces).unwrap_or_default();
    match minor {
        b"1" => Ok(Version::Http11),
        [] => Err(HeadError::InvalidRequest),
        _ if minor.len() > 3 || !minor.iter().all(u8::is_ascii_digit) => Err(HeadError::InvalidRequest),
        _ if minor.iter().all(|&byte| byte == b'0') => Ok(Version::Http10),
        _ => Ok(Version::Http11),
    }
}

fn skip_spaces(line: &[u8], from: usize) -> usize {
    from + line.iter().skip(from).take_while(|&&byte| byte == b' ').count()
}

fn is_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'_' || byte == b'-'
}

/// Origin form, absolute form, or the host of CONNECT.
fn starts_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'['
}
