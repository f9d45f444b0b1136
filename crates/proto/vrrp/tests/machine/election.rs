//! The rows of the state machine (RFC 9568 section 6.4, RFC 3768 section 6.4).

use weir_model::Micros;
use weir_vrrp::State;

use super::rig::{HIGHER, LOWER, OWN, bare, ip, master, ms, one, rig, v3, web};

#[test]
fn init_becomes_backup_when_its_interface_is_up() {
    let mut rig = bare(one(web()));
    assert_eq!(rig.took(), [""; 0]);
    assert_eq!(rig.status().reasons, ["interface eth0 has not been seen yet"]);
    rig.link(true);
    assert_eq!(
        rig.took(),
        [
            "event web: INIT -> BACKUP with priority 100: everything that it depends on is there",
            "notify instance web BACKUP 100",
        ]
    );
}

#[test]
fn an_interface_that_is_down_or_missing_is_a_fault() {
    let mut rig = bare(one(web()));
    rig.link(false);
    assert_eq!(
        rig.took(),
        [
            "event web: INIT -> FAULT with priority 100: interface eth0 is down",
            "notify instance web FAULT 100"
        ]
    );
    let mut rig = bare(one(web()));
    rig.wait(ms(999));
    assert_eq!(rig.state(), State::Init);
    rig.wait(ms(1));
    assert_eq!(
        rig.took(),
        [
            "event web: INIT -> FAULT with priority 100: interface eth0 does not exist",
            "notify instance web FAULT 100"
        ]
    );
}

#[test]
fn a_backup_waits_for_the_full_time_and_then_is_master() {
    let mut rig = rig(one(web()));
    // 3 x 1 s + 156/256 s
    rig.wait(ms(3609));
    assert_eq!(rig.took(), [""; 0]);
    rig.wait(ms(1));
    assert_eq!(
        rig.took(),
        [
            "event web: BACKUP -> MASTER with priority 100: no other router was heard",
            "advert web 100",
            "hold 10.0.0.9",
            "announce 10.0.0.9 on 2 x5",
            "notify instance web MASTER 100",
        ]
    );
}

#[test]
fn skew_follows_version_priority_and_interval() {
    for (instance, first, last) in [
        (web(), 3609, 3610),
        (
            {
                let mut one = web();
                one.priority = 254;
                one
            },
            3007,
            3008,
        ),
        (v3(web(), ms(100)), 360, 361),
        (
            {
                let mut one = v3(web(), ms(1000));
                one.down_timer_adverts = 5;
                one
            },
            5609,
            5610,
        ),
    ] {
        let mut rig = rig(one(instance));
        rig.wait(ms(first));
        assert_eq!(rig.state(), State::Backup);
        rig.wait(ms(last - first));
        assert_eq!(rig.state(), State::Master);
    }
}

#[test]
fn an_owner_is_master_at_once() {
    let mut instance = web();
    instance.priority = 255;
    let mut rig = bare(one(instance));
    rig.link(true);
    assert_eq!(rig.state(), State::Master);
    assert_eq!(rig.took_only("advert"), ["advert web 255"]);
}

#[test]
fn equal_or_higher_priority_restarts_the_timer() {
    for priority in [100, 101, 255] {
        let mut rig = rig(one(web()));
        rig.wait(ms(3000));
        rig.hear(LOWER, priority);
        rig.wait(ms(3600));
        assert_eq!(rig.state(), State::Backup);
        rig.wait(ms(10));
        assert_eq!(rig.state(), State::Master);
        assert_eq!(rig.status().cause, "10.0.0.1 has not been heard for 3.61 s");
    }
}

#[test]
fn lower_priority_is_preempted_when_the_timer_runs_out() {
    let mut rig = rig(one(web()));
    rig.wait(ms(3000));
    rig.hear(HIGHER, 99);
    rig.wait(ms(610));
    assert_eq!(rig.state(), State::Master);
    assert_eq!(rig.status().cause, "10.0.0.3 has a lower priority (99)");
    assert_eq!(rig.status().stats.lower_prio_rcvd, 1);
}

