//! Byte ranges of an answer whose length is known (RFC 9110, section 14).

use std::ops::Range;

use weir_http::answer::number;

use crate::conditions::{self, Headers};
use crate::exchange::Exchange;

/// What of the body is sent. Positions are bytes, ends exclusive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Whole,
    One(Range<u64>),
    Many(Multipart),
    /// No part of the body was asked for: 416, with its Content-Range in the answer.
    Unsatisfiable,
}

/// A `multipart/byteranges` body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Multipart {
    /// What stands before a part, and the part.
    pub(crate) parts: Vec<(Vec<u8>, Range<u64>)>,
    /// What stands after the last part.
    pub(crate) end: Vec<u8>,
}

/// What a Range header says of a body.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// It is not to be followed: the answer is the whole body.
    Nothing,
    Parts(Vec<Range<u64>>),
    Unsatisfiable,
}

/// Each part of a multipart answer costs a head of about this size.
const PART_HEAD: u64 = 256;
/// So much may many parts be larger than the body that they are of.
const SLACK: u64 = 4096;

/// Reads the Range header of a request whose answer can be sent in parts, and prepares the answer's head for it.
/// To be called when the filters have run, because `add_header` can change what If-Range is compared with.
pub(crate) fn plan(exchange: &mut Exchange<'_>, size: u64) -> Plan {
    let live = exchange.live();
    let max = live.site().place(exchange.request.location).settings.files.max_ranges;
    let request = &mut *exchange.request;
    if request.answer.status != 200 || exchange.is_sub || max == 0 || exchange.filter.is_some() {
        return Plan::Whole;
    }
    let headers = Headers::of(request);
    let asked = match headers.range.and_then(byte_set) {
        Some(set) if conditions::if_range(&headers, &request.answer) => parse(set, size, max),
        _ => Asked::Nothing,
    };
    let answer = &mut request.answer;
    answer.remove("content-range");
    match asked {
        Asked::Nothing => {
            answer.push(b"Accept-Ranges", b"bytes");
            Plan::Whole
        }
        Asked::Unsatisfiable => {
            // What was prepared is of an answer that is not sent.
            answer.clear();
            let mut value = b"bytes */".to_vec();
            number(size, &mut value);
            answer.push(b"Content-Range", &value);
            Plan::Unsatisfiable
        }
        Asked::Parts(parts) => {
            answer.status = 206;
            answer.reason.clear();
            if let [part] = parts.as_slice() {
                let mut value = b"bytes ".to_vec();
                position(part, size, &mut value);
                answer.push(b"Content-Range", &value);
                answer.content_length = Some(part.end - part.start);
                return Plan::One(part.clone());
            }
            // Unlikely to stand in the body; nobody gains by guessing it.
            let boundary = getrandom::u64().unwrap_or(request.facts.serial);
            let content_type = answer.content_type.take().unwrap_or_default();
            let charset = answer.charset.take();
            let body = multipart(parts, size, &content_type, charset.as_deref(), boundary);
            answer.content_length = Some(body.len());
            answer.content_type = Some(format!("multipart/byteranges; boundary={boundary:020}").into_bytes());
            Plan::Many(body)
        }
    }
}

/// The part of a Range header behind `bytes=`; other units are not known.
fn byte_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(6)?;
    (unit.eq_ignore_ascii_case(b"bytes=") && !set.is_empty()).then_some(set)
}

/// `0-99/1000`
fn position(part: &Range<u64>, size: u64, out: &mut Vec<u8>) {
    number(part.start, out);
    out.push(b'-');
    number(part.end - 1, out);
    out.push(b'/');
    number(size, out);
}

impl Multipart {
    fn len(&self) -> u64 {
        let parts = self.parts.iter().map(|(head, part)| head.len() as u64 + part.end - part.start);
        parts.sum::<u64>() + self.end.len() as u64
    }
}

fn multipart(
    parts: Vec<Range<u64>>,
    size: u64,
    content_type: &[u8],
    charset: Option<&[u8]>,
    boundary: u64,
) -> Multipart {
    let mut before = format!("\r\n--{boundary:020}\r\n").into_bytes();
    if !content_type.is_empty() {
        before.extend_from_slice(b"Content-Type: ");
        before.extend_from_slice(content_type);
        if let Some(charset) = charset {
            before.extend_from_slice(b"; charset=");
            before.extend_from_slice(charset);
        }
        before.extend_from_slice(b"\r\n");
    }
    before.extend_from_slice(b"Content-Range: bytes ");
    let parts = parts.into_iter().map(|part| {
        let mut head = before.clone();
        position(&part, size, &mut head);
        head.extend_from_slice(b"\r\n\r\n");
        (head, part)
    });
    Multipart { parts: parts.collect(), end: format!("\r\n--{boundary:020}--\r\n").into_bytes() }
}

