//! Follows sources of peers: Consul, etcd, DNS, folders; the last good list is kept on disk.
//! What becomes of the lists is left to weir-directory.

pub mod client;
mod discovery;
mod disk;
mod dns;
mod follower;
mod names;
mod source;

pub use client::Connector;
pub use discovery::{Discovery, Log, Options, Substitute, Update, What};
pub use names::{BoxFuture, Names};
