//! Carries out a release: talks to stores, proxies, shells, systemd and Docker, and shows how it goes.
//! What comes next is decided by weir-rollout.

mod history;
mod lock;
mod proxies;
mod store;

pub use lock::{Holder, Lock, LockError};
pub use proxies::{Origin, Proxies, Proxy, ProxyError};
pub use store::{Entry, Place, Reply, Store, StoreError, StoreEvent, Tell, Token, Transport};
