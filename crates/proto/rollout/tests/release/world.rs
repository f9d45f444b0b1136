//! A store, proxies and servers with virtual time. Every command takes a while that a seed decides; invariants are checked as
//! commands are given and as they end.

use std::collections::{BTreeMap, BTreeSet};

use weir_rollout::{
    Action, Command, Counters, Event, Metrics, Moment, Outcome, PeerState, PeerView, Plan, Progress, Refusal,
    Rollout, Stage, State,
};

/// So many events are far more than any release needs.
const LIMIT: usize = 20_000;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What goes wrong at a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) stop: bool,
    pub(crate) start: bool,
    /// The new version never becomes healthy.
    pub(crate) sick: bool,
    pub(crate) rollback: bool,
    /// The new version dies so long after its start, milliseconds.
    pub(crate) crash: Option<u64>,
    /// A request never ends.
    pub(crate) stuck: bool,
    pub(crate) hook: Option<Stage>,
    /// The store refuses to write it down as drained, or as serving.
    pub(crate) drain: bool,
    pub(crate) up: bool,
    pub(crate) barrier: bool,
    /// The proxies' own checks see it as failed for so long after its start, milliseconds. Absent: they check nothing.
    pub(crate) late: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) running: bool,
    pub(crate) version: u32,
    pub(crate) started: u64,
    /// What the store says.
    pub(crate) down: bool,
    pub(crate) percent: u8,
    /// What the proxies obey.
    pub(crate) applied: bool,
    pub(crate) active: u64,
    pub(crate) faults: Faults,
    pub(crate) backup: bool,
    /// Somebody else took it out, before the release.
    pub(crate) ordered: bool,
    /// Fails for a reason of its own.
    pub(crate) ill: bool,
    pub(crate) starts: u32,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) peers: BTreeMap<String, Peer>,
    pub(crate) index: u64,
    pub(crate) saved: Option<Progress>,
    /// When it ends, and what it is.
    pub(crate) flights: Vec<(u64, Command)>,
    pub(crate) random: Random,
    /// Longest time of a command, milliseconds.
    pub(crate) slowness: u64,
    pub(crate) given: Vec<Command>,
    pub(crate) notes: Vec<String>,
    last_view: Option<BTreeSet<String>>,
    pub(crate) store_lost: bool,
    /// Writes may not have come about: the store refused one, or the lock was lost, or the store was left alone.
    pub(crate) unsure: bool,
    pub(crate) outcome: Option<Outcome>,
}

pub(crate) fn address(n: usize) -> String {
    format!("10.0.0.{}:8080", n + 1)
}

impl World {
    pub(crate) fn new(servers: usize, seed: u64) -> Self {
        let peer = || Peer {
            running: true,
            version: 0,
            started: 0,
            down: false,
            percent: 100,
            applied: true,
            active: 0,
            faults: Faults::default(),
            backup: false,
            ordered: false,
            ill: false,
            starts: 0,
        };
        Self {
            now: 1_000_000,
            peers: (0..servers).map(|n| (address(n), peer())).collect(),
            index: 1,
            saved: None,
            flights: Vec::new(),
            random: Random(seed),
            slowness: 1,
            given: Vec::new(),
            notes: Vec::new(),
            last_view: None,
            store_lost: false,
            unsure: false,
            outcome: None,
        }
    }

    pub(crate) fn peer(&mut self, n: usize) -> &mut Peer {
        self.peers.get_mut(&address(n)).expect("a server of this world")
    }

    /// A server that stands by drained.
    pub(crate) fn hold(&mut self, n: usize) {
        let peer = self.peer(n);
        (peer.down, peer.applied, peer.ordered) = (true, false, true);
    }

    fn healthy(&self, peer: &Peer) -> bool {
        let crashed = peer.faults.crash.is_some_and(|after| self.now >= peer.started + after);
        let sick = peer.version == 1 && (crashed || peer.faults.sick);
        peer.running && !peer.ill && !sick
    }

    pub(crate) fn serving(&self, address: &str) -> bool {
        self.peers.get(address).is_some_and(|peer| peer.applied && self.healthy(peer))
    }

    pub(crate) fn view(&self) -> Vec<PeerView> {
        let view = |(address, peer): (&String, &Peer)| PeerView {
            address: address.clone(),
            weight: 1,
            serving: self.serving(address),
            active: peer.active,
            state: match () {
                () if !peer.applied && peer.down => PeerState::Draining,
                () if !self.healthy(peer) => PeerState::Failed,
                () => PeerState::Up,
            },
            backup: peer.backup,
        };
        self.peers.iter().map(view).collect()
    }

