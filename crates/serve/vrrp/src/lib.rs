//! The shell of virtual routers: the real-time thread with sockets and addresses, and the attendant with scripts, pipes,
//! mail and dumps. Elections are left to weir-vrrp, grammar to weir-keepalived.

mod attendant;
mod control;
mod firewall;
mod report;
mod service;
mod setup;
mod shell;

pub use attendant::Journal;
pub use control::answers;
pub use service::{Context, Dump, Released, Remote, Service};
