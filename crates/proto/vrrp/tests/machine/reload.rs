//! A new configuration for routers that live on.

use std::sync::Arc;

use weir_model::Micros;
use weir_model::vrrp::{Address, Instance, SyncGroup, Vrrp};
use weir_vrrp::{Finding, State};

use super::rig::{LOWER, Rig, down, ip, master, ms, one, rig, script, track, track_script, web};

fn reload(rig: &mut Rig, config: Vrrp) {
    rig.config = config.clone();
    rig.node.reload(rig.now, Arc::new(config));
}

#[test]
fn nothing_changes_without_a_difference() {
    let mut rig = master(one(web()));
    let before = rig.status();
    assert_eq!(rig.node.plan(&one(web())), [""; 0]);
    reload(&mut rig, one(web()));
    assert_eq!(rig.took(), [""; 0]);
    assert_eq!(
        (rig.status().since, rig.status().next, rig.status().id),
        (before.since, before.next, before.id)
    );
}

#[test]
fn a_master_with_new_settings_stays_master_and_says_so() {
    let mut rig = master(one(web()));
    let before = rig.status();
    let mut instance = web();
    instance.priority = 90;
    instance.addresses = vec![Address::new(ip("10.0.0.8"))];
    assert_eq!(
        rig.node.plan(&one(instance.clone())),
        ["vrrp_instance web: priority 100 -> 90; 10.0.0.9 leaves; 10.0.0.8 joins"]
    );
    reload(&mut rig, one(instance));
    assert_eq!(
        rig.took(),
        [
            "event reload: vrrp_instance web: priority 100 -> 90; 10.0.0.9 leaves; 10.0.0.8 joins",
            "release 10.0.0.9",
            "hold 10.0.0.8",
            "event web: priority 100 -> 90: nothing lowers or raises it any more",
            "advert web 90",
            "announce 10.0.0.8 on 2 x5",
        ]
    );
    assert_eq!((rig.status().since, rig.status().id), (before.since, before.id));
    assert_eq!(rig.status().stats.become_master, 1);
}

#[test]
fn only_what_is_new_is_announced() {
    let mut rig = master(one(web()));
    let mut instance = web();
    instance.excluded.push(Address::new(ip("10.0.0.8")));
    reload(&mut rig, one(instance));
    let took = rig.took();
    assert!(!took.iter().any(|line| line.starts_with("release")));
    assert!(took.contains(&"hold 10.0.0.9 10.0.0.8".to_owned()));
    assert_eq!(took.last().map(String::as_str), Some("announce 10.0.0.8 on 2 x5"));
}

#[test]
fn a_new_interval_counts_at_once() {
    let mut rig = rig(one(web()));
    rig.wait(ms(3000));
    let mut instance = web();
    instance.advert_interval = Micros::from_secs(2);
    reload(&mut rig, one(instance));
    rig.wait(ms(6609));
    assert_eq!(rig.state(), State::Backup, "it listens anew");
    rig.wait(ms(1));
    assert_eq!(rig.state(), State::Master);
    rig.took();
    rig.wait(ms(10_000));
    assert_eq!(rig.took_only("advert").len(), 5);
}

