//! Who becomes master, and when, beside keepalived.

use std::time::Duration;

use weir_lab::{Host, Lab, PacketKind};

use crate::common::seek;
use crate::routers::{ADDRESS, Instance, Node, PATIENCE, Start, holds, host, keepalived, watch, weir};
use crate::stage::{lab, one, output};

fn pair() -> (Lab, Host, Host) {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    (lab, a, b)
}

fn count(router: &Node, name: &str, least: u64) {
    router.shows(&format!("{name} of {least}"), |row| row["stats"][name].as_u64() >= Some(least));
}

/// More advertisements than a backup may miss.
const MANY: u64 = 20;

#[test]
fn nopreempt_leaves_the_address_where_it_is() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let second = keepalived(&b, &one(100, ""));
    holds(&watch, &["b"], &[&second]);
    let first = weir(&a, &one(150, "nopreempt"));
    count(&first, "advert_rcvd", MANY);
    assert_eq!(watch.account(Duration::ZERO, lab.now()).moves, 0, "{:?}", watch.intervals());
    let row = first.wait_state("backup");
    assert_eq!((&row["master"]["address"], &row["master"]["priority"]), (&"10.9.0.2".into(), &100.into()));
    second.end();
    holds(&watch, &["a"], &[&first, &second]);
}

#[test]
fn preempt_delay_waits_before_it_takes_the_address_back() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let second = keepalived(&b, &one(100, ""));
    holds(&watch, &["b"], &[&second]);
    let begin = lab.now();
    let first = weir(&a, &one(150, "preempt_delay 2"));
    holds(&watch, &["a"], &[&first, &second]);
    let taken = watch.intervals().into_iter().find(|one| one.host == "a").expect("it was taken").from;
    assert!(taken - begin > Duration::from_secs(2), "{begin:?} {:?}", watch.intervals());
}

#[test]
fn an_owner_has_no_lease_and_returns_at_once() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let second = keepalived(&b, &one(100, ""));
    holds(&watch, &["b"], &[&second]);
    let owner = weir(&a, &one(255, ""));
    holds(&watch, &["a"], &[&owner, &second]);
    let row = owner.wait_state("master");
    assert_eq!((&row["lease"], &row["effective_priority"]), (&serde_json::Value::Null, &255.into()));
    assert_eq!(row["cause"], "it owns the addresses");
    assert_eq!(row["stats"]["advert_rcvd"], 0, "it does not listen first");
    let text = output(&a, &format!("ip address show to {ADDRESS}"));
    assert!(text.contains("valid_lft forever"), "{text}");
}

#[test]
fn an_address_that_is_not_owned_is_leased() {
    let (_lab, a, _b) = pair();
    let router = weir(&a, &one(150, ""));
    assert_eq!(router.wait_state("master")["lease"], 1, "an advertisement every 0.2 s");
    let text = output(&a, &format!("ip address show to {ADDRESS}"));
    assert!(text.contains("valid_lft 0sec") || text.contains("valid_lft 1sec"), "{text}");
}

#[test]
fn a_master_that_ends_says_so_to_keepalived_and_hears_it_from_keepalived() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let capture = lab.capture("lan").expect("tcpdump");
    let second = keepalived(&b, &one(150, ""));
    holds(&watch, &["b"], &[&second]);
    let first = weir(&a, &one(100, ""));
    count(&first, "advert_rcvd", 1);
    second.end();
    holds(&watch, &["a"], &[&first, &second]);
    count(&first, "pri_zero_rcvd", 1);
    first.end();
    let own = |one: &weir_lab::Packet| matches!(one.kind, PacketKind::Advertisement { source, .. } if source.to_string() == "10.9.0.1");
    let zero = |one: &weir_lab::Packet| matches!(one.kind, PacketKind::Advertisement { priority: 0, .. });
    let last = seek(|| capture.packets().into_iter().rfind(own).filter(zero));
    assert!(last.is_some(), "{:?}", capture.packets());
}

/// Alarms of an instance.
fn alarm(router: &Node, text: &str) {
    router.shows(text, |row| row["alarms"].to_string().contains(text));
}

