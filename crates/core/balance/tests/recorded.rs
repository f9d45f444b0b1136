//! The same groups, keys and failing peers as in a recorded run of nginx: the same peers in the same order.

mod common;

use common::NOW;
use std::net::IpAddr;
use std::sync::Arc;
use weir_balance::{Group, Method, Outcome, PeerSpec, Selector, Tried};

/// Ports that answered nothing when the record was made.
const DEAD: [&str; 2] = ["127.0.0.1:18084", "127.0.0.1:18085"];

struct Case<'a> {
    name: &'a str,
    method: Method,
    peers: Vec<PeerSpec>,
    /// Key and the peers tried.
    requests: Vec<(&'a str, &'a str)>,
}

#[test]
fn order_is_that_of_nginx() {
    let cases = parse(include_str!("conformance/nginx.txt"));
    assert_eq!(cases.len(), 27, "groups in the record");
    for case in &cases {
        let group = Group::new(case.name.into(), case.method, case.peers.clone(), None);
        let mut selector = Selector::new(Arc::new(group), 0);
        for (number, (key, tried)) in case.requests.iter().enumerate() {
            let got = attempt(&mut selector, key);
            assert_eq!(&got, tried, "{} request {} {key}", case.name, number + 1);
        }
    }
}

/// Runs one request as the proxy does, and says what `$upstream_addr` would.
fn attempt(selector: &mut Selector, key: &str) -> String {
    let group = Arc::clone(selector.group());
    let bytes = match (group.method(), key.parse()) {
        (Method::IpHash, Ok(IpAddr::V4(address))) => address.octets().to_vec(),
        (Method::IpHash, Ok(IpAddr::V6(address))) => address.octets().to_vec(),
        _ => key.as_bytes().to_vec(),
    };
    let mut request = Tried::default();
    let mut shown: Vec<&str> = Vec::new();
    let tries = if group.is_single() { 1 } else { group.tries() };
    for _ in 0..tries {
        let Some(peer) = selector.pick(&mut request, &bytes, None, NOW) else {
            shown.push(group.name());
            break;
        };
        let name = group.peers()[peer].spec.name.as_str();
        shown.push(name);
        if !DEAD.contains(&name) {
            selector.release(peer, Outcome::Success, NOW);
            break;
        }
        selector.release(peer, Outcome::Failure, NOW);
    }
    shown.join(", ")
}

fn parse(record: &'static str) -> Vec<Case<'static>> {
    let mut cases: Vec<Case<'static>> = Vec::new();
    for line in record.lines().filter(|line| !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("group ") {
            let (name, method) = head.split_once(' ').unwrap_or((head, ""));
            cases.push(Case { name, method: method_of(method), peers: Vec::new(), requests: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        if let Some(server) = line.strip_prefix("server ") {
            case.peers.push(peer_of(server));
        } else if let Some((key, tried)) = line.split_once(" -> ") {
            case.requests.push((key, tried));
        }
    }
    cases
}

fn method_of(directive: &str) -> Method {
    match directive {
        "" => Method::RoundRobin,
        "least_conn" => Method::LeastConn,
        "ip_hash" => Method::IpHash,
        "hash $arg_k" => Method::Hash { consistent: false },
        "hash $arg_k consistent" => Method::Hash { consistent: true },
        other => panic!("unknown method in the record: {other}"),
    }
}

fn peer_of(line: &str) -> PeerSpec {
    let mut words = line.split(' ');
    let mut peer = PeerSpec::new(words.next().expect("a server line has an address"));
    for word in words {
        let number = |value: &str| value.parse::<u32>().expect("a number");
        match word.split_once('=') {
            Some(("weight", value)) => peer.weight = number(value),
            Some(("max_fails", value)) => peer.max_fails = number(value),
            Some(("fail_timeout", value)) => peer.fail_timeout = u64::from(number(value)) * 1000,
            None if word == "down" => peer.down = true,
            None if word == "backup" => peer.backup = true,
            _ => panic!("unknown parameter in the record: {word}"),
        }
    }
    peer
}