    pub(crate) fn rollout(&mut self, plan: &Plan) -> Result<Rollout, Refusal> {
        self.outcome = None;
        Rollout::new(plan.clone(), &self.view(), None, Moment(self.now))
    }

    pub(crate) fn resume(&mut self, plan: &Plan) -> Result<Rollout, Refusal> {
        self.outcome = None;
        Rollout::new(plan.clone(), &self.view(), self.saved.clone(), Moment(self.now))
    }

    /// Takes every command that there is.
    pub(crate) fn take(&mut self, rollout: &mut Rollout) {
        while let Some(command) = rollout.poll_command() {
            self.check_given(rollout, &command);
            self.given.push(command.clone());
            match &command.action {
                Action::Cancel { id } => self.cancel(*id),
                Action::Finish { outcome } => self.outcome = Some(outcome.clone()),
                Action::Pause { .. } => {}
                _ => {
                    let due = self.now + self.duration(&command.action);
                    self.flights.push((due, command));
                }
            }
        }
        while let Some(note) = rollout.poll_note() {
            self.notes.push(format!("{} {}", note.server.unwrap_or_default(), note.text));
        }
    }

    /// What was cancelled may have come about or not.
    fn cancel(&mut self, id: u64) {
        let Some(at) = self.flights.iter().position(|(_, command)| command.id == id) else { return };
        let (_, command) = self.flights.remove(at);
        if self.random.one_in(2) {
            self.carry_out(&command);
        }
    }

    fn duration(&mut self, action: &Action) -> u64 {
        let random = self.random.below(self.slowness.max(1));
        match action {
            Action::AwaitQuiet { server, until } => {
                let stuck = self.peers.get(server).is_some_and(|peer| peer.faults.stuck);
                match until {
                    Some(until) if stuck => until.0 - self.now,
                    None if stuck => 3_600_000,
                    _ => random,
                }
            }
            _ => random,
        }
    }

    /// The next answer or the next timer, whichever comes first; false when nothing is left to wait for.
    pub(crate) fn step(&mut self, rollout: &mut Rollout) -> bool {
        self.take(rollout);
        if self.random.one_in(8) {
            self.apply();
        }
        let store = |action: &Action| {
            matches!(
                action,
                Action::SetDrain { .. }
                    | Action::SetUp { .. }
                    | Action::SetPercent { .. }
                    | Action::Save { .. }
            )
        };
        let lost = self.store_lost;
        let ready = |(_, command): &&(u64, Command)| !lost || !store(&command.action);
        let next = self.flights.iter().filter(ready).map(|(due, command)| (*due, command.id)).min();
        let timer = rollout.poll_timeout().map(|moment| moment.0.max(self.now));
        match (next, timer) {
            (Some((due, _)), Some(timer)) if timer < due => self.tick(rollout, timer),
            (None, Some(timer)) => self.tick(rollout, timer),
            (Some((due, id)), _) => {
                self.now = self.now.max(due);
                let at =
                    self.flights.iter().position(|(_, command)| command.id == id).expect("it was just found");
                let (_, command) = self.flights.remove(at);
                if let Some(event) = self.carry_out(&command) {
                    let before = rollout.progress();
                    let looked = matches!(event, Event::View { .. });
                    rollout.handle(event, Moment(self.now));
                    if let Some(seen) = self.last_view.take().filter(|_| looked) {
                        self.check_room(&before, &rollout.progress(), &seen);
                    }
                }
            }
            (None, None) => return false,
        }
        self.take(rollout);
        true
    }

    fn tick(&mut self, rollout: &mut Rollout, timer: u64) {
        self.now = timer;
        rollout.handle(Event::Tick, Moment(timer));
    }

    /// Runs until the end.
    pub(crate) fn run(&mut self, rollout: &mut Rollout) -> Outcome {
        self.take(rollout);
        for _ in 0..LIMIT {
            if let Some(outcome) = &self.outcome {
                let outcome = outcome.clone();
                self.check_end(rollout, &outcome);
                return outcome;
            }
            if !self.step(rollout) && self.outcome.is_none() {
                panic!(
                    "nothing happens any more: {:?}: {}\n{:?}",
                    rollout.phase(),
                    rollout.last_line(),
                    rollout.status()
                );
            }
        }
        panic!(
            "the release does not end: {:?}: {}\n{:?}",
            rollout.phase(),
            rollout.last_line(),
            rollout.status()
        );
    }

