//! The order of things: spares, batches, the way back, the end.

use super::{Halt, Rollout, Server};
use crate::command::{Action, Event, NoteLevel, Outcome};
use crate::plan::OnFailure;
use crate::progress::Phase;
use crate::server::{Fate, Role};
use crate::stage::Stage;
use crate::step::Course;

impl Rollout {
    /// Goes on to the next phase when everything of this one is over.
    pub(super) fn proceed(&mut self) {
        while self.phase != Phase::Ended && self.hook.is_none() && !self.is_running() {
            if self.halt == Halt::Now {
                self.end();
                return;
            }
            self.phase = self.next_phase();
            self.dirty = true;
            if self.phase == Phase::Ended {
                self.end();
                return;
            }
            self.enter_phase();
        }
    }

    fn next_phase(&mut self) -> Phase {
        let failed = self.failure.is_some();
        match self.phase {
            Phase::Opening | Phase::Raising | Phase::Batch(_) if failed => self.after_failure(),
            Phase::Opening | Phase::Raising | Phase::Batch(_) if self.halt != Halt::No => Phase::Lowering,
            Phase::Opening => Phase::Raising,
            Phase::Raising | Phase::Batch(_) => self.next_batch().map_or(Phase::Lowering, Phase::Batch),
            Phase::Undoing | Phase::Lowering | Phase::Closing if self.is_undone_next() => Phase::Undoing,
            Phase::Undoing => Phase::Lowering,
            Phase::Lowering if self.spare().is_some() => Phase::Lowering,
            Phase::Lowering => Phase::Closing,
            Phase::Closing | Phase::Ended => Phase::Ended,
        }
    }

    fn after_failure(&mut self) -> Phase {
        if self.plan.on_failure == OnFailure::Rollback && self.changed().is_some() {
            // Who asked to stop after the batch gets the old version first: that is where the batch ends now.
            self.halt = Halt::No;
            self.note(NoteLevel::Warning, None, "the old version is brought back, the last server first");
            return Phase::Undoing;
        }
        let astray = (0..self.servers.len()).any(|i| self.is_astray(i));
        if astray { Phase::Undoing } else { Phase::Lowering }
    }

    /// The release failed, and a server has to get the old version back. An operator may say so when all were upgraded.
    fn is_undone_next(&self) -> bool {
        self.failure.is_some()
            && self.plan.on_failure == OnFailure::Rollback
            && self.halt == Halt::No
            && !self.undo_failed
            && self.changed().is_some()
    }

    /// It was left on its way and has to come to an end: mostly it was taken out and nothing was done to it.
    fn is_astray(&self, i: usize) -> bool {
        let kept = &self.servers[i].kept;
        let untouched =
            !kept.touched && (kept.fate == Fate::Running || kept.fate == Fate::Waiting && kept.out);
        // A server that was stopped and stays so helps nobody.
        let stopped = self.aborted && self.plan.on_failure == OnFailure::Leave && kept.fate == Fate::Running;
        matches!(kept.role, Role::Released | Role::Held)
            && self.servers[i].task.is_none()
            && (untouched || stopped)
    }

    /// Begins what belongs to the phase. Servers that were on their way when the release was interrupted go on.
    pub(super) fn enter_phase(&mut self) {
        match self.phase {
            Phase::Opening => self.plan_hook(Stage::PrePlan),
            Phase::Closing => self.plan_hook(Stage::PostPlan),
            Phase::Raising => {
                self.enter_all(|role, _| role == Role::Spare, Course::Raise);
            }
            Phase::Batch(n) => {
                self.enter_all(|_, batch| batch == Some(n), Course::Upgrade);
            }
            Phase::Undoing => self.enter_undo(),
            Phase::Lowering => {
                let Some(i) = self.spare() else { return };
                let kept = &self.servers[i].kept;
                if kept.fate == Fate::Running && kept.course == Course::Lower {
                    self.go_on(i);
                } else {
                    self.start(i, Course::Lower);
                }
            }
            Phase::Ended => {}
        }
    }

