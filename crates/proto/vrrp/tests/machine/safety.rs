//! What is safer than in keepalived: leases, stalls, differing lists, contact after silence, deleted addresses.

use weir_model::Micros;
use weir_model::vrrp::{Address, Instance, Lease};
use weir_vrrp::State;

use super::rig::{
    HIGHER, LOWER, Rig, VIP, bare, down, ip, link, master, ms, one, rig, track, track_script, v3, web,
};

#[test]
fn leases_are_renewed_while_master() {
    let mut rig = master(one(web()));
    rig.wait(ms(2000));
    assert_eq!(rig.took_only("renew").len(), 4);
    rig.hear(HIGHER, 200);
    rig.took();
    rig.wait(ms(2000));
    assert_eq!(rig.took_only("renew"), [""; 0]);
    let mut instance = web();
    instance.lease = None;
    let mut rig = master(one(instance));
    rig.wait(ms(2000));
    assert_eq!(rig.took_only("renew"), [""; 0]);
}

/// A master that has advertised and renewed just now.
fn fresh(mut instance: Instance) -> Rig {
    instance.garp.master_delay = Micros(0);
    let mut rig = rig(one(instance));
    rig.wait(ms(3610));
    rig.took();
    while rig.took_only("advert").is_empty() {
        let next = rig.node.poll_timeout().expect("a timer");
        rig.wait(next.saturating_sub(rig.now));
    }
    rig
}

