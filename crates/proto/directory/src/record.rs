//! One peer: what is known about it, and the state that follows from that.

use std::sync::Arc;

use weir_balance::{Bars, Member, PeerSpec, PeerState};
use weir_model::{Check, Millis, Peer};

use crate::share::{Pace, Warmth};
use crate::{AdminState, MAX_WEIGHT, Now, Remembered, State};

/// One membership of an address. An address that is written in two `server` lines has two, as in nginx.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) spec: PeerSpec,
    pub(crate) state: Arc<PeerState>,
    /// The weight without the operator's.
    pub(crate) own_weight: u32,
    /// Of it, what is to count, without the operator's say.
    own_percent: u8,
    slow_start: Millis,
}

impl Seat {
    fn new(peer: &Peer, from: From) -> Seat {
        let own_weight = own_weight(peer, from, 1);
        let spec = spec(peer, from, own_weight);
        let (own_percent, slow_start) = (peer.percent, peer.slow_start);
        Seat { spec, state: Arc::default(), own_weight, own_percent, slow_start }
    }

    /// Whether `peer` says what is known.
    fn is(&self, peer: &Peer, from: From) -> bool {
        // By name, so that none is forgotten when there are more; the address is what tells peers apart.
        let Peer {
            address: _,
            server,
            weight: _,
            max_conns,
            max_fails,
            fail_timeout,
            backup,
            down: _,
            drain: _,
            route,
            slow_start,
            percent,
        } = peer;
        let spec = &self.spec;
        self.own_weight == own_weight(peer, from, self.own_weight)
            && (spec.max_conns, spec.max_fails) == (*max_conns, *max_fails)
            && (spec.fail_timeout, self.slow_start) == (fail_timeout.0, *slow_start)
            && self.own_percent == *percent
            && spec.backup == *backup
            && (spec.down, spec.drain) == cuts(peer, from)
            && spec.server == *server
            && spec.route == *route
    }

    /// Takes over what `peer` says, but for the weight and the share of it, which [`Record::weigh`] puts into force. True
    /// if anything but these is new.
    fn update(&mut self, peer: &Peer, from: From) -> bool {
        self.own_weight = own_weight(peer, from, self.own_weight);
        (self.slow_start, self.own_percent) = (peer.slow_start, peer.percent);
        let spec = PeerSpec { share: self.spec.share, ..spec(peer, from, self.spec.weight) };
        let changed = self.spec != spec;
        self.spec = spec;
        changed
    }

    pub(crate) fn member(&self) -> Member {
        (self.spec.clone(), Arc::clone(&self.state))
    }
}

fn own_weight(peer: &Peer, from: From, before: u32) -> u32 {
    match (from, peer.weight) {
        // The peer drains; when it comes back it probably has the weight that it had.
        (From::Source { .. }, 0) => before,
        (From::Source { .. }, weight) => weight.min(MAX_WEIGHT),
        (From::Configuration, weight) => weight.max(1),
    }
}

fn spec(peer: &Peer, from: From, weight: u32) -> PeerSpec {
    let (down, drain) = cuts(peer, from);
    PeerSpec { weight, down, drain, ..PeerSpec::from(peer) }
}

/// `down` and `drain` as parts of the group. What a source says of it takes no peer from under its requests: it is a bar.
fn cuts(peer: &Peer, from: From) -> (bool, bool) {
    if from == From::Configuration { (peer.down, peer.drain) } else { (false, false) }
}

/// Who names a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Configuration,
    /// Position and kind of the source.
    Source {
        index: usize,
        kind: &'static str,
    },
}

impl From {
    /// In a set of those who name a peer. Sources beyond the 63rd share a bit: it is only shown.
    pub(crate) fn bit(self) -> u64 {
        match self {
            From::Configuration => 1,
            From::Source { index, .. } => 1 << (index + 1).min(63),
        }
    }
}

/// What of a source's entry keeps new requests away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Withdrawn {
    /// Of the source.
    pub(crate) kind: &'static str,
    pub(crate) why: &'static str,
}

impl Withdrawn {
    fn of(peer: &Peer, from: From) -> Option<Withdrawn> {
        let From::Source { kind, .. } = from else { return None };
        let why = match peer {
            Peer { down: true, .. } => "down",
            Peer { drain: true, .. } => "drain",
            Peer { weight: 0, .. } => "weight 0",
            _ => return None,
        };
        Some(Withdrawn { kind, why })
    }
}

/// What one check knows of a peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    pub(crate) passed: Option<bool>,
    /// 1970; 0: there is no verdict.
    pub(crate) since: u64,
    pub(crate) reason: Box<str>,
}

