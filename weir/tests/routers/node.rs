//! A running program with virtual routers, what it says, and what it says of itself.

use std::process::Command;

use serde_json::Value;
use weir_lab::{Host, Process, Program, Signal};

use super::{PATIENCE, run};
use crate::common::{seek, until};

const FILE: &str = "/etc/keepalived/keepalived.conf";
const NGINX: &str = "/etc/nginx/nginx.conf";

/// Starts a program on a host with this keepalived.conf.
pub type Start = fn(&Host, &str) -> Node;

/// Weir or keepalived on a host.
pub struct Node {
    pub host: Host,
    pub program: Program,
}

/// Starts Weir.
pub fn weir(host: &Host, file: &str) -> Node {
    host.write(FILE, file).expect("its file");
    Node::again(host)
}

/// Starts keepalived.
pub fn keepalived(host: &Host, file: &str) -> Node {
    // As a supervisor of services does it: keepalived's own default is another user, if there is one.
    let file = format!("global_defs {{\n script_user root\n}}\n{file}");
    host.write(FILE, &file).expect("its file");
    let mut command = Command::new("keepalived");
    command.args(["-n", "-l", "-D", "-P", "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"]);
    Node::spawn(host, &command)
}

/// Starts Weir with a proxy that answers with its host's name.
pub fn entry(host: &Host, file: &str) -> Node {
    host.write(NGINX, &saying(host.name())).expect("its file");
    host.write(FILE, file).expect("its file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["run", NGINX, FILE]);
    Node::spawn(host, &command)
}

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

/// What `weir vip --json NAME` says on a host; null while nobody answers.
pub fn status(host: &Host, name: &str) -> Value {
    serde_json::from_slice(&run(host, &["vip", "--json", name]).stdout).unwrap_or_default()
}

impl Node {
    /// Starts a program whose files are there.
    pub fn spawn(host: &Host, command: &Command) -> Node {
        Node { host: host.clone(), program: host.spawn("vrrp", command).expect("it starts") }
    }

    /// Starts Weir with the keepalived.conf that is there.
    pub fn again(host: &Host) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["run", FILE]);
        Node::spawn(host, &command)
    }

    /// Writes both files and asks for a reload.
    pub fn reload(&self, nginx: &str, keepalived: &str) {
        self.host.write(NGINX, nginx).expect("its file");
        self.host.write(FILE, keepalived).expect("its file");
        self.program.signal(Signal::HUP).expect("it runs");
    }

    /// Ends it in order.
    pub fn end(&self) {
        self.program.signal(Signal::TERM).expect("it is told to end");
        self.program.wait(PATIENCE).expect("it ends");
    }

    /// The worker that serves.
    pub fn worker(&self) -> Process {
        until("a worker", || {
            self.host.processes().into_iter().find(|one| one.name.starts_with("weir: worker"))
        })
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        self.host.read(self.program.log()).unwrap_or_default()
    }

    pub fn wait_log(&self, words: &str) {
        let found = self.host.wait_text(self.program.log(), words, PATIENCE);
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    /// Waits until the log holds some words so often.
    pub fn wait_log_times(&self, words: &str, times: usize) {
        let found = seek(|| (self.log().matches(words).count() >= times).then_some(()));
        found.unwrap_or_else(|| panic!("not {times} times {words:?} in\n{}", self.log()));
    }

    /// What `weir vip --json V` says; null while nobody answers.
    pub fn status(&self) -> Value {
        self.status_of("V")
    }

    pub fn status_of(&self, name: &str) -> Value {
        status(&self.host, name)
    }

    /// Waits until the status of the instance `V` is right.
    pub fn shows(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.shows_of("V", what, is)
    }

    pub fn shows_of(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = seek(|| {
            last = self.status_of(name);
            is(&last).then(|| last.clone())
        });
        found.unwrap_or_else(|| panic!("no {what} on {}: {last:#}\n{}", self.host.name(), self.log()))
    }

    pub fn wait_state(&self, state: &str) -> Value {
        self.shows(state, |status| status["state"] == state)
    }

    pub fn wait_priority(&self, priority: u8) {
        self.shows(&format!("priority {priority}"), |status| status["effective_priority"] == priority);
    }

    /// A counter of the instance `V`.
    pub fn count(&self, counter: &str) -> u64 {
        let status = self.status();
        let found = status["stats"][counter].as_u64();
        found.unwrap_or_else(|| panic!("no counter {counter} in {status:#}\n{}", self.log()))
    }

    /// Waits until a counter has reached a value.
    pub fn counts(&self, counter: &str, least: u64) {
        self.shows(&format!("{least} {counter}"), |status| {
            status["stats"][counter].as_u64().is_some_and(|count| count >= least)
        });
    }
}
