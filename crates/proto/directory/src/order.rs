//! What operators want of a peer, and why it is refused.

use serde::{Deserialize, Serialize};

/// The largest weight that an order or a source can give: Consul's bound (agent/structs, `Weights`). The ring of a
/// consistent hash grows with the weights.
pub const MAX_WEIGHT: u32 = 65_535;

/// What an operator can put a peer into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminState {
    /// Nothing keeps the peer out on the operator's side.
    #[default]
    Up,
    /// No new requests but those that are bound to the peer; running ones end as they like.
    #[serde(alias = "draining")]
    Drain,
    /// No new requests at all.
    Maintenance,
}

/// What is to become of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// What is absent stays as it is.
    Set {
        state: Option<AdminState>,
        weight: Option<u32>,
        /// Of the weight, what is to count; 100 takes such an order back.
        percent: Option<u8>,
    },
    /// The operator has no say any more: neither state nor weight nor percent.
    Forget,
}

/// An order with all that is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The upstream's name; of an implicit one `host:port`.
    pub upstream: String,
    /// The peer's address, or the text of its `server` line if only one peer has it.
    pub peer: String,
    pub order: Order,
    /// `user@host`
    pub who: String,
    pub reason: String,
    /// The order ends after so many milliseconds; absent: never.
    pub expires_ms: Option<u64>,
    /// Even if no peer is left that serves.
    pub force: bool,
}

/// Why an order is not obeyed; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// `near`: names that may have been meant, the likeliest first.
    #[error("there is no upstream {name}; {}", suggestion(near))]
    UnknownUpstream { name: String, near: Vec<String> },
    #[error("upstream {upstream} has no peer {peer}; {}", suggestion(near))]
    UnknownPeer { upstream: String, peer: String, near: Vec<String> },
    /// Several peers come from this `server` line.
    #[error("{peer} stands for {} peers of upstream {upstream}; expected one of {}", peers.len(), peers.join(", "))]
    Ambiguous { upstream: String, peer: String, peers: Vec<String> },
    /// `failed`: peers that are in, but failed their checks.
    #[error("{peer} is the last peer that serves in upstream {upstream}{}; bring another up first, or force it", others(*failed))]
    LastPeer { upstream: String, peer: String, failed: usize },
    #[error("weight {0}; expected 1 to {MAX_WEIGHT}; to give a peer no requests, drain it")]
    Weight(u32),
    #[error("{0} percent; expected 1 to 100; to give a peer no requests, drain it")]
    Percent(u8),
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => "there are none".to_owned(),
        near => format!("there are: {}", near.join(", ")),
    }
}

fn others(failed: usize) -> String {
    match failed {
        0 => String::new(),
        failed => format!(" ({failed} more failed their checks)"),
    }
}

/// So many names are proposed.
const PROPOSALS: usize = 5;
/// Longer names are not compared further.
const COMPARED: usize = 80;

/// The names that are most like `name`, the likeliest first.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let name: String = name.chars().take(COMPARED).collect();
    let mut known: Vec<(usize, &str)> =
        known.map(|known| (strsim::osa_distance(&name, known), known)).collect();
    known.sort_unstable();
    known.into_iter().take(PROPOSALS).map(|(_, known)| known.to_owned()).collect()
}
