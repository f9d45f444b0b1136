//! What strangers say on the network: every field wrong, noise, floods. It is counted, told once, and moves nothing.

mod common;
#[path = "support/random.rs"]
#[allow(dead_code, unreachable_pub)]
mod random;
mod routers;

use std::net::{IpAddr, Ipv4Addr};

use common::until;
use random::{Random, seed};
use routers::packet::{Advert, GROUP};
use routers::{ADDRESS, FAST, Net, Node, PATIENCE, Routers, instance, weir};

/// The stranger, a host of the same network, and the own addresses of both routers.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const BACKUP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

const PASSWORD: &str = "authentication {\n auth_type PASS\n auth_pass secret12\n }";

/// Each of them is sent so often.
const TIMES: u64 = 5;

/// One wrong packet: the counter that it belongs to, and words of its line in the log.
struct Case {
    counter: &'static str,
    says: &'static str,
    advert: Advert,
}

fn case(counter: &'static str, says: &'static str, advert: Advert) -> Case {
    Case { counter, says, advert }
}

/// Sends every case several times: both routers count each under its reason and say one line of it.
fn play(net: &Net, routers: &Routers, cases: &[Case]) {
    let v6 = cases.iter().any(|case| case.advert.source.is_ipv6());
    let wire = net.c.wire("eth0", v6).expect("a raw socket");
    for Case { counter, says, advert } in cases {
        let before = [&routers.a, &routers.b].map(|node| node.count(counter));
        let packet = advert.bytes();
        for _ in 0..TIMES {
            wire.send(advert.destination, &packet).expect("sent");
        }
        for (node, before) in [&routers.a, &routers.b].into_iter().zip(before) {
            node.counts(counter, before + TIMES);
            assert_eq!(node.count(counter), before + TIMES, "{counter}: {says}");
            said_once(node, says);
        }
    }
    routers.unmoved();
}

fn said_once(node: &Node, says: &str) {
    let log = node.log();
    assert_eq!(log.matches(says).count(), 1, "\"{says}\" in:\n{log}");
}

#[test]
fn every_wrong_field_of_version_2() {
    let net = Net::new();
    let routers = net.start(PASSWORD);
    let good = || Advert::v2(STRANGER);
    let cases = [
        case("ip_ttl_err", "hop limit 254, expected 255", Advert { ttl: 254, ..good() }),
        case("version_err", "version 4, expected 2", Advert { version: 4, ..good() }),
        case("packet_len_err", "40 bytes long, expected 44", Advert { count: 2, ..good() }),
        case("packet_len_err", "40 bytes long, expected 44", Advert { more: vec![0; 4], ..good() }),
        case("checksum_err", "wrong checksum", Advert { damage: 1, ..good() }),
        case("invalid_authtype", "authentication type 3 does not exist", Advert { auth_type: 3, ..good() }),
        case("authtype_mismatch", "authentication type 0, expected 1", Advert { auth_type: 0, ..good() }),
        case("auth_failure", "another password", Advert { password: *b"secret13", ..good() }),
        case(
            "advert_interval_err",
            "advertisement interval 2s, expected 1s",
            Advert { interval: 2, ..good() },
        ),
        case("invalid_type_rcvd", "packet type 2, expected 1", Advert { kind: 2, ..good() }),
    ];
    play(&net, &routers, &cases);
}

#[test]
fn every_wrong_field_of_version_3() {
    let net = Net::new();
    let routers = net.start(FAST);
    let good = || Advert::v3(STRANGER.into(), Ipv4Addr::new(10, 9, 0, 100).into());
    let cases = [
        case("ip_ttl_err", "hop limit 1, expected 255", Advert { ttl: 1, ..good() }),
        case("version_err", "version 2, expected 3", Advert { version: 2, ..good() }),
        case("packet_len_err", "32 bytes long, expected 36", Advert { count: 2, ..good() }),
        case("checksum_err", "wrong checksum", Advert { damage: 1, ..good() }),
        case("advert_interval_err", "advertisement interval 0", Advert { interval: 0, ..good() }),
        case("invalid_type_rcvd", "packet type 0, expected 1", Advert { kind: 0, ..good() }),
        case("addr_list_err", "no address in it", Advert { count: 0, addresses: Vec::new(), ..good() }),
    ];
    play(&net, &routers, &cases);
}

