//! Listeners and connections.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::access::{Origin, Tokens};
use crate::control::Control;
use crate::routes::router;

/// Connections at a time; more of them wait to be accepted.
const CONNECTIONS: usize = 512;
/// A request head has to be there after this time, and a connection without a request is closed.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of a request head.
const HEAD_SIZE: usize = 32 * 1024;
/// After an accept that failed, most often for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that is bound and listens.
#[derive(Debug)]
pub enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// How the API is served.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub tokens: Tokens,
}

enum Open {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves the API until the future is dropped; connections end with it.
///
/// # Errors
/// A listener that tokio cannot take. Otherwise it does not return, unless there is no listener.
pub async fn serve<C: Control>(listeners: Vec<Listener>, options: Options, control: C) -> io::Result<()> {
    let router = router(control, options.tokens);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut loops = JoinSet::new();
    for listener in listeners {
        let open = match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Open::Tcp(TcpListener::from_std(listener)?)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Open::Unix(UnixListener::from_std(listener)?)
            }
        };
        loops.spawn(accept(open, router.clone(), Arc::clone(&room)));
    }
    while loops.join_next().await.is_some() {}
    Ok(())
}

async fn accept(listener: Open, router: Router, room: Arc<Semaphore>) {
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        let accepted = match &listener {
            Open::Tcp(listener) => listener.accept().await.map(|(stream, address)| {
                connections.spawn(converse(stream, Origin::Tcp(address), router.clone(), permit));
            }),
            Open::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                connections.spawn(converse(stream, Origin::Unix { uid }, router.clone(), permit));
            }),
        };
        if accepted.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Answers single requests that came over another listener of this process.
#[derive(Clone)]
pub struct Guest {
    router: Router,
}

impl Guest {
    pub fn new<C: Control>(options: Options, control: C) -> Guest {
        Guest { router: router(control, options.tokens) }
    }

    /// One request and its answer. `vouched`: that listener has seen a token for reads; `may_write`: one for changes. Without
    /// them the tokens of this API count.
    pub async fn serve<S>(&self, stream: S, address: Option<IpAddr>, vouched: bool, may_write: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let origin = Origin::Admitted { address, vouched, may_write };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(origin)));
        let connection = builder().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        // A client that goes away or speaks something else is its own affair.
        let _ = connection.await;
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_SIZE);
    builder
}

async fn converse<S>(stream: S, origin: Origin, router: Router, _permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(Extension(origin)));
    let connection = builder().serve_connection(TokioIo::new(stream), service);
    // A client that goes away or speaks something else is its own affair.
    let _ = connection.await;
}
