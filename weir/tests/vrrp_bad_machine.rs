//! A machine that misbehaves under a virtual router: interfaces, scripts, rights, processes that die, a second process.

mod common;
mod routers;

use std::net::IpAddr;
use std::process::Command;

use common::text;
use routers::{ADDRESS, FAST, Net, Node, PATIENCE, holds, instance, run, weir};
use weir_lab::{Host, Signal};

fn address() -> IpAddr {
    ADDRESS.parse().expect("an address")
}

#[test]
fn an_interface_that_disappears_and_returns() {
    let net = Net::new();
    let plug = || {
        net.a.ip("link add spare1 type veth peer name other").expect("an interface");
        net.a.ip("link set other up").expect("it is up");
        net.a.ip("link set spare1 up").expect("it is up");
        net.a.ip("address add 10.7.0.1/24 dev spare1").expect("it has an address");
    };
    plug();
    let conf = instance(150, FAST).replace("interface eth0", "interface spare1");
    let node = weir(&net.a, &conf);
    let watch = net.watch(ADDRESS);
    watch.wait_holders(&["a"], PATIENCE).expect("it is master");
    // Deleted, moved to another name, and back again with another index.
    net.a.ip("link del spare1").expect("it goes");
    node.wait_state("fault");
    node.wait_log("interface spare1 vanished");
    plug();
    watch.wait_holders(&["a"], PATIENCE).expect("it is master again");
    node.wait_state("master");
    net.a.ip("link set spare1 down").expect("it is down");
    node.wait_state("fault");
    net.a.ip("link set spare1 name spare2").expect("it is renamed");
    net.a.ip("link set spare2 up").expect("it is up");
    assert_eq!(node.status()["state"], "fault", "{}", node.log());
    net.a.ip("link set spare2 down").expect("it is down");
    net.a.ip("link set spare2 name spare1").expect("it is renamed");
    net.a.ip("link set spare1 up").expect("it is up");
    watch.wait_holders(&["a"], PATIENCE).expect("it is master once more");
    assert!(!node.log().contains("[alert]"), "{}", node.log());
}

/// Everything on the interface is flushed, the router's own address too.
#[test]
fn a_flush_of_all_addresses() {
    let net = Net::new();
    let routers = net.start(FAST);
    net.a.ip("address flush dev eth0").expect("they go");
    // Without an address of its own it cannot speak, so the other one has to.
    routers.holds("b");
    routers.a.wait_state("fault");
    net.a.ip("address add 10.9.0.1/24 dev eth0").expect("its own is back");
    routers.holds("a");
}

#[test]
fn a_link_that_is_down_over_ipv6() {
    let net = Net::new();
    let routers = net.start_at("fd09::100", FAST);
    net.a.ip("link set eth0 down").expect("it is down");
    routers.holds("b");
    routers.a.wait_state("fault");
    // The kernel took the link-local address and makes another.
    net.a.ip("link set eth0 up").expect("it is up");
    routers.holds("a");
}

/// Hangs, forks, talks without end, cannot be run, is not there: the election sees a failure at most.
#[test]
fn scripts_of_every_bad_kind() {
    let net = Net::new();
    let conf = "global_defs {\n script_user root\n enable_script_security\n}\n\
        vrrp_script hangs {\n script /etc/keepalived/hangs.sh\n interval 1\n timeout 1\n fall 1\n weight -1\n}\n\
        vrrp_script forks {\n script /etc/keepalived/forks.sh\n interval 1\n timeout 1\n weight 1\n}\n\
        vrrp_script talks {\n script /etc/keepalived/talks.sh\n interval 1\n timeout 1\n fall 1\n weight -2\n}\n\
        vrrp_script fails {\n script /etc/keepalived/fails.sh\n interval 1\n fall 1\n weight -4\n}\n\
        vrrp_script plain {\n script /etc/keepalived/plain\n interval 1\n weight -8\n}\n\
        vrrp_script absent {\n script /etc/keepalived/absent\n interval 1\n weight -16\n}\n";
    let hang = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1000; done\n";
    net.a.write("/etc/keepalived/hangs.sh", hang).expect("a script");
    net.a
        .write("/etc/keepalived/forks.sh", "#!/bin/sh\nsleep 1000 &\nsleep 1000 &\nexit 0\n")
        .expect("a script");
    net.a.write("/etc/keepalived/talks.sh", "#!/bin/sh\nexec yes >&2\n").expect("a script");
    net.a.write("/etc/keepalived/fails.sh", "#!/bin/sh\nexit 77\n").expect("a script");
    net.a.write("/etc/keepalived/plain", "#!/bin/sh\nexit 0\n").expect("no script");
    net.a.write("/etc/keepalived/notify.sh", hang).expect("a script");
    let body = format!(
        "{FAST}\n track_script {{\n hangs\n forks\n talks\n fails\n plain\n absent\n }}\n \
         notify /etc/keepalived/notify.sh\n"
    );
    let watch = net.watch(ADDRESS);
    let node = weir(&net.a, &(conf.to_owned() + &instance(150, &body)));
    holds(&watch, &["a"], &[&node]);
    // 1 more for the script that forks, 1, 2 and 4 less for those that fail.
    let expected = |priority: u64| {
        common::until(&format!("priority {priority}"), || {
            (node.status()["effective_priority"] == priority).then_some(())
        })
    };
    expected(150 + 1 - 1 - 2 - 4);
    for line in ["script hangs: down", "script talks: down", "script fails: down"] {
        node.wait_log(line);
    }
    for name in ["/etc/keepalived/plain", "/etc/keepalived/absent"] {
        node.wait_log(name);
    }
    assert_eq!(watch.holders(), ["a"], "{}", node.log());
    node.program.signal(Signal::TERM).expect("it is told to end");
    net.a.wait_address(address(), false, PATIENCE).expect("the address goes at once");
    let status = node.program.wait(PATIENCE).expect("it ends, whatever its scripts do");
    assert!(status.success(), "{status}: {}", node.log());
}

