//! The servers of an upstream as the proxies and the store show them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a proxy sees a peer; the words of its control API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// An operator took it out.
    Maintenance,
    /// Its `server` line says so.
    Down,
    /// Its source or an operator says so; only bound requests.
    Draining,
    /// A check failed.
    Failed,
    /// Requests failed at it too often.
    Ejected,
    Up,
}

impl PeerState {
    /// Somebody wants it out, as against a fault that may pass.
    #[must_use]
    pub const fn is_ordered(self) -> bool {
        matches!(self, Self::Maintenance | Self::Down | Self::Draining)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Down => "down",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Ejected => "ejected",
            Self::Up => "up",
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One server of the upstream, over all proxies together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// `host:port`, as the store's key and the proxies write it.
    pub address: String,
    pub weight: u32,
    /// Every proxy sends new requests to it.
    pub serving: bool,
    /// Requests and upgraded connections that run, over all proxies.
    pub active: u64,
    /// The worst that a proxy says.
    pub state: PeerState,
    /// Serves only when no other does; not counted towards `min_healthy`.
    #[serde(default)]
    pub backup: bool,
}
