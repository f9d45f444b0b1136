//! Begins steps: each either asks for something and waits, or needs nothing and passes.

use super::{Halt, Rollout, Task};
use crate::amount::Share;
use crate::command::Action;
use crate::moment::Span;
use crate::plan::{Check, OnTimeout, Pause};
use crate::server::{Fate, Role};
use crate::stage::Stage;
use crate::step::{Course, Step};

/// What became of a step that was begun.
enum Entered {
    Waits,
    Passes,
}

impl Rollout {
    /// Begins the step that the server is at, and those after it that need nothing.
    pub(super) fn begin(&mut self, i: usize) {
        self.take_back_pause(i);
        loop {
            let Some(task) = self.task(i) else { return };
            let prelude = task.prelude.or(if task.recheck { Some(Step::Room) } else { None });
            *task = Task { prelude, index: task.index, baseline: task.baseline.take(), ..Task::default() };
            match self.enter(i) {
                Entered::Waits => return,
                Entered::Passes if !self.forward(i) => return,
                Entered::Passes => {}
            }
        }
    }

    /// The step is done: begins the next one.
    pub(super) fn pass(&mut self, i: usize) {
        if self.forward(i) {
            self.begin(i);
        }
    }

    /// Moves on by one step; whether there is one to begin.
    fn forward(&mut self, i: usize) -> bool {
        let Some(task) = self.task(i) else { return false };
        let promoted = task.promoted;
        if let Some(step) = task.prelude {
            // The prelude ends where the server is out and quiet.
            task.prelude = match step {
                Step::Room => Some(Step::Drain),
                Step::Drain => Some(Step::DrainBarrier),
                Step::DrainBarrier => Some(Step::Quiet),
                _ => None,
            };
        } else {
            let (course, step) = (self.servers[i].kept.course, self.servers[i].kept.step);
            let next = match step {
                // It was not taken out, so there is nothing to turn back.
                Step::Hook(Stage::OnFail) if course == Course::TurnBack && !self.servers[i].kept.out => None,
                Step::Canary if !promoted => Some(Step::Through),
                Step::PercentBarrier => Some(Step::Canary),
                step => course.next(step),
            };
            let Some(next) = next else {
                self.arrive(i);
                return false;
            };
            self.change(i, |kept| kept.step = next);
        }
        if self.halt == Halt::Now && !self.is_going_home(i) {
            self.divert(i);
            return false;
        }
        true
    }

    /// The end of a course.
    fn arrive(&mut self, i: usize) {
        let fate = match self.servers[i].kept.course {
            Course::Upgrade | Course::Raise => Fate::Done,
            Course::Undo => Fate::RolledBack,
            Course::Lower | Course::Return => Fate::Waiting,
            Course::TurnBack | Course::Stay | Course::Expel => Fate::Failed,
        };
        // Whoever was not waited for is counted by what the proxies see of it.
        self.servers[i].claimed &= self.servers[i].kept.out;
        self.change(i, |kept| match kept.course {
            Course::Undo => kept.touched = false,
            // It stands by drained, as it was found.
            Course::Lower => (kept.out, kept.touched) = (false, false),
            _ => {}
        });
        self.settle(i, fate);
    }

    fn enter(&mut self, i: usize) -> Entered {
        let kept = &self.servers[i].kept;
        let held = kept.role == Role::Held;
        let server = kept.address.clone();
        match self.cursor(i) {
            Step::Room if !held => self.ask(i, Action::ReadView),
            Step::Hook(stage) => return self.enter_hook(i, stage),
            Step::Drain if !held => {
                self.change(i, |kept| kept.out = true);
                self.ask(i, Action::SetDrain { server });
            }
            Step::DrainBarrier if !held => self.await_applied(i),
            Step::Quiet => {
                let until = (self.plan.drain.on_timeout != OnTimeout::Wait)
                    .then(|| self.now + self.plan.drain.timeout);
                self.ask(i, Action::AwaitQuiet { server, until });
            }
            Step::Stop | Step::Start | Step::Rollback => self.enter_machine(i),
            Step::Gate => self.enter_gate(i),
            Step::Warm if self.plan.warm.as_ref().is_some_and(|warm| warm.requests > 0) => {
                self.ask(i, Action::Warm { server });
            }
            Step::Up if !held => self.enter_up(i),
            // In a hurry the change is written and not waited for.
            Step::UpBarrier if !held && self.halt != Halt::Now => self.await_applied(i),
            Step::Canary if self.is_canary(i) => self.enter_canary(i),
            Step::Percent => {
                let percent = self.share(i);
                self.ask(i, Action::SetPercent { server, percent });
            }
            Step::PercentBarrier => self.await_applied(i),
            Step::Through if !held && self.plan.gate.through_proxy.is_some() => self.enter_gate(i),
            Step::Watch if !held && self.plan.watch.is_some() => {
                let window = self.plan.watch.as_ref().map_or(Span::ZERO, |watch| watch.window);
                self.observe(i, Some(self.now + window));
            }
            _ => return Entered::Passes,
        }
        Entered::Waits
    }

