//! The conductor: upstreams by key, numbers of changes, orders of operators.

use std::collections::HashMap;
use std::sync::Arc;

use weir_model::{Level, PeerList, UpstreamKey};

use crate::book::{Book, Outbox, Scene};
use crate::order::{Change, Order, SetError, nearest};
use crate::record::Record;
use crate::upstream::{Upstream, address_of};
use crate::{Action, AdminState, By, Configured, MAX_WEIGHT, Memory, Now, Remembered, UpstreamStatus};

/// Wall clocks jump: the end of an order is looked at again after this time at the latest.
const LOOK: u64 = 3_600_000;

/// The state of all peers. Nothing happens in it by itself: events go in by `set` and `handle_*`, and after each of them
/// [`Directory::poll_action`] gives what has to be done outside, until it gives nothing.
#[derive(Debug)]
pub struct Directory {
    upstreams: HashMap<UpstreamKey, Upstream>,
    /// In the order of the configuration.
    order: Vec<UpstreamKey>,
    /// Upstreams that left with a change that is not served by all yet.
    leaving: HashMap<UpstreamKey, (u64, Upstream)>,
    book: Book,
    out: Outbox,
    /// The newest change.
    change: u64,
    /// The newest change that every data thread serves.
    served: u64,
    last: Now,
}

/// How far the lists of an upstream have come: the lowest over its sources that count their changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Applied {
    /// Of the newest list.
    pub index: u64,
    /// Of the newest list that every data thread serves; 0: none yet.
    pub served: u64,
}

impl Directory {
    /// A directory without upstreams, with the orders that were remembered.
    #[must_use]
    pub fn new(memory: Memory) -> Directory {
        Directory {
            upstreams: HashMap::new(),
            order: Vec::new(),
            leaving: HashMap::new(),
            book: Book::new(memory),
            out: Outbox { version: 1, ..Outbox::default() },
            change: 0,
            served: 0,
            last: Now { mono: 0, unix: 0 },
        }
    }

    /// Takes over a configuration. Peers that stay have the state that they had; results of checks, orders and the lists
    /// of sources that ask for the same live on. Publications that were not polled yet are part of what is returned.
    ///
    /// Updates of sources under their positions in the former configuration have to be given before this.
    pub fn configure(&mut self, now: Now, upstreams: &[weir_model::Upstream]) -> Configured {
        self.change += 1;
        self.out.version += 1;
        self.out.actions.retain(|action| !matches!(action, Action::Publish { .. }));
        let change = self.change;
        let mut before = std::mem::take(&mut self.upstreams);
        self.order.clear();
        let mut members = Vec::with_capacity(upstreams.len());
        for model in upstreams {
            let key = model.key();
            let known = before.remove(&key);
            let known = known.or_else(|| self.leaving.remove(&key).map(|(_, upstream)| upstream));
            let mut upstream = known.unwrap_or_else(|| Upstream::new(key.clone()));
            let (_, mut scene) = self.scene(now);
            upstream.configure(model, change, &mut scene);
            members.push(upstream.roster.members());
            self.order.push(key.clone());
            self.upstreams.insert(key, upstream);
        }
        for (key, mut upstream) in before {
            let (_, mut scene) = self.scene(now);
            upstream.retire(&mut scene);
            self.leaving.insert(key, (change, upstream));
        }
        self.call(now);
        Configured { change, members }
    }

    /// Says of each order whether its peer is there.
    fn call(&mut self, now: Now) {
        let by_name: HashMap<&str, &Upstream> =
            self.upstreams.values().map(|upstream| (upstream.name.as_str(), upstream)).collect();
        let is_member = |upstream: &str, peer: &str| {
            let roster = by_name.get(upstream).map(|upstream| &upstream.roster);
            roster.zip(address_of(peer)).is_some_and(|(roster, address)| roster.find(&address).is_some())
        };
        self.out.remember |= self.book.call(now, is_member);
    }

    /// Splits off what steps of an upstream need.
    fn scene(&mut self, now: Now) -> (&mut HashMap<UpstreamKey, Upstream>, Scene<'_>) {
        self.last = now;
        (&mut self.upstreams, Scene { now, book: &mut self.book, out: &mut self.out })
    }

