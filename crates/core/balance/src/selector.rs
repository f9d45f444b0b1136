//! One thread's hand on a group: dispatch to the algorithms, and the accounting around them.

use crate::group::{Group, List, Method};
use crate::least_time::Inflight;
use crate::peer::{Bars, Peer, PeerState};
use crate::random::Dice;
use crate::round_robin::{Change, Weights};
use crate::{Millis, Tried, hash, ip_hash, least_conn, least_time, random, round_robin};
use std::collections::HashMap;
use std::sync::Arc;

/// How an attempt ended, as far as its peer is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// Connection error, timeout, broken answer or a refused status: counts against the peer.
    Failure,
    /// A 403 or 404 that moved on to another peer. The peer lives, so it counts as an answer.
    NextUncounted,
    /// Says nothing about the peer: an idle connection had gone stale, or the client left.
    Neutral,
}

/// Durations of one attempt, for `least_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// To the response header; None if it never came.
    pub header: Option<Millis>,
    /// To the last byte, or to the end of the attempt.
    pub response: Millis,
}

/// One per data thread and upstream. Running weights and dice belong to the thread, as they belong to a worker in nginx;
/// failures and running requests are the process's.
///
/// Its group may change at any time ([`Selector::follow`]). Attempts that run then end where they began: the index that
/// [`Selector::pick`] gave is known together with the [`Tried`] of its request.
#[derive(Debug)]
pub struct Selector {
    group: Arc<Group>,
    /// How many groups there were, this one included.
    epoch: u64,
    weights: Vec<Weights>,
    inflight: Vec<Inflight>,
    dice: Dice,
    /// All peers had failed their checks at the last look.
    panic: bool,
    /// Peers of former groups at which attempts of this thread still run, by epoch and index.
    leavers: HashMap<(u64, usize), Leaver>,
}

/// What is still to be known of a peer of a former group.
#[derive(Debug)]
struct Leaver {
    state: Arc<PeerState>,
    max_fails: u32,
    /// It was the only peer.
    single: bool,
    running: u32,
}

/// One choice under way, as the algorithms see it.
pub(crate) struct Turn<'a> {
    pub(crate) group: &'a Group,
    pub(crate) weights: &'a mut [Weights],
    pub(crate) inflight: &'a mut [Inflight],
    pub(crate) dice: &'a mut Dice,
    pub(crate) tried: &'a mut Tried,
    pub(crate) hint: Option<usize>,
    pub(crate) now: Millis,
    /// Bars that do not count.
    pub(crate) waived: Bars,
}

impl Selector {
    /// `seed` decides the throws of `random`; give each thread another.
    pub fn new(group: Arc<Group>, seed: u64) -> Selector {
        let weights = group.peers().iter().map(Weights::new).collect();
        let inflight = inflight_of(&group);
        let (dice, leavers) = (Dice::new(seed), HashMap::new());
        Selector { group, epoch: 1, weights, inflight, dice, panic: false, leavers }
    }

    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Goes on with another list of peers. What is known of a peer that stays is carried over, so that a list that
    /// says the same again changes nothing. `places` is what [`Group::places_in`] says of the two.
    pub fn follow(&mut self, group: Arc<Group>, places: &[Option<u32>]) {
        self.leave();
        let mut weights = Vec::with_capacity(group.peers().len());
        let mut inflight = inflight_of(&group);
        let scale = Change { from: self.group.scale(), to: group.scale() };
        for (index, peer) in group.peers().iter().enumerate() {
            let place = places.get(index).copied().flatten().map(|place| place as usize);
            let old =
                place.and_then(|place| Some((self.weights.get(place)?, self.group.peers().get(place)?)));
            weights.push(old.map_or_else(|| Weights::new(peer), |(known, old)| known.kept(peer, old, scale)));
            if let (Some(new), Some(known)) =
                (inflight.get_mut(index), place.and_then(|place| self.inflight.get(place)))
            {
                *new = *known;
            }
        }
        (self.group, self.weights, self.inflight) = (group, weights, inflight);
        self.epoch += 1;
    }

    /// Keeps of the present group what its running attempts need, and nothing else.
    fn leave(&mut self) {
        let single = self.group.is_single();
        for (index, (weights, peer)) in self.weights.iter().zip(self.group.peers()).enumerate() {
            if weights.running > 0 {
                let (state, running) = (Arc::clone(&peer.state), weights.running);
                let leaver = Leaver { state, max_fails: peer.spec.max_fails, single, running };
                self.leavers.insert((self.epoch, index), leaver);
            }
        }
    }

    /// Puts what a request has tried into terms of the present group.
    pub fn enter(&self, request: &mut Tried) {
        if request.epoch != self.epoch {
            request.enter(self.epoch, &self.group);
        }
    }