#[test]
fn of_two_owners_one_is_left() {
    for rival in [weir, keepalived] {
        let (lab, a, b) = pair();
        let watch = watch(&lab, ADDRESS);
        let block = lab.partition(&["a"], &["b"]).expect("a partition");
        let (first, second) = (weir(&a, &one(255, "")), rival(&b, &one(255, "")));
        holds(&watch, &["a", "b"], &[&first, &second]);
        lab.unblock(&block).expect("it heals");
        // keepalived gives way to whom it hears, so it depends on who speaks first.
        assert!(seek(|| (watch.holders().len() == 1).then_some(())).is_some(), "{:?}", watch.intervals());
        let told = |router: &Node| {
            router.log().contains("owns the addresses too")
                || router.log().contains("both configured as address owner")
        };
        assert!(seek(|| (told(&first) || told(&second)).then_some(())).is_some(), "{}", first.log());
    }
}

#[test]
fn of_equal_priorities_the_higher_address_wins() {
    for (first, second) in [(weir as Start, keepalived as Start), (keepalived, weir)] {
        let (lab, a, b) = pair();
        let watch = watch(&lab, ADDRESS);
        // Both are master at first, as neither hears the other.
        let block = lab.partition(&["a"], &["b"]).expect("a partition");
        let (first, second) = (first(&a, &one(100, "")), second(&b, &one(100, "")));
        holds(&watch, &["a", "b"], &[&first, &second]);
        lab.unblock(&block).expect("it heals");
        holds(&watch, &["b"], &[&first, &second]);
    }
}

#[test]
fn a_start_may_be_delayed() {
    let (lab, a, _b) = pair();
    let watch = watch(&lab, ADDRESS);
    let begin = lab.now();
    let router = weir(&a, &format!("global_defs {{\n vrrp_startup_delay 2\n}}\n{}", one(100, "")));
    holds(&watch, &["a"], &[&router]);
    let taken = watch.intervals()[0].from;
    assert!(taken - begin > Duration::from_secs(2), "{begin:?} {:?}", watch.intervals());
}

#[test]
fn a_start_may_be_delayed_after_the_boot_of_the_machine() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let uptime = std::fs::read_to_string("/proc/uptime").expect("the time since the boot");
    let uptime: u64 = uptime.split('.').next().expect("a number").parse().expect("a number");
    let file = format!("global_defs {{\n vrrp_delay_after_boot 13\n}}\n{}", one(100, ""));
    // A time that is over.
    let router = weir(&b, &file);
    holds(&watch, &["b"], &[&router]);
    router.end();
    // A host that was booted ten seconds ago.
    a.write("/etc/keepalived/keepalived.conf", &file).expect("its file");
    let mut command = std::process::Command::new("unshare");
    command.args(["--time", &format!("--boottime=-{}", uptime.saturating_sub(10)), "--fork"]);
    command.args([env!("CARGO_BIN_EXE_weir"), "run", "/etc/keepalived/keepalived.conf"]);
    let begin = lab.now();
    a.spawn("booted", &command).expect("it starts");
    if let Err(error) = watch.wait_holders(&["a"], PATIENCE) {
        panic!("{error}: {}", a.read("/var/log/lab/booted.log").unwrap_or_default());
    }
    let taken = watch.intervals().into_iter().find(|one| one.host == "a").expect("it was taken").from;
    assert!(taken - begin > Duration::from_secs(2), "{begin:?} {:?}", watch.intervals());
}

const SLOW: &str = "version 3\n advert_int 0.5";

#[test]
fn the_interval_of_the_master_is_taken_over() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let slow = Instance { priority: 150, body: SLOW, ..Instance::default() }.text();
    let second = keepalived(&b, &slow);
    holds(&watch, &["b"], &[&second]);
    let first = weir(&a, &one(100, ""));
    first.wait_log("10.9.0.2 advertises every 0.5 s, here it is every 0.2 s; its interval is taken over");
    first.shows("interval of the master", |row| row["master_interval"] == 500_000);
    count(&first, "advert_rcvd", 5);
    assert_eq!(watch.account(Duration::ZERO, lab.now()).moves, 0, "{:?}", watch.intervals());
    second.end();
    holds(&watch, &["a"], &[&first, &second]);
    first.shows("own interval", |row| row["master_interval"] == 200_000);
}

#[test]
fn keepalived_takes_the_interval_of_weir_over() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let slow = Instance { priority: 150, body: SLOW, ..Instance::default() }.text();
    let first = weir(&a, &slow);
    holds(&watch, &["a"], &[&first]);
    let second = keepalived(&b, &one(100, ""));
    second.wait_log("Entering BACKUP STATE");
    count(&first, "advert_sent", MANY);
    assert_eq!(
        watch.account(Duration::ZERO, lab.now()).moves,
        0,
        "{:?}\n{}",
        watch.intervals(),
        second.log()
    );
}

