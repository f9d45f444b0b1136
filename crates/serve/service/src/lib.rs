//! Runs an application that registers itself: its check, its lease, its drain, its signals.
//! How registries are reached is left to a trait that the binary implements.

mod app;
mod check;
mod drain;
mod key;
mod lease;
mod notify;
mod orders;
mod plan;
mod run;
mod service;
mod transport;

pub use check::{Check, CheckError};
pub use drain::Proxy;
pub use orders::{Row, deregister, drain, list, register};
pub use plan::{Form, Place, Plan};
pub use run::run;
pub use transport::{BoxFuture, Log, Reply, Stream, Transport};
