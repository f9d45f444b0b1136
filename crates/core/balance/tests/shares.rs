//! Peers that have a part of their weight.

mod common;

use common::{NOW, series, serve, spec, weighted};
use std::sync::Arc;
use weir_balance::{Group, Member, Method, Outcome, PeerSpec, Selector, Tried};

fn partial(name: &str, weight: u32, share: u8) -> PeerSpec {
    PeerSpec { share, ..weighted(name, weight) }
}

fn members(shares: &[u8]) -> Vec<Member> {
    shares
        .iter()
        .enumerate()
        .map(|(n, &share)| (partial(&format!("p{n}"), 1, share), Arc::default()))
        .collect()
}

fn follow(selector: &mut Selector, members: &[Member]) {
    let next = Arc::new(Group::with_states("group".into(), selector.group().method(), members.to_vec()));
    let places = next.places_in(selector.group());
    selector.follow(next, &places);
}

/// How many of `requests` each peer gets, with a key of its own for each.
fn counts(method: Method, peers: Vec<PeerSpec>, requests: u32) -> Vec<u32> {
    let mut counts = vec![0; peers.len()];
    let mut selector = common::selector(method, peers);
    for n in 0..requests {
        // Four bytes, as ip_hash has them; it looks at three.
        let key = (n.wrapping_mul(2_654_435_761)).to_be_bytes();
        counts[serve(&mut selector, &key, NOW).expect("a peer")] += 1;
    }
    counts
}

#[test]
fn round_robin_gives_a_tenth_exactly() {
    for method in [Method::RoundRobin, Method::LeastConn] {
        assert_eq!(counts(method, vec![spec("a"), partial("b", 1, 10)], 1100), [1000, 100]);
        assert_eq!(counts(method, vec![weighted("a", 2), partial("b", 3, 50)], 350), [200, 150]);
    }
}

#[test]
fn hashes_and_dice_give_about_a_tenth() {
    for method in [
        Method::IpHash,
        Method::Hash { consistent: false },
        Method::Hash { consistent: true },
        Method::Random { two: false },
    ] {
        let peers = vec![spec("a"), spec("b"), spec("c"), partial("d", 1, 10)];
        let counts = counts(method, peers, 31_000);
        assert!((600..=1500).contains(&counts[3]), "{method:?}: {counts:?}");
        assert!(counts[..3].iter().all(|count| (7000..=13_000).contains(count)), "{method:?}: {counts:?}");
    }
}

#[test]
fn a_share_that_grows_moves_no_key_between_the_others() {
    for method in [Method::IpHash, Method::Hash { consistent: false }, Method::Hash { consistent: true }] {
        let chosen = |share| {
            let peers = vec![spec("a:1"), spec("b:1"), spec("c:1"), partial("d:1", 1, share)];
            let mut selector = common::selector(method, peers);
            let pick = |n: u32| serve(&mut selector, &n.wrapping_mul(40_503).to_be_bytes(), NOW);
            (0..5000).map(pick).collect::<Vec<_>>()
        };
        let (small, whole) = (chosen(10), chosen(100));
        let moved = small.iter().zip(&whole).filter(|(before, after)| before != after);
        assert!(moved.clone().count() > 500, "{method:?}");
        assert!(
            moved.clone().all(|(_, after)| *after == Some(3)),
            "{method:?}: only the peer that grows takes keys"
        );
    }
}

#[test]
fn a_growing_share_brings_no_burst() {
    let mut members = members(&[100, 100, 100]);
    let mut selector =
        Selector::new(Arc::new(Group::with_states("group".into(), Method::RoundRobin, members.clone())), 1);
    assert_eq!(series(&mut selector, 4, NOW), "abca");
    for share in [5, 10, 50, 75, 99, 100, 5, 100] {
        members[2].0.share = share;
        follow(&mut selector, &members);
        // Whatever was saved up: nobody gets three in a row, and the whole ones keep their turns.
        let turns = series(&mut selector, 40, NOW);
        let of = |letter: &str| turns.matches(letter).count();
        assert!(!["aaa", "bbb", "cc"].iter().any(|burst| turns.contains(burst)), "{share}: {turns}");
        assert!(of("a").abs_diff(of("b")) <= 1, "{share}: {turns}");
        let expected = 40.0 * f64::from(share) / (200.0 + f64::from(share));
        assert!((of("c") as f64 - expected).abs() <= 1.5, "{share}: {turns}");
    }
}

#[test]
fn another_share_leaves_the_turn_where_it_was() {
    let mut members = members(&[100, 100, 100]);
    let start = Arc::new(Group::with_states("group".into(), Method::RoundRobin, members.clone()));
    let mut selector = Selector::new(start, 1);
    assert_eq!(series(&mut selector, 1, NOW), "a");
    members[2].0.share = 50;
    follow(&mut selector, &members);
    members[2].0.share = 100;
    follow(&mut selector, &members);
    assert_eq!(series(&mut selector, 5, NOW), "bcabc");
}

#[test]
fn a_punished_peer_recovers_as_fast_in_either_scale() {
    let recovery = |share| {
        let mut selector = common::selector(
            Method::RoundRobin,
            vec![PeerSpec { max_fails: 10, ..weighted("a", 10) }, weighted("b", 10), partial("c", 10, share)],
        );
        for _ in 0..5 {
            let mut request = Tried::default();
            let peer = selector.pick(&mut request, b"", Some(0), NOW).expect("the hinted peer");
            assert_eq!(peer, 0);
            selector.release(peer, Outcome::Failure, NOW);
        }
        series(&mut selector, 120, NOW).matches('a').count()
    };
    assert!(recovery(99).abs_diff(recovery(100)) <= 1, "{} and {}", recovery(99), recovery(100));
}
