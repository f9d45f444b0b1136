//! What a master has: addresses with their options, routes, rules, interfaces with the standard's hardware address, and
//! whether packets to the addresses are accepted.

use weir_lab::{Host, Lab, Outcome};

use crate::common::seek;
use crate::routers::{ADDRESS, FAST, Instance, Node, Start, holds, host, keepalived, watch, weir};
use crate::stage::{gateway, lab, mac, neighbour, one, output, ping, prints};

const LINES: &str = "10.9.0.100\n 10.9.0.101/24 dev eth0 label eth0:web\n 10.9.0.102/24 brd +\n 10.7.2.1/24 dev eth1 scope link\n \
                     10.9.0.103/24 brd 10.9.0.7\n 10.9.0.104/24 brd -\n 10.7.0.1/24 dev eth1 scope host noprefixroute\n \
                     10.7.1.1/32 dev eth1 peer 10.7.1.2 label eth1:x";
const MORE: &str = "virtual_ipaddress_excluded {\n 10.9.0.110\n fd09::5/64 dev eth1\n fd09::6\n }\n virtual_routes {\n \
                    10.20.0.0/16 via 10.9.0.9\n 10.21.0.0/16 dev eth1 scope link\n 10.22.0.0/16 via 10.9.0.9 src 10.9.0.101 \
                    table 100 metric 7\n blackhole 10.23.0.0/16\n default via 10.9.0.9 dev eth0 table 101\n }\n virtual_rules {\n \
                    from 10.9.0.101 table 100 priority 1000\n to 10.30.0.0/16 lookup 101 preference 1001\n from \
                    10.9.0.0/24 iif eth1 table 100 priority 1002\n }";
const STATIC: &str = "static_ipaddress {\n 10.6.0.1/24 dev eth0 scope global\n}\nstatic_routes {\n 10.24.0.0/16 via 10.9.0.9 \
                      dev eth0\n}\nstatic_rules {\n from 10.6.0.0/24 table 100 priority 900\n}\n";

/// What the machine has, without times: leases have some, and their addresses count as dynamic.
fn seen(host: &Host) -> Vec<String> {
    let mut lines = Vec::new();
    for words in [
        "ip -o -4 address show dev eth0",
        "ip -o -4 address show dev eth1",
        "ip -o -6 address show scope global",
        "ip -4 rule show",
    ] {
        let text = output(host, words);
        let plain = |line: &str| {
            let line = line.split("valid_lft").next().unwrap_or(line).replace(" dynamic", "");
            line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        };
        lines.extend(text.lines().map(plain));
    }
    let routes = output(host, "ip -4 route show table all");
    let routes = routes.lines().filter(|line| !line.contains("table local"));
    lines.extend(routes.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    lines.sort();
    lines
}

fn both(start: Start) -> [Vec<String>; 3] {
    let lab = lab();
    let a = gateway(&lab, "a", 1);
    let bare = seen(&a);
    let body = format!("{FAST}\n {MORE}");
    let file = Instance { addresses: LINES, body: &body, ..Instance::default() }.text();
    let router = start(&a, &format!("{STATIC}{file}"));
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
    // Routes and rules are the last.
    prints(&a, "ip -4 rule show", |text| text.contains("1002:"));
    let full = seen(&a);
    router.end();
    let left = seen(&a).into_iter().filter(|line| !bare.contains(line)).collect();
    [bare, full, left]
}

#[test]
fn addresses_routes_and_rules_are_those_of_keepalived() {
    let ([bare, ours, left], [_, theirs, _]) = (both(weir), both(keepalived));
    let missing: Vec<_> = theirs.iter().filter(|line| !ours.contains(line)).collect();
    let more: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "only keepalived: {missing:#?}\nonly here: {more:#?}");
    assert!(ours.len() > bare.len() + 15, "{ours:#?}");
    assert_eq!(left, Vec::<String>::new(), "nothing is left after the end");
}

