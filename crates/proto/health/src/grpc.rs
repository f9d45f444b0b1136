//! The gRPC health protocol over HTTP/2 with prior knowledge: the few frames of one call.

use crate::http::Step;
use crate::reason::{Reason, Verdict};
use crate::{BODY_LIMIT, HEAD_LIMIT, hpack};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS_HEADER_TABLE_SIZE and SETTINGS_ENABLE_PUSH, both 0.
const SETTINGS: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
/// Before the peer's window would be used up by answers that nobody gives credit for, the connection is changed.
const WINDOW: usize = 32 * 1024;
/// SETTINGS_MAX_FRAME_SIZE where nobody says more.
const MAX_FRAME: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS_FRAME: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

const SERVING: u32 = 1;

fn garbage(found: &'static str) -> Reason {
    Reason::Garbage("grpc", found)
}

/// The parts of a call that are the same for every stream.
#[derive(Debug)]
pub(crate) struct Call {
    headers: Vec<u8>,
    message: Vec<u8>,
    /// A status beside 0 that passes.
    status: Option<u32>,
}

impl Call {
    /// `Check` of `grpc.health.v1.Health` for a service; the empty one is the server as a whole.
    pub(crate) fn new(service: &str, status: Option<u32>, authority: &str) -> Self {
        let mut headers = vec![0x83, 0x86, 0x04]; // POST, http, and :path by the static table
        put_string(&mut headers, b"/grpc.health.v1.Health/Check");
        headers.push(0x01); // :authority
        put_string(&mut headers, authority.as_bytes());
        headers.extend_from_slice(&[0x0f, 0x10]); // content-type
        put_string(&mut headers, b"application/grpc");
        headers.push(0x00);
        put_string(&mut headers, b"te");
        put_string(&mut headers, b"trailers");
        let mut request = Vec::new();
        if !service.is_empty() {
            request.push(0x0a); // field 1, a string
            put_varint(&mut request, service.len());
            request.extend_from_slice(service.as_bytes());
        }
        let mut message = vec![0];
        message.extend_from_slice(&(request.len() as u32).to_be_bytes());
        message.extend_from_slice(&request);
        Self { headers, message, status }
    }
}

/// RFC 7541, section 5.2, not packed.
fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 0x7f {
        out.push(text.len() as u8);
    } else {
        out.push(0x7f);
        put_varint(out, text.len() - 0x7f);
    }
    out.extend_from_slice(text);
}

/// Seven bits a byte, the lowest first: the form that HPACK and protocol buffers share.
fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[high, middle, low, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A connection and the call that runs on it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Of the running call; odd.
    stream: u32,
    /// Bytes of the connection's window that were used.
    window: usize,
    /// No new call on this connection.
    ending: bool,
    block: Vec<u8>,
    /// A block goes on in the next frame, with the END_STREAM flag of its first.
    open_block: Option<bool>,
    message: Vec<u8>,
    http_status: Option<u32>,
    grpc_status: Option<u32>,
    taken: usize,
}

impl State {
    /// Starts a call: what is to be sent.
    pub(crate) fn begin(&mut self, call: &Call, fresh: bool, out: &mut Vec<u8>) {
        if fresh {
            *self = Self { stream: 1, ..Self::default() };
            out.extend_from_slice(PREFACE);
            put_frame(out, SETTINGS_FRAME, 0, 0, &SETTINGS);
        } else {
            *self = Self { stream: self.stream + 2, window: self.window, ..Self::default() };
        }
        put_frame(out, HEADERS, END_HEADERS, self.stream, &call.headers);
        put_frame(out, DATA, END_STREAM, self.stream, &call.message);
    }

    /// Reads one frame; answers to it go to `out`.
    pub(crate) fn step(&mut self, call: &Call, input: &[u8], out: &mut Vec<u8>) -> Step {
        let Some(([high, middle, low, kind, flags, stream @ ..], rest)) = input.split_first_chunk::<9>()
        else {
            // The first frame is SETTINGS; whoever speaks HTTP/1 shows it in the type's place.
            return match input {
                [_, _, _, kind, ..] if self.taken == 0 && self.stream == 1 && *kind != SETTINGS_FRAME => {
                    Step::fail(garbage("first frame is no settings"))
                }
                _ => Step::Short,
            };
        };
        if self.taken == 0 && self.stream == 1 && *kind != SETTINGS_FRAME {
            return Step::fail(garbage("first frame is no settings"));
        }
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        if length > MAX_FRAME {
            return Step::fail(garbage("frame longer than 16384 bytes"));
        }
        let Some(payload) = rest.get(..length) else { return Step::Short };
        self.taken += 9 + length;
        if self.taken > BODY_LIMIT {
            return Step::fail(garbage("too many frames"));
        }
        let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
        match self.frame(*kind, *flags, stream, payload, out) {
            Ok(false) => Step::Took(9 + length),
            Ok(true) => self.finish(call, 9 + length),
            Err(reason) => Step::fail(reason),
        }
    }