    fn enter_all(&mut self, belongs: impl Fn(Role, Option<usize>) -> bool, course: Course) {
        let members: Vec<usize> = (0..self.servers.len())
            .filter(|&i| belongs(self.servers[i].kept.role, self.servers[i].kept.batch))
            .collect();
        for i in members {
            match self.servers[i].kept.fate {
                Fate::Running if self.servers[i].task.is_none() => self.go_on(i),
                Fate::Waiting if self.failure.is_none() => self.start(i, course),
                _ => {}
            }
        }
    }

    fn enter_undo(&mut self) {
        // First those that only have to come to an end.
        for i in 0..self.servers.len() {
            if !self.is_astray(i) {
                continue;
            }
            if self.servers[i].kept.fate == Fate::Running {
                self.go_on(i);
            } else {
                self.go_home(i);
            }
        }
        let wanted = self.plan.on_failure == OnFailure::Rollback && !self.is_running();
        let Some(i) = self.changed().filter(|_| wanted) else { return };
        let kept = &self.servers[i].kept;
        if kept.fate == Fate::Running && (kept.course == Course::Undo || self.undo_failed) {
            self.go_on(i);
        } else if !self.undo_failed {
            self.start(i, Course::Undo);
        }
    }

    /// The last server that may run the new version.
    fn changed(&self) -> Option<usize> {
        self.servers.iter().rposition(|server| {
            let kept = &server.kept;
            matches!(kept.role, Role::Released | Role::Held) && kept.touched && kept.fate != Fate::RolledBack
        })
    }

    /// A spare that still helps out.
    fn spare(&self) -> Option<usize> {
        self.servers.iter().position(|server| {
            let kept = &server.kept;
            let raised = kept.course == Course::Raise && kept.touched;
            let on_its_way = kept.fate == Fate::Running && (kept.course == Course::Lower || raised);
            kept.role == Role::Spare && (kept.fate == Fate::Done || on_its_way)
        })
    }

    /// The first batch that is not over. One with a server that is out already goes before the others: it makes room for them.
    fn next_batch(&self) -> Option<usize> {
        let open = |server: &&Server| matches!(server.kept.fate, Fate::Waiting | Fate::Running);
        let place = |server: &Server| Some((!server.kept.out, server.kept.batch?));
        self.servers.iter().filter(open).filter_map(place).min().map(|(_, batch)| batch)
    }

    fn plan_hook(&mut self, stage: Stage) {
        if self.plan.hooks.command(stage).is_none() {
            return;
        }
        let result = match stage {
            Stage::PostPlan => self.judgement().to_string(),
            _ => "ok".to_owned(),
        };
        self.hook =
            Some(self.emit(Action::RunHook { stage, server: None, batch: None, result: Some(result) }));
    }

    pub(super) fn plan_hook_ran(&mut self, event: Event) {
        self.hook = None;
        let (Event::Ran { result: Err(why), .. } | Event::Failed { reason: why, .. }) = event else { return };
        if self.phase == Phase::Opening {
            self.give_up(&format!("hook {}: {why}", Stage::PrePlan));
        } else {
            self.note(NoteLevel::Warning, None, format!("hook {}: {why}", Stage::PostPlan));
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        let outcome = self.judgement();
        self.outcome = Some(outcome.clone());
        self.dirty = true;
        self.emit(Action::Finish { outcome });
    }

    /// How it ends, as things are now.
    fn judgement(&self) -> Outcome {
        let released = || self.servers.iter().filter(|s| matches!(s.kept.role, Role::Released | Role::Held));
        let Some(reason) = self.failure.clone() else {
            let done = released().all(|server| server.kept.fate == Fate::Done) && self.spare().is_none();
            return if done { Outcome::Done } else { Outcome::Interrupted };
        };
        if self.plan.on_failure != OnFailure::Rollback || self.lock_lost || self.undo_failed {
            return Outcome::Left { reason };
        }
        let changed = self.changed().is_some();
        if changed && self.halt != Halt::No {
            return Outcome::Interrupted;
        }
        if changed || released().any(|server| server.kept.out) {
            return Outcome::Left { reason };
        }
        Outcome::RolledBack { reason }
    }
}
