//! Signals to a node with proxy and virtual routers: another binary, the way back, and those meant for keepalived.

mod common;
mod routers;

use common::until;
use routers::{
    ADDRESS, Clients, FAST, Net, Node, PATIENCE, entry, holds, holds_or, instance, proxy, run, shell, status,
};
use serde_json::Value;
use weir_lab::Watch;

const LOG: &str = "/var/log/weir.log";

/// Time enough for the exchange of two processes on a busy machine, and still no second.
const CALM: &str = "version 3\n advert_int 0.5";

/// A node in the background, whose keeper is found by its pid file, and a peer.
struct Upgraded {
    net: Net,
    watch: Watch,
}

impl Upgraded {
    fn start() -> Upgraded {
        let net = Net::new();
        let watch = net.watch(ADDRESS);
        let main = format!(
            "pid /run/weir.pid;\nkeepalived /etc/keepalived/keepalived.conf;\nerror_log {LOG} notice;"
        );
        net.a.write("/etc/nginx/nginx.conf", &proxy("a", &main)).expect("its file");
        net.a.write("/etc/keepalived/keepalived.conf", &instance(150, CALM)).expect("its file");
        let output = run(&net.a, &["-c", "/etc/nginx/nginx.conf"]);
        assert!(output.status.success(), "{output:?}");
        let this = Upgraded { watch, net };
        this.holds();
        this
    }

    fn holds(&self) {
        holds_or(&self.watch, &["a"], || self.log());
    }

    fn log(&self) -> String {
        self.net.a.read(LOG).unwrap_or_default()
    }

    /// Sends a signal to the process of a pid file.
    fn signal(&self, name: &str, file: &str) {
        shell(&self.net.a, &format!("kill -{name} $(cat {file})"));
    }

    fn wait_log_times(&self, words: &str, times: usize) {
        let found = || (self.log().matches(words).count() >= times).then_some(());
        until(&format!("{words} {times} times"), found);
    }

    fn wait_gone(&self, file: &str) {
        until(&format!("{file} is gone"), || (!self.net.a.outside(file).exists()).then_some(()));
    }

    /// Starts the new binary; the old one serves beside it.
    fn change_binary(&self) {
        self.signal("USR2", "/run/weir.pid");
        until("the new keeper", || {
            let (old, new) =
                (self.net.a.read("/run/weir.pid.oldbin").ok()?, self.net.a.read("/run/weir.pid").ok()?);
            (!new.is_empty() && old != new).then_some(())
        });
    }