    /// Chooses the peer for the next attempt of a request and counts the attempt among its running ones; each
    /// `Some` wants one [`Selector::release`]. None: no live upstreams.
    ///
    /// `key` is the hash key, or for `ip_hash` the client's address (4 or 16 bytes; empty for a unix socket); the
    /// same at each attempt. `hint` is the peer that stickiness prefers: taken unless it is down, barred (draining does
    /// not count), disabled, full or tried already.
    pub fn pick(
        &mut self,
        request: &mut Tried,
        key: &[u8],
        hint: Option<usize>,
        now: Millis,
    ) -> Option<usize> {
        self.enter(request);
        if self.panic {
            self.panic = self.group.is_in_panic();
        }
        let mark = request.mark();
        self.grip(request, key, hint, now, self.waived()).or_else(|| {
            request.go_back(mark);
            self.last_resort(request, key, hint, now)
        })
    }

    /// Whether checks failed all peers at the last look, and are waived ([`Group::is_in_panic`]).
    pub fn is_in_panic(&self) -> bool {
        self.panic
    }

    /// Looks whether the panic is over, for groups that nobody asks anything of.
    pub fn look(&mut self) {
        self.panic = self.panic && self.group.is_in_panic();
    }

    /// Bars that do not count at present.
    pub fn waived(&self) -> Bars {
        if self.panic { Bars::CHECK } else { Bars::NONE }
    }

    /// No peer can be had by the rules. If checks failed all of them they do not count; and if members of the group were
    /// removed, the list that says who stands in for them is still on its way to this thread.
    #[cold]
    fn last_resort(
        &mut self,
        request: &mut Tried,
        key: &[u8],
        hint: Option<usize>,
        now: Millis,
    ) -> Option<usize> {
        let mark = request.mark();
        if !self.panic && self.group.is_in_panic() {
            self.panic = true;
            if let Some(index) = self.grip(request, key, hint, now, Bars::CHECK) {
                return Some(index);
            }
            request.go_back(mark);
        }
        if !self.group.peers().iter().any(|peer| peer.state.bars().has(Bars::REMOVED)) {
            return None;
        }
        self.grip(request, key, hint, now, self.waived().with(Bars::REMOVED))
    }

    fn grip(
        &mut self,
        request: &mut Tried,
        key: &[u8],
        hint: Option<usize>,
        now: Millis,
        waived: Bars,
    ) -> Option<usize> {
        loop {
            let mut turn = Turn {
                group: &self.group,
                weights: &mut self.weights,
                inflight: &mut self.inflight,
                dice: &mut self.dice,
                tried: request,
                hint,
                now,
                waived,
            };
            let index = turn.choose(key)?;
            // Between the look and the grip another thread may have taken the last place under max_conns.
            if self.claim(request, index, now) {
                return Some(index);
            }
        }
    }

    fn claim(&mut self, request: &mut Tried, index: usize, now: Millis) -> bool {
        let spec = &self.group.peers()[index].spec;
        let state = &self.group.peers()[index].state;
        if !state.acquire(spec.max_conns) {
            return false;
        }
        self.weights[index].running += 1;
        if self.group.is_single() {
            return true;
        }
        request.insert(index);
        state.check(spec.fail_timeout, now);
        if let Method::LeastTime { inflight: true, .. } = self.group.method() {
            self.inflight[index].begin(now);
            request.inflight = true;
        }
        true
    }

    /// How many attempts a request has left after `made` of them, the last one at `peer`. A change of the group brings
    /// those that its newcomers are worth.
    pub fn tries_left(&self, request: &Tried, peer: usize, made: u32) -> u32 {
        if request.epoch == self.epoch || request.epoch == 0 {
            return self.group.tries().saturating_sub(made);
        }
        let last = self.leavers.get(&(request.epoch, peer)).map(|leaver| &leaver.state);
        let untried = |peer: &&Peer| {
            let mut tried = request.failed.iter().chain(last);
            !peer.spec.down && !peer.spec.drain && !tried.any(|state| Arc::ptr_eq(state, &peer.state))
        };
        u32::try_from(self.group.peers().iter().filter(untried).count()).unwrap_or(u32::MAX)
    }

    /// Whether another peer than those that the request had could be chosen now.
    pub fn has_other(&self, request: &Tried, now: Millis) -> bool {
        let tried = |peer: &Peer| {
            let here = request.epoch == self.epoch && request.contains(peer.index);
            here || request.failed.iter().any(|state| Arc::ptr_eq(state, &peer.state))
        };
        self.group.peers().iter().any(|peer| peer.is_open(now, self.waived()) && !tried(peer))
    }

    /// What is known of the peer that a request picked last and has not given back.
    pub fn state(&self, request: &Tried, peer: usize) -> Option<&Arc<PeerState>> {
        if request.epoch == self.epoch {
            self.group.peers().get(peer).map(|peer| &peer.state)
        } else {
            self.leavers.get(&(request.epoch, peer)).map(|leaver| &leaver.state)
        }
    }

