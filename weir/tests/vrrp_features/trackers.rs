//! `track_interface`, `track_script`, `track_process` and `track_file`: faults and weights.

use std::process::Command;

use weir_lab::{Host, Lab, Signal};

use crate::routers::{ADDRESS, Node, holds, host, keepalived, watch, weir};
use crate::stage::{gateway, lab, one, prints};

/// Alone on a host that has a second interface.
fn alone(file: &str) -> (Lab, Host, Node) {
    let lab = lab();
    let a = gateway(&lab, "a", 1);
    let router = weir(&a, file);
    (lab, a, router)
}

#[test]
fn an_interface_without_weight_is_a_fault() {
    let (lab, a, router) = alone(&one(100, "track_interface {\n eth1\n }"));
    let watch = watch(&lab, ADDRESS);
    holds(&watch, &["a"], &[&router]);
    a.ip("link set eth1 down").expect("eth1 goes down");
    holds(&watch, &[], &[&router]);
    let row = router.wait_state("fault");
    assert_eq!(row["reasons"][0], "interface eth1 is down");
    a.ip("link set eth1 up").expect("eth1 comes up");
    holds(&watch, &["a"], &[&router]);
}

#[test]
fn an_interface_with_a_weight_changes_the_priority() {
    for (weight, up, down) in
        [("20", 120, 100), ("-20", 100, 80), ("20 reverse", 100, 120), ("-20 reverse", 80, 100)]
    {
        let (_lab, a, router) = alone(&one(100, &format!("track_interface {{\n eth1 weight {weight}\n }}")));
        router.wait_priority(up);
        a.ip("link set eth1 down").expect("eth1 goes down");
        router.wait_priority(down);
    }
}

/// A script that says what stands in a file.
const ANSWER: &str = "#!/bin/sh\nread -r code < /etc/keepalived/answer\ncase $code in hang) exec sleep 1000;; esac\n\
                      exit $code\n";

fn scripted(script: &str, body: &str) -> String {
    format!(
        "global_defs {{\n script_user root\n}}\nvrrp_script answer {{\n script /etc/keepalived/answer.sh\n interval \
         0.1\n {script}\n}}\n{}",
        one(100, &format!("track_script {{\n answer\n }}\n {body}"))
    )
}

fn answering(script: &str, first: &str) -> (Lab, Host, Node) {
    let lab = lab();
    let a = host(&lab, "a", 1);
    a.write("/etc/keepalived/answer.sh", ANSWER).expect("a script");
    a.write("/etc/keepalived/answer", first).expect("an answer");
    let router = weir(&a, &scripted(script, ""));
    (lab, a, router)
}

#[test]
fn a_script_without_weight_is_a_fault() {
    let (lab, a, router) = answering("rise 2\n fall 3", "0\n");
    let watch = watch(&lab, ADDRESS);
    holds(&watch, &["a"], &[&router]);
    a.write("/etc/keepalived/answer", "7\n").expect("an answer");
    holds(&watch, &[], &[&router]);
    let row = router.wait_state("fault");
    let reason = row["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("script answer is down") && reason.contains('7'), "{reason}");
    a.write("/etc/keepalived/answer", "0\n").expect("an answer");
    holds(&watch, &["a"], &[&router]);
}

#[test]
fn a_script_with_a_weight_changes_the_priority() {
    for (weight, up, down) in [
        ("weight 20", 120, 100),
        ("weight -20", 100, 80),
        ("weight 20 reverse", 100, 120),
        ("weight -200", 100, 1),
    ] {
        let (_lab, a, router) = answering(weight, "0\n");
        router.wait_priority(up);
        a.write("/etc/keepalived/answer", "1\n").expect("an answer");
        router.wait_priority(down);
        a.write("/etc/keepalived/answer", "0\n").expect("an answer");
        router.wait_priority(up);
    }
}

#[test]
fn a_script_that_hangs_has_failed() {
    let (lab, a, router) = answering("timeout 1\n fall 1", "0\n");
    let watch = watch(&lab, ADDRESS);
    holds(&watch, &["a"], &[&router]);
    a.write("/etc/keepalived/answer", "hang\n").expect("an answer");
    holds(&watch, &[], &[&router]);
    let row = router.wait_state("fault");
    let reason = row["reasons"][0].as_str().expect("a reason");
    assert!(reason.contains("script answer is down"), "{reason}");
    a.write("/etc/keepalived/answer", "0\n").expect("an answer");
    holds(&watch, &["a"], &[&router]);
    router.end();
    let left: Vec<_> = a.processes().into_iter().filter(|one| one.name.contains("sleep 1000")).collect();
    assert!(left.is_empty(), "scripts that hung are left: {left:?}");
}

#[test]
fn an_instance_waits_until_its_scripts_have_run() {
    let (lab, a, router) = answering("timeout 1000", "hang\n");
    let row = router.wait_state("init");
    assert_eq!(row["cause"], "script answer has not reported yet");
    assert_eq!(watch(&lab, ADDRESS).holders(), Vec::<String>::new());
    a.write("/etc/keepalived/answer", "0\n").expect("an answer");
    let hung = a.processes().into_iter().find(|one| one.name.contains("sleep 1000")).expect("it hangs");
    hung.signal(Signal::KILL).expect("it is killed");
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
}

#[test]
fn a_script_that_fails_at_first_keeps_the_instance_out() {
    let (_lab, _a, router) = answering("fall 3", "1\n");
    let row = router.wait_state("fault");
    let history = row["history"].to_string();
    assert!(!history.contains("MASTER"), "{history}");
}

#[test]
fn a_failing_script_gives_the_address_to_keepalived_and_takes_it_back() {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    a.write("/etc/keepalived/answer.sh", ANSWER).expect("a script");
    a.write("/etc/keepalived/answer", "0\n").expect("an answer");
    let watch = watch(&lab, ADDRESS);
    let first = weir(&a, &scripted("weight 50", ""));
    let second = keepalived(&b, &one(120, ""));
    holds(&watch, &["a"], &[&first, &second]);
    a.write("/etc/keepalived/answer", "1\n").expect("an answer");
    holds(&watch, &["b"], &[&first, &second]);
    a.write("/etc/keepalived/answer", "0\n").expect("an answer");
    holds(&watch, &["a"], &[&first, &second]);
}

fn tracking_processes(process: &str) -> String {
    format!(
        "vrrp_track_process daemon {{\n process sleep 4711\n {process}\n}}\n{}",
        one(100, "track_process {\n daemon\n }")
    )
}

fn daemon(host: &Host) -> weir_lab::Program {
    host.spawn("daemon", Command::new("sleep").arg("4711")).expect("it starts")
}

#[test]
fn a_process_that_is_missing_is_a_fault() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let watch = watch(&lab, ADDRESS);
    let router = weir(&a, &tracking_processes("quorum 2"));
    router.wait_state("fault");
    let one = daemon(&a);
    let two = daemon(&a);
    holds(&watch, &["a"], &[&router]);
    one.signal(Signal::KILL).expect("it is killed");
    holds(&watch, &[], &[&router]);
    daemon(&a);
    holds(&watch, &["a"], &[&router]);
    drop(two);
}

