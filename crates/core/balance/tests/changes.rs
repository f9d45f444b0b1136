//! Groups that change under a selector: what is carried over, and where attempts that run end.

mod common;

use common::{NOW, series, spec, weighted};
use proptest::prelude::*;
use std::sync::Arc;
use weir_balance::{Bars, Group, Member, Method, Outcome, PeerSpec, PeerState, Selector, Times, Tried};

const METHODS: [Method; 9] = [
    Method::RoundRobin,
    Method::LeastConn,
    Method::IpHash,
    Method::Hash { consistent: false },
    Method::Hash { consistent: true },
    Method::Random { two: false },
    Method::Random { two: true },
    Method::LeastTime { last_byte: false, inflight: true },
    Method::LeastTime { last_byte: true, inflight: false },
];

fn members(names: &[&str]) -> Vec<Member> {
    names.iter().map(|name| (spec(name), Arc::default())).collect()
}

fn group(method: Method, members: &[Member]) -> Arc<Group> {
    Arc::new(Group::with_states("group".into(), method, members.to_vec()))
}

fn follow(selector: &mut Selector, members: &[Member]) {
    let next = group(selector.group().method(), members);
    let places = next.places_in(selector.group());
    selector.follow(next, &places);
}

fn times(now: u64) -> Times {
    Times { header: Some(1), response: now }
}

#[test]
fn running_weights_are_carried_over() {
    let mut all = vec![(weighted("a", 5), Arc::default()), (weighted("b", 1), Arc::default())];
    all.push((weighted("c", 1), Arc::default()));
    let mut selector = Selector::new(group(Method::RoundRobin, &all), 1);
    let mut letters = String::new();
    for _ in 0..7 {
        letters += &series(&mut selector, 1, NOW);
        follow(&mut selector, &all);
    }
    assert_eq!(letters, "aabacaa", "as if nothing had been said");
    assert_eq!(series(&mut selector, 2, NOW), "aa");
    all.rotate_left(1);
    follow(&mut selector, &all);
    assert_eq!(
        series(&mut selector, 5, NOW),
        "acbcc",
        "b a c a a, the rest of the round, at their new places"
    );
}

#[test]
fn a_new_weight_holds_at_once() {
    let mut all = members(&["a", "b"]);
    let mut selector = Selector::new(group(Method::RoundRobin, &all), 1);
    assert_eq!(series(&mut selector, 2, NOW), "ab");
    all[0].0.weight = 3;
    follow(&mut selector, &all);
    assert_eq!(series(&mut selector, 8, NOW).matches('a').count(), 6);
    all[0].0.weight = 1;
    follow(&mut selector, &all);
    assert_eq!(series(&mut selector, 8, NOW).matches('a').count(), 4);
}

#[test]
fn attempts_end_at_the_peer_they_began_at() {
    for method in METHODS {
        let all = members(&["a", "b", "c"]);
        let mut selector = Selector::new(group(method, &all), 1);
        let (mut stays, mut leaves) = (Tried::default(), Tried::default());
        let stayer = selector.pick(&mut stays, b"k", Some(2), NOW).expect("a peer");
        let leaver = selector.pick(&mut leaves, b"k", None, NOW).expect("a peer");
        let rest: Vec<Member> = all
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != leaver || *at == stayer)
            .map(|(_, member)| member.clone())
            .collect();
        follow(&mut selector, &rest);
        let conns = |at: usize| all[at].1.conns();
        let before = (conns(stayer), conns(leaver));
        selector.release_timed(&mut leaves, leaver, Outcome::Failure, times(9), NOW);
        assert_eq!(conns(leaver), before.1 - 1, "{method:?}");
        assert_eq!(all[leaver].1.failures(), 1, "{method:?}");
        selector.header_received(&mut stays, stayer, 5, NOW);
        selector.release_timed(&mut stays, stayer, Outcome::Success, times(9), NOW);
        assert!(all.iter().all(|(_, state)| state.conns() == 0), "{method:?}");
    }
}

