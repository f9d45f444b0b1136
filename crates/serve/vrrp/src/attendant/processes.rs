//! `track_process`: whether enough processes of a kind run, by the kernel's news of processes or by reading /proc.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use weir_log::Level;
use weir_model::vrrp::{ParameterMatch, TrackProcess, Vrrp};
use weir_net::{ProcessEvent, ProcessEvents};
use weir_vrrp::{Finding, Tracker};

use super::checks::Outcome;

/// How often /proc is read where there is no news.
const LOOK: Duration = Duration::from_secs(1);

/// What the kernel keeps of a process's name, in bytes (TASK_COMM_LEN less the zero).
const COMM: usize = 15;

/// One `vrrp_track_process` that somebody tracks.
#[derive(Clone, Debug)]
struct Kind {
    process: TrackProcess,
    count: u32,
    reported: Option<bool>,
    /// A change that is not told before that moment.
    pending: Option<(bool, Instant)>,
    /// Whether the pending change was made by a process that came.
    grew: bool,
}

/// What a process is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Face {
    comm: String,
    command_line: Vec<String>,
}

/// All tracked processes.
pub(super) struct Processes {
    kinds: Vec<Kind>,
    /// Which kinds a process is of; processes of none are not kept.
    matches: HashMap<u32, Vec<usize>>,
    events: Option<ProcessEvents>,
    /// When /proc is read next, without news.
    look: Option<Instant>,
    refused: bool,
}

/// What the dump says of a kind of process.
#[derive(Clone, Debug)]
pub(super) struct ProcessView {
    pub(super) process: TrackProcess,
    pub(super) count: u32,
    pub(super) quorum: bool,
    /// Known by its command line and not by the kernel's short name.
    pub(super) by_command_line: bool,
    pub(super) fork_delay_runs: bool,
    pub(super) terminate_delay_runs: bool,
}

impl Processes {
    pub(super) fn new() -> Self {
        Self { kinds: Vec::new(), matches: HashMap::new(), events: None, look: None, refused: false }
    }

    /// Keeps the state of the kinds whose definition is the same, and counts all anew.
    pub(super) fn reload(&mut self, config: &Vrrp, now: Instant, out: &mut Vec<Outcome>) {
        let mut old = std::mem::take(&mut self.kinds);
        for process in config.processes.iter().filter(|p| is_tracked(config, &p.name)) {
            let kept = old.iter().position(|k| k.process == *process).map(|at| old.swap_remove(at));
            let fresh =
                || Kind { process: process.clone(), count: 0, reported: None, pending: None, grew: false };
            self.kinds.push(kept.unwrap_or_else(fresh));
        }
        if self.kinds.is_empty() {
            (self.events, self.look) = (None, None);
            self.matches.clear();
            return;
        }
        self.subscribe(now, out);
        self.scan(now, out);
    }

    fn subscribe(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        if self.events.is_some() {
            return;
        }
        match ProcessEvents::open() {
            Ok(events) => (self.events, self.look) = (Some(events), None),
            Err(error) => {
                self.look = Some(now + LOOK);
                if !std::mem::replace(&mut self.refused, true) {
                    let text =
                        format!("track_process reads /proc every second, without news of processes: {error}");
                    out.push(Outcome::Log(Level::Notice, text));
                }
            }
        }
    }

    /// Takes the kernel's news.
    pub(super) fn read(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        let Some(events) = &mut self.events else { return };
        let mut news = Vec::new();
        if let Err(error) = events.read(&mut news) {
            let text = format!("news of processes ended, /proc is read every second: {error}");
            out.push(Outcome::Log(Level::Warn, text));
            (self.events, self.look) = (None, Some(now));
            return;
        }
        if news.contains(&ProcessEvent::Overrun) {
            self.scan(now, out);
            return;
        }
        for event in news {
            self.apply(event, face);
        }
        self.settle(now, out);
    }

