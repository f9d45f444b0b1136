//! Gratuitous ARP and neighbour advertisements: how many, when, and what neighbours make of them.

use std::process::Command;
use std::time::Duration;

use weir_lab::{Block, Capture, Host, Lab, Outcome, PacketKind, Traffic};

use crate::common::seek;
use crate::routers::{ADDRESS, FAST, Instance, Node, PATIENCE, Start, holds, host, keepalived, watch, weir};
use crate::stage::{lab, mac, neighbour, one, ping};

/// Packets further apart are of two bursts.
const APART: Duration = Duration::from_millis(500);

/// When gratuitous ARP for an address was heard.
fn heard(capture: &Capture, address: &str) -> Vec<Duration> {
    let about = |kind: &PacketKind| matches!(kind, PacketKind::GratuitousArp { address: of, .. } if of.to_string() == address);
    capture.packets().into_iter().filter(|one| about(&one.kind)).map(|one| one.at).collect()
}

/// How many there are in each burst.
fn bursts(times: &[Duration]) -> Vec<usize> {
    let mut sizes = vec![1];
    for pair in times.windows(2) {
        match sizes.last_mut() {
            Some(size) if pair[1] - pair[0] < APART => *size += 1,
            _ => sizes.push(1),
        }
    }
    sizes
}

#[test]
fn bursts_are_as_large_and_as_far_apart_as_those_of_keepalived() {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    let capture = lab.capture("lan").expect("tcpdump");
    let body = format!(
        "{FAST}\n garp_master_repeat 4\n garp_master_delay 2\n garp_master_refresh 3\n garp_master_refresh_repeat 2"
    );
    let file = |vrid, addresses| Instance { vrid, addresses, body: &body, ..Instance::default() }.text();
    let routers = [weir(&a, &file(9, ADDRESS)), keepalived(&b, &file(10, "10.9.0.101"))];
    let of = |address: &str| {
        let all = seek(|| Some(heard(&capture, address)).filter(|all| all.len() >= 12));
        all.unwrap_or_else(|| panic!("{:?}\n{}", heard(&capture, address), routers[0].log()))
    };
    let (ours, theirs) = (of(ADDRESS), of("10.9.0.101"));
    assert_eq!(bursts(&ours)[..3], [4, 4, 2], "{ours:?}");
    assert_eq!(bursts(&theirs)[..3], [4, 4, 2], "{theirs:?}");
    let gaps = |times: &[Duration]| {
        let all: Vec<Duration> =
            times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap >= APART).collect();
        all.iter().take(3).map(|gap| (gap.as_secs_f64() * 2.0).round() / 2.0).collect::<Vec<f64>>()
    };
    assert_eq!(gaps(&ours), gaps(&theirs), "{ours:?} {theirs:?}");
}

#[test]
fn announcements_may_be_paced() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let capture = lab.capture("lan").expect("tcpdump");
    let globals = "global_defs {\n vrrp_garp_interval 0.6\n}\n";
    let router = weir(&a, &format!("{globals}{}", one(100, "garp_master_repeat 3\n garp_master_delay 0")));
    let all = seek(|| Some(heard(&capture, ADDRESS)).filter(|all| all.len() >= 3));
    let all = all.unwrap_or_else(|| panic!("{:?}\n{}", heard(&capture, ADDRESS), router.log()));
    assert_eq!(bursts(&all), [1, 1, 1], "{all:?}");
}

/// Records what one host hears, as text.
fn listen(host: &Host, filter: &str) -> impl Fn(&str) -> usize {
    let mut command = Command::new("tcpdump");
    command.args(["-l", "-n", "-v", "-i", "eth0", filter]);
    let program = host.spawn("heard", &command).expect("tcpdump");
    host.wait_text(program.log(), "listening on", PATIENCE).expect("tcpdump");
    let host = host.clone();
    move |text| host.read(program.log()).unwrap_or_default().matches(text).count()
}

