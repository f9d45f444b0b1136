//! The request on its way to a peer: head, then a body from memory, from a file or straight from the client.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::task::{Context, Poll, ready};

use weir_http::Request;
use weir_http::wire::chunked::write_chunk_head;

use crate::body::{BodyError, Gathered, Reader};
use crate::connection::Client;
use crate::stream::Stream;

/// Why the request did not reach the peer.
#[derive(Debug)]
pub(crate) enum SendError {
    Peer(io::Error),
    Client(BodyError),
    File(io::Error),
}

/// A request that is being sent. It can be sent again to another peer as long as its body is at hand.
#[derive(Debug)]
pub(crate) struct Sending {
    head: Vec<u8>,
    body: Gathered,
    /// The body comes from the client while it is sent; framed as chunks when its length is not known.
    streams: bool,
    chunked: bool,
    head_at: usize,
    memory_at: usize,
    file_at: u64,
    /// Bytes that are framed and not sent yet.
    piece: Vec<u8>,
    piece_at: usize,
    source_done: bool,
    pub(crate) done: bool,
    /// Bytes sent in this try.
    pub(crate) sent: u64,
    /// Sending ended before all was sent.
    pub(crate) cut: bool,
    /// Some of a streamed body has left: no other peer can get it.
    pub(crate) spent: bool,
}

const FILE_PIECE: usize = 64 * 1024;

impl Sending {
    /// With `streams` the body at hand is only its beginning; the rest comes from the client.
    pub(crate) fn new(mut head: Vec<u8>, body: Gathered, streams: bool, chunked: bool) -> Self {
        let chunked = streams && chunked;
        if chunked && !body.memory.is_empty() {
            write_chunk_head(&mut head, body.memory.len());
        }
        Self {
            piece: behind_memory(chunked, &body),
            head,
            body,
            streams,
            chunked,
            head_at: 0,
            memory_at: 0,
            file_at: 0,
            piece_at: 0,
            source_done: false,
            done: false,
            sent: 0,
            cut: false,
            spent: false,
        }
    }

    /// Starts over for another peer or connection.
    pub(crate) fn again(&mut self) {
        self.head_at = 0;
        self.memory_at = 0;
        self.file_at = 0;
        self.piece = behind_memory(self.chunked, &self.body);
        self.piece_at = 0;
        self.done = false;
        self.source_done = false;
        self.sent = 0;
    }

    /// Whether all that was there is sent, and the client has to send more of the body.
    pub(crate) fn awaits_client(&self) -> bool {
        self.streams
            && !self.done
            && !self.source_done
            && self.head_at >= self.head.len()
            && self.memory_at >= self.body.memory.len()
            && self.piece_at >= self.piece.len()
    }

    /// Takes the buffers apart.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Gathered) {
        (self.head, self.body)
    }

    /// Sends as much as the peer takes.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        peer: &mut Stream,
        client: &mut Client,
        reader: &mut Reader,
        request: &mut Request,
    ) -> Poll<Result<(), SendError>> {
        loop {
            ready!(self.poll_flush(cx, peer)).map_err(SendError::Peer)?;
            if self.source_done {
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            self.piece.clear();
            self.piece_at = 0;
            if let Some(spill) = &self.body.file {
                self.source_done = !next_of_file(&spill.file, spill.len, &mut self.file_at, &mut self.piece)
                    .map_err(SendError::File)?;
            } else if self.streams {
                ready!(self.next_of_client(cx, client, reader, request)).map_err(SendError::Client)?;
            } else {
                self.source_done = true;
            }
        }
    }

    /// Writes head, memory and the current piece.
    fn poll_flush(&mut self, cx: &mut Context<'_>, peer: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            let head = self.head.get(self.head_at..).unwrap_or_default();
            let memory = self.body.memory.get(self.memory_at..).unwrap_or_default();
            let piece = self.piece.get(self.piece_at..).unwrap_or_default();
            let count = match (head.is_empty(), memory.is_empty(), piece.is_empty()) {
                (true, true, true) => return Poll::Ready(Ok(())),
                (false, true, true) => ready!(peer.poll_write(cx, head))?,
                (true, true, false) => ready!(peer.poll_write(cx, piece))?,
                _ => {
                    let parts = [IoSlice::new(head), IoSlice::new(memory), IoSlice::new(piece)];
                    ready!(peer.poll_write_vectored(cx, &parts))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count as u64;
            let mut left = count;
            for (at, length) in [
                (&mut self.head_at, head.len()),
                (&mut self.memory_at, memory.len()),
                (&mut self.piece_at, piece.len()),
            ] {
                let part = left.min(length);
                *at += part;
                left -= part;
            }
        }
    }

    fn next_of_client(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        reader: &mut Reader,
        request: &mut Request,
    ) -> Poll<Result<(), BodyError>> {
        let mut data = Vec::new();
        // What is there goes as one chunk, and its end with it.
        while data.len() < FILE_PIECE && !self.source_done {
            match reader.poll_data(cx, &mut client.stream, request, &mut data)? {
                Poll::Ready(count) => self.source_done = count == 0,
                Poll::Pending if data.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        self.spent = true;
        if !self.chunked {
            self.piece = data;
            return Poll::Ready(Ok(()));
        }
        if !data.is_empty() {
            write_chunk_head(&mut self.piece, data.len());
            self.piece.extend_from_slice(&data);
            self.piece.extend_from_slice(b"\r\n");
        }
        if self.source_done {
            self.piece.extend_from_slice(b"0\r\n\r\n");
        }
        Poll::Ready(Ok(()))
    }
}

/// What ends the chunk that the body at hand is.
fn behind_memory(chunked: bool, body: &Gathered) -> Vec<u8> {
    if chunked && !body.memory.is_empty() { b"\r\n".to_vec() } else { Vec::new() }
}

/// Reads the next piece of a spilled body. False at its end.
fn next_of_file(file: &File, length: u64, at: &mut u64, piece: &mut Vec<u8>) -> io::Result<bool> {
    let want = usize::try_from(length.saturating_sub(*at)).unwrap_or(usize::MAX).min(FILE_PIECE);
    if want == 0 {
        return Ok(false);
    }
    piece.resize(want, 0);
    file.read_exact_at(piece, *at)?;
    *at += want as u64;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sending(chunked: bool) -> Sending {
        let body = Gathered { memory: b"early".to_vec(), file: None };
        Sending::new(b"HEAD ".to_vec(), body, true, chunked)
    }

    #[test]
    fn what_is_at_hand_of_a_streamed_body_is_a_chunk_of_its_own() {
        let mut chunked = sending(true);
        assert_eq!((chunked.head.as_slice(), chunked.piece.as_slice()), (&b"HEAD 5\r\n"[..], &b"\r\n"[..]));
        chunked.piece.clear();
        chunked.again();
        assert_eq!(chunked.piece, b"\r\n");
        let plain = sending(false);
        assert_eq!((plain.head.as_slice(), plain.piece.as_slice()), (&b"HEAD "[..], &b""[..]));
    }
}
