//! Small answers made inside: `stub_status` and `empty_gif`.

use std::sync::atomic::Ordering::Relaxed;

use crate::body;
use crate::exchange::{Exchange, Next};
use crate::respond;
use crate::world::sum;

/// The text page of `stub_status`.
pub(crate) async fn stub(exchange: &mut Exchange<'_>) -> Next {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Next::Error(405);
    }
    if let Err(error) = body::unwanted(exchange).await {
        return Next::Error(error.status());
    }
    let client = &*exchange.client;
    let text = format!(
        "Active connections: {} \nserver accepts handled requests\n {} {} {} \nReading: {} Writing: {} Waiting: {} \n",
        sum(client, |counters| counters.active.load(Relaxed)),
        sum(client, |counters| counters.accepted.load(Relaxed)),
        sum(client, |counters| counters.handled.load(Relaxed)),
        sum(client, |counters| counters.requests.load(Relaxed)),
        sum(client, |counters| counters.reading.load(Relaxed)),
        sum(client, |counters| counters.writing.load(Relaxed)),
        sum(client, |counters| counters.waiting.load(Relaxed)),
    );
    respond::text(exchange, 200, b"text/plain", text.as_bytes()).await
}

/// A transparent pixel (GIF89a).
const PIXEL: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x01\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x01\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02L\x01\x00;";

/// `empty_gif`.
pub(crate) async fn empty_gif(exchange: &mut Exchange<'_>) -> Next {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Next::Error(405);
    }
    if let Err(error) = body::unwanted(exchange).await {
        return Next::Error(error.status());
    }
    respond::text(exchange, 200, b"image/gif", PIXEL).await
}