    /// Follows one event; `face` says what a process is called now.
    fn apply(&mut self, event: ProcessEvent, face: impl Fn(u32) -> Option<Face>) {
        match event {
            // The child still is what its parent is.
            ProcessEvent::Fork { parent, child } => {
                if let Some(kinds) = self.matches.get(&parent).cloned() {
                    self.matches.insert(child, kinds);
                }
            }
            ProcessEvent::Exit(pid) => drop(self.matches.remove(&pid)),
            ProcessEvent::Exec(pid) | ProcessEvent::NameChanged(pid) => {
                // One that has ended since then says so by its own event.
                let Some(face) = face(pid) else { return };
                let kinds = self.kinds_of(&face);
                if kinds.is_empty() {
                    self.matches.remove(&pid);
                } else {
                    self.matches.insert(pid, kinds);
                }
            }
            ProcessEvent::Overrun => {}
        }
    }

    /// Reads all of /proc.
    fn scan(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        self.matches = pids.filter_map(|pid| Some((pid, self.kinds_of(&face(pid)?)))).collect();
        self.matches.retain(|_, kinds| !kinds.is_empty());
        self.settle(now, out);
    }

    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        if self.look.is_some_and(|look| look <= now) {
            self.look = Some(now + LOOK);
            self.scan(now, out);
        }
        self.settle(now, out);
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.kinds.iter().filter_map(|k| Some(k.pending?.1)).chain(self.look).min()
    }

    /// Readable when there is news; `None` where there is none.
    pub(super) fn news(&self) -> Option<BorrowedFd<'_>> {
        self.events.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn view(&self) -> Vec<ProcessView> {
        let view = |k: &Kind| ProcessView {
            process: k.process.clone(),
            count: k.count,
            quorum: k.reported.unwrap_or(false),
            by_command_line: by_command_line(&k.process),
            fork_delay_runs: k.pending.is_some() && k.grew,
            terminate_delay_runs: k.pending.is_some() && !k.grew,
        };
        self.kinds.iter().map(view).collect()
    }

    fn kinds_of(&self, face: &Face) -> Vec<usize> {
        let kinds = self.kinds.iter().enumerate();
        kinds.filter(|(_, kind)| matches(&kind.process, face)).map(|(index, _)| index).collect()
    }

    /// Counts, and tells what has changed for long enough.
    fn settle(&mut self, now: Instant, out: &mut Vec<Outcome>) {
        let mut counts = vec![0_u32; self.kinds.len()];
        for index in self.matches.values().flatten() {
            if let Some(count) = counts.get_mut(*index) {
                *count += 1;
            }
        }
        for (kind, count) in self.kinds.iter_mut().zip(counts) {
            out.extend(kind.settle(count, now).into_iter().flatten());
        }
    }
}

impl Kind {
    /// Takes a new count. A change is told after `fork_delay` if a process came, after `terminate_delay` if one went.
    fn settle(&mut self, count: u32, now: Instant) -> Option<[Outcome; 2]> {
        let grew = count > self.count;
        self.count = count;
        let up = self.process.quorum <= count && self.process.quorum_max.is_none_or(|max| count <= max);
        if self.reported == Some(up) {
            self.pending = None;
            return None;
        }
        let delay = match (self.reported, grew) {
            (None, _) => Duration::ZERO,
            (Some(_), true) => self.process.fork_delay.duration(),
            (Some(_), false) => self.process.terminate_delay.duration(),
        };
        let due = match self.pending {
            Some((pending, due)) if pending == up => due,
            _ => {
                self.grew = grew;
                now + delay
            }
        };
        if now < due {
            self.pending = Some((up, due));
            return None;
        }
        self.pending = None;
        self.reported = Some(up);
        Some(self.told(up))
    }

    fn told(&self, up: bool) -> [Outcome; 2] {
        let TrackProcess { name, process, quorum, quorum_max, .. } = &self.process;
        let bounds =
            quorum_max.map_or_else(|| format!("at least {quorum}"), |max| format!("{quorum} to {max}"));
        let text = format!("{} of {process} run, {bounds} expected", self.count);
        let log = Outcome::Log(
            Level::Notice,
            format!("track process {name} is {}: {text}", if up { "up" } else { "down" }),
        );
        let finding = if up { Finding::Up } else { Finding::Down(text) };
        [log, Outcome::Report(Tracker::Process(name.clone()), finding)]
    }
}

