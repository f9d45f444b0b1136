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
    /// What the keys of its peers begin with in the store, as in `upstreams/web/`; absent where there are no keys.
    #[serde(default)]
    pub path: Option<String>,
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
    /// Of its weight, what is to count; absent: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Of its weight, what counts at present, for it is below all of it; absent also where the peer is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u8>,
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
    /// Of the active ones, upgraded connections.
    #[serde(default)]
    pub upgraded: u32,
    #[serde(default)]
    pub answers: Answers,
    /// Connections that were refused or did not come in time.
    #[serde(default)]
    pub connect_errors: u64,
    /// Requests that were not taken or not answered in time, on connections that stood.
    #[serde(default)]
    pub timeouts: u64,
    /// Absent: there was no answer yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    pub checks: Vec<CheckStatus>,
    /// Kinds of the sources that name it; `configuration` for a `server` line.
    pub sources: Vec<String>,
}

/// Answers by the class of their status (RFC 9110, section 15), since the peer is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answers {
    /// Only 101, which ends the request; interim answers are not counted.
    #[serde(rename = "1xx")]
    pub informational: u64,
    #[serde(rename = "2xx")]
    pub successful: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

impl Answers {
    /// Each class with its name.
    #[must_use]
    pub const fn classes(&self) -> [(&'static str, u64); 5] {
        [
            ("1xx", self.informational),
            ("2xx", self.successful),
            ("3xx", self.redirection),
            ("4xx", self.client_error),
            ("5xx", self.server_error),
        ]
    }
}

/// How long heads of answers took from the request sent, in microseconds. A percentile is the end of its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    /// Of all answers.
    pub sum_us: u64,
    /// In rising order, none of them empty.
    pub buckets: Vec<Bucket>,
}

/// Answers that took longer than the end of the bucket before. Four buckets make an octave, the last one, which ends at
/// 67 s, has all longer times too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub up_to_us: u64,
    pub count: u64,
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
