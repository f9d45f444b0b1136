//! After 101: bytes in both directions until one end closes (RFC 9110, section 7.8).

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use weir_model::{Level, Proxy};

use super::peers::Peers;
use super::{Answered, complain};
use crate::deadline;
use crate::exchange::{Exchange, Next};
use crate::respond;
use crate::stream::Stream;

/// One direction. It holds a buffer only while the other end is slow.
#[derive(Default)]
struct Direction {
    pending: Vec<u8>,
    at: usize,
    closed: bool,
    finished: bool,
    moved: u64,
}

const PIECE: usize = 16 * 1024;

impl Direction {
    /// Moves what can be moved. Pending when either end has to be waited for; ready with the result at the end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.at < self.pending.len() {
                match to.poll_write(cx, &self.pending[self.at..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => {
                        self.at += count;
                        self.moved += count as u64;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !self.pending.is_empty() {
                self.pending = Vec::new();
                self.at = 0;
            }
            if self.closed {
                if !std::mem::replace(&mut self.finished, true) {
                    // The other direction shows when this end is gone altogether.
                    let _ = to.shutdown_write();
                }
                return Poll::Ready(Ok(()));
            }
            scratch.clear();
            match from.poll_read(cx, scratch) {
                Poll::Ready(Ok(0)) => self.closed = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            let mut at = 0;
            while at < scratch.len() {
                match to.poll_write(cx, &scratch[at..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => {
                        at += count;
                        self.moved += count as u64;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.pending = scratch[at..].to_vec();
                        break;
                    }
                }
            }
        }
    }
}

/// Sends the 101 and pumps.
pub(super) async fn run(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    peers: &Peers,
    answered: Answered,
) -> Next {
    let Answered { mut link, head, bytes } = answered;
    fill(exchange, peers, &head, &bytes);
    let mut out = exchange.client.thread.buffers.small();
    respond::head(exchange, &mut out);
    exchange.keep = false;
    let early = bytes.get(head.len as usize..).unwrap_or_default().to_vec();
    exchange.client.thread.buffers.give(bytes);
    let written = respond::write_two(exchange, &out, &early).await;
    exchange.client.thread.buffers.give(out);
    if written.is_err() {
        return Next::Abort;
    }
    let used = exchange.body.consumed(&exchange.request);
    let mut up = Direction { pending: exchange.request.bytes.split_off(used), ..Direction::default() };
    let mut down = Direction { moved: early.len() as u64, ..Direction::default() };
    let before = exchange.request.sent;
    let timed_out = pump(exchange, proxy, &mut link.stream, &mut up, &mut down).await;
    exchange.request.sent = before + down.moved - early.len() as u64;
    exchange.request.body_sent = down.moved;
    exchange.request.request_length += up.moved;
    if let Some(last) = exchange.request.tries.last_mut() {
        last.length = down.moved;
        last.received += down.moved - early.len() as u64;
        last.sent += up.moved;
    }
    if timed_out {
        complain(
            exchange,
            Level::Info,
            format_args!("upstream timed out (110: Connection timed out) while proxying upgraded connection"),
        );
    }
    exchange.request.complete = !timed_out;
    Next::Done
}

fn fill(
    exchange: &mut Exchange<'_>,
    peers: &Peers,
    head: &weir_http::wire::response::ResponseHead,
    bytes: &[u8],
) {
    let live = exchange.live();
    let proxy = &live.site().place(exchange.request.location).settings.proxy;
    let answer = &mut exchange.request.answer;
    answer.clear();
    answer.status = head.status;
    answer.reason.extend_from_slice(head.reason.of(bytes));
    answer.upgrade = true;
    peers.bind(exchange);
    let answer = &mut exchange.request.answer;
    for field in &head.fields {
        let name = field.name.of(bytes);
        let hop = [
            b"connection".as_slice(),
            b"server",
            b"date",
            b"content-length",
            b"transfer-encoding",
            b"keep-alive",
        ]
        .iter()
        .any(|hop| name.eq_ignore_ascii_case(hop));
        let hidden = proxy.hide_headers.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()));
        if !hop && !hidden {
            answer.push(name, field.value.of(bytes));
        }
    }
}

/// True when nothing moved for longer than the timeouts allow.
async fn pump(
    exchange: &mut Exchange<'_>,
    proxy: &Proxy,
    peer: &mut Stream,
    up: &mut Direction,
    down: &mut Direction,
) -> bool {
    let limit = proxy.read_timeout.duration();
    let mut moved = u64::MAX;
    let mut end = deadline::now() + limit;
    let thread = std::rc::Rc::clone(&exchange.client.thread);
    poll_fn(|cx| {
        // The buffer is borrowed for this turn alone: a quiet tunnel holds none.
        let mut scratch = thread.buffers.small();
        debug_assert!(scratch.capacity() >= PIECE);
        let client = &mut exchange.client.stream;
        let upward = up.poll(cx, client, peer, &mut scratch);
        let downward = down.poll(cx, peer, client, &mut scratch);
        thread.buffers.give(scratch);
        let failed = |poll: &Poll<io::Result<()>>| matches!(poll, Poll::Ready(Err(_)));
        let done = |poll: &Poll<io::Result<()>>| matches!(poll, Poll::Ready(Ok(())));
        // When the peer has said all it has to say the tunnel is over, as is one that both ends left.
        if failed(&upward) || failed(&downward) || done(&downward) || (done(&upward) && down.closed) {
            return Poll::Ready(false);
        }
        if up.moved + down.moved != moved {
            moved = up.moved + down.moved;
            end = deadline::now() + limit;
        }
        exchange.client.deadline.poll(cx, end).map(|()| true)
    })
    .await
}
