//! The answer's head: collected by content handlers, changed by filters, written once.

use crate::wire::head::{Field, Span};
use crate::wire::status::reason;

/// Head of an answer. Names with a slot of their own stand first on the wire, in nginx's order.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// A peer's reason phrase, when its status line is passed on.
    pub reason: Vec<u8>,
    pub content_type: Option<Vec<u8>>,
    pub charset: Option<Vec<u8>>,
    pub content_length: Option<u64>,
    pub last_modified: Option<Vec<u8>>,
    pub location: Option<Vec<u8>>,
    /// A peer's own Server and Date, when they are passed; empty when it sent none, and none is written.
    pub server: Option<Vec<u8>>,
    pub date: Option<Vec<u8>>,
    pub chunked: bool,
    pub keep_alive: bool,
    /// `Keep-Alive: timeout=`.
    pub keep_alive_header: Option<u64>,
    /// A 101 answer with its Upgrade header.
    pub upgrade: bool,
    pub vary: bool,
    /// Trailer lines that `add_trailer` gives, evaluated when the body ends.
    pub has_trailers: bool,
    /// The trailers as they were sent, for `$sent_trailer_*`.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl Answer {
    /// Empty, with capacity kept.
    pub fn clear(&mut self) {
        let (mut bytes, mut fields) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.fields));
        bytes.clear();
        fields.clear();
        *self = Self { bytes, fields, ..Self::default() };
    }

    /// Adds a header without a slot of its own.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.store(name);
        let value = self.store(value);
        self.fields.push(Field { name, value });
    }

    fn store(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        Span { start, end: self.bytes.len() as u32 }
    }

    /// Name and value of each header without a slot.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }

    /// Removes headers without a slot by name.
    pub fn remove(&mut self, name: &str) {
        let Self { bytes, fields, .. } = self;
        fields.retain(|field| !field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()));
    }

    /// Marks the entity tag as one of equivalent, not of equal bodies (RFC 9110, section 8.8.1). One that is not
    /// in quotes goes.
    pub fn weaken_etag(&mut self) {
        let tag = self.fields().find(|(name, _)| name.eq_ignore_ascii_case(b"etag"));
        let Some(tag) = tag.map(|(_, tag)| tag.to_vec()).filter(|tag| !tag.starts_with(b"W/")) else {
            return;
        };
        self.remove("etag");
        if tag.starts_with(b"\"") {
            self.push(b"ETag", &[b"W/", tag.as_slice()].concat());
        }
    }

    /// Whether a header without a slot is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields().any(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Writes the status line and the header lines with the empty line after them.
    pub fn write(&self, date: &[u8], server_tokens: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        number(u64::from(self.status), out);
        out.push(b' ');
        if self.reason.is_empty() {
            out.extend_from_slice(reason(self.status).as_bytes());
        } else {
            out.extend_from_slice(&self.reason);
        }
        match self.server.as_deref() {
            Some(b"") => {}
            Some(server) => line(out, b"Server", server),
            None => {
                out.extend_from_slice(b"\r\nServer: ");
                write_server(server_tokens, out);
            }
        }
        match self.date.as_deref() {
            Some(b"") => {}
            passed => line(out, b"Date", passed.unwrap_or(date)),
        }
        if let Some(content_type) = &self.content_type {
            line(out, b"Content-Type", content_type);
            if let Some(charset) = &self.charset {
                out.extend_from_slice(b"; charset=");
                out.extend_from_slice(charset);
            }
        }
        if let Some(length) = self.content_length {
            out.extend_from_slice(b"\r\nContent-Length: ");
            number(length, out);
        }
        if let Some(value) = &self.last_modified {
            line(out, b"Last-Modified", value);
        }
        if let Some(value) = &self.location {
            line(out, b"Location", value);
        }
        if self.chunked {
            line(out, b"Transfer-Encoding", b"chunked");
        }
        let connection: &[u8] = match (self.upgrade, self.keep_alive) {
            (true, _) => b"upgrade",
            (false, true) => b"keep-alive",
            (false, false) => b"close",
        };
        line(out, b"Connection", connection);
        if let (Some(seconds), true) = (self.keep_alive_header, self.keep_alive) {
            out.extend_from_slice(b"\r\nKeep-Alive: timeout=");
            number(seconds, out);
        }
        if self.vary {
            line(out, b"Vary", b"Accept-Encoding");
        }
        for (name, value) in self.fields() {
            line(out, name, value);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// The Server header: the nginx version whose behaviour is served, and whose name operators expect.
pub fn write_server(tokens: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"nginx");
    if tokens {
        out.push(b'/');
        out.extend_from_slice(weir_model::NGINX_VERSION.as_bytes());
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
}

/// Appends a number in decimal digits.
pub fn number(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        at -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}
