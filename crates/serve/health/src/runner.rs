//! The loop: events, orders, deadlines and starts, in this order.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use weir_health::{Attention, Plan, Report, Rhythm, Target, Timers, Verdict};
use weir_model::{Check, Level, UpstreamKey};

use crate::Log;
use crate::probe::{Means, Outcome, Probe, Turn};
use crate::socket::{Count, Remote};

/// What the thread is told.
pub(crate) enum Order {
    Watch(Box<Target>),
    Unwatch(UpstreamKey, usize, String),
    Stop,
}

/// The token of the waker; probes have their place as token.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Deadlines and starts fall on multiples of it, milliseconds.
const TICK: u64 = 5;
/// From so many probes under way on, events are gathered for a tick: one wake-up for all of them.
const CROWD: usize = 16;
/// First results that come before traffic are sought at once, so many at a time.
const FIRST: usize = 512;
/// Probes that are started before events are looked at again.
const BATCH: usize = 512;
/// How long a target waits that found no descriptor, milliseconds.
const RETRY: u64 = 100;
const EVENTS: usize = 1024;
const BUFFER: usize = 64 * 1024;
const PLANS: usize = 64;
/// A hold-up that is told, milliseconds.
const STALL: u64 = 1000;
/// Between two lines about the same, milliseconds.
const QUIET: u64 = 60_000;

type Name = (UpstreamKey, usize, String);

/// Targets with the same check and the same upstream share a plan. The check is held, so its address is not given anew.
struct Shared {
    _check: Arc<Check>,
    plan: Arc<Plan>,
}

pub(crate) struct Runner<R> {
    poll: Poll,
    orders: Receiver<Order>,
    report: R,
    log: Log,
    epoch: Instant,
    now: u64,
    attention: Attention,
    probes: Vec<Option<Probe>>,
    free: Vec<usize>,
    names: HashMap<Name, usize>,
    plans: HashMap<(usize, UpstreamKey), Shared>,
    /// When there are more, those that nobody uses are dropped.
    plans_bound: usize,
    timers: Timers,
    /// Targets that await their first result and a place; entries that are not in this state are leftovers.
    queue: VecDeque<usize>,
    under_way: usize,
    first_under_way: usize,
    count: Count,
    limit: usize,
    lacked: Option<u64>,
    told_lack: Option<u64>,
    told_stall: Option<u64>,
    buffer: Vec<u8>,
}

