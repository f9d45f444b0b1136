//! `recorded/` is what keepalived 2.2.7 wrote for `recorded/keepalived.conf` with one node on a link, five seconds after
//! it became master. What it writes and we do not is listed here, line by line.

use super::*;
use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{
    Address, Authentication, Delivery, Family, Globals, Instance, Mail, Notify, Route, RouteKind, Rule,
    RuleAction, ScriptUser, SyncGroup, Track, TrackFile, TrackProcess, TrackScript, Unicast, UnicastPeer,
    Version,
};
use weir_vrrp::{InstanceId, MasterSeen, Stats};

const DATA: &str = include_str!("recorded/data");
const STATS: &str = include_str!("recorded/stats");
const JSON: &str = include_str!("recorded/json");

/// The moment of the recording, by both clocks.
const NOW: Time = Time::from_secs(1000);
const DATE: u64 = 1_795_268_140;

fn wall() -> Wall {
    Wall { now: NOW, date: SystemTime::UNIX_EPOCH + Duration::from_secs(DATE), zone: TimeZone::UTC }
}

/// A moment of the recording, given in microseconds since 1970.
fn moment(micros: u64) -> Time {
    NOW + Duration::from_micros(micros) - Duration::from_secs(DATE)
}

fn script(words: &[&str]) -> Option<Script> {
    Some(Script { argv: words.iter().map(|w| (*w).to_owned()).collect(), user: None })
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn address(text: &str, prefix_len: u8) -> Address {
    Address { prefix_len, ..Address::new(ip(text)) }
}

fn track(name: &str, weight: i32) -> Track {
    Track { name: name.into(), weight, reverse: false }
}

fn inner() -> Instance {
    let mut i = Instance::new("INNER", "v0", 31);
    i.priority = 120;
    i.authentication = Authentication::Pass("k3yw0rd".into());
    let label =
        Address { label: Some("v0:1".into()), interface: Some("v0".into()), ..address("10.77.0.9", 24) };
    i.addresses = vec![label, address("10.77.0.10", 32)];
    i.excluded = vec![Address { scope: 253, ..address("10.77.0.11", 32) }];
    i.routes = vec![Route {
        kind: RouteKind::Unicast,
        destination: Some((ip("192.0.2.0"), 24)),
        family: Family::V4,
        gateway: Some(ip("10.77.0.254")),
        source: None,
        interface: Some("v0".into()),
        table: 254,
        metric: None,
        scope: None,
        protocol: None,
        onlink: false,
        mtu: None,
        advmss: None,
        track: true,
        next_hops: Vec::new(),
    }];
    i.rules = vec![rule()];
    i.notify = Notify {
        master: script(&["/usr/bin/echo", "m", "one"]),
        backup: script(&["/usr/bin/echo"]),
        any: script(&["/usr/bin/echo", "any"]),
        ..Notify::default()
    };
    i.smtp_alert = true;
    i
}

fn rule() -> Rule {
    Rule {
        family: Family::V4,
        from: Some((ip("10.77.0.9"), 32)),
        to: None,
        invert: false,
        table: Some(200),
        priority: Some(300),
        input_interface: None,
        output_interface: None,
        mark: None,
        tos: None,
        suppress_prefix_len: None,
        action: RuleAction::Table,
        track: true,
    }
}

fn outer() -> Instance {
    let mut i = Instance::new("OUTER", "v0", 32);
    i.wants_master = true;
    i.priority = 90;
    i.version = Version::V3;
    i.advert_interval = Micros(500_000);
    i.addresses = vec![address("10.78.0.9", 24)];
    i.source = Some(ip("10.77.0.1"));
    let peer = UnicastPeer { address: ip("10.77.0.2"), min_ttl: 0, max_ttl: 255 };
    i.delivery = Delivery::Unicast(Unicast {
        peers: vec![peer],
        ttl: 255,
        check_source: false,
        fault_without_peer: false,
    });
    i
}

fn six() -> Instance {
    let mut i = Instance::new("SIX", "v0", 33);
    i.version = Version::V3;
    i.family = Family::V6;
    i.delivery = Delivery::Multicast(ip("ff02::12"));
    i.nopreempt = true;
    i.track_scripts = vec![track("web", -20), track("dns", 5)];
    i.track_processes = vec![track("nginx", 7)];
    i.track_files = vec![track("maint", 2)];
    i.track_interfaces = vec![track("v1", 3)];
    let lasting = Address { preferred: None, ..address("2001:db8::9", 64) };
    i.addresses = vec![address("fe80::9", 128), lasting];
    i
}

fn status(id: u32, config: Instance, since: u64, next: u64, sent: u64) -> InstanceStatus {
    let effective_priority = if config.name == "SIX" { 103 } else { config.priority };
    InstanceStatus {
        id: InstanceId(id),
        name: config.name.clone(),
        group: (config.name != "SIX").then(|| "PAIR".to_owned()),
        state: State::Master,
        since: moment(since),
        cause: String::new(),
        base_priority: config.priority,
        effective_priority,
        reasons: Vec::new(),
        master: None,
        master_interval: config.advert_interval.0,
        next: Some(moment(next)),
        alarms: Vec::new(),
        stats: Stats { advert_sent: sent, become_master: 1, ..Stats::default() },
        config: Arc::new(config),
    }
}

fn checks() -> Vec<CheckView> {
    let script = |name: &str, words: &[&str], interval, weight, rise, fall| TrackScript {
        name: name.into(),
        script: script(words).expect("given"),
        interval: Micros::from_secs(interval),
        timeout: Micros::from_secs(interval),
        weight,
        reverse: false,
        rise,
        fall,
        init_fail: false,
    };
    let view = |script, result| CheckView { script, result, fresh: false, exposed: false, phase: None };
    vec![
        view(script("web", &["/usr/bin/true", "-x", "a"], 2, -20, 2, 3), 4),
        view(script("dns", &["/usr/bin/false"], 1, 10, 1, 1), 0),
    ]
}

fn process() -> ProcessView {
    let process = TrackProcess {
        name: "nginx".into(),
        process: "sleep".into(),
        parameters: vec!["100".into()],
        parameter_match: None,
        full_command: false,
        weight: 7,
        reverse: false,
        quorum: 1,
        quorum_max: None,
        fork_delay: Micros::from_secs(1),
        terminate_delay: Micros::from_secs(1),
    };
    ProcessView {
        process,
        count: 0,
        quorum: false,
        by_command_line: true,
        fork_delay_runs: false,
        terminate_delay_runs: false,
    }
}

fn dump(kind: Kind) -> Dump {
    let mail = Mail {
        to: vec!["ops@example.net".into(), "night@example.net".into()],
        from: Some("lb@example.net".into()),
        server: "127.0.0.1".into(),
        port: 2525,
        timeout: Micros::from_secs(5),
        helo: None,
        faults: true,
    };
    let globals = Globals {
        mail: Some(mail),
        script_user: Some(ScriptUser { user: "root".into(), group: None }),
        ..Globals::default()
    };
    let group = SyncGroup {
        name: "PAIR".into(),
        members: vec!["INNER".into(), "OUTER".into()],
        notify: Notify {
            master: script(&["/usr/bin/echo", "gm"]),
            any: script(&["/usr/bin/echo", "g", "any"]),
            ..Notify::default()
        },
        smtp_alert: true,
        ..SyncGroup::default()
    };
    let path = "/run/edge/maint".into();
    let file = TrackFile { name: "maint".into(), path, weight: 1, reverse: false, init: None };
    let trackers =
        Trackers { checks: checks(), files: vec![FileView { file, value: 0 }], processes: vec![process()] };
    let config = Vrrp {
        globals,
        instances: vec![inner(), outer(), six()],
        groups: vec![group],
        scripts: checks().into_iter().map(|view| view.script).collect(),
        ..Vrrp::default()
    };
    let instances = vec![
        status(1, inner(), 1_795_268_134_395_815, 1_795_268_139_406_665, 5),
        status(2, outer(), 1_795_268_134_405_556, 1_795_268_138_898_056, 9),
        status(3, six(), 1_795_268_134_456_823, 1_795_268_139_457_536, 5),
    ];
    let status = Status { now: NOW, instances };
    Dump { kind, status, trackers, config: Arc::new(config), router_id: "edge-a".into() }
}

/// What keepalived's file says of what we say something about.
fn comparable() -> Vec<String> {
    let mut section = "";
    let kept = DATA.lines().filter(|line| {
        if line.starts_with("------<") {
            section = line;
        }
        let ours = !["VRRP Sockpool", "Interfaces", "Global"].iter().any(|other| section.contains(other));
        // Numbers of files, and an address that the interface chose.
        let chosen = line.starts_with("   Using src_ip") && !line.ends_with("(from configuration)");
        ours && !line.starts_with("   fd_in ") && !chosen
    });
    let kept = kept.map(|line| match line {
        "   Password = k3yw0rd" => "   Password = ********".to_owned(),
        "   Multicast address ff02::12, ifindex 3" => "   Multicast address ff02::12".to_owned(),
        line => line.to_owned(),
    });
    kept.collect()
}

#[test]
fn data_is_as_keepalived_has_it() {
    let text = dump(Kind::Data).at(&wall());
    let start = text.find("------< VRRP Topology").expect("instances");
    let ours: Vec<&str> = text[start..].lines().collect();
    let theirs = comparable();
    assert_eq!(ours.len(), theirs.len(), "{text}");
    for (ours, theirs) in ours.into_iter().zip(&theirs) {
        // A timeout that is not given is the interval here.
        let default = theirs == "   Timeout = 0 sec" && ours.starts_with("   Timeout = ");
        assert!(default || ours == theirs, "{ours:?} instead of {theirs:?}");
    }
}

#[test]
fn global_lines_are_among_keepalived_s() {
    let text = dump(Kind::Data).at(&wall());
    let globals = text.lines().take_while(|line| !line.contains("VRRP Topology"));
    for line in globals {
        let name = line.split('=').next().expect("the first part");
        assert!(DATA.lines().any(|l| l == line || l.starts_with(name)), "{line:?}");
    }
}

#[test]
fn stats_are_keepalived_s_to_the_byte() {
    assert_eq!(dump(Kind::Stats).at(&wall()), STATS);
}

#[test]
fn json_is_keepalived_s_to_the_byte_but_for_the_password() {
    assert_eq!(dump(Kind::Json).at(&wall()), JSON.replace("k3yw0rd", "********"));
}

#[test]
fn json_of_version_2_has_the_processes() {
    let mut dump = dump(Kind::Json);
    let mut config = Vrrp::clone(&dump.config);
    config.globals.json_version = 2;
    dump.config = Arc::new(config);
    let json: serde_json::Value = serde_json::from_str(&dump.at(&wall())).expect("JSON");
    assert_eq!(json["vrrp"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["vrrp"][2]["data"]["track_process"], serde_json::json!(["nginx"]));
    let want = serde_json::json!([{
        "process": "nginx", "parameters": "100", "param_match": "exact", "min_processes": 1, "current_processes": 0,
        "have_quorum": false, "weight": 7, "terminate_delay": 1, "fork_delay": 1, "fork_delay_timer_running": false,
        "terminate_delay_timer_running": false, "full_command": true,
    }]);
    assert_eq!(json["track_process"], want);
}

#[test]
fn a_backup_names_its_master() {
    let mut dump = dump(Kind::Data);
    let six = dump.status.instances.last_mut().expect("three");
    six.state = State::Backup;
    six.master = Some(MasterSeen { address: ip("fe80::1"), priority: 150, heard: 0.2 });
    six.next = None;
    let text = dump.at(&wall());
    let state = "   State = BACKUP\n   Master router = fe80::1\n   Master priority = 150\n   Master advert int = 1.00 sec\n";
    assert!(text.contains(state), "{text}");
    assert!(text.contains("   Read timeout = DISABLED\n"), "{text}");
    assert!(text.contains("   Master advert interval = 1000 milli-sec\n"), "{text}");
    assert!(text.contains("     fe80::9 dev v0 scope global deprecated\n"), "{text}");
}

#[test]
fn routes_and_rules_of_every_kind_have_words() {
    let rule = Rule {
        family: Family::V6,
        from: None,
        invert: true,
        mark: Some((1, 0xff)),
        input_interface: Some("lo".into()),
        suppress_prefix_len: Some(0),
        action: RuleAction::Goto(400),
        track: false,
        ..rule()
    };
    let want = "inet6 not from all priority 300 tos 0x0 fwmark 0x1/0xff iif lo suppress_prefixlen 0 protocol 18 goto 400 no_track";
    assert_eq!(parts::rule(&rule), want);
    let route = inner().routes.remove(0);
    let route = Route {
        kind: RouteKind::Blackhole,
        gateway: None,
        interface: None,
        metric: Some(5),
        table: 100,
        ..route
    };
    assert_eq!(parts::route(&route), "prepend blackhole 192.0.2.0/24 table 100 proto 18 metric 5");
}
