use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, mpsc};

use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use weir_model::{Level, Registry};

use super::mount::Mount;
use super::thread::{self, Order, Start};
use crate::http::{Settings, Tokens};
use crate::store::{Engine, Identity, OpenError};

/// How the registry reports: level and one line of text.
pub type Log = Arc<dyn Fn(Level, String) + Send + Sync>;

/// Opens a connection from inside this process: HTTP/1.1, with the right to read and write everything.
pub type Connector = Arc<dyn Fn() -> DuplexStream + Send + Sync>;

/// In one direction between this process and its own registry, in bytes.
const DUPLEX_BUFFER: usize = 16 * 1024;

/// What a registry needs: its configuration and sockets that are bound already.
pub struct Options {
    pub registry: Registry,
    /// The name of the machine, where the configuration gives none.
    pub node: String,
    pub listeners: Vec<TcpListener>,
    /// Without TLS.
    pub unix: Vec<UnixListener>,
    pub dns: Vec<(UdpSocket, TcpListener)>,
    pub log: Log,
    /// Somebody else of this process who answers as well; as long as the registry runs.
    pub mount: Option<Arc<dyn Mount>>,
}

/// Why a registry cannot start, or cannot take another configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Tls(#[from] weir_tls::Error),
    #[error("cannot use a socket of the registry: {0}")]
    Socket(#[source] std::io::Error),
    #[error("cannot start the registry's thread: {0}")]
    Thread(#[source] std::io::Error),
    #[error(
        "the registry's {what} cannot change from {from:?} to {to:?} while it runs; restart weir to obey the new configuration"
    )]
    Fixed { what: &'static str, from: String, to: String },
    #[error("the registry's thread has ended; restart weir")]
    Gone,
}

/// A registry that serves. Dropped, it ends without waiting.
pub struct Running {
    orders: UnboundedSender<Order>,
    thread: Option<std::thread::JoinHandle<()>>,
    engine: Engine,
    fixed: Fixed,
}

/// What stays the same as long as the registry runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fixed {
    data: String,
    datacenter: String,
    node: String,
    address: String,
}

impl Running {
    /// Opens the database and serves on a thread of its own; the sockets are listened on when this returns.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let fixed = Fixed::of(&options);
        let identity = Identity {
            node: fixed.node.clone(),
            datacenter: fixed.datacenter.clone(),
            address: fixed.address.clone(),
            ..Identity::default()
        };
        let start = prepare(options)?;
        let engine = Engine::open(Path::new(&fixed.data), identity, start.log.clone())?;
        let (orders, inbox) = unbounded_channel();
        let thread = thread::spawn(engine.clone(), start, inbox)?;
        Ok(Self { orders, thread: Some(thread), engine, fixed })
    }

    /// For parts of this process that speak to the registry as its clients do. A connection that is opened after the
    /// registry has stopped is at its end at once.
    #[must_use]
    pub fn connector(&self) -> Connector {
        let orders = self.orders.clone();
        Arc::new(move || {
            let (near, far) = tokio::io::duplex(DUPLEX_BUFFER);
            // Nobody there: `far` is dropped, and `near` reads its end.
            drop(orders.send(Order::Serve(far)));
            near
        })
    }

    /// Takes another configuration: sockets, tokens, certificate. Connections live on; each request is judged by the
    /// tokens of the moment. An error changes nothing.
    pub fn reconfigure(&self, options: Options) -> Result<(), StartError> {
        self.fixed.same(&Fixed::of(&options))?;
        let start = prepare(options)?;
        let (reply, answer) = mpsc::sync_channel(1);
        self.orders.send(Order::Reconfigure(Box::new(start), reply)).map_err(|_| StartError::Gone)?;
        answer.recv().unwrap_or(Err(StartError::Gone))
    }

    /// Stops accepting, finishes writes that are under way, cuts readers off and closes the database.
    pub fn stop(mut self) {
        self.end(Order::Stop);
    }

    fn end(&mut self, order: Order) {
        drop(self.orders.send(order));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
            self.engine.close();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Order::Cut);
    }
}

impl Fixed {
    fn of(options: &Options) -> Self {
        let registry = &options.registry;
        Self {
            data: registry.data.clone(),
            datacenter: registry.datacenter.clone(),
            node: registry.node.clone().unwrap_or_else(|| options.node.clone()),
            address: registry.address.to_string(),
        }
    }

    fn same(&self, other: &Self) -> Result<(), StartError> {
        let pairs = [
            ("data folder", &self.data, &other.data),
            ("datacenter", &self.datacenter, &other.datacenter),
            ("node name", &self.node, &other.node),
            ("address", &self.address, &other.address),
        ];
        match pairs.into_iter().find(|(_, from, to)| from != to) {
            Some((what, from, to)) => Err(StartError::Fixed { what, from: from.clone(), to: to.clone() }),
            None => Ok(()),
        }
    }
}

/// Everything that can fail without the thread.
fn prepare(options: Options) -> Result<Start, StartError> {
    let Options { registry, node, listeners, unix, dns, log, mount } = options;
    let tls = match &registry.tls {
        Some((cert, key)) => Some(weir_tls::server_config(Path::new(cert), Path::new(key))?),
        None => None,
    };
    let settings = Settings {
        datacenter: registry.datacenter.clone(),
        node: registry.node.clone().unwrap_or(node),
        address: registry.address,
        tokens: Tokens { write: registry.write_token.clone(), read: registry.read_token.clone() },
        mounted: mount.is_some(),
    };
    Ok(Start { settings, registry, tls, listeners, unix, dns, log, mount })
}