    /// A source said its whole list. `source` is its position in the upstream's sources. Unknown ones are ignored: they
    /// are of a configuration that is gone.
    pub fn handle_list(&mut self, now: Now, key: &UpstreamKey, source: usize, list: PeerList) {
        let (change, served) = (self.change + 1, self.served);
        let (upstreams, mut scene) = self.scene(now);
        let Some(upstream) = upstreams.get_mut(key) else { return };
        let changed = upstream.take_list(source, list, change, &mut scene);
        let with = upstream.change;
        if let Some(slot) = upstream.sources.get_mut(source) {
            slot.await_change(with, served);
        }
        if changed {
            self.publish(key, change);
        }
    }

    fn publish(&mut self, key: &UpstreamKey, change: u64) {
        let Some(upstream) = self.upstreams.get(key) else { return };
        self.change = change;
        let members = upstream.roster.members();
        self.out.push(Action::Publish { change, key: key.clone(), members });
    }

    /// A source cannot be asked or says nonsense: its list stays.
    pub fn handle_source_failed(
        &mut self,
        now: Now,
        key: &UpstreamKey,
        source: usize,
        error: String,
        endpoint: String,
    ) {
        let (upstreams, scene) = self.scene(now);
        let slot = upstreams.get_mut(key).and_then(|upstream| upstream.sources.get_mut(source));
        if let Some(slot) = slot {
            slot.fail(now, error, endpoint);
            scene.out.version += 1;
        }
    }

    /// A check of a peer has its first result, or another verdict than before. `index` is its position in the upstream's
    /// checks, `reason` what was seen. Reports on peers that are gone are ignored.
    pub fn handle_check(
        &mut self,
        now: Now,
        key: &UpstreamKey,
        peer: &str,
        index: usize,
        passed: bool,
        first: bool,
        reason: String,
    ) {
        // One failure is enough for the first, which deserves a word.
        let reason = if first && !passed { format!("first result: {reason}") } else { reason };
        let change = self.change + 1;
        let (upstreams, mut scene) = self.scene(now);
        let Some(upstream) = upstreams.get_mut(key) else { return };
        if upstream.take_verdict(peer, (index, passed, &reason), change, &mut scene) {
            self.publish(key, change);
        }
    }

    /// Every data thread serves all changes up to this one. Peers that left with it get no attempt any more.
    pub fn handle_served(&mut self, change: u64) {
        if change <= self.served {
            return;
        }
        self.served = change;
        self.out.version += 1;
        self.upstreams.values_mut().for_each(|upstream| upstream.serve(change));
        self.leaving.retain(|_, (with, upstream)| {
            let gone = *with <= change;
            if gone {
                upstream.roster.remove();
            }
            !gone
        });
    }

    /// An order of an operator. Returns the change that has to be served for it to be in force everywhere.
    ///
    /// # Errors
    /// Names that do not exist, a weight or a percentage out of bounds, and the last peer that serves. Nothing has changed then.
    pub fn set(&mut self, now: Now, change: Change) -> Result<u64, SetError> {
        if let Order::Set { weight: Some(weight), .. } = change.order
            && !(1..=MAX_WEIGHT).contains(&weight)
        {
            return Err(SetError::Weight(weight));
        }
        if let Order::Set { percent: Some(percent), .. } = change.order
            && !(1..=100).contains(&percent)
        {
            return Err(SetError::Percent(percent));
        }
        let (key, peer) = self.subject(&change)?;
        self.guard_last(&key, &peer, &change)?;
        self.last = now;
        let order = self.written(now, &key, &peer, &change);
        let order = match order {
            Some(order) => Some(self.book.insert(order)),
            None => {
                self.book.remove(&change.upstream, &peer);
                None
            }
        };
        self.out.remember = true;
        let actor = (By::Operator(change.who), change.reason.as_str());
        Ok(self.obey(now, &key, &peer, order, actor))
    }

    fn obey(
        &mut self,
        now: Now,
        key: &UpstreamKey,
        peer: &str,
        order: Option<Arc<Remembered>>,
        actor: (By, &str),
    ) -> u64 {
        let next = self.change + 1;
        let (upstreams, mut scene) = self.scene(now);
        let upstream = upstreams.get_mut(key);
        if upstream.is_some_and(|upstream| upstream.obey(peer, order, actor, next, &mut scene)) {
            self.publish(key, next);
        }
        // A bar is seen by the next choice of every thread; that needs no change of its own, but members that are still
        // on their way have to arrive.
        self.upstreams.get(key).map_or(0, |upstream| upstream.change)
    }