/// Whether a process is known by its command line: parameters count, or the name is longer than the kernel keeps
/// (keepalived.conf(5): `full_command`, `param_match`).
fn by_command_line(kind: &TrackProcess) -> bool {
    kind.full_command || parameters(kind).is_some() || kind.process.len() > COMM
}

/// How parameters count; `None`: not at all.
fn parameters(kind: &TrackProcess) -> Option<ParameterMatch> {
    kind.parameter_match.or((!kind.parameters.is_empty()).then_some(ParameterMatch::Exact))
}

/// Whether a process is of a kind.
fn matches(kind: &TrackProcess, face: &Face) -> bool {
    let wanted = &kind.parameters;
    if !by_command_line(kind) {
        return face.comm == kind.process;
    }
    let Some((program, given)) = face.command_line.split_first() else { return false };
    if *program != kind.process {
        return false;
    }
    match parameters(kind) {
        None => true,
        Some(ParameterMatch::Exact) => given == wanted.as_slice(),
        Some(ParameterMatch::Initial) => given.starts_with(wanted),
        Some(ParameterMatch::Partial) => match wanted.split_last() {
            None => true,
            Some((last, first)) => {
                given.starts_with(first)
                    && given.get(first.len()).is_some_and(|word| word.starts_with(last.as_str()))
            }
        },
    }
}

/// What a process is called; `None`: it is gone or a zombie.
fn face(pid: u32) -> Option<Face> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (before, after) = stat.rsplit_once(')')?;
    if after.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    let comm = before.split_once('(')?.1.to_owned();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let words = line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let command_line = if line.is_empty() { Vec::new() } else { words.collect() };
    Some(Face { comm, command_line })
}

