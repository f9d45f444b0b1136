//! The control API over HTTP: states of peers for people and scripts.
//! What is answered is asked of a trait that the binary implements.

mod access;
mod answer;
mod client;
mod control;
mod metrics;
mod orders;
mod problem;
mod routes;
mod serve;
mod time;

pub use access::Tokens;
pub use answer::{Health, Listing, Obeyed};
pub use client::{Client, ClientError, Reply, segment};
pub use control::Control;
pub use metrics::{METRICS_TYPE, metrics};
pub use orders::Wish;
pub use serve::{Guest, Listener, Options, serve};
pub use time::parse_time;
