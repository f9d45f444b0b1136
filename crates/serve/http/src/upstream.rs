//! One upstream on one thread: its peers at present, the hand that chooses among them, and its idle connections.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use weir_balance::{Bars, Group, Millis, Outcome, Peer, PeerState, Selector, Times, Tried};
use weir_model::{Keepalive, ListenAddress, Upstream};

use crate::membership::{Membership, Parked};
use crate::proxy::pool::{Link, Pool};
use crate::proxy::sticky::Sticky;

/// Lives as long as some generation has the upstream: a reload changes what it holds, and so does whoever publishes
/// other peers. Requests that run keep what they picked.
pub(crate) struct UpstreamLive {
    pub(crate) name: Rc<str>,
    pool: Pool,
    present: RefCell<Present>,
    /// How long requests wait for a peer.
    park: Cell<Duration>,
    /// Rung when a peer may have come back.
    bell: Notify,
}

struct Present {
    membership: Arc<Membership>,
    selector: Selector,
    /// `$upstream_addr` of each peer that was picked before.
    names: Vec<Option<Rc<str>>>,
}

/// A peer that was chosen for an attempt.
pub(crate) struct Picked {
    /// In the group at that time, which the request's [`Tried`] knows.
    pub(crate) index: usize,
    pub(crate) name: Rc<str>,
    pub(crate) address: ListenAddress,
    /// Server id for `sticky`.
    pub(crate) server: Option<Arc<[u8]>>,
}

/// A request's choice so far.
#[derive(Default)]
pub(crate) struct Choice {
    pub(crate) tried: Tried,
    pub(crate) key: Vec<u8>,
    /// What `sticky` found in the request.
    pub(crate) wish: Vec<u8>,
}

/// Bars that keep requests without a hint away for longer than a moment: their idle connections are of no use.
const OUT: Bars = Bars::DRAINING.with(Bars::MAINTENANCE).with(Bars::REMOVED);
/// Bars that end the wait for a connection.
const LOST: Bars = Bars::CHECK.with(Bars::MAINTENANCE).with(Bars::REMOVED);

impl UpstreamLive {
    pub(crate) fn new(upstream: &Upstream, membership: Arc<Membership>, seed: u64) -> Self {
        let selector = Selector::new(Arc::clone(&membership.group), seed);
        let names = vec![None; membership.group.peers().len()];
        Self {
            name: upstream.name.as_str().into(),
            pool: Pool::default(),
            present: RefCell::new(Present { membership, selector, names }),
            park: Cell::default(),
            bell: Notify::new(),
        }
    }

    pub(crate) fn set_rules(&self, upstream: &Upstream) {
        self.park.set(upstream.park.duration());
        self.pool.set_limits(if upstream.implicit {
            Keepalive { connections: 0, ..upstream.keepalive }
        } else {
            upstream.keepalive
        });
    }

    /// Goes on with other peers. Idle connections to those that left are closed.
    pub(crate) fn follow(&self, membership: Arc<Membership>) {
        let mut present = self.present.borrow_mut();
        if Arc::ptr_eq(&present.membership, &membership) {
            return;
        }
        let places = membership.group.places_in(&present.membership.group);
        present.selector.follow(Arc::clone(&membership.group), &places);
        let mut names: Vec<Option<Rc<str>>> = vec![None; places.len()];
        for ((name, place), peer) in names.iter_mut().zip(&places).zip(membership.group.peers()) {
            let kept = place.and_then(|place| present.names.get_mut(place as usize)).and_then(Option::take);
            *name = kept.filter(|kept| **kept == *peer.spec.name);
        }
        present.names = names;
        self.pool.close(&left(&present.membership.group, &membership.group, &places));
        present.membership = membership;
        drop(present);
        self.wake();
    }

    /// Lets requests that wait for a peer look again.
    pub(crate) fn wake(&self) {
        self.bell.notify_waiters();
    }

