//! Sync groups: all members are masters or none is.

use weir_model::vrrp::{Address, Instance, SyncGroup, Vrrp};
use weir_vrrp::{Finding, State};

use super::rig::{HIGHER, LOWER, Rig, bare, down, ip, ms, rig, script, track, track_script, web};

fn mail() -> Instance {
    let mut instance = Instance::new("mail", "eth0", 52);
    instance.addresses.push(Address::new(ip("10.0.0.10")));
    instance
}

fn pair() -> Vrrp {
    let members = vec!["web".to_owned(), "mail".to_owned()];
    let group = SyncGroup { name: "site".to_owned(), members, ..SyncGroup::default() };
    Vrrp { instances: vec![web(), mail()], groups: vec![group], ..Vrrp::default() }
}

fn states(rig: &Rig) -> (State, State) {
    let status = rig.node.status(rig.now);
    (status.instances[0].state, status.instances[1].state)
}

#[test]
fn members_are_master_together_and_the_group_says_so_with_priority_zero() {
    let mut rig = bare(pair());
    rig.link(true);
    assert_eq!(
        rig.took_only("notify"),
        ["notify instance web BACKUP 100", "notify instance mail BACKUP 100", "notify group site BACKUP 0"]
    );
    rig.wait(ms(3610));
    assert_eq!(states(&rig), (State::Master, State::Master));
    assert_eq!(
        rig.took_only("notify"),
        ["notify instance web MASTER 100", "notify instance mail MASTER 100", "notify group site MASTER 0"]
    );
}

#[test]
fn one_member_that_listens_holds_the_others_back() {
    let mut rig = rig(pair());
    for _ in 0..10 {
        rig.wait(ms(1000));
        rig.hear(HIGHER, 200);
    }
    assert_eq!(states(&rig), (State::Backup, State::Backup));
    rig.wait(ms(3610));
    assert_eq!(states(&rig), (State::Master, State::Master));
}

#[test]
fn one_member_that_steps_back_takes_the_others_along_without_priority_zero() {
    let mut rig = rig(pair());
    rig.wait(ms(6000));
    rig.took();
    rig.hear_as(&mail(), HIGHER, 200);
    assert_eq!(states(&rig), (State::Backup, State::Backup));
    let took = rig.took();
    assert!(!took.iter().any(|line| line.starts_with("advert") && line.ends_with(" 0")), "{took:?}");
    assert!(took.contains(&"release 10.0.0.9".to_owned()) && took.contains(&"release 10.0.0.10".to_owned()));
    assert_eq!(rig.status().cause, "group site: mail: 10.0.0.3 advertises a higher priority (200 to 100)");
    assert_eq!(took.last().map(String::as_str), Some("notify group site BACKUP 0"));
}

#[test]
fn a_fault_of_one_member_is_a_fault_of_all() {
    let mut config = pair();
    config.instances[1].track_scripts.push(track("chk", 0));
    config.scripts.push(track_script("chk"));
    let mut rig = rig(config);
    assert_eq!(states(&rig), (State::Init, State::Init), "all wait for the script");
    rig.script("chk", Finding::Up);
    rig.wait(ms(6000));
    rig.took();
    rig.script("chk", down());
    assert_eq!(states(&rig), (State::Fault, State::Fault));
    let took = rig.took();
    assert!(took.contains(&"advert web 0".to_owned()) && took.contains(&"advert mail 0".to_owned()));
    assert_eq!(rig.status().cause, "group site: mail: script chk is down (exited with code 1)");
    rig.script("chk", Finding::Up);
    assert_eq!(states(&rig), (State::Backup, State::Backup));
}

#[test]
fn weights_of_members_count_only_with_sync_group_tracking_weight() {
    for (keep_weights, priority) in [(false, 100), (true, 70)] {
        let mut config = pair();
        config.instances[0].track_scripts.push(track("chk", -30));
        config.scripts.push(track_script("chk"));
        config.groups[0].keep_weights = keep_weights;
        let mut rig = rig(config);
        rig.script("chk", down());
        assert_eq!(rig.status().effective_priority, priority);
    }
}

#[test]
fn trackers_of_the_group_count_for_all_members() {
    let mut config = pair();
    config.groups[0].track_scripts.push(track("chk", -30));
    config.scripts.push(track_script("chk"));
    let mut rig = rig(config.clone());
    rig.script("chk", down());
    let priorities: Vec<u8> =
        rig.node.status(rig.now).instances.iter().map(|one| one.effective_priority).collect();
    assert_eq!(priorities, [70, 70]);
    config.groups[0].track_scripts[0].weight = 0;
    let mut rig = super::rig::rig(config);
    rig.script("chk", down());
    assert_eq!(states(&rig), (State::Fault, State::Fault));
}

#[test]
fn a_member_that_wants_to_be_master_listens_for_one_advertisement() {
    let mut config = pair();
    for instance in &mut config.instances {
        instance.wants_master = true;
    }
    let mut rig = rig(config);
    rig.wait(ms(1003));
    assert_eq!(states(&rig), (State::Backup, State::Backup));
    rig.wait(ms(1));
    assert_eq!(states(&rig), (State::Master, State::Master));
}

#[test]
fn owners_are_masters_at_once_only_if_all_are() {
    for (second, state) in [(255, State::Master), (100, State::Backup)] {
        let mut config = pair();
        config.instances[0].priority = 255;
        config.instances[1].priority = second;
        assert_eq!(states(&rig(config)), (state, state));
    }
}

#[test]
fn a_lower_priority_on_one_member_makes_all_tell_their_neighbours() {
    let mut rig = rig(pair());
    rig.wait(ms(3700));
    rig.took();
    rig.hear(LOWER, 50);
    assert_eq!(rig.took_only("announce"), ["announce 10.0.0.9 on 2 x5", "announce 10.0.0.10 on 2 x5"]);
}

#[test]
fn the_groups_scripts_stand_in_its_notices() {
    let mut config = pair();
    config.groups[0].notify.master = Some(script("/etc/group-master"));
    config.groups[0].notify.any = Some(script("/etc/group-any"));
    let mut rig = rig(config);
    rig.wait(ms(3610));
    let mut found = None;
    while let Some(command) = rig.node.poll_command() {
        if let weir_vrrp::Command::Notify(notice) = command {
            found = Some(notice);
        }
    }
    let notice = found.expect("a notice");
    assert_eq!(notice.script, Some(script("/etc/group-master")));
    assert_eq!(notice.any, Some(script("/etc/group-any")));
}
