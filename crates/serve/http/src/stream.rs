//! A connection to a client or a peer, over TCP or a unix socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::io::poll_read_buf;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// An accepted connection that the event loop does not know yet. It is registered when it has to be waited
    /// for; one that brings a request and takes its answer at once never is, which saves three system calls.
    Fresh(Fresh),
}

/// A socket on its way to [`Stream::Tcp`]; empty only within [`Stream::register`].
#[derive(Debug)]
pub(crate) struct Fresh(Option<OwnedFd>);

impl AsFd for Fresh {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect("a fresh socket is taken only while it is registered").as_fd()
    }
}

macro_rules! on {
    ($self:expr, $stream:ident => $body:expr) => {
        match $self {
            Stream::Tcp($stream) => $body,
            Stream::Unix($stream) => $body,
            Stream::Fresh(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

/// Tries a call on a fresh socket. `None`: the socket is registered now, and the event loop says when to go on.
macro_rules! fresh {
    ($self:expr, $socket:ident => $call:expr) => {
        if let Stream::Fresh($socket) = $self {
            loop {
                match $call {
                    Ok(done) => return Poll::Ready(Ok(done)),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            $self.register()?;
        }
    };
}

impl Stream {
    /// Reads into the spare capacity of `buffer`; 0 is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        fresh!(self, socket => recv(socket.as_fd(), spare_capacity(buffer), RecvFlags::empty()).map(|(count, _)| count));
        on!(self, stream => poll_read_buf(Pin::new(stream), cx, buffer))
    }

    /// Reads at most `limit` bytes.
    pub(crate) fn poll_read_at_most(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        self.register()?;
        let mut limited = bytes::BufMut::limit(buffer, limit);
        on!(self, stream => poll_read_buf(Pin::new(stream), cx, &mut limited))
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        fresh!(self, socket => send(socket.as_fd(), bytes, SendFlags::NOSIGNAL));
        on!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        fresh!(self, socket => writev(socket.as_fd(), parts));
        on!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    /// Ready when a read would not wait.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.register()?;
        on!(self, stream => stream.poll_read_ready(cx))
    }

    /// Runs a system call that writes until it would wait.
    pub(crate) fn poll_write_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.register()?;
        loop {
            ready!(on!(self, stream => stream.poll_write_ready(cx)))?;
            let done = match self {
                Self::Tcp(stream) => stream.try_io(Interest::WRITABLE, || call(stream.as_fd())),
                Self::Unix(stream) => stream.try_io(Interest::WRITABLE, || call(stream.as_fd())),
                Self::Fresh(_) => Err(io::ErrorKind::NotConnected.into()),
            };
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Reads without waiting; `WouldBlock` when nothing has arrived.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
            Self::Fresh(socket) => Ok(recv(socket, buffer, RecvFlags::empty())?.0),
        }
    }

    /// Sends FIN; reading goes on.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd(), Shutdown::Write)?)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Fresh(socket) => socket.as_fd(),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        !matches!(self, Self::Unix(_))
    }

    /// A connection that was just accepted over TCP; the socket does not block.
    pub(crate) fn accepted(socket: OwnedFd) -> Self {
        Self::Fresh(Fresh(Some(socket)))
    }

    /// Whether the event loop does not watch this connection yet.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// Has the event loop watch the connection from now on.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        if let Self::Fresh(Fresh(socket)) = self
            && let Some(socket) = socket.take()
        {
            *self = Self::Tcp(TcpStream::from_std(socket.into())?);
        }
        Ok(())
    }
}
