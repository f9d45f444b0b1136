//! The body of a peer's answer on its way to the client, with bounded memory.

mod end;
mod filtered;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll};

use tokio::time::Instant;
use weir_http::wire::chunked::{Chunk, Chunked, write_chunk_head};
use weir_http::wire::response::ResponseHead;
use weir_log::clock;
use weir_model::{Level, Proxy};

use super::Answered;
use super::pool::Link;
use super::send::Sending;
use crate::body::Spill;
use crate::buffers::{LARGE, SMALL};
use crate::deadline;
use crate::exchange::{Exchange, Sink};
use crate::throttle::{Allowed, Throttle};
use crate::{filter, respond};

/// Bytes of a body that are copied behind what goes before them.
const JOIN: usize = 4096;

/// How the end of a peer's body is told (RFC 9112, section 6.3).
pub(super) enum Framing {
    Empty,
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose,
}

impl Framing {
    pub(super) fn of(head: &ResponseHead, bodyless: bool) -> Self {
        match head.content_length {
            _ if bodyless => Self::Empty,
            _ if head.chunked => Self::Chunked(Box::new(Chunked::new())),
            Some(length) => Self::Length(length),
            None => Self::UntilClose,
        }
    }
}

/// How a relay ended.
pub(super) enum End {
    /// All was delivered. The link is there when it can carry another request.
    Complete {
        link: Option<Link>,
    },
    PeerFailed,
    ClientGone,
}

/// What stopped the pump.
enum Stop {
    Delivered,
    ClientGone,
    ClientTimeout,
    PeerTimeout,
    Peer(Fault),
    File(io::Error),
}

enum Fault {
    Closed,
    Read(io::Error),
    Chunk(String),
}

struct Relay<'a> {
    framing: Framing,
    /// Bytes of the peer; `raw[at..]` has not been looked at.
    raw: Vec<u8>,
    at: usize,
    /// `raw[ready..at]` is body that goes to the client as it is.
    ready: usize,
    /// Framed bytes that go before it: the head, and everything when the client gets chunks.
    out: Vec<u8>,
    out_at: usize,
    spill: Option<Spill>,
    spill_at: u64,
    /// Framed bytes that go after the temporary file.
    late: Vec<u8>,
    /// The peer's body is complete.
    complete: bool,
    ended: bool,
    /// What went wrong with the peer. The client still gets what came before.
    fault: Option<Fault>,
    chunked_out: bool,
    buffered: bool,
    /// Bytes of the body from the peer.
    length: u64,
    /// Of `out`, bytes of the head that are not body.
    head_left: usize,
    to_client: bool,
    /// Body bytes for a filter, when there is one.
    tap: Option<Vec<u8>>,
    throttle: Option<Throttle>,
    /// When the throttle lets more go.
    resume: Option<Instant>,
    /// `proxy_limit_rate`, and when it lets more come.
    intake: Option<Throttle>,
    resume_intake: Option<Instant>,
    proxy: &'a Proxy,
}

/// Relays an answer whose head is known.
pub(super) async fn run(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    sending: &mut Sending,
    answered: Answered,
    framing: Framing,
    buffered: bool,
) -> End {
    let Answered { mut link, head, bytes } = answered;
    let mut out = exchange.client.thread.buffers.small();
    respond::filter(exchange);
    let filter = filter::begin(exchange);
    if filter.is_none() {
        respond::write_head(exchange, &mut out);
    }
    let at = (head.len as usize).min(bytes.len());
    let mut relay = Relay {
        chunked_out: filter.is_none() && exchange.request.answer.chunked,
        to_client: matches!(exchange.sink, Sink::Client),
        tap: filter.is_some().then(Vec::new),
        head_left: out.len(),
        framing,
        raw: bytes,
        at,
        ready: at,
        out,
        out_at: 0,
        spill: None,
        spill_at: 0,
        late: Vec::new(),
        complete: false,
        ended: false,
        fault: None,
        buffered,
        length: 0,
        throttle: if filter.is_none() { Throttle::of(exchange) } else { None },
        resume: None,
        intake: Throttle::of_intake(exchange, &proxy.limit_rate),
        resume_intake: None,
        proxy,
    };
    let stop = match filter {
        None => relay.pump(exchange, sending, &mut link).await,
        Some(filter) => Box::pin(relay.pump_filtered(exchange, sending, &mut link, filter)).await,
    };
    let end = relay.settle(exchange, sending, link, &head, stop);
    exchange.client.thread.buffers.give_head(head);
    end
}

