//! HTTP/1 as bytes in, decisions out: heads, bodies, routing, rewriting, variables.
//! Sockets, files and clocks are left to weir-serve-http.

pub mod answer;
pub mod browser;
pub mod credentials;
pub mod evaluate;
pub mod log_line;
pub mod lookup;
pub mod named;
pub mod pass;
pub mod redirect;
pub mod request;
pub mod retry;
pub mod rewrite;
pub mod route;
pub mod site;
pub mod ssi;
pub mod wire;

pub use answer::Answer;
pub use evaluate::World;
pub use request::{Facts, Request, Value};
pub use site::{Place, Site};
