//! A peer's body on its way through a filter: piece by piece, never more than one piece in memory.

use std::future::poll_fn;
use std::task::Poll;

use super::{Relay, Stop};
use crate::deadline;
use crate::exchange::Exchange;
use crate::filter::{self, Filter};
use crate::proxy::pool::Link;
use crate::proxy::send::Sending;

/// What waiting for the peer brought.
enum Came {
    Something,
    NothingYet,
    Stop(Stop),
}

impl Relay<'_> {
    /// Moves all of the body through the filter.
    pub(super) async fn pump_filtered(
        &mut self,
        exchange: &mut Exchange<'_>,
        sending: &mut Sending,
        link: &mut Link,
        mut filter: Box<Filter>,
    ) -> Stop {
        loop {
            if let Err(fault) = self.digest(exchange) {
                filter::cut(exchange).await;
                return Stop::Peer(fault);
            }
            let mut piece = self.tap.take().unwrap_or_default();
            let passed = filter.data(exchange, &piece).await;
            piece.clear();
            self.tap = Some(piece);
            if passed.is_err() {
                return Stop::ClientGone;
            }
            if self.complete {
                return if filter.end(exchange).await.is_ok() { Stop::Delivered } else { Stop::ClientGone };
            }
            let mut came = self.come(exchange, sending, link, false).await;
            if matches!(came, Came::NothingYet) {
                // The client has what there is before it is waited for more.
                if filter.flush(exchange, !self.buffered).await.is_err() {
                    return Stop::ClientGone;
                }
                came = self.come(exchange, sending, link, true).await;
            }
            if let Came::Stop(stop) = came {
                filter::cut(exchange).await;
                return stop;
            }
        }
    }

    /// Reads once from the peer, to which the rest of the request goes meanwhile.
    async fn come(
        &mut self,
        exchange: &mut Exchange<'_>,
        sending: &mut Sending,
        link: &mut Link,
        wait: bool,
    ) -> Came {
        let mut end = None;
        poll_fn(|cx| {
            if !sending.done {
                let (client, request) = (&mut *exchange.client, &mut *exchange.request);
                if let Poll::Ready(Err(_)) =
                    sending.poll(cx, &mut link.stream, client, &mut exchange.body, request)
                {
                    sending.done = true;
                    sending.cut = true;
                }
            }
            match self.poll_read(cx, exchange, link) {
                Ok(true) => return Poll::Ready(Came::Something),
                Ok(false) if !wait => return Poll::Ready(Came::NothingYet),
                Ok(false) => {}
                Err(stop) => return Poll::Ready(Came::Stop(stop)),
            }
            if let Some(at) = self.pause() {
                end = None;
                if exchange.client.deadline.poll(cx, at).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            let at = *end.get_or_insert_with(|| deadline::now() + self.proxy.read_timeout.duration());
            exchange.client.deadline.poll(cx, at).map(|()| Came::Stop(Stop::PeerTimeout))
        })
        .await
    }
}