    fn enter_hook(&mut self, i: usize, stage: Stage) -> Entered {
        if self.plan.hooks.command(stage).is_none() {
            return Entered::Passes;
        }
        let kept = &self.servers[i].kept;
        let moves = [Stage::PreDrain, Stage::PostDrain, Stage::PreUndrain, Stage::PostUndrain];
        if kept.role == Role::Held && moves.contains(&stage) {
            return Entered::Passes;
        }
        let result = match stage {
            Stage::OnFail => format!("failed: {}", kept.reason),
            _ => "ok".to_owned(),
        };
        let (server, batch) = (Some(kept.address.clone()), kept.batch.map(|batch| batch + 1));
        self.ask(i, Action::RunHook { stage, server, batch, result: Some(result) });
        Entered::Waits
    }

    fn enter_machine(&mut self, i: usize) {
        let server = self.address(i);
        let batch = self.servers[i].kept.batch.map(|batch| batch + 1);
        let action = match self.cursor(i) {
            Step::Stop => Action::Stop { server, batch },
            Step::Start => Action::Start { server, batch },
            _ => Action::Rollback { server, batch },
        };
        self.change(i, |kept| kept.touched = true);
        self.ask(i, action);
    }

    fn enter_gate(&mut self, i: usize) {
        let gate = &self.plan.gate;
        let until = self.now + gate.deadline + gate.min_healthy_time;
        if let Some(task) = self.task(i) {
            task.until = Some(until);
        }
        self.probe(i);
    }

    fn enter_up(&mut self, i: usize) {
        let course = self.servers[i].kept.course;
        // Who serves already goes on as it does.
        let fresh = !matches!(course, Course::TurnBack | Course::Return)
            && self.servers[i].task.as_ref().is_some_and(|task| task.prelude.is_none());
        let slow_start = self.plan.slow_start.filter(|_| fresh);
        let (server, percent) = (self.address(i), self.share(i));
        self.ask(i, Action::SetUp { server, percent, slow_start });
    }

    fn enter_canary(&mut self, i: usize) {
        if self.halt != Halt::No || self.failure.is_some() {
            let share = self.share(i);
            self.change(i, |kept| kept.reason = format!("the canary was not finished, its share is {share}"));
            self.park(i);
            return;
        }
        let until = match self.plan.canary.get(self.servers[i].kept.canary).map(|step| step.pause) {
            Some(Pause::For(span)) => Some(self.now + span),
            _ => None,
        };
        let (server, percent) = (self.address(i), self.share(i));
        self.emit(Action::Pause { server, percent, until });
        self.observe(i, until);
    }

    fn await_applied(&mut self, i: usize) {
        let index = self.task(i).map_or(0, |task| task.index);
        let until = self.now + self.plan.proxy_timeout.0;
        let server = self.address(i);
        self.ask(i, Action::AwaitApplied { server, index, until });
    }

    /// Whether the server has steps of the canary before it.
    fn is_canary(&self, i: usize) -> bool {
        let kept = &self.servers[i].kept;
        // A canary that failed and cannot be spared keeps its share.
        (kept.course == Course::Upgrade || kept.course == Course::TurnBack && kept.touched)
            && kept.role == Role::Released
            && kept.batch == Some(0)
            && kept.canary < self.plan.canary.len()
    }

    /// The share that the server has to get now.
    fn share(&self, i: usize) -> Share {
        let kept = &self.servers[i].kept;
        let step = self.plan.canary.get(kept.canary).filter(|_| self.is_canary(i));
        step.map_or(Share::WHOLE, |step| step.percent)
    }

    /// Asks once for the server's health, directly or through the proxy.
    pub(super) fn probe(&mut self, i: usize) {
        let server = self.address(i);
        let through = self.plan.gate.through_proxy.clone().filter(|_| self.cursor(i) == Step::Through);
        let rollback = self.servers[i].kept.course == Course::Undo;
        self.ask(i, Action::Probe { server, through, rollback });
    }

    /// Passes in a row that the gate asks for.
    pub(super) fn rise(&self) -> u32 {
        if self.plan.gate.check == Check::None { 1 } else { self.plan.gate.rise }
    }
}
