//! Virtual routers in a laboratory: hosts on one switch, the words of their files, and who holds an address.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod clients;
mod node;
pub mod packet;

use std::process::Output;

use weir_lab::{Host, Lab, Watch};

pub use crate::common::PATIENCE;
use crate::common::text;
pub use clients::Clients;
pub use node::{Node, Start, entry, keepalived, proxy, saying, status, weir};

/// The virtual address of the usual instance `V`.
pub const ADDRESS: &str = "10.9.0.100";
/// Elections that need no second to settle.
pub const FAST: &str = "version 3\n advert_int 0.2";

/// A switch for hosts.
pub fn lab() -> Lab {
    let lab = Lab::new().unwrap_or_else(|error| panic!("these tests need hosts of their own: {error}"));
    lab.segment("lan").expect("a switch");
    lab
}

/// Host `name` with 10.9.0.N and fe80::N on eth0.
pub fn host(lab: &Lab, name: &str, number: u8) -> Host {
    let plan = lab.host(name).address(&format!("10.9.0.{number}/24"));
    plan.address(&format!("fe80::{number:x}/64")).start().expect("a host")
}

pub fn watch(lab: &Lab, address: &str) -> Watch {
    lab.watch(address.parse().expect("an address"))
}

/// Waits until exactly these hosts hold the address.
pub fn holds(watch: &Watch, names: &[&str], nodes: &[&Node]) {
    let said = |node: &&Node| format!("{} says:\n{}\n", node.host.name(), node.log());
    holds_or(watch, names, || nodes.iter().map(said).collect());
}

/// The same, with what else there is to say when they do not.
pub fn holds_or(watch: &Watch, names: &[&str], logs: impl FnOnce() -> String) {
    if let Err(error) = watch.wait_holders(names, PATIENCE) {
        panic!("{error}\n{:?}\n{}", watch.intervals(), logs());
    }
}

/// Runs Weir in a host to its end.
pub fn run(host: &Host, arguments: &[&str]) -> Output {
    host.run(env!("CARGO_BIN_EXE_weir"), arguments).expect("it runs")
}

/// Runs a line of shell in a host; it has to succeed.
pub fn shell(host: &Host, line: &str) -> String {
    let output = host.run("sh", &["-c", line]).expect("it runs");
    assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A `vrrp_instance` in state BACKUP.
pub struct Instance<'a> {
    pub name: &'a str,
    pub vrid: u8,
    pub interface: &'a str,
    pub priority: u8,
    /// Lines of `virtual_ipaddress`.
    pub addresses: &'a str,
    /// Everything else.
    pub body: &'a str,
}

impl Default for Instance<'_> {
    fn default() -> Self {
        Self { name: "V", vrid: 9, interface: "eth0", priority: 100, addresses: ADDRESS, body: FAST }
    }
}

impl Instance<'_> {
    pub fn text(&self) -> String {
        let Instance { name, vrid, interface, priority, addresses, body } = self;
        format!(
            "vrrp_instance {name} {{\n state BACKUP\n interface {interface}\n virtual_router_id {vrid}\n priority \
             {priority}\n {body}\n virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
        )
    }
}

/// The usual instance `V` of virtual router 9; the body has everything but interface and priority.
pub fn instance(priority: u8, body: &str) -> String {
    Instance { priority, body, ..Instance::default() }.text()
}

/// Two routers and a stranger: 10.9.0.1, .2 and .3, fe80::1, ::2 and ::3, all on eth0.
pub struct Net {
    pub a: Host,
    pub b: Host,
    pub c: Host,
    pub lab: Lab,
}

impl Net {
    pub fn new() -> Net {
        let lab = lab();
        let host = |name, number| host(&lab, name, number);
        Net { a: host("a", 1), b: host("b", 2), c: host("c", 3), lab }
    }

    /// Starts both routers with one body of their instance `V`: `a` has priority 150 and becomes master, `b` 100.
    pub fn start(&self, body: &str) -> Routers {
        self.pair(weir, ADDRESS, body)
    }

    /// The same with another virtual address.
    pub fn start_at(&self, address: &str, body: &str) -> Routers {
        self.pair(weir, address, body)
    }

    /// The same with a proxy on both.
    pub fn entries(&self, body: &str) -> Routers {
        self.pair(entry, ADDRESS, body)
    }

    fn pair(&self, start: Start, addresses: &str, body: &str) -> Routers {
        let watch = self.watch(addresses);
        let file = |priority| Instance { priority, addresses, body, ..Instance::default() }.text();
        // One after the other: a body may say that no backup takes the address from a master.
        let a = start(&self.a, &file(150));
        holds(&watch, &["a"], &[&a]);
        let routers = Routers { b: start(&self.b, &file(100)), a, watch };
        routers.holds("a");
        routers.b.shows("the master", |status| !status["master"].is_null());
        routers
    }

    pub fn watch(&self, address: &str) -> Watch {
        watch(&self.lab, address)
    }
}

/// Master and backup.
pub struct Routers {
    pub a: Node,
    pub b: Node,
    pub watch: Watch,
}

impl Routers {
    /// Waits until one of them holds the address, and nobody else.
    pub fn holds(&self, name: &str) {
        holds(&self.watch, &[name], &[&self.a, &self.b]);
    }

    /// Asserts that `a` was master all the time since it became so.
    pub fn unmoved(&self) {
        let intervals = self.watch.intervals();
        let last = intervals.last().expect("somebody had the address");
        assert_eq!((last.host.as_str(), last.to), ("a", None), "{intervals:?}\n{}", self.logs());
        let (a, b) = (self.a.status(), self.b.status());
        assert_eq!((&a["state"], &b["state"]), (&"master".into(), &"backup".into()), "{}", self.logs());
        assert_eq!(a["stats"]["become_master"], 1, "{}", self.logs());
        assert_eq!(a["stats"]["release_master"], 0, "{}", self.logs());
    }

    pub fn logs(&self) -> String {
        format!("a says:\n{}\nb says:\n{}", self.a.log(), self.b.log())
    }
}
