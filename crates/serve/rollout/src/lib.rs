//! Carries out a release: talks to stores, proxies, shells, systemd and Docker, and shows how it goes.
//! What comes next is decided by weir-rollout.

mod clock;
mod display;
mod executor;
mod history;
mod lock;
mod machine;
mod order;
mod proxies;
mod store;

pub use clock::Clock;
pub use display::{Display, Json, Plain, Table};
pub use executor::{Ear, Mouth, Release, channel};
pub use lock::{Holder, Lock, LockError};
pub use machine::{Machine, Output};
pub use order::Order;
pub use proxies::{Origin, Proxies, Proxy, ProxyError};
pub use store::{Entry, Place, Reply, Store, StoreError, StoreEvent, Tell, Token, Transport};
