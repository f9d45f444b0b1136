//! What a release asks of the world, and what the world tells it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::amount::Share;
use crate::metrics::Metrics;
use crate::moment::{Moment, Span};
use crate::progress::Progress;
use crate::stage::Stage;
use crate::view::PeerView;

/// One thing to do. Commands may be carried out in parallel; each is answered by one event with its `id`, except where it says
/// otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: u64,
    pub action: Action,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write in the store that the server gets no new requests (`"down":1`) -> [`Event::Applied`], or [`Event::Failed`] if it never
    /// can be written. A store that is away is waited for.
    SetDrain {
        server: String,
    },
    /// Write that it serves again, with this share; the rest of the entry stays -> as above.
    SetUp {
        server: String,
        percent: Share,
        slow_start: Option<Span>,
    },
    /// Write another share of a server that serves -> as above.
    SetPercent {
        server: String,
        percent: Share,
    },
    /// Wait until every proxy serves by this index -> [`Event::Reached`], or [`Event::Failed`] at `until` with the proxy's name.
    AwaitApplied {
        server: String,
        index: u64,
        until: Moment,
    },
    /// Wait until nothing runs at the server on any proxy, at most until then (absent: without limit) -> [`Event::Quiet`].
    AwaitQuiet {
        server: String,
        until: Option<Moment>,
    },
    /// Run a hook with [`crate::environment`] -> [`Event::Ran`]. `server` and `batch` (from 1) are absent for the whole plan's hooks.
    RunHook {
        stage: Stage,
        server: Option<String>,
        batch: Option<usize>,
        result: Option<String>,
    },
    /// The driver's commands -> [`Event::Ran`]. They may be repeated after a resumption. They are never cancelled.
    Stop {
        server: String,
        batch: Option<usize>,
    },
    Start {
        server: String,
        batch: Option<usize>,
    },
    Rollback {
        server: String,
        batch: Option<usize>,
    },
    /// One probe of the server -> [`Event::Probed`]. `through`: of this URL instead. `rollback`: the old version is expected.
    Probe {
        server: String,
        through: Option<String>,
        rollback: bool,
    },
    /// Send the requests that warm it up -> [`Event::Ran`].
    Warm {
        server: String,
    },
    /// Read the counters of the server and, summed, of the others -> [`Event::Metrics`], or [`Event::Failed`].
    ReadMetrics {
        server: String,
        others: Vec<String>,
    },
    /// Read anew what every server of the upstream does -> [`Event::View`], or [`Event::Failed`].
    ReadView,
    /// Write the document down before anything else is done -> [`Event::Saved`].
    Save {
        progress: Box<Progress>,
    },
    /// For people: the server stands at this share until then, or (absent) until [`Event::Promote`]. Not answered.
    Pause {
        server: String,
        percent: Share,
        until: Option<Moment>,
    },
    /// Give up the command with this id; an answer that comes nevertheless is ignored. Not answered.
    Cancel {
        id: u64,
    },
    /// Let the lock go and end. Not answered, and the last command.
    Finish {
        outcome: Outcome,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A change is in the store; `index` is its own (Consul's ModifyIndex, etcd's revision; 0 where the proxies themselves were told).
    Applied {
        id: u64,
        index: u64,
    },
    Reached {
        id: u64,
    },
    /// `active`: what still runs; 0 is quiet.
    Quiet {
        id: u64,
        active: u64,
    },
    /// Of a hook, a driver or the warming; the error is for people.
    Ran {
        id: u64,
        result: Result<(), String>,
    },
    Probed {
        id: u64,
        result: Result<(), String>,
    },
    Metrics {
        id: u64,
        metrics: Metrics,
    },
    View {
        id: u64,
        view: Vec<PeerView>,
    },
    Saved {
        id: u64,
    },
    /// The command cannot be carried out.
    Failed {
        id: u64,
        reason: String,
    },
    /// For people only: what still runs at a server that is drained.
    Active {
        server: String,
        active: u64,
    },
    /// The moment of [`crate::Rollout::poll_timeout`] came.
    Tick,
    /// Ctrl-C. First: the batch is finished. Second: stop now.
    Interrupt,
    /// The store does not answer; commands to it are tried on by the caller.
    StoreLost,
    StoreBack,
    /// Somebody else may release now.
    LockLost,
    /// The canary goes on.
    Promote,
    /// An operator gives the release up.
    Abort,
}

impl Event {
    /// The command that it answers.
    #[must_use]
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Applied { id, .. }
            | Self::Reached { id }
            | Self::Quiet { id, .. }
            | Self::Ran { id, .. }
            | Self::Probed { id, .. }
            | Self::Metrics { id, .. }
            | Self::View { id, .. }
            | Self::Saved { id }
            | Self::Failed { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// How a release ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// It failed, and every server that was changed serves the old version again.
    RolledBack {
        reason: String,
    },
    /// It failed, and servers stay as they are.
    Left {
        reason: String,
    },
    Interrupted,
}

impl Outcome {
    /// What the process ends with: 0 done, 1 rolled back, 2 left, 4 interrupted; 3 is a [`crate::Refusal`] or a lock that another holds.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::RolledBack { .. } => 1,
            Self::Left { .. } => 2,
            Self::Interrupted => 4,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RolledBack { .. } => "rolled back",
            Self::Left { .. } => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RolledBack { reason } | Self::Left { reason } => write!(f, "{}: {reason}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// One line for people: a change of state, or something that went wrong without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Moment,
    pub level: NoteLevel,
    /// Absent: of the whole release.
    pub server: Option<String>,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteLevel {
    Info,
    Warning,
    Error,
}
