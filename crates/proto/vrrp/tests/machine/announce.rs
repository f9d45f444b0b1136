//! Gratuitous ARP, neighbour advertisements, probes and conflicts.

use std::time::Duration;

use weir_model::Micros;
use weir_model::vrrp::{Address, GarpGroup};

use super::rig::{HIGHER, Rig, VIP, ip, link, mac, master, ms, one, rig, web};

/// When announcements left, in milliseconds since now.
fn moments(rig: &mut Rig, start: &str, span: Duration) -> Vec<(u128, usize)> {
    let from = rig.now;
    let mut moments = Vec::new();
    while rig.now < from + span {
        let count: usize = rig
            .took_only(start)
            .iter()
            .map(|line| line.rsplit_once(" x").and_then(|(_, n)| n.parse().ok()).unwrap_or(1))
            .sum();
        if count > 0 {
            moments.push(((rig.now - from).as_millis(), count));
        }
        let next = rig.node.poll_timeout().unwrap_or(from + span).min(from + span).max(rig.now);
        rig.now = next;
        rig.node.handle_timeout(next);
    }
    moments
}

#[test]
fn a_new_master_announces_at_once_and_after_the_delay() {
    let mut rig = rig(one(web()));
    assert_eq!(moments(&mut rig, "announce", ms(30_000)), [(3609, 5), (8609, 5)]);
}

#[test]
fn refresh_counts_from_the_change_to_master() {
    let mut instance = web();
    instance.garp.master_repeat = 2;
    instance.garp.master_delay = Micros::from_secs(1);
    instance.garp.refresh = Micros::from_secs(4);
    instance.garp.refresh_repeat = 3;
    let mut rig = rig(one(instance));
    assert_eq!(moments(&mut rig, "announce", ms(15_000)), [(3609, 2), (4609, 2), (7609, 3), (11609, 3)]);
}

#[test]
fn a_lower_priority_makes_two_bursts() {
    let mut instance = web();
    instance.garp.lower_prio_repeat = 2;
    instance.garp.lower_prio_delay = Micros::from_secs(3);
    instance.garp.master_delay = Micros(0);
    let mut rig = rig(one(instance));
    rig.wait(ms(5000));
    rig.took();
    rig.hear(HIGHER, 50);
    assert_eq!(moments(&mut rig, "announce", ms(10_000)), [(0, 2), (3000, 2)]);
}

#[test]
fn the_interval_paces_what_one_interface_sends() {
    let mut instance = web();
    instance.garp.interval = Micros(100_000);
    instance.garp.master_repeat = 3;
    instance.garp.master_delay = Micros(0);
    instance.addresses.push(Address::new(ip("10.0.0.10")));
    let mut rig = rig(one(instance));
    let times: Vec<u128> = moments(&mut rig, "announce", ms(10_000)).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [3609, 3709, 3809, 3909, 4009, 4109]);
}

#[test]
fn what_waits_is_forgotten_when_the_master_leaves() {
    let mut instance = web();
    instance.garp.interval = Micros::from_secs(1);
    let mut rig = rig(one(instance));
    rig.wait(ms(4000));
    rig.took();
    rig.hear(HIGHER, 200);
    rig.wait(ms(3000));
    assert_eq!(rig.took_only("announce"), [""; 0]);
}

#[test]
fn a_garp_group_shares_its_pace_between_interfaces() {
    let mut instance = web();
    let mut far = Address::new(ip("10.1.0.9"));
    far.interface = Some("eth1".to_owned());
    instance.excluded.push(far);
    instance.garp.master_repeat = 1;
    instance.garp.master_delay = Micros(0);
    let mut config = one(instance);
    let interfaces = vec!["eth0".to_owned(), "eth1".to_owned()];
    let interval = Micros(200_000);
    config.garp_groups.push(GarpGroup { interfaces, interval, gna_interval: interval });
    let mut rig = rig(config);
    rig.node.handle_link(rig.now, link(3, "eth1", true, &[]));
    assert_eq!(moments(&mut rig, "announce", ms(6000)), [(3609, 1), (3809, 1)]);
}

#[test]
fn excluded_addresses_are_held_and_announced_but_not_advertised() {
    let mut instance = web();
    instance.excluded.push(Address::new(ip("2001:db8::9")));
    let mut rig = rig(one(instance));
    rig.wait(ms(3610));
    let took = rig.took();
    assert_eq!(took[1..3], ["advert web 100", "hold 10.0.0.9 2001:db8::9"]);
    assert!(took.iter().any(|line| line.starts_with("announce 2001:db8::9")));
}

#[test]
fn probes_start_after_a_second_and_come_every_minute() {
    let mut rig = rig(one(web()));
    assert_eq!(moments(&mut rig, "probe", ms(70_000)), [(4609, 1), (64_609, 1)]);
}

#[test]
fn sixteen_probes_a_second_leave() {
    let mut instance = web();
    instance.excluded = (1..40).map(|n| Address::new(ip(&format!("10.2.0.{n}")))).collect();
    let mut rig = rig(one(instance));
    assert_eq!(moments(&mut rig, "probe", ms(20_000)), [(4609, 16), (5609, 16), (6609, 8)]);
}

#[test]
fn another_mac_that_answers_is_contradicted_and_alarmed() {
    let mut rig = master(one(web()));
    for _ in 0..100 {
        rig.node.handle_claim(rig.now, 2, ip(VIP), mac(66));
    }
    assert_eq!(
        rig.took(),
        [
            "announce 10.0.0.9 on 2",
            "event web: 02:00:00:00:00:42 answers for 10.0.0.9, which is held here; find that host and remove the \
             address there",
        ]
    );
    assert_eq!(rig.status().stats.conflicts, 100);
    assert_eq!(rig.status().alarms, ["02:00:00:00:00:42 answers for 10.0.0.9"]);
    rig.wait(ms(1000));
    rig.took();
    rig.node.handle_claim(rig.now, 2, ip(VIP), mac(66));
    assert_eq!(rig.took(), ["announce 10.0.0.9 on 2"]);
    rig.wait(ms(150_000));
    assert_eq!(rig.status().alarms, [""; 0], "alarms that nobody repeats end");
}

#[test]
fn claims_of_this_host_of_others_addresses_and_by_backups_are_nothing() {
    let mut rig = master(one(web()));
    rig.node.handle_claim(rig.now, 2, ip(VIP), mac(2));
    rig.node.handle_claim(rig.now, 2, ip("10.0.0.77"), mac(66));
    rig.node.handle_claim(rig.now, 5, ip(VIP), mac(66));
    rig.hear(HIGHER, 200);
    rig.took();
    rig.node.handle_claim(rig.now, 2, ip(VIP), mac(66));
    assert_eq!(rig.took(), [""; 0]);
    assert_eq!(rig.status().stats.conflicts, 0);
}
