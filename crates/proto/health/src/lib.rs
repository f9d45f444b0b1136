//! Active checks without I/O: what a probe sends, what counts as alive, when the next one is due.
//! Sockets and clocks are left to weir-serve-health.

mod attention;
mod exchange;
mod expect;
mod fastcgi;
mod grpc;
mod hello;
mod hpack;
mod http;
mod plan;
mod reason;
mod rhythm;
mod tally;
mod target;
#[cfg(test)]
mod tests;
mod timers;

pub use attention::{Attention, GRACE};
pub use exchange::{Exchange, Progress};
pub use plan::{Plan, PlanError};
pub use reason::{Reason, Verdict};
pub use rhythm::{Rhythm, Turn};
pub use tally::{Change, Tally};
pub use target::{Report, Target};
pub use timers::Timers;

/// The longest head of an answer, bytes.
pub const HEAD_LIMIT: usize = 16 * 1024;

/// So much of an answer's body is read and judged, bytes (`body` of a `match` block in nginx).
pub const BODY_LIMIT: usize = 256 * 1024;
