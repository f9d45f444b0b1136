//! Consul's HTTP API: which endpoint a request is for, what it may do, and the answers of KV, sessions, transactions
//! and the operator's endpoints.

mod access;
mod answer;
mod blocking;
mod body;
mod context;
pub(crate) mod duration;
mod kv;
mod number;
mod operator;
mod path;
mod pretty;
mod request;
mod router;
mod session;
mod snapshot;
mod status;
mod txn;

pub(crate) use access::Tokens;
pub(crate) use answer::Answer;
pub(crate) use blocking::{QueryOptions, blocking};
pub(crate) use context::{Context, Settings, Shared};
pub(crate) use number::parse_u64;
pub(crate) use request::{Body, Head, Query, Request, Verb};
pub(crate) use router::{Reply, Rights, Route, Router};
