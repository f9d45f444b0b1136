//! Responses as bytes: header names in the spelling that Consul's clients compare letter by letter.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;

use crate::http::Answer;

/// A body up to so many bytes is copied behind its head.
const SHORT: usize = 64 * 1024;

/// What of a response depends on its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) http10: bool,
    pub(super) keep_alive: bool,
    /// A response to `HEAD` has the length of a body, and no body.
    pub(super) bodiless: bool,
    pub(super) pretty: bool,
}

impl Form {
    /// Of a response to what is no request.
    pub(super) const fn refusal() -> Self {
        Self { http10: false, keep_alive: false, bodiless: false, pretty: false }
    }
}

/// The head with a short body, and a long body apart.
pub(super) fn encode(answer: Answer, form: Form) -> (Vec<u8>, Bytes) {
    let answer = if form.pretty { answer.indented() } else { answer };
    let mut out = head(&answer, form);
    put(&mut out, format_args!("Content-Length: {}\r\n", answer.body.len()));
    finish(&mut out, form);
    if form.bodiless {
        return (out, Bytes::new());
    }
    if answer.body.len() <= SHORT {
        out.extend_from_slice(&answer.body);
        return (out, Bytes::new());
    }
    (out, answer.body)
}

/// Everything of a head that does not tell how the body ends.
fn head(answer: &Answer, form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + if answer.body.len() <= SHORT { answer.body.len() } else { 0 });
    let version = if form.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let reason = answer.status.canonical_reason().unwrap_or_default();
    put(&mut out, format_args!("{version} {} {reason}\r\n", answer.status.as_u16()));
    for (name, value) in answer.headers.iter().filter(|(name, _)| name != hyper::header::CONNECTION) {
        spell(&mut out, name.as_str());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    put(
        &mut out,
        format_args!("Vary: Accept-Encoding\r\nDate: {}\r\n", httpdate::HttpDate::from(SystemTime::now())),
    );
    out
}

/// The head of a response without an end, and its first line.
pub(super) fn open(answer: &Answer, form: Form) -> Vec<u8> {
    let mut out = head(answer, form);
    out.extend_from_slice(b"Cache-Control: no-store\r\n");
    if !form.http10 {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    finish(&mut out, Form { keep_alive: !form.http10, ..form });
    out.extend_from_slice(&piece(&answer.body, form));
    out
}

/// A part of a body without an announced length (RFC 9112, section 7.1); an empty one is the end.
pub(super) fn piece(bytes: &[u8], form: Form) -> Vec<u8> {
    if form.http10 {
        return bytes.to_vec();
    }
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn finish(out: &mut Vec<u8>, form: Form) {
    match (form.http10, form.keep_alive) {
        (true, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (false, false) => out.extend_from_slice(b"Connection: close\r\n"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// `x-consul-index` as `X-Consul-Index`.
fn spell(out: &mut Vec<u8>, name: &str) {
    let mut first = true;
    for byte in name.bytes() {
        out.push(if first { byte.to_ascii_uppercase() } else { byte });
        first = byte == b'-';
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn lines(answer: Answer, form: Form) -> Vec<String> {
        let (head, body) = encode(answer, form);
        assert!(body.is_empty());
        let text = String::from_utf8(head).expect("text");
        text.split("\r\n").filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect()
    }

    const FORM: Form = Form { http10: false, keep_alive: true, bodiless: false, pretty: false };

    #[test]
    fn headers_are_spelled_as_consul_spells_them() {
        let answer = Answer::json(&["a"]).index(7).consistent();
        let expected = [
            "HTTP/1.1 200 OK",
            "Content-Type: application/json",
            "X-Consul-Index: 7",
            "X-Consul-Knownleader: true",
            "X-Consul-Lastcontact: 0",
            "X-Consul-Effective-Consistency: leader",
            "Vary: Accept-Encoding",
            "Content-Length: 5",
            "",
            "[\"a\"]",
        ];
        assert_eq!(lines(answer, FORM), expected);
    }

    #[test]
    fn a_client_of_http_1_0_is_told_that_its_connection_lives() {
        let kept = lines(Answer::json(&1), Form { http10: true, ..FORM });
        assert_eq!(kept.first().map(String::as_str), Some("HTTP/1.0 200 OK"));
        assert!(kept.contains(&"Connection: keep-alive".to_owned()), "{kept:?}");
        let ended = lines(Answer::json(&1), Form { http10: true, keep_alive: false, ..FORM });
        assert!(!ended.iter().any(|line| line.starts_with("Connection:")), "{ended:?}");
    }

    #[test]
    fn head_has_the_length_of_a_body_alone() {
        let refused = Answer::text(StatusCode::METHOD_NOT_ALLOWED, "method HEAD not allowed");
        let head = lines(refused, Form { bodiless: true, ..FORM });
        assert!(head.contains(&"Content-Length: 23".to_owned()), "{head:?}");
        assert_eq!(head.last().map(String::as_str), Some(""));
    }
}
