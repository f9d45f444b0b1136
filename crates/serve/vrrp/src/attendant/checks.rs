//! `vrrp_script`: programs that are run at intervals and say by their exit code whether this node is well.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use weir_log::Level;
use weir_model::Micros;
use weir_model::vrrp::{Globals, TrackScript, Vrrp};
use weir_vrrp::{Finding, Tracker};

use super::children::{Ended, Phase};
use super::security::{self, Program};

/// A check for as long as its definition stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CheckId(u64);

/// One `vrrp_script` that somebody tracks.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) id: CheckId,
    pub(super) script: TrackScript,
    /// Absent: it cannot be run, and counts as up or, with `init_fail`, as down.
    program: Option<Program>,
    counter: Counter,
    last_code: Option<i32>,
    due: Instant,
    /// An overlapping run was logged; the next ones of the same overlap are not.
    skipped: bool,
}

/// keepalived's counter: 0 to rise + fall - 1; up from `rise` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counter {
    rise: u32,
    fall: u32,
    result: u32,
    /// No run has ended yet: the first failure counts at once.
    fresh: bool,
}

impl Counter {
    /// One success makes it up, one failure makes it down; with `init_fail` it is down and needs all its successes.
    fn new(script: &TrackScript) -> Self {
        let rise = script.rise.max(1);
        let result = if script.init_fail { 0 } else { rise - 1 };
        Self { rise, fall: script.fall.max(1), result, fresh: true }
    }

    /// Counts one run; `Some` is a change, to up or down.
    fn count(&mut self, success: bool) -> Option<bool> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        match success {
            true if self.result + 1 < self.rise => {
                self.result += 1;
                None
            }
            true => {
                let change = self.result < self.rise;
                self.result = self.rise + self.fall - 1;
                change.then_some(true)
            }
            false if self.result > self.rise => {
                self.result -= 1;
                None
            }
            false => {
                let change = fresh || self.result == self.rise;
                self.result = 0;
                change.then_some(false)
            }
        }
    }
}

/// What the dump says of a check.
#[derive(Clone, Debug)]
pub(super) struct CheckView {
    pub(super) script: TrackScript,
    pub(super) result: u32,
    pub(super) fresh: bool,
    /// Root runs what others may change.
    pub(super) exposed: bool,
    pub(super) phase: Option<Phase>,
}

/// What to do after a look at the checks.
pub(super) enum Outcome {
    Report(Tracker, Finding),
    Log(Level, String),
}

/// All checks.
#[derive(Default)]
pub(super) struct Checks {
    list: Vec<Check>,
    next_id: u64,
}

impl Checks {
    /// Keeps the checks whose definition is the same, starts those that are new and returns those that are gone.
    pub(super) fn reload(&mut self, config: &Vrrp, now: Instant, out: &mut Vec<Outcome>) -> Vec<CheckId> {
        let mut old = std::mem::take(&mut self.list);
        for script in config.scripts.iter().filter(|s| is_tracked(config, &s.name)) {
            let kept = old.iter().position(|c| c.script == *script).map(|at| old.swap_remove(at));
            let check = match kept {
                Some(mut check) => {
                    check.resolve(&config.globals, out);
                    check
                }
                None => self.create(script, &config.globals, now, out),
            };
            self.list.push(check);
        }
        old.into_iter().map(|check| check.id).collect()
    }

    fn create(
        &mut self,
        script: &TrackScript,
        globals: &Globals,
        now: Instant,
        out: &mut Vec<Outcome>,
    ) -> Check {
        self.next_id += 1;
        let mut check = Check {
            id: CheckId(self.next_id),
            script: script.clone(),
            program: None,
            counter: Counter::new(script),
            last_code: None,
            due: now,
            skipped: false,
        };
        check.resolve(globals, out);
        let first = match (&check.program, script.init_fail) {
            (Some(_), true) => Some(Finding::Down("has not succeeded yet (init_fail)".into())),
            (None, true) => Some(Finding::Down("cannot be run (init_fail)".into())),
            (None, false) => Some(Finding::Up),
            (Some(_), false) => None,
        };
        out.extend(first.map(|finding| Outcome::Report(check.tracker(), finding)));
        check
    }

    /// The checks that are to run now, with what `busy` says of the last run of each.
    pub(super) fn due(
        &mut self,
        now: Instant,
        busy: impl Fn(CheckId) -> Option<Phase>,
        out: &mut Vec<Outcome>,
    ) -> Vec<(CheckId, Program, Duration)> {
        let mut runs = Vec::new();
        for check in self.list.iter_mut().filter(|c| c.due <= now) {
            let interval = check.interval();
            // A stall must not be made up for by a burst.
            check.due = (check.due + interval).max(now + interval / 2);
            let Some(program) = &check.program else { continue };
            match busy(check.id) {
                None => {
                    check.skipped = false;
                    runs.push((check.id, program.clone(), check.timeout()));
                }
                Some(phase) if !std::mem::replace(&mut check.skipped, true) => {
                    let why = if phase == Phase::Running { "still running" } else { "being ended" };
                    let text = format!("check script {}: last run is {why}; skipped", check.script.name);
                    out.push(Outcome::Log(Level::Notice, text));
                }
                Some(_) => {}
            }
        }
        runs
    }

    /// Counts a run that has ended.
    pub(super) fn ended<O>(&mut self, id: CheckId, ended: &Ended<O>, out: &mut Vec<Outcome>) {
        let reason = reason(ended.status, ended.ended_by_us.then_some(ended.limit).flatten());
        if let Some(check) = self.list.iter_mut().find(|c| c.id == id) {
            check.count(reason, ended.status.code(), out);
        }
    }