    /// The process that has the elections, as the host counts.
    fn elector(&self) -> Option<u64> {
        let output = run(&self.net.a, &["vip", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).ok()?["pid"].as_u64()
    }

    fn wait_elector(&self, file: &str) {
        until(&format!("the process of {file} elects"), || {
            let wanted: u64 = self.net.a.read(file).ok()?.trim().parse().ok()?;
            (self.elector() == Some(wanted)).then_some(())
        });
        until("it is master", || (status(&self.net.a, "V")["state"] == "master").then_some(()));
    }

    /// Nobody else ever had the address, it was never away, and nobody was turned away.
    fn unmoved(&self, clients: Clients) {
        clients.more(&self.net, 20);
        let tally = clients.stop(&self.net);
        assert_eq!(
            (tally.refused, tally.unreachable, tally.failed()),
            (0, 0, 0),
            "{tally:?}\n{}",
            self.log()
        );
        let intervals = self.watch.intervals();
        assert_eq!(intervals.len(), 1, "{intervals:?}\n{}", self.log());
    }
}

#[test]
fn another_binary_takes_the_address_over_without_a_move() {
    let node = Upgraded::start();
    let _peer = entry(&node.net.b, &instance(100, CALM));
    let clients = Clients::start(&node.net);
    node.change_binary();
    node.wait_elector("/run/weir.pid.oldbin");
    node.signal("QUIT", "/run/weir.pid.oldbin");
    node.wait_gone("/run/weir.pid.oldbin");
    node.wait_elector("/run/weir.pid");
    node.unmoved(clients);
    // The new one is a whole keeper: it gives the address up.
    node.signal("TERM", "/run/weir.pid");
    node.watch.wait_holders(&["b"], PATIENCE).expect("the peer takes it");
}

#[test]
fn the_old_binary_is_back_on_duty_without_a_move() {
    let node = Upgraded::start();
    let _peer = entry(&node.net.b, &instance(100, CALM));
    let clients = Clients::start(&node.net);
    node.change_binary();
    node.signal("WINCH", "/run/weir.pid.oldbin");
    node.wait_log_times("the new binary takes the virtual routers over", 1);
    node.wait_elector("/run/weir.pid");
    clients.more(&node.net, 50);
    // As nginx describes it: workers of the old one first, then the new one goes.
    node.signal("HUP", "/run/weir.pid.oldbin");
    node.wait_log_times("start worker process ", 3);
    node.signal("TERM", "/run/weir.pid");
    node.wait_gone("/run/weir.pid.oldbin");
    node.wait_elector("/run/weir.pid");
    node.unmoved(clients);
    node.wait_gone("/run/weir/vrrp.sock.oldbin");
}

#[test]
fn the_old_binary_takes_back_what_a_new_one_loses() {
    let node = Upgraded::start();
    let _peer = entry(&node.net.b, &instance(100, CALM));
    node.change_binary();
    node.signal("WINCH", "/run/weir.pid.oldbin");
    node.wait_elector("/run/weir.pid");
    node.signal("KILL", "/run/weir.pid");
    node.wait_gone("/run/weir.pid.oldbin");
    node.wait_elector("/run/weir.pid");
    node.holds();
    assert_eq!(node.watch.intervals().len(), 1, "{:?}\n{}", node.watch.intervals(), node.log());
}

#[test]
fn a_new_binary_that_ends_before_its_turn_moves_nothing() {
    let node = Upgraded::start();
    let _peer = entry(&node.net.b, &instance(100, CALM));
    let clients = Clients::start(&node.net);
    node.change_binary();
    node.signal("TERM", "/run/weir.pid");
    node.wait_gone("/run/weir.pid.oldbin");
    node.wait_elector("/run/weir.pid");
    node.unmoved(clients);
}

#[test]
fn workers_that_were_sent_away_without_a_new_binary_give_the_address_away() {
    let node = Upgraded::start();
    let _peer = entry(&node.net.b, &instance(100, CALM));
    node.signal("WINCH", "/run/weir.pid");
    holds_or(&node.watch, &["b"], || node.log());
    node.signal("HUP", "/run/weir.pid");
    node.holds();
}

/// A node in the foreground, for keepalived's signals.
fn node(net: &Net) -> Node {
    let file = format!("global_defs {{\n json_version 2\n}}\n{}", instance(150, FAST));
    let a = entry(&net.a, &file);
    holds(&net.watch(ADDRESS), &["a"], &[&a]);
    a
}

#[test]
fn signals_to_keepalived_mean_what_they_mean_there() {
    let net = Net::new();
    let a = node(&net);
    net.a.wait_file("/run/keepalived.pid", PATIENCE).expect("its pid file");
    let tell = |signal: &str| shell(&net.a, &format!("kill -{signal} $(cat /run/keepalived.pid)"));
    tell("USR1");
    net.a.wait_text("/tmp/keepalived.data", "VRRP Instance = V", PATIENCE).expect("the data");
    tell("USR2");
    net.a.wait_text("/tmp/keepalived.stats", "VRRP Instance: V", PATIENCE).expect("the counters");
    let number = shell(&net.a, &format!("{} keepalived --signum=JSON", env!("CARGO_BIN_EXE_weir")));
    tell(number.trim());
    net.a.wait_text("/tmp/keepalived.json", "\"iname\"", PATIENCE).expect("the document");
    net.a.write("/etc/keepalived/keepalived.conf", &instance(151, FAST)).expect("its file");
    tell("HUP");
    a.wait_log("reload: vrrp_instance V: priority 150 -> 151");
    tell("TERM");
    assert_eq!(a.program.wait(PATIENCE).expect("it ends").code(), Some(0));
    assert!(!net.a.outside("/run/keepalived.pid").exists());
}

#[test]
fn the_process_of_keepalived_s_pid_file_is_replaced_and_ends_with_the_keeper() {
    let net = Net::new();
    let a = node(&net);
    net.a.wait_file("/run/keepalived.pid", PATIENCE).expect("its pid file");
    let mut seen = vec![net.a.read("/run/keepalived.pid").expect("a number")];
    for _ in 0..2 {
        shell(&net.a, "kill -KILL $(cat /run/keepalived.pid)");
        until("another process", || {
            let now = net.a.read("/run/keepalived.pid").ok()?;
            (now.ends_with('\n') && seen.last() != Some(&now)).then(|| seen.push(now))
        });
    }
    shell(&net.a, "kill -USR1 $(cat /run/keepalived.pid)");
    net.a.wait_text("/tmp/keepalived.data", "VRRP Instance = V", PATIENCE).expect("the data");
    a.program.signal(weir_lab::Signal::KILL).expect("it runs");
    until("nothing is left of it", || net.a.processes().is_empty().then_some(()));
}

#[test]
fn a_keepalived_that_runs_keeps_its_pid_file() {
    let net = Net::new();
    shell(&net.a, "sleep 1000 >/dev/null 2>&1 & echo $! > /run/keepalived.pid");
    let before = net.a.read("/run/keepalived.pid").expect("a number");
    let a = node(&net);
    a.wait_log("is keepalived still started by the system?");
    assert_eq!(net.a.read("/run/keepalived.pid").expect("a number"), before);
}