    /// Bars of the peer that a request picked last; [`Bars::REMOVED`] once it is no member any more.
    pub fn bars(&self, request: &Tried, peer: usize) -> Bars {
        if request.epoch == self.epoch {
            return self.group.peers().get(peer).map_or(Bars::REMOVED, |peer| peer.state.bars());
        }
        let leaver = self.leavers.get(&(request.epoch, peer)).map(|leaver| &leaver.state);
        match leaver.filter(|state| self.group.position(state).is_some()) {
            Some(state) => state.bars(),
            None => Bars::REMOVED,
        }
    }

    /// Ends an attempt that was begun with the present group. Returns true when this failure leaves the peer disabled
    /// (nginx logs then, as a warning: upstream server temporarily disabled).
    pub fn release(&mut self, peer: usize, outcome: Outcome, now: Millis) -> bool {
        let (Some(found), Some(weights)) = (self.group.peers().get(peer), self.weights.get_mut(peer)) else {
            debug_assert!(false, "peer of another group");
            return false;
        };
        weights.running = weights.running.saturating_sub(1);
        let single = self.group.is_single();
        if outcome == Outcome::Failure && !single {
            weights.punish(found);
        }
        count(&found.state, found.spec.max_fails, single, outcome, now)
    }

    /// [`Selector::release`] of an attempt that a former group may have begun, with the durations that `least_time`
    /// learns from.
    pub fn release_timed(
        &mut self,
        request: &mut Tried,
        peer: usize,
        outcome: Outcome,
        times: Times,
        now: Millis,
    ) -> bool {
        let learns = matches!(self.group.method(), Method::LeastTime { .. });
        if learns || matches!(outcome, Outcome::Failure | Outcome::NextUncounted) {
            self.note(request, peer, outcome, times, now);
        }
        if request.epoch == self.epoch {
            return self.release(peer, outcome, now);
        }
        self.release_leaver((request.epoch, peer), outcome, now)
    }

    /// What an attempt tells beside its end: that its request had the peer, and how long it took.
    fn note(&mut self, request: &mut Tried, peer: usize, outcome: Outcome, times: Times, now: Millis) {
        let Some(state) = self.state_of(request, peer) else { return };
        if let Method::LeastTime { .. } = self.group.method() {
            if std::mem::take(&mut request.inflight) {
                self.end_inflight(request, peer, &state, times.response, now);
            }
            least_time::learn(self.group.method(), &state, outcome, times);
        }
        if matches!(outcome, Outcome::Failure | Outcome::NextUncounted) {
            request.failed.push(state);
        }
    }

    fn release_leaver(&mut self, key: (u64, usize), outcome: Outcome, now: Millis) -> bool {
        let Some(leaver) = self.leavers.get_mut(&key) else { return false };
        leaver.running = leaver.running.saturating_sub(1);
        let disabled = count(&leaver.state, leaver.max_fails, leaver.single, outcome, now);
        if outcome == Outcome::Failure
            && !leaver.single
            && let Some(index) = self.group.position(&leaver.state)
        {
            self.weights[index].punish(&self.group.peers()[index]);
        }
        if leaver.running == 0 {
            self.leavers.remove(&key);
        }
        disabled
    }

    /// What is known of the peer that the request picked last.
    fn state_of(&self, request: &Tried, peer: usize) -> Option<Arc<PeerState>> {
        let state = self.state(request, peer);
        debug_assert!(state.is_some(), "peer of another group");
        state.cloned()
    }

    fn end_inflight(
        &mut self,
        request: &Tried,
        peer: usize,
        state: &Arc<PeerState>,
        time: Millis,
        now: Millis,
    ) {
        let index = if request.epoch == self.epoch { Some(peer) } else { self.group.position(state) };
        if let Some(inflight) = index.and_then(|index| self.inflight.get_mut(index)) {
            inflight.end(time, now);
        }
    }

    /// The response header came, `time` after the attempt began. Only `least_time header inflight` needs to know.
    pub fn header_received(&mut self, request: &mut Tried, peer: usize, time: Millis, now: Millis) {
        let wanted = Method::LeastTime { last_byte: false, inflight: true };
        if self.group.method() != wanted {
            return;
        }
        if let Some(state) = self.state_of(request, peer) {
            state.learn_header_time(time);
            if std::mem::take(&mut request.inflight) {
                self.end_inflight(request, peer, &state, time, now);
            }
        }
    }
}

fn inflight_of(group: &Group) -> Vec<Inflight> {
    match group.method() {
        Method::LeastTime { .. } => vec![Inflight::default(); group.peers().len()],
        _ => Vec::new(),
    }
}

