//! A response that does not end: a line for what was registered, then one each second. The registration lives as long as
//! the connection does.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, interval_at, timeout};

use super::connection::{poll_gone, write};
use super::link::Link;
use super::wire::{self, Form};
use crate::http::Answer;
use crate::lease::Lease;

/// From line to line.
const BEAT: Duration = Duration::from_secs(1);
/// What a machine that is gone without a word may take until it is missed.
const SILENCE: Duration = Duration::from_secs(3);
const LINE: &[u8] = b"{}\n";

/// Returns when the lease was lost here; fails when the other side is gone.
pub(super) async fn hold<S: Link>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    lease: &Lease,
    answer: Answer,
    form: Form,
) -> io::Result<()> {
    stream.limit_silence(SILENCE)?;
    send(stream, wire::open(&answer, form)).await?;
    let mut beats = interval_at(Instant::now() + BEAT, BEAT);
    loop {
        tokio::select! {
            gone = poll_fn(|context| poll_gone(stream, buffer, context)) => return Err(gone),
            _ = beats.tick() => {}
        }
        // Nothing that is sent on such a connection has a meaning.
        buffer.clear();
        if !lease.renew().await {
            return send(stream, wire::piece(b"", form)).await;
        }
        send(stream, wire::piece(LINE, form)).await?;
    }
}

async fn send<S: Link>(stream: &mut S, bytes: Vec<u8>) -> io::Result<()> {
    timeout(SILENCE, async {
        write(stream, bytes.into()).await?;
        tokio::io::AsyncWriteExt::flush(stream).await
    })
    .await?
}
