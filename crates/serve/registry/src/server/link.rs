//! What carries a connection, as far as leases have to know it.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connection of any kind.
pub(super) trait Link: AsyncRead + AsyncWrite + Unpin {
    /// The address of the other side; absent where it is on this machine by its nature.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// The connection breaks when the other machine acknowledges nothing for so long. Where there is no other machine,
    /// nothing can fall silent.
    fn limit_silence(&self, _limit: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl Link for TcpStream {
    fn peer(&self) -> Option<IpAddr> {
        self.peer_addr().ok().map(|address| address.ip().to_canonical())
    }

    fn limit_silence(&self, limit: Duration) -> io::Result<()> {
        let milliseconds = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        Ok(sockopt::set_tcp_user_timeout(self.as_fd(), milliseconds)?)
    }
}

impl Link for TlsStream<TcpStream> {
    fn peer(&self) -> Option<IpAddr> {
        self.get_ref().0.peer()
    }

    fn limit_silence(&self, limit: Duration) -> io::Result<()> {
        self.get_ref().0.limit_silence(limit)
    }
}

impl Link for UnixStream {}

impl Link for DuplexStream {}
