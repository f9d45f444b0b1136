//! Seeded runs of two to five routers, with everything that goes wrong in practice; a failing seed is printed with its
//! trace. `WEIR_SEED` runs one seed, `WEIR_SEEDS` so many.

mod sim;

use std::sync::Arc;
use std::time::Duration;

use sim::host::{Host, NAME, Packet, Waiting};
use sim::scene::Mutation;
use sim::strict::Strict;
use weir_model::vrrp::{Address, Instance, Vrrp};
use weir_vrrp::{Command, Event};

const SEEDS: u64 = 10_000;
const PARTS: u64 = 4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn part(n: u64) {
    let seeds = setting("WEIR_SEEDS").unwrap_or(SEEDS);
    let one = setting("WEIR_SEED");
    let range = one.map_or((n..seeds).step_by(usize::try_from(PARTS).expect("small")), |seed| {
        (seed..seed + 1).step_by(1)
    });
    for seed in range {
        if let Err(violation) = sim::run(seed, Mutation::None) {
            let trace = sim::trace(seed, Mutation::None);
            let from = trace.len().saturating_sub(400);
            panic!("seed {seed}: {violation}\n{}", trace[from..].join("\n"));
        }
    }
}

#[test]
fn routers_agree_part_one() {
    part(0);
}

#[test]
fn routers_agree_part_two() {
    part(1);
}

#[test]
fn routers_agree_part_three() {
    part(2);
}

#[test]
fn routers_agree_part_four() {
    part(3);
}

#[test]
fn a_router_that_ignores_advertisements_is_found() {
    let found = (0..50).filter_map(|seed| sim::run(seed, Mutation::Deaf(0)).err());
    let two = found.filter(|violation| violation.what.contains("two masters")).count();
    assert!(two > 10, "only {two} of 50 runs showed two masters");
}

#[test]
fn a_host_that_keeps_released_addresses_is_found() {
    let found = (0..50).filter_map(|seed| sim::run(seed, Mutation::Clinging).err());
    let two = found.filter(|violation| violation.what.contains("holders")).count();
    assert!(two > 10, "only {two} of 50 runs showed two holders");
}

/// Twenty seconds of a node beside a router that drops differing lists. How long both were master at the end, whether the
/// node was, and how many advertisements the other one dropped.
fn beside_strict(own: (u8, &str), other: (u8, &str), echo: bool) -> (Duration, bool, u64) {
    let mut instance = Instance::new("web1", NAME, 51);
    instance.priority = own.0;
    instance.addresses.push(Address::new("10.77.1.1".parse().expect("a literal")));
    let mut peer = instance.clone();
    peer.priority = other.0;
    peer.addresses.push(Address::new("10.77.1.2".parse().expect("a literal")));
    let list = instance.addresses.len();
    let config = Arc::new(Vrrp { instances: vec![instance], ..Vrrp::default() });
    let mut now = Duration::from_secs(1000);
    let end = now + Duration::from_secs(20);
    let mut host = Host::new(config, own.1.parse().expect("a literal"));
    host.start(now);
    let mut strict = Strict::new(now + Duration::from_millis(100), peer, other.1.parse().expect("a literal"));
    let (mut split, mut since) = (Duration::ZERO, None);
    while now < end {
        let mut answers = Vec::new();
        while let Some(command) = host.node.as_mut().and_then(weir_vrrp::Node::poll_command) {
            match command {
                Command::Send { source, destination, hop_limit, protocol, packet, .. } => {
                    let foreign = usize::from(packet[23]) != list;
                    if echo || !foreign {
                        let packet = Packet { source, destination, hop_limit, protocol, bytes: packet };
                        answers.extend(strict.hear(now, &packet));
                    }
                }
                Command::Event(Event::Transition { instance, to, .. }) => host.note_state(&instance, to),
                _ => {}
            }
        }
        for packet in answers {
            host.deliver(now, Waiting::Packet(packet));
        }
        since = (host.is_master(0) && strict.is_master).then(|| since.unwrap_or(now));
        let timeout = host.node.as_ref().and_then(weir_vrrp::Node::poll_timeout).unwrap_or(end);
        now = timeout.min(strict.next).max(now);
        split = split.max(since.map_or(Duration::ZERO, |since| now.saturating_sub(since)));
        if strict.next <= now {
            let packet = strict.advertise(now);
            host.deliver(now, Waiting::Packet(packet));
        } else if let Some(node) = &mut host.node {
            node.handle_timeout(now);
        }
    }
    (split, host.is_master(0), strict.dropped)
}

#[test]
fn a_router_that_drops_differing_lists_steps_back_all_the_same() {
    // Where it never is master, it sends nothing that could be dropped.
    for (own, other, wins, drops) in [
        ((150, "10.77.0.1"), (100, "10.77.0.2"), true, true),
        ((100, "10.77.0.1"), (150, "10.77.0.2"), false, false),
        ((100, "10.77.0.1"), (100, "10.77.0.2"), false, true),
        ((100, "10.77.0.2"), (100, "10.77.0.1"), true, true),
    ] {
        let (split, is_master, dropped) = beside_strict(own, other, true);
        assert_eq!((split, is_master), (Duration::ZERO, wins), "{own:?} beside {other:?}");
        assert_eq!(dropped > 0, drops, "{own:?} beside {other:?}: {dropped} dropped");
    }
}

#[test]
fn without_the_second_advertisement_both_would_be_masters() {
    let (split, ..) = beside_strict((150, "10.77.0.1"), (100, "10.77.0.2"), false);
    assert!(split > Duration::from_secs(10), "both were masters for {split:?} only");
}
