//! The HTTP shell: data threads, connections, proxying, files.
//! Processes and signals are left to the weir binary, decisions without I/O to weir-http and weir-balance.

mod access;
mod body;
mod buffers;
mod conditions;
mod connection;
mod deadline;
mod exchange;
mod expires;
mod files;
mod filter;
mod live;
mod log;
mod log_files;
mod membership;
mod mirror;
mod orders;
mod peer_pages;
mod proxy;
mod proxy_protocol;
mod publisher;
mod ranges;
mod resolve;
mod respond;
mod stages;
mod status;
mod stream;
mod subrequest;
mod thread;
mod throttle;
mod upstream;
mod worker;
mod world;

pub use publisher::{Publisher, members};
pub use resolve::{BoxFuture, Resolve};
pub use worker::{Generation, Worker};
