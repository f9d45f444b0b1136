//! Goes on from a document. What the document calls begun may have been done or not, so nothing of it is taken for granted.

use super::{Rollout, Server, Task};
use crate::command::Outcome;
use crate::progress::{Phase, Progress, SCHEMA};
use crate::queue::minimum;
use crate::refusal::Refusal;
use crate::server::{Fate, Role, ServerProgress};
use crate::stage::Stage;
use crate::step::{Course, Step};

impl Rollout {
    pub(super) fn take_up(&mut self, progress: Progress) -> Result<(), Refusal> {
        let upstream = || self.plan.upstream.clone();
        if progress.schema != SCHEMA {
            return Err(Refusal::Schema { found: progress.schema });
        }
        if progress.plan.upstream != self.plan.upstream {
            return Err(Refusal::OtherUpstream { found: progress.plan.upstream, expected: upstream() });
        }
        if let Some(outcome @ (Outcome::Done | Outcome::RolledBack { .. })) = &progress.outcome {
            return Err(Refusal::Finished { upstream: upstream(), outcome: outcome.name().to_owned() });
        }
        let needed = |kept: &&ServerProgress| {
            kept.role != Role::Skipped && !matches!(kept.fate, Fate::Done | Fate::RolledBack)
        };
        let known = |address: &str| self.view.iter().any(|peer| peer.address == address);
        if let Some(gone) = progress.servers.iter().filter(needed).find(|kept| !known(&kept.address)) {
            return Err(Refusal::Gone { upstream: upstream(), server: gone.address.clone() });
        }
        self.started = progress.started;
        self.minimum = match self.plan.batch.min_healthy {
            changed if changed != progress.plan.batch.min_healthy => minimum(&self.plan, &self.view, &[]),
            _ => progress.min_healthy,
        };
        self.failure = progress.failure;
        self.undo_failed = progress.undo_failed;
        self.phase = progress.phase;
        let mut servers = progress.servers;
        if let Some(outcome) = progress.outcome {
            self.begin_again(&outcome, &mut servers);
        }
        self.servers = servers.into_iter().map(Server::new).collect();
        Ok(())
    }

    /// A release that came to an end is taken up because somebody wants another try.
    fn begin_again(&mut self, outcome: &Outcome, servers: &mut [ServerProgress]) {
        self.undo_failed = false;
        let undoing = matches!(outcome, Outcome::Interrupted) && self.failure.is_some();
        self.phase = if undoing { Phase::Undoing } else { Phase::Opening };
        if undoing {
            return;
        }
        self.failure = None;
        for kept in servers {
            let ended = matches!(kept.fate, Fate::Failed | Fate::RolledBack);
            let failing = kept.fate == Fate::Running
                && (kept.course.is_failure() || matches!(kept.course, Course::Undo | Course::Return));
            if ended || failing {
                let fresh = ServerProgress::new(&kept.address, kept.role, kept.batch, self.now);
                *kept = ServerProgress { out: kept.out, touched: kept.touched, ..fresh };
            }
        }
    }

    /// Goes on with a server that was on its way.
    pub(super) fn go_on(&mut self, i: usize) {
        let kept = &self.servers[i].kept;
        if kept.course == Course::Upgrade && !kept.touched && self.failure.is_some() {
            return self.go_home(i);
        }
        let (mut step, again) = entry(kept.course, kept.step);
        if step == Step::Start && kept.course == Course::Upgrade && self.plan.driver.stops_before_again() {
            step = Step::Stop;
        }
        let back = kept.course.has_reached(kept.step, Step::Up) && self.is_serving(i);
        let prelude = match again && kept.out {
            // Its return was being written, and it came about: it is not taken out once more.
            true if back => Some(Step::Up),
            true => Some(Step::Room),
            false => None,
        };
        self.servers[i].task = Some(Task { prelude, ..Task::default() });
        self.change(i, |kept| {
            kept.step = step;
            if !kept.course.is_failure() {
                kept.reason.clear();
            }
        });
        self.begin(i);
    }
}

/// The step to begin with when a server stood at `step`, and whether it has to be made sure that it is out before.
fn entry(course: Course, step: Step) -> (Step, bool) {
    let checked = Step::Hook(Stage::PreCheck);
    match course {
        // What stopped it may not have run to its end, so it runs again.
        Course::Upgrade if !course.has_reached(step, Step::Hook(Stage::PostStop)) => (course.first(), false),
        Course::Upgrade if !course.has_reached(step, checked) => (step, true),
        // It may have died since.
        Course::Upgrade => (checked, true),
        Course::Undo if !course.has_reached(step, Step::Gate) => (course.first(), false),
        Course::Undo => (Step::Gate, true),
        Course::Raise if course.has_reached(step, checked) => (checked, false),
        Course::Raise | Course::Lower | Course::Return | Course::Stay => (course.first(), false),
        Course::TurnBack if step == Step::Hook(Stage::OnFail) => (step, false),
        Course::TurnBack => (Step::Up, false),
        Course::Expel if step == Step::Hook(Stage::OnFail) => (step, false),
        Course::Expel => (Step::Room, false),
    }
}
