//! The peers of one upstream as all threads see them, from one change to the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use md5::{Digest, Md5};
use weir_balance::{Group, Member, Method, Peer};
use weir_model::Upstream;

/// What of an upstream's configuration decides how its peers are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    name: String,
    method: Method,
    panics: bool,
    sticky: bool,
    pub(crate) parks: bool,
}

impl Rules {
    pub(crate) fn of(upstream: &Upstream) -> Self {
        Self {
            name: upstream.name.clone(),
            method: (&upstream.method).into(),
            panics: upstream.check_panic,
            sticky: upstream.sticky.is_some(),
            parks: upstream.park.0 > 0,
        }
    }
}

/// A group, and what belongs to its peers beside it. Never changed; made by whoever publishes it, and also dropped there:
/// ten thousand peers take a data thread's time when they are freed.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) group: Arc<Group>,
    /// With `sticky`, the server id of each peer in the group's order.
    pub(crate) servers: Vec<Arc<[u8]>>,
    /// Checks failed all peers, and the log says so. The same for all memberships of one upstream.
    alarm: Arc<AtomicBool>,
    /// Requests that wait for a peer, of all threads; the same for all memberships of one upstream.
    parked: Arc<AtomicU32>,
}

impl Membership {
    pub(crate) fn new(rules: &Rules, members: Vec<Member>, previous: Option<&Self>) -> Self {
        let name = rules.name.clone();
        let group = match previous {
            Some(previous) => Group::after(&previous.group, name, rules.method, members),
            None => Group::with_states(name, rules.method, members),
        };
        let group = group.with_panic(rules.panics);
        let servers = if rules.sticky { server_ids(&group, previous) } else { Vec::new() };
        let alarm = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.alarm));
        let parked = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.parked));
        Self { group: Arc::new(group), servers, alarm, parked }
    }

    /// A place among the requests that wait for a peer; None: there are as many as may be.
    pub(crate) fn park(&self) -> Option<Parked> {
        let more = |parked| (parked < PARKED).then_some(parked + 1);
        self.parked.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(Parked(Arc::clone(&self.parked)))
    }

    /// Notes whether checks have failed all peers. What the log has to say when no thread has said it yet.
    pub(crate) fn note_panic(&self, panics: bool) -> Option<String> {
        // Every request asks while there is a panic, and threads need not take the flag from each other.
        if self.alarm.load(Relaxed) == panics || self.alarm.swap(panics, Relaxed) == panics {
            return None;
        }
        let name = self.group.name();
        Some(if panics {
            format!(
                "checks failed all peers of upstream \"{name}\", their results are ignored until one passes"
            )
        } else {
            format!("checks no longer fail all peers of upstream \"{name}\", their results count again")
        })
    }

    /// Whether the peers are these, with these states.
    pub(crate) fn consists_of(&self, members: &[Member]) -> bool {
        let backups = members.iter().filter(|(spec, _)| spec.backup);
        let mut ordered = members.iter().filter(|(spec, _)| !spec.backup).chain(backups);
        let same = |peer: &Peer| {
            ordered.next().is_some_and(|(spec, state)| {
                Arc::ptr_eq(state, &peer.state)
                    && peer.spec.weight == spec.weight.max(1)
                    && *spec == weir_balance::PeerSpec { weight: spec.weight, ..peer.spec.clone() }
            })
        };
        self.group.peers().len() == members.len() && self.group.peers().iter().all(same)
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.group.peers().iter().map(|peer| (peer.spec.clone(), Arc::clone(&peer.state))).collect()
    }
}

/// Requests of one upstream that wait for a peer at most.
const PARKED: u32 = 1000;

/// A request that waits for a peer; it does until this is dropped.
pub(crate) struct Parked(Arc<AtomicU32>);

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Ids of peers that stay are shared with the membership before.
fn server_ids(group: &Group, previous: Option<&Membership>) -> Vec<Arc<[u8]>> {
    let known = previous.filter(|previous| !previous.servers.is_empty());
    let places = known.map(|known| group.places_in(&known.group)).unwrap_or_default();
    let id = |(index, peer): (usize, &Peer)| {
        let place = places.get(index).copied().flatten().map(|place| place as usize);
        let kept = known.zip(place).and_then(|(known, place)| {
            let old = &known.group.peers().get(place)?.spec;
            let same = old.route == peer.spec.route && old.name == peer.spec.name;
            known.servers.get(place).filter(|_| same)
        });
        kept.map_or_else(|| server_id(peer), Arc::clone)
    };
    group.peers().iter().enumerate().map(id).collect()
}