#[test]
fn a_stall_in_which_a_peer_can_take_over_ends_as_backup_before_anything_is_sent() {
    // 3 x 1 s + 2/256 s
    let mut rig = fresh(web());
    rig.stall(ms(3008));
    assert_eq!(
        rig.took(),
        [
            "event web: this process did not run for 2.008 s longer than it should; a peer may be master by now, so it \
             listens first",
            "release 10.0.0.9",
            "event web: MASTER -> BACKUP with priority 100: it did not run for 3.01 s",
            "notify instance web BACKUP 100",
        ]
    );
    rig.wait(ms(3609));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn whatever_comes_first_after_a_stall_finds_a_backup() {
    type Event = fn(&mut Rig);
    let events: [Event; 6] = [
        |rig| rig.hear(LOWER, 50),
        |rig| rig.link(true),
        |rig| rig.node.handle_address_gone(rig.now, "eth0", ip(VIP), None),
        |rig| rig.script("chk", down()),
        |rig| rig.node.handle_claim(rig.now, 2, ip(VIP), super::rig::mac(66)),
        |rig| rig.node.stop(rig.now),
    ];
    for (n, event) in events.into_iter().enumerate() {
        let mut rig = fresh(web());
        rig.now += ms(5000);
        event(&mut rig);
        let took = rig.took();
        assert!(took[0].starts_with("event web: this process did not run"), "event {n}: {took:?}");
        assert_eq!(took[1], "release 10.0.0.9", "event {n}");
        assert!(
            !took.iter().any(|line| line.starts_with("advert") || line.starts_with("hold")),
            "event {n}: {took:?}"
        );
    }
}

#[test]
fn a_shorter_stall_advertises_at_once_and_puts_expired_leases_back() {
    let mut rig = fresh(web());
    rig.stall(ms(3007));
    assert_eq!(
        rig.took(),
        [
            "event web: this process did not run for 2.007 s longer than it should; no peer can have taken over in that \
             time",
            "advert web 100",
            "renew 10.0.0.9",
            "announce 10.0.0.9 on 2 x5",
        ]
    );
    let mut rig = fresh(web());
    rig.stall(ms(1500));
    assert_eq!(rig.took(), ["renew 10.0.0.9", "advert web 100"], "no lease can be over");
}

#[test]
fn a_stalled_owner_stays_what_it_is() {
    let mut instance = web();
    instance.priority = 255;
    instance.lease = None;
    let mut rig = fresh(instance);
    rig.stall(ms(10_000));
    let took = rig.took();
    assert_eq!(took[1..3], ["advert web 255", "announce 10.0.0.9 on 2 x5"]);
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_backup_whose_timer_ran_out_while_it_stalled_listens_again() {
    let mut rig = rig(one(web()));
    rig.hear(LOWER, 200);
    rig.took();
    rig.stall(ms(10_000));
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.took().len(), 1, "the stall is said");
    rig.hear(LOWER, 200);
    rig.wait(ms(3600));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(10));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_deleted_address_is_put_back_at_once() {
    let mut instance = web();
    instance.addresses.push(Address::new(ip("10.0.0.10")));
    let mut rig = master(one(instance));
    rig.node.handle_address_gone(rig.now, "eth0", ip("10.0.0.10"), Some(4242));
    assert_eq!(
        rig.took(),
        [
            "hold 10.0.0.10",
            "announce 10.0.0.10 on 2 x5",
            "event web: 10.0.0.10 was deleted from eth0 by the process behind netlink port 4242 and is put back; find \
             out who did it",
        ]
    );
    assert_eq!((rig.state(), rig.status().stats.restored), (State::Master, 1));
    // Neither another interface's, nor a stranger's, nor one that a backup had.
    rig.node.handle_address_gone(rig.now, "eth1", ip(VIP), None);
    rig.node.handle_address_gone(rig.now, "eth0", ip("10.0.0.77"), None);
    rig.hear(HIGHER, 200);
    rig.took();
    rig.node.handle_address_gone(rig.now, "eth0", ip(VIP), None);
    assert_eq!(rig.took(), [""; 0]);
}

#[test]
fn addresses_that_cannot_be_held_are_a_fault_for_a_while() {
    let mut rig = master(one(web()));
    let id = rig.status().id;
    rig.node.handle_hold_failed(rig.now, id, "no such device".to_owned());
    assert_eq!(
        rig.took(),
        [
            "event web: the addresses cannot be held: no such device; look at the interface and the configuration, the \
             next attempt is in 10 s",
            "advert web 0",
            "release 10.0.0.9",
            "event web: MASTER -> FAULT with priority 100: its addresses cannot be held: no such device",
            "notify instance web FAULT 100",
        ]
    );
    rig.link(true);
    rig.wait(ms(9999));
    assert_eq!(rig.state(), State::Fault);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_peer_that_is_heard_after_silence_makes_the_master_announce() {
    let mut instance = web();
    instance.garp.lower_prio_repeat = 0;
    instance.garp.master_delay = Micros(0);
    instance.lower_prio_no_advert = true;
    let mut rig = rig(one(instance));
    rig.wait(ms(3610));
    rig.wait(ms(3000));
    rig.took();
    rig.hear(LOWER, 50);
    assert_eq!(rig.took_only("announce"), [""; 0], "it was silent for a short time only");
    rig.wait(ms(60_000));
    rig.took();
    rig.hear(LOWER, 50);
    let took = rig.took();
    assert!(took.contains(
        &"event web: 10.0.0.1 is heard again after 60.0 s; neighbours are told once more who has the addresses"
            .to_owned()
    ));
    assert!(took.contains(&"announce 10.0.0.9 on 2 x5".to_owned()));
    rig.wait(ms(60_000));
    rig.took();
    rig.hear(LOWER, 0);
    assert_eq!(
        rig.took_only("announce"),
        ["announce 10.0.0.9 on 2 x5"],
        "a farewell shows that there was a master too"
    );
}

fn other_list() -> Instance {
    let mut peer = web();
    peer.addresses.push(Address::new(ip("10.0.0.10")));
    peer
}

#[test]
fn a_backup_listens_to_a_master_with_other_addresses_and_alarms() {
    let mut rig = rig(one(web()));
    for _ in 0..20 {
        rig.wait(ms(1000));
        rig.hear_as(&other_list(), LOWER, 200);
    }
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.status().stats.addr_list_err, 20);
    assert_eq!(rig.status().alarms, ["10.0.0.1 advertises other addresses"]);
    assert_eq!(
        rig.took_only("event web: 10.0.0.1 advertises other"),
        [
            "event web: 10.0.0.1 advertises other addresses (only here: none; only there: 10.0.0.10); make the lists of \
             virtual_ipaddress equal"
        ]
    );
    rig.wait(ms(1000));
    rig.hear(LOWER, 200);
    assert_eq!(rig.status().alarms, [""; 0]);
}

#[test]
fn skip_check_adv_addr_looks_at_each_master_once() {
    let mut instance = web();
    instance.skip_check_adv_addr = true;
    let mut rig = rig(one(instance));
    for _ in 0..5 {
        rig.wait(ms(1000));
        rig.hear_as(&other_list(), LOWER, 200);
    }
    assert_eq!(rig.status().stats.addr_list_err, 1);
}

#[test]
fn a_master_echoes_the_list_of_a_lower_peer_that_could_drop_its_own() {
    let mut rig = master(one(web()));
    rig.hear_as(&other_list(), LOWER, 50);
    let both = ["advert web 100", "advert web 100 with 10.0.0.9 10.0.0.10"];
    assert_eq!(rig.took_only("advert"), both);
    rig.wait(ms(1000));
    assert_eq!(rig.took_only("advert"), both);
    // That peer is told of the end as well.
    rig.link(false);
    assert_eq!(rig.took_only("advert"), ["advert web 0", "advert web 0 with 10.0.0.9 10.0.0.10"]);
    rig.link(true);
    rig.wait(ms(3610));
    assert_eq!(rig.took_only("advert"), ["advert web 100"], "forgotten with the mastership");
}

#[test]
fn echoes_are_few_and_end_when_the_peer_shows_the_same_list() {
    let mut rig = master(one(web()));
    for n in 1..=9 {
        let mut peer = web();
        peer.addresses.push(Address::new(ip(&format!("10.0.7.{n}"))));
        rig.hear_as(&peer, &format!("10.0.6.{n}"), 50);
    }
    rig.wait(ms(1000));
    rig.took();
    rig.wait(ms(1000));
    assert_eq!(rig.took_only("advert").len(), 5);
    rig.hear("10.0.6.1", 50);
    rig.took();
    rig.wait(ms(1000));
    assert_eq!(rig.took_only("advert").len(), 4);
}

#[test]
fn an_echo_of_another_routers_list_is_no_alarm() {
    let mut rig = rig(one(web()));
    for _ in 0..5 {
        rig.wait(ms(1000));
        rig.hear(LOWER, 200);
        rig.now += ms(1);
        rig.hear_as(&other_list(), LOWER, 200);
    }
    assert_eq!(rig.status().stats.addr_list_err, 0);
    assert_eq!(rig.status().alarms, [""; 0]);
}

#[test]
fn an_adopted_instance_is_master_from_its_first_usable_moment() {
    let mut instance = web();
    instance.track_scripts.push(track("chk", 0));
    let mut config = one(instance);
    config.scripts.push(track_script("chk"));
    let mut rig = bare(config);
    rig.node.adopt("web");
    rig.now += ms(100);
    rig.link(true);
    assert_eq!(
        rig.took(),
        [
            "event web: a predecessor's addresses are still leased, master without a break",
            "event web: INIT -> MASTER with priority 100: a predecessor's addresses are still leased",
            "advert web 100",
            "hold 10.0.0.9",
            "announce 10.0.0.9 on 2 x5",
            "notify instance web MASTER 100",
        ]
    );
    rig.script("chk", down());
    assert_eq!(rig.state(), State::Fault, "a failure that is found later counts");
}

#[test]
fn addresses_that_may_be_too_old_are_released() {
    let short = v3(web(), ms(800));
    let mut endless = web();
    endless.lease = None;
    let mut long = web();
    long.lease = Some(Lease { seconds: 3, renew: Micros(500_000) });
    for (instance, why) in [
        (short, "a lease of 2.4 s outlasts 2.4 s without advertisements, after which a peer is master"),
        (endless, "addresses without a lease may be as old as the machine"),
        (long, "a lease of 3.4 s outlasts 3 s without advertisements, after which a peer is master"),
    ] {
        let mut rig = bare(one(instance));
        rig.node.adopt("web");
        rig.link(true);
        let took = rig.took();
        assert_eq!(took[0], "release 10.0.0.9");
        assert_eq!(
            took[1],
            format!("event web: a predecessor's addresses are removed, the election starts anew: {why}")
        );
        assert_eq!(rig.state(), State::Backup);
    }
}

#[test]
fn an_adoption_that_comes_too_late_or_meets_a_fault_is_refused() {
    let mut rig = bare(one(web()));
    rig.node.adopt("web");
    rig.wait(ms(600));
    let took = rig.took();
    assert_eq!(took[0], "release 10.0.0.9", "3 x 1 s without 2.4 s");
    rig.link(true);
    assert_eq!(rig.state(), State::Backup);
    let mut rig = bare(one(web()));
    rig.node.adopt("web");
    rig.link(false);
    assert_eq!(rig.took()[0], "release 10.0.0.9");
    assert_eq!(rig.state(), State::Fault);
}

#[test]
fn defects_are_counted_and_logged_once_a_minute() {
    let mut rig = rig(one(web()));
    let mut peer = web();
    peer.authentication = weir_model::vrrp::Authentication::Pass("sesame".to_owned());
    for _ in 0..50 {
        rig.hear_as(&peer, LOWER, 200);
    }
    assert_eq!(rig.status().stats.authtype_mismatch, 50);
    assert_eq!(
        rig.took(),
        [
            "event web: packet from 10.0.0.1 dropped: authentication type 1, expected 0: give both routers the same \
          auth_type"
        ]
    );
    rig.wait(ms(61_000));
    rig.took();
    rig.hear_as(&peer, LOWER, 200);
    let took = rig.took();
    assert!(took[0].ends_with("(49 more of these were not logged)"), "{took:?}");
    assert_eq!(rig.state(), State::Master, "none of them was listened to");
}

#[test]
fn strangers_are_named_once_a_minute() {
    let mut rig = rig(one(web()));
    let mut stranger = web();
    stranger.vrid = 77;
    for _ in 0..50 {
        rig.hear_as(&stranger, HIGHER, 200);
    }
    assert_eq!(
        rig.took(),
        ["event 10.0.0.3 advertises virtual router 77 on eth0, which is not configured here"]
    );
    // On an interface that no instance is on: only if that is wanted.
    for (wanted, lines) in [(false, 0), (true, 1)] {
        let mut config = one(web());
        config.globals.log_unknown_vrids = wanted;
        let mut rig = super::rig::rig(config);
        rig.node.handle_link(rig.now, link(5, "eth5", true, &[]));
        let envelope = weir_vrrp::Envelope {
            source: ip(HIGHER),
            destination: ip("224.0.0.18"),
            hop_limit: 255,
            ip_id: 1,
            ah_sequence: 1,
        };
        let (protocol, bytes) = weir_vrrp::encode(&stranger, 100, &[], &envelope);
        rig.arrive(5, ip(HIGHER), ip("224.0.0.18"), &bytes, protocol);
        assert_eq!(rig.took().len(), lines);
    }
}

#[test]
fn what_is_no_packet_is_dropped() {
    let mut rig = rig(one(web()));
    for bytes in [&[][..], &[0x45], &[0x45; 24], &[0xff; 40]] {
        rig.arrive(2, ip(LOWER), ip("224.0.0.18"), bytes, weir_vrrp::Protocol::Vrrp);
        rig.arrive(2, ip(LOWER), ip("224.0.0.18"), bytes, weir_vrrp::Protocol::Ah);
    }
    assert!(rig.took().iter().all(|line| line.starts_with("event vrrp: packet from 10.0.0.1 dropped: ")));
    assert_eq!(rig.state(), State::Backup);
}
