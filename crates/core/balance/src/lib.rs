//! Peers, groups, selection algorithms and passive failure accounting.
//! Connections, clocks and retries are left to weir-serve-*.
//!
//! The order of selection is nginx's, for every algorithm but `random`, whose dice are our own.
//!
//! * [`Group`] is what one `upstream` block compiles to: immutable, shared by all threads.
//! * [`PeerState`] is what all threads know about one peer; it lives through a reload.
//! * [`Selector`] is one thread's hand on a group: the running weights and the dice.
//! * [`Tried`] is one request's memory: which peers it had, and where its hash stands.

mod group;
mod hash;
mod ip_hash;
mod ketama;
mod least_conn;
mod least_time;
mod peer;
mod places;
mod random;
mod round_robin;
mod selector;
mod statistics;
mod tried;

pub use group::{Group, Member, Method, adopt};
pub use peer::{Bars, Peer, PeerSpec, PeerState};
pub use selector::{Outcome, Selector, Times};
pub use statistics::{Bucket, Latency, Upgraded};
pub use tried::Tried;

/// Monotonic milliseconds, given by the caller. The zero point is the caller's and the same for all threads.
pub type Millis = u64;
