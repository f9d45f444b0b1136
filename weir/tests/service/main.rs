//! Applications that register themselves: `weir service`, with the registry inside Weir and with Consul.

#[path = "../common/mod.rs"]
mod common;
#[path = "../load/mod.rs"]
mod load;
#[path = "../stores/mod.rs"]
mod stores;
#[path = "../support/mod.rs"]
mod support;

mod drains;
mod lifetimes;
mod notifications;
mod orders;
mod stage;
mod traffic;