/// Runs Weir as a user without rights, but for these capabilities.
fn as_nobody(host: &Host, capabilities: &[&str]) -> weir_lab::Program {
    host.write("/etc/keepalived/keepalived.conf", &instance(150, FAST)).expect("its file");
    let caps = capabilities.iter().map(|one| format!(",+{one}")).collect::<String>();
    let mut command = Command::new("setpriv");
    // A service without a home writes below /tmp.
    command.env_remove("HOME").env_remove("XDG_STATE_HOME");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(format!("--inh-caps=-all{caps}")).arg(format!("--ambient-caps=-all{caps}"));
    command.arg(format!("--bounding-set=-all{caps}"));
    command.args([env!("CARGO_BIN_EXE_weir"), "run", "/etc/keepalived/keepalived.conf"]);
    host.spawn("vrrp", &command).expect("it starts")
}

#[test]
fn missing_rights_are_named() {
    if !weir_lab::Lab::has_users() {
        return;
    }
    let net = Net::new();
    let cases: [(&[&str], &[&str], &[&str]); 3] = [
        (&[], &["CAP_NET_ADMIN", "CAP_NET_RAW"], &[]),
        (&["net_raw"], &["CAP_NET_ADMIN"], &["CAP_NET_RAW is"]),
        (&["net_admin"], &["CAP_NET_RAW"], &["CAP_NET_ADMIN is"]),
    ];
    for (given, named, unnamed) in cases {
        let program = as_nobody(&net.a, given);
        let status = program.wait(PATIENCE).expect("it ends");
        let log = net.a.read(program.log()).expect("its log");
        assert!(!status.success(), "{log}");
        for one in named {
            assert!(log.contains(one) && log.contains("AmbientCapabilities="), "{one} in:\n{log}");
        }
        for one in unnamed {
            assert!(!log.contains(one), "{one} in:\n{log}");
        }
        net.a.write(program.log(), "").expect("an empty log");
    }
}

#[test]
fn two_capabilities_are_enough() {
    if !weir_lab::Lab::has_users() {
        return;
    }
    let net = Net::new();
    let watch = net.watch(ADDRESS);
    let program = as_nobody(&net.a, &["net_admin", "net_raw"]);
    let log = || net.a.read(program.log()).unwrap_or_default();
    watch.wait_holders(&["a"], PATIENCE).unwrap_or_else(|error| panic!("{error}\n{}", log()));
    // What else it would like to have is a warning that says how.
    assert!(log().contains("no real-time priority"), "{}", log());
    assert!(log().contains("LimitRTPRIO="), "{}", log());
    assert!(!log().contains("[emerg]"), "{}", log());
    program.signal(Signal::TERM).expect("it is told to end");
    net.a.wait_address(address(), false, PATIENCE).expect("the address goes");
    program.wait(PATIENCE).expect("it ends");
}

/// One that starts again while the leases last goes on as if nothing had been.
#[test]
fn a_restart_within_the_lease() {
    let net = Net::new();
    // The usual leases and intervals: the shortest lease outlives a fast master.
    let routers = net.start("");
    net.a.signal_all(Signal::KILL).expect("all its processes die");
    let again = Node::again(&net.a);
    again.wait_log("a predecessor's addresses are still leased, master without a break");
    again.wait_state("master");
    assert_eq!(routers.watch.intervals().len(), 1, "{:?}\n{}", routers.watch.intervals(), routers.logs());
    assert_eq!(routers.b.status()["stats"]["become_master"], 0, "{}", routers.logs());
}

