//! What instances can do, seen in a laboratory of hosts: with keepalived as the peer where both must agree.

#[path = "../common/mod.rs"]
mod common;
#[path = "../routers/mod.rs"]
mod routers;

mod addresses;
mod announcing;
mod dumps;
mod elections;
mod groups;
mod notices;
mod safety;
mod stage;
mod trackers;