    /// Runs until this is given out.
    pub(crate) fn run_to(&mut self, rollout: &mut Rollout, what: impl Fn(&Action) -> bool) {
        for _ in 0..LIMIT {
            let seen = self.given.len();
            let alive = self.step(rollout);
            if self.given.iter().skip(seen).any(|command| what(&command.action)) {
                return;
            }
            assert!(alive && self.outcome.is_none(), "it ended before: {}", rollout.last_line());
        }
        panic!("it is never given out");
    }

    /// The process is killed: what is in the air comes about or not, and no answer is heard.
    pub(crate) fn kill(&mut self) {
        for (_, command) in std::mem::take(&mut self.flights) {
            if self.random.one_in(2) {
                self.carry_out(&command);
            }
        }
        self.last_view = None;
    }

    fn carry_out(&mut self, command: &Command) -> Option<Event> {
        let id = command.id;
        let failed = |reason: &str| Some(Event::Failed { id, reason: reason.to_owned() });
        match &command.action {
            Action::SetDrain { .. } | Action::SetUp { .. } | Action::SetPercent { .. } => {
                self.carry_to_store(id, &command.action)
            }
            Action::AwaitApplied { server, .. } => {
                if self.peers.get(server)?.faults.barrier {
                    return failed("proxy 10.9.9.9:8500 does not answer");
                }
                self.apply();
                Some(Event::Reached { id })
            }
            Action::AwaitQuiet { server, until } => {
                // Who waits without limit sees even that request end.
                let stuck = self.peers.get(server)?.faults.stuck && until.is_some();
                Some(Event::Quiet { id, active: u64::from(stuck) })
            }
            Action::RunHook { stage, server, .. } => {
                let faulty = server.as_ref().and_then(|server| self.peers.get(server)?.faults.hook);
                let result = if faulty == Some(*stage) { Err("exit status 1".to_owned()) } else { Ok(()) };
                Some(Event::Ran { id, result })
            }
            Action::Stop { .. } | Action::Start { .. } | Action::Rollback { .. } => {
                Some(Event::Ran { id, result: self.machine(&command.action) })
            }
            Action::Warm { .. } => Some(Event::Ran { id, result: Ok(()) }),
            Action::Probe { server, rollback, .. } => {
                let peer = self.peers.get(server)?;
                let wanted = u32::from(!rollback);
                let result = match () {
                    () if !self.healthy(peer) => Err("connection refused".to_owned()),
                    () if peer.version != wanted => Err(format!("answered with version {}", peer.version)),
                    () => Ok(()),
                };
                Some(Event::Probed { id, result })
            }
            Action::ReadMetrics { server, .. } => Some(Event::Metrics { id, metrics: self.metrics(server) }),
            Action::ReadView => {
                let view = self.view();
                let serving =
                    view.iter().filter(|peer| peer.serving && !peer.backup).map(|peer| peer.address.clone());
                self.last_view = Some(serving.collect());
                Some(Event::View { id, view })
            }
            Action::Save { progress } => {
                // The document survives as text.
                let text = serde_json::to_string(progress).expect("a document");
                self.saved = Some(serde_json::from_str(&text).expect("the same document"));
                assert_eq!(self.saved.as_ref(), Some(&**progress));
                Some(Event::Saved { id })
            }
            Action::Pause { .. } | Action::Cancel { .. } | Action::Finish { .. } => None,
        }
    }

    fn carry_to_store(&mut self, id: u64, action: &Action) -> Option<Event> {
        let failed = Some(Event::Failed { id, reason: "the key is gone".to_owned() });
        match action {
            Action::SetDrain { server } => {
                if self.peers.get(server)?.faults.drain {
                    self.unsure = true;
                    return failed;
                }
                self.write(server, |peer| peer.down = true);
                Some(Event::Applied { id, index: self.index })
            }
            Action::SetUp { server, percent, .. } => {
                if self.peers.get(server)?.faults.up {
                    self.unsure = true;
                    return failed;
                }
                let percent = percent.0;
                self.write(server, |peer| (peer.down, peer.percent) = (false, percent));
                Some(Event::Applied { id, index: self.index })
            }
            Action::SetPercent { server, percent } => {
                let percent = percent.0;
                self.write(server, |peer| peer.percent = percent);
                Some(Event::Applied { id, index: self.index })
            }
            _ => None,
        }
    }

    /// The store was restored from an older copy, in which nobody was drained.
    pub(crate) fn forget_drains(&mut self) {
        for peer in self.peers.values_mut().filter(|peer| !peer.ordered) {
            self.unsure |= peer.down;
            peer.down = false;
        }
        self.apply();
    }

