//! What all handlers share: the engine, and what the configuration says now.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use weir_model::Level;
use weir_registry::{Command, Outcome};

use super::{Answer, Tokens, body};
use crate::lease::Leases;
use crate::server::Log;
use crate::store::{Engine, WriteError};

pub(crate) type Shared = Rc<Context>;

/// So many names of unknown fields are remembered; what comes after is not logged.
const MOST_UNKNOWN: usize = 256;

/// What a reload may change.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) datacenter: String,
    pub(crate) node: String,
    pub(crate) address: IpAddr,
    pub(crate) tokens: Tokens,
    /// Somebody else answers for the upstreams of this process.
    pub(crate) mounted: bool,
}

impl Settings {
    /// Where Consul's servers would talk to one another; clients only print it.
    pub(crate) fn server_address(&self) -> String {
        std::net::SocketAddr::new(self.address, 8300).to_string()
    }
}

/// One registry.
pub(crate) struct Context {
    pub(crate) engine: Engine,
    settings: RefCell<Rc<Settings>>,
    log: Log,
    unknown: RefCell<BTreeSet<String>>,
    /// Requests that change something and have no answer yet.
    writing: Cell<usize>,
    idle: tokio::sync::Notify,
    pub(crate) leases: Leases,
}

impl Context {
    pub(crate) fn new(engine: Engine, settings: Settings, log: Log) -> Self {
        Self {
            engine,
            settings: RefCell::new(Rc::new(settings)),
            log,
            unknown: RefCell::default(),
            writing: Cell::new(0),
            idle: tokio::sync::Notify::new(),
            leases: Leases::default(),
        }
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        self.settings.borrow().clone()
    }

    pub(crate) fn set(&self, settings: Settings) {
        *self.settings.borrow_mut() = Rc::new(settings);
    }

    pub(crate) fn log(&self, level: Level, text: String) {
        (self.log)(level, text);
    }

    /// `body` as `T`, leniently; a field that nobody knows is logged the first time it comes.
    pub(crate) fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Answer> {
        body::decode(body, |name| self.unknown_field(name))
    }

    /// The same with the reason alone.
    pub(crate) fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, String> {
        body::parse(body, &mut |name| self.unknown_field(name))
    }

    fn unknown_field(&self, name: &str) {
        let name: String = name.chars().take(64).collect();
        let mut unknown = self.unknown.borrow_mut();
        if unknown.len() < MOST_UNKNOWN && !unknown.contains(&name) {
            self.log(
                Level::Info,
                format!("registry: a client sends the field {name:?}, which is unknown and ignored"),
            );
            unknown.insert(name);
        }
    }

    /// The outcome of a change that is on the disk, or what the client hears instead.
    pub(crate) async fn write(&self, command: Command) -> Result<Outcome, Answer> {
        self.try_write(command).await.map_err(|error| refused(&error))
    }

    /// The same for who has words of its own for a refusal.
    pub(crate) async fn try_write(&self, command: Command) -> Result<Outcome, WriteError> {
        let _one = self.begin();
        self.engine.write(command).await
    }

    fn begin(&self) -> Writing<'_> {
        self.writing.set(self.writing.get() + 1);
        Writing(self)
    }

    /// Returns when no change is under way.
    pub(crate) async fn settled(&self) {
        while self.writing.get() > 0 {
            self.idle.notified().await;
        }
    }
}

struct Writing<'c>(&'c Context);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let left = self.0.writing.get() - 1;
        self.0.writing.set(left);
        if left == 0 {
            self.0.idle.notify_one();
        }
    }
}

/// The answer to a write that changed nothing.
pub(super) fn refused(error: &WriteError) -> Answer {
    let status = match error {
        WriteError::Refused(refusal) => StatusCode::from_u16(refusal.status()).ok(),
        _ => None,
    };
    Answer::text(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.to_string())
}
