//! The document from which a release can go on.

use serde::{Deserialize, Serialize};

use crate::command::Outcome;
use crate::moment::Moment;
use crate::plan::Plan;
use crate::server::{Row, ServerProgress};

/// The version of the document's form.
pub const SCHEMA: u32 = 1;

/// Where a release stands. It is written before each step is begun, so whatever is done next, a reader knows that it may have
/// been done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub schema: u32,
    /// The whole plan, so that nothing else is needed to go on. It holds no secrets.
    pub plan: Plan,
    pub started: Moment,
    pub updated: Moment,
    pub phase: Phase,
    /// Others that have to serve whenever a server is taken out.
    pub min_healthy: usize,
    pub servers: Vec<ServerProgress>,
    /// Why the release fails, once it does.
    pub failure: Option<String>,
    /// Bringing the old version back failed as well, so no more servers are tried.
    pub undo_failed: bool,
    /// Absent: it runs, or was killed.
    pub outcome: Option<Outcome>,
}

impl Progress {
    /// Every server as it was when this was written, in the order of the release.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.servers.iter().map(|kept| kept.row(kept.detail())).collect()
    }
}

/// The parts of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The hook before the plan.
    Opening,
    /// Spares join.
    Raising,
    /// From 0.
    Batch(usize),
    /// Changed servers get the old version back, one by one.
    Undoing,
    /// Spares leave.
    Lowering,
    /// The hook after the plan.
    Closing,
    Ended,
}
