//! Where filtered bytes go: compressed, framed, and written no faster than the client takes them.

use std::io::Write;
use std::task::Poll;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use weir_http::wire::chunked::write_chunk_head;
use weir_log::clock;

use crate::buffers::SMALL;
use crate::connection::Client;
use crate::exchange::Exchange;
use crate::respond;
use crate::throttle::{Allowed, Throttle};

/// Why bytes could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The client is gone, or what was made for it is broken.
    Gone,
    TimedOut,
}

/// The way to the client of one answer.
#[derive(Debug)]
pub(crate) struct Output {
    /// Framed bytes that wait to be written; the head is the first of them.
    ready: Vec<u8>,
    /// Of them, bytes of the head.
    head_left: usize,
    bodyless: bool,
    chunked: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Bytes into and out of the compressor.
    taken: u64,
    made: u64,
    throttle: Option<Throttle>,
    /// The client takes no more.
    dead: bool,
    timeout: Duration,
    total: u64,
    /// Bytes written, and those of the body among them, that nobody has counted yet.
    sent: u64,
    of_body: u64,
}

impl Output {
    /// The way for an answer whose head is `head`; `gzip` is the level of compression.
    pub(crate) fn new(exchange: &mut Exchange<'_>, head: Vec<u8>, gzip: Option<u8>) -> Self {
        Self {
            head_left: head.len(),
            ready: head,
            bodyless: respond::is_bodyless(exchange),
            chunked: exchange.request.answer.chunked,
            // The lowest level of this zlib does without codes of the text's own, which nginx's zlib always has.
            gzip: gzip.map(|level| GzEncoder::new(Vec::new(), Compression::new(u32::from(level).max(2)))),
            taken: 0,
            made: 0,
            throttle: Throttle::of(exchange),
            dead: false,
            timeout: respond::send_timeout(exchange),
            total: exchange.request.sent,
            sent: 0,
            of_body: 0,
        }
    }

    /// Takes a piece of the body.
    pub(crate) async fn push(&mut self, client: &mut Client, bytes: &[u8]) -> Result<(), Trouble> {
        if self.bodyless {
            return Ok(());
        }
        match &mut self.gzip {
            Some(encoder) => {
                self.taken += bytes.len() as u64;
                encoder.write_all(bytes).map_err(|_| Trouble::Gone)?;
                let made = std::mem::take(encoder.get_mut());
                self.frame(&made);
            }
            None => self.frame(bytes),
        }
        if self.ready.len() >= SMALL {
            self.write(client).await?;
        }
        Ok(())
    }

    /// Writes what is ready; with `all` also what the compressor holds.
    pub(crate) async fn flush(&mut self, client: &mut Client, all: bool) -> Result<(), Trouble> {
        if let Some(encoder) = self.gzip.as_mut().filter(|_| all) {
            encoder.flush().map_err(|_| Trouble::Gone)?;
            let made = std::mem::take(encoder.get_mut());
            self.frame(&made);
        }
        self.write(client).await
    }

    /// Ends the body; `tail` is framing that follows it.
    pub(crate) async fn end(&mut self, client: &mut Client, tail: &[u8]) -> Result<(), Trouble> {
        if let Some(encoder) = self.gzip.take().filter(|_| !self.bodyless) {
            let made = encoder.finish().map_err(|_| Trouble::Gone)?;
            self.frame(&made);
        }
        self.ready.extend_from_slice(tail);
        self.write(client).await
    }

    /// Bytes into and out of the compressor, when there was one.
    pub(crate) fn ratio(&self) -> Option<(u64, u64)> {
        (self.made > 0 && self.taken > 0).then_some((self.taken, self.made))
    }

    /// What was written since the last call, and how much of it was body with its framing.
    pub(crate) fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.sent), std::mem::take(&mut self.of_body))
    }

    pub(crate) fn give_back(&mut self, client: &Client) {
        client.thread.buffers.give(std::mem::take(&mut self.ready));
    }

    fn frame(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.taken > 0 {
            self.made += bytes.len() as u64;
        }
        if self.chunked {
            write_chunk_head(&mut self.ready, bytes.len());
            self.ready.extend_from_slice(bytes);
            self.ready.extend_from_slice(b"\r\n");
        } else {
            self.ready.extend_from_slice(bytes);
        }
    }

    async fn write(&mut self, client: &mut Client) -> Result<(), Trouble> {
        if self.dead {
            return Err(Trouble::Gone);
        }
        // Until all of it is written.
        self.dead = true;
        let mut at = 0;
        while let Some(bytes) = self.ready.get(at..).filter(|bytes| !bytes.is_empty()) {
            let most = match self
                .throttle
                .map(|throttle| throttle.allowed(clock::mono_ms(), self.total, bytes.len() as u64))
            {
                None => bytes.len(),
                Some(Allowed::Bytes(count)) => usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()),
                Some(Allowed::Wait(time)) => {
                    // The connection's one timer; that it fires is the point here.
                    let _ = client.deadline.within(time, |_| Poll::<()>::Pending).await;
                    clock::tick();
                    continue;
                }
            };
            let bytes = &bytes[..most];
            let stream = &mut client.stream;
            let wrote = client.deadline.within(self.timeout, |cx| stream.poll_write(cx, bytes)).await;
            match wrote {
                Ok(Ok(count @ 1..)) => {
                    at += count;
                    let of_head = count.min(self.head_left);
                    self.head_left -= of_head;
                    self.total += count as u64;
                    self.sent += count as u64;
                    self.of_body += (count - of_head) as u64;
                }
                Ok(_) => return Err(Trouble::Gone),
                Err(_) => return Err(Trouble::TimedOut),
            }
        }
        self.ready.clear();
        self.dead = false;
        Ok(())
    }
}
