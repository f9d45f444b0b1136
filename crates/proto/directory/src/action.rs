//! What goes out to the shells.

use std::fmt;
use std::sync::Arc;

use weir_balance::{Member, PeerState};
use weir_model::{Check, Level, ListenAddress, UpstreamKey};

use crate::{By, State};

/// What has to be done outside; in the order in which it is polled.
#[derive(Debug, Clone)]
pub enum Action {
    /// Give these members to the data threads; say [`crate::Directory::handle_served`] when all of them serve it.
    Publish { change: u64, key: UpstreamKey, members: Vec<Member> },
    /// Begin to check a peer.
    Watch {
        key: UpstreamKey,
        /// Of the check in the upstream's list of checks.
        index: usize,
        check: Arc<Check>,
        /// The peer's name, by which reports come back.
        peer: String,
        address: ListenAddress,
        state: Arc<PeerState>,
        /// The verdict so far: it holds until `rise` or `fall` results contradict it. Absent: the first result decides.
        known: Option<bool>,
    },
    /// End one check of a peer.
    Unwatch { key: UpstreamKey, index: usize, peer: String },
    /// [`crate::Directory::memory`] is another one than before: write it to the disk.
    Remember,
    /// A line for the log.
    Note { level: Level, text: String },
    /// A peer is in another state than before; its `Display` is the line for the log.
    Transition(Transition),
}

/// A change of a peer's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub upstream: UpstreamKey,
    pub peer: String,
    pub from: State,
    pub to: State,
    /// Who brought it about.
    pub by: By,
    pub reason: String,
    /// Milliseconds since 1970.
    pub at: u64,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, peer, from, to, by, reason, .. } = self;
        write!(f, "upstream {upstream}: peer {peer} is {to}, was {from}, by {by}")?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// What a new configuration starts with.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The change that the new generation is.
    pub change: u64,
    /// Of each upstream, in the order of the argument.
    pub members: Vec<Vec<Member>>,
}
