//! Hosts: made, wired, blocked, cut, ended.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use weir_lab::{Host, Lab, Mood, Outcome, ProbePlan, Process, Signal, Traffic};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two hosts on one segment. There is no skipping where hosts cannot be made: the message says what is missing.
fn pair() -> (Lab, Host, Host) {
    let lab =
        Lab::new().unwrap_or_else(|error| panic!("the laboratory needs root or a user namespace: {error}"));
    lab.segment("lan").expect("a segment");
    let a = lab.host("a").address("10.0.0.1/24").address("fd00::1/64").start().expect("host a");
    let b = lab.host("b").address("10.0.0.2/24").address("fd00::2/64").start().expect("host b");
    (lab, a, b)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn files_and_names_are_the_hosts_own() {
    let (_lab, a, b) = pair();
    a.write("/server/scripts/check.sh", "#!/bin/sh\nhostname > /run/said; echo $$ >> /run/said\n")
        .expect("written");
    let output = a.run("/server/scripts/check.sh", &[]).expect("runs");
    assert!(output.status.success(), "{output:?}");
    let said = a.read("/run/said").expect("its file");
    assert_eq!(said.lines().next(), Some("a"));
    assert!(b.read("/run/said").is_err(), "another host sees the file");
    assert!(!std::path::Path::new("/server/scripts/check.sh").exists(), "the machine sees the file");
}

#[test]
fn an_address_is_seen_to_come_and_go_and_a_renewal_is_no_change() {
    let (lab, a, _b) = pair();
    let watch = lab.watch(ip("10.0.0.9"));
    a.ip("address add 10.0.0.9/32 dev eth0 valid_lft 100 preferred_lft 100").expect("added");
    a.wait_address(ip("10.0.0.9"), true, PATIENCE).expect("seen");
    a.ip("address replace 10.0.0.9/32 dev eth0 valid_lft 200 preferred_lft 200").expect("renewed");
    a.delete_address(ip("10.0.0.9")).expect("deleted");
    watch.wait_holders(&[], PATIENCE).expect("gone");
    let intervals = watch.intervals();
    assert_eq!(intervals.len(), 1, "{intervals:?}");
    assert_eq!(intervals[0].host, "a");
    assert!(intervals[0].to > Some(intervals[0].from));
}

#[test]
fn processes_are_listed_signalled_and_end_with_the_host() {
    let (lab, a, b) = pair();
    let program =
        a.spawn("sleeper", Command::new("sh").args(["-c", "sleep 1000 & echo begun; wait"])).expect("starts");
    a.wait_text(program.log(), "begun", PATIENCE).expect("its child runs");
    let all = a.processes();
    let child = all.iter().find(|p| p.name == "sleep 1000").expect("the child of the shell").clone();
    assert_eq!(child.parent, program.pid());
    assert!(b.processes().is_empty(), "{:?}", b.processes());
    program.signal(Signal::KILL).expect("killed");
    assert_eq!(program.wait(PATIENCE).expect("ended").to_string(), "signal: 9 (SIGKILL)");
    let orphans: Vec<Process> = a.processes();
    assert_eq!(orphans.iter().map(|p| p.pid).collect::<Vec<_>>(), [child.pid]);
    drop((lab, a));
    child.wait_end(PATIENCE).expect("the orphan ends with its host");
}

#[test]
fn a_block_is_one_way_and_by_protocol() {
    let (lab, a, b) = pair();
    let ping = |from: &Host, to: &str| answers(from, &format!("ping://{to}"));
    assert!(ping(&a, "10.0.0.2") && ping(&a, "fd00::2") && ping(&b, "10.0.0.1"));
    let icmp = lab.block_traffic(&["a"], &[], Traffic { share: 1.0, protocol: Some(1) }).expect("blocked");
    assert!(!ping(&a, "10.0.0.2"), "ICMP passes");
    assert!(ping(&a, "fd00::2"), "ICMPv6 is another protocol");
    lab.unblock(&icmp).expect("lifted");
    assert!(ping(&a, "10.0.0.2"));
    let one_way = lab.block(&a, &b).expect("blocked");
    assert!(!ping(&b, "10.0.0.1"), "the answer passes");
    lab.unblock(&one_way).expect("lifted");
    let parted = lab.partition(&["a"], &["b"]).expect("parted");
    assert!(!ping(&b, "fd00::1"));
    lab.unblock(&parted).expect("lifted");
    a.link_down().expect("cut");
    assert!(!ping(&b, "10.0.0.1"));
    a.link_up().expect("plugged in");
    assert!(ping(&b, "10.0.0.1"));
}

/// Whether one of a few requests is answered.
fn answers(from: &Host, url: &str) -> bool {
    let plan = ProbePlan::to(url).expect("a URL").every(Duration::from_millis(20));
    let mut probe = from.probe(plan).expect("a probe");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && probe.requests().len() < 3 {
        std::thread::yield_now();
    }
    probe.stop().iter().any(|request| request.outcome == Outcome::Answered)
}

#[test]
fn every_request_is_accounted_for() {
    let (lab, a, b) = pair();
    let mut app = b.app("one", 8080).expect("an application");
    let mut probe = a.probe(ProbePlan::to("http://10.0.0.2:8080/").expect("a URL")).expect("a probe");
    until(|| probe.requests().iter().filter(|r| r.outcome == Outcome::Answered).count() >= 100);
    let killed = lab.now();
    app.kill();
    until(|| probe.requests().iter().any(|r| r.outcome == Outcome::Refused));
    app.set_mood(Mood::Wedged);
    app.start().expect("starts again");
    until(|| probe.requests().iter().any(|r| r.outcome == Outcome::TimedOut));
    app.set_mood(Mood::Well);
    let well = lab.now();
    until(|| probe.tally(well, lab.now()).answered > 0);
    let all = probe.stop();
    let tally = probe.tally(Duration::ZERO, lab.now());
    assert_eq!(tally.sent, all.len() as u64);
    assert_eq!(tally.by.get("one"), Some(&tally.answered));
    assert_eq!(tally.answered + tally.refused + tally.timed_out + tally.reset, tally.sent, "{tally:?}");
    assert_eq!(probe.tally(Duration::ZERO, killed - Duration::from_millis(50)).failed(), 0);
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[test]
fn a_host_ends_while_its_programs_run() {
    let (lab, a, b) = pair();
    let program = b.spawn("sleeper", Command::new("sleep").arg("1000")).expect("starts");
    drop((lab, a, b));
    assert_eq!(program.wait(PATIENCE).expect("ended").to_string(), "signal: 9 (SIGKILL)");
}
