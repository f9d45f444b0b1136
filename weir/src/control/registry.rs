//! The registry inside this process: started, reconfigured and let go of.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use weir_model::{Level, ListenAddress};
use weir_serve_registry::{Connector, Mount, OpenError, Options, Running, StartError};

use super::Log;
use crate::message::Role;

/// How often a database that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// The registry of this process, or nothing.
pub(super) struct Registry {
    log: Log,
    /// Answers for the upstreams at the registry's addresses as well.
    mount: Arc<dyn Mount>,
    wanted: Option<weir_model::Registry>,
    running: Arc<Mutex<Option<Running>>>,
    /// Set while the database is another process'.
    waiting: Option<AbortHandle>,
}

impl Registry {
    pub(super) fn new(log: Log, mount: Arc<dyn Mount>) -> Registry {
        Registry { log, mount, wanted: None, running: Arc::default(), waiting: None }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what a configuration says. The error is why it cannot be.
    pub(super) fn configure(
        &mut self,
        wanted: Option<&weir_model::Registry>,
        sockets: Vec<(Role, OwnedFd)>,
    ) -> Result<(), String> {
        let Some(registry) = wanted else {
            self.stop();
            return Ok(());
        };
        let options = options(registry, sockets, Arc::clone(&self.log), Arc::clone(&self.mount))
            .map_err(|error| error.to_string())?;
        let moved = self.wanted.as_ref().is_some_and(|before| before.data != registry.data);
        if moved {
            self.stop();
        }
        self.wanted = Some(registry.clone());
        if let Some(running) = &*self.running() {
            return running.reconfigure(options).map_err(|error| error.to_string());
        }
        self.start(options)
    }

    fn start(&mut self, options: Options) -> Result<(), String> {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        let retry = again(&options).map_err(|error| error.to_string())?;
        match Running::start(options) {
            Ok(running) => {
                *self.running() = Some(running);
                Ok(())
            }
            Err(StartError::Open(OpenError::Locked { .. })) => {
                (self.log)(
                    Level::Notice,
                    "the registry's database is held by another process; the registry answers when that one lets go"
                        .to_owned(),
                );
                let (running, log) = (Arc::clone(&self.running), Arc::clone(&self.log));
                self.waiting = Some(tokio::task::spawn_local(wait(retry, running, log)).abort_handle());
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Connections to it from inside this process, also to one that starts later.
    pub(super) fn connector(&self) -> Connector {
        let running = Arc::clone(&self.running);
        Arc::new(move || match &*running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => (running.connector())(),
            // Its other end is gone: whoever asks sees a closed connection, and asks again later.
            None => tokio::io::duplex(1).0,
        })
    }

    /// Finishes writes and closes the database.
    pub(super) fn stop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        self.wanted = None;
        let running = self.running().take();
        if let Some(running) = running {
            running.stop();
        }
    }
}

async fn wait(options: Options, place: Arc<Mutex<Option<Running>>>, log: Log) {
    loop {
        tokio::time::sleep(RETRY).await;
        let next = match again(&options) {
            Ok(next) => next,
            Err(error) => {
                log(Level::Error, format!("the registry does not start: {error}"));
                continue;
            }
        };
        match Running::start(next) {
            Ok(running) => {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
                return;
            }
            Err(StartError::Open(OpenError::Locked { .. })) => {}
            Err(error) => {
                log(Level::Alert, format!("the registry does not start: {error}"));
                return;
            }
        }
    }
}

/// Sorts the sockets by what they are for; those of DNS come in pairs of one address.
fn options(
    registry: &weir_model::Registry,
    sockets: Vec<(Role, OwnedFd)>,
    log: Log,
    mount: Arc<dyn Mount>,
) -> std::io::Result<Options> {
    let (mut listeners, mut unix, mut streams, mut datagrams) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (role, socket) in sockets {
        match role {
            Role::Dns => streams.push(TcpListener::from(socket)),
            Role::DnsDatagram => datagrams.push(UdpSocket::from(socket)),
            Role::Registry | Role::Admin => match weir_net::bound_addr(std::os::fd::AsFd::as_fd(&socket))? {
                ListenAddress::Inet(_) => listeners.push(TcpListener::from(socket)),
                ListenAddress::Unix(_) => unix.push(UnixListener::from(socket)),
            },
        }
    }
    let dns = datagrams.into_iter().zip(streams).collect();
    let node = registry
        .node
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    Ok(Options { registry: registry.clone(), node, listeners, unix, dns, log, mount: Some(mount) })
}

/// The same options with copies of the sockets.
pub(crate) fn again(options: &Options) -> std::io::Result<Options> {
    let dns = options.dns.iter().map(|(udp, tcp)| Ok((udp.try_clone()?, tcp.try_clone()?)));
    Ok(Options {
        registry: options.registry.clone(),
        node: options.node.clone(),
        listeners: options.listeners.iter().map(TcpListener::try_clone).collect::<Result<_, _>>()?,
        unix: options.unix.iter().map(UnixListener::try_clone).collect::<Result<_, _>>()?,
        dns: dns.collect::<std::io::Result<_>>()?,
        log: Arc::clone(&options.log),
        mount: options.mount.clone(),
    })
}
