//! One line for each release that ended.

use serde::{Deserialize, Serialize};

use crate::command::Outcome;
use crate::moment::Moment;
use crate::plan::Version;
use crate::server::State;

/// A release that ended, for `weir rollout history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub upstream: String,
    /// `user@host`.
    pub who: String,
    pub version: Version,
    pub started: Moment,
    pub ended: Moment,
    pub outcome: Outcome,
    /// Every server and how it was left.
    pub servers: Vec<(String, State)>,
}
