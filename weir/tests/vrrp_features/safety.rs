//! Where an instance is safer than keepalived's: what others do to its addresses, to its messages and to its process.

use std::time::Duration;

use weir_lab::{Host, Lab, PacketKind, Signal};

use crate::routers::{ADDRESS, Instance, Node, holds, host, keepalived, watch, weir};
use crate::stage::{lab, mac, one};

fn pair() -> (Lab, Host, Host) {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    (lab, a, b)
}

fn alarmed(router: &Node, text: &str) {
    router.shows(text, |row| row["alarms"].to_string().contains(text));
}

#[test]
fn an_address_that_is_deleted_is_put_back() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let (first, second) = (weir(&a, &one(150, "")), keepalived(&b, &one(100, "")));
    holds(&watch, &["a"], &[&first, &second]);
    a.delete_address(ADDRESS.parse().expect("an address")).expect("it was there");
    first.wait_log("10.9.0.100 was deleted from eth0");
    holds(&watch, &["a"], &[&first, &second]);
    first.shows("an address put back", |row| row["stats"]["restored"] == 1);
    first.shows("more advertisements", |row| row["stats"]["advert_sent"].as_u64() > Some(20));
    assert_eq!(watch.account(Duration::ZERO, lab.now()).moves, 0, "{:?}", watch.intervals());
}

#[test]
fn an_ipv6_address_that_is_deleted_is_put_back() {
    let (lab, a, _b) = pair();
    let watch = watch(&lab, "fd09::100");
    let router = weir(&a, &Instance { addresses: "fd09::100", ..Instance::default() }.text());
    holds(&watch, &["a"], &[&router]);
    a.delete_address("fd09::100".parse().expect("an address")).expect("it was there");
    router.wait_log("fd09::100 was deleted from eth0");
    holds(&watch, &["a"], &[&router]);
}

fn listing(priority: u8, addresses: &str) -> String {
    Instance { priority, addresses, ..Instance::default() }.text()
}

const DIFFER: &str = "10.9.0.2 advertises other addresses (only here: 10.9.0.101; only there: none)";

#[test]
fn address_lists_that_differ_are_alarmed_and_do_not_split() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let second = keepalived(&b, &listing(150, ADDRESS));
    holds(&watch, &["b"], &[&second]);
    let first = weir(&a, &listing(100, "10.9.0.100\n 10.9.0.101"));
    first.wait_log(DIFFER);
    alarmed(&first, "10.9.0.2");
    let row = first.shows("more advertisements", |row| row["stats"]["advert_rcvd"].as_u64() > Some(20));
    assert_eq!(
        (&row["state"], row["stats"]["addr_list_err"].as_u64() > Some(20)),
        (&"backup".into(), true),
        "{row:#}"
    );
    assert_eq!(watch.holders(), ["b"]);
    assert_eq!(watch.account(Duration::ZERO, lab.now()).moves, 0, "{:?}", watch.intervals());
}

#[test]
fn address_lists_that_differ_do_not_split_two_of_a_kind() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let first = weir(&a, &listing(100, "10.9.0.100\n 10.9.0.101"));
    let second = weir(&b, &listing(150, ADDRESS));
    holds(&watch, &["b"], &[&first, &second]);
    first.wait_log(DIFFER);
    first.shows("more advertisements", |row| row["stats"]["advert_rcvd"].as_u64() > Some(20));
    assert_eq!(watch.holders(), ["b"]);
}

#[test]
fn another_host_that_answers_for_the_address_is_named() {
    let (lab, a, _b) = pair();
    let other = host(&lab, "other", 7);
    other.ip(&format!("address add {ADDRESS}/24 dev eth0")).expect("the address");
    let router = weir(&a, &one(100, ""));
    let text = format!("{} answers for {ADDRESS}", mac(&other, "eth0"));
    router.wait_log(&text);
    alarmed(&router, &text);
    other.delete_address(ADDRESS.parse().expect("an address")).expect("it was there");
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
}

#[test]
fn a_node_that_did_not_run_listens_before_it_speaks() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let (first, second) = (weir(&a, &one(150, "nopreempt")), keepalived(&b, &one(100, "")));
    holds(&watch, &["a"], &[&first, &second]);
    let mut capture = lab.capture("lan").expect("tcpdump");
    let processes = a.processes();
    processes.iter().for_each(|one| one.signal(Signal::STOP).expect("it stops"));
    // Its lease ends meanwhile.
    holds(&watch, &["b"], &[&first, &second]);
    let woken = lab.now();
    processes.iter().for_each(|one| one.signal(Signal::CONT).expect("it goes on"));
    first.wait_log("a peer may be master by now, so it listens first");
    first.shows("more advertisements", |row| row["stats"]["advert_rcvd"].as_u64() > Some(20));
    assert_eq!(watch.holders(), ["b"]);
    let own = |kind: &PacketKind| match kind {
        PacketKind::Advertisement { source, .. } => source.to_string() == "10.9.0.1",
        PacketKind::GratuitousArp { mac: of, .. } => *of == mac(&a, "eth0"),
    };
    let spoken: Vec<_> = capture.stop().into_iter().filter(|one| one.at > woken && own(&one.kind)).collect();
    assert!(spoken.is_empty(), "it speaks as the old master: {spoken:?}");
    second.end();
    holds(&watch, &["a"], &[&first, &second]);
}
