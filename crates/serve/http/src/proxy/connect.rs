//! Opening connections to peers.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UnixStream};
use weir_log::clock;
use weir_model::{ListenAddress, Proxy};

use crate::deadline;
use crate::exchange::{Exchange, Sink};
use crate::proxy::pool::Link;
use crate::stream::Stream;

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Failed(io::Error),
    Timeout,
    /// The peer was taken away meanwhile.
    PeerLost,
    /// The client left meanwhile.
    ClientGone,
}

/// The address of `proxy_bind`.
pub(crate) fn local_address(exchange: &mut Exchange<'_>, proxy: &Proxy) -> Option<SocketAddr> {
    let bind = proxy.bind.as_ref()?;
    let text = exchange.evaluate(|request, scope, _| request.expanded(scope, &bind.address));
    let text = std::str::from_utf8(&text).ok()?;
    text.parse().ok().or_else(|| text.parse().ok().map(|ip| SocketAddr::new(ip, 0)))
}

/// How often a connection that does not come is compared with what is known of its peer meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Connects within `proxy_connect_timeout`, as long as `is_lost` does not say that the peer is gone.
pub(crate) async fn connect(
    exchange: &mut Exchange<'_>,
    address: &ListenAddress,
    bound: Option<SocketAddr>,
    proxy: &Proxy,
    is_lost: impl Fn() -> bool,
) -> Result<Link, ConnectError> {
    let transparent = proxy.bind.as_ref().is_some_and(|bind| bind.transparent);
    let watch = !proxy.ignore_client_abort && matches!(exchange.sink, Sink::Client);
    let end = deadline::now() + proxy.connect_timeout.duration();
    let mut look = deadline::now() + LOOK;
    let mut opening = pin!(open(address, bound, transparent));
    let stream = poll_fn(|cx| {
        if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
            return Poll::Ready(opened.map_err(ConnectError::Failed));
        }
        if watch && exchange.client_gone(cx) {
            return Poll::Ready(Err(ConnectError::ClientGone));
        }
        while exchange.client.deadline.poll(cx, look.min(end)).is_ready() {
            if look >= end {
                return Poll::Ready(Err(ConnectError::Timeout));
            }
            if is_lost() {
                return Poll::Ready(Err(ConnectError::PeerLost));
            }
            look = (look + LOOK).max(deadline::now());
        }
        Poll::Pending
    })
    .await?;
    if proxy.socket_keepalive {
        // A connection without probes still works.
        let _ = weir_net::set_keepalive(stream.fd(), true);
    }
    Ok(Link { stream, requests: 0, born: clock::mono_ms(), bound, reused: false })
}

async fn open(address: &ListenAddress, bound: Option<SocketAddr>, transparent: bool) -> io::Result<Stream> {
    match (address, bound) {
        (ListenAddress::Inet(address), None) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        (ListenAddress::Inet(address), Some(local)) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            weir_net::bind_outgoing(socket.as_fd(), local, transparent)?;
            let stream = socket.connect(*address).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        (ListenAddress::Unix(path), _) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
    }
}
