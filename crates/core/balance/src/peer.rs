//! One peer: what the configuration says about it, and what the traffic told.

use crate::Millis;
use crate::statistics::{Answers, Latency, Upgraded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use weir_model::ListenAddress;

/// One address of a `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    /// Address as printed in `$upstream_addr`: `host:port`, or `unix:/path`.
    pub name: String,
    /// First argument of the `server` line as written. The consistent hash places this text on its ring.
    pub server: String,
    /// Share of the load; 0 is read as 1.
    pub weight: u32,
    /// Percent of the weight that count at present, 1 to 100; others are read as the nearest of these.
    pub share: u8,
    /// Failures within `fail_timeout` that disable the peer; 0: it is never disabled.
    pub max_fails: u32,
    /// How long a disabled peer rests, milliseconds.
    pub fail_timeout: Millis,
    /// Limit of simultaneous requests of the whole process; 0: no limit.
    pub max_conns: u32,
    /// Used only when no primary peer can be.
    pub backup: bool,
    /// Never used.
    pub down: bool,
    /// Used only for requests that are bound to it by a hint.
    pub drain: bool,
    /// `route=` of the `server` line, by which `sticky route` names the peer.
    pub route: Option<String>,
    /// Where connections go.
    pub address: ListenAddress,
}

impl PeerSpec {
    /// A peer with the defaults of a bare `server NAME;` line; a name that is no `address:port` is taken for the path of
    /// a unix socket.
    pub fn new(name: impl Into<String>) -> PeerSpec {
        let name = name.into();
        let address = match name.parse() {
            Ok(address) => ListenAddress::Inet(address),
            Err(_) => ListenAddress::Unix(name.trim_start_matches("unix:").to_owned()),
        };
        PeerSpec {
            server: name.clone(),
            name,
            weight: 1,
            share: 100,
            max_fails: 1,
            fail_timeout: 10_000,
            max_conns: 0,
            backup: false,
            down: false,
            drain: false,
            route: None,
            address,
        }
    }
}

impl PeerSpec {
    /// Whether failures keep a peer of this kind out of selection at `now`.
    pub fn is_disabled(&self, state: &PeerState, now: Millis) -> bool {
        self.max_fails != 0
            && state.fails.load(Relaxed) >= self.max_fails
            && now.saturating_sub(state.checked.load(Relaxed)) <= self.fail_timeout
    }
}

/// What the configuration or a source says about a peer.
impl From<&weir_model::Peer> for PeerSpec {
    fn from(peer: &weir_model::Peer) -> PeerSpec {
        PeerSpec {
            name: peer.address.to_string(),
            server: peer.server.clone(),
            weight: peer.weight,
            share: peer.percent,
            max_fails: peer.max_fails,
            fail_timeout: peer.fail_timeout.0,
            max_conns: peer.max_conns,
            backup: peer.backup,
            down: peer.down,
            drain: peer.drain,
            route: peer.route.clone(),
            address: peer.address.clone(),
        }
    }
}

/// A peer in its group.
#[derive(Debug)]
pub struct Peer {
    pub spec: PeerSpec,
    pub state: Arc<PeerState>,
    /// Position in [`crate::Group::peers`]: primaries in the order of the file, then backups.
    pub index: usize,
    /// Its part of the load in the group's scale ([`crate::Group::with_states`]).
    pub(crate) weight: u32,
}

impl Peer {
    /// Whether failures keep the peer out of selection at `now`.
    pub fn is_disabled(&self, now: Millis) -> bool {
        self.spec.is_disabled(&self.state, now)
    }

    /// Whether `max_conns` is reached.
    pub fn is_full(&self) -> bool {
        self.spec.max_conns != 0 && self.state.conns.load(Relaxed) >= self.spec.max_conns
    }

    pub(crate) fn is_open(&self, now: Millis, waived: Bars) -> bool {
        !self.spec.drain
            && !self.state.bars().without(waived).any()
            && !self.spec.down
            && !self.is_disabled(now)
            && !self.is_full()
    }

