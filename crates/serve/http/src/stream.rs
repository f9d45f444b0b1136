//! A connection to a client or a peer, over TCP or a unix socket.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! on {
    ($self:expr, $stream:ident => $body:expr) => {
        match $self {
            Stream::Tcp($stream) => $body,
            Stream::Unix($stream) => $body,
        }
    };
}

impl Stream {
    /// Reads into the spare capacity of `buffer`; 0 is the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        on!(self, stream => poll_read_buf(Pin::new(stream), cx, buffer))
    }

    /// Reads at most `limit` bytes.
    pub(crate) fn poll_read_at_most(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut limited = bytes::BufMut::limit(buffer, limit);
        on!(self, stream => poll_read_buf(Pin::new(stream), cx, &mut limited))
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    /// Ready when a read would not wait.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, stream => stream.poll_read_ready(cx))
    }

    /// Runs a system call that writes until it would wait.
    pub(crate) fn poll_write_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            ready!(on!(self, stream => stream.poll_write_ready(cx)))?;
            let done = on!(self, stream => stream.try_io(tokio::io::Interest::WRITABLE, || call(stream.as_fd())));
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Reads without waiting; `WouldBlock` when nothing has arrived.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        on!(self, stream => stream.try_read(buffer))
    }

    /// Sends FIN; reading goes on.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        on!(self, stream => socket2::SockRef::from(stream).shutdown(Shutdown::Write))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        on!(self, stream => stream.as_fd())
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}