/// A client asks for the address while it moves, and always gets the same hardware address.
fn virtual_mac(first: Start, second: Start, v6: bool) {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    let client = lab.host("client").address("10.9.0.9/24").address("fd09::9/64").start().expect("a client");
    let (address, line, expected) = if v6 {
        ("fd09::100", "fd09::100/64", "00:00:5e:00:02:09")
    } else {
        (ADDRESS, "10.9.0.100/24", "00:00:5e:00:01:09")
    };
    let watch = watch(&lab, address);
    let file = |priority| {
        let body = format!("{FAST}\n use_vmac");
        Instance { priority, addresses: line, body: &body, ..Instance::default() }.text()
    };
    let (first, second) = (first(&a, &file(150)), second(&b, &file(100)));
    holds(&watch, &["a"], &[&first, &second]);
    let text = output(&a, &format!("ip -o address show to {address}"));
    assert!(text.contains(" vrrp.9 ") || text.contains(" vrrp6.9 "), "{text}");
    assert_eq!(ping(&client, address), Outcome::Answered, "{}", first.log());
    // keepalived's host shows its other hardware address when it asks for the client.
    let right = |router: &Node| router.log().contains("Keepalived") || learnt(&client, address, expected);
    assert!(right(&first), "{:?}", neighbour(&client, address));
    first.end();
    holds(&watch, &["b"], &[&first, &second]);
    assert_eq!(seek(|| (ping(&client, address) == Outcome::Answered).then_some(())), Some(()));
    assert!(right(&second), "{:?}", neighbour(&client, address));
    assert!(!output(&a, "ip link show").contains("vrrp"), "the interface goes with its program");
}

fn learnt(client: &Host, address: &str, expected: &str) -> bool {
    neighbour(client, address).as_deref() == Some(expected)
}

#[test]
fn a_virtual_mac_stays_between_two_of_a_kind() {
    virtual_mac(weir, weir, false);
    virtual_mac(weir, weir, true);
}

#[test]
fn a_virtual_mac_stays_when_keepalived_takes_over() {
    virtual_mac(weir, keepalived, false);
}

#[test]
fn a_virtual_mac_stays_when_weir_takes_over() {
    virtual_mac(keepalived, weir, false);
}

#[test]
fn a_virtual_mac_of_ipv6_stays_when_keepalived_takes_over() {
    virtual_mac(weir, keepalived, true);
}

#[test]
fn a_virtual_mac_of_ipv6_stays_when_weir_takes_over() {
    virtual_mac(keepalived, weir, true);
}

fn with_client() -> (Lab, Host, Host) {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let client = lab.host("client").address("10.9.0.9/24").address("fd09::9/64").start().expect("a client");
    (lab, a, client)
}

fn accepts(file: &str, address: &str, accepted: bool) {
    let (lab, a, client) = with_client();
    let router = weir(&a, file);
    holds(&watch(&lab, address), &["a"], &[&router]);
    let expected = if accepted { Outcome::Answered } else { Outcome::TimedOut };
    assert_eq!(ping(&client, address), expected, "{file}\n{}", router.log());
    assert_eq!(neighbour(&client, address), Some(mac(&a, "eth0")), "the address is resolved all the same");
    router.end();
    let rules = output(&a, "nft list ruleset");
    assert_eq!(rules, "", "rules go with their program");
}

#[test]
fn packets_to_the_address_are_accepted_unless_the_file_says_otherwise() {
    accepts(&one(100, ""), ADDRESS, true);
    accepts(&one(100, "accept"), ADDRESS, true);
    accepts(&one(100, "no_accept"), ADDRESS, false);
    accepts(&one(255, "no_accept"), ADDRESS, true);
}

#[test]
fn strict_mode_accepts_nothing_unless_it_is_said() {
    accepts(&one(100, "strict_mode on"), ADDRESS, false);
    accepts(&one(100, "strict_mode on\n accept"), ADDRESS, true);
    accepts(&format!("global_defs {{\n vrrp_strict\n}}\n{}", one(100, "")), ADDRESS, false);
    let old = Instance { body: "version 2\n advert_int 1\n strict_mode on\n accept", ..Instance::default() };
    accepts(&old.text(), ADDRESS, false);
}

#[test]
fn packets_to_an_ipv6_address_are_dropped_and_it_is_resolved() {
    let file = |body: &str| {
        let body = format!("{FAST}\n {body}");
        Instance { addresses: "fd09::100/64", body: &body, ..Instance::default() }.text()
    };
    accepts(&file("no_accept"), "fd09::100", false);
    accepts(&file(""), "fd09::100", true);
}

#[test]
fn a_line_that_the_kernel_refuses_takes_nothing_from_the_others() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    // A second address of a network may not have another scope than its first.
    let addresses = "10.9.0.100/24\n 10.9.0.101/24 scope link";
    let body = FAST;
    let router = weir(&a, &Instance { addresses, body, ..Instance::default() }.text());
    router.wait_log("the other addresses are held");
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
    router.wait_state("master");
}