    fn named(&self, name: &str) -> Option<&Upstream> {
        let named = |key: &&UpstreamKey| self.upstreams.get(*key).is_some_and(|found| found.name == name);
        self.upstreams.get(self.order.iter().find(named)?)
    }

    /// The upstream and the peer's address that an order means.
    fn subject(&self, change: &Change) -> Result<(UpstreamKey, String), SetError> {
        let Some(upstream) = self.named(&change.upstream) else {
            let names = self.upstreams.values().map(|upstream| upstream.name.as_str());
            return Err(SetError::UnknownUpstream {
                name: change.upstream.clone(),
                near: nearest(&change.upstream, names),
            });
        };
        let found = address_of(&change.peer).and_then(|address| upstream.roster.find(&address));
        if let Some(record) = found {
            return Ok((upstream.key.clone(), record.name().to_owned()));
        }
        let of_line = upstream.roster.iter().filter(|record| record.first.spec.server == change.peer);
        let of_line: Vec<&str> = of_line.map(Record::name).collect();
        match of_line[..] {
            [one] => Ok((upstream.key.clone(), one.to_owned())),
            // An order for somebody who left can be taken back.
            [] if !Self::withdraws(change) && self.book.find(&change.upstream, &change.peer).is_some() => {
                Ok((upstream.key.clone(), change.peer.clone()))
            }
            [] => Err(SetError::UnknownPeer {
                upstream: change.upstream.clone(),
                peer: change.peer.clone(),
                near: nearest(&change.peer, upstream.roster.iter().map(Record::name)),
            }),
            _ => Err(SetError::Ambiguous {
                upstream: change.upstream.clone(),
                peer: change.peer.clone(),
                peers: of_line.into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    /// Whether an order takes a peer out.
    fn withdraws(change: &Change) -> bool {
        matches!(change.order, Order::Set { state: Some(AdminState::Drain | AdminState::Maintenance), .. })
    }

    /// Refuses to take out the last peer whose checks pass; where none passes, the last that nobody took out.
    fn guard_last(&self, key: &UpstreamKey, peer: &str, change: &Change) -> Result<(), SetError> {
        if change.force || !Self::withdraws(change) {
            return Ok(());
        }
        let Some(upstream) = self.upstreams.get(key) else { return Ok(()) };
        let passes = |record: &&Record| record.failing(&upstream.checks).is_none();
        let candidates = || upstream.roster.iter().filter(|record| record.is_candidate());
        let Some(subject) = candidates().find(|record| record.name() == peer) else { return Ok(()) };
        let others = candidates().filter(|record| record.name() != peer);
        let healthy = others.clone().filter(passes).count();
        let is_last = if passes(&subject) {
            healthy == 0
        } else {
            healthy == 0 && others.clone().count() == 0 && upstream.check_panic
        };
        if !is_last {
            return Ok(());
        }
        Err(SetError::LastPeer {
            upstream: change.upstream.clone(),
            peer: peer.to_owned(),
            failed: others.count() - healthy,
        })
    }

    /// The order as it will be remembered; absent: there is nothing to remember any more.
    fn written(&self, now: Now, key: &UpstreamKey, peer: &str, change: &Change) -> Option<Remembered> {
        let Order::Set { state, weight, percent } = change.order else { return None };
        let partial = || {
            let roster = self.upstreams.get(key).map(|upstream| &upstream.roster);
            let record = roster.zip(address_of(peer)).and_then(|(roster, address)| roster.find(&address));
            record.is_some_and(Record::is_partial)
        };
        let before = self.book.find(&change.upstream, peer);
        let state_before = before.map_or(AdminState::Up, |order| order.state);
        let goes_on = before.filter(|order| state.is_none_or(|state| state == order.state));
        let order = Remembered {
            upstream: change.upstream.clone(),
            peer: peer.to_owned(),
            state: state.unwrap_or(state_before),
            weight: weight.or(before.and_then(|order| order.weight)),
            percent: match percent {
                // The whole counts without a word, unless somebody else says less.
                Some(100) if !partial() => None,
                percent => percent.or(before.and_then(|order| order.percent)),
            },
            who: change.who.clone(),
            reason: change.reason.clone(),
            since: goes_on.map_or(now.unix, |order| order.since),
            expires: change.expires_ms.map(|after| now.unix.saturating_add(after)),
            absent: before.and_then(|order| order.absent),
        };
        (!order.is_empty()).then_some(order)
    }

    /// Ends the orders whose time is over, and gives peers that came up the share that they have grown into.
    pub fn handle_timeout(&mut self, now: Now) {
        self.last = now;
        for order in self.book.ended(now) {
            self.out.remember = true;
            let Remembered { upstream, peer, who, .. } = order.as_ref();
            let expired = order.expires.is_some_and(|end| end <= now.unix);
            let text = if expired { "has expired" } else { "is dropped: there was no such peer for a day" };
            self.out.note(
                Level::Notice,
                format!("upstream {upstream}: the order of {who} for peer {peer} {text}"),
            );
            if let Some(key) = self.named(upstream).map(|upstream| upstream.key.clone()) {
                let actor = (By::Operator(who.clone()), "the order has expired");
                self.obey(now, &key, peer, None, actor);
            }
        }
        self.grow(now);
    }

    fn grow(&mut self, now: Now) {
        let is_due =
            |(_, upstream): &(&UpstreamKey, &Upstream)| upstream.due.is_some_and(|due| due <= now.mono);
        let due: Vec<UpstreamKey> =
            self.upstreams.iter().filter(is_due).map(|(key, _)| key.clone()).collect();
        for key in due {
            let next = self.change + 1;
            let (upstreams, mut scene) = self.scene(now);
            if upstreams.get_mut(&key).is_some_and(|upstream| upstream.grow(next, &mut scene)) {
                self.publish(&key, next);
            }
        }
    }

    /// When [`Directory::handle_timeout`] has to be called, monotonic milliseconds.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let end = self.book.next_end();
        let end = end.map(|end| self.last.mono + end.saturating_sub(self.last.unix).min(LOOK));
        let due = self.upstreams.values().filter_map(|upstream| upstream.due).min();
        end.into_iter().chain(due).min()
    }

    /// What has to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.out.poll()
    }

    /// Whether a peer waits for the first result of a check that allows no traffic before it.
    #[must_use]
    pub fn awaits_first_checks(&self) -> bool {
        self.upstreams.values().any(Upstream::awaits_checks)
    }

    /// Whether an upstream has neither `server` lines nor a list of any of its sources.
    #[must_use]
    pub fn awaits_first_lists(&self) -> bool {
        self.upstreams.values().any(Upstream::awaits_lists)
    }

    /// How far an upstream's lists have come; absent: there is no such upstream, or no source of it counts its changes.
    #[must_use]
    pub fn applied_index(&self, upstream: &str) -> Option<Applied> {
        let slots = self.named(upstream)?.sources.iter();
        let lower = |one: (u64, u64), other: (u64, u64)| (one.0.min(other.0), one.1.min(other.1));
        let (index, served) = slots.filter_map(|slot| slot.indexes()).reduce(lower)?;
        Some(Applied { index, served })
    }

    /// All upstreams in the order of the configuration.
    #[must_use]
    pub fn status(&self, now: Now) -> Vec<UpstreamStatus> {
        let upstreams = self.order.iter().filter_map(|key| self.upstreams.get(key));
        upstreams.map(|upstream| upstream.status(now)).collect()
    }

    /// One upstream by its name.
    #[must_use]
    pub fn status_of(&self, now: Now, upstream: &str) -> Option<UpstreamStatus> {
        self.named(upstream).map(|upstream| upstream.status(now))
    }

    /// Requests that run at a peer; absent: there is no such peer.
    #[must_use]
    pub fn active(&self, upstream: &str, peer: &str) -> Option<u32> {
        let record = self.named(upstream)?.roster.find(&address_of(peer)?)?;
        Some(record.seats().map(|seat| seat.state.conns()).sum())
    }

    /// A number that is another one when `status` would show something else, ages and requests aside.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.out.version
    }

    /// The newest change, and the newest one that every data thread serves.
    #[must_use]
    pub fn changes(&self) -> (u64, u64) {
        (self.change, self.served)
    }

    /// The orders in force.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.book.memory()
    }
}
