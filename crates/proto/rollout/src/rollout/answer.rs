//! Takes in the answers to commands.

use super::{Rollout, Task};
use crate::command::{Action, Event, NoteLevel};
use crate::plan::OnTimeout;
use crate::server::{Fate, Role};
use crate::stage::Stage;
use crate::step::{Course, Step};
use crate::text::counted;
use crate::view::PeerView;

/// So many looks in a row have to show that somebody else took a server out.
const LOOKS: u32 = 3;

impl Rollout {
    pub(super) fn answer(&mut self, event: Event) {
        let Some(id) = event.id() else { return };
        if self.hook == Some(id) {
            return self.plan_hook_ran(event);
        }
        let waits = |task: &Task| task.waiting == Some(id);
        // An answer that nobody waits for belongs to a command that was cancelled.
        let Some(i) = self.servers.iter().position(|server| server.task.as_ref().is_some_and(waits)) else {
            return;
        };
        let mut recalled = false;
        if let Some(task) = self.task(i) {
            task.waiting = None;
            recalled = task.recalled;
        }
        if recalled {
            return self.divert(i);
        }
        match (self.cursor(i), event) {
            (_, Event::Applied { index, .. }) => self.applied(i, index),
            (step, Event::Reached { .. }) => {
                if step == Step::UpBarrier {
                    self.servers[i].claimed = false;
                }
                self.pass(i);
            }
            (_, Event::Quiet { active, .. }) => self.quiet(i, active),
            (Step::Hook(stage), Event::Ran { result, .. }) => self.hook_ran(i, stage, result),
            (step, Event::Ran { result, .. }) => self.ran(i, step, result),
            (Step::Canary | Step::Watch, Event::Probed { result, .. }) => self.observed_probe(i, result),
            (_, Event::Probed { result, .. }) => self.probed(i, result),
            (_, Event::Metrics { metrics, .. }) => self.observed_metrics(i, metrics),
            (_, Event::View { view, .. }) => self.viewed(i, view),
            (Step::Room, Event::Failed { reason, .. }) => self.no_room(i, &reason),
            (Step::Canary | Step::Watch, Event::Failed { reason, .. }) => self.unobserved(i, &reason),
            (Step::Hook(stage), Event::Failed { reason, .. }) => self.hook_ran(i, stage, Err(reason)),
            (step, Event::Failed { reason, .. }) => self.ran(i, step, Err(reason)),
            _ => {}
        }
    }

    fn applied(&mut self, i: usize, index: u64) {
        if self.cursor(i) == Step::Up {
            self.change(i, |kept| kept.out = false);
        }
        if let Some(task) = self.task(i) {
            task.index = index;
        }
        self.pass(i);
    }

    fn quiet(&mut self, i: usize, active: u64) {
        if active == 0 {
            return self.pass(i);
        }
        let timeout = self.plan.drain.timeout;
        let requests = counted(usize::try_from(active).unwrap_or(usize::MAX), "request", "requests");
        match self.plan.drain.on_timeout {
            OnTimeout::Abort => self.fail(i, &format!("{requests} still ran after {timeout} of draining")),
            OnTimeout::Force => {
                let text =
                    format!("{requests} still ran after {timeout} of draining; it is stopped all the same");
                self.note(NoteLevel::Warning, Some(i), text);
                self.pass(i);
            }
            OnTimeout::Wait => self.begin(i),
        }
    }

    fn hook_ran(&mut self, i: usize, stage: Stage, result: Result<(), String>) {
        match result {
            Err(why) if stage.is_binding() => self.fail(i, &format!("hook {stage}: {why}")),
            Err(why) => {
                self.note(NoteLevel::Warning, Some(i), format!("hook {stage}: {why}"));
                self.pass(i);
            }
            Ok(()) => self.pass(i),
        }
    }