    /// Rings when a peer may have come back.
    pub(crate) fn bell(&self) -> &Notify {
        &self.bell
    }

    /// How long a request waits for a peer at most; zero: not at all.
    pub(crate) fn patience(&self) -> Duration {
        self.park.get()
    }

    /// A place among the requests that wait; None: there are as many as may be.
    pub(crate) fn park(&self) -> Option<Parked> {
        self.present.borrow().membership.park()
    }

    /// Whether a request finds nobody because of what operators, sources or checks did, and not because peers failed it.
    pub(crate) fn is_shut(&self, choice: &Choice, sticky: Option<&Sticky>, now: Millis) -> bool {
        const BY_SOMEBODY: Bars =
            Bars::CHECK.with(Bars::DRAINING).with(Bars::MAINTENANCE).with(Bars::REMOVED);
        let Present { membership, selector, .. } = &*self.present.borrow();
        let group = &membership.group;
        if selector.has_other(&choice.tried, now) || group.is_in_panic() {
            return false;
        }
        let bound = |sticky: &Sticky| {
            let open = |peer: &Peer| peer.is_open_to_hint(now, selector.waived());
            let hinted = sticky.hint(&choice.wish, membership, now, open);
            hinted.and_then(|index| group.peers().get(index)).is_some_and(open)
        };
        let out = |peer: &Peer| peer.spec.drain || peer.state.bars().meets(BY_SOMEBODY);
        (group.peers().is_empty() || group.peers().iter().any(out)) && !sticky.is_some_and(bound)
    }

    pub(crate) fn group(&self) -> Arc<Group> {
        Arc::clone(&self.present.borrow().membership.group)
    }

    /// Chooses a peer; None: no live upstreams. What the log has to say about the group is given to `note`.
    pub(crate) fn pick(
        &self,
        choice: &mut Choice,
        sticky: Option<&Sticky>,
        now: Millis,
        note: impl FnOnce(String),
    ) -> Option<Picked> {
        let mut present = self.present.borrow_mut();
        let Present { membership, selector, names } = &mut *present;
        selector.enter(&mut choice.tried);
        let waived = selector.waived();
        let hint = sticky.and_then(|sticky| {
            sticky.hint(&choice.wish, membership, now, |peer: &Peer| {
                let disabled = !membership.group.is_single() && peer.is_disabled(now);
                !disabled && peer.is_open_to_hint(now, waived) && !choice.tried.contains(peer.index)
            })
        });
        let panicked = selector.is_in_panic();
        let picked = selector.pick(&mut choice.tried, &choice.key, hint, now);
        let panics = selector.is_in_panic();
        // Not only a change of this thread's: it may have missed the end of the last panic, which another told.
        if (panics || panicked)
            && let Some(text) = membership.note_panic(panics)
        {
            note(text);
        }
        let index = picked?;
        let spec = &membership.group.peers().get(index)?.spec;
        let name = names.get_mut(index)?.get_or_insert_with(|| spec.name.as_str().into());
        Some(Picked {
            index,
            name: Rc::clone(name),
            address: spec.address.clone(),
            server: membership.servers.get(index).map(Arc::clone),
        })
    }

    pub(crate) fn release(
        &self,
        choice: &mut Choice,
        peer: usize,
        outcome: Outcome,
        times: Times,
        now: Millis,
    ) {
        let mut present = self.present.borrow_mut();
        let _ = present.selector.release_timed(&mut choice.tried, peer, outcome, times, now);
    }

    /// Notes something with the peer of a running attempt.
    pub(crate) fn note(&self, choice: &Choice, peer: usize, note: impl FnOnce(&Arc<PeerState>)) {
        if let Some(state) = self.present.borrow().selector.state(&choice.tried, peer) {
            note(state);
        }
    }

    pub(crate) fn header_received(&self, choice: &mut Choice, peer: usize, time: Millis, now: Millis) {
        self.present.borrow_mut().selector.header_received(&mut choice.tried, peer, time, now);
    }

