//! One server of a release: what is written down of it, and what people see.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::moment::Moment;
use crate::step::{Course, Step};

/// What people see of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Not begun, or put back with the old version.
    Ready,
    Draining,
    Drained,
    Stopped,
    Starting,
    Checking,
    Warming,
    /// It serves the new version and is compared with the others, or grows as a canary.
    Watching,
    Done,
    /// Somebody else took it out; it stays out.
    Maint,
    Failed,
    RolledBack,
}

impl State {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Draining => "DRAINING",
            Self::Drained => "DRAINED",
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Checking => "CHECKING",
            Self::Warming => "WARMING",
            Self::Watching => "WATCHING",
            Self::Done => "DONE",
            Self::Maint => "MAINT",
            Self::Failed => "FAILED",
            Self::RolledBack => "ROLLED_BACK",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a server is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It gets the new version.
    Released,
    /// It gets the new version but was taken out by somebody else and stays out.
    Held,
    /// Somebody else took it out and the plan does not name it: it is left alone.
    Skipped,
    /// It helps out while the release runs.
    Spare,
}

/// How far a server came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Untouched, or as it was.
    Waiting,
    /// On its way, or stopped on it.
    Running,
    /// Its course is over: the new version serves (a spare: it helps out).
    Done,
    Failed,
    RolledBack,
}

/// What is written down of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerProgress {
    pub address: String,
    pub role: Role,
    /// From 0; spares and skipped ones have none.
    pub batch: Option<usize>,
    pub fate: Fate,
    pub course: Course,
    pub step: Step,
    /// This release took it out, or may have, and has not put it back.
    pub out: bool,
    /// Its software may have been changed.
    pub touched: bool,
    /// The step of the canary that it stands at.
    pub canary: usize,
    /// Why it failed or was put back; empty otherwise.
    pub reason: String,
    /// Of the state.
    pub since: Moment,
}

impl ServerProgress {
    pub(crate) fn new(address: &str, role: Role, batch: Option<usize>, now: Moment) -> Self {
        let course = if role == Role::Spare { Course::Raise } else { Course::Upgrade };
        Self {
            address: address.to_owned(),
            role,
            batch,
            fate: Fate::Waiting,
            course,
            step: course.first(),
            out: false,
            touched: false,
            canary: 0,
            reason: String::new(),
            since: now,
        }
    }

    /// Why it is as it is; empty where the state says it all.
    pub(crate) fn detail(&self) -> String {
        let mut detail = self.reason.clone();
        let place = match (self.fate, self.role) {
            (Fate::Failed, Role::Released | Role::Spare) if self.out => "stays drained",
            (Fate::Failed, Role::Released) if self.touched => "still serves",
            (Fate::Failed, Role::Released) => "serves the old version",
            (Fate::Failed, Role::Spare) => "serves",
            (Fate::Failed, Role::Held) => "stays out because somebody else took it out",
            (Fate::Waiting, Role::Skipped) if self.out => {
                "an earlier release left it drained, and this one does not name it; left alone"
            }
            (Fate::Waiting, _) if self.out && self.touched => {
                "is drained; its software may have been changed"
            }
            (Fate::Running | Fate::Waiting, _) if self.out => "is drained",
            (Fate::Running, Role::Released) if self.touched => "serves",
            (Fate::Waiting, Role::Spare) => "stands by",
            (Fate::Waiting, Role::Skipped) => "somebody else took it out; left alone",
            (Fate::Done, Role::Held) => "upgraded, but stays out because somebody else took it out",
            _ => "",
        };
        if !detail.is_empty() && !place.is_empty() {
            detail.push_str("; ");
        }
        detail.push_str(place);
        detail
    }

    pub(crate) fn row(&self, detail: String) -> Row {
        Row {
            server: self.address.clone(),
            batch: self.batch.map(|batch| batch + 1),
            state: self.state(),
            since: self.since,
            detail,
            out: self.out,
        }
    }

    pub(crate) fn state(&self) -> State {
        match (self.fate, self.role) {
            (Fate::Failed, _) => State::Failed,
            (Fate::RolledBack, _) => State::RolledBack,
            (Fate::Running, _) => match self.course.state(self.step) {
                State::Ready if self.out => State::Drained,
                state => state,
            },
            (_, Role::Skipped) => State::Maint,
            (Fate::Waiting, Role::Spare) => State::Maint,
            (Fate::Waiting, _) if self.out => State::Drained,
            (Fate::Waiting, _) => State::Ready,
            (Fate::Done, Role::Held) => State::Maint,
            (Fate::Done, _) => State::Done,
        }
    }
}

/// A line of the table for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub server: String,
    /// From 1; spares and skipped ones have none.
    pub batch: Option<usize>,
    pub state: State,
    pub since: Moment,
    /// What is waited for, or why it is so.
    pub detail: String,
    /// This release took it out and has not put it back.
    pub out: bool,
}
