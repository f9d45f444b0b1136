//! What people and programs are told about peers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a peer. Where several reasons hold, the first of this order is the one that is shown:
///
/// ```text
/// maintenance  an operator took it out
/// down         its `server` line says so
/// draining     an operator, its `server` line or its source (down, weight 0, drain): only bound requests
/// failed       a check failed, or its first result is awaited
/// ejected      requests failed at it too often (max_fails)
/// up
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Maintenance,
    Down,
    Draining,
    Failed,
    Ejected,
    Up,
}

impl State {
    /// The word of it.
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

    /// Whether new requests go to the peer.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Up)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who put a peer into its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Configuration,
    /// `user@host`
    Operator(String),
    /// The kind of source.
    Source(String),
    /// Position and type of the check.
    Check {
        index: usize,
        kind: String,
    },
    /// Requests that failed.
    Requests,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("the configuration"),
            Self::Operator(who) => f.write_str(who),
            Self::Source(kind) => write!(f, "source {kind}"),
            Self::Check { index, kind } => write!(f, "check {index} ({kind})"),
            Self::Requests => f.write_str("its requests"),
        }
    }
}

/// One upstream as it stands. Times are milliseconds, moments since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Of an implicit upstream `host:port`.
    pub name: String,
    pub method: String,
    /// The change that its members came with.
    pub change: u64,
    pub sources: Vec<SourceStatus>,
    pub peers: Vec<PeerStatus>,
    /// Every peer that nobody took out failed its checks, so that all of them serve (`check_panic`).
    pub panic: bool,
}

/// One source of peers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    pub kind: String,
    /// Who answered last, or would not.
    pub endpoint: String,
    /// Of the newest list; absent: there is none yet.
    pub index: Option<u64>,
    /// Of the newest list that every data thread serves; absent: none yet.
    pub applied_index: Option<u64>,
    /// How long ago the newest list came; absent: never.
    pub age_ms: Option<u64>,
    /// What keeps newer lists away.
    pub error: Option<String>,
    /// Since when.
    pub since: Option<u64>,
    /// The list comes from the disk.
    pub remembered: bool,
    /// Peers of the list.
    pub peers: usize,
    /// Entries that were skipped, and why.
    pub rejected: Vec<String>,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub address: String,
    /// The text of the `server` line, or of the source.
    pub server: String,
    pub weight: u32,
    /// The weight without the operator's, where that differs.
    pub own_weight: Option<u32>,
    pub backup: bool,
    pub state: State,
    /// Absent where it cannot be known.
    pub since: Option<u64>,
    /// Absent: nobody, it is up.
    pub by: Option<By>,
    pub reason: String,
    /// When the operator's order ends.
    pub expires: Option<u64>,
    /// Requests that run.
    pub active: u32,
    /// Requests since the peer is known.
    pub requests: u64,
    /// Failed attempts since the peer is known.
    pub failures: u64,
    pub checks: Vec<CheckStatus>,
    /// Kinds of the sources that name it; `configuration` for a `server` line.
    pub sources: Vec<String>,
}

/// One check of a peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    pub kind: String,
    /// Absent: there is no result yet.
    pub passed: Option<bool>,
    /// Results in a row, over all checks of the peer.
    pub rise: u32,
    pub fall: u32,
    /// What was seen when the verdict changed last.
    pub reason: String,
    pub since: Option<u64>,
}