    /// Whether a request that is bound to the peer may go there; bars in `waived` do not count.
    pub fn is_open_to_hint(&self, now: Millis, waived: Bars) -> bool {
        let waived = waived.with(Bars::DRAINING);
        !self.spec.down
            && !self.state.bars().without(waived).any()
            && !self.is_disabled(now)
            && !self.is_full()
    }

    /// Whether somebody took the peer out of selection, not a check: then its failed checks say nothing about the
    /// group.
    pub(crate) fn is_taken_out(&self) -> bool {
        const BY_HAND: Bars = Bars::DRAINING.with(Bars::MAINTENANCE).with(Bars::REMOVED);
        self.spec.down || self.spec.drain || self.state.bars().meets(BY_HAND)
    }

    /// In the scale of the group.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }
}

/// Reasons beside the configuration's to give a peer no requests: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bars(u32);

impl Bars {
    pub const NONE: Bars = Bars(0);
    /// An active check failed it, or it waits for its first result.
    pub const CHECK: Bars = Bars(1);
    /// Only requests that are bound to it by a hint.
    pub const DRAINING: Bars = Bars(2);
    /// Taken out by hand.
    pub const MAINTENANCE: Bars = Bars(4);
    /// Failed too often or answered too slowly.
    pub const EJECTED: Bars = Bars(8);
    /// No member any more; requests that began before may still know it.
    pub const REMOVED: Bars = Bars(16);

