//! The registry's thread: listeners, connections and their limits, TLS, start, reload and stop.

mod accept;
mod connection;
mod held;
mod incoming;
mod link;
mod mount;
mod running;
mod thread;
mod wire;

pub use mount::{Io, Mount, Visitor};
pub use running::{Connector, Log, Options, Running, StartError};