/// Enters the end of an attempt into the peer's state; true when the peer is disabled by it.
fn count(state: &PeerState, max_fails: u32, single: bool, outcome: Outcome, now: Millis) -> bool {
    state.relinquish();
    if single {
        if outcome == Outcome::Failure {
            state.fail_alone();
        }
        state.forgive();
        return false;
    }
    match outcome {
        Outcome::Failure => {
            let fails = state.fail(now);
            max_fails != 0 && fails >= max_fails
        }
        Outcome::Success | Outcome::NextUncounted => {
            state.pass();
            false
        }
        Outcome::Neutral => false,
    }
}

impl<'a> Turn<'a> {
    fn choose(&mut self, key: &[u8]) -> Option<usize> {
        if self.group.is_single() {
            return self.single();
        }
        match self.group.method() {
            Method::RoundRobin => self.through_lists(round_robin::pick),
            Method::LeastConn => self.through_lists(least_conn::pick),
            Method::LeastTime { .. } => self.through_lists(least_time::pick),
            Method::IpHash => self.or_round_robin(|turn, list| ip_hash::pick(turn, list, key)),
            Method::Hash { consistent: false } if !key.is_empty() => {
                self.or_round_robin(|turn, list| hash::pick(turn, list, key))
            }
            Method::Hash { consistent: true } if !key.is_empty() => {
                self.or_round_robin(|turn, list| hash::pick_consistent(turn, list, key))
            }
            Method::Hash { .. } => self.through_lists(round_robin::pick),
            Method::Random { two: false } => self.or_round_robin(random::pick),
            Method::Random { two: true } => self.or_round_robin(random::pick_two),
        }
    }

    /// The one peer: failures do not count, and it is taken again and again.
    fn single(&mut self) -> Option<usize> {
        let peer = &self.group.peers()[0];
        let barred = peer.state.bars().without(self.waived.with(Bars::DRAINING)).any();
        let open = !peer.spec.down && !peer.is_full() && !barred;
        let drains = peer.spec.drain || peer.state.bars().has(Bars::DRAINING);
        (open && (!drains || self.hint == Some(0))).then_some(0)
    }

    /// The primaries; if they give nothing the backups, and for this request nothing else from then on.
    fn through_lists(&mut self, pick: fn(&mut Turn<'a>, &'a List) -> Option<usize>) -> Option<usize> {
        let group = self.group;
        let chosen = pick(self, group.list(self.tried.backup));
        if chosen.is_some() || self.tried.backup || group.list(true).len() == 0 {
            return chosen;
        }
        self.tried.backup = true;
        pick(self, group.list(true))
    }

    /// A method that gives up after too many misses, and then leaves the choice to round robin. Such a method has
    /// no sense of its own for one peer, and none for backups, which the configuration refuses beside it.
    fn or_round_robin(
        &mut self,
        pick: impl FnOnce(&mut Turn<'a>, &'a List) -> Option<usize>,
    ) -> Option<usize> {
        let group = self.group;
        let list = group.list(false);
        if !self.tried.gave_up() && !self.tried.backup && list.len() > 1 {
            let chosen = self.hinted(list).or_else(|| pick(self, list));
            if chosen.is_some() {
                return chosen;
            }
        }
        self.through_lists(round_robin::pick)
    }

    /// Whether a hashed choice of a peer holds: of the keys that mean it a peer takes its share, always the same ones. The
    /// error is where a key that it does not take goes on, for rehashes of keys of one length all lead to one peer.
    pub(crate) fn takes(&self, index: usize, key: &[u8]) -> Result<(), u32> {
        if self.group.scale() == 1 {
            return Ok(());
        }
        // Knuth's multiplicative hash: bits that have not chosen the peer.
        let mixed = crc32fast::hash(key).wrapping_mul(2_654_435_761);
        let share = u32::from(self.peer(index).spec.share);
        if (mixed >> 16) % 100 < share { Ok(()) } else { Err(mixed >> 8) }
    }

    pub(crate) fn peer(&self, index: usize) -> &'a Peer {
        &self.group.peers()[index]
    }

    /// Whether the peer stands for selection in this turn.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        !self.tried.contains(index) && self.peer(index).is_open(self.now, self.waived)
    }

    /// The peer that stickiness prefers, if it is in the list and can be had.
    pub(crate) fn hinted(&self, list: &List) -> Option<usize> {
        self.hint.filter(|&index| {
            list.range.contains(&index)
                && !self.tried.contains(index)
                && self.peer(index).is_open_to_hint(self.now, self.waived)
        })
    }

    /// One step of smooth weighted round robin for one peer: raises its running weight and returns by how much.
    pub(crate) fn raise(&mut self, index: usize) -> i64 {
        self.weights[index].raise(self.group.peers()[index].weight(), self.group.scale())
    }
}
