//! Failures, rest, probe and return; backups; the single peer; stickiness; reload.

mod common;

use common::{NOW, begin, group, selector, series, serve, spec, weighted};
use std::sync::Arc;
use weir_balance::{Group, Method, Outcome, PeerSpec, Selector, Tried};

fn strict(name: &str, max_fails: u32) -> PeerSpec {
    PeerSpec { max_fails, fail_timeout: 10_000, ..spec(name) }
}

fn backup(name: &str) -> PeerSpec {
    PeerSpec { backup: true, ..spec(name) }
}

/// Runs new requests until `peer` gets one, and fails that one; the others end well.
fn fail(selector: &mut Selector, peer: usize, now: u64) -> bool {
    for _ in 0..selector.group().peers().len() + 1 {
        let picked = begin(selector, now).expect("a live peer");
        if picked == peer {
            return selector.release(picked, Outcome::Failure, now);
        }
        selector.release(picked, Outcome::Success, now);
    }
    panic!("peer {peer} is never chosen");
}

#[test]
fn failures_disable_for_fail_timeout_and_a_good_probe_brings_back() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 2), strict("b", 2)]);
    assert!(!fail(&mut selector, 0, NOW), "one of two failures");
    assert!(fail(&mut selector, 0, NOW + 5), "the second disables");
    assert_eq!(selector.group().peers()[0].state.fails(), 2);
    assert_eq!(series(&mut selector, 6, NOW + 10_005), "bbbbbb", "rests");

    let probe_time = NOW + 10_006;
    let probe = begin(&mut selector, probe_time);
    let probe = if probe == Some(0) { probe } else { begin(&mut selector, probe_time) };
    assert_eq!(probe, Some(0), "probed after fail_timeout");
    assert_eq!(series(&mut selector, 4, probe_time), "bbbb", "one probe at a time");
    selector.release(0, Outcome::Success, probe_time + 1);
    assert_eq!(selector.group().peers()[0].state.fails(), 0);
    let back = series(&mut selector, 4, probe_time + 1);
    assert_eq!(back.matches('a').count(), 2, "{back}");
}

#[test]
fn a_bad_probe_disables_again_at_once() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 3), strict("b", 3)]);
    for _ in 0..3 {
        fail(&mut selector, 0, NOW);
    }
    assert!(fail(&mut selector, 0, NOW + 10_001), "the probe failed");
    assert_eq!(series(&mut selector, 4, NOW + 20_001), "bbbb");
    assert_eq!(selector.group().peers()[0].state.failures(), 4);
}

#[test]
fn an_answer_before_the_probe_does_not_clear_failures() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 2), strict("b", 2)]);
    fail(&mut selector, 0, NOW);
    assert_eq!(series(&mut selector, 4, NOW + 9_000).matches('a').count(), 2);
    assert_eq!(selector.group().peers()[0].state.fails(), 1);
    fail(&mut selector, 0, NOW + 9_500);
    assert_eq!(series(&mut selector, 2, NOW + 9_500), "bb");
}

#[test]
fn three_failures_of_nine_take_the_peer_out() {
    // Every third request to the first peer fails and is served by the second.
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 3), strict("b", 3)]);
    let (mut served, mut count) = ([0, 0], 0);
    for _ in 0..30 {
        let mut request = Tried::default();
        while let Some(peer) = selector.pick(&mut request, b"", None, NOW) {
            count += usize::from(peer == 0);
            if peer == 0 && count.is_multiple_of(3) {
                selector.release(peer, Outcome::Failure, NOW);
                continue;
            }
            selector.release(peer, Outcome::Success, NOW);
            served[peer] += 1;
            break;
        }
    }
    assert_eq!(served, [6, 24]);
}

#[test]
fn neutral_and_uncounted_ends_do_not_blame() {
    for outcome in [Outcome::Neutral, Outcome::NextUncounted] {
        let mut selector = selector(Method::RoundRobin, vec![strict("a", 1), strict("b", 1)]);
        for _ in 0..10 {
            let peer = begin(&mut selector, NOW).expect("a live peer");
            assert!(!selector.release(peer, outcome, NOW), "{outcome:?}");
        }
        let state = &selector.group().peers()[0].state;
        assert_eq!((state.fails(), state.conns(), state.requests()), (0, 0, 5), "{outcome:?}");
    }
}