/// `route=`, or MD5 of the address in hexadecimal.
fn server_id(peer: &Peer) -> Arc<[u8]> {
    match &peer.spec.route {
        Some(route) => route.as_bytes().into(),
        None => format!("{:x}", Md5::digest(&peer.spec.name)).into_bytes().into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weir_balance::PeerSpec;
    use weir_model::Keepalive;

    use super::*;

    /// An upstream without peers.
    pub(crate) fn upstream() -> Upstream {
        Upstream {
            name: "u".to_owned(),
            implicit: false,
            port: 0,
            method: weir_model::Method::RoundRobin,
            peers: Vec::new(),
            keepalive: Keepalive::default(),
            zone: None,
            sticky: None,
            sources: Vec::new(),
            checks: Vec::new(),
            check_panic: true,
            park: weir_model::Millis(0),
            resolver: None,
        }
    }

    fn member(port: u16, route: Option<&str>) -> Member {
        let spec = PeerSpec { route: route.map(str::to_owned), ..PeerSpec::new(format!("127.0.0.1:{port}")) };
        (spec, Arc::default())
    }

    #[test]
    fn server_ids_are_kept_while_route_and_name_are() {
        let rules = Rules { sticky: true, ..Rules::of(&upstream()) };
        let members = vec![member(1, Some("a")), member(5, None), member(3, Some("c"))];
        let first = Membership::new(&rules, members.clone(), None);
        let md5 = b"4af0ff4650207200a5f57d4674264612";
        assert_eq!(first.servers, [b"a"[..].into(), md5[..].into(), Arc::<[u8]>::from(&b"c"[..])]);
        let mut changed = vec![members[1].clone(), members[2].clone(), member(4, Some("d"))];
        changed[1].0.route = Some("e".to_owned());
        let second = Membership::new(&rules, changed, Some(&first));
        assert!(Arc::ptr_eq(&second.servers[0], &first.servers[1]), "shared");
        assert_eq!(*second.servers[1], *b"e", "another route");
        assert_eq!(*second.servers[2], *b"d");
    }

    #[test]
    fn an_onset_and_an_end_are_told_once_over_all_memberships() {
        let rules = Rules::of(&upstream());
        let first = Membership::new(&rules, vec![member(1, None)], None);
        let second = Membership::new(&rules, vec![member(2, None)], Some(&first));
        let onset = first.note_panic(true).expect("the first to see it");
        assert!(onset.starts_with("checks failed all peers of upstream \"u\""), "{onset}");
        assert_eq!((first.note_panic(true), second.note_panic(true)), (None, None));
        let end = second.note_panic(false).expect("the first to see its end");
        assert!(end.starts_with("checks no longer fail all peers of upstream \"u\""), "{end}");
        assert_eq!(first.note_panic(false), None);
    }

    #[test]
    fn so_many_may_wait_and_no_more() {
        let rules = Rules::of(&upstream());
        let first = Membership::new(&rules, Vec::new(), None);
        let second = Membership::new(&rules, vec![member(2, None)], Some(&first));
        let mut parked: Vec<Parked> = (0..PARKED).map(|_| first.park().expect("a place")).collect();
        assert!(second.park().is_none(), "they are counted over all memberships");
        parked.pop();
        assert!(second.park().is_some());
    }

    #[test]
    fn the_same_members_are_known_again() {
        let rules = Rules::of(&upstream());
        let mut members = vec![member(1, None), member(2, None)];
        members[0].0.backup = true;
        members[1].0.weight = 0;
        let membership = Membership::new(&rules, members.clone(), None);
        assert!(membership.consists_of(&members));
        assert!(membership.consists_of(&membership.members()));
        members[0].0.max_conns = 3;
        assert!(!membership.consists_of(&members), "another limit");
        members.pop();
        assert!(!membership.consists_of(&members), "one less");
    }
}