#[test]
fn nopreempt_listens_to_lower_priority() {
    let mut instance = web();
    instance.nopreempt = true;
    let mut rig = rig(one(instance));
    for _ in 0..10 {
        rig.wait(ms(1000));
        rig.hear(HIGHER, 1);
    }
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.status().master.expect("a master").address, ip(HIGHER));
    rig.wait(ms(3610));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn preempt_delay_counts_from_the_first_lower_priority() {
    let mut instance = web();
    instance.preempt_delay = Micros::from_secs(5);
    let mut rig = rig(one(instance));
    // Heard at 1 s: the delay ends at 6 s, the last advertisement that is listened to comes at 5 s.
    for _ in 0..8 {
        rig.wait(ms(1000));
        rig.hear(LOWER, 50);
    }
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(609));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn preempt_delay_begins_anew_after_a_higher_priority() {
    let mut instance = web();
    instance.preempt_delay = Micros::from_secs(5);
    let mut rig = rig(one(instance));
    for (n, priority) in [50, 50, 50, 200, 50, 50, 50, 50].into_iter().enumerate() {
        rig.wait(ms(1000));
        rig.hear(LOWER, priority);
        assert_eq!(rig.state(), State::Backup, "second {n}");
    }
    // The delay ends 5 s after the fifth, at 10 s; 11.609 s without that of 10 s.
    rig.wait(ms(1000));
    rig.hear(LOWER, 50);
    rig.wait(ms(3600));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(10));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn priority_zero_leaves_only_the_skew() {
    let mut rig = rig(one(web()));
    rig.hear(LOWER, 200);
    rig.wait(ms(500));
    rig.hear(LOWER, 0);
    rig.wait(ms(609));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
    assert_eq!(rig.status().stats.pri_zero_rcvd, 1);
}

