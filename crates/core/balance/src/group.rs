//! A group of peers: what one `upstream` block compiles to.

use crate::ketama::Ring;
use crate::peer::{Peer, PeerSpec, PeerState};
use crate::places::match_peers;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// How a peer is chosen. Names and meaning are those of the directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    #[default]
    RoundRobin,
    LeastConn,
    IpHash,
    Hash {
        consistent: bool,
    },
    Random {
        two: bool,
    },
    /// `last_byte` false: the time to the response header. Needs [`crate::Selector::release_timed`], and with
    /// `inflight` and header times also [`crate::Selector::header_received`].
    LeastTime {
        last_byte: bool,
        inflight: bool,
    },
}

impl From<&weir_model::Method> for Method {
    fn from(method: &weir_model::Method) -> Method {
        use weir_model::Method as Model;
        match method {
            Model::RoundRobin => Method::RoundRobin,
            Model::LeastConn => Method::LeastConn,
            Model::IpHash => Method::IpHash,
            Model::Hash { consistent, .. } => Method::Hash { consistent: *consistent },
            Model::Random { two } => Method::Random { two: *two },
            Model::LeastTime { last_byte, inflight } => {
                Method::LeastTime { last_byte: *last_byte, inflight: *inflight }
            }
        }
    }
}

/// Peers and their method: immutable, shared by all threads.
#[derive(Debug)]
pub struct Group {
    name: String,
    method: Method,
    peers: Vec<Peer>,
    primaries: List,
    backups: List,
    /// Primaries on the ring of the consistent hash; empty for the other methods.
    ring: Ring,
    /// Of one unit of weight: [`SCALE`] while a peer has less than its whole share, otherwise 1.
    scale: u32,
    /// Peers that are neither down nor draining.
    able: u32,
    panics: bool,
}

/// Of one unit of weight, so that a percent of it is a whole number.
const SCALE: u32 = 100;

/// A peer and what is known about it.
pub type Member = (PeerSpec, Arc<PeerState>);

/// Gives peers the states that `previous` has under their names, primaries first.
pub fn adopt(peers: Vec<PeerSpec>, previous: Option<&Group>) -> Vec<Member> {
    let mut known: HashMap<&str, VecDeque<&Arc<PeerState>>> = HashMap::new();
    for peer in previous.map_or(&[][..], Group::peers) {
        known.entry(&peer.spec.name).or_default().push_back(&peer.state);
    }
    // The ones that are never backups come first, as in the group.
    let (backups, mut specs): (Vec<_>, Vec<_>) = peers.into_iter().partition(|peer| peer.backup);
    specs.extend(backups);
    let adopted = specs.into_iter().map(|spec| {
        let kept = known.get_mut(spec.name.as_str()).and_then(VecDeque::pop_front);
        let state = kept.cloned().unwrap_or_default();
        (spec, state)
    });
    adopted.collect()
}

/// Peers that stand for selection together: the primaries or the backups.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) range: Range<usize>,
    /// Of what the peers take turns by.
    pub(crate) total_weight: u64,
    /// End of the last peer's range of points.
    pub(crate) total_points: u64,
    /// Sum of the points before each peer of the range, for choices by weight in one search. Of hashes they are the whole
    /// weights: a peer that grows into its share must not move the clients of the others.
    starts: Vec<u64>,
}

impl List {
    fn new(peers: &[Peer], range: Range<usize>, method: Method) -> List {
        let hashes = matches!(method, Method::IpHash | Method::Hash { .. });
        let (mut total_weight, mut total_points) = (0, 0);
        let mut starts = Vec::with_capacity(range.len());
        for peer in &peers[range.clone()] {
            starts.push(total_points);
            total_weight += u64::from(peer.weight);
            total_points += u64::from(if hashes { peer.spec.weight } else { peer.weight });
        }
        List { range, total_weight, total_points, starts }
    }

    /// Index of the peer in whose range of points `point` lies; `point` is below their total.
    pub(crate) fn at_point(&self, point: u64) -> usize {
        let after = self.starts.partition_point(|start| *start <= point);
        self.range.start + after.saturating_sub(1)
    }

    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }
}