#[test]
fn every_wrong_field_over_ipv6() {
    let net = Net::new();
    let routers = net.start_at("fd09::100", FAST);
    let address: IpAddr = "fd09::100".parse().expect("an address");
    let good = || Advert::v3("fe80::3".parse().expect("an address"), address);
    let cases = [
        case("ip_ttl_err", "hop limit 64, expected 255", Advert { ttl: 64, ..good() }),
        case("version_err", "version 4, expected 3", Advert { version: 4, ..good() }),
        case("packet_len_err", "24 bytes long, expected 40", Advert { count: 2, ..good() }),
        case("checksum_err", "wrong checksum", Advert { damage: 1, ..good() }),
        case("invalid_type_rcvd", "packet type 15, expected 1", Advert { kind: 15, ..good() }),
    ];
    play(&net, &routers, &cases);
}

#[test]
fn the_own_address_as_source() {
    let net = Net::new();
    // Else the kernel drops such a packet before anybody can count it.
    let settings = ["all", "eth0"].map(|one| format!("net.ipv4.conf.{one}.accept_local=1"));
    assert!(net.a.run("sysctl", &["-w", &settings[0], &settings[1]]).expect("it runs").status.success());
    let routers = net.start(PASSWORD);
    // To the backup it would be its master, so there the checksum has to be wrong.
    let advert = Advert { damage: 1, ..Advert::v2(MASTER) };
    let wire = net.c.wire("eth0", false).expect("a raw socket");
    for _ in 0..TIMES {
        wire.send(GROUP.into(), &advert.bytes()).expect("sent");
    }
    routers.a.counts("own_address", TIMES);
    routers.b.counts("checksum_err", TIMES);
    said_once(&routers.a, "its source 10.9.0.1 is this host's own address");
    routers.unmoved();
}

/// The same virtual router number in another network, and one number that nobody knows.
#[test]
fn other_networks_and_other_routers() {
    let net = Net::new();
    let routers = net.start(PASSWORD);
    let wire = net.c.wire("eth0", false).expect("a raw socket");
    // By the other delivery, as a router elsewhere would have to send it.
    let elsewhere = Advert { destination: MASTER.into(), ..Advert::v2(Ipv4Addr::new(198, 51, 100, 7)) };
    // Another password and a forwarded packet are what tells another network's router from one of this network.
    let forwarded = Advert { ttl: 63, ..Advert::v2(Ipv4Addr::new(198, 51, 100, 8)) };
    let unknown = Advert { vrid: 77, ..Advert::v2(STRANGER) };
    for advert in [&elsewhere, &forwarded, &unknown] {
        for _ in 0..TIMES {
            wire.send(advert.destination, &advert.bytes()).expect("sent");
        }
    }
    routers.a.counts("source_err", TIMES);
    said_once(&routers.a, "sent to one host, expected multicast");
    for node in [&routers.a, &routers.b] {
        node.counts("ip_ttl_err", TIMES);
        node.wait_log("advertises virtual router 77 on eth0, which is not configured here");
        said_once(node, "advertises virtual router 77");
        said_once(node, "198.51.100.8 dropped: hop limit 63");
    }
    routers.unmoved();
}

/// The same virtual router on another network of the same host: neither sees the other.
#[test]
fn another_interface() {
    let net = Net::new();
    net.lab.segment("beside").expect("a switch");
    let lab = &net.lab;
    let both = lab.host("both").address("10.9.0.4/24").cable("beside").address("10.8.0.4/24").start();
    let both = both.expect("a host");
    let beside = lab.host("beside").cable("beside").address("10.8.0.3/24").start().expect("a host");
    let watch = net.watch(ADDRESS);
    // It listens on both networks, with a router of its own on each.
    let conf = instance(100, PASSWORD)
        + "vrrp_instance W {\n interface eth1\n virtual_router_id 10\n priority 100\n virtual_ipaddress {\n \
           10.8.0.100\n }\n}\n";
    let node = weir(&both, &conf);
    watch.wait_holders(&["both"], PATIENCE).expect("it is master");
    let wire = beside.wire("eth1", false).or_else(|_| beside.wire("eth0", false)).expect("a raw socket");
    let advert = Advert::v2(Ipv4Addr::new(10, 8, 0, 3));
    for _ in 0..TIMES {
        wire.send(GROUP.into(), &advert.bytes()).expect("sent");
    }
    node.wait_log("10.8.0.3 advertises virtual router 9 on eth1, which is not configured here");
    assert_eq!(node.count("advert_rcvd"), 0, "{}", node.log());
    assert_eq!(watch.holders(), ["both"], "{}", node.log());
}

