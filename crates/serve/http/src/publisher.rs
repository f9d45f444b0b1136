//! What is in force on all threads together: the peers of each upstream, and the number of the change they come from.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_balance::{Group, Member, PeerSpec};
use weir_model::{Upstream, UpstreamKey};

use crate::membership::{Membership, Rules};
use crate::orders::{Order, Orders};
use crate::thread::{Counters, Shared};

/// Gives the data threads other peers, and knows which changes they serve. Clones are the same publisher.
///
/// Changes have numbers that the caller issues, each higher than the one before; a generation of the configuration has
/// one too. Of two lists for one upstream the one with the higher number holds, in whatever order they come.
#[derive(Clone)]
pub struct Publisher {
    board: Arc<Mutex<Board>>,
    shared: Arc<Shared>,
}

/// A data thread as its owner sees it.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) orders: Arc<Orders>,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Default)]
pub(crate) struct Board {
    pub(crate) threads: Vec<Running>,
    upstreams: HashMap<UpstreamKey, InForce>,
    /// Lists for upstreams that no generation has yet.
    early: HashMap<UpstreamKey, (u64, Vec<Member>)>,
    /// Memberships that threads may still have, with the change that ends them.
    retired: Vec<(u64, Arc<Membership>)>,
    /// The highest number so far.
    change: u64,
}

struct InForce {
    rules: Rules,
    membership: Arc<Membership>,
    change: u64,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { board: Arc::default(), shared }
    }

    /// Gives an upstream other peers on every thread. False when the generation in force has no such upstream; the next
    /// one finds them then, if its own number is lower.
    pub fn publish(&self, change: u64, key: &UpstreamKey, members: Vec<Member>) -> bool {
        let mut board = self.lock();
        board.change = board.change.max(change);
        board.bury();
        let membership = board.replace(change, key, members);
        for thread in &board.threads {
            let order = match &membership {
                Some(membership) => {
                    Order::Publish { change, key: key.clone(), membership: Arc::clone(membership) }
                }
                None => Order::Count { change },
            };
            // One that has ended serves nothing, so nothing is missing there.
            let _ = thread.orders.push(order);
        }
        board.upstreams.contains_key(key)
    }

    /// Says that states of peers may be others than before: requests that wait for a peer look again. Choices see bars
    /// without this.
    pub fn look(&self) {
        let board = self.lock();
        if board.upstreams.values().any(|upstream| upstream.rules.parks) {
            for thread in &board.threads {
                // One that has ended has no request.
                let _ = thread.orders.push(Order::Look);
            }
        }
    }

    /// The peers that an upstream has from now on. None when the generation in force has no such upstream.
    #[must_use]
    pub fn group(&self, key: &UpstreamKey) -> Option<Arc<Group>> {
        self.lock().upstreams.get(key).map(|known| Arc::clone(&known.membership.group))
    }

    /// The highest change that every data thread serves; the highest of all while no thread runs.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.lock().served()
    }

    /// Returns once every data thread serves a change.
    pub async fn wait_served(&self, change: u64) {
        loop {
            let mut progress = std::pin::pin!(self.shared.progress.notified());
            // From here on no progress is missed.
            progress.as_mut().enable();
            if self.served() >= change {
                return;
            }
            progress.await;
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Board> {
        // Every change of it is complete before anything that could panic.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn served(&self) -> u64 {
        let running = self.threads.iter().filter(|thread| !thread.counters.finished.load(Relaxed));
        running.map(|thread| thread.counters.served.load(Acquire)).min().unwrap_or(self.change)
    }

    /// Drops what no thread has any more.
    fn bury(&mut self) {
        let served = self.served();
        self.retired.retain(|(change, _)| *change > served);
    }

    /// The new membership of an upstream; None where the list has no effect, or none yet.
    fn replace(&mut self, change: u64, key: &UpstreamKey, members: Vec<Member>) -> Option<Arc<Membership>> {
        let Some(known) = self.upstreams.get_mut(key) else {
            self.early.insert(key.clone(), (change, members));
            return None;
        };
        if known.change >= change {
            return None;
        }
        let membership = Arc::new(Membership::new(&known.rules, members, Some(&known.membership)));
        self.retired.push((change, std::mem::replace(&mut known.membership, Arc::clone(&membership))));
        known.change = change;
        Some(membership)
    }

    /// Takes over a generation's upstreams, and returns the number that it serves and its memberships.
    pub(crate) fn install(
        &mut self,
        change: u64,
        upstreams: &[Upstream],
        members: Vec<Vec<Member>>,
    ) -> (u64, Vec<Arc<Membership>>) {
        self.bury();
        let number = self.change.max(change);
        let mut early = std::mem::take(&mut self.early);
        let mut previous = std::mem::take(&mut self.upstreams);
        let mut memberships = Vec::with_capacity(upstreams.len());
        for (upstream, members) in upstreams.iter().zip(members) {
            let key = upstream.key();
            let (change, members) = match early.remove(&key) {
                Some(newer) if newer.0 > change => newer,
                _ => (change, members),
            };
            let in_force = InForce::new(Rules::of(upstream), change, members, previous.remove(&key), |old| {
                self.retired.push((number, old));
            });
            memberships.push(Arc::clone(&in_force.membership));
            self.upstreams.insert(key, in_force);
        }
        self.retired.extend(previous.into_values().map(|gone| (number, gone.membership)));
        self.change = number;
        (number, memberships)
    }
}

impl InForce {
    /// What holds of an upstream after a reload. A list that was published with a higher number stays.
    fn new(
        rules: Rules,
        change: u64,
        members: Vec<Member>,
        previous: Option<Self>,
        retire: impl FnOnce(Arc<Membership>),
    ) -> Self {
        let Some(previous) = previous else {
            return Self { membership: Arc::new(Membership::new(&rules, members, None)), rules, change };
        };
        let newer = previous.change > change;
        let change = change.max(previous.change);
        if previous.rules == rules && (newer || previous.membership.consists_of(&members)) {
            return Self { change, ..previous };
        }
        let members = if newer { previous.membership.members() } else { members };
        let membership = Arc::new(Membership::new(&rules, members, Some(&previous.membership)));
        retire(previous.membership);
        Self { rules, membership, change }
    }
}

/// The peers that the configuration itself names, one list for each upstream. Those that are in force already keep their
/// states.
#[must_use]
pub fn members(upstreams: &[Upstream], previous: &Publisher) -> Vec<Vec<Member>> {
    let list = |upstream: &Upstream| {
        let peers: Vec<PeerSpec> = upstream.peers.iter().map(PeerSpec::from).collect();
        weir_balance::adopt(peers, previous.group(&upstream.key()).as_deref())
    };
    upstreams.iter().map(list).collect()
}