impl<R: FnMut(Report)> Runner<R> {
    pub(crate) fn new(poll: Poll, orders: Receiver<Order>, report: R, log: Log) -> Self {
        Runner {
            poll,
            orders,
            report,
            log,
            epoch: Instant::now(),
            now: 0,
            attention: Attention::new(0),
            probes: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            plans: HashMap::new(),
            plans_bound: PLANS,
            timers: Timers::default(),
            queue: VecDeque::new(),
            under_way: 0,
            first_under_way: 0,
            count: Rc::new(Cell::new(0)),
            limit: descriptor_share(),
            lacked: None,
            told_lack: None,
            told_stall: None,
            buffer: vec![0; BUFFER],
        }
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let meant = self.wait(&mut events)?;
            self.look(meant);
            let mut woken = self.handle(&events);
            // A probe is late only if its socket was looked at after the deadline.
            while events.iter().count() == EVENTS {
                self.collect(&mut events, Some(Duration::ZERO))?;
                woken |= self.handle(&events);
            }
            if woken && !self.obey() {
                return Ok(());
            }
            self.start_first();
            self.run_timers();
        }
    }

    /// Sleeps until there is something to do; answers how long that was to last, in milliseconds.
    fn wait(&mut self, events: &mut Events) -> io::Result<u64> {
        let due = self.timers.next().map(|at| at.next_multiple_of(TICK));
        let queued = !self.queue.is_empty() && self.first_under_way < FIRST;
        let span = if queued { Some(0) } else { due.map(|due| due.saturating_sub(self.now())) };
        if self.under_way < CROWD || span == Some(0) {
            self.collect(events, span.map(Duration::from_millis))?;
            return Ok(span.unwrap_or(u64::MAX));
        }
        let span = span.unwrap_or(TICK).min(TICK);
        std::thread::sleep(Duration::from_millis(span));
        self.collect(events, Some(Duration::ZERO))?;
        Ok(span)
    }

    fn collect(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn look(&mut self, meant: u64) {
        self.now = self.now();
        let lost = self.attention.look(self.now, meant);
        if lost >= STALL && is_over(self.told_stall, QUIET, self.now) {
            self.told_stall = Some(self.now);
            let text = format!("health checks were held up for {lost} ms; no peer is blamed for it");
            (self.log)(Level::Warn, text);
        }
    }

    /// True when there are orders.
    fn handle(&mut self, events: &Events) -> bool {
        let mut woken = false;
        for event in events {
            if event.token() == WAKER {
                woken = true;
                continue;
            }
            let closed = event.is_read_closed();
            self.drive(event.token().0, |probe, means| probe.ready(means, closed));
        }
        woken
    }

    /// False when it is over.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Watch(target)) => self.watch(*target),
                Ok(Order::Unwatch(key, index, peer)) => self.unwatch(&(key, index, peer)),
                Err(TryRecvError::Empty) => return true,
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn watch(&mut self, target: Target) {
        let name = (target.key.clone(), target.index, target.peer.clone());
        let prepared = self.prepare(&target);
        let (plan, remote) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.unwatch(&name);
                return self.refuse(&target, reason);
            }
        };
        if let Some(id) = self.names.get(&name).copied()
            && let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut)
            && probe.is_like(&target, &remote)
        {
            probe.renew(target, plan);
            if probe.awaits_first() && probe.turn == Turn::Rest {
                probe.turn = Turn::Queue;
                self.queue.push_back(id);
            }
            return;
        }
        self.unwatch(&name);
        let id = self.free.pop().unwrap_or(self.probes.len());
        let at_once = target.known.is_none() && target.check.default_down;
        let rhythm = Rhythm::new(&target, self.now, at_once);
        let due = rhythm.due();
        let mut probe = Probe::new(target, plan, remote, rhythm, Token(id));
        if at_once {
            probe.turn = Turn::Queue;
            self.queue.push_back(id);
        } else {
            self.timers.arm(id, due);
        }
        if id == self.probes.len() {
            self.probes.push(None);
        }
        if let Some(place) = self.probes.get_mut(id) {
            *place = Some(probe);
        }
        self.names.insert(name, id);
    }

    fn prepare(&mut self, target: &Target) -> Result<(Arc<Plan>, Remote), String> {
        let remote = Remote::new(&target.address, target.check.port)
            .map_err(|error| format!("address {}: {error}", target.address))?;
        let place = (Arc::as_ptr(&target.check) as usize, target.key.clone());
        if let Some(shared) = self.plans.get(&place) {
            return Ok((Arc::clone(&shared.plan), remote));
        }
        let plan = Plan::new(&target.check, &target.key.to_string()).map_err(|error| error.to_string())?;
        // The new plan is used by the caller, so it stays.
        let plan = Arc::new(plan);
        let shared = Shared { _check: Arc::clone(&target.check), plan: Arc::clone(&plan) };
        self.plans.insert(place, shared);
        if self.plans.len() > self.plans_bound {
            self.plans.retain(|_, shared| Arc::strong_count(&shared.plan) > 1);
            self.plans_bound = (2 * self.plans.len()).max(PLANS);
        }
        Ok((plan, remote))
    }

    /// A target that cannot be checked fails, and says why.
    fn refuse(&mut self, target: &Target, reason: String) {
        let Target { key, index, peer, .. } = target;
        (self.log)(Level::Error, format!("peer {peer} of upstream {key} cannot be checked: {reason}"));
        (self.report)(Report {
            key: key.clone(),
            index: *index,
            peer: peer.clone(),
            passed: false,
            first: target.known.is_none(),
            reason,
            after: 1,
        });
    }

    fn unwatch(&mut self, name: &Name) {
        let Some(id) = self.names.remove(name) else { return };
        let Some(mut probe) = self.probes.get_mut(id).and_then(Option::take) else { return };
        self.leave(probe.turn);
        probe.abandon();
        self.timers.disarm(id);
        self.free.push(id);
    }

    /// First results that traffic waits for.
    fn start_first(&mut self) {
        for _ in 0..BATCH {
            if self.first_under_way >= FIRST {
                return;
            }
            let Some(id) = self.queue.pop_front() else { return };
            if self.turn(id) == Some(Turn::Queue) {
                self.start(id, true);
            }
        }
    }

    fn run_timers(&mut self) {
        for _ in 0..BATCH {
            let Some(id) = self.timers.pop(self.now) else { return };
            match self.turn(id) {
                Some(Turn::Run { .. }) => self.expire(id),
                Some(Turn::Rest) => self.start_due(id),
                Some(Turn::Retry) => self.start(id, false),
                Some(Turn::Queue) | None => {}
            }
        }
    }

    fn turn(&self, id: usize) -> Option<Turn> {
        self.probes.get(id)?.as_ref().map(|probe| probe.turn)
    }

    fn expire(&mut self, id: usize) {
        let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) else { return };
        match probe.remaining(self.attention.attended()) {
            0 => {
                let verdict = probe.expire();
                self.settle(id, Outcome::Ended(verdict));
            }
            left => self.timers.arm(id, self.now + left),
        }
    }

    fn start_due(&mut self, id: usize) {
        let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) else { return };
        match probe.rhythm.turn(self.now) {
            weir_health::Turn::Start => self.start(id, false),
            weir_health::Turn::Skip => {
                let due = probe.rhythm.due();
                self.timers.arm(id, due);
            }
        }
    }

    fn start(&mut self, id: usize, first: bool) {
        let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) else { return };
        probe.turn = Turn::Run { first };
        probe.rhythm.started(self.now, first);
        self.timers.arm(id, self.now + probe.target.check.timeout.0.max(1));
        self.under_way += 1;
        self.first_under_way += usize::from(first);
        self.drive(id, Probe::start);
    }

    /// Lets a probe do its step, and draws the consequence.
    fn drive(&mut self, id: usize, step: impl FnOnce(&mut Probe, &mut Means<'_>) -> Outcome) {
        let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) else { return };
        let mut means = Means {
            registry: self.poll.registry(),
            buffer: &mut self.buffer,
            attended: self.attention.attended(),
            count: &self.count,
            limit: self.limit,
            scarce: !is_over(self.lacked, STALL, self.now),
        };
        let outcome = step(probe, &mut means);
        self.settle(id, outcome);
    }

    fn settle(&mut self, id: usize, outcome: Outcome) {
        let Some(turn) = self.turn(id) else { return };
        match outcome {
            Outcome::Wait => {}
            Outcome::Ended(verdict) => {
                self.leave(turn);
                self.tell(id, verdict);
            }
            Outcome::Lack(error) => {
                self.leave(turn);
                self.lack(id, &error);
            }
        }
    }

    /// A probe is not under way any more.
    fn leave(&mut self, turn: Turn) {
        if let Turn::Run { first } = turn {
            self.under_way -= 1;
            self.first_under_way -= usize::from(first);
        }
    }

    fn tell(&mut self, id: usize, verdict: Verdict) {
        let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) else { return };
        probe.turn = Turn::Rest;
        let target = &probe.target;
        let change = probe.tally.count(verdict.passed, &target.check);
        target.state.count_checks(probe.tally.rise(), probe.tally.fall());
        probe.rhythm.ended(self.now);
        self.timers.arm(id, probe.rhythm.due());
        if let Some(change) = change {
            (self.report)(Report {
                key: target.key.clone(),
                index: target.index,
                peer: target.peer.clone(),
                passed: change.passed,
                first: change.first,
                reason: verdict.reason.to_string(),
                after: change.after,
            });
        }
    }

    /// There was no descriptor: the probe is made up for, and connections are not kept for a while.
    fn lack(&mut self, id: usize, error: &io::Error) {
        if let Some(probe) = self.probes.get_mut(id).and_then(Option::as_mut) {
            probe.turn = Turn::Retry;
        }
        self.timers.arm(id, self.now + RETRY);
        self.lacked = Some(self.now);
        if is_over(self.told_lack, QUIET, self.now) {
            self.told_lack = Some(self.now);
            let (open, limit) = (self.count.get(), self.limit);
            let text = format!(
                "health checks wait for file descriptors: {open} connections are open, {limit} are allowed ({error}); \
                 raise worker_rlimit_nofile or lengthen the intervals"
            );
            (self.log)(Level::Warn, text);
        }
    }
}

/// Whether `span` has passed since, if it ever was.
fn is_over(since: Option<u64>, span: u64, now: u64) -> bool {
    since.is_none_or(|since| now.saturating_sub(since) >= span)
}

/// Half of the files that the process may open: the other half is the traffic's.
fn descriptor_share() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX).max(16))
}