/// Reads the set of a Range header. Parts behind the end of the body are left out; a set that asks for more
/// bytes than the body has, or for more than `max` parts, is an attack and is not followed.
fn parse(set: &[u8], size: u64, max: u32) -> Asked {
    let mut parts = Vec::new();
    let mut total = 0_u64;
    for spec in set.split(|&byte| byte == b',') {
        let Some(part) = parse_one(spec, size) else { return Asked::Unsatisfiable };
        if part.is_empty() {
            if part.start == 0 {
                return Asked::Nothing;
            }
            continue;
        }
        if parts.len() as u64 == u64::from(max) {
            return Asked::Nothing;
        }
        total = total.saturating_add(part.end - part.start);
        parts.push(part);
    }
    match parts.len() as u64 {
        0 => Asked::Unsatisfiable,
        1 => Asked::Parts(parts),
        _ if total > size => Asked::Nothing,
        // Without a limit by the operator there is one by what the heads of the parts cost.
        count if max >= i32::MAX as u32 && total + count * PART_HEAD > size + SLACK => Asked::Nothing,
        _ => Asked::Parts(parts),
    }
}

/// One `first-last`, `first-` or `-length`, cut to the body; empty when it lies behind its end.
fn parse_one(spec: &[u8], size: u64) -> Option<Range<u64>> {
    let spec = trim(spec);
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (trim_end(&spec[..dash]), trim(&spec[dash + 1..]));
    Some(match (first, last) {
        ([], length) => {
            // The header began with a dash, so a length has to follow.
            let length = digits(length)?;
            size.saturating_sub(length)..size
        }
        (first, []) => digits(first)?..size,
        (first, last) => digits(first)?..digits(last)?.saturating_add(1).min(size),
    })
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    trim_end(&text[start..])
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != b' ').map_or(0, |at| at + 1);
    &text[..end]
}

/// A position in a file: at most what its type holds.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = std::str::from_utf8(text).ok()?.parse::<u64>().ok()?;
    i64::try_from(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: u32 = u32::MAX;

    fn parts(set: &str, size: u64) -> Asked {
        parse(set.as_bytes(), size, ANY)
    }

    fn one(part: Range<u64>) -> Asked {
        Asked::Parts(Vec::from([part]))
    }

    #[test]
    fn single_parts_are_cut_to_the_body() {
        assert_eq!(parts("0-8", 1000), one(0..9));
        assert_eq!(parts("-10", 1000), one(990..1000));
        assert_eq!(parts("-2000", 1000), one(0..1000));
        assert_eq!(parts("990-", 1000), one(990..1000));
        assert_eq!(parts(" 990 - 1990 ", 1000), one(990..1000));
    }

    #[test]
    fn several_parts_keep_their_order_and_lose_those_behind_the_end() {
        assert_eq!(parts("0-9, -10, 100000-, 10-19", 1000), Asked::Parts(vec![0..10, 990..1000, 10..20]));
    }

    #[test]
    fn nonsense_is_not_satisfiable() {
        for set in ["alpha", "10-alpha", "10", "10-11 12-", "100000-", "5-4", "-", "", "0-9,", "-0", "--5"] {
            assert_eq!(parts(set, 1000), Asked::Unsatisfiable, "{set}");
        }
        assert_eq!(parts("0-9223372036854775808", 1000), Asked::Unsatisfiable);
        assert_eq!(parts("99999999999999999999-", 1000), Asked::Unsatisfiable);
    }

    #[test]
    fn an_empty_body_is_sent_whole() {
        assert_eq!(parts("0-", 0), Asked::Nothing);
        assert_eq!(parts("-5", 0), Asked::Nothing);
        assert_eq!(parts("1-", 0), Asked::Unsatisfiable);
    }

    #[test]
    fn more_bytes_than_the_body_has_are_an_attack() {
        assert_eq!(parts("0-10001, 0-0", 1000), Asked::Nothing);
        let many = vec!["0-0"; 50].join(",");
        assert_eq!(parts(&many, 1000), Asked::Nothing);
        assert_eq!(parse(many.as_bytes(), 1000, 60), Asked::Parts(vec![0..1; 50]));
    }

    #[test]
    fn the_operator_limits_the_number_of_parts() {
        assert_eq!(parse(b"0-9,-10", 1000, 2), Asked::Parts(vec![0..10, 990..1000]));
        assert_eq!(parse(b"0-9,-10,10000-", 1000, 2), Asked::Parts(vec![0..10, 990..1000]));
        assert_eq!(parse(b"0-9,-10,10-19", 1000, 2), Asked::Nothing);
    }

    #[test]
    fn only_bytes_are_a_unit() {
        assert_eq!(byte_set(b"Bytes=0-1"), Some(&b"0-1"[..]));
        assert_eq!(byte_set(b"bytes="), None);
        assert_eq!(byte_set(b"lines=0-1"), None);
        assert_eq!(byte_set(b"byt"), None);
    }

    #[test]
    fn a_multipart_body_says_what_its_parts_are() {
        let body = multipart(vec![0..1, 8..10], 10, b"text/html", Some(b"utf-8"), 7);
        assert_eq!(
            body.parts[0].0.escape_ascii().to_string(),
            "\\r\\n--00000000000000000007\\r\\nContent-Type: text/html; charset=utf-8\\r\\n\
             Content-Range: bytes 0-0/10\\r\\n\\r\\n"
        );
        assert!(body.parts[1].0.ends_with(b"Content-Range: bytes 8-9/10\r\n\r\n"));
        assert_eq!(body.end, b"\r\n--00000000000000000007--\r\n");
        let written =
            body.parts.iter().map(|(head, part)| head.len() as u64 + part.end - part.start).sum::<u64>();
        assert_eq!(body.len(), written + 28);
    }
}
