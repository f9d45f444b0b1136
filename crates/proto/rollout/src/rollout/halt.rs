//! What stops a release: failures, signals, a store or a lock that is lost.

use super::{Halt, Rollout};
use crate::command::NoteLevel;
use crate::plan::OnFailure;
use crate::progress::Phase;
use crate::server::{Fate, Role};
use crate::stage::Stage;
use crate::step::{Course, Step};

impl Rollout {
    /// The server failed at the step where it is.
    pub(super) fn fail(&mut self, i: usize, reason: &str) {
        let cursor = self.cursor(i);
        if let Some(task) = self.servers[i].task.take() {
            self.cancel(task.waiting);
        }
        let kept = &self.servers[i].kept;
        let (course, step, held) = (kept.course, kept.step, kept.role == Role::Held);
        if step == Step::UpBarrier || !kept.out {
            self.servers[i].claimed = false;
        }
        if course.is_failure() || course == Course::Return {
            let text = format!("{}; then: {reason}", self.servers[i].kept.reason);
            self.change(i, |kept| kept.reason = text.trim_start_matches("; ").to_owned());
            return self.settle(i, Fate::Failed);
        }
        let line = format!("{}: {reason}", self.servers[i].kept.address);
        match &mut self.failure {
            Some(failure) if course == Course::Undo => {
                failure.push_str("; the old version could not be brought back to ");
                failure.push_str(&line);
            }
            failure => {
                failure.get_or_insert(line);
            }
        }
        self.undo_failed |= course == Course::Undo;
        self.change(i, |kept| reason.clone_into(&mut kept.reason));
        if self.halt == Halt::Now {
            return self.settle(i, Fate::Failed);
        }
        let kept = &self.servers[i].kept;
        let unchanged = course == Course::Upgrade && !kept.touched;
        let serving = matches!(step, Step::Up | Step::UpBarrier | Step::Percent | Step::PercentBarrier);
        // What was asked of the store before an interruption may not have come about, so what is the case is written.
        let spared = cursor == Step::Room && kept.out && self.is_serving(i);
        let way = if unchanged || spared {
            Course::TurnBack
        } else if kept.out || held || serving || matches!(course, Course::Raise | Course::Lower) {
            Course::Stay
        } else {
            Course::Expel
        };
        self.start(i, way);
        self.recall();
    }

