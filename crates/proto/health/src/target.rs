//! What is checked, and what is told about it.

use std::sync::Arc;

use weir_balance::PeerState;
use weir_model::{Check, ListenAddress, UpstreamKey};

/// One peer and one check of it. `key`, `index` and `peer` tell targets apart.
#[derive(Clone, Debug)]
pub struct Target {
    pub key: UpstreamKey,
    /// Of the check in [`weir_model::Upstream::checks`].
    pub index: usize,
    pub check: Arc<Check>,
    /// The peer's name in its group: `host:port` or `unix:/path`.
    pub peer: String,
    /// Where traffic goes; a check with a port of its own takes the address only.
    pub address: ListenAddress,
    /// Shown counts of results in a row go here.
    pub state: Arc<PeerState>,
    /// The verdict so far: whether the peer counts as alive. None before the first result.
    pub known: Option<bool>,
}

/// What became of a target: sent when its verdict changes, and after the first result of one without a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub key: UpstreamKey,
    pub index: usize,
    pub peer: String,
    /// The verdict from now on. After the first failure of a check with `default_down=false` and `fall` above 1 it is still
    /// true, and `reason` says what failed.
    pub passed: bool,
    /// There was no verdict before.
    pub first: bool,
    /// The last result in words: `status 200`, `connect: connection refused (111)`, `no answer within 1000 ms`.
    pub reason: String,
    /// Results of this kind in a row.
    pub after: u32,
}
