//! Which peer of a new list is which of the list before, by the identity of their states.

use crate::group::Group;
use crate::peer::Peer;
use std::collections::HashMap;
use std::sync::Arc;

/// How far a peer is looked for behind the place where it should stand.
const NEAR: usize = 16;
/// So many comparisons are cheaper than a table.
const FEW: usize = 4096;

/// For each peer of `new` its index in `old`. A list whose order stays is gone through once.
pub(crate) fn match_peers(new: &Group, old: &Group) -> Vec<Option<u32>> {
    let old = old.peers();
    let mut places = Vec::with_capacity(new.peers().len());
    let mut matched = vec![false; old.len()];
    let mut strangers = Vec::new();
    let mut next = 0;
    for peer in new.peers() {
        let mut window = old.get(next..).unwrap_or_default().iter().take(NEAR);
        let near = window.position(|other| is_same(peer, other)).map(|ahead| next + ahead);
        if let Some(at) = near {
            matched[at] = true;
            next = at + 1;
        } else {
            strangers.push(places.len());
        }
        places.push(near.and_then(|at| u32::try_from(at).ok()));
    }
    let rest: Vec<usize> = (0..old.len()).filter(|&at| !matched[at]).collect();
    find_rest(new.peers(), old, &strangers, &rest, &mut places);
    places
}

/// Finds peers that changed their place among the old ones that nobody was found for.
fn find_rest(new: &[Peer], old: &[Peer], strangers: &[usize], rest: &[usize], places: &mut [Option<u32>]) {
    if strangers.len().saturating_mul(rest.len()) <= FEW {
        for &stranger in strangers {
            let found = rest.iter().find(|&&at| is_same(&new[stranger], &old[at]));
            places[stranger] = found.and_then(|&at| u32::try_from(at).ok());
        }
        return;
    }
    let known: HashMap<_, usize> = rest.iter().map(|&at| (Arc::as_ptr(&old[at].state), at)).collect();
    for &stranger in strangers {
        let found = known.get(&Arc::as_ptr(&new[stranger].state));
        places[stranger] = found.and_then(|&at| u32::try_from(at).ok());
    }
}

fn is_same(one: &Peer, two: &Peer) -> bool {
    Arc::ptr_eq(&one.state, &two.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Member, Method, PeerSpec};
    use proptest::prelude::*;

    fn group(members: &[Member]) -> Group {
        Group::with_states("g".into(), Method::RoundRobin, members.to_vec())
    }

    proptest! {
        #[test]
        fn every_peer_is_found_wherever_it_went(
            keep in proptest::collection::vec(any::<bool>(), 0..300),
            rotate in 0_usize..300,
            fresh in 0_usize..40,
            at in 0_usize..300,
        ) {
            let member = |name: usize| (PeerSpec::new(name.to_string()), Arc::default());
            let all: Vec<Member> = (0..keep.len()).map(member).collect();
            let mut new: Vec<Member> =
                all.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(member, _)| member.clone()).collect();
            if !new.is_empty() {
                let by = rotate % new.len();
                new.rotate_left(by);
            }
            let at = at.min(new.len());
            new.splice(at..at, (1000..1000 + fresh).map(member));
            let (new, old) = (group(&new), group(&all));
            for (peer, place) in new.peers().iter().zip(match_peers(&new, &old)) {
                let expected = old.peers().iter().position(|other| is_same(peer, other));
                prop_assert_eq!(place.map(|place| place as usize), expected);
            }
        }
    }
}