    /// The proxies obey what the store says.
    pub(crate) fn apply(&mut self) {
        for peer in self.peers.values_mut() {
            peer.applied = !peer.down;
        }
    }

    fn write(&mut self, server: &str, change: impl FnOnce(&mut Peer)) {
        self.index += 1;
        if let Some(peer) = self.peers.get_mut(server) {
            change(peer);
        }
    }

    fn machine(&mut self, action: &Action) -> Result<(), String> {
        let now = self.now;
        match action {
            Action::Stop { server, .. } => {
                let peer = self.peers.get_mut(server).ok_or("gone")?;
                if peer.faults.stop {
                    return Err("exit status 1".to_owned());
                }
                peer.running = false;
            }
            Action::Start { server, .. } => {
                let peer = self.peers.get_mut(server).ok_or("gone")?;
                if peer.faults.start {
                    return Err("exit status 1".to_owned());
                }
                (peer.running, peer.version, peer.started) = (true, 1, now);
                peer.starts += 1;
            }
            Action::Rollback { server, .. } => {
                let peer = self.peers.get_mut(server).ok_or("gone")?;
                if peer.faults.rollback {
                    return Err("exit status 1".to_owned());
                }
                (peer.running, peer.version) = (true, 0);
            }
            _ => {}
        }
        Ok(())
    }

    fn metrics(&self, server: &str) -> Metrics {
        let Some(peer) = self.peers.get(server) else { return Metrics::default() };
        let alive = self.healthy(peer);
        let since = |moment: u64| (self.now - moment) / 10;
        let crashed = peer.faults.crash.map_or(0, |after| since(self.now.min(peer.started + after)));
        let others = Counters { requests: since(0), ..Counters::default() };
        let server = Counters {
            requests: since(0),
            connect_errors: if alive { 0 } else { crashed },
            ..others.clone()
        };
        let seen = |late: u64| {
            let up = alive && self.now >= peer.started + late;
            if up { PeerState::Up } else { PeerState::Failed }
        };
        Metrics { server, others, state: peer.faults.late.map(seen) }
    }

    /// Names of what was given out, without probes, hooks, views and documents: `drain 1`.
    pub(crate) fn trace(&self) -> Vec<String> {
        let short = |server: &str| {
            server
                .strip_prefix("10.0.0.")
                .and_then(|rest| rest.split(':').next())
                .unwrap_or_default()
                .to_owned()
        };
        let name = |action: &Action| {
            let word = match action {
                Action::SetDrain { .. } => "drain",
                Action::SetUp { .. } => "up",
                Action::SetPercent { .. } => "percent",
                Action::AwaitApplied { .. } => "barrier",
                Action::AwaitQuiet { .. } => "quiet",
                Action::Stop { .. } => "stop",
                Action::Start { .. } => "start",
                Action::Rollback { .. } => "rollback",
                Action::Warm { .. } => "warm",
                Action::Pause { .. } => "pause",
                _ => return None,
            };
            Some(format!("{word} {}", short(server_of(action)?)))
        };
        self.given.iter().filter_map(|command| name(&command.action)).collect()
    }

    pub(crate) fn forget_trace(&mut self) {
        self.given.clear();
    }
}

pub(crate) fn server_of(action: &Action) -> Option<&str> {
    match action {
        Action::SetDrain { server }
        | Action::SetUp { server, .. }
        | Action::SetPercent { server, .. }
        | Action::AwaitApplied { server, .. }
        | Action::AwaitQuiet { server, .. }
        | Action::Stop { server, .. }
        | Action::Start { server, .. }
        | Action::Rollback { server, .. }
        | Action::Probe { server, .. }
        | Action::Warm { server }
        | Action::ReadMetrics { server, .. }
        | Action::Pause { server, .. } => Some(server),
        Action::RunHook { server, .. } => server.as_deref(),
        _ => None,
    }
}

/// A plan for the upstream `web`; the driver and the upstream need not be given.
pub(crate) fn plan(text: &str) -> Plan {
    let mut plan = Plan::parse(text).expect("a plan");
    plan.upstream = "web".to_owned();
    plan.driver = weir_rollout::Driver::Shell(weir_rollout::Shell {
        stop: Some("stop".to_owned()),
        start: Some("start".to_owned()),
        rollback: Some("rollback".to_owned()),
        ..weir_rollout::Shell::default()
    });
    plan
}

/// The states of all servers in the order of the release.
pub(crate) fn states(rollout: &Rollout) -> Vec<State> {
    rollout.status().into_iter().map(|row| row.state).collect()
}
