//! The keeper with virtual routers: reloads, faults of the proxy, the end.

mod common;
mod routers;

use std::process::Command;
use std::time::Duration;

use common::{seek, until};
use routers::{
    ADDRESS, Clients, FAST, Net, Node, PATIENCE, entry, holds, instance, proxy, saying, shell, status,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use weir_lab::Signal;

const SECOND_ADDRESS: &str = "10.9.0.101";

/// What a reload refused.
const REFUSED: &str = "reload refused, nothing has changed: the errors are above";

#[test]
fn a_reload_changes_both_parts_and_no_master() {
    let net = Net::new();
    let pair = net.entries(FAST);
    let script = "vrrp_script check {\n script \"/bin/true\"\n interval 1\n}\n";
    let body = "version 3\n advert_int 0.3\n track_script {\n check weight 5\n }";
    let more = instance(160, body).replace(ADDRESS, &format!("{ADDRESS}\n {SECOND_ADDRESS}"));
    let other =
        instance(150, FAST).replace("V {", "W {").replace("_id 9", "_id 10").replace(ADDRESS, "10.9.0.102");
    pair.a.reload(&saying("again"), &format!("{script}{more}{other}"));
    pair.a.wait_log("reload: vrrp_instance V: priority 150 -> 160; advert_int 0.2 -> 0.3; 10.9.0.101 joins; track_script changes");
    pair.a.wait_log("reload: vrrp_instance W: is new");
    pair.a.wait_log("reload: vrrp_script check: is new");
    net.watch(SECOND_ADDRESS).wait_holders(&["a"], PATIENCE).expect("the new address of a master");
    net.watch("10.9.0.102").wait_holders(&["a"], PATIENCE).expect("the address of the new instance");
    until("the tracker counts", || (status(&net.a, "V")["effective_priority"] == 165).then_some(()));
    until("the proxy's new answer", || {
        shell(&net.c, &format!("curl -s http://{ADDRESS}/")).contains("again").then_some(())
    });
    pair.a.reload(&saying("again"), &instance(160, body).replace("track_script {\n check weight 5\n }", ""));
    pair.a.wait_log("reload: vrrp_instance V: 10.9.0.101 leaves; track_script changes");
    pair.a.wait_log("reload: vrrp_instance W: leaves");
    net.watch(SECOND_ADDRESS).wait_holders(&[], PATIENCE).expect("it has gone");
    net.watch("10.9.0.102").wait_holders(&[], PATIENCE).expect("it has gone");
    assert_eq!(status(&net.a, "V")["stats"]["become_master"], 1, "{}", pair.a.log());
    assert_eq!(pair.watch.holders(), ["a"], "{:?}", pair.watch.intervals());
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let net = Net::new();
    let pair = net.entries(FAST);
    let good = instance(150, FAST);
    let elsewhere = instance(170, FAST).replace("eth0", "eth7");
    let cut = instance(170, FAST).trim_end().trim_end_matches('}').to_owned();
    let cases: [(&str, &str, &str); 4] = [
        (&saying("other"), &elsewhere, "there is no interface eth7"),
        (
            &saying("other").replace("worker_processes", "worker_proceses"),
            &instance(170, FAST),
            "\"worker_proceses\"",
        ),
        (
            &saying("other").replace("listen 80", "listen 10.77.0.1:99999"),
            &instance(170, FAST),
            "invalid port",
        ),
        (&saying("other"), &cut, "1 \"}\" missing at the end of the file"),
    ];
    for (times, (nginx, keepalived, words)) in cases.into_iter().enumerate() {
        pair.a.reload(nginx, keepalived);
        pair.a.wait_log_times(REFUSED, times + 1);
        assert!(pair.a.log().contains(words), "{words} in {}", pair.a.log());
    }
    std::fs::remove_file(net.a.outside("/etc/keepalived/keepalived.conf")).expect("it was there");
    pair.a.program.signal(Signal::HUP).expect("it runs");
    pair.a.wait_log_times(REFUSED, 5);
    assert_eq!(shell(&net.c, &format!("curl -s http://{ADDRESS}/")), "a");
    let now = status(&net.a, "V");
    assert_eq!((&now["base_priority"], &now["state"]), (&150.into(), &"master".into()), "{now:#}");
    assert!(!pair.a.log().contains("reload: "), "{}", pair.a.log());
    // The way out is a file that is right.
    pair.a.reload(&saying("well"), &good.replace("150", "151"));
    pair.a.wait_log("reload: vrrp_instance V: priority 150 -> 151");
    assert_eq!(pair.watch.account(Duration::ZERO, net.lab.now()).holders, ["a"]);
}

#[test]
fn no_request_fails_in_twenty_reloads() {
    let net = Net::new();
    let pair = net.entries(FAST);
    let clients = Clients::start(&net);
    for round in 1..=20 {
        let word = format!("word{round}");
        pair.a.reload(&saying(&word), &instance(150 + u8::try_from(round % 2).expect("small"), FAST));
        pair.a.wait_log_times("reload: vrrp_instance V: priority", round);
        clients.more(&net, 5);
    }
    clients.hear(&net, "word20");
    let tally = clients.stop(&net);
    assert_eq!(tally.failed(), 0, "{tally:?}\n{}", pair.a.log());
    assert_eq!(status(&net.a, "V")["stats"]["release_master"], 0);
}

#[test]
fn routers_come_and_go_with_a_reload() {
    let net = Net::new();
    let watch = net.watch(ADDRESS);
    let nginx = proxy("a", "keepalived /etc/keepalived/keepalived.conf;");
    net.a.write("/etc/nginx/nginx.conf", &saying("a")).expect("its file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["run", "/etc/nginx/nginx.conf"]);
    let a = Node::spawn(&net.a, &command);
    a.wait_log("weir serves");
    a.reload(&nginx, &instance(150, FAST).replace("interface eth0", ""));
    a.wait_log(REFUSED);
    a.reload(&nginx, &instance(150, FAST));
    holds(&watch, &["a"], &[&a]);
    a.reload(&saying("a"), "");
    watch.wait_holders(&[], PATIENCE).expect("without the line there is no virtual router");
    let before = a.worker();
    assert!(before.is_alive());
}

#[test]
fn a_worker_that_dies_again_and_again_has_no_address() {
    let net = Net::new();
    let pair = net.entries(FAST);
    // One death is mended before anybody notices.
    let first = pair.a.worker();
    first.signal(Signal::KILL).expect("it runs");
    first.wait_end(PATIENCE).expect("it ends");
    let begin = pair.watch.intervals().len();
    assert_eq!(pair.watch.holders(), ["a"]);
    let mut dead = 0;
    while pair.watch.holders() != ["b"] {
        let alive = net.a.processes().into_iter().filter(|one| one.name.starts_with("weir: worker"));
        for worker in alive {
            worker.signal(Signal::KILL).expect("a signal");
            worker.wait_end(PATIENCE).expect("it ends");
            dead += 1;
        }
        assert!(dead < 5000, "nobody took over\n{}", pair.a.log());
    }
    let moved = pair.watch.intervals();
    assert_eq!(moved.len(), begin + 1, "one move: {moved:?}");
    pair.a.wait_log("no worker process serves");
    pair.holds("a");
}

#[test]
fn a_lost_listener_moves_the_address_and_a_reload_mends_it() {
    let net = Net::new();
    let pair = net.entries(FAST);
    shut_listeners(&pair.a);
    pair.holds("b");
    pair.a.wait_log("the listening socket of 0.0.0.0:80 is lost");
    pair.a.reload(&saying("mended"), &instance(150, FAST));
    pair.holds("a");
    let mut last = String::new();
    let answered = seek(|| {
        last = shell(&net.c, &format!("curl -s http://{ADDRESS}/"));
        last.contains("mended").then_some(())
    });
    assert!(answered.is_some(), "the last answer is {last:?}\n{}", pair.logs());
}

/// Shuts every listening TCP socket of a keeper down, as a defect or a debugger could.
fn shut_listeners(node: &Node) {
    let pid = i32::try_from(node.program.pid()).expect("a process id");
    let process = pidfd_open(Pid::from_raw(pid).expect("not 0"), PidfdFlags::empty()).expect("it runs");
    for number in 3..64 {
        let Ok(fd) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
        let inet = rustix::net::sockopt::socket_domain(&fd) == Ok(rustix::net::AddressFamily::INET);
        if inet && rustix::net::sockopt::socket_acceptconn(&fd) == Ok(true) {
            rustix::net::shutdown(&fd, rustix::net::Shutdown::Both).expect("it listens");
        }
    }
}

#[test]
fn the_address_leaves_first_and_stop_scripts_are_waited_for() {
    let net = Net::new();
    let script = "/etc/keepalived/stop.sh";
    net.a.write(script, "#!/bin/sh\nip -o address show > /run/left\nsleep 1000\n").expect("a script");
    let body = format!("{FAST}\n notify_stop {script}");
    let file = format!("global_defs {{\n script_user root\n}}\n{}", instance(150, &body));
    let watch = net.watch(ADDRESS);
    let b = entry(&net.b, &instance(100, FAST));
    let a = entry(&net.a, &file);
    holds(&watch, &["a"], &[&a, &b]);
    a.program.signal(Signal::TERM).expect("it runs");
    holds(&watch, &["b"], &[&a, &b]);
    let ended = a.program.wait(PATIENCE).expect("a script that hangs does not hold the end up");
    assert_eq!(ended.code(), Some(0), "{}", a.log());
    let left = net.a.read("/run/left").expect("the script ran");
    assert!(left.contains("10.9.0.1/") && !left.contains(ADDRESS), "{left}");
    for file in ["/run/weir.pid", "/run/keepalived.pid", "/run/weir/vrrp.sock"] {
        assert!(!net.a.outside(file).exists(), "{file} is left");
    }
    b.program.signal(Signal::QUIT).expect("it runs");
    assert_eq!(b.program.wait(PATIENCE).expect("it ends").code(), Some(0));
    watch.wait_holders(&[], PATIENCE).expect("the last one gives it up");
}

#[test]
fn quit_gives_the_address_up_while_requests_finish() {
    let net = Net::new();
    let pair = net.entries(FAST);
    let mut app = net.c.app("slow", 8080).expect("an application");
    app.set_mood(weir_lab::Mood::Wedged);
    let nginx = saying("a").replace("return 200 a", "proxy_pass http://10.9.0.3:8080");
    pair.a.reload(&nginx, &instance(151, FAST));
    pair.a.wait_log("reload: ");
    let mut curl = Command::new("curl");
    curl.args(["-s", "http://10.9.0.1/"]);
    let client = net.c.spawn("curl", &curl).expect("a client");
    until("the request is on its way", || {
        shell(&net.c, "ss -Htn state established '( sport = :8080 )'").contains("10.9.0.1").then_some(())
    });
    pair.a.program.signal(Signal::QUIT).expect("it runs");
    pair.holds("b");
    assert!(pair.a.program.ended().is_none(), "a request still runs");
    app.kill();
    client.wait(PATIENCE).expect("the client has its answer");
    assert_eq!(pair.a.program.wait(PATIENCE).expect("it ends").code(), Some(0));
}
