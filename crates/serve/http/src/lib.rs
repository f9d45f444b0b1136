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
mod mirror;
mod proxy;
mod proxy_protocol;
mod ranges;
mod respond;
mod stages;
mod status;
mod stream;
mod subrequest;
mod thread;
mod throttle;
mod worker;
mod world;

pub use worker::{Generation, Worker};
