//! The one owner of what is known about the peers of every upstream: who is in, in which state, since when and why.
//! Where lists come from, probes and threads are left to the shells.

mod action;
mod book;
mod directory;
mod memory;
mod order;
mod record;
mod roster;
mod share;
mod slot;
mod status;
mod upstream;
mod view;

pub use action::{Action, Configured, Transition};
pub use directory::{Applied, Directory};
pub use memory::{Memory, Remembered};
pub use order::{AdminState, Change, MAX_WEIGHT, Order, SetError, nearest};
pub use status::{
    Answers, Bucket, By, CheckStatus, Latency, PeerStatus, SourceStatus, State, UpstreamStatus,
};

/// The moment of a call, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds: the clock that the data threads give to weir-balance.
    pub mono: u64,
    /// Milliseconds since 1970.
    pub unix: u64,
}