    fn ran(&mut self, i: usize, step: Step, result: Result<(), String>) {
        let Err(why) = result else { return self.pass(i) };
        let doing = match step {
            Step::Stop => "stop",
            Step::Start => "start",
            Step::Rollback => "rollback",
            Step::Drain => "it could not be drained",
            Step::DrainBarrier => "the proxies did not obey its draining",
            Step::Quiet => "it could not be seen whether requests still run",
            Step::Up => "it could not be put back",
            Step::UpBarrier => "the proxies did not take it back",
            Step::Percent | Step::PercentBarrier => "its share could not be changed",
            Step::Warm => {
                self.note(NoteLevel::Warning, Some(i), format!("warming it up failed: {why}"));
                return self.pass(i);
            }
            _ => "it failed",
        };
        self.fail(i, &format!("{doing}: {why}"));
    }

    /// One probe of the gate.
    fn probed(&mut self, i: usize, result: Result<(), String>) {
        let (rise, now, gate) = (self.rise(), self.now, &self.plan.gate);
        let (lasting, wake, span) = (gate.min_healthy_time, now + gate.interval, gate.deadline);
        let through = self.cursor(i) == Step::Through;
        let Some(task) = self.task(i) else { return };
        match result {
            Ok(()) => {
                if task.streak == 0 {
                    task.streak_since = now;
                }
                task.streak += 1;
                task.detail = format!("{} of {rise} checks passed", task.streak.min(rise));
                if task.streak >= rise && (through || now - task.streak_since >= lasting) {
                    return self.pass(i);
                }
            }
            Err(why) => {
                task.streak = 0;
                task.detail = why;
            }
        }
        if task.until.is_some_and(|until| until <= now) {
            let reason = format!("it was not healthy within {span}: {}", task.detail);
            return self.fail(i, &reason);
        }
        task.wake = Some(wake);
    }

    fn viewed(&mut self, i: usize, view: Vec<PeerView>) {
        self.view = view;
        self.greet();
        let me = &self.servers[i].kept.address;
        let counts = |peer: &&PeerView| peer.serving && !peer.backup;
        let Some(peer) = self.view.iter().find(|peer| peer.address == *me) else {
            return self.fail(i, "it is not in the upstream any more");
        };
        if peer.state.is_ordered() && self.is_strangers(i) {
            return self.left_to_stranger(i);
        }
        let serves = counts(&peer);
        // A proxy may still need it, though another one calls it ill.
        let idle = !serves && (self.servers[i].kept.out || peer.active == 0 || peer.state.is_ordered());
        let claimed = |peer: &&PeerView| {
            self.servers.iter().any(|server| server.claimed && server.kept.address == peer.address)
        };
        let others =
            self.view.iter().filter(counts).filter(|peer| peer.address != *me && !claimed(peer)).count();
        if idle || others >= self.minimum {
            self.servers[i].claimed = true;
            return self.pass(i);
        }
        let others = counted(others, "server", "servers");
        let why = format!("without it {others} would serve, the minimum is {}", self.minimum);
        if self.servers[i].kept.course == Course::Expel {
            return self.keep_serving(i, &why);
        }
        if serves && self.is_checked_next(i) {
            self.servers[i].claimed = false;
            if let Some(task) = self.task(i) {
                task.prelude = Some(Step::Up);
            }
            return self.begin(i);
        }
        self.no_room(i, &why);
    }

    /// If it is out now, somebody else took it out.
    fn is_strangers(&self, i: usize) -> bool {
        let kept = &self.servers[i].kept;
        kept.role == Role::Released && kept.course == Course::Upgrade && !kept.out
    }

    /// Somebody else took it out after the release began. It is looked at again first, because a proxy may lag behind.
    fn left_to_stranger(&mut self, i: usize) {
        let wake = self.now + self.plan.gate.interval;
        let Some(task) = self.task(i) else { return };
        task.streak += 1;
        if task.streak < LOOKS {
            "somebody else seems to have taken it out".clone_into(&mut task.detail);
            task.wake = Some(wake);
            return;
        }
        let kept = &self.servers[i].kept;
        let named = kept.touched || self.plan.servers.contains(&kept.address);
        let (role, what) = if named {
            (Role::Held, "it is upgraded and stays out")
        } else {
            (Role::Skipped, "it is left alone")
        };
        self.note(NoteLevel::Warning, Some(i), format!("somebody else took it out; {what}"));
        self.change(i, |kept| kept.role = role);
        if named {
            return self.pass(i);
        }
        self.change(i, |kept| kept.batch = None);
        self.settle(i, Fate::Waiting);
    }