#[test]
fn a_neutral_end_of_the_probe_leaves_the_failures() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 1), strict("b", 1)]);
    fail(&mut selector, 0, NOW);
    let later = NOW + 10_001;
    while begin(&mut selector, later) != Some(0) {
        selector.release(1, Outcome::Success, later);
    }
    selector.release(0, Outcome::Neutral, later);
    assert_eq!(selector.group().peers()[0].state.fails(), 1);
    assert_eq!(series(&mut selector, 3, later + 1), "bbb");
}

#[test]
fn zero_max_fails_never_disables() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 0), strict("b", 0)]);
    for _ in 0..20 {
        assert!(!fail(&mut selector, 0, NOW));
    }
    assert_eq!(series(&mut selector, 4, NOW).matches('a').count(), 2);
}

#[test]
fn a_single_peer_is_never_disabled() {
    for method in [Method::RoundRobin, Method::LeastConn, Method::IpHash, Method::Random { two: true }] {
        let mut selector = selector(method, vec![strict("a", 1)]);
        assert!(selector.group().is_single());
        for _ in 0..5 {
            assert_eq!(begin(&mut selector, NOW), Some(0), "{method:?}");
            assert!(!selector.release(0, Outcome::Failure, NOW), "{method:?}");
        }
        let state = &selector.group().peers()[0].state;
        assert_eq!((state.fails(), state.failures()), (0, 5), "{method:?}");
    }
}

#[test]
fn what_counts_as_single_and_how_many_tries() {
    let down = PeerSpec { down: true, ..spec("d") };
    let drain = PeerSpec { drain: true, ..spec("r") };
    let of = |peers| {
        let group = group(Method::RoundRobin, peers);
        (group.is_single(), group.tries())
    };
    assert_eq!(of(vec![spec("a")]), (true, 1));
    assert_eq!(of(vec![spec("a"), down.clone()]), (false, 1));
    assert_eq!(of(vec![spec("a"), backup("b")]), (false, 2));
    assert_eq!(of(vec![spec("a"), spec("b"), down.clone(), drain, backup("c")]), (false, 3));
    assert_eq!(of(vec![down]), (true, 1));
    assert_eq!(of(vec![]), (false, 1));
}

#[test]
fn no_peers_is_no_live_upstream() {
    for method in [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Hash { consistent: false },
        Method::Hash { consistent: true },
        Method::Random { two: false },
        Method::LeastTime { last_byte: true, inflight: true },
    ] {
        assert_eq!(serve(&mut selector(method, vec![]), b"key", NOW), None, "{method:?}");
        let down = PeerSpec { down: true, ..spec("a") };
        let mut downs = selector(method, vec![down.clone(), down.clone(), down]);
        assert_eq!(serve(&mut downs, b"key", NOW), None, "{method:?}");
    }
}

#[test]
fn backups_only_when_the_primaries_give_nothing() {
    for method in [Method::RoundRobin, Method::LeastConn] {
        let peers = vec![backup("x"), strict("a", 1), strict("b", 1), backup("y")];
        let mut selector = selector(method, peers);
        let names: Vec<_> = selector.group().peers().iter().map(|p| p.spec.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "x", "y"], "primaries, then backups");
        assert_eq!(series(&mut selector, 4, NOW), "abab");
        fail(&mut selector, 0, NOW);
        assert_eq!(series(&mut selector, 2, NOW), "bb", "{method:?}");
        fail(&mut selector, 1, NOW);
        assert_eq!(series(&mut selector, 4, NOW), "cdcd", "{method:?}");
        let back = series(&mut selector, 4, NOW + 10_001);
        assert!(!back.contains(['c', 'd']), "{method:?}: {back}");
    }
}

#[test]
fn one_request_goes_through_primaries_then_backups_then_ends() {
    let mut selector = selector(Method::RoundRobin, vec![spec("a"), spec("b"), backup("c")]);
    let mut request = Tried::default();
    let mut order = Vec::new();
    while let Some(peer) = selector.pick(&mut request, b"", None, NOW) {
        assert!(request.contains(peer));
        selector.release(peer, Outcome::Failure, NOW);
        order.push(peer);
    }
    assert_eq!(order, [0, 1, 2]);
    assert!(request.on_backups());
}

