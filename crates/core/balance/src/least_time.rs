//! Shortest expected time by weight; among equals, smooth weighted round robin.

use crate::Millis;
use crate::group::{List, Method};
use crate::least_conn::pick_lightest;
use crate::peer::{Peer, PeerState, moving_average};
use crate::selector::{Outcome, Times, Turn};

/// Times above this are equally bad, and only the running requests decide.
const SLOWEST: Millis = 5000;
/// Times within one such step are equally good.
const STEP: Millis = 20;

/// The requests that one thread has with a peer and that wait for their answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inflight {
    requests: u64,
    /// Time that they spent together up to `changed`.
    spent: Millis,
    changed: Millis,
    /// Moving average of how long they wait.
    average: Millis,
}

impl Inflight {
    pub(crate) fn begin(&mut self, now: Millis) {
        self.spent = self.spent_by(now);
        self.changed = now;
        self.requests += 1;
    }

    /// One got its answer after `time`: what it spent goes with it.
    pub(crate) fn end(&mut self, time: Millis, now: Millis) {
        if self.requests <= 1 {
            self.spent = 0;
        } else {
            self.spent = self.spent_by(now).saturating_sub(time);
            self.changed = now;
        }
        self.requests = self.requests.saturating_sub(1);
    }

    fn spent_by(&self, now: Millis) -> Millis {
        let waited = now.saturating_sub(self.changed);
        self.spent.saturating_add(waited.saturating_mul(self.requests))
    }

    fn observe(&mut self, now: Millis) {
        if let Some(each) = self.spent.checked_div(self.requests) {
            let waits = each.saturating_add(now.saturating_sub(self.changed));
            self.average = moving_average(self.average, waits);
        }
    }
}

pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List) -> Option<usize> {
    let first = |turn: &mut Turn<'a>, index: usize| {
        let now = turn.now;
        turn.inflight[index].observe(now);
        expected(turn, index)
    };
    let again = |turn: &mut Turn<'a>, index: usize| expected(turn, index);
    pick_lightest(turn, list, first, again)
}

/// Time that the peer needs for what it runs and for one request more.
fn expected(turn: &Turn<'_>, index: usize) -> u64 {
    let peer = turn.peer(index);
    let mut time = match turn.group.method() {
        Method::LeastTime { last_byte: true, .. } => peer.state.response_time(),
        _ => peer.state.header_time(),
    };
    time = decayed(peer, time, turn.now);
    let inflight = &turn.inflight[index];
    if inflight.requests > 0 {
        time = time.max(inflight.average);
    }
    if time > SLOWEST {
        time = SLOWEST;
    } else {
        time += STEP - time % STEP;
    }
    time.saturating_mul(1 + u64::from(peer.state.conns()))
}

/// A peer that was not asked for long becomes better by half each `fail_timeout`, so that a slow one gets a new
/// chance. Whole seconds, for with `fail_timeout=0` the half-time is a second.
fn decayed(peer: &Peer, time: Millis, now: Millis) -> Millis {
    let idle = now.saturating_sub(peer.state.checked()) / 1000;
    let rest = peer.spec.fail_timeout / 1000;
    if idle <= rest {
        return time;
    }
    let halves = u32::try_from(idle / (rest + 1)).unwrap_or(u32::MAX);
    time.checked_shr(halves).unwrap_or(0)
}

/// Only answers teach: an attempt that failed fast must not make its peer look quick.
pub(crate) fn learn(method: Method, state: &PeerState, outcome: Outcome, times: Times) {
    let Some(header) = times.header else { return };
    if matches!(outcome, Outcome::Failure | Outcome::NextUncounted) {
        return;
    }
    state.learn_response_time(times.response);
    let learnt_already = Method::LeastTime { last_byte: false, inflight: true };
    if method != learnt_already {
        state.learn_header_time(header);
    }
}
