//! Virtual routers in a laboratory: three hosts on one switch, what runs in them, and what they say of themselves.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod packet;

use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use weir_lab::{Host, Lab, Program, Watch};

use crate::common::until;

/// What takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The virtual address of the usual instance `V`.
pub const ADDRESS: &str = "10.9.0.100";
const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// Two routers and a stranger: 10.9.0.1, .2 and .3, fe80::1, ::2 and ::3, all on eth0.
pub struct Net {
    pub a: Host,
    pub b: Host,
    pub c: Host,
    pub lab: Lab,
}

impl Net {
    pub fn new() -> Net {
        let lab = Lab::new().unwrap_or_else(|error| panic!("these tests need hosts of their own: {error}"));
        lab.segment("lan").expect("a switch");
        let host = |name, number: u8| {
            let plan = lab.host(name).address(&format!("10.9.0.{number}/24"));
            plan.address(&format!("fe80::{number}/64")).start().expect("a host")
        };
        Net { a: host("a", 1), b: host("b", 2), c: host("c", 3), lab }
    }

    /// Starts both routers with one body of their instance `V`: `a` has priority 150 and becomes master, `b` 100.
    pub fn start(&self, body: &str) -> Routers<'_> {
        self.start_at(ADDRESS, body)
    }

    /// The same with another virtual address.
    pub fn start_at(&self, address: &str, body: &str) -> Routers<'_> {
        let watch = self.watch(address);
        let file = |priority| instance(priority, body).replace(ADDRESS, address);
        let b = Node::start(&self.b, &file(100));
        let a = Node::start(&self.a, &file(150));
        let routers = Routers { a, b, watch };
        routers.settled();
        routers
    }

    pub fn watch(&self, address: &str) -> Watch {
        self.lab.watch(address.parse::<IpAddr>().expect("an address"))
    }
}

/// An instance `V` of virtual router 9; the body has everything but interface and priority.
pub fn instance(priority: u8, body: &str) -> String {
    format!(
        "vrrp_instance V {{\n state BACKUP\n interface eth0\n virtual_router_id 9\n priority {priority}\n {body}\n \
         virtual_ipaddress {{\n {ADDRESS}\n }}\n}}\n"
    )
}

/// Master and backup.
pub struct Routers<'n> {
    pub a: Node<'n>,
    pub b: Node<'n>,
    pub watch: Watch,
}

impl Routers<'_> {
    /// Waits until `a` is master and `b` has heard so.
    fn settled(&self) {
        self.watch.wait_holders(&["a"], PATIENCE).unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        until("the backup hears the master", || (!self.b.status()["master"].is_null()).then_some(()));
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

/// A running router.
pub struct Node<'h> {
    pub host: &'h Host,
    pub program: Program,
}

impl<'h> Node<'h> {
    /// Starts Weir with this keepalived.conf.
    pub fn start(host: &'h Host, conf: &str) -> Node<'h> {
        host.write("/etc/keepalived/keepalived.conf", conf).expect("its file");
        Node::again(host)
    }

    /// Starts Weir with the file that is there.
    pub fn again(host: &'h Host) -> Node<'h> {
        let mut command = Command::new(WEIR);
        command.args(["run", "/etc/keepalived/keepalived.conf"]);
        Node { host, program: host.spawn("vrrp", &command).expect("it starts") }
    }

    /// What `weir vip --json V` says; null while nobody answers.
    pub fn status(&self) -> Value {
        self.status_of("V")
    }

    pub fn status_of(&self, name: &str) -> Value {
        let output = weir(self.host, &["vip", "--json", name]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// A counter of the instance `V`.
    pub fn count(&self, counter: &str) -> u64 {
        let status = self.status();
        let found = status["stats"][counter].as_u64();
        found.unwrap_or_else(|| panic!("no counter {counter} in {status:#}\n{}", self.log()))
    }

    /// Waits until a counter has reached a value.
    pub fn counts(&self, counter: &str, least: u64) {
        until(&format!("{} counts {least} {counter}", self.host.name()), || {
            (self.count(counter) >= least).then_some(())
        });
    }

    pub fn wait_log(&self, text: &str) {
        let found = self.host.wait_text(self.program.log(), text, PATIENCE);
        found.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }

    pub fn wait_state(&self, state: &str) {
        until(&format!("{} is {state}", self.host.name()), || {
            (self.status()["state"] == state).then_some(())
        });
    }

    pub fn log(&self) -> String {
        self.host.read(self.program.log()).unwrap_or_default()
    }
}

/// Runs Weir in a host to its end.
pub fn weir(host: &Host, arguments: &[&str]) -> Output {
    host.run(WEIR, arguments).expect("it runs")
}