#[test]
fn what_was_tried_stays_tried_and_newcomers_count_as_tries() {
    let all = members(&["a", "b"]);
    let mut selector = Selector::new(group(Method::RoundRobin, &all), 1);
    let mut request = Tried::default();
    let first = selector.pick(&mut request, b"", None, NOW).expect("a peer");
    assert_eq!((first, selector.tries_left(&request, first, 1)), (0, 1));
    let mut more = members(&["n"]);
    more.extend(all.iter().cloned().rev());
    follow(&mut selector, &more);
    assert_eq!(selector.tries_left(&request, first, 1), 2, "n and b");
    selector.release_timed(&mut request, first, Outcome::Failure, times(1), NOW);
    assert_eq!(selector.tries_left(&request, first, 1), 2, "n and b");
    let mut picked = Vec::new();
    while let Some(index) = selector.pick(&mut request, b"", None, NOW) {
        picked.push(index);
        selector.release_timed(&mut request, index, Outcome::Failure, times(1), NOW);
    }
    picked.sort_unstable();
    assert_eq!(picked, [0, 1], "n and b, and not a, which stands at 2");
}

#[test]
fn the_only_peer_may_be_followed_by_another() {
    let (old, new) = (members(&["a"]), members(&["b"]));
    let mut selector = Selector::new(group(Method::RoundRobin, &old), 1);
    let mut request = Tried::default();
    let first = selector.pick(&mut request, b"", None, NOW).expect("a peer");
    assert_eq!(selector.tries_left(&request, first, 1), 0);
    follow(&mut selector, &new);
    assert_eq!(selector.tries_left(&request, first, 1), 1);
    selector.release_timed(&mut request, first, Outcome::Failure, times(1), NOW);
    assert_eq!(old[0].1.fails(), 0, "a failure of the only peer disables nobody");
    assert_eq!(selector.pick(&mut request, b"", None, NOW), Some(0));
    follow(&mut selector, &[]);
    assert_eq!(selector.pick(&mut Tried::default(), b"", None, NOW), None);
    assert_eq!(new[0].1.conns(), 1);
    selector.release_timed(&mut request, 0, Outcome::Success, times(1), NOW);
    assert_eq!(new[0].1.conns(), 0);
}

#[test]
fn bars_of_the_peer_of_an_attempt() {
    let all = members(&["a", "b"]);
    let mut selector = Selector::new(group(Method::RoundRobin, &all), 1);
    let mut request = Tried::default();
    let peer = selector.pick(&mut request, b"", None, NOW).expect("a peer");
    all[peer].1.bar(Bars::CHECK);
    assert_eq!(selector.bars(&request, peer), Bars::CHECK);
    assert!(selector.has_other(&request, NOW));
    follow(&mut selector, &[all[1].clone(), all[0].clone()]);
    assert_eq!(selector.bars(&request, peer), Bars::CHECK, "it is still there");
    follow(&mut selector, &all[1..]);
    assert_eq!(selector.bars(&request, peer), Bars::REMOVED);
    all[1].1.bar(Bars::DRAINING);
    assert!(!selector.has_other(&request, NOW));
}