/// Packets whose bytes are changed anywhere, cut anywhere, or mere noise. Their password is wrong, so none can be right.
#[test]
fn noise() {
    let net = Net::new();
    let routers = net.start(PASSWORD);
    let wire = net.c.wire("eth0", false).expect("a raw socket");
    let seed = seed();
    let mut random = Random::new(seed);
    for _ in 0..5_000 {
        let mut advert = Advert { password: *b"no-match", ..Advert::v2(STRANGER) };
        let mut payload = advert.bytes().split_off(20);
        advert.ttl = if random.once_in(8) { 1 } else { 255 };
        match random.below(3) {
            0 => payload.truncate(random.below(payload.len())),
            1 => {
                let at = random.below(payload.len() - 8);
                payload[at] = random.next() as u8;
            }
            _ => payload = (0..random.below(64)).map(|_| random.next() as u8).collect(),
        }
        let packet = advert.packet(&payload);
        if random.once_in(16) {
            // Behind an authentication header that is none.
            let mut packet = packet.clone();
            packet[9] = 51;
            wire.send(GROUP.into(), &packet).expect("sent");
        }
        wire.send(GROUP.into(), &packet).expect("sent");
    }
    drained(&net, &routers);
    routers.unmoved();
    for node in [&routers.a, &routers.b] {
        let log = node.log();
        let told = log.lines().filter(|line| line.contains(&STRANGER.to_string())).count();
        // One for each defect of the instance, and one for each unknown number.
        assert!(told < 300, "WEIR_SEED={seed}: {told} lines:\n{log}");
        assert!(!log.contains("panic"), "WEIR_SEED={seed}:\n{log}");
    }
}

/// Waits until both have read what was sent so far: the last packet is the only one that is sent to one host. It is
/// counted, whatever the log has no room for.
fn drained(net: &Net, routers: &Routers) {
    let wire = net.c.wire("eth0", false).expect("a raw socket");
    for (node, address) in [(&routers.a, MASTER), (&routers.b, BACKUP)] {
        let last = Advert { destination: address.into(), ..Advert::v2(Ipv4Addr::new(10, 9, 0, 254)) };
        // A full socket drops it like anything else.
        until("the last packet is read", || {
            wire.send(last.destination, &last.bytes()).expect("sent");
            (node.count("source_err") > 0).then_some(())
        });
    }
}

/// As fast as one sender can, wrong in every way and from many addresses.
#[test]
fn a_flood() {
    let net = Net::new();
    let routers = net.start(PASSWORD);
    let wire = net.c.wire("eth0", false).expect("a raw socket");
    let wrong: Vec<Vec<u8>> = (0..2_000_u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            let source = if n % 2 == 0 { STRANGER } else { Ipv4Addr::new(10, 9, high + 1, low) };
            let good = Advert::v2(source);
            match n % 7 {
                0 => Advert { ttl: 254, ..good },
                1 => Advert { damage: 1, ..good },
                2 => Advert { password: [0; 8], ..good },
                3 => Advert { vrid: 200, ..good },
                4 => Advert { count: 9, ..good },
                5 => Advert { interval: 7, ..good },
                _ => Advert { version: 3, ..good },
            }
            .bytes()
        })
        .collect();
    let sent_before = routers.a.count("advert_sent");
    for packet in wrong.iter().cycle().take(100_000) {
        wire.send(GROUP.into(), packet).expect("sent");
    }
    drained(&net, &routers);
    // It goes on advertising, and the backup goes on hearing it.
    routers.a.counts("advert_sent", sent_before + 2);
    let heard = routers.b.count("advert_rcvd");
    routers.b.counts("advert_rcvd", heard + 2);
    routers.unmoved();
    for node in [&routers.a, &routers.b] {
        let lines = node.log().lines().count();
        assert!(lines < 300, "{lines} lines about {} packets", 100_000);
    }
}