    #[must_use]
    pub const fn with(self, other: Bars) -> Bars {
        Bars(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Bars) -> Bars {
        Bars(self.0 & !other.0)
    }

    /// Whether it holds all of `other`.
    pub const fn has(self, other: Bars) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it holds any of `other`.
    #[must_use]
    pub const fn meets(self, other: Bars) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it holds any.
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

/// What all data threads know together about one peer. Every field is a count or a stamp of its own, so
/// relaxed order is enough: no field vouches for another.
#[derive(Debug, Default)]
// Lines of its own: two threads that use two peers do not disturb one another. In the order written here the first line
// holds what a selection reads and writes.
#[repr(C, align(64))]
pub struct PeerState {
    fails: AtomicU32,
    conns: AtomicU32,
    bars: AtomicU32,
    /// Results of active checks in a row.
    rise: AtomicU32,
    /// Last failure.
    accessed: AtomicU64,
    /// Last failure, or the first selection after `fail_timeout` had passed.
    checked: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    header_time: AtomicU64,
    response_time: AtomicU64,
    fall: AtomicU32,
    connect_errors: AtomicU64,
    timeouts: AtomicU64,
    pub(crate) answers: Answers,
}

impl PeerState {
    /// Failures that count at present against `max_fails`.
    pub fn fails(&self) -> u32 {
        self.fails.load(Relaxed)
    }

    /// Requests that run at present.
    pub fn conns(&self) -> u32 {
        self.conns.load(Relaxed)
    }

    /// Selections since the peer is known.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Failed attempts since the peer is known.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Moving average of the time to the response header, milliseconds; kept with `least_time` only.
    pub fn header_time(&self) -> Millis {
        self.header_time.load(Relaxed)
    }

    /// Moving average of the time to the last byte, milliseconds; kept with `least_time` only.
    pub fn response_time(&self) -> Millis {
        self.response_time.load(Relaxed)
    }

    /// Heads of answers by their class, 1xx to 5xx; of 1xx the final one, 101.
    pub fn answers(&self) -> [u64; 5] {
        self.answers.classes()
    }

    /// How long they took.
    pub fn latency(&self) -> Latency {
        self.answers.latency()
    }

    /// Connections that were refused or did not come in time.
    pub fn connect_errors(&self) -> u64 {
        self.connect_errors.load(Relaxed)
    }

    /// Requests that were not taken or not answered in time, on connections that stood.
    pub fn timeouts(&self) -> u64 {
        self.timeouts.load(Relaxed)
    }

    /// Of the requests that run, those that became upgraded connections (RFC 9110, section 7.8).
    pub fn upgraded(&self) -> u32 {
        self.answers.upgraded.load(Relaxed)
    }

    /// The head of an answer came, `time` after the request was sent.
    pub fn count_answer(&self, status: u16, time: Duration) {
        self.answers.count(status, time);
    }

    /// There was no connection.
    pub fn count_connect_error(&self) {
        self.connect_errors.fetch_add(1, Relaxed);
    }

    /// The request was not taken or not answered in time.
    pub fn count_timeout(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    /// A running request becomes an upgraded connection.
    #[must_use]
    pub fn upgrade(self: Arc<Self>) -> Upgraded {
        self.answers.upgraded.fetch_add(1, Relaxed);
        Upgraded(self)
    }

    pub fn bars(&self) -> Bars {
        Bars(self.bars.load(Relaxed))
    }

    /// Puts up bars; seen by the next selection on every thread.
    pub fn bar(&self, bars: Bars) {
        self.bars.fetch_or(bars.0, Relaxed);
    }

    /// Takes bars away.
    pub fn unbar(&self, bars: Bars) {
        self.bars.fetch_and(!bars.0, Relaxed);
    }

    /// Active checks that passed in a row.
    pub fn rise(&self) -> u32 {
        self.rise.load(Relaxed)
    }

    /// Active checks that failed in a row.
    pub fn fall(&self) -> u32 {
        self.fall.load(Relaxed)
    }

    /// What the checks counted; the one who runs them says it.
    pub fn count_checks(&self, rise: u32, fall: u32) {
        self.rise.store(rise, Relaxed);
        self.fall.store(fall, Relaxed);
    }

    pub(crate) fn checked(&self) -> Millis {
        self.checked.load(Relaxed)
    }

    /// Takes one place under `limit` (0: no limit). False when another thread took the last one.
    pub(crate) fn acquire(&self, limit: u32) -> bool {
        if limit == 0 {
            self.conns.fetch_add(1, Relaxed);
        } else {
            let below = |conns| (conns < limit).then_some(conns + 1);
            if self.conns.fetch_update(Relaxed, Relaxed, below).is_err() {
                return false;
            }
        }
        self.requests.fetch_add(1, Relaxed);
        true
    }

    /// Gives the place back. A count that is lost stays at zero, so that a peer cannot look full for ever.
    pub(crate) fn relinquish(&self) {
        let lower = |conns: u32| conns.checked_sub(1);
        let held = self.conns.fetch_update(Relaxed, Relaxed, lower);
        debug_assert!(held.is_ok(), "release without pick");
    }

    /// A selection: the first after `fail_timeout` is the probe that may clear the failures, and until its
    /// result is known the peer rests again.
    pub(crate) fn check(&self, fail_timeout: Millis, now: Millis) {
        if now.saturating_sub(self.checked.load(Relaxed)) > fail_timeout {
            self.checked.store(now, Relaxed);
        }
    }

    /// Counts a failure; returns how many count now.
    pub(crate) fn fail(&self, now: Millis) -> u32 {
        self.failures.fetch_add(1, Relaxed);
        self.accessed.store(now, Relaxed);
        self.checked.store(now, Relaxed);
        self.fails.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// A failure of a peer that has no substitute: seen in the totals, without consequence.
    pub(crate) fn fail_alone(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// A good answer clears the failures if the peer was probed after the last of them.
    pub(crate) fn pass(&self) {
        if self.fails.load(Relaxed) != 0 && self.accessed.load(Relaxed) < self.checked.load(Relaxed) {
            self.fails.store(0, Relaxed);
        }
    }

    pub(crate) fn forgive(&self) {
        if self.fails.load(Relaxed) != 0 {
            self.fails.store(0, Relaxed);
        }
    }

    pub(crate) fn learn_header_time(&self, time: Millis) {
        let average = moving_average(self.header_time.load(Relaxed), time);
        self.header_time.store(average, Relaxed);
    }

    pub(crate) fn learn_response_time(&self, time: Millis) {
        let average = moving_average(self.response_time.load(Relaxed), time);
        self.response_time.store(average, Relaxed);
    }
}

/// Exponential average with a twentieth for the newcomer, rounded to the nearest; the first value is taken whole.
pub(crate) fn moving_average(average: Millis, value: Millis) -> Millis {
    if average == 0 {
        return value;
    }
    let sum = u128::from(value) * 5 + u128::from(average) * 95 + 50;
    u64::try_from(sum / 100).unwrap_or(u64::MAX)
}
