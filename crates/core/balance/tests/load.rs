//! Spread of load: sequences worked out by hand, shares by weight, limits, many peers, many threads.

mod common;

use common::{NOW, begin, group, selector, series, serve, spec, weighted};
use proptest::prelude::*;
use std::sync::Arc;
use weir_balance::{Group, Method, Outcome, PeerSpec, Selector, Times, Tried};

fn limited(name: &str, max_conns: u32) -> PeerSpec {
    PeerSpec { max_conns, ..spec(name) }
}

#[test]
fn round_robin_is_smooth() {
    let peers = vec![weighted("a", 5), spec("b"), spec("c")];
    let mut smooth = selector(Method::RoundRobin, peers);
    assert_eq!(series(&mut smooth, 14, NOW), "aabacaaaabacaa");
    let mut equal = selector(Method::RoundRobin, vec![spec("a"), spec("b"), spec("c")]);
    assert_eq!(series(&mut equal, 7, NOW), "abcabca");
    let mut zero = selector(Method::RoundRobin, vec![weighted("a", 0), weighted("b", 1)]);
    assert_eq!(series(&mut zero, 4, NOW), "abab", "weight 0 is read as 1");
}

#[test]
fn least_conn_goes_where_least_runs() {
    let mut selector = selector(Method::LeastConn, vec![spec("a"), spec("b")]);
    assert_eq!(series(&mut selector, 4, NOW), "abab", "ties by round robin");
    assert_eq!(begin(&mut selector, NOW), Some(0));
    assert_eq!(series(&mut selector, 5, NOW), "bbbbb");
    assert_eq!(begin(&mut selector, NOW), Some(1));
    selector.release(0, Outcome::Success, NOW);
    assert_eq!(series(&mut selector, 3, NOW), "aaa");
}

#[test]
fn least_conn_weighs() {
    let mut selector = selector(Method::LeastConn, vec![weighted("a", 3), weighted("b", 1)]);
    let mut running = [0; 2];
    for _ in 0..40 {
        running[begin(&mut selector, NOW).expect("a live peer")] += 1;
    }
    assert_eq!(running, [30, 10]);
}

#[test]
fn max_conns_moves_on_and_then_refuses() {
    for method in [
        Method::RoundRobin,
        Method::LeastConn,
        Method::IpHash,
        Method::Hash { consistent: false },
        Method::Hash { consistent: true },
        Method::Random { two: false },
        Method::Random { two: true },
        Method::LeastTime { last_byte: true, inflight: false },
    ] {
        let mut selector = selector(method, vec![limited("a", 1), limited("b", 2)]);
        let mut pick = || selector.pick(&mut Tried::default(), b"key", None, NOW);
        let mut held = [pick(), pick(), pick()];
        held.sort_unstable();
        assert_eq!(held, [Some(0), Some(1), Some(1)], "{method:?}");
        assert_eq!(pick(), None, "{method:?}");
        selector.release(1, Outcome::Success, NOW);
        assert_eq!(serve(&mut selector, b"key", NOW), Some(1), "{method:?}");
    }
}

#[test]
fn max_conns_counts_lines_of_one_address_apart_and_single_peers_too() {
    let peers = vec![limited("a", 1), limited("a", 1), spec("b")];
    let mut many = selector(Method::RoundRobin, peers);
    let held: Vec<_> = (0..6).map(|_| begin(&mut many, NOW)).collect();
    assert_eq!(held, [Some(0), Some(1), Some(2), Some(2), Some(2), Some(2)]);
    let mut single = selector(Method::RoundRobin, vec![limited("a", 2)]);
    let held: Vec<_> = (0..3).map(|_| begin(&mut single, NOW)).collect();
    assert_eq!(held, [Some(0), Some(0), None]);
}

#[test]
fn max_conns_sends_to_backups() {
    let backup = PeerSpec { backup: true, ..limited("b", 3) };
    for method in [Method::RoundRobin, Method::LeastConn] {
        let mut selector = selector(method, vec![limited("a", 2), backup.clone()]);
        let held: Vec<_> = (0..6).map(|_| begin(&mut selector, NOW)).collect();
        let wanted = [Some(0), Some(0), Some(1), Some(1), Some(1), None];
        assert_eq!(held, wanted, "{method:?}");
    }
}

