//! A wait in the middle of a request, given up when the client leaves.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use weir_model::Level;

use crate::exchange::{Exchange, Next, Sink};

/// Waits for `ms` milliseconds. The error is how the request ends without its client.
pub(super) async fn wait(exchange: &mut Exchange<'_>, ms: u64) -> Result<(), Next> {
    let end = Instant::now() + Duration::from_millis(ms);
    let watch = matches!(exchange.sink, Sink::Client);
    let stayed = poll_fn(|cx| {
        if watch && gone(exchange, cx) {
            return Poll::Ready(false);
        }
        exchange.client.deadline.poll(cx, end).map(|()| true)
    })
    .await;
    if stayed {
        return Ok(());
    }
    exchange.log(Level::Info, format_args!("client prematurely closed connection"));
    Err(Next::Error(499))
}

/// Whether the client has closed. What it sends meanwhile is kept for the body or the next request; a head's
/// buffer that is full is left alone.
fn gone(exchange: &mut Exchange<'_>, cx: &mut Context<'_>) -> bool {
    let bytes = &mut exchange.request.bytes;
    while bytes.len() < bytes.capacity() {
        match exchange.client.stream.poll_read(cx, bytes) {
            Poll::Ready(Ok(0) | Err(_)) => return true,
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => return false,
        }
    }
    false
}
