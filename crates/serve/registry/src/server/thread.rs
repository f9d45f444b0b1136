use std::cell::RefCell;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;
use weir_model::Registry;

use super::accept::{self, Counts};
use super::connection;
use super::mount::Mount;
use super::running::{Log, StartError};
use crate::http::{Context, Rights, Router, Settings, Shared};
use crate::store::Engine;

/// Writes that are under way at a stop have so long; fsyncs of a dying disk are not waited for.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// A configuration that was read, with its sockets.
pub(super) struct Start {
    pub(super) settings: Settings,
    pub(super) registry: Registry,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) listeners: Vec<TcpListener>,
    pub(super) unix: Vec<UnixListener>,
    pub(super) dns: Vec<(UdpSocket, TcpListener)>,
    pub(super) log: Log,
    pub(super) mount: Option<Arc<dyn Mount>>,
}

/// What the thread is told.
pub(super) enum Order {
    Serve(DuplexStream),
    Reconfigure(Box<Start>, mpsc::SyncSender<Result<(), StartError>>),
    Stop,
    Cut,
}

/// What every connection needs.
pub(super) struct Service {
    pub(super) context: Shared,
    pub(super) router: Router,
    pub(super) counts: RefCell<Counts>,
    pub(super) mount: Option<Arc<dyn Mount>>,
}

pub(super) fn spawn(
    engine: Engine,
    start: Start,
    inbox: UnboundedReceiver<Order>,
) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (reply, ready) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("registry".to_owned())
        .spawn(move || LocalSet::new().block_on(&runtime, run(engine, start, inbox, reply)))
        .map_err(StartError::Thread)?;
    match ready.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Gone),
    }
}

async fn run(
    engine: Engine,
    start: Start,
    mut inbox: UnboundedReceiver<Order>,
    ready: mpsc::SyncSender<Result<(), StartError>>,
) {
    let context = Rc::new(Context::new(engine, start.settings.clone(), start.log.clone()));
    let service = Rc::new(Service {
        context,
        router: Router::new(),
        counts: RefCell::default(),
        mount: start.mount.clone(),
    });
    let checks = tokio::task::spawn_local(crate::checks::run(service.context.clone()));
    let mut listening = match listen(&service, start) {
        Ok(tasks) => tasks,
        Err(error) => return drop(ready.send(Err(error))),
    };
    drop(ready.send(Ok(())));
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(stream) => {
                tokio::task::spawn_local(connection::serve(stream, service.clone(), Rights::Full));
            }
            Order::Reconfigure(start, reply) => {
                let settings = start.settings.clone();
                let result = listen(&service, *start).map(|tasks| {
                    service.context.set(settings);
                    listening = tasks;
                });
                drop(reply.send(result));
            }
            Order::Stop => {
                service.context.leases.keep();
                drop(listening);
                checks.abort();
                // The time is over: the engine answers for what is acknowledged, not for what is not.
                drop(tokio::time::timeout(LAST_WRITES, service.context.settled()).await);
                return;
            }
            Order::Cut => {
                service.context.leases.keep();
                return;
            }
        }
    }
}

/// Tasks that accept and answer; they end when the set is dropped.
fn listen(service: &Rc<Service>, start: Start) -> Result<JoinSet<()>, StartError> {
    let mut tasks = JoinSet::new();
    let tls = start.tls.map(TlsAcceptor::from);
    for listener in start.listeners {
        listener.set_nonblocking(true).map_err(StartError::Socket)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Socket)?;
        tasks.spawn_local(accept::tcp(listener, tls.clone(), service.clone()));
    }
    for listener in start.unix {
        listener.set_nonblocking(true).map_err(StartError::Socket)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(StartError::Socket)?;
        tasks.spawn_local(accept::unix(listener, service.clone()));
    }
    for (udp, tcp) in start.dns {
        udp.set_nonblocking(true).map_err(StartError::Socket)?;
        tcp.set_nonblocking(true).map_err(StartError::Socket)?;
        let udp = tokio::net::UdpSocket::from_std(udp).map_err(StartError::Socket)?;
        let tcp = tokio::net::TcpListener::from_std(tcp).map_err(StartError::Socket)?;
        tasks.spawn_local(crate::dns::serve(service.context.clone(), start.registry.clone(), udp, tcp));
    }
    Ok(tasks)
}
