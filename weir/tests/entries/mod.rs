//! Nodes with a proxy and virtual routers in a laboratory, and what they are told by signals.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_lab::{Host, Probe, ProbePlan, Process, Program, Signal, Tally, Watch};

use crate::common::{text, until};
use crate::routers::{ADDRESS, Net, PATIENCE, instance, weir};

/// Elections that need no second to settle.
pub const FAST: &str = "version 3\n advert_int 0.2";

/// An nginx.conf that answers everything with a word.
pub fn saying(word: &str) -> String {
    proxy(word, "")
}

/// The same with more on the main level.
pub fn proxy(word: &str, main: &str) -> String {
    format!(
        "user root;\nworker_processes 1;\nerror_log stderr notice;\n{main}\nevents {{ }}\nhttp {{\n access_log off;\n \
         server {{\n  listen 80;\n  location / {{ return 200 {word}; }}\n }}\n}}\n"
    )
}

/// A running node.
pub struct Entry<'h> {
    pub host: &'h Host,
    pub program: Program,
}

impl<'h> Entry<'h> {
    /// Starts a node that says its host's name.
    pub fn start(host: &'h Host, keepalived: &str) -> Entry<'h> {
        host.write("/etc/nginx/nginx.conf", &saying(host.name())).expect("its file");
        host.write("/etc/keepalived/keepalived.conf", keepalived).expect("its file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["run", "/etc/nginx/nginx.conf", "/etc/keepalived/keepalived.conf"]);
        Entry { host, program: host.spawn("entry", &command).expect("it starts") }
    }

    /// Writes both files and asks for a reload.
    pub fn reload(&self, nginx: &str, keepalived: &str) {
        self.host.write("/etc/nginx/nginx.conf", nginx).expect("its file");
        self.host.write("/etc/keepalived/keepalived.conf", keepalived).expect("its file");
        self.program.signal(Signal::HUP).expect("it runs");
    }

    pub fn log(&self) -> String {
        self.host.read(self.program.log()).unwrap_or_default()
    }

    pub fn wait_log(&self, words: &str) {
        let found = self.host.wait_text(self.program.log(), words, PATIENCE);
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// Waits until the log holds some words so often.
    pub fn wait_log_times(&self, words: &str, times: usize) {
        until(words, || (self.log().matches(words).count() >= times).then_some(()));
    }

    /// The worker that serves.
    pub fn worker(&self) -> Process {
        until("a worker", || {
            self.host.processes().into_iter().find(|one| one.name.starts_with("weir: worker"))
        })
    }
}

/// What `weir vip --json NAME` says on a host; null while nobody answers.
pub fn status(host: &Host, name: &str) -> Value {
    serde_json::from_slice(&weir(host, &["vip", "--json", name]).stdout).unwrap_or_default()
}

/// Runs a line of shell in a host; it has to succeed.
pub fn shell(host: &Host, line: &str) -> String {
    let output = host.run("sh", &["-c", line]).expect("it runs");
    assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Two nodes: `a` with priority 150 holds the address, `b` has 100.
pub struct Pair<'n> {
    pub a: Entry<'n>,
    pub b: Entry<'n>,
    pub watch: Watch,
}

impl<'n> Pair<'n> {
    pub fn start(net: &'n Net, body: &str) -> Pair<'n> {
        let watch = net.watch(ADDRESS);
        let b = Entry::start(&net.b, &instance(100, body));
        let a = Entry::start(&net.a, &instance(150, body));
        let pair = Pair { a, b, watch };
        pair.holds("a");
        pair
    }

    pub fn holds(&self, name: &str) {
        holds(&self.watch, name, || format!("a says:\n{}\nb says:\n{}", self.a.log(), self.b.log()));
    }
}

pub fn holds(watch: &Watch, name: &str, logs: impl Fn() -> String) {
    if let Err(error) = watch.wait_holders(&[name], PATIENCE) {
        panic!("{error}\n{:?}\n{}", watch.intervals(), logs());
    }
}

/// Clients of the address, and what became of their requests.
pub struct Clients {
    probe: Probe,
    begin: Duration,
}

impl Clients {
    /// Asks every few milliseconds; returns when the first answers came.
    pub fn start(net: &Net) -> Clients {
        let plan = ProbePlan::to(&format!("http://{ADDRESS}/")).expect("a URL");
        let plan = plan.every(Duration::from_millis(4)).timeout(Duration::from_secs(10));
        let begin = net.lab.now();
        let clients = Clients { probe: net.c.probe(plan).expect("a probe"), begin };
        clients.more(net, 20);
        clients
    }

    /// Waits until so many more were answered.
    pub fn more(&self, net: &Net, count: u64) {
        let answered = || self.probe.tally(self.begin, net.lab.now()).answered;
        let before = answered();
        until("more answers", || (answered() >= before + count).then_some(()));
    }

    /// Waits until one was answered with a word.
    pub fn hear(&self, net: &Net, word: &str) {
        until(word, || self.probe.tally(self.begin, net.lab.now()).by.contains_key(word).then_some(()));
    }

    /// The account of all of them.
    pub fn stop(mut self, net: &Net) -> Tally {
        self.probe.stop();
        self.probe.tally(self.begin, net.lab.now())
    }
}