#[test]
fn a_process_with_a_weight_changes_the_priority() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let router = weir(&a, &tracking_processes("weight 30\n quorum_max 1"));
    router.wait_priority(100);
    let one = daemon(&a);
    router.wait_priority(130);
    let two = daemon(&a);
    router.wait_priority(100);
    two.signal(Signal::KILL).expect("it is killed");
    router.wait_priority(130);
    one.signal(Signal::KILL).expect("it is killed");
    router.wait_priority(100);
}

fn tracking_a_file(file: &str, track: &str) -> String {
    format!(
        "track_file rank {{\n file /etc/keepalived/rank\n {file}\n}}\n{}",
        one(100, &format!("track_file {{\n rank {track}\n }}"))
    )
}

#[test]
fn the_number_in_a_file_changes_the_priority() {
    for (weight, number, priority) in [
        ("weight 1", "-30", 70),
        ("weight 2", "20", 140),
        ("weight -1", "20", 80),
        ("weight 1 reverse", "20", 80),
    ] {
        let lab = lab();
        let a = host(&lab, "a", 1);
        a.write("/etc/keepalived/rank", "0\n").expect("a file");
        let router = weir(&a, &tracking_a_file(weight, ""));
        router.wait_priority(100);
        a.write("/etc/keepalived/rank", number).expect("a file");
        router.wait_priority(priority);
    }
}

#[test]
fn a_file_without_weight_is_a_switch() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let watch = watch(&lab, ADDRESS);
    let router = weir(&a, &tracking_a_file("weight 0\n init_file 0", ""));
    holds(&watch, &["a"], &[&router]);
    assert_eq!(a.read("/etc/keepalived/rank").expect("it was made").trim(), "0");
    a.write("/etc/keepalived/rank", "1\n").expect("a file");
    holds(&watch, &[], &[&router]);
    a.write("/etc/keepalived/rank", "0\n").expect("a file");
    holds(&watch, &["a"], &[&router]);
}

#[test]
fn a_very_low_number_in_a_file_is_a_fault() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    a.write("/etc/keepalived/rank", "0\n").expect("a file");
    let router = weir(&a, &tracking_a_file("weight 1", ""));
    router.wait_state("master");
    a.write("/etc/keepalived/rank", "-254\n").expect("a file");
    router.wait_state("fault");
    a.write("/etc/keepalived/rank", "-253\n").expect("a file");
    router.wait_state("master");
    router.wait_priority(1);
}

#[test]
fn the_own_interface_may_be_left_out() {
    let lab = lab();
    let a = host(&lab, "a", 1);
    let watch = watch(&lab, ADDRESS);
    let router = weir(&a, &one(100, "dont_track_primary"));
    holds(&watch, &["a"], &[&router]);
    a.link_down().expect("the cable is pulled");
    prints(&a, "ip link show eth0", |text| text.contains("NO-CARRIER"));
    let sent = router.wait_state("master")["stats"]["advert_sent"].as_u64();
    let row = router.shows("more advertisements", |row| {
        row["stats"]["advert_sent"].as_u64() > sent.map(|sent| sent + 10)
    });
    assert_eq!(row["state"], "master");
}

#[test]
fn a_short_loss_of_the_link_may_be_waited_for() {
    let lab = lab();
    let a = gateway(&lab, "a", 1);
    let file =
        format!("interface_up_down_delays {{\n eth1 200\n}}\n{}", one(100, "track_interface {\n eth1\n }"));
    let router = weir(&a, &file);
    router.wait_state("master");
    a.ip("link set eth1 down").expect("eth1 goes down");
    a.ip("link set eth1 up").expect("eth1 comes up");
    a.ip("link set eth0 down").expect("eth0 goes down");
    let row = router.wait_state("fault");
    assert_eq!(row["reasons"][0], "interface eth0 is down");
    let history = row["history"].to_string();
    assert!(!history.contains("eth1"), "{history}");
}