#[test]
fn a_request_tries_each_of_many_peers_once() {
    let peers = (0..150).map(|n| weighted(&format!("p{n}"), n % 3 + 1)).collect();
    let mut selector = selector(Method::RoundRobin, peers);
    let mut request = Tried::default();
    let mut seen = [false; 150];
    while let Some(peer) = selector.pick(&mut request, b"", None, NOW) {
        assert!(!std::mem::replace(&mut seen[peer], true), "peer {peer} twice");
        selector.release(peer, Outcome::NextUncounted, NOW);
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn a_hint_is_taken_unless_the_peer_cannot_be_had() {
    for method in [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Hash { consistent: false },
        Method::Hash { consistent: true },
        Method::Random { two: false },
        Method::Random { two: true },
        Method::LeastTime { last_byte: false, inflight: true },
    ] {
        let full = PeerSpec { max_conns: 1, ..spec("c") };
        let drain = PeerSpec { drain: true, ..spec("d") };
        let down = PeerSpec { down: true, ..spec("e") };
        let mut selector = selector(method, vec![spec("a"), spec("b"), full, drain, down]);
        let mut hinted = |hint, request: &mut Tried| selector.pick(request, b"key", Some(hint), NOW);
        for _ in 0..8 {
            assert_eq!(hinted(1, &mut Tried::default()), Some(1), "{method:?}");
            assert_eq!(hinted(3, &mut Tried::default()), Some(3), "{method:?}: draining");
        }
        assert_eq!(hinted(2, &mut Tried::default()), Some(2), "{method:?}");
        for (hint, why) in [(2, "full"), (4, "down"), (99, "unknown")] {
            let other = hinted(hint, &mut Tried::default());
            assert!(matches!(other, Some(0 | 1)), "{method:?} {why}: {other:?}");
        }
        let mut request = Tried::default();
        assert_eq!(hinted(1, &mut request), Some(1));
        assert_eq!(hinted(1, &mut request), Some(0), "{method:?}: tried already");
    }
}

#[test]
fn draining_peers_get_no_new_clients() {
    let drain = PeerSpec { drain: true, ..weighted("b", 9) };
    let mut selector = selector(Method::RoundRobin, vec![spec("a"), drain, spec("c")]);
    assert_eq!(series(&mut selector, 6, NOW), "acacac");
}

#[test]
fn sticky_load_is_charged_to_round_robin() {
    let mut selector = selector(Method::RoundRobin, vec![spec("a"), spec("b"), spec("c")]);
    for _ in 0..50 {
        let peer = selector.pick(&mut Tried::default(), b"", Some(1), NOW).expect("the hint");
        selector.release(peer, Outcome::Success, NOW);
    }
    // The debt of b is bounded by one turn of the others, not by the 50 requests it had.
    assert_eq!(series(&mut selector, 6, NOW), "acabca");
}

#[test]
fn state_lives_through_a_reload_by_name() {
    let old = group(Method::RoundRobin, vec![strict("a", 1), strict("b", 1), strict("b", 1)]);
    let mut before = Selector::new(Arc::clone(&old), 1);
    fail(&mut before, 0, NOW);
    fail(&mut before, 2, NOW);
    let running = begin(&mut before, NOW).expect("peer b is live");
    assert_eq!(running, 1);

    let peers = vec![strict("b", 1), strict("new", 1), strict("a", 1), strict("b", 1)];
    let new = Arc::new(Group::new("group".into(), Method::RoundRobin, peers, Some(&old)));
    let fails: Vec<_> = new.peers().iter().map(|p| p.state.fails()).collect();
    assert_eq!(fails, [0, 0, 1, 1], "the first b keeps the first's state, the second the second's");
    assert_eq!(new.peers()[0].state.conns(), 1);
    before.release(running, Outcome::Success, NOW);
    assert_eq!(new.peers()[0].state.conns(), 0, "the old request ends in the shared count");
    assert_eq!(series(&mut Selector::new(new, 1), 4, NOW), "abab");
}

#[test]
fn failures_are_seen_by_all_threads() {
    let group = group(Method::RoundRobin, vec![strict("a", 1), strict("b", 1)]);
    let mut one = Selector::new(Arc::clone(&group), 1);
    let mut two = Selector::new(group, 2);
    fail(&mut one, 0, NOW);
    assert_eq!(series(&mut two, 4, NOW), "bbbb");
}

#[test]
fn a_clock_that_lags_in_one_thread_does_no_harm() {
    let mut selector = selector(Method::RoundRobin, vec![strict("a", 1), strict("b", 1)]);
    fail(&mut selector, 0, NOW);
    assert_eq!(series(&mut selector, 3, NOW - 50), "bbb");
    assert_eq!(series(&mut selector, 3, 0), "bbb");
}
