//! Anything in any order: no panic, and commands that make sense.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use weir_model::Micros;
use weir_model::vrrp::{Address, Instance, SyncGroup, Vrrp};
use weir_vrrp::{Arrival, Command, Finding, InstanceId, Node, Protocol, Tracker};

use super::rig::{LOWER, Rig, VIP, bare, down, ip, mac, ms, one, track, track_script, web};

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Stall(u64),
    Link(bool),
    LinkGone,
    Hear(u8, bool),
    Bytes(Vec<u8>),
    Script(bool),
    AddressGone,
    Claim,
    HoldFailed,
    Reload(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5000_u64).prop_map(Step::Wait),
        1 => (0..9000_u64).prop_map(Step::Stall),
        2 => any::<bool>().prop_map(Step::Link),
        1 => Just(Step::LinkGone),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(priority, higher)| Step::Hear(priority, higher)),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Step::Bytes),
        2 => any::<bool>().prop_map(Step::Script),
        1 => Just(Step::AddressGone),
        1 => Just(Step::Claim),
        1 => Just(Step::HoldFailed),
        1 => (0..4_u8).prop_map(Step::Reload),
    ]
}

/// Four configurations that have some in common.
fn variant(n: u8) -> Vrrp {
    let mut first = web();
    first.track_scripts.push(track("chk", if n == 1 { -50 } else { 0 }));
    first.garp.interval = Micros(if n == 2 { 1000 } else { 0 });
    if n >= 2 {
        first.addresses.push(Address::new(ip("10.0.0.10")));
    }
    first.priority = if n == 3 { 255 } else { 100 };
    let mut second = Instance::new("mail", "eth0", 52);
    second.addresses.push(Address::new(ip("10.0.0.11")));
    second.priority = first.priority;
    let instances = if n == 1 { vec![second, first] } else { vec![first] };
    let members = instances.iter().map(|instance| instance.name.clone()).collect();
    let groups = vec![SyncGroup { name: "site".to_owned(), members, ..SyncGroup::default() }];
    Vrrp { instances, groups, scripts: vec![track_script("chk")], ..Vrrp::default() }
}

fn apply(rig: &mut Rig, step: &Step) {
    match step {
        Step::Wait(span) => rig.wait(ms(*span)),
        Step::Stall(span) => rig.stall(ms(*span)),
        Step::Link(up) => rig.link(*up),
        Step::LinkGone => rig.node.handle_link_gone(rig.now, 2),
        Step::Hear(priority, higher) => {
            rig.hear_as(&web(), if *higher { "10.0.0.3" } else { LOWER }, *priority)
        }
        Step::Bytes(bytes) => rig.arrive(2, ip(LOWER), ip("224.0.0.18"), bytes, Protocol::Vrrp),
        Step::Script(up) => rig.script("chk", if *up { Finding::Up } else { down() }),
        Step::AddressGone => rig.node.handle_address_gone(rig.now, "eth0", ip(VIP), None),
        Step::Claim => rig.node.handle_claim(rig.now, 2, ip(VIP), mac(66)),
        Step::HoldFailed => rig.node.handle_hold_failed(rig.now, InstanceId(0), "no such device".to_owned()),
        Step::Reload(n) => rig.node.reload(rig.now, Arc::new(variant(*n))),
    }
}

/// What is held, by the node's words alone.
#[derive(Default)]
struct Ledger {
    held: HashSet<(u32, IpAddr)>,
}

impl Ledger {
    fn follow(&mut self, node: &mut Node) -> Result<(), TestCaseError> {
        let mut spoke = Vec::new();
        let mut known: HashSet<u32> = self.held.iter().map(|(id, _)| *id).collect();
        while let Some(command) = node.poll_command() {
            match command {
                Command::Send { instance, packet, .. } if packet[22] > 0 => spoke.push(instance.0),
                Command::Hold { instance, assets } => {
                    known.insert(instance.0);
                    self.held.extend(assets.addresses.iter().map(|line| (instance.0, line.address)));
                }
                Command::Renew { instance, assets } => {
                    for line in &assets.addresses {
                        prop_assert!(
                            self.held.contains(&(instance.0, line.address)),
                            "renews {}",
                            line.address
                        );
                    }
                }
                Command::Release { instance, assets } => {
                    for line in &assets.addresses {
                        prop_assert!(
                            self.held.remove(&(instance.0, line.address)),
                            "releases {}",
                            line.address
                        );
                    }
                }
                Command::Announce { instance, address, .. } | Command::Probe { instance, address, .. } => {
                    prop_assert!(self.held.contains(&(instance.0, address)), "announces {address}");
                }
                _ => {}
            }
        }
        for id in spoke {
            prop_assert!(known.contains(&id), "instance {id} advertises without holding");
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn commands_make_sense_in_any_order(steps in proptest::collection::vec(step(), 1..80)) {
        let mut rig = bare(variant(0));
        let mut ledger = Ledger::default();
        for step in &steps {
            apply(&mut rig, step);
            ledger.follow(&mut rig.node)?;
            let status = rig.node.status(rig.now);
            for instance in &status.instances {
                let holds = ledger.held.iter().any(|(id, _)| *id == instance.id.0);
                prop_assert_eq!(holds, instance.state == weir_vrrp::State::Master, "{}", instance.name);
            }
            if let Some(next) = rig.node.poll_timeout() {
                prop_assert!(next < rig.now + Duration::from_secs(3600));
            }
        }
        rig.node.stop(rig.now);
        ledger.follow(&mut rig.node)?;
        prop_assert!(ledger.held.is_empty());
    }

    #[test]
    fn no_bytes_make_a_master_leave(bytes in proptest::collection::vec(any::<u8>(), 0..80), ah in any::<bool>()) {
        let mut rig = super::rig::master(one(web()));
        let protocol = if ah { Protocol::Ah } else { Protocol::Vrrp };
        let (source, destination) = (ip(LOWER), ip("224.0.0.18"));
        let arrival = Arrival { interface: 2, source, destination, hop_limit: 255, bytes: &bytes };
        rig.node.handle_packet(rig.now, arrival, protocol);
        prop_assert_eq!(rig.state(), weir_vrrp::State::Master);
    }

    #[test]
    fn a_tracker_of_nobody_is_nothing(name in "[a-z]{0,8}") {
        let mut rig = super::rig::master(one(web()));
        rig.node.handle_tracker(rig.now, &Tracker::Script(name), down());
        prop_assert_eq!(rig.state(), weir_vrrp::State::Master);
    }
}