#[test]
fn a_peer_that_does_not_hear_is_alarmed_and_steps_back_when_it_does() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let first = weir(&a, &one(150, ""));
    holds(&watch, &["a"], &[&first]);
    let block = lab.block(&a, &b).expect("a block");
    let second = keepalived(&b, &one(100, ""));
    holds(&watch, &["a", "b"], &[&first, &second]);
    first.wait_log("10.9.0.2 is master too, with priority 100 (here 150), so it did not hear this node");
    alarm(&first, "another router was master at the same time");
    lab.unblock(&block).expect("it heals");
    holds(&watch, &["a"], &[&first, &second]);
}

#[test]
fn both_forms_of_the_checksum_are_accepted() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    for (priority, holder) in [(150, "a"), (50, "b")] {
        let first = weir(&a, &one(priority, "v3_checksum_as_v2"));
        let second = weir(&b, &one(100, ""));
        holds(&watch, &[holder], &[&first, &second]);
        let backup = if holder == "a" { &second } else { &first };
        count(backup, "advert_rcvd", MANY);
        let row = backup.wait_state("backup");
        assert_eq!(row["stats"]["checksum_err"], 0);
        first.end();
        second.end();
    }
}

fn unicast(own: u8, peer: &str, more: &str) -> String {
    format!("unicast_src_ip 10.9.0.{own}\n {more}\n unicast_peer {{\n {peer}\n }}")
}

#[test]
fn the_hop_limits_of_a_unicast_peer_hold() {
    for (limits, accepted) in
        [("min_ttl 60 max_ttl 70", true), ("min_ttl 65", false), ("max_ttl 63", false), ("", true)]
    {
        let (lab, a, b) = pair();
        let watch = watch(&lab, ADDRESS);
        let first = weir(&a, &one(150, &unicast(1, "10.9.0.2", "unicast_ttl 64")));
        holds(&watch, &["a"], &[&first]);
        let second = weir(&b, &one(100, &unicast(2, &format!("10.9.0.1 {limits}"), "")));
        if accepted {
            count(&second, "advert_rcvd", MANY);
            assert_eq!(second.wait_state("backup")["stats"]["ip_ttl_err"], 0);
        } else {
            count(&second, "ip_ttl_err", MANY);
            second.wait_state("master");
        }
    }
}

#[test]
fn a_unicast_source_that_is_no_peer_is_refused_when_asked() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let first = weir(&a, &one(150, &unicast(1, "10.9.0.2", "")));
    holds(&watch, &["a"], &[&first]);
    let file = |check| one(100, &unicast(2, "10.9.0.3", check));
    let second = weir(&b, &file("check_unicast_src"));
    count(&second, "source_err", MANY);
    second.wait_state("master");
    second.end();
    let second = weir(&b, &file(""));
    count(&second, "advert_rcvd", MANY);
    second.wait_state("backup");
}

#[test]
fn more_missed_advertisements_may_be_waited_for() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    let first = weir(&a, &one(150, ""));
    holds(&watch, &["a"], &[&first]);
    let second = weir(&b, &one(100, "down_timer_adverts 10"));
    count(&second, "advert_rcvd", 1);
    let silent = lab.block(&a, &b).expect("a block");
    let begin = lab.now();
    holds(&watch, &["a", "b"], &[&first, &second]);
    let taken = watch.intervals().into_iter().find(|one| one.host == "b").expect("it was taken").from;
    assert!(taken - begin > Duration::from_millis(1800), "{begin:?} {:?}", watch.intervals());
    lab.unblock(&silent).expect("it heals");
    holds(&watch, &["a"], &[&first, &second]);
}

#[test]
fn an_instance_without_lower_priority_advertisements_stays_silent() {
    let (lab, a, b) = pair();
    let watch = watch(&lab, ADDRESS);
    // The interval is so long that whatever is sent is an answer.
    let body = "version 3\n advert_int 20\n lower_prio_no_advert on";
    let owner = Instance { priority: 255, body, ..Instance::default() }.text();
    let first = weir(&a, &owner);
    holds(&watch, &["a"], &[&first]);
    let sent = first.wait_state("master")["stats"]["advert_sent"].clone();
    let second = weir(&b, &one(100, "garp_master_repeat 1"));
    holds(&watch, &["a", "b"], &[&first, &second]);
    count(&first, "lower_prio_rcvd", 3);
    assert_eq!(first.wait_state("master")["stats"]["advert_sent"], sent);
    let answered = seek(|| (second.status()["state"] == "backup").then_some(()));
    assert!(answered.is_some(), "the next advertisement is heard: {}", second.log());
}
