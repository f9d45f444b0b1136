//! `vrrp_sync_group`: instances that change together.

use weir_lab::{Host, Lab};

use crate::routers::{FAST, Instance, PATIENCE, Start, holds, keepalived, watch, weir};
use crate::stage::{gateway, lab};

const OUTSIDE: &str = "10.8.0.100";
const INSIDE: &str = "10.9.0.100";

/// A group of one instance on each side of a gateway.
fn file(priority: u8, group: &str, body: &str) -> String {
    let body = format!("{FAST}\n {body}");
    let inside = Instance { name: "IN", priority, addresses: INSIDE, body: &body, ..Instance::default() };
    let outside = Instance { name: "OUT", interface: "eth1", vrid: 8, addresses: OUTSIDE, ..inside };
    format!(
        "vrrp_sync_group G {{\n group {{\n IN\n OUT\n }}\n {group}\n}}\n{}{}",
        inside.text(),
        outside.text()
    )
}

fn gateways() -> (Lab, Host, Host) {
    let lab = lab();
    let (a, b) = (gateway(&lab, "a", 1), gateway(&lab, "b", 2));
    (lab, a, b)
}

/// A fault on one side takes both addresses away, and its end brings both back.
fn move_together(first: Start, second: Start) {
    let (lab, a, b) = gateways();
    let watches = [watch(&lab, INSIDE), watch(&lab, OUTSIDE)];
    let (first, second) = (first(&a, &file(150, "", "")), second(&b, &file(100, "", "")));
    let all = [&first, &second];
    watches.iter().for_each(|watch| holds(watch, &["a"], &all));
    a.ip("link set eth1 down").expect("eth1 goes down");
    watches.iter().for_each(|watch| holds(watch, &["b"], &all));
    a.ip("link set eth1 up").expect("eth1 comes up");
    watches.iter().for_each(|watch| holds(watch, &["a"], &all));
    first.end();
    watches.iter().for_each(|watch| holds(watch, &["b"], &all));
}

#[test]
fn a_group_moves_together_with_keepalived_as_backup() {
    move_together(weir, keepalived);
}

#[test]
fn a_group_moves_together_with_keepalived_as_master() {
    move_together(keepalived, weir);
}

#[test]
fn a_fault_of_one_member_is_named_at_the_other() {
    let (lab, a, _b) = gateways();
    let router = weir(&a, &file(150, "", ""));
    holds(&watch(&lab, INSIDE), &["a"], &[&router]);
    a.ip("link set eth1 down").expect("eth1 goes down");
    let row = router.shows_of("IN", "fault", |row| row["state"] == "fault");
    assert_eq!(row["cause"], "group G: OUT: interface eth1 is down");
    assert_eq!(row["group"], "G");
    let row = router.shows_of("OUT", "fault", |row| row["state"] == "fault");
    assert_eq!(row["cause"], "interface eth1 is down");
}

#[test]
fn a_group_has_notices_of_its_own() {
    let (lab, a, _b) = gateways();
    a.write("/etc/keepalived/told.sh", "#!/bin/sh\necho \"$*\" >> /run/told\n").expect("a script");
    let group = "notify /etc/keepalived/told.sh\n notify_master \"/etc/keepalived/told.sh master\"\n \
                 notify_fault \"/etc/keepalived/told.sh fault\"\n notify_stop \"/etc/keepalived/told.sh stop\"";
    let router = weir(&a, &file(150, group, ""));
    holds(&watch(&lab, INSIDE), &["a"], &[&router]);
    a.wait_text("/run/told", "GROUP G MASTER 0\n", PATIENCE).expect("a notice");
    a.ip("link set eth1 down").expect("eth1 goes down");
    a.wait_text("/run/told", "GROUP G FAULT 0\n", PATIENCE).expect("a notice");
    router.end();
    assert_eq!(
        a.read("/run/told").expect("what was told"),
        "GROUP G BACKUP 0\nmaster\nGROUP G MASTER 0\nfault\nGROUP G FAULT 0\nstop\nGROUP G STOP 0\n"
    );
}

#[test]
fn weights_of_members_are_left_out_unless_the_group_keeps_them() {
    let (lab, a, _b) = gateways();
    let track = "track_interface {\n eth1 weight 20\n }";
    let router = weir(&a, &file(150, "", track));
    holds(&watch(&lab, INSIDE), &["a"], &[&router]);
    router.shows_of("IN", "plain priority", |row| row["effective_priority"] == 150);
    router.end();
    let router = weir(&a, &file(150, "sync_group_tracking_weight", track));
    holds(&watch(&lab, INSIDE), &["a"], &[&router]);
    router.shows_of("IN", "raised priority", |row| row["effective_priority"] == 170);
}

#[test]
fn a_tracker_of_the_group_moves_all_members() {
    let (lab, a, b) = gateways();
    let watches = [watch(&lab, INSIDE), watch(&lab, OUTSIDE)];
    a.write("/etc/keepalived/rank", "0\n").expect("a file");
    let tracker = "track_file rank {\n file /etc/keepalived/rank\n weight 1\n}\n";
    let group = "track_file {\n rank\n }";
    let first = weir(&a, &format!("{tracker}{}", file(150, group, "")));
    let second = keepalived(&b, &file(100, "", ""));
    let all = [&first, &second];
    watches.iter().for_each(|watch| holds(watch, &["a"], &all));
    a.write("/etc/keepalived/rank", "-100\n").expect("a file");
    watches.iter().for_each(|watch| holds(watch, &["b"], &all));
    a.write("/etc/keepalived/rank", "0\n").expect("a file");
    watches.iter().for_each(|watch| holds(watch, &["a"], &all));
}