fn is_tracked(config: &Vrrp, name: &str) -> bool {
    let instances = config.instances.iter().flat_map(|i| &i.track_processes);
    let groups = config.groups.iter().flat_map(|g| &g.track_processes);
    instances.chain(groups).any(|track| track.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::Micros;

    fn kind(process: &str, parameters: &[&str]) -> TrackProcess {
        TrackProcess {
            name: "proxy".into(),
            process: process.into(),
            parameters: parameters.iter().map(|p| (*p).to_owned()).collect(),
            parameter_match: None,
            full_command: false,
            weight: 0,
            reverse: false,
            quorum: 1,
            quorum_max: None,
            fork_delay: Micros(0),
            terminate_delay: Micros(0),
        }
    }

    fn called(comm: &str, line: &[&str]) -> Face {
        Face { comm: comm.into(), command_line: line.iter().map(|w| (*w).to_owned()).collect() }
    }

    #[test]
    fn a_plain_name_is_the_kernel_s_name() {
        let face = called("haproxy", &["/usr/sbin/haproxy", "-f", "x"]);
        assert!(matches(&kind("haproxy", &[]), &face));
        assert!(!matches(&kind("/usr/sbin/haproxy", &[]), &face) || "/usr/sbin/haproxy".len() > COMM);
        let full = TrackProcess { full_command: true, ..kind("/usr/sbin/haproxy", &[]) };
        assert!(matches(&full, &face));
        assert!(!matches(&TrackProcess { full_command: true, ..kind("haproxy", &[]) }, &face));
    }

    #[test]
    fn parameters_are_equal_or_initial_or_partial() {
        let face = called("sh", &["sh", "-c", "sleep 100"]);
        let with = |how, words: &[&str]| TrackProcess { parameter_match: how, ..kind("sh", words) };
        assert!(!matches(&with(None, &["-c"]), &face));
        assert!(matches(&with(None, &["-c", "sleep 100"]), &face));
        assert!(matches(&with(Some(ParameterMatch::Initial), &["-c"]), &face));
        assert!(!matches(&with(Some(ParameterMatch::Initial), &["-c", "sleep"]), &face));
        assert!(matches(&with(Some(ParameterMatch::Partial), &["-c", "sleep"]), &face));
        assert!(!matches(&with(Some(ParameterMatch::Exact), &[]), &face));
    }

    fn followed(process: TrackProcess) -> Processes {
        let mut processes = Processes::new();
        processes.kinds = vec![Kind { process, count: 0, reported: None, pending: None, grew: false }];
        processes
    }

    fn findings(processes: &mut Processes, now: Instant) -> Vec<Finding> {
        let mut out = Vec::new();
        processes.settle(now, &mut out);
        let finding = |o| if let Outcome::Report(_, finding) = o { Some(finding) } else { None };
        out.into_iter().filter_map(finding).collect()
    }

    #[test]
    fn events_keep_the_count() {
        let mut processes = followed(TrackProcess { quorum: 2, ..kind("web", &[]) });
        let now = Instant::now();
        let down = |text: &str| [Finding::Down(text.into())];
        assert_eq!(findings(&mut processes, now), down("0 of web run, at least 2 expected"));
        let web = |_| Some(called("web", &["web"]));
        processes.apply(ProcessEvent::Exec(10), web);
        assert_eq!(findings(&mut processes, now), []);
        processes.apply(ProcessEvent::Fork { parent: 10, child: 11 }, |_| None);
        assert_eq!(findings(&mut processes, now), [Finding::Up]);
        processes.apply(ProcessEvent::Exec(11), |_| Some(called("other", &["other"])));
        assert_eq!(findings(&mut processes, now), down("1 of web run, at least 2 expected"));
        processes.apply(ProcessEvent::Exit(10), |_| None);
        assert_eq!(findings(&mut processes, now), []);
        assert!(processes.matches.is_empty());
    }

    #[test]
    fn a_short_absence_is_not_told() {
        let delay = Micros::from_secs(5);
        let mut processes = followed(TrackProcess { terminate_delay: delay, ..kind("web", &[]) });
        let (start, web) = (Instant::now(), |_| Some(called("web", &["web"])));
        processes.apply(ProcessEvent::Exec(10), web);
        assert_eq!(findings(&mut processes, start), [Finding::Up]);
        processes.apply(ProcessEvent::Exit(10), |_| None);
        assert_eq!(findings(&mut processes, start), []);
        assert_eq!(processes.next(), Some(start + Duration::from_secs(5)));
        assert!(processes.view()[0].terminate_delay_runs);
        processes.apply(ProcessEvent::Exec(12), web);
        assert_eq!(findings(&mut processes, start + Duration::from_secs(4)), []);
        assert_eq!(processes.next(), None);
        processes.apply(ProcessEvent::Exit(12), |_| None);
        let gone = start + Duration::from_secs(10);
        assert_eq!(findings(&mut processes, gone), []);
        let told = findings(&mut processes, gone + Duration::from_secs(5));
        assert_eq!(told, [Finding::Down("0 of web run, at least 1 expected".into())]);
    }

    #[test]
    fn too_many_are_as_bad_as_too_few() {
        let mut processes = followed(TrackProcess { quorum_max: Some(1), ..kind("web", &[]) });
        let now = Instant::now();
        processes.apply(ProcessEvent::Exec(10), |_| Some(called("web", &[])));
        assert_eq!(findings(&mut processes, now), [Finding::Up]);
        processes.apply(ProcessEvent::Fork { parent: 10, child: 11 }, |_| None);
        assert_eq!(findings(&mut processes, now), [Finding::Down("2 of web run, 1 to 1 expected".into())]);
    }

    #[test]
    fn this_very_process_has_a_face() {
        let own = face(std::process::id()).expect("it runs");
        assert!(!own.comm.is_empty());
        assert_eq!(own.command_line.first(), std::env::args().next().as_ref());
    }
}