    /// True when the call has ended.
    fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, Reason> {
        if self.open_block.is_some() && kind != CONTINUATION {
            return Err(garbage("header block is interrupted"));
        }
        match kind {
            SETTINGS_FRAME if flags & ACK == 0 => put_frame(out, SETTINGS_FRAME, ACK, 0, &[]),
            PING if flags & ACK == 0 => put_frame(out, PING, ACK, 0, payload),
            GOAWAY => {
                self.ending = true;
                if word(payload, 0).is_none_or(|last| last & 0x7fff_ffff < self.stream) {
                    return Err(Reason::Reset(word(payload, 4).unwrap_or_default()));
                }
            }
            PUSH_PROMISE => return Err(garbage("push promise")),
            RST_STREAM if stream == self.stream => {
                // A server that has answered may stop the rest of the request with NO_ERROR.
                return if self.grpc_status.is_some() {
                    Ok(true)
                } else {
                    Err(Reason::Reset(word(payload, 0).unwrap_or_default()))
                };
            }
            DATA if stream == self.stream => {
                self.window += payload.len();
                let data = unpadded(payload, flags)?;
                let room = HEAD_LIMIT.saturating_sub(self.message.len()).min(data.len());
                self.message.extend_from_slice(data.get(..room).unwrap_or_default());
                return Ok(flags & END_STREAM != 0);
            }
            HEADERS if stream == self.stream => {
                let mut block = unpadded(payload, flags)?;
                if flags & PRIORITY != 0 {
                    block = block.get(5..).ok_or(garbage("bad headers frame"))?;
                }
                return self.block(block, flags, flags & END_STREAM != 0);
            }
            CONTINUATION => {
                let ends = self.open_block.take().ok_or(garbage("continuation of nothing"))?;
                return self.block(payload, flags, ends);
            }
            _ => {}
        }
        Ok(false)
    }

    fn block(&mut self, piece: &[u8], flags: u8, ends_stream: bool) -> Result<bool, Reason> {
        self.block.extend_from_slice(piece);
        if self.block.len() > HEAD_LIMIT {
            return Err(Reason::LongHead);
        }
        if flags & END_HEADERS == 0 {
            self.open_block = Some(ends_stream);
            return Ok(false);
        }
        let block = std::mem::take(&mut self.block);
        let read = hpack::fields(&block, |name, value| match name {
            b":status" => self.http_status = number(value),
            b"grpc-status" => self.grpc_status = number(value),
            _ => {}
        });
        read.map_err(|hpack::Malformed| garbage("bad header block"))?;
        Ok(ends_stream)
    }

    fn finish(&mut self, call: &Call, end: usize) -> Step {
        let fit = !self.ending && self.window < WINDOW && self.stream < 0x4000_0000;
        Step::Done { verdict: self.judge(call), reusable: fit.then_some(end) }
    }

    /// <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>
    fn judge(&self, call: &Call) -> Verdict {
        let status = match (self.http_status, self.grpc_status) {
            (_, Some(status)) => status,
            (Some(200) | None, None) => return Verdict::fail(garbage("no grpc-status")),
            (Some(http), None) => return Verdict::fail(Reason::Status(http.try_into().unwrap_or(0))),
        };
        if status != 0 || call.status == Some(0) {
            return Verdict { passed: call.status == Some(status), reason: Reason::GrpcStatus(status) };
        }
        match serving_status(&self.message) {
            Some(SERVING) => Verdict::pass(Reason::Serving),
            Some(other) => Verdict::fail(Reason::NotServing(other)),
            None => Verdict::fail(garbage("bad health message")),
        }
    }
}

fn word(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

fn number(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn unpadded(payload: &[u8], flags: u8) -> Result<&[u8], Reason> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let split = payload.split_first().and_then(|(padding, rest)| {
        let end = rest.len().checked_sub(usize::from(*padding))?;
        rest.get(..end)
    });
    split.ok_or(garbage("bad padding"))
}

/// Field 1 of `HealthCheckResponse` in the first message; absent is 0.
fn serving_status(message: &[u8]) -> Option<u32> {
    let (0, rest) = message.split_first().map(|(packed, rest)| (*packed, rest))? else { return None };
    let length = usize::try_from(word(rest, 0)?).ok()?;
    let mut fields = rest.get(4..)?.get(..length)?;
    let mut status = 0;
    while !fields.is_empty() {
        let key = varint(&mut fields)?;
        match key & 7 {
            0 => {
                let value = varint(&mut fields)?;
                if key >> 3 == 1 {
                    status = u32::try_from(value).ok()?;
                }
            }
            1 => fields = fields.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut fields)?).ok()?;
                fields = fields.get(length..)?;
            }
            5 => fields = fields.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