    /// Attempts that a request has left after `made` of them, the last one at `peer`.
    pub(crate) fn tries_left(&self, choice: &Choice, peer: usize, made: u32) -> u32 {
        self.present.borrow().selector.tries_left(&choice.tried, peer, made)
    }

    /// Whether the peer of a running attempt was taken away since, and another one could stand in.
    pub(crate) fn is_lost(&self, choice: &Choice, peer: usize, now: Millis) -> bool {
        let selector = &self.present.borrow().selector;
        let bars = selector.bars(&choice.tried, peer).without(selector.waived());
        bars.meets(LOST) && selector.has_other(&choice.tried, now)
    }

    /// Whether connections are kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.pool.keeps()
    }

    /// An idle connection.
    pub(crate) fn take(
        &self,
        address: &ListenAddress,
        bound: Option<std::net::SocketAddr>,
        now: u64,
    ) -> Option<Link> {
        self.pool.take(address, bound, now)
    }

    /// Keeps the connection of an attempt, unless its peer is of no use any more.
    pub(crate) fn put(&self, choice: &Choice, picked: &Picked, link: Link, now: u64) {
        if self.keeps() && !self.present.borrow().selector.bars(&choice.tried, picked.index).meets(OUT) {
            self.pool.put(picked.address.clone(), link, now);
        }
    }

    pub(crate) fn clear(&self) {
        self.pool.clear();
    }

    /// Closes connections that idled too long or whose peers are out. What the log has to say is the result.
    pub(crate) fn sweep(&self, now: u64) -> Option<String> {
        self.pool.sweep(now);
        let mut present = self.present.borrow_mut();
        let Present { membership, selector, .. } = &mut *present;
        let out = |peer: &&Peer| peer.spec.down || peer.spec.drain || peer.state.bars().meets(OUT);
        self.pool
            .close(&membership.group.peers().iter().filter(out).map(|peer| &peer.spec.address).collect());
        if !selector.is_in_panic() {
            return None;
        }
        selector.look();
        membership.note_panic(selector.is_in_panic())
    }
}

/// Addresses that `new` has no more.
fn left<'a>(old: &'a Group, new: &Group, places: &[Option<u32>]) -> HashSet<&'a ListenAddress> {
    let mut stays = vec![false; old.peers().len()];
    for place in places.iter().flatten() {
        if let Some(stays) = stays.get_mut(*place as usize) {
            *stays = true;
        }
    }
    let gone = old.peers().iter().zip(stays).filter(|(_, stays)| !stays);
    let mut left: HashSet<_> = gone.map(|(peer, _)| &peer.spec.address).collect();
    if !left.is_empty() {
        // Another peer may have the same address.
        let newcomers = new.peers().iter().zip(places).filter(|(_, place)| place.is_none());
        for (peer, _) in newcomers {
            left.remove(&peer.spec.address);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::{Rules, tests::upstream};

    #[test]
    fn a_thread_that_missed_the_end_of_a_panic_tells_the_next_one() {
        let (spec, state) = (weir_balance::PeerSpec::new("127.0.0.1:1"), Arc::<PeerState>::default());
        let rules = Rules::of(&upstream());
        let membership = Arc::new(Membership::new(&rules, vec![(spec, Arc::clone(&state))], None));
        let thread = |seed| UpstreamLive::new(&upstream(), Arc::clone(&membership), seed);
        let (one, other) = (thread(1), thread(2));
        let told = |live: &UpstreamLive| {
            let mut said = None;
            live.pick(&mut Choice::default(), None, 0, |text| said = Some(text)).expect("a peer");
            said.map(|text| text.contains("are ignored"))
        };
        state.bar(Bars::CHECK);
        assert_eq!((told(&one), told(&other)), (Some(true), None));
        state.unbar(Bars::CHECK);
        assert_eq!(told(&other), Some(false));
        state.bar(Bars::CHECK);
        assert_eq!((told(&one), told(&one), told(&other)), (Some(true), None, None));
    }
}
