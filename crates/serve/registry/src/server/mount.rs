//! Paths below which somebody else of this process answers, so that one address is enough for clients.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a connection is read from and written to.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Who sent a request, and what the registry's tokens allow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Absent: over a unix socket.
    pub address: Option<IpAddr>,
    /// They showed a token that the registry wants for reads. Where it wants none, it says nothing of them.
    pub vouched: bool,
    /// They showed the token that the registry wants for writes. Where it wants none, nobody may change anything.
    pub may_write: bool,
}

/// Answers requests below its paths.
pub trait Mount: Send + Sync {
    /// `/v1/upstreams` stands for itself and everything below it.
    fn paths(&self) -> &[&str];

    /// Reads one request, which the registry's tokens allow, answers it and returns; the connection ends then.
    fn serve<'a>(
        &'a self,
        connection: Box<dyn Io + 'a>,
        visitor: Visitor,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// Whether a target is below one of the paths.
pub(super) fn covers(paths: &[&str], target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    paths.iter().any(|mounted| {
        path.strip_prefix(mounted.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// A connection of which some bytes were read already.
pub(super) struct Begun<'a, S> {
    pub(super) read: &'a [u8],
    pub(super) stream: &'a mut S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut *self.stream).poll_read(context, buffer);
        }
        let (now, later) = self.read.split_at(self.read.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.read = later;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_parts_of_a_path_count() {
        let paths = ["/v1/upstreams", "/metrics"];
        for target in ["/v1/upstreams", "/v1/upstreams?index=1", "/v1/upstreams/web", "/metrics"] {
            assert!(covers(&paths, target.as_bytes()), "{target}");
        }
        for target in ["/v1/upstreamsx", "/v1/kv/v1/upstreams", "/v1", "/", "", "/metricsx"] {
            assert!(!covers(&paths, target.as_bytes()), "{target}");
        }
    }
}
