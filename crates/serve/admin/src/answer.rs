//! Documents of the API.

use serde::{Deserialize, Serialize};
use weir_directory::{PeerStatus, UpstreamStatus};

/// `GET /v1/upstreams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// What to give as `index` to be answered when something is new.
    pub index: u64,
    pub upstreams: Vec<UpstreamStatus>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Obeyed {
    /// The change that has to be served for the order to be in force everywhere.
    pub change: u64,
    /// It is in force in every data thread: known to be so where that was waited for.
    pub served: bool,
    /// No request runs at the peer: known to be so where that was waited for.
    pub quiet: bool,
    /// Absent where the order was for a peer that is not there.
    pub peer: Option<PeerStatus>,
}

/// `GET /v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `degraded` when there are problems.
    pub status: String,
    pub upstreams: usize,
    /// Upstreams that nobody serves, and sources that do not answer.
    pub problems: Vec<String>,
}

impl Health {
    pub(crate) fn of(upstreams: &[UpstreamStatus]) -> Health {
        let problems: Vec<String> = upstreams.iter().flat_map(problems).collect();
        let status = if problems.is_empty() { "ok" } else { "degraded" };
        Health { status: status.to_owned(), upstreams: upstreams.len(), problems }
    }
}

fn problems(upstream: &UpstreamStatus) -> Vec<String> {
    let name = &upstream.name;
    let mut problems = Vec::new();
    if upstream.panic {
        problems.push(format!("upstream {name}: every peer failed its checks; all of them serve"));
    } else if !upstream.peers.iter().any(|peer| peer.state.serves()) {
        problems.push(format!("upstream {name}: no peer is up"));
    }
    for source in &upstream.sources {
        if let Some(error) = &source.error {
            let (kind, endpoint) = (&source.kind, &source.endpoint);
            problems.push(format!("upstream {name}: source {kind} {endpoint}: {error}"));
        }
    }
    problems
}