impl Group {
    /// Builds a group. Peers that `previous` knows by the same name keep their state: failures, running requests,
    /// totals. Of peers that share a name the first takes the first's state, the second the second's.
    pub fn new(name: String, method: Method, peers: Vec<PeerSpec>, previous: Option<&Group>) -> Group {
        Group::with_states(name, method, adopt(peers, previous))
    }

    /// Builds a group of peers whose states somebody else keeps. While one of them has less than its whole share, all
    /// weights count a hundredfold.
    pub fn with_states(name: String, method: Method, members: Vec<Member>) -> Group {
        Group::build(name, method, members, None)
    }

    /// The same when it takes the place of another group of which most stays: cheaper for `hash ... consistent`.
    pub fn after(previous: &Group, name: String, method: Method, members: Vec<Member>) -> Group {
        Group::build(name, method, members, Some(previous))
    }

    fn build(name: String, method: Method, members: Vec<Member>, previous: Option<&Group>) -> Group {
        let (backups, mut members): (Vec<_>, Vec<_>) = members.into_iter().partition(|(spec, _)| spec.backup);
        let split = members.len();
        members.extend(backups);
        let scale = if members.iter().any(|(spec, _)| spec.share < 100) { SCALE } else { 1 };
        let peer = |(index, (mut spec, state)): (usize, Member)| {
            spec.weight = spec.weight.max(1);
            spec.share = spec.share.clamp(1, 100);
            let weight = if scale == 1 { spec.weight } else { spec.weight.saturating_mul(spec.share.into()) };
            Peer { spec, state, index, weight }
        };
        let peers: Vec<Peer> = members.into_iter().enumerate().map(peer).collect();
        let ring = match method {
            Method::Hash { consistent: true } => {
                let before = previous.map(|previous| (&previous.ring, previous.peers()));
                Ring::new(&peers[..split], before)
            }
            _ => Ring::default(),
        };
        let able = peers.iter().filter(|peer| !peer.spec.down && !peer.spec.drain).count();
        Group {
            able: u32::try_from(able).unwrap_or(u32::MAX),
            panics: true,
            name,
            method,
            primaries: List::new(&peers, 0..split, method),
            backups: List::new(&peers, split..peers.len(), method),
            peers,
            ring,
            scale,
        }
    }

    /// Whether failed checks are waived when no peer passes (`check_panic`); a new group does so.
    #[must_use]
    pub fn with_panic(self, panics: bool) -> Group {
        Group { panics, ..self }
    }

    /// Whether checks failed every peer that nobody took out, primaries and backups alike, so that they are waived.
    pub fn is_in_panic(&self) -> bool {
        let mut standing = self.peers.iter().filter(|peer| !peer.is_taken_out()).peekable();
        self.panics
            && standing.peek().is_some()
            && standing.all(|peer| peer.state.bars().has(crate::Bars::CHECK))
    }

    /// Name of the `upstream` block; `$upstream_addr` shows it when no peer is live.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn method(&self) -> Method {
        self.method
    }

    /// Primaries in the order given, then backups.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// One primary and no backup: failures never disable it, for nothing could stand in. A second peer that is
    /// `down` makes a group not single, as in nginx.
    pub fn is_single(&self) -> bool {
        self.primaries.len() == 1 && self.backups.len() == 0
    }

    /// How many peers one request may try: those that are neither `down` nor draining, at least 1. After an attempt
    /// at a single peer none is left.
    pub fn tries(&self) -> u32 {
        self.able.max(1)
    }

    /// For each peer its index in a list before this one, by the identity of its state; None for a newcomer.
    pub fn places_in(&self, previous: &Group) -> Vec<Option<u32>> {
        match_peers(self, previous)
    }

    /// Index of the peer that has this state.
    pub fn position(&self, state: &Arc<PeerState>) -> Option<usize> {
        self.peers.iter().position(|peer| Arc::ptr_eq(&peer.state, state))
    }

    pub(crate) fn list(&self, backup: bool) -> &List {
        if backup { &self.backups } else { &self.primaries }
    }

    /// Of one unit of weight.
    pub(crate) fn scale(&self) -> u32 {
        self.scale
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }
}