    /// Fails the whole release; no server is to blame.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.note(NoteLevel::Error, None, reason);
        self.failure.get_or_insert(reason.to_owned());
        self.dirty = true;
        for i in 0..self.servers.len() {
            if self.servers[i].task.is_some()
                && self.servers[i].kept.course == Course::Upgrade
                && self.cursor(i) == Step::Canary
            {
                self.fail(i, reason);
            }
        }
        self.recall();
    }

    /// Servers that were not stopped yet go back; those that were go on to their end, because a stopped server helps nobody.
    fn recall(&mut self) {
        for i in 0..self.servers.len() {
            let kept = &self.servers[i].kept;
            if kept.fate != Fate::Running || kept.course != Course::Upgrade {
                continue;
            }
            if self.servers[i].task.is_some() && self.cursor(i) == Step::Canary {
                self.leave_canary(i);
            } else if self.is_unchanged(i) {
                self.turn(i);
            } else if self.plan.on_failure == OnFailure::Rollback && self.is_at_start(i) {
                // Another try of the new version helps nobody who wants the old one back.
                if let Some(task) = self.servers[i].task.take() {
                    self.cancel(task.waiting);
                }
                self.servers[i].claimed = self.servers[i].kept.out;
                self.settle(i, Fate::Waiting);
            }
        }
    }

    /// Nothing was done to it yet on its present way.
    fn is_at_start(&self, i: usize) -> bool {
        let server = &self.servers[i];
        server.task.as_ref().is_some_and(|task| task.prelude.is_none())
            && matches!(server.kept.step, Step::Room | Step::Hook(Stage::PreDrain))
    }

    /// It still runs what it ran before.
    fn is_unchanged(&self, i: usize) -> bool {
        !self.servers[i].kept.touched
    }

    /// A change of it is on its way to the store.
    fn is_writing(&self, i: usize) -> bool {
        matches!(self.cursor(i), Step::Drain | Step::Up | Step::Percent) && self.is_in_flight(i)
    }

    fn leave_canary(&mut self, i: usize) {
        if let Some(task) = self.task(i) {
            let waiting = task.waiting.take();
            task.wake = None;
            self.cancel(waiting);
        }
        // It is entered again and finds that the release goes no further.
        self.begin(i);
    }

    /// Turns a server round that is not stopped yet. A change that is being written is waited for, lest it comes last.
    fn turn(&mut self, i: usize) {
        if self.is_writing(i) {
            if let Some(task) = self.task(i) {
                task.recalled = true;
            }
            return;
        }
        if let Some(task) = self.servers[i].task.take() {
            self.cancel(task.waiting);
        }
        self.go_home(i);
    }

    /// Puts a server back that was not changed.
    pub(super) fn go_home(&mut self, i: usize) {
        if self.servers[i].kept.out {
            self.start(i, Course::Return);
            return;
        }
        self.servers[i].claimed = false;
        self.settle(i, Fate::Waiting);
    }

    /// On the way back; that is finished even in a hurry.
    pub(super) fn is_going_home(&self, i: usize) -> bool {
        matches!(self.servers[i].kept.course, Course::Return | Course::TurnBack) && !self.mute
    }

    /// The release stops now, and nothing of this server is in the air any more.
    pub(super) fn divert(&mut self, i: usize) {
        if self.mute || self.servers[i].kept.course != Course::Upgrade || self.servers[i].kept.touched {
            return self.park(i);
        }
        if let Some(task) = self.servers[i].task.take() {
            self.cancel(task.waiting);
        }
        self.go_home(i);
    }

    pub(super) fn interrupt(&mut self) {
        match self.halt {
            Halt::No => {
                self.halt = Halt::AfterBatch;
                self.note(
                    NoteLevel::Warning,
                    None,
                    "interrupted: the batch is finished, then the release stops; once more stops it now",
                );
                self.stop_soon();
            }
            Halt::AfterBatch => {
                self.note(NoteLevel::Warning, None, "interrupted again: the release stops now");
                self.stop_now();
            }
            Halt::Now => {}
        }
    }

    /// Servers of the batch that were not begun stay as they are, and a canary stays at its share.
    fn stop_soon(&mut self) {
        for i in 0..self.servers.len() {
            let kept = &self.servers[i].kept;
            if self.servers[i].task.is_none() || kept.course != Course::Upgrade {
                continue;
            }
            match kept.step {
                Step::Room if !self.servers[i].kept.out => self.turn(i),
                Step::Canary => self.leave_canary(i),
                _ => {}
            }
        }
    }

    fn stop_now(&mut self) {
        self.halt = Halt::Now;
        self.mute |= self.store_lost;
        self.dirty = true;
        if let Some(hook) = self.hook.take() {
            self.cancel(Some(hook));
        }
        for i in 0..self.servers.len() {
            if self.servers[i].task.is_none() {
                continue;
            }
            let step = self.cursor(i);
            let machine = matches!(step, Step::Stop | Step::Start | Step::Rollback);
            if machine && self.is_in_flight(i) {
                // Its answer tells what became of it.
                continue;
            }
            if self.mute {
                self.park(i);
            } else if self.is_going_home(i) {
                self.hurry(i);
            } else if self.servers[i].kept.course == Course::Upgrade && self.is_unchanged(i) {
                self.turn(i);
            } else if !self.is_writing(i) {
                self.park(i);
            }
        }
    }

    /// On the way back only the writing itself is waited for.
    fn hurry(&mut self, i: usize) {
        match self.cursor(i) {
            Step::Up => {}
            step => {
                let waiting = self.task(i).and_then(|task| task.waiting.take());
                self.cancel(waiting);
                if step == Step::UpBarrier {
                    self.servers[i].claimed = false;
                }
                self.pass(i);
            }
        }
    }

    pub(super) fn lose_lock(&mut self) {
        let reason = "the lock was lost: somebody else may release this upstream now";
        self.note(NoteLevel::Error, None, reason);
        // Whatever failed before, this is why the servers stay as they are.
        self.failure = Some(reason.to_owned());
        self.lock_lost = true;
        self.mute = true;
        self.stop_now();
    }

    pub(super) fn lose_store(&mut self) {
        if !self.store_lost {
            self.store_lost = true;
            self.note(NoteLevel::Warning, None, "the store does not answer: the release waits for it");
        }
        if self.halt == Halt::Now {
            self.stop_now();
        }
    }

    /// A store that was away may have forgotten what was written last: who has to be out is written out again.
    pub(super) fn find_store(&mut self) {
        if !self.store_lost {
            return;
        }
        self.store_lost = false;
        self.note(NoteLevel::Info, None, "the store answers again");
        if self.phase == Phase::Ended {
            return;
        }
        for i in 0..self.servers.len() {
            let kept = &self.servers[i].kept;
            if self.servers[i].task.is_some() {
                self.write_again(i);
            } else if kept.fate == Fate::Failed && kept.out && self.halt != Halt::Now {
                self.start_at(i, Course::Expel, Step::Room);
            }
        }
    }

    fn write_again(&mut self, i: usize) {
        let step = self.cursor(i);
        let back = match step {
            Step::DrainBarrier | Step::Quiet => Some(Step::Drain),
            Step::UpBarrier => Some(Step::Up),
            Step::PercentBarrier => Some(Step::Percent),
            _ => None,
        };
        let kept = &self.servers[i].kept;
        let passed = !matches!(step, Step::Room | Step::Drain | Step::Up);
        let recheck =
            kept.out && passed && matches!(kept.course, Course::Upgrade | Course::Undo | Course::Lower);
        let queued = !self.is_in_flight(i);
        let Some(task) = self.task(i) else { return };
        let Some(back) = back else {
            task.recheck = recheck;
            let waiting = task.waiting.filter(|_| recheck && queued);
            if waiting.is_some() {
                // What was not given out yet comes after that.
                self.cancel(waiting);
                self.begin(i);
            }
            return;
        };
        let waiting = task.waiting.take();
        if task.prelude.is_some() {
            task.prelude = Some(back);
        } else {
            self.change(i, |kept| {
                kept.step = back;
                // The write is repeated, so until then it may be out.
                kept.out |= back == Step::Up;
            });
        }
        self.cancel(waiting);
        self.begin(i);
    }
}