    /// It failed and cannot be spared. What was written of it before an interruption may still come, so it is written anew.
    fn keep_serving(&mut self, i: usize, why: &str) {
        let reason = format!("{}; it was not taken out, because {why}", self.servers[i].kept.reason);
        self.change(i, |kept| kept.reason = reason);
        self.servers[i].claimed = false;
        if self.servers[i].kept.out {
            return self.start_at(i, Course::TurnBack, Step::Up);
        }
        self.settle(i, Fate::Failed);
    }

    /// It should be out while it is checked, but nothing is done to it any more: it can be checked while it serves.
    fn is_checked_next(&self, i: usize) -> bool {
        let server = &self.servers[i];
        let (course, step) = (server.kept.course, server.kept.step);
        server.task.as_ref().is_some_and(|task| task.prelude == Some(Step::Room))
            && match course {
                Course::Upgrade => course.has_reached(step, Step::Hook(Stage::PreCheck)),
                Course::Undo => course.has_reached(step, Step::Gate),
                _ => false,
            }
    }

    /// Who came to the upstream after the release began does not get the new version from it.
    fn greet(&mut self) {
        if !self.plan.servers.is_empty() {
            return;
        }
        let known = |address: &String| {
            self.joined.contains(address) || self.servers.iter().any(|s| s.kept.address == *address)
        };
        let new: Vec<String> =
            self.view.iter().map(|peer| &peer.address).filter(|a| !known(a)).cloned().collect();
        for address in new {
            let text = format!("{address} joined the upstream after the release began; it is not released");
            self.note(NoteLevel::Warning, None, text);
            self.joined.push(address);
        }
    }

    /// Waits for others to serve again: as long as one of ours is on its way, then for the deadline of the gate.
    fn no_room(&mut self, i: usize, why: &str) {
        let ours = |n: usize| {
            let server = &self.servers[n];
            n != i && server.claimed && server.task.is_some() && self.cursor(n) != Step::Room
        };
        let coming = (0..self.servers.len()).any(ours);
        let (now, gate) = (self.now, &self.plan.gate);
        let (deadline, interval) = (now + gate.deadline, gate.interval);
        let Some(task) = self.task(i) else { return };
        task.detail = format!("waits: {why}");
        let until = if coming { None } else { Some(task.until.unwrap_or(deadline)) };
        task.until = until;
        task.wake = Some(now + interval);
        if until.is_some_and(|until| until <= now) {
            self.fail(i, why);
        }
    }

    pub(super) fn count(&mut self, server: &str, active: u64) {
        let Some(i) = self.servers.iter().position(|s| s.kept.address == server) else { return };
        if self.cursor(i) == Step::Quiet
            && let Some(task) = self.task(i)
        {
            task.detail = format!("{active} requests run");
        }
    }

    /// A pause that the server asked for is over.
    pub(super) fn due(&mut self, i: usize) {
        match self.cursor(i) {
            Step::Room => self.ask(i, Action::ReadView),
            // The baseline comes before anything can be compared.
            Step::Watch | Step::Canary | Step::Gate | Step::Through => self.probe(i),
            _ => {}
        }
    }

    pub(super) fn promote(&mut self) {
        let waits = |i: &usize| self.servers[*i].task.is_some() && self.cursor(*i) == Step::Canary;
        if !(0..self.servers.len()).any(|i| waits(&i)) {
            let text = "promoted too early: no canary pauses now; promote it again when one does";
            return self.note(NoteLevel::Warning, None, text);
        }
        for i in 0..self.servers.len() {
            if self.servers[i].task.is_some() && self.cursor(i) == Step::Canary {
                let waiting = self.task(i).and_then(|task| task.waiting.take());
                self.cancel(waiting);
                self.note(NoteLevel::Info, Some(i), "promoted");
                self.pass_observed(i);
            }
        }
    }
}