#[test]
fn a_failed_check_counts_while_another_peer_passes() {
    for method in METHODS {
        let all = members(&["a", "b", "c"]);
        let mut selector = Selector::new(group(method, &all), 1);
        let served = |selector: &mut Selector| {
            let letters: String = (0..24_u8)
                .map(|key| {
                    let mut request = Tried::default();
                    let Some(peer) = selector.pick(&mut request, &[key, key, key, key], None, NOW) else {
                        return '-';
                    };
                    selector.release_timed(&mut request, peer, Outcome::Success, times(1), NOW);
                    char::from(b'a' + peer as u8)
                })
                .collect();
            letters
        };
        all[0].1.bar(Bars::CHECK);
        all[1].1.bar(Bars::CHECK);
        assert_eq!(served(&mut selector), "c".repeat(24), "{method:?}");
        assert!(!selector.is_in_panic());
        all[2].1.bar(Bars::MAINTENANCE);
        let letters = served(&mut selector);
        assert!(
            letters.contains('a') && letters.contains('b') && !letters.contains(['c', '-']),
            "{method:?} {letters}"
        );
        assert!(selector.is_in_panic());
        all[0].1.unbar(Bars::CHECK);
        selector.look();
        assert!(!selector.is_in_panic());
        assert_eq!(served(&mut selector), "a".repeat(24), "{method:?}");
        all[0].1.bar(Bars::EJECTED);
        assert_eq!(
            served(&mut selector),
            "-".repeat(24),
            "{method:?}: its check passes, so nobody is waived"
        );
        let quiet = Arc::new(Group::with_states("g".into(), method, all.clone()).with_panic(false));
        all.iter().for_each(|(_, state)| state.bar(Bars::CHECK));
        assert!(!quiet.is_in_panic());
        assert_eq!(served(&mut Selector::new(quiet, 1)), "-".repeat(24), "{method:?}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin {
        hint: Option<usize>,
    },
    End {
        which: usize,
        outcome: Outcome,
    },
    /// Which peers stay, and by how many places they turn.
    Change {
        keep: u16,
        turn: usize,
    },
    Bar {
        peer: usize,
        bars: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Success),
        Just(Outcome::Failure),
        Just(Outcome::NextUncounted),
        Just(Outcome::Neutral)
    ];
    prop_oneof![
        4 => proptest::option::of(0_usize..10).prop_map(|hint| Step::Begin { hint }),
        4 => (0_usize..20, outcome).prop_map(|(which, outcome)| Step::End { which, outcome }),
        1 => (any::<u16>(), 0_usize..10).prop_map(|(keep, turn)| Step::Change { keep, turn }),
        1 => (0_usize..10, 0_usize..6).prop_map(|(peer, bars)| Step::Bar { peer, bars }),
    ]
}

proptest! {
    /// Whatever happens, running requests are those that run, and nobody is chosen twice for one request.
    #[test]
    fn counts_stay_true(method in 0..METHODS.len(), steps in proptest::collection::vec(step(), 0..120)) {
        const BARS: [Bars; 6] = [
            Bars::NONE, Bars::CHECK, Bars::DRAINING, Bars::MAINTENANCE, Bars::EJECTED, Bars::REMOVED,
        ];
        let names: Vec<String> = (0..10).map(|name| format!("10.0.0.{name}:80")).collect();
        let all: Vec<Member> = names.iter().map(|name| (PeerSpec::new(name.as_str()), Arc::default())).collect();
        let mut now = NOW;
        let mut selector = Selector::new(group(METHODS[method], &all), 1);
        let mut running: Vec<(Tried, usize, Arc<PeerState>, Vec<*const PeerState>)> = Vec::new();
        for step in steps {
            now += 1;
            match step {
                Step::Begin { hint } => {
                    let mut request = Tried::default();
                    if let Some(peer) = selector.pick(&mut request, b"key", hint, now) {
                        let state = Arc::clone(&selector.group().peers()[peer].state);
                        running.push((request, peer, Arc::clone(&state), vec![Arc::as_ptr(&state)]));
                    }
                }
                Step::End { which, outcome } => {
                    if running.is_empty() { continue }
                    let (mut request, peer, _, mut tried) = running.swap_remove(which % running.len());
                    selector.release_timed(&mut request, peer, outcome, times(3), now);
                    if outcome == Outcome::Failure
                        && !selector.group().is_single()
                        && let Some(peer) = selector.pick(&mut request, b"key", None, now)
                    {
                        let state = Arc::clone(&selector.group().peers()[peer].state);
                        prop_assert!(!tried.contains(&Arc::as_ptr(&state)), "{}", peer);
                        tried.push(Arc::as_ptr(&state));
                        running.push((request, peer, state, tried));
                    }
                }
                Step::Change { keep, turn } => {
                    let mut next: Vec<Member> =
                        all.iter().enumerate().filter(|(at, _)| keep & (1 << at) != 0).map(|(_, m)| m.clone()).collect();
                    if !next.is_empty() { let by = turn % next.len(); next.rotate_left(by); }
                    follow(&mut selector, &next);
                }
                Step::Bar { peer, bars } => {
                    all[peer].1.unbar(BARS.into_iter().fold(Bars::NONE, Bars::with));
                    all[peer].1.bar(BARS[bars]);
                }
            }
            for (_, state) in &all {
                let count = running.iter().filter(|(_, _, other, _)| Arc::ptr_eq(state, other)).count();
                prop_assert_eq!(state.conns() as usize, count);
            }
        }
    }
}