/// One that comes later finds another master and listens first.
#[test]
fn a_restart_after_the_lease() {
    let net = Net::new();
    let routers = net.start(&format!("{FAST}\n nopreempt"));
    net.a.signal_all(Signal::KILL).expect("all its processes die");
    net.a.wait_address(address(), false, PATIENCE).expect("its lease ends");
    routers.holds("b");
    let again = Node::again(&net.a);
    again.wait_state("backup");
    common::until("it hears the master", || (!again.status()["master"].is_null()).then_some(()));
    assert_eq!(routers.watch.holders(), ["b"], "{}", routers.logs());
    assert!(!again.log().contains("still leased"), "{}", again.log());
}

/// Killed at any moment of its start, run and stop, a node leaves nothing that its successor cannot deal with.
#[test]
fn killed_at_any_moment() {
    let net = Net::new();
    let watch = net.watch(ADDRESS);
    let conf = instance(150, FAST);
    net.a.write("/etc/keepalived/keepalived.conf", &conf).expect("its file");
    for moment in ["", "BACKUP", "MASTER", "stop"] {
        let node = Node::again(&net.a);
        match moment {
            "" => {}
            "stop" => {
                watch.wait_holders(&["a"], PATIENCE).expect("it is master");
                node.program.signal(Signal::TERM).expect("it is told to end");
            }
            state => node.wait_log(&format!("-> {state}")),
        }
        net.a.signal_all(Signal::KILL).expect("all its processes die");
        node.program.wait(PATIENCE).expect("it has ended");
        net.a.write(node.program.log(), "").expect("an empty log");
    }
    let last = Node::again(&net.a);
    last.wait_state("master");
    holds(&watch, &["a"], &[&last]);
}

#[test]
fn a_second_process_on_one_host() {
    let net = Net::new();
    let routers = net.start(FAST);
    let second = run(&net.a, &["run", "/etc/keepalived/keepalived.conf"]);
    assert!(!second.status.success());
    let says = text(&second.stderr);
    assert!(says.contains("another process holds virtual addresses here"), "{says}");
    assert!(says.contains("status_socket"), "{says}");
    routers.unmoved();
}

/// Nothing in the file is right, so nothing tells whose it is but its form.
#[test]
fn a_file_without_a_right_word() {
    let net = Net::new();
    let conf = "glbal_defs {\n rooter_id x\n}\nvrp_script s {\n intervall 2\n}\nvrrp_instanse V {\n interfase eth0\n \
                prioriti 100\n}\n";
    net.a.write("/etc/keepalived/keepalived.conf", conf).expect("its file");
    let check = run(&net.a, &["check", "/etc/keepalived/keepalived.conf"]);
    let says = text(&check.stderr) + &text(&check.stdout);
    let meant =
        ["global_defs", "router_id", "vrrp_script", "interval", "vrrp_instance", "interface", "priority"];
    for word in meant {
        assert!(says.contains(&format!("did you mean {word:?}?")), "{word} in:\n{says}");
    }
    assert!(!check.status.success(), "{says}");
}

/// A keyword with one letter wrong: `weir check` names the right one, and the rest runs all the same.
#[test]
fn every_keyword_misspelt() {
    let net = Net::new();
    let mut wrong = String::new();
    let mut names = Vec::new();
    for keyword in weir_keepalived::keywords().filter(|one| one.blocks.has(weir_keepalived::Blocks::INSTANCE))
    {
        let name = keyword.name;
        // Swapped letters, a missing one, one too many; none of them may be another keyword.
        let typo = match name.len() % 3 {
            0 => format!("{name}x"),
            1 => format!("{}{}", &name[..1], &name[2..]),
            _ => format!("{}q{}", &name[..2], &name[2..]),
        };
        if weir_keepalived::keywords().any(|one| one.name == typo)
            || names.iter().any(|(_, known)| *known == typo)
        {
            continue;
        }
        wrong.push_str(&format!(" {typo} 1\n"));
        names.push((name, typo));
    }
    let conf = instance(150, &format!("{FAST}\n{wrong}"));
    let node = weir(&net.a, &conf);
    let watch = net.watch(ADDRESS);
    holds(&watch, &["a"], &[&node]);
    let check = run(&net.a, &["check", "/etc/keepalived/keepalived.conf"]);
    let checked = text(&check.stderr) + &text(&check.stdout);
    let log = node.log();
    for (name, typo) in &names {
        assert!(log.contains(typo.as_str()), "{typo} in:\n{log}");
        assert!(checked.contains(typo.as_str()), "{typo} in:\n{checked}");
        let meant = format!("did you mean {name:?}?");
        assert!(checked.contains(&meant), "{typo}: {meant} in:\n{checked}");
    }
}