#[test]
fn a_removed_instance_leaves_as_at_a_stop() {
    for (deleted, word) in [(None, "FAULT"), (Some(script("/etc/deleted")), "DELETED")] {
        let mut instance = web();
        instance.notify.deleted = deleted;
        let mut rig = master(one(instance));
        rig.config = Vrrp::default();
        rig.node.reload(rig.now, Arc::default());
        let mut words = Vec::new();
        while let Some(command) = rig.node.poll_command() {
            match command {
                weir_vrrp::Command::Send { packet, .. } => words.push(format!("advert {}", packet[22])),
                weir_vrrp::Command::Release { .. } => words.push("release".to_owned()),
                weir_vrrp::Command::Notify(notice) => words.push(notice.state.word().to_owned()),
                weir_vrrp::Command::Event(event) => words.push(event.to_string()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            words,
            [
                "reload: vrrp_instance web: leaves",
                "advert 0",
                "release",
                "web: MASTER -> INIT with priority 100: it is not configured any more",
                word,
            ]
        );
        assert_eq!(rig.node.poll_timeout(), None);
    }
}

#[test]
fn a_new_instance_begins_to_listen() {
    let mut rig = master(one(web()));
    let mut config = one(web());
    config.instances.insert(0, {
        let mut instance = Instance::new("mail", "eth0", 52);
        instance.addresses.push(Address::new(ip("10.0.0.10")));
        instance
    });
    reload(&mut rig, config);
    let status = rig.node.status(rig.now);
    let states: Vec<_> =
        status.instances.iter().map(|one| (one.name.as_str(), one.state, one.id.0)).collect();
    assert_eq!(states, [("mail", State::Backup, 1), ("web", State::Master, 0)]);
    assert_eq!(rig.took_only("event reload"), ["event reload: vrrp_instance mail: is new"]);
    // Packets find their routers at their new places.
    rig.hear_as(&web(), LOWER, 200);
    assert_eq!(rig.node.status(rig.now).instances[1].state, State::Backup);
}

#[test]
fn findings_survive_unless_the_tracker_is_another() {
    let mut instance = web();
    instance.track_scripts.push(track("chk", -30));
    let mut config = one(instance);
    config.scripts.push(track_script("chk"));
    let mut rig = rig(config.clone());
    rig.script("chk", down());
    assert_eq!(rig.status().effective_priority, 70);
    let mut same = config.clone();
    same.instances[0].priority = 200;
    reload(&mut rig, same);
    assert_eq!(rig.status().effective_priority, 170);
    let mut other = config;
    other.scripts[0].script = script("/usr/bin/other");
    reload(&mut rig, other);
    assert_eq!(rig.status().effective_priority, 100, "what has not reported changes no priority");
}

#[test]
fn a_changed_script_does_not_take_the_mastership() {
    let mut instance = web();
    instance.track_scripts.push(track("chk", 0));
    let mut config = one(instance);
    config.scripts.push(track_script("chk"));
    let mut rig = rig(config.clone());
    rig.script("chk", Finding::Up);
    rig.wait(ms(3610));
    config.scripts[0].interval = Micros::from_secs(5);
    reload(&mut rig, config);
    assert_eq!(rig.state(), State::Master);
    rig.script("chk", down());
    assert_eq!(rig.state(), State::Fault);
}

#[test]
fn an_instance_that_becomes_the_owner_or_stops_to_be() {
    let mut rig = master(one(web()));
    let mut instance = web();
    instance.priority = 255;
    reload(&mut rig, one(instance));
    assert_eq!(rig.took_only("advert"), ["advert web 255"]);
    reload(&mut rig, one(web()));
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
}

#[test]
fn routers_that_join_a_group_agree() {
    let mut mail = Instance::new("mail", "eth0", 52);
    mail.addresses.push(Address::new(ip("10.0.0.10")));
    let apart = Vrrp { instances: vec![web(), mail.clone()], ..Vrrp::default() };
    let mut rig = rig(apart.clone());
    for _ in 0..5 {
        rig.wait(ms(1000));
        rig.hear_as(&mail, LOWER, 200);
    }
    assert_eq!(rig.state(), State::Master);
    let mut together = apart;
    let members = vec!["web".to_owned(), "mail".to_owned()];
    together.groups.push(SyncGroup { name: "site".to_owned(), members, ..SyncGroup::default() });
    reload(&mut rig, together);
    assert_eq!(rig.state(), State::Backup);
    assert_eq!(rig.status().cause, "group site: mail: another router is its master");
}

#[test]
fn states_are_repeated_for_pipes_only() {
    let mut instance = web();
    instance.notify.master = Some(script("/etc/master"));
    let mut config = one(instance);
    config.globals.fifo_write_states_on_reload = true;
    let mut rig = master(config.clone());
    rig.node.reload(rig.now, Arc::new(config));
    let Some(weir_vrrp::Command::Notify(notice)) = rig.node.poll_command() else { panic!("no notice") };
    assert_eq!((notice.state.word(), notice.script, notice.any, notice.mail), ("MASTER", None, None, false));
}

#[test]
fn every_setting_has_a_word_in_the_plan() {
    let mut new = web();
    new.name = "site".to_owned();
    new.nopreempt = true;
    new.notify.any = Some(script("/etc/any"));
    new.authentication = weir_model::vrrp::Authentication::Pass("secret".to_owned());
    new.lease = None;
    let mut config = one(new);
    config.scripts.push(track_script("chk"));
    config.globals.log_unknown_vrids = true;
    let rig = rig(one(web()));
    assert_eq!(
        rig.node.plan(&config),
        [
            "vrrp_instance web: is called site; authentication is new; nopreempt changes; notify changes; lease changes",
            "vrrp_script chk: is new",
            "global_defs: changes",
        ]
    );
}

#[test]
fn an_address_that_moves_between_routers_stays() {
    let mut mail = Instance::new("mail", "eth0", 52);
    mail.addresses.push(Address::new(ip("10.0.0.10")));
    let both = |first: &Instance, second: &Instance| Vrrp {
        instances: vec![first.clone(), second.clone()],
        ..Vrrp::default()
    };
    let mut rig = master(both(&web(), &mail));
    let (mut receiver, mut giver) = (web(), mail);
    receiver.addresses.append(&mut giver.addresses);
    giver.addresses.push(Address::new(ip("10.0.0.11")));
    reload(&mut rig, both(&receiver, &giver));
    let took = rig.took();
    let place =
        |text: &str| took.iter().position(|line| line == text).unwrap_or_else(|| panic!("{text}: {took:?}"));
    assert!(place("release 10.0.0.10") < place("hold 10.0.0.9 10.0.0.10"));
    assert!(place("release 10.0.0.10") < place("hold 10.0.0.11"));
}
