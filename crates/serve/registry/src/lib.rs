//! The embedded registry: a durable store with Consul's HTTP API and DNS.
//! Peers of upstreams and checks of them are left to weir-serve-discovery and weir-serve-health.

mod agent;
mod catalog;
mod checks;
mod dns;
mod health;
mod http;
mod lease;
mod server;
mod store;
mod uuid;

pub use server::{Connector, Io, Log, Mount, Options, Running, StartError, Visitor};
pub use store::{Engine, Identity, OpenError, Watch, WriteError};
