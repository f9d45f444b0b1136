//! Hashes: stable, and moving few keys when the group changes. The order itself is checked in recorded.rs.

mod common;

use common::{NOW, begin, selector, serve, spec, weighted};
use std::net::{Ipv4Addr, Ipv6Addr};
use weir_balance::{Method, Outcome, PeerSpec, Selector, Tried};

const CONSISTENT: Method = Method::Hash { consistent: true };
const PLAIN: Method = Method::Hash { consistent: false };

/// The server of each of `keys` keys.
fn homes(selector: &mut Selector, keys: u32) -> Vec<String> {
    let home = |key: u32| {
        let peer = serve(selector, key.to_string().as_bytes(), NOW).expect("a live peer");
        selector.group().peers()[peer].spec.server.clone()
    };
    (0..keys).map(home).collect()
}

fn without(peers: &[PeerSpec], name: &str) -> Vec<PeerSpec> {
    let kept = peers.iter().filter(|peer| peer.name != name);
    kept.cloned().collect()
}

fn five() -> Vec<PeerSpec> {
    let names = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80", "10.0.0.5:80"];
    names.into_iter().map(spec).collect()
}

#[test]
fn a_key_has_a_home() {
    for method in [CONSISTENT, PLAIN] {
        let mut selector = selector(method, five());
        let first = homes(&mut selector, 500);
        assert_eq!(first, homes(&mut selector, 500), "{method:?}");
        for peer in five() {
            let count = first.iter().filter(|home| **home == peer.server).count();
            assert!((40..=180).contains(&count), "{method:?} {}: {count} of 500", peer.name);
        }
    }
}

#[test]
fn consistent_moves_only_the_keys_of_the_peer_that_left() {
    let all = homes(&mut selector(CONSISTENT, five()), 2_000);
    let fewer = homes(&mut selector(CONSISTENT, without(&five(), "10.0.0.3:80")), 2_000);
    for (key, (before, after)) in all.iter().zip(&fewer).enumerate() {
        assert!(before == after || before == "10.0.0.3:80", "key {key}: {before}, then {after}");
    }
    let moved = homes(&mut selector(PLAIN, without(&five(), "10.0.0.3:80")), 2_000);
    let plain = homes(&mut selector(PLAIN, five()), 2_000);
    let stayed = plain.iter().zip(&moved).filter(|(a, b)| a == b).count();
    assert!(stayed < 1_000, "a plain hash moves most keys, {stayed} stayed");
}

#[test]
fn consistent_follows_weights_and_ignores_the_order_of_lines() {
    let mut peers = five();
    peers[1].weight = 6;
    let before = homes(&mut selector(CONSISTENT, peers.clone()), 4_000);
    peers.reverse();
    assert_eq!(before, homes(&mut selector(CONSISTENT, peers), 4_000));
    let heavy = before.iter().filter(|home| *home == "10.0.0.2:80").count();
    assert!((2_000..=2_800).contains(&heavy), "6 of 10 by weight: {heavy} of 4000");
}

#[test]
fn addresses_of_one_server_line_take_turns() {
    let line = |name: &str| PeerSpec { server: "app.test:80".into(), ..spec(name) };
    let mut selector = selector(CONSISTENT, vec![line("10.0.0.1:80"), line("10.0.0.2:80")]);
    let turns: Vec<_> = (0..4).map(|_| serve(&mut selector, b"key", NOW)).collect();
    assert_eq!(turns, [Some(0), Some(1), Some(0), Some(1)]);
}

