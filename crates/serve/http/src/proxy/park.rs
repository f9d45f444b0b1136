//! `upstream_park`: requests that find nobody wait for a peer to come back.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use weir_log::clock;
use weir_model::Proxy;

use super::peers::Peers;
use crate::deadline;
use crate::exchange::{Exchange, Sink};

/// The client left while its request waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientGone;

/// Waits while all peers are out because of what somebody did to them, as long as the upstream lets requests wait. What
/// then is still to be had, or is not, shows the next choice. Nothing is read from the client meanwhile.
pub(super) async fn wait(
    exchange: &mut Exchange<'_>,
    peers: &Peers,
    proxy: &Proxy,
) -> Result<(), ClientGone> {
    let Some(upstream) = peers.shut(clock::mono_ms()) else { return Ok(()) };
    let upstream = Rc::clone(upstream);
    let Some(_place) = upstream.park() else { return Ok(()) };
    let watch = !proxy.ignore_client_abort && matches!(exchange.sink, Sink::Client);
    let end = deadline::now() + upstream.patience();
    loop {
        let mut bell = pin!(upstream.bell().notified());
        // From here on no ring is missed.
        bell.as_mut().enable();
        if peers.shut(clock::mono_ms()).is_none() {
            return Ok(());
        }
        let over = poll_fn(|cx| {
            if bell.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            if watch && exchange.client_gone(cx) {
                return Poll::Ready(Err(ClientGone));
            }
            exchange.client.deadline.poll(cx, end).map(|()| Ok(true))
        });
        if over.await? {
            return Ok(());
        }
    }
}