/// Why a peer is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Nobody,
    Configuration,
    Operator,
    Source(Withdrawn),
    Check(usize),
    /// The check has no result yet.
    Awaited(usize),
}

/// What was said of a peer in the round under way.
#[derive(Debug, Clone, Copy, Default)]
struct Draft {
    round: u64,
    seats: usize,
    named: u64,
    withdrawn: Option<Withdrawn>,
    /// Something was said that was not known.
    new: bool,
    /// And it is part of the group.
    changed: bool,
}

/// What a round brought for a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    pub(crate) any: bool,
    /// Its part in the group is another one.
    pub(crate) group: bool,
}

/// All that is known about one address of an upstream.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) first: Seat,
    pub(crate) more: Vec<Seat>,
    pub(crate) named: u64,
    pub(crate) withdrawn: Option<Withdrawn>,
    pub(crate) order: Option<Arc<Remembered>>,
    /// One of each check of the upstream.
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) state: State,
    pub(crate) cause: Cause,
    /// 1970
    pub(crate) since: u64,
    pub(crate) warmth: Warmth,
    draft: Draft,
}

impl Record {
    pub(crate) fn new(peer: &Peer, from: From, checks: usize) -> Record {
        Record {
            first: Seat::new(peer, from),
            more: Vec::new(),
            named: 0,
            withdrawn: None,
            order: None,
            verdicts: vec![Verdict::default(); checks],
            state: State::Up,
            cause: Cause::Nobody,
            since: 0,
            warmth: Warmth::Whole,
            draft: Draft { new: true, ..Draft::default() },
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.first.spec.name
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = &Seat> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn seats_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        std::iter::once(&mut self.first).chain(&mut self.more)
    }

    /// Somebody names the peer in round `round`. The first who does decides weight and limits; whoever withdraws it,
    /// withdraws it.
    pub(crate) fn claim(&mut self, peer: &Peer, from: From, round: u64) {
        let withdrawn = Withdrawn::of(peer, from);
        let seat = if self.draft.round != round {
            self.draft = Draft { round, seats: 1, named: from.bit(), withdrawn, ..self.draft };
            Some(&mut self.first)
        } else if from == From::Configuration {
            self.draft.seats += 1;
            self.more.get_mut(self.draft.seats - 2)
        } else {
            self.draft.named |= from.bit();
            self.draft.withdrawn = self.draft.withdrawn.or(withdrawn);
            return;
        };
        match seat {
            Some(seat) if seat.is(peer, from) => {}
            Some(seat) => {
                self.draft.new = true;
                self.draft.changed |= seat.update(peer, from);
            }
            None => {
                (self.draft.new, self.draft.changed) = (true, true);
                self.more.push(Seat::new(peer, from));
            }
        }
    }

    /// What is known has to be put into force at the end of the round, even if nothing of it is new.
    pub(crate) fn renew(&mut self) {
        self.draft.new = true;
    }

    /// Whether somebody named the peer in this round.
    pub(crate) fn is_claimed(&self, round: u64) -> bool {
        self.draft.round == round
    }

    /// Ends a round: what nobody said again is gone. Returns what is new, and the seats that were lost.
    pub(crate) fn conclude(&mut self) -> (News, Vec<Seat>) {
        let Draft { named, withdrawn, seats, new, changed, .. } = self.draft;
        let new = new || (named, withdrawn) != (self.named, self.withdrawn);
        (self.named, self.withdrawn) = (named, withdrawn);
        (self.draft.new, self.draft.changed) = (false, false);
        let kept = seats.saturating_sub(1);
        let lost = if kept < self.more.len() { self.more.split_off(kept) } else { Vec::new() };
        (News { any: new, group: changed || !lost.is_empty() }, lost)
    }

    /// Of a seat's weight, what is to count.
    pub(crate) fn percent(&self, seat: &Seat) -> u8 {
        self.order.as_ref().and_then(|order| order.percent).unwrap_or(seat.own_percent).clamp(1, 100)
    }

    /// Whether the configuration or a source lets less than the whole count.
    pub(crate) fn is_partial(&self) -> bool {
        self.seats().any(|seat| seat.own_percent < 100)
    }

    /// Puts the weights and the shares of them into force; true if one is another than before. Beside it when the next
    /// share is due (monotonic milliseconds).
    pub(crate) fn weigh(&mut self, pace: Pace) -> (bool, Option<u64>) {
        let (order, warmth) = (self.order.clone(), self.warmth);
        let ordered = |of: fn(&Remembered) -> Option<u32>| order.as_deref().and_then(of);
        let weight = ordered(|order| order.weight);
        let percent = ordered(|order| order.percent.map(u32::from));
        let (mut changed, mut due) = (false, None);
        for seat in self.seats_mut() {
            let weight = weight.unwrap_or(seat.own_weight);
            let percent = percent.unwrap_or(seat.own_percent.into());
            let (grown, next) = warmth.share(seat.slow_start.0, pace);
            let share = u8::try_from(u64::from(percent) * grown / 100).unwrap_or(100).clamp(1, 100);
            changed |= (seat.spec.weight, seat.spec.share) != (weight, share);
            (seat.spec.weight, seat.spec.share) = (weight, share);
            due = due.into_iter().chain(next).min();
        }
        if due.is_none() && matches!(warmth, Warmth::Since(_)) {
            self.warmth = Warmth::Whole;
        }
        (changed, due)
    }

    fn ordered(&self) -> AdminState {
        self.order.as_ref().map_or(AdminState::Up, |order| order.state)
    }

    /// What keeps traffic away, beside the configuration.
    pub(crate) fn bars(&self, checks: &[Arc<Check>]) -> Bars {
        let mut bars = match self.ordered() {
            AdminState::Up => Bars::NONE,
            AdminState::Drain => Bars::DRAINING,
            AdminState::Maintenance => Bars::MAINTENANCE,
        };
        if self.withdrawn.is_some() {
            bars = bars.with(Bars::DRAINING);
        }
        if self.failing(checks).is_some() { bars.with(Bars::CHECK) } else { bars }
    }

    /// The first check that keeps traffic away, a failed one before one whose result is awaited.
    pub(crate) fn failing(&self, checks: &[Arc<Check>]) -> Option<Cause> {
        let failed = self.verdicts.iter().position(|verdict| verdict.passed == Some(false));
        let awaited = || {
            let mut pairs = self.verdicts.iter().zip(checks);
            pairs.position(|(verdict, check)| verdict.passed.is_none() && check.default_down)
        };
        failed.map(Cause::Check).or_else(|| awaited().map(Cause::Awaited))
    }

    /// The state that follows from everything known, by the order of [`State`].
    fn standing(&self, checks: &[Arc<Check>]) -> (State, Cause) {
        match self.ordered() {
            AdminState::Maintenance => return (State::Maintenance, Cause::Operator),
            _ if self.seats().all(|seat| seat.spec.down) => return (State::Down, Cause::Configuration),
            AdminState::Drain => return (State::Draining, Cause::Operator),
            AdminState::Up => {}
        }
        if let Some(withdrawn) = self.withdrawn {
            return (State::Draining, Cause::Source(withdrawn));
        }
        if self.seats().all(|seat| seat.spec.drain || seat.spec.down) {
            return (State::Draining, Cause::Configuration);
        }
        self.failing(checks).map_or((State::Up, Cause::Nobody), |cause| (State::Failed, cause))
    }

    /// Puts the state into force on the data path; returns the state before if it is another one now.
    pub(crate) fn settle(&mut self, now: Now, checks: &[Arc<Check>]) -> Option<State> {
        let bars = self.bars(checks);
        let clear = Bars::CHECK.with(Bars::DRAINING).with(Bars::MAINTENANCE).without(bars);
        for seat in self.seats() {
            seat.state.bar(bars);
            seat.state.unbar(clear);
        }
        let (state, cause) = self.standing(checks);
        self.warmth = match (state, cause, self.warmth) {
            (State::Up, _, Warmth::Cold) => Warmth::Since(now.mono),
            // Before its first result a peer counts as up.
            (State::Up, _, warmth) | (_, Cause::Awaited(_), warmth) => warmth,
            _ => Warmth::Cold,
        };
        if (state, cause) == (self.state, self.cause) {
            return None;
        }
        // Before its first result a peer counts as up: that it passed is no news.
        let before = if matches!(self.cause, Cause::Awaited(_)) { State::Up } else { self.state };
        let after = if matches!(cause, Cause::Awaited(_)) { State::Up } else { state };
        let ordered = self.order.as_ref().filter(|_| cause == Cause::Operator);
        self.since = ordered.map_or(now.unix, |order| order.since);
        (self.state, self.cause) = (state, cause);
        (before != after).then_some(before)
    }

    /// Whether nobody took the peer out: only checks or failures can keep it from serving.
    pub(crate) fn is_candidate(&self) -> bool {
        !matches!(self.state, State::Maintenance | State::Down | State::Draining)
    }

    /// Whether a check that allows no traffic before has no result yet.
    pub(crate) fn awaits_check(&self, checks: &[Arc<Check>]) -> bool {
        let mut pairs = self.verdicts.iter().zip(checks);
        pairs.any(|(verdict, check)| verdict.passed.is_none() && check.default_down)
    }

    /// No member any more.
    pub(crate) fn remove(&self) {
        for seat in self.seats() {
            seat.state.bar(Bars::REMOVED);
        }
    }
}
