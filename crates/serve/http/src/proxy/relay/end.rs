//! The end of a relay: what becomes of the link, of the client's connection, and what the error log says.

use weir_http::wire::response::ResponseHead;
use weir_log::Errno;
use weir_model::Level;

use super::{End, Fault, Framing, Relay, Stop};
use crate::exchange::Exchange;
use crate::proxy::pool::Link;
use crate::proxy::send::Sending;
use crate::proxy::{answer, complain};
use crate::respond;

impl Relay<'_> {
    /// Ends the relay: what becomes of the link, the client's connection and the logs.
    pub(super) fn settle(
        mut self,
        exchange: &mut Exchange<'_>,
        sending: &Sending,
        link: Link,
        head: &ResponseHead,
        stop: Stop,
    ) -> End {
        if let Some(last) = exchange.request.tries.last_mut() {
            last.length = self.length;
            last.received = u64::from(head.len) + self.length;
            last.sent = sending.sent;
        }
        let extra = self.raw.len() > self.at;
        let buffers = &exchange.client.thread.buffers;
        buffers.give(std::mem::take(&mut self.out));
        buffers.give(std::mem::take(&mut self.raw));
        match stop {
            Stop::Delivered => {
                if extra {
                    complain(
                        exchange,
                        Level::Warn,
                        format_args!(
                            "upstream sent more data than specified in \"Content-Length\" header while reading upstream"
                        ),
                    );
                }
                let clean = !extra && !self.ended && sending.done && !sending.cut;
                let reusable =
                    clean && answer::may_reuse(head) && !matches!(self.framing, Framing::UntilClose);
                End::Complete { link: reusable.then_some(link) }
            }
            Stop::ClientGone => {
                exchange.keep = false;
                exchange.log(Level::Info, format_args!("client closed connection while sending to client"));
                End::ClientGone
            }
            Stop::ClientTimeout => {
                respond::timed_out(exchange);
                End::ClientGone
            }
            Stop::PeerTimeout => {
                complain(
                    exchange,
                    Level::Error,
                    format_args!("upstream timed out (110: Connection timed out) while reading upstream"),
                );
                broken(exchange)
            }
            Stop::Peer(fault) => {
                match fault {
                    Fault::Closed => complain(
                        exchange,
                        Level::Error,
                        format_args!("upstream prematurely closed connection while reading upstream"),
                    ),
                    Fault::Read(error) => {
                        complain(
                            exchange,
                            Level::Error,
                            format_args!("recv() failed {} while reading upstream", Errno(&error)),
                        );
                    }
                    Fault::Chunk(why) => complain(
                        exchange,
                        Level::Error,
                        format_args!("upstream sent invalid chunked response: {why} while reading upstream"),
                    ),
                }
                broken(exchange)
            }
            Stop::File(error) => {
                exchange.log(
                    Level::Crit,
                    format_args!("a temporary file failed {} while reading upstream", Errno(&error)),
                );
                broken(exchange)
            }
        }
    }
}

/// The client must see that its answer is not whole: the connection ends.
fn broken(exchange: &mut Exchange<'_>) -> End {
    exchange.keep = false;
    End::PeerFailed
}