#[test]
fn server_text_splits_into_host_and_port_on_the_ring() {
    // Texts that name the same host and port bytes hold the same places; others do not.
    let places = |text: &str| {
        let named = PeerSpec { server: text.into(), ..spec("10.0.0.9:80") };
        let mut selector = selector(CONSISTENT, vec![named, spec("10.0.0.1:80")]);
        (0..300_u32).map(|key| serve(&mut selector, &key.to_le_bytes(), NOW)).collect::<Vec<_>>()
    };
    assert_eq!(places("unix:/run/a.sock"), places("UNIX:/run/a.sock"), "scheme in any case");
    assert_eq!(places("unix:/run/a.sock"), places("/run/a.sock"), "a path has no port");
    assert_eq!(places("app"), places("app:"));
    assert_ne!(places("app"), places("app:80"));
    assert_ne!(places("[::1]"), places("[::1]:80"));
    assert_eq!(places("é:80").len(), 300, "text beyond ascii");
}

#[test]
fn empty_keys_go_round() {
    for method in [CONSISTENT, PLAIN] {
        let mut selector = selector(method, five());
        let order: Vec<_> = (0..5).map(|_| serve(&mut selector, b"", NOW)).collect();
        assert_eq!(order, (0..5).map(Some).collect::<Vec<_>>(), "{method:?}");
    }
}

#[test]
fn a_second_try_leaves_home_and_the_next_request_returns() {
    for method in [CONSISTENT, PLAIN] {
        let mut selector = selector(method, five());
        let home = serve(&mut selector, b"key", NOW);
        let mut request = Tried::default();
        let mut order = Vec::new();
        while let Some(peer) = selector.pick(&mut request, b"key", None, NOW) {
            selector.release(peer, Outcome::Neutral, NOW);
            order.push(peer);
        }
        assert_eq!(order.first().copied(), home, "{method:?}");
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4], "{method:?}: each once");
        assert_eq!(serve(&mut selector, b"key", NOW), home, "{method:?}");
    }
}

#[test]
fn ip_hash_takes_networks_of_ipv4_and_whole_addresses_of_ipv6() {
    let spread = |count: usize| {
        let peers = five().into_iter().take(count).collect();
        let mut selector = selector(Method::IpHash, peers);
        let mut served = vec![0; count];
        for net in 1..=30 {
            let client = Ipv4Addr::new(127, 0, net, 2).octets();
            let neighbour = Ipv4Addr::new(127, 0, net, 200).octets();
            let peer = serve(&mut selector, &client, NOW);
            assert_eq!(peer, serve(&mut selector, &neighbour, NOW));
            served[peer.expect("a live peer")] += 1;
        }
        served
    };
    assert_eq!(spread(2), [15, 15]);
    assert_eq!(spread(3), [10, 10, 10]);

    let mut pair = selector(Method::IpHash, vec![spec("a"), spec("b")]);
    let mut served = [0, 0];
    for host in (1..=0x30_u16).filter(|host| format!("{host:x}").parse::<u16>().is_ok()) {
        let client = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, host).octets();
        served[serve(&mut pair, &client, NOW).expect("a live peer")] += 1;
    }
    assert_eq!(served.iter().sum::<i32>(), 30);
    assert_eq!(served, [15, 15]);
}

#[test]
fn ip_hash_without_an_address_has_one_home() {
    let mut selector = selector(Method::IpHash, five());
    let home = begin(&mut selector, NOW);
    assert!(home.is_some());
    assert_eq!(serve(&mut selector, &[0, 0, 0, 9], NOW), home, "as network 0.0.0");
}

#[test]
fn hashes_leave_a_peer_that_rests_and_return() {
    for (method, key) in [(CONSISTENT, &b"key"[..]), (PLAIN, b"key"), (Method::IpHash, &[10, 1, 2, 3])] {
        let mut selector = selector(method, vec![weighted("a:1", 2), weighted("b:1", 2), spec("c:1")]);
        let mut request = Tried::default();
        let home = selector.pick(&mut request, key, None, NOW).expect("a live peer");
        assert!(selector.release(home, Outcome::Failure, NOW), "{method:?}");
        let away = serve(&mut selector, key, NOW);
        assert_ne!(away, Some(home), "{method:?}");
        assert_eq!(serve(&mut selector, key, NOW), away, "{method:?}");
        assert_eq!(serve(&mut selector, key, NOW + 10_001), Some(home), "{method:?}");
    }
}