impl Relay<'_> {
    async fn pump(&mut self, exchange: &mut Exchange<'_>, sending: &mut Sending, link: &mut Link) -> Stop {
        let mut client_end: Option<Instant> = None;
        let mut peer_end: Option<Instant> = None;
        let send_timeout = respond::send_timeout(exchange);
        let watch = !self.proxy.ignore_client_abort;
        poll_fn(|cx| {
            if !sending.done {
                let (client, request) = (&mut *exchange.client, &mut *exchange.request);
                // A peer that answers before it has read everything decides itself what it still takes.
                if let Poll::Ready(Err(_)) =
                    sending.poll(cx, &mut link.stream, client, &mut exchange.body, request)
                {
                    sending.done = true;
                    sending.cut = true;
                }
            }
            loop {
                if self.fault.is_none() {
                    self.fault = self.digest(exchange).err();
                }
                let wrote = match self.poll_write(cx, exchange) {
                    Ok(wrote) => wrote,
                    Err(stop) => return Poll::Ready(stop),
                };
                if self.is_drained() {
                    if self.complete {
                        return Poll::Ready(Stop::Delivered);
                    }
                    if let Some(fault) = self.fault.take() {
                        return Poll::Ready(Stop::Peer(fault));
                    }
                }
                let read = match self.poll_read(cx, exchange, link) {
                    Ok(read) => read,
                    Err(Stop::Peer(fault)) => {
                        self.fault = Some(fault);
                        continue;
                    }
                    Err(stop) => return Poll::Ready(stop),
                };
                if wrote {
                    client_end = None;
                }
                if read {
                    peer_end = None;
                }
                if !wrote && !read {
                    break;
                }
            }
            // Nothing is written now that would show it.
            if (self.resume.is_some() || self.is_drained()) && watch && exchange.client_gone(cx) {
                return Poll::Ready(Stop::ClientGone);
            }
            if let Some(at) = self.pause() {
                if self.resume.is_some() {
                    client_end = None;
                }
                if exchange.client.deadline.poll(cx, at).is_ready() {
                    cx.waker().wake_by_ref();
                }
            } else if !self.is_drained() {
                let at = *client_end.get_or_insert_with(|| deadline::now() + send_timeout);
                if exchange.client.deadline.poll(cx, at).is_ready() {
                    return Poll::Ready(Stop::ClientTimeout);
                }
            } else if !self.complete {
                let at =
                    *peer_end.get_or_insert_with(|| deadline::now() + self.proxy.read_timeout.duration());
                if exchange.client.deadline.poll(cx, at).is_ready() {
                    return Poll::Ready(Stop::PeerTimeout);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// When a limited rate lets something move again.
    fn pause(&self) -> Option<Instant> {
        match (self.resume, self.resume_intake) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Looks at what the peer sent and frames it for the client.
    fn digest(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Fault> {
        while !self.complete {
            let fresh = self.raw.get(self.at..).unwrap_or_default();
            match &mut self.framing {
                Framing::Empty => self.complete = true,
                Framing::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(fresh.len());
                    *left -= count as u64;
                    self.complete = *left == 0;
                    let complete = self.complete;
                    self.pass(exchange, count);
                    if !complete {
                        break;
                    }
                }
                Framing::UntilClose => {
                    let count = fresh.len();
                    self.pass(exchange, count);
                    self.complete = self.ended;
                    if !self.complete {
                        break;
                    }
                }
                Framing::Chunked(decoder) => {
                    if fresh.is_empty() {
                        break;
                    }
                    match decoder.advance(fresh).map_err(|error| Fault::Chunk(error.to_string()))? {
                        Chunk::Data { skip, len } => {
                            self.skip(skip);
                            self.pass(exchange, len);
                        }
                        Chunk::NeedMore { consumed } => self.skip(consumed),
                        Chunk::End { consumed } => {
                            exchange.request.answer.has_trailers |= self.proxy.pass_trailers;
                            if exchange.request.answer.has_trailers {
                                let fields =
                                    decoder.fields().map(|(name, value)| (name.to_vec(), value.to_vec()));
                                exchange.request.upstream.trailers = fields.collect();
                            }
                            self.skip(consumed);
                            self.complete = true;
                        }
                    }
                }
            }
            if self.complete && self.chunked_out {
                self.flush_ready();
                respond::last_chunk(exchange, self.tail());
            }
        }
        Ok(())
    }

    /// Bytes that are framing of the peer and go nowhere.
    fn skip(&mut self, count: usize) {
        if self.ready < self.at {
            self.flush_ready();
        }
        self.at += count;
        self.ready = self.at;
    }

    /// Bytes of the body.
    fn pass(&mut self, exchange: &mut Exchange<'_>, count: usize) {
        if count == 0 {
            return;
        }
        self.length += count as u64;
        if let Some(tap) = &mut self.tap {
            tap.extend_from_slice(self.raw.get(self.at..self.at + count).unwrap_or_default());
            self.at += count;
            self.ready = self.at;
            return;
        }
        if let Sink::Collect { body, limit } = &mut exchange.sink {
            let room = limit.saturating_sub(body.len()).min(count);
            body.extend_from_slice(self.raw.get(self.at..self.at + room).unwrap_or_default());
            self.at += count;
            self.ready = self.at;
            return;
        }
        self.at += count;
        if self.chunked_out {
            let tail = if self.behind() { &mut self.late } else { &mut self.out };
            let data = self.raw.get(self.ready..self.at).unwrap_or_default();
            write_chunk_head(tail, data.len());
            tail.extend_from_slice(data);
            tail.extend_from_slice(b"\r\n");
            self.ready = self.at;
        }
    }

    /// Moves ready bytes behind what is framed, so that their place in `raw` is free.
    fn flush_ready(&mut self) {
        let tail = if self.behind() { &mut self.late } else { &mut self.out };
        tail.extend_from_slice(self.raw.get(self.ready..self.at).unwrap_or_default());
        self.ready = self.at;
    }

    /// Whether the temporary file, or what goes after it, has to reach the client before anything new.
    fn behind(&self) -> bool {
        !self.late.is_empty() || self.spill.as_ref().is_some_and(|spill| self.spill_at < spill.len)
    }

    /// Where framed bytes go so that they stay in order.
    fn tail(&mut self) -> &mut Vec<u8> {
        if self.behind() { &mut self.late } else { &mut self.out }
    }

    fn is_drained(&self) -> bool {
        self.out_at == self.out.len() && self.ready == self.at && !self.behind()
    }

    /// Writes to the client. True when something moved.
    fn poll_write(&mut self, cx: &mut Context<'_>, exchange: &mut Exchange<'_>) -> Result<bool, Stop> {
        if !self.to_client {
            self.out_at = self.out.len();
            return Ok(false);
        }
        let mut moved = false;
        if self.at - self.ready <= JOIN && self.out_at < self.out.len() && !self.behind() {
            // A short copy costs less than a vectored write.
            self.flush_ready();
        }
        self.resume = None;
        loop {
            let out = self.out.get(self.out_at..).unwrap_or_default();
            let ready = if self.behind() { self.at } else { self.ready };
            let data = self.raw.get(ready..self.at).unwrap_or_default();
            if out.is_empty() && data.is_empty() {
                self.out.clear();
                self.out_at = 0;
                if !self.refill().map_err(Stop::File)? {
                    return Ok(moved);
                }
                continue;
            }
            let (out, data) = match self.throttle.map(|throttle| {
                throttle.allowed(clock::mono_ms(), exchange.request.sent, (out.len() + data.len()) as u64)
            }) {
                None => (out, data),
                Some(Allowed::Bytes(count)) => first_bytes(out, data, count),
                Some(Allowed::Wait(time)) => {
                    self.resume = Some(deadline::now() + time);
                    return Ok(moved);
                }
            };
            let stream = &mut exchange.client.stream;
            let wrote = match (out.is_empty(), data.is_empty()) {
                (false, true) => stream.poll_write(cx, out),
                (true, _) => stream.poll_write(cx, data),
                (false, false) => stream.poll_write_vectored(cx, &[IoSlice::new(out), IoSlice::new(data)]),
            };
            match wrote {
                Poll::Ready(Ok(count @ 1..)) => {
                    moved = true;
                    let of_out = count.min(out.len());
                    self.out_at += of_out;
                    self.ready += count - of_out;
                    let of_head = of_out.min(self.head_left);
                    self.head_left -= of_head;
                    exchange.request.sent += count as u64;
                    exchange.request.body_sent += (count - of_head) as u64;
                }
                Poll::Ready(_) => return Err(Stop::ClientGone),
                Poll::Pending => return Ok(moved),
            }
        }
    }

    /// Takes back from the temporary file what the client can have next.
    fn refill(&mut self) -> io::Result<bool> {
        let Some(spill) = &mut self.spill else { return Ok(false) };
        let want = usize::try_from(spill.len - self.spill_at).unwrap_or(usize::MAX).min(LARGE / 4);
        if want == 0 {
            // All of it was delivered: its room on the disk is free again.
            spill.file.set_len(0)?;
            spill.len = 0;
            self.spill_at = 0;
            std::mem::swap(&mut self.out, &mut self.late);
            return Ok(!self.out.is_empty());
        }
        self.out.resize(want, 0);
        spill.file.read_exact_at(&mut self.out, self.spill_at)?;
        self.spill_at += want as u64;
        Ok(true)
    }

    /// Reads from the peer as far as there is room. True when something came.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange<'_>,
        link: &mut Link,
    ) -> Result<bool, Stop> {
        self.resume_intake = None;
        if self.complete || self.ended || self.fault.is_some() || !self.make_room(exchange)? {
            return Ok(false);
        }
        let read = match &self.intake {
            None => link.stream.poll_read(cx, &mut self.raw),
            Some(intake) => match intake.allowed(clock::mono_ms(), self.length, LARGE as u64) {
                Allowed::Bytes(count) => {
                    let most = usize::try_from(count).unwrap_or(usize::MAX);
                    link.stream.poll_read_at_most(cx, &mut self.raw, most)
                }
                Allowed::Wait(time) => {
                    self.resume_intake = Some(deadline::now() + time);
                    return Ok(false);
                }
            },
        };
        match read {
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                match self.framing {
                    Framing::UntilClose => Ok(true),
                    _ => Err(Stop::Peer(Fault::Closed)),
                }
            }
            Poll::Ready(Ok(_)) => Ok(true),
            Poll::Ready(Err(error)) => Err(Stop::Peer(Fault::Read(error))),
            Poll::Pending => Ok(false),
        }
    }

    /// Makes spare capacity in `raw`. False when the client has to take something first.
    fn make_room(&mut self, exchange: &Exchange<'_>) -> Result<bool, Stop> {
        let waiting = self.out.len() - self.out_at + (self.at - self.ready);
        if waiting == 0 && !self.behind() {
            self.raw.drain(..self.at);
            self.at = 0;
            self.ready = 0;
            let remaining = match &self.framing {
                Framing::Length(left) => *left,
                _ => u64::MAX,
            };
            if self.raw.capacity() < LARGE && self.length > 0 && remaining > SMALL as u64 && self.buffered {
                self.grow(exchange);
            }
            return Ok(true);
        }
        if !self.buffered {
            return Ok(false);
        }
        let spilling = self.behind();
        if !spilling && self.raw.len() < self.raw.capacity() && self.out.len() < LARGE {
            return Ok(true);
        }
        if !spilling && self.raw.capacity() < LARGE && self.out.len() < LARGE {
            self.grow(exchange);
            return Ok(true);
        }
        self.move_to_file(exchange)
    }

    fn grow(&mut self, exchange: &Exchange<'_>) {
        let mut large = exchange.client.thread.buffers.large();
        large.extend_from_slice(self.raw.get(self.ready..).unwrap_or_default());
        self.at -= self.ready;
        self.ready = 0;
        exchange.client.thread.buffers.give(std::mem::replace(&mut self.raw, large));
    }

    /// Moves what waits in memory behind what is in the file, or starts a file. What is framed first goes first:
    /// `out` stays in memory, `raw` goes.
    fn move_to_file(&mut self, exchange: &Exchange<'_>) -> Result<bool, Stop> {
        let limit = self.proxy.max_temp_file_size;
        let held = self.spill.as_ref().map_or(0, |spill| spill.len);
        let data = self.raw.get(self.ready..self.at).unwrap_or_default();
        if held + (data.len() + self.out.len() + self.late.len()) as u64 > limit {
            return Ok(false);
        }
        if self.spill.is_none() {
            let mut spill = Spill::create(&self.proxy.temp_path, false).map_err(Stop::File)?;
            exchange.log(
                Level::Warn,
                format_args!(
                    "an upstream response is buffered to a temporary file {} while reading upstream",
                    spill.path.display()
                ),
            );
            spill.unname();
            self.spill = Some(spill);
        }
        let behind = self.behind();
        let Some(spill) = &mut self.spill else { return Ok(false) };
        if behind {
            spill.append(&self.late).map_err(Stop::File)?;
            spill.append(data).map_err(Stop::File)?;
            self.late.clear();
            self.ready = self.at;
        } else if self.chunked_out {
            // Framed bytes are the tail of the body: all but the part being written moves to the file.
            let keep = self.out_at + (self.out.len() - self.out_at).min(SMALL);
            if spill.len == self.spill_at && keep == self.out.len() {
                return Ok(false);
            }
            spill.append(self.out.get(keep..).unwrap_or_default()).map_err(Stop::File)?;
            self.out.truncate(keep);
        } else {
            spill.append(data).map_err(Stop::File)?;
            self.ready = self.at;
        }
        self.raw.drain(..self.at);
        self.at = 0;
        self.ready = 0;
        Ok(true)
    }
}

/// At most `count` bytes of two slices that follow one another.
fn first_bytes<'b>(one: &'b [u8], two: &'b [u8], count: u64) -> (&'b [u8], &'b [u8]) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let (of_one, of_two) = (count.min(one.len()), count.saturating_sub(one.len()).min(two.len()));
    (one.get(..of_one).unwrap_or_default(), two.get(..of_two).unwrap_or_default())
}