#[test]
fn a_master_answers_priority_zero_at_once() {
    let mut rig = master(one(web()));
    rig.hear(HIGHER, 0);
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_master_steps_back_for_higher_rank_without_priority_zero() {
    for (source, priority, why) in [
        (LOWER, 101, "10.0.0.1 advertises a higher priority (101 to 100)"),
        (HIGHER, 100, "10.0.0.3 advertises the same priority and a higher address (100 to 100)"),
    ] {
        let mut rig = master(one(web()));
        rig.hear(source, priority);
        assert_eq!(
            rig.took(),
            [
                // The other one was not heard until now, and learns that there was a second master.
                "advert web 100".to_owned(),
                "release 10.0.0.9".to_owned(),
                format!("event web: MASTER -> BACKUP with priority 100: {why}"),
                "notify instance web BACKUP 100".to_owned(),
            ]
        );
        assert_eq!(rig.status().master.expect("a master").priority, priority);
        rig.wait(ms(3609));
        assert_eq!(rig.state(), State::Backup);
        rig.wait(ms(1));
        assert_eq!(rig.state(), State::Master);
    }
}

#[test]
fn higher_prio_send_advert_says_it_once_more() {
    let mut instance = web();
    instance.higher_prio_send_advert = true;
    let mut rig = master(one(instance));
    rig.hear(HIGHER, 200);
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn a_master_answers_lower_rank_and_tells_neighbours() {
    for (source, priority) in [(HIGHER, 99), (LOWER, 100)] {
        let mut rig = rig(one(web()));
        rig.wait(ms(4700));
        rig.took();
        rig.hear(source, priority);
        let took = rig.took();
        assert!(
            took[0].starts_with(&format!(
                "event web: {source} is master too, with priority {priority} (here 100)"
            ))
        );
        assert_eq!(
            took[1..],
            ["advert web 100", "announce 10.0.0.9 on 2 x5", "notify instance web MASTER_RX_LOWER_PRI 100"]
        );
        assert_eq!(rig.state(), State::Master);
        assert_eq!(rig.status().alarms, ["another router was master at the same time"]);
    }
}

#[test]
fn the_last_word_of_an_old_master_is_answered_but_no_alarm() {
    let mut rig = rig(one(web()));
    rig.wait(ms(3000));
    rig.hear(LOWER, 50);
    // Almost an interval after it became master at 3610 ms.
    rig.wait(ms(1600));
    rig.took();
    rig.hear(LOWER, 50);
    assert_eq!(
        rig.took(),
        ["advert web 100", "announce 10.0.0.9 on 2 x5", "notify instance web MASTER_RX_LOWER_PRI 100"]
    );
    assert_eq!((rig.status().stats.conflicts, rig.status().alarms), (0, Vec::new()));
}

#[test]
fn lower_prio_no_advert_stays_silent() {
    let mut instance = web();
    instance.lower_prio_no_advert = true;
    instance.garp.lower_prio_repeat = 0;
    let mut rig = rig(one(instance));
    rig.wait(ms(3700));
    rig.took();
    rig.hear(HIGHER, 99);
    assert_eq!(
        rig.took().into_iter().filter(|line| !line.starts_with("event")).collect::<Vec<_>>(),
        ["notify instance web MASTER_RX_LOWER_PRI 100"]
    );
}

#[test]
fn a_flood_of_lower_priorities_gets_one_answer_at_once_and_one_soon() {
    let mut rig = rig(one(web()));
    rig.wait(ms(3700));
    rig.took();
    for _ in 0..1000 {
        rig.hear(HIGHER, 99);
        rig.hear(LOWER, 0);
    }
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
    rig.wait(ms(125));
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
    rig.wait(ms(800));
    assert_eq!(rig.took_only("advert"), [""; 0]);
}

#[test]
fn two_owners_the_lower_address_steps_back() {
    let mut instance = web();
    instance.priority = 255;
    let mut rig = master(one(instance));
    rig.hear(HIGHER, 255);
    assert_eq!(rig.state(), State::Backup);
    let took = rig.took();
    assert_eq!(
        took[0],
        "event web: 10.0.0.3 says that it owns the addresses too; give one of the two a priority below 255"
    );
    // As long as that one lives it stays backup.
    for _ in 0..5 {
        rig.wait(ms(1000));
        rig.hear(HIGHER, 255);
        assert_eq!(rig.state(), State::Backup);
    }
}

#[test]
fn two_owners_the_higher_address_waits_and_then_steps_back_too() {
    let mut instance = web();
    instance.priority = 255;
    let mut rig = master(one(instance));
    rig.hear(LOWER, 255);
    assert_eq!(rig.state(), State::Master);
    // Two more advertisements, then 1.2 intervals: one in that time is too much.
    rig.wait(ms(2100));
    assert_eq!(rig.state(), State::Master);
    rig.hear(LOWER, 255);
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.status().effective_priority, 254);
    rig.hear(LOWER, 100);
    assert_eq!(rig.status().effective_priority, 255, "the other one owns them no more");
}

#[test]
fn two_owners_the_higher_address_stays_if_the_other_obeys() {
    let mut instance = web();
    instance.priority = 255;
    let mut rig = master(one(instance));
    rig.hear(LOWER, 255);
    rig.wait(ms(10_000));
    rig.hear(LOWER, 255);
    assert_eq!(rig.state(), State::Master, "that is a new quarrel");
}

#[test]
fn owner_ignore_adverts_listens_to_nobody() {
    let mut instance = web();
    instance.priority = 255;
    instance.owner_ignore_adverts = true;
    let mut rig = master(one(instance));
    rig.hear(HIGHER, 255);
    rig.hear(HIGHER, 0);
    assert_eq!(rig.took(), [""; 0]);
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn version_3_backups_take_their_masters_interval_over() {
    let instance = v3(web(), ms(1000));
    let mut rig = rig(one(instance.clone()));
    let peer = v3(instance, ms(200));
    rig.hear_as(&peer, LOWER, 200);
    assert_eq!(
        rig.took()[0],
        "event web: 10.0.0.1 advertises every 0.2 s, here it is every 1 s; its interval is taken over"
    );
    assert_eq!(rig.status().master_interval, 200_000);
    // 3 x 0.2 s + 156/256 x 0.2 s
    rig.wait(ms(721));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
    assert_eq!(rig.status().master_interval, 1_000_000, "its own again");
}

#[test]
fn version_2_drops_another_interval() {
    let mut rig = rig(one(web()));
    let mut peer = web();
    peer.advert_interval = Micros::from_secs(2);
    rig.hear_as(&peer, LOWER, 200);
    assert_eq!(rig.status().stats.advert_interval_err, 1);
    assert_eq!(rig.status().stats.advert_rcvd, 0);
}

#[test]
fn startup_delay_ignores_adverts_and_makes_nobody_master() {
    let mut config = one(web());
    config.globals.startup_delay = Micros::from_secs(10);
    let mut rig = rig(config);
    rig.wait(ms(9990));
    rig.hear(LOWER, 200);
    rig.wait(ms(3600));
    assert_eq!(rig.status().stats.advert_rcvd, 0);
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(20));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn delay_after_boot_counts_from_the_start_of_the_machine() {
    let mut instance = web();
    instance.priority = 255;
    let mut config = one(instance);
    config.globals.delay_after_boot = Micros::from_secs(30);
    // The machine has been up for 10 s.
    let mut rig = rig(config);
    rig.wait(ms(19_999));
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_fault_of_a_master_sends_priority_zero_and_releases() {
    let mut rig = master(one(web()));
    rig.link(false);
    assert_eq!(
        rig.took(),
        [
            "advert web 0",
            "release 10.0.0.9",
            "event web: MASTER -> FAULT with priority 100: interface eth0 is down",
            "notify instance web FAULT 100",
        ]
    );
    rig.wait(ms(60_000));
    assert_eq!(rig.took(), [""; 0]);
    rig.hear(LOWER, 50);
    assert_eq!(rig.status().stats.advert_rcvd, 0, "nothing is listened to in FAULT");
    rig.link(true);
    assert_eq!(rig.state(), State::Backup);
    rig.wait(ms(3609));
    assert_eq!(rig.state(), State::Backup, "the full time");
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_source_address_that_goes_is_a_fault() {
    let mut rig = master(one(web()));
    rig.node.handle_link(rig.now, super::rig::link(2, "eth0", true, &[]));
    assert_eq!(rig.status().cause, "interface eth0 has no address to send from");
    let mut instance = web();
    instance.source = Some(ip(OWN));
    instance.track_source = true;
    let mut rig = master(one(instance));
    rig.node.handle_link(rig.now, super::rig::link(2, "eth0", true, &["10.0.0.77"]));
    assert_eq!(rig.status().cause, "source address 10.0.0.2 is gone from eth0");
}

#[test]
fn stop_sends_priority_zero_and_leaves_nothing() {
    let mut rig = master(one(web()));
    rig.node.stop(rig.now);
    assert_eq!(
        rig.took(),
        [
            "advert web 0",
            "release 10.0.0.9",
            "event web: MASTER -> INIT with priority 100: stopped",
            "notify instance web STOP 100",
        ]
    );
    assert_eq!(rig.node.poll_timeout(), None);
    rig.hear(LOWER, 0);
    rig.link(false);
    assert_eq!(rig.took(), [""; 0]);
}

#[test]
fn a_hand_over_says_nothing_and_keeps_the_addresses() {
    let mut rig = master(one(web()));
    rig.node.hand_over(rig.now);
    assert_eq!(rig.took(), [""; 0]);
    assert_eq!(rig.node.poll_timeout(), None);
}
