//! Looks at a server that serves: during a canary's pause and within the watch window.

use super::Rollout;
use crate::command::{Action, NoteLevel};
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::step::Step;
use crate::text::counted;
use crate::view::PeerState;

/// So many probes in a row may fail before a server that served is given up.
const FALL: u32 = 3;

impl Rollout {
    /// Begins to look; absent: until somebody promotes the canary.
    pub(super) fn observe(&mut self, i: usize, until: Option<Moment>) {
        if let Some(task) = self.task(i) {
            task.until = until;
            task.baseline = None;
        }
        if self.plan.watch.is_some() {
            self.read_metrics(i);
        } else {
            self.probe(i);
        }
    }

    /// One probe while the server serves.
    pub(super) fn observed_probe(&mut self, i: usize, result: Result<(), String>) {
        let Some(task) = self.task(i) else { return };
        match result {
            Ok(()) => task.streak = 0,
            Err(why) => {
                task.streak += 1;
                task.detail.clone_from(&why);
                if task.streak >= FALL {
                    return self.fail(i, &format!("it served, but then {why}"));
                }
            }
        }
        if self.plan.watch.is_some() { self.read_metrics(i) } else { self.observed(i, true) }
    }

    pub(super) fn observed_metrics(&mut self, i: usize, metrics: Metrics) {
        let Some(watch) = &self.plan.watch else { return };
        let Some(task) = self.servers[i].task.as_mut() else { return };
        let ill = metrics.state.filter(|state| matches!(state, PeerState::Failed | PeerState::Ejected));
        task.seen_up |= metrics.state == Some(PeerState::Up);
        // The proxies check in their own time, so at first they may still see what was the case while it was stopped.
        let late = ill.filter(|_| !task.seen_up);
        let Some(before) = &task.baseline else {
            task.baseline = Some(metrics);
            return self.observed(i, false);
        };
        let metrics = Metrics { state: ill.filter(|_| late.is_none()), ..metrics };
        match (watch.judge(before, &metrics), late) {
            (Err(why), _) => self.fail(i, &why),
            (Ok(()), Some(state)) => self.unobserved(i, &format!("the proxies still see it as {state}")),
            (Ok(()), None) => {
                let over = task.until.is_some_and(|until| until <= self.now);
                if let Some(seen) = watch.too_few(before, &metrics).filter(|_| over) {
                    let text = format!(
                        "{} came while it was watched, with fewer than {} errors and latency are not compared",
                        counted(usize::try_from(seen).unwrap_or(usize::MAX), "answer", "answers"),
                        watch.min_requests.max(1)
                    );
                    self.note(NoteLevel::Warning, Some(i), text);
                }
                self.observed(i, true);
            }
        }
    }

    /// Without numbers nothing is judged; past the end of the window they are waited for, but not forever.
    pub(super) fn unobserved(&mut self, i: usize, reason: &str) {
        let patience = self.plan.gate.deadline;
        let now = self.now;
        let Some(task) = self.task(i) else { return };
        if task.until.is_some_and(|until| until + patience <= now) {
            return self.fail(i, &format!("it could not be compared with the others: {reason}"));
        }
        if task.detail != reason {
            reason.clone_into(&mut task.detail);
            self.note(NoteLevel::Warning, Some(i), format!("no comparison with the others yet: {reason}"));
        }
        self.observed(i, false);
    }

    /// One look is over.
    fn observed(&mut self, i: usize, judged: bool) {
        let next = self.now + self.plan.gate.interval;
        let now = self.now;
        let Some(task) = self.task(i) else { return };
        let over = task.until.is_some_and(|until| until <= now);
        if over && judged && task.streak == 0 {
            return self.pass_observed(i);
        }
        // What is over but not judged is looked at again after an interval as well.
        task.wake = Some(task.until.filter(|until| *until > now).map_or(next, |until| next.min(until)));
        if judged && task.streak == 0 {
            task.detail = match task.until {
                Some(until) => format!("healthy, {} to go", until - now),
                None => "healthy, waits to be promoted".to_owned(),
            };
        }
    }

    /// The pause or the window is over, and the server is as good as the others.
    pub(super) fn pass_observed(&mut self, i: usize) {
        if self.cursor(i) == Step::Canary {
            self.change(i, |kept| kept.canary += 1);
            if let Some(task) = self.task(i) {
                task.promoted = true;
            }
        }
        self.pass(i);
    }

    fn read_metrics(&mut self, i: usize) {
        let batch = self.servers[i].kept.batch;
        let me = &self.servers[i].kept.address;
        let new: Vec<&String> =
            self.servers.iter().filter(|s| s.kept.batch == batch).map(|s| &s.kept.address).collect();
        let serving = || self.view.iter().filter(|peer| peer.serving && peer.address != *me);
        let mut others: Vec<String> =
            serving().filter(|peer| !new.contains(&&peer.address)).map(|peer| peer.address.clone()).collect();
        if others.is_empty() {
            others = serving().map(|peer| peer.address.clone()).collect();
        }
        let server = me.clone();
        self.ask(i, Action::ReadMetrics { server, others });
    }
}