#[test]
fn neighbours_learn_an_ipv6_address_from_its_new_holder() {
    for (first, second) in [(weir as Start, keepalived as Start), (keepalived, weir)] {
        let lab = lab();
        let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
        let client =
            lab.host("client").address("fd09::9/64").address("fe80::9/64").start().expect("a client");
        let heard = listen(&client, "icmp6 and ip6[40] == 136");
        let watch = watch(&lab, "fd09::100");
        let file = |priority| Instance { priority, addresses: "fd09::100/64", ..Instance::default() }.text();
        let (first, second) = (first(&a, &file(150)), second(&b, &file(100)));
        holds(&watch, &["a"], &[&first, &second]);
        assert_eq!(ping(&client, "fd09::100"), Outcome::Answered);
        assert_eq!(neighbour(&client, "fd09::100"), Some(mac(&a, "eth0")));
        first.end();
        holds(&watch, &["b"], &[&first, &second]);
        let learnt = seek(|| (neighbour(&client, "fd09::100")? == mac(&b, "eth0")).then_some(()));
        assert!(learnt.is_some(), "{:?}\n{}", neighbour(&client, "fd09::100"), second.log());
        let to_all = "tgt is fd09::100, Flags [override]";
        assert!(seek(|| (heard(to_all) >= 10).then_some(())).is_some(), "{} heard", heard(to_all));
    }
}

#[test]
fn neighbours_learn_an_address_from_its_new_holder() {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    let client = host(&lab, "client", 9);
    let watch = watch(&lab, ADDRESS);
    let (first, second) = (weir(&a, &one(150, "")), keepalived(&b, &one(100, "")));
    for (holder, router) in [(&a, &first), (&b, &second)] {
        holds(&watch, &[holder.name()], &[&first, &second]);
        let learnt = || {
            ping(&client, ADDRESS) == Outcome::Answered
                && neighbour(&client, ADDRESS) == Some(mac(holder, "eth0"))
        };
        assert!(seek(|| learnt().then_some(())).is_some(), "{}", router.log());
        router.end();
    }
}

/// A host that was cut off with the master's rival has learnt the rival's hardware address; the master corrects it.
fn healing(second: Start, interval: &str, heal: fn(&Lab, &Node, [Block; 3])) {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    let client = host(&lab, "client", 9);
    let watch = watch(&lab, ADDRESS);
    // The second burst and what follows it are over long before the network heals.
    let file = |priority, interval: &str| {
        let body = format!("version 3\n advert_int {interval}\n garp_master_delay 0");
        Instance { priority, body: &body, ..Instance::default() }.text()
    };
    let (first, second) = (weir(&a, &file(150, "0.2")), second(&b, &file(100, interval)));
    holds(&watch, &["a"], &[&first, &second]);
    let there = lab.block_traffic(&["a"], &["b"], Traffic::ALL).expect("a block");
    let aside = lab.block_traffic(&["a"], &["client"], Traffic::ALL).expect("a block");
    let back = lab.block_traffic(&["b", "client"], &["a"], Traffic::ALL).expect("a block");
    holds(&watch, &["a", "b"], &[&first, &second]);
    assert_eq!(ping(&client, ADDRESS), Outcome::Answered);
    assert_eq!(neighbour(&client, ADDRESS), Some(mac(&b, "eth0")));
    heal(&lab, &first, [there, aside, back]);
    holds(&watch, &["a"], &[&first, &second]);
    let learnt = seek(|| (neighbour(&client, ADDRESS)? == mac(&a, "eth0")).then_some(()));
    assert!(learnt.is_some(), "{:?}\n{}\n{}", neighbour(&client, ADDRESS), first.log(), second.log());
}

/// The master hears its rival before the rival hears it.
fn rival_first(lab: &Lab, master: &Node, [there, aside, back]: [Block; 3]) {
    lab.unblock(&aside).expect("the way to the client heals");
    lab.unblock(&back).expect("one way heals");
    master.wait_log("10.9.0.2 is heard again after");
    lab.unblock(&there).expect("the other way heals");
}

/// The rival, which seldom speaks, hears the master first.
fn master_first(lab: &Lab, _master: &Node, [there, aside, back]: [Block; 3]) {
    lab.unblock(&aside).expect("the way to the client heals");
    lab.unblock(&back).expect("one way heals");
    lab.unblock(&there).expect("the other way heals");
}

#[test]
fn a_master_that_hears_its_rival_first_corrects_the_neighbours() {
    healing(keepalived, "0.2", rival_first);
    healing(weir, "0.2", rival_first);
}

#[test]
fn a_rival_that_hears_the_master_first_lets_it_correct_the_neighbours() {
    healing(weir, "4", master_first);
}
