//! One thread's hand on a group: dispatch to the algorithms, and the accounting around them.

use crate::group::{Group, List, Method};
use crate::least_time::Inflight;
use crate::peer::{Bars, Peer};
use crate::random::Dice;
use crate::round_robin::Weights;
use crate::{Millis, Tried, hash, ip_hash, least_conn, least_time, random, round_robin};
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

/// One per data thread and group. Running weights and dice belong to the thread, as they belong to a worker in nginx;
/// failures and running requests are the process's.
#[derive(Debug)]
pub struct Selector {
    group: Arc<Group>,
    weights: Vec<Weights>,
    inflight: Vec<Inflight>,
    dice: Dice,
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
}

impl Selector {
    /// `seed` decides the throws of `random`; give each thread another.
    pub fn new(group: Arc<Group>, seed: u64) -> Selector {
        let weights = group.peers().iter().map(Weights::new).collect();
        let inflight = match group.method() {
            Method::LeastTime { .. } => vec![Inflight::default(); group.peers().len()],
            _ => Vec::new(),
        };
        Selector { group, weights, inflight, dice: Dice::new(seed) }
    }

    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// Chooses the peer for the next attempt of a request and counts the attempt among its running ones; each
    /// `Some` wants one [`Selector::release`]. None: no live upstreams.
    ///
    /// `key` is the hash key, or for `ip_hash` the client's address (4 or 16 bytes; empty for a unix socket); the
    /// same at each attempt. `hint` is the peer that stickiness prefers: taken unless it is down, disabled, full or
    /// tried already.
    pub fn pick(
        &mut self,
        request: &mut Tried,
        key: &[u8],
        hint: Option<usize>,
        now: Millis,
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

    /// Ends an attempt. Returns true when this failure leaves the peer disabled (nginx logs then, as a warning:
    /// upstream server temporarily disabled).
    pub fn release(&mut self, peer: usize, outcome: Outcome, now: Millis) -> bool {
        let Some(Peer { spec, state, .. }) = self.group.peers().get(peer) else {
            debug_assert!(false, "peer of another group");
            return false;
        };
        state.relinquish();
        if self.group.is_single() {
            if outcome == Outcome::Failure {
                state.fail_alone();
            }
            state.forgive();
            return false;
        }
        match outcome {
            Outcome::Failure => {
                let fails = state.fail(now);
                self.weights[peer].punish(spec);
                spec.max_fails != 0 && fails >= spec.max_fails
            }
            Outcome::Success | Outcome::NextUncounted => {
                state.pass();
                false
            }
            Outcome::Neutral => false,
        }
    }

    /// [`Selector::release`] with the durations that `least_time` learns from; the same for the other methods.
    pub fn release_timed(
        &mut self,
        request: &mut Tried,
        peer: usize,
        outcome: Outcome,
        times: Times,
        now: Millis,
    ) -> bool {
        if let (Method::LeastTime { .. }, Some(known)) = (self.group.method(), self.group.peers().get(peer)) {
            if std::mem::take(&mut request.inflight) {
                self.inflight[peer].end(times.response, now);
            }
            least_time::learn(self.group.method(), &known.state, outcome, times);
        }
        self.release(peer, outcome, now)
    }

    /// The response header came, `time` after the attempt began. Only `least_time header inflight` needs to know.
    pub fn header_received(&mut self, request: &mut Tried, peer: usize, time: Millis, now: Millis) {
        let wanted = Method::LeastTime { last_byte: false, inflight: true };
        if self.group.method() != wanted {
            return;
        }
        if let Some(known) = self.group.peers().get(peer) {
            known.state.learn_header_time(time);
            if std::mem::take(&mut request.inflight) {
                self.inflight[peer].end(time, now);
            }
        }
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
        let open = !peer.spec.down && !peer.is_full() && !peer.state.bars().without(Bars::DRAINING).any();
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

    pub(crate) fn peer(&self, index: usize) -> &'a Peer {
        &self.group.peers()[index]
    }

    /// Whether the peer stands for selection in this turn.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        !self.tried.contains(index) && self.peer(index).is_open(self.now, Bars::NONE)
    }

    /// The peer that stickiness prefers, if it is in the list and can be had.
    pub(crate) fn hinted(&self, list: &List) -> Option<usize> {
        self.hint.filter(|&index| {
            list.range.contains(&index)
                && !self.tried.contains(index)
                && self.peer(index).is_open_to_hint(self.now, Bars::NONE)
        })
    }

    /// One step of smooth weighted round robin for one peer: raises its running weight and returns by how much.
    pub(crate) fn raise(&mut self, index: usize) -> i64 {
        self.weights[index].raise(self.group.peers()[index].weight())
    }
}
