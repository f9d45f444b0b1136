//! The ways that a server goes during a release.
//!
//! ```text
//! READY -> DRAINING -> DRAINED -> STOPPED -> STARTING -> CHECKING -> WARMING -> WATCHING -> DONE
//!             |           |                      |           |                      |
//!             +-----------+-> READY              +-----------+-> FAILED (drained) <-+
//!          (still the old version)                                  |
//!                                                            ROLLED_BACK (old version)
//! ```

use serde::{Deserialize, Serialize};

use crate::server::State;
use crate::stage::Stage;

/// One step of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Enough others have to serve.
    Room,
    Hook(Stage),
    Drain,
    DrainBarrier,
    Quiet,
    Stop,
    Start,
    Rollback,
    Gate,
    Warm,
    Up,
    UpBarrier,
    /// The pause of a canary step, then its next share.
    Canary,
    Percent,
    PercentBarrier,
    Through,
    Watch,
}

/// A row of steps with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Course {
    Upgrade,
    /// The old version comes back.
    Undo,
    /// A server that stood by joins.
    Raise,
    /// It leaves again.
    Lower,
    /// It failed before it was stopped: it serves on.
    TurnBack,
    /// It did not fail, but the release goes no further: as before it was stopped, so it serves on.
    Return,
    /// It failed while it is out and stays there.
    Stay,
    /// It failed while it serves.
    Expel,
}

impl Course {
    pub(crate) const fn steps(self) -> &'static [Step] {
        match self {
            Self::Upgrade => &UPGRADE,
            Self::Undo => &[
                Step::Room,
                Step::Drain,
                Step::DrainBarrier,
                Step::Quiet,
                Step::Rollback,
                Step::Gate,
                Step::Warm,
                Step::Up,
                Step::UpBarrier,
            ],
            Self::Raise => &[
                Step::Hook(Stage::PreStart),
                Step::Start,
                Step::Hook(Stage::PostStart),
                Step::Hook(Stage::PreCheck),
                Step::Gate,
                Step::Hook(Stage::PostCheck),
                Step::Warm,
                Step::Hook(Stage::PreUndrain),
                Step::Up,
                Step::UpBarrier,
                Step::Hook(Stage::PostUndrain),
            ],
            Self::Lower => &[
                Step::Hook(Stage::PreDrain),
                Step::Room,
                Step::Drain,
                Step::DrainBarrier,
                Step::Quiet,
                Step::Hook(Stage::PostDrain),
                Step::Hook(Stage::PreStop),
                Step::Stop,
                Step::Hook(Stage::PostStop),
            ],
            Self::TurnBack => &[Step::Hook(Stage::OnFail), Step::Up, Step::UpBarrier],
            Self::Return => &[Step::Up, Step::UpBarrier],
            Self::Stay => &[Step::Hook(Stage::OnFail)],
            Self::Expel => &[Step::Hook(Stage::OnFail), Step::Room, Step::Drain, Step::DrainBarrier],
        }
    }

    /// The server is being given up.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::TurnBack | Self::Stay | Self::Expel)
    }

    pub(crate) fn first(self) -> Step {
        self.steps().first().copied().unwrap_or(Step::Room)
    }

    /// Where a step stands in the row.
    pub(crate) fn position(self, step: Step) -> usize {
        self.steps().iter().position(|&s| s == step).unwrap_or(0)
    }

    pub(crate) fn next(self, step: Step) -> Option<Step> {
        self.steps().get(self.position(step) + 1).copied()
    }

    /// `step` comes after `other`, or is it.
    pub(crate) fn has_reached(self, step: Step, other: Step) -> bool {
        self.position(step) >= self.position(other)
    }

    /// The state that a server at this step shows.
    pub(crate) fn state(self, step: Step) -> State {
        match (self, step) {
            (Self::TurnBack | Self::Stay | Self::Expel, _) => State::Failed,
            (Self::Return, _) => State::Drained,
            (Self::Raise, Step::Hook(Stage::PreStart)) => State::Stopped,
            (_, Step::Room | Step::Hook(Stage::PreDrain)) => State::Ready,
            (_, Step::Drain | Step::DrainBarrier | Step::Quiet) => State::Draining,
            (_, Step::Hook(Stage::PostDrain | Stage::PreStop) | Step::Stop) => State::Drained,
            (_, Step::Hook(Stage::PostStop | Stage::PreStart)) => State::Stopped,
            (_, Step::Start | Step::Rollback | Step::Hook(Stage::PostStart)) => State::Starting,
            (_, Step::Gate | Step::Hook(Stage::PreCheck | Stage::PostCheck)) => State::Checking,
            (_, Step::Warm | Step::Up | Step::UpBarrier | Step::Hook(Stage::PreUndrain)) => State::Warming,
            (_, Step::Canary | Step::Percent | Step::PercentBarrier | Step::Through | Step::Watch) => {
                State::Watching
            }
            (_, Step::Hook(_)) => State::Watching,
        }
    }
}

const UPGRADE: [Step; 25] = [
    Step::Hook(Stage::PreDrain),
    // After the hook, which may take its time.
    Step::Room,
    Step::Drain,
    Step::DrainBarrier,
    Step::Quiet,
    Step::Hook(Stage::PostDrain),
    Step::Hook(Stage::PreStop),
    Step::Stop,
    Step::Hook(Stage::PostStop),
    Step::Hook(Stage::PreStart),
    Step::Start,
    Step::Hook(Stage::PostStart),
    Step::Hook(Stage::PreCheck),
    Step::Gate,
    Step::Hook(Stage::PostCheck),
    Step::Warm,
    Step::Hook(Stage::PreUndrain),
    Step::Up,
    Step::UpBarrier,
    Step::Canary,
    Step::Percent,
    Step::PercentBarrier,
    Step::Through,
    Step::Hook(Stage::PostUndrain),
    Step::Watch,
];