    /// Counts a run that did not even start.
    pub(super) fn not_started(&mut self, id: CheckId, error: &std::io::Error, out: &mut Vec<Outcome>) {
        if let Some(check) = self.list.iter_mut().find(|c| c.id == id) {
            check.count(Some(format!("cannot be started: {}", weir_net::errno_text(error))), None, out);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.list.iter().filter(|c| c.program.is_some()).map(|c| c.due).min()
    }

    pub(super) fn view(&self, phase: impl Fn(CheckId) -> Option<Phase>) -> Vec<CheckView> {
        let view = |c: &Check| CheckView {
            script: c.script.clone(),
            result: c.counter.result,
            fresh: c.counter.fresh,
            exposed: c.program.as_ref().is_some_and(|p| p.exposure.is_some()),
            phase: phase(c.id),
        };
        self.list.iter().map(view).collect()
    }
}

impl Check {
    fn tracker(&self) -> Tracker {
        Tracker::Script(self.script.name.clone())
    }

    fn interval(&self) -> Duration {
        self.script.interval.max(Micros(1_000)).duration()
    }

    fn timeout(&self) -> Duration {
        if self.script.timeout == Micros(0) { self.interval() } else { self.script.timeout.duration() }
    }

    fn resolve(&mut self, globals: &Globals, out: &mut Vec<Outcome>) {
        let name = &self.script.name;
        let line = match security::resolve(&self.script.script, globals) {
            Ok(program) => {
                let exposure = program.exposure.clone();
                self.program = Some(program);
                exposure.map(|e| (Level::Warn, format!("check script {name} runs as root, and {e}")))
            }
            Err(refusal) => {
                self.program = None;
                let effect = if self.script.init_fail { "it counts as failed" } else { "it is left out" };
                Some((Level::Error, format!("check script {name} cannot be run, {effect}: {refusal}")))
            }
        };
        out.extend(line.map(|(level, text)| Outcome::Log(level, text)));
    }

    /// `reason` is why it failed; without one it succeeded.
    fn count(&mut self, reason: Option<String>, code: Option<i32>, out: &mut Vec<Outcome>) {
        let name = &self.script.name;
        if let Some(code) = code.filter(|code| self.last_code.unwrap_or(0) != *code) {
            out.push(Outcome::Log(Level::Info, format!("check script {name} now returns {code}")));
        }
        self.last_code = code.or(self.last_code);
        let finding = match (self.counter.count(reason.is_none()), reason) {
            (None, _) => return,
            (Some(_), None) => {
                out.push(Outcome::Log(Level::Notice, format!("check script {name} succeeded: it is up")));
                Finding::Up
            }
            (Some(_), Some(reason)) => {
                out.push(Outcome::Log(Level::Notice, format!("check script {name} {reason}: it is down")));
                Finding::Down(reason)
            }
        };
        out.push(Outcome::Report(self.tracker(), finding));
    }
}

/// Why a run failed, for people; `limit` is there when it was ended because it overran that.
pub(super) fn reason(status: ExitStatus, limit: Option<Duration>) -> Option<String> {
    if let Some(limit) = limit {
        return Some(format!("timed out after {limit:?}"));
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exited with code {code}")),
        (None, Some(signal)) => Some(format!("was killed by signal {signal}")),
        (None, None) => Some("ended in an unknown way".into()),
    }
}

/// Whether an instance or group looks at the script: others are not run.
fn is_tracked(config: &Vrrp, name: &str) -> bool {
    let instances = config.instances.iter().flat_map(|i| &i.track_scripts);
    let groups = config.groups.iter().flat_map(|g| &g.track_scripts);
    instances.chain(groups).any(|track| track.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::vrrp::Script;

    fn script(rise: u32, fall: u32, init_fail: bool) -> TrackScript {
        TrackScript {
            name: "web".into(),
            script: Script { argv: vec!["true".into()], user: None },
            interval: Micros::from_secs(1),
            timeout: Micros::from_secs(1),
            weight: 0,
            reverse: false,
            rise,
            fall,
            init_fail,
        }
    }

    fn changes(script: &TrackScript, runs: &str) -> Vec<Option<bool>> {
        let mut counter = Counter::new(script);
        runs.chars().map(|c| counter.count(c == '+')).collect()
    }

    #[test]
    fn at_the_start_one_run_decides() {
        assert_eq!(changes(&script(3, 3, false), "+"), [Some(true)]);
        assert_eq!(changes(&script(3, 3, false), "-"), [Some(false)]);
    }

    #[test]
    fn later_rise_and_fall_count() {
        let (up, down) = (Some(true), Some(false));
        let got = changes(&script(2, 3, false), "+--+---+-++--+");
        let want = [up, None, None, None, None, None, down, None, None, None, up, None, None, None];
        assert_eq!(got, want);
    }

    #[test]
    fn a_failure_while_rising_starts_again() {
        let got = changes(&script(3, 1, false), "-++-+++");
        assert_eq!(got, [Some(false), None, None, None, None, None, Some(true)]);
    }

    #[test]
    fn with_init_fail_all_successes_are_needed() {
        assert_eq!(changes(&script(2, 1, true), "++"), [None, Some(true)]);
    }

    #[test]
    fn reasons_name_the_code_the_signal_or_the_limit() {
        let exited = ExitStatus::from_raw(3 << 8);
        assert_eq!(reason(exited, None).as_deref(), Some("exited with code 3"));
        assert_eq!(reason(ExitStatus::from_raw(9), None).as_deref(), Some("was killed by signal 9"));
        let limit = Some(Duration::from_millis(1500));
        assert_eq!(reason(ExitStatus::from_raw(0), limit).as_deref(), Some("timed out after 1.5s"));
        assert_eq!(reason(ExitStatus::from_raw(0), None), None);
    }
}
