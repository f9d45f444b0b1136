//! The control API of this process: its sockets, and what it asks of the hub.

use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use weir_directory::{Applied, Change, SetError, UpstreamStatus};
use weir_model::{Admin, Level, ListenAddress};
use weir_serve_admin::{Control, Guest, Listener, Options, Tokens};
use weir_serve_registry::{Io, Mount, Visitor};

use super::Log;
use super::hub::{self, Hub};

/// How often the requests of a peer are counted for one who waits until there are none.
const COUNT: Duration = Duration::from_millis(10);

/// The API as it is served now.
pub(super) struct Api {
    hub: Arc<Hub>,
    log: Log,
    serving: Option<AbortHandle>,
    /// Answers at the registry's addresses, by the tokens of the moment.
    guest: Arc<Mutex<Guest>>,
}

impl Api {
    pub(super) fn new(hub: Arc<Hub>, log: Log) -> Api {
        let guest = Guest::new(Options::default(), Asked(Arc::clone(&hub)));
        Api { hub, log, serving: None, guest: Arc::new(Mutex::new(guest)) }
    }

    /// Serves on these sockets, and on the ones before no more. Whoever waits for an answer asks again.
    pub(super) fn configure(&mut self, admin: &Admin, sockets: Vec<OwnedFd>) -> Result<(), String> {
        let listeners = sockets.into_iter().map(listener).collect::<std::io::Result<Vec<_>>>();
        let listeners = listeners.map_err(|error| format!("a socket of the control API: {error}"))?;
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
        let tokens = Tokens { write: admin.write_token.clone(), read: admin.read_token.clone() };
        let (asked, log) = (Asked(Arc::clone(&self.hub)), Arc::clone(&self.log));
        let guest = Guest::new(Options { tokens: tokens.clone() }, asked.clone());
        *self.guest.lock().unwrap_or_else(PoisonError::into_inner) = guest;
        let serving = tokio::task::spawn_local(async move {
            if let Err(error) = weir_serve_admin::serve(listeners, Options { tokens }, asked).await {
                log(Level::Error, format!("the control API is not served: {error}"));
            }
        });
        self.serving = Some(serving.abort_handle());
        Ok(())
    }

    /// The same API for those who ask it at the registry's addresses.
    pub(super) fn mount(&self) -> Arc<dyn Mount> {
        Arc::new(Mounted(Arc::clone(&self.guest)))
    }
}

struct Mounted(Arc<Mutex<Guest>>);

impl Mount for Mounted {
    fn paths(&self) -> &[&str] {
        &["/v1/upstreams", "/metrics"]
    }

    fn serve<'a>(
        &'a self,
        connection: Box<dyn Io + 'a>,
        visitor: Visitor,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        let guest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            guest.serve(connection, visitor.address, visitor.vouched, visitor.may_write).await;
        })
    }
}

fn listener(socket: OwnedFd) -> std::io::Result<Listener> {
    Ok(match weir_net::bound_addr(socket.as_fd())? {
        ListenAddress::Inet(_) => Listener::Tcp(socket.into()),
        ListenAddress::Unix(_) => Listener::Unix(socket.into()),
    })
}

/// The hub, as the API asks it.
#[derive(Clone)]
struct Asked(Arc<Hub>);

impl Control for Asked {
    async fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.0.directory(|directory| directory.status(hub::now()))
    }

    async fn upstream(&self, name: String) -> Option<UpstreamStatus> {
        self.0.directory(|directory| directory.status_of(hub::now(), &name))
    }

    async fn set(&self, change: Change) -> Result<u64, SetError> {
        self.0.set(change).await
    }

    async fn served(&self, change: u64) {
        self.0.served(change).await;
    }

    async fn quiet(&self, upstream: String, peer: String) {
        while self
            .0
            .directory(|directory| directory.active(&upstream, &peer))
            .is_some_and(|active| active > 0)
        {
            tokio::time::sleep(COUNT).await;
        }
    }

    async fn wait_applied(&self, upstream: String, index: u64) -> Option<Applied> {
        let mut changes = self.0.changes();
        loop {
            let applied = self.0.directory(|directory| directory.applied_index(&upstream))?;
            if applied.served >= index {
                return Some(applied);
            }
            // An error means that the thread ends.
            changes.changed().await.ok()?;
        }
    }

    async fn applied(&self, upstream: String) -> Option<Applied> {
        self.0.directory(|directory| directory.applied_index(&upstream))
    }

    async fn version(&self) -> u64 {
        self.0.directory(weir_directory::Directory::version)
    }

    async fn changed(&self, version: u64) {
        let mut changes = self.0.changes();
        while self.0.directory(weir_directory::Directory::version) == version {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
