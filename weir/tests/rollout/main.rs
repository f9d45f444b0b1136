//! Releases: `weir rollout` with a proxy, stores of every kind, applications that are stopped and started, and traffic.

#[path = "../common/mod.rs"]
mod common;
#[path = "../load/mod.rs"]
mod load;
#[path = "../stores/mod.rs"]
mod stores;
#[path = "../support/mod.rs"]
mod support;

mod endings;
mod interruptions;
mod kinds;
mod refusals;
mod stage;
mod steps;
mod traffic;