#[test]
fn max_conns_holds_for_all_threads_together() {
    let group = group(Method::LeastConn, vec![limited("a", 3), limited("b", 5)]);
    let held = std::sync::Barrier::new(4);
    let worker = |seed| {
        let mut selector = Selector::new(Arc::clone(&group), seed);
        for _ in 0..2_000 {
            let Some(peer) = begin(&mut selector, NOW) else { continue };
            let peer = &selector.group().peers()[peer];
            assert!(peer.state.conns() <= peer.spec.max_conns);
            let index = peer.index;
            selector.release(index, Outcome::Success, NOW);
        }
        held.wait();
        (0..8).filter_map(|_| begin(&mut selector, NOW)).count()
    };
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || worker(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(total, 8, "neither lost nor exceeded");
}

#[test]
fn random_follows_weights_and_its_seed() {
    let peers = vec![weighted("a", 1), weighted("b", 2), weighted("c", 5)];
    let group = group(Method::Random { two: false }, peers);
    let run = |seed| series(&mut Selector::new(Arc::clone(&group), seed), 8_000, NOW);
    let (one, two) = (run(7), run(8));
    assert_eq!(one, run(7), "same seed, same throws");
    assert_ne!(one, two);
    for (peer, share) in [('a', 1_000), ('b', 2_000), ('c', 5_000)] {
        let got = one.matches(peer).count();
        assert!(got.abs_diff(share) < 150, "seed 7, {peer}: {got} of {share}");
    }
}

#[test]
fn random_two_prefers_the_idle_and_finds_the_last() {
    let two = Method::Random { two: true };
    let mut pair = selector(two, vec![spec("a"), spec("b")]);
    let busy = begin(&mut pair, NOW).expect("a live peer");
    for _ in 0..50 {
        // At most a few throws can miss the idle one, and then round robin decides.
        assert!(serve(&mut pair, b"", NOW).is_some());
    }
    assert!(pair.group().peers()[1 - busy].state.requests() >= 45);
    let down = |name| PeerSpec { down: true, ..weighted(name, 50) };
    let mut last = selector(two, vec![down("a"), down("b"), spec("c")]);
    assert_eq!(series(&mut last, 20, NOW), "c".repeat(20));
}

/// Runs one request that takes `header` and `response` milliseconds; returns its peer.
fn timed(selector: &mut Selector, header: u64, response: u64, now: u64) -> usize {
    let mut request = Tried::default();
    let peer = selector.pick(&mut request, b"", None, now).expect("a live peer");
    let times = Times { header: Some(header), response };
    selector.header_received(&mut request, peer, header, now + header);
    selector.release_timed(&mut request, peer, Outcome::Success, times, now + response);
    peer
}

#[test]
fn least_time_prefers_the_quick_and_forgives_with_time() {
    for (last_byte, inflight) in [(true, false), (true, true), (false, false), (false, true)] {
        let method = Method::LeastTime { last_byte, inflight };
        let mut selector = selector(method, vec![spec("a"), spec("b")]);
        // a is slow in the measure that counts.
        let slow = if last_byte { (5, 3_000) } else { (3_000, 3_000) };
        assert_eq!(timed(&mut selector, slow.0, slow.1, NOW), 0, "{method:?}");
        for number in 0..9 {
            assert_eq!(timed(&mut selector, 5, 5, NOW + 3_000 + number), 1, "{method:?}");
        }
        let state = &selector.group().peers()[0].state;
        let learnt = if last_byte { state.response_time() } else { state.header_time() };
        assert_eq!(learnt, 3_000, "{method:?}");
        // 11 seconds is one half-time, 8 of them leave 11 ms: as good as b.
        let later = NOW + 3_000 + 8 * 11_000;
        let got = [timed(&mut selector, 5, 5, later), timed(&mut selector, 5, 5, later)];
        assert!(got.contains(&0), "{method:?}: {got:?}");
    }
}

#[test]
fn least_time_avoids_a_peer_whose_requests_hang() {
    let method = Method::LeastTime { last_byte: true, inflight: true };
    let mut selector = selector(method, vec![spec("a"), spec("b")]);
    let mut hanging = [Tried::default(), Tried::default()];
    let held = hanging.each_mut().map(|request| selector.pick(request, b"", None, NOW));
    assert_eq!(held, [Some(0), Some(1)]);
    let quick = Times { header: Some(1), response: 1 };
    selector.release_timed(&mut hanging[1], 1, Outcome::Success, quick, NOW + 1);
    for number in 0..20 {
        assert_eq!(timed(&mut selector, 1, 1, NOW + 2_000 + number), 1);
    }
    let never = Times { header: None, response: 4_000 };
    selector.release_timed(&mut hanging[0], 0, Outcome::Failure, never, NOW + 4_000);
    assert_eq!(selector.group().peers()[0].state.response_time(), 0, "failures teach nothing");
    assert_eq!(selector.group().peers()[0].state.conns(), 0);
}

#[test]
fn ten_thousand_peers_are_served_evenly() {
    let peers = (0..10_000).map(|n| spec(&format!("10.0.{}.{}:80", n / 256, n % 256)));
    let peers: Vec<_> = peers.collect();
    for method in [Method::RoundRobin, Method::LeastConn] {
        let mut selector = selector(method, peers.clone());
        for wanted in 0..200 {
            assert_eq!(serve(&mut selector, b"", NOW), Some(wanted), "{method:?}");
        }
    }
    let mut ring = selector(Method::Hash { consistent: true }, peers);
    assert!((0..200_u32).all(|n| serve(&mut ring, &n.to_le_bytes(), NOW).is_some()));
}

proptest! {
    #[test]
    fn round_robin_gives_each_its_weight(weights in prop::collection::vec(1_u32..20, 1..12)) {
        let total: u32 = weights.iter().sum();
        let peers = weights.iter().enumerate().map(|(n, w)| weighted(&n.to_string(), *w)).collect();
        let mut selector = selector(Method::RoundRobin, peers);
        let mut got = vec![0; weights.len()];
        for _ in 0..total * 2 {
            got[serve(&mut selector, b"", NOW).expect("a live peer")] += 1;
        }
        let wanted: Vec<u32> = weights.iter().map(|weight| weight * 2).collect();
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn any_traffic_leaves_no_request_behind(
        method in prop::sample::select(vec![
            Method::RoundRobin, Method::LeastConn, Method::IpHash,
            Method::Hash { consistent: false }, Method::Hash { consistent: true },
            Method::Random { two: false }, Method::Random { two: true },
            Method::LeastTime { last_byte: false, inflight: true },
        ]),
        peers in prop::collection::vec((0_u32..5, 0_u32..3, 0_u32..4, any::<[bool; 3]>()), 0..80),
        requests in prop::collection::vec((any::<u32>(), 0_usize..90, 0_u8..4, 0_u64..30_000), 0..60),
        seed in any::<u64>(),
    ) {
        let peers = peers.iter().enumerate().map(|(n, (weight, max_fails, max_conns, flags))| PeerSpec {
            max_fails: *max_fails,
            max_conns: *max_conns,
            backup: flags[0],
            down: flags[1] && flags[2],
            drain: flags[1] && !flags[2],
            ..weighted(&format!("p{}:{}", n / 2, n % 2), *weight)
        });
        let group = Group::new("g".into(), method, peers.collect(), None);
        let mut selector = Selector::new(Arc::new(group), seed);
        let mut now = 0;
        for (key, hint, outcome, pause) in requests {
            now += pause;
            let mut request = Tried::default();
            let mut left = if selector.group().is_single() { 1 } else { usize::MAX };
            while left > 0 && let Some(peer) = selector.pick(&mut request, &key.to_be_bytes(), Some(hint), now) {
                left -= 1;
                prop_assert!(!selector.group().peers()[peer].spec.down);
                let outcome = [Outcome::Success, Outcome::Failure, Outcome::NextUncounted, Outcome::Neutral]
                    [outcome as usize];
                let times = Times { header: Some(pause), response: pause };
                selector.release_timed(&mut request, peer, outcome, times, now);
            }
        }
        for peer in selector.group().peers() {
            prop_assert_eq!(peer.state.conns(), 0);
        }
    }
}
