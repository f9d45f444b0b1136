//! FastCGI (its specification, version 1.0): one request to a responder, and the status of its answer.

use weir_model::check::StatusClasses;

use crate::http::{self, Step};
use crate::reason::{Reason, Verdict};
use crate::{BODY_LIMIT, HEAD_LIMIT};

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
/// Of all requests: a connection carries one at a time.
const REQUEST: u16 = 1;

const CUT_OFF: Reason = Reason::Garbage("fastcgi", "bad record");

/// The records of one request without a body.
pub(crate) fn request(params: &[(String, String)], keep: bool) -> Vec<u8> {
    let mut out = Vec::new();
    put_record(&mut out, BEGIN_REQUEST, &[0, 1, u8::from(keep), 0, 0, 0, 0, 0]); // role: responder
    let mut pairs = Vec::new();
    for (name, value) in params {
        put_length(&mut pairs, name.len());
        put_length(&mut pairs, value.len());
        pairs.extend_from_slice(name.as_bytes());
        pairs.extend_from_slice(value.as_bytes());
    }
    for piece in pairs.chunks(0xffff) {
        put_record(&mut out, PARAMS, piece);
    }
    put_record(&mut out, PARAMS, &[]);
    put_record(&mut out, STDIN, &[]);
    out
}

fn put_record(out: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [id_high, id_low] = REQUEST.to_be_bytes();
    let length = u16::try_from(content.len()).expect("pieces are at most 65535 bytes long");
    let [high, low] = length.to_be_bytes();
    out.extend_from_slice(&[1, kind, id_high, id_low, high, low, 0, 0]);
    out.extend_from_slice(content);
}

/// One byte, or four with the highest bit set.
fn put_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => out.push(short),
        _ => out.extend_from_slice(&(length as u32 | 0x8000_0000).to_be_bytes()),
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    record: Option<Record>,
    taken: usize,
    /// Bytes of END_REQUEST that came.
    end: [u8; 8],
    end_len: usize,
    /// The head is complete; what its output says.
    settled: Option<Verdict>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    kind: u8,
    content: usize,
    padding: usize,
}

impl State {
    pub(crate) fn settled(&self) -> Option<&Verdict> {
        self.settled.as_ref()
    }

    /// `head` collects the output as far as it is needed.
    pub(crate) fn step(
        &mut self,
        expect: StatusClasses,
        reuse: bool,
        input: &[u8],
        head: &mut Vec<u8>,
    ) -> Step {
        let Some(record) = self.record else { return self.begin(input) };
        if record.content == 0 && record.padding == 0 {
            self.record = None;
            return if record.kind == END_REQUEST { self.finish(expect, head) } else { Step::Took(0) };
        }
        if input.is_empty() {
            return Step::Short;
        }
        let (content, padding) = (record.content.min(input.len()), record.padding.min(input.len()));
        if record.content == 0 {
            self.record = Some(Record { padding: record.padding - padding, ..record });
            return self.took(padding);
        }
        self.record = Some(Record { content: record.content - content, ..record });
        let piece = input.get(..content).unwrap_or_default();
        match record.kind {
            STDOUT if self.settled.is_none() => {
                if let Some(step) = self.output(expect, reuse, piece, head) {
                    return step;
                }
            }
            END_REQUEST => {
                for byte in piece {
                    if let Some(place) = self.end.get_mut(self.end_len) {
                        *place = *byte;
                        self.end_len += 1;
                    }
                }
            }
            _ => {}
        }
        self.took(content)
    }

    fn begin(&mut self, input: &[u8]) -> Step {
        let Some(header) = input.first_chunk::<8>() else {
            return if matches!(input, [] | [1, ..]) { Step::Short } else { self.broken() };
        };
        let [version, kind, id_high, id_low, high, low, padding, _] = *header;
        let id = u16::from_be_bytes([id_high, id_low]);
        let known = matches!(kind, STDOUT | STDERR | END_REQUEST) && id == REQUEST;
        // Records of request 0 are the application's own management.
        if version != 1 || !(known || id == 0) {
            return self.broken();
        }
        let content = usize::from(u16::from_be_bytes([high, low]));
        let kind = if id == 0 { 0 } else { kind };
        self.record = Some(Record { kind, content, padding: usize::from(padding) });
        self.took(header.len())
    }

    fn output(
        &mut self,
        expect: StatusClasses,
        reuse: bool,
        piece: &[u8],
        head: &mut Vec<u8>,
    ) -> Option<Step> {
        for byte in piece {
            head.push(*byte);
            if *byte == b'\n' && (head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")) {
                self.settled = Some(judge(expect, head));
                return (!reuse).then(|| self.broken());
            }
            if head.len() > HEAD_LIMIT {
                return Some(Step::fail(Reason::LongHead));
            }
        }
        None
    }

    fn finish(&mut self, expect: StatusClasses, head: &[u8]) -> Step {
        let refused = self.end.get(4).copied().unwrap_or_default();
        if self.end_len < 8 {
            return self.broken();
        }
        if self.settled.is_none() && refused != 0 {
            return Step::fail(Reason::FastcgiRefused(refused));
        }
        let verdict = self.settled.take().unwrap_or_else(|| judge(expect, head));
        Step::Done { verdict, reusable: Some(0) }
    }

    fn took(&mut self, len: usize) -> Step {
        self.taken += len;
        if self.taken > BODY_LIMIT { self.broken() } else { Step::Took(len) }
    }

    fn broken(&mut self) -> Step {
        Step::Done { verdict: self.settled.take().unwrap_or(Verdict::fail(CUT_OFF)), reusable: None }
    }
}

/// The status of a CGI response (RFC 3875, section 6.3): `Status:`, else 302 with `Location:`, else 200. Some
/// applications send a status line instead.
fn judge(expect: StatusClasses, head: &[u8]) -> Verdict {
    let status = match head {
        [b'H', b'T', b'T', b'P', b'/', ..] => {
            http::status_of(head.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default())
        }
        _ => cgi_status(head),
    };
    match status {
        Some(status) => Verdict { passed: expect.has(status), reason: Reason::Status(status) },
        None => Verdict::fail(Reason::Garbage("fastcgi", "output without a valid head")),
    }
}

fn cgi_status(head: &[u8]) -> Option<u16> {
    let mut found = false;
    let mut default = 200;
    for line in head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        found = true;
        if name.eq_ignore_ascii_case(b"status") {
            let digits = value.get(1..)?.trim_ascii_start().get(..3)?;
            return std::str::from_utf8(digits).ok()?.parse().ok();
        }
        if name.eq_ignore_ascii_case(b"location") {
            default = 302;
        }
    }
    found.then_some(default)
}
