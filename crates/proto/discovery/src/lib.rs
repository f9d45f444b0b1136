//! What sources of peers say, and when to ask them again: Consul, etcd, DNS, folders.
//! Sockets, files and clocks are left to weir-serve-discovery.

mod attributes;
pub mod consul;
pub mod dns;
mod dump;
mod entry;
mod error;
pub mod etcd2;
pub mod etcd3;
pub mod folder;
mod index;
mod known;
mod pace;

pub use dump::dump;
pub use entry::{Document, Entry, Target, peers};
pub use error::Defect;
pub use index::{Answer, Index};
pub use known::{Known, Refusal, Verdict};
pub use pace::{Backoff, Pace};
