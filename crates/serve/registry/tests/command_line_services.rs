//! The `consul` command line against the registry: services, catalog, maintenance, members, watches.

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Weir, ask};

fn command(address: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new("consul");
    command.args(args).env("CONSUL_HTTP_ADDR", address.to_string());
    command
}

/// What it prints, and whether it was content.
fn consul(address: SocketAddr, args: &[&str]) -> (bool, String) {
    let output = command(address, args).output().expect("consul is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[track_caller]
fn prints(address: SocketAddr, args: &[&str], expected: &[&str]) {
    let (done, text) = consul(address, args);
    assert!(done, "consul {args:?}: {text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in the output of consul {args:?}: {text}");
    }
}

#[test]
fn services_and_catalog() {
    let weir = Weir::start();
    let at = weir.address;
    prints(at, &["services", "register", "-name=web", "-port=80", "-tag=v1"], &["Registered service: web"]);
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a file");
    let definition =
        r#"{"service":{"name":"db","id":"db1","port":5432,"tags":["t"],"check":{"ttl":"300s"}}}"#;
    std::fs::write(file.path(), definition).expect("it is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    prints(at, &["services", "register", path], &["Registered service: db"]);
    assert_eq!(consul(at, &["catalog", "services"]), (true, "consul\ndb\nweb\n".to_owned()));
    prints(at, &["catalog", "services", "-tags"], &["web", "v1"]);
    prints(at, &["catalog", "nodes"], &["node1", "127.0.0.1", "dc1"]);
    prints(at, &["catalog", "nodes", "-service=web", "-detailed"], &["node1", "lan=127.0.0.1"]);
    assert_eq!(consul(at, &["catalog", "datacenters"]), (true, "dc1\n".to_owned()));
    prints(at, &["services", "deregister", "-id=web"], &["Deregistered service: web"]);
    prints(at, &["services", "deregister", path], &["Deregistered service: db1"]);
    assert_eq!(consul(at, &["catalog", "services"]), (true, "consul\n".to_owned()));
    let (done, text) = consul(at, &["services", "register", "-name="]);
    assert!(!done, "{text}");
}

#[test]
fn maintenance() {
    let weir = Weir::start();
    let at = weir.address;
    ask(at, "PUT", "/v1/agent/service/register", br#"{"Name":"web","Port":80}"#);
    assert_eq!(consul(at, &["maint"]), (true, String::new()));
    prints(at, &["maint", "-enable", "-reason=new disk"], &["Node maintenance is now enabled"]);
    prints(at, &["maint", "-enable", "-service=web"], &["Service maintenance is now enabled for \"web\""]);
    prints(at, &["maint"], &["Name:   node1", "Reason: new disk", "ID:     web"]);
    let passing = || ask(at, "GET", "/v1/health/service/web?passing", b"").json();
    assert_eq!(passing(), Value::Array(Vec::new()));
    prints(at, &["maint", "-disable"], &["Node maintenance is now disabled"]);
    prints(at, &["maint", "-disable", "-service=web"], &["Service maintenance is now disabled for \"web\""]);
    assert_eq!(consul(at, &["maint"]), (true, String::new()));
    assert_eq!(passing().as_array().map(Vec::len), Some(1));
}

#[test]
fn the_agent_itself() {
    let weir = Weir::start();
    let at = weir.address;
    prints(at, &["members"], &["node1", "127.0.0.1:8301", "alive", "server", "1.8.7", "dc1"]);
    prints(at, &["members", "-detailed"], &["role=consul"]);
    prints(at, &["members", "-wan"], &["node1.dc1", "127.0.0.1:8302"]);
    prints(at, &["info"], &["leader = true", "state = Leader", "services = 0"]);
    prints(at, &["reload"], &["Configuration reload triggered"]);
    let (done, text) = consul(at, &["leave"]);
    assert!(!done && text.contains("single node"), "{text}");
    let (done, text) = consul(at, &["join", "192.0.2.1"]);
    assert!(!done && text.contains("single node"), "{text}");
}

/// `consul watch` with a handler that prints each state on a line; killed when it is dropped.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Watch {
    fn start(address: SocketAddr, args: &[&str]) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "consul", "watch"])
            .args(args)
            .args(["sh", "-c", "cat; echo"])
            .env("CONSUL_HTTP_ADDR", address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and consul are installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// The next state that fits; the test hangs and is stopped from outside if there is none.
    fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("the watch goes on").expect("text");
            if let Ok(state) = serde_json::from_str::<Value>(&line)
                && fits(&state)
            {
                return state;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn watches_see_each_change() {
    let weir = Weir::start();
    let at = weir.address;
    let mut services = Watch::start(at, &["-type=services"]);
    let mut service = Watch::start(at, &["-type=service", "-service=web"]);
    let mut checks = Watch::start(at, &["-type=checks"]);
    let mut passing = Watch::start(at, &["-type=service", "-service=web", "-passingonly=true"]);
    let status =
        |state: &Value| state.pointer("/0/Checks/1/Status").and_then(Value::as_str).map(str::to_owned);
    let of_web = |state: &Value, wanted: &str| {
        let all = state.as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().any(|check| check["CheckID"] == "service:web" && check["Status"] == wanted)
    };
    services.until(|state| state.get("consul").is_some());
    checks.until(|state| state.as_array().is_some_and(|all| all.len() == 1));

    let body = br#"{"Name":"web","Port":80,"Tags":["a"],"Check":{"TTL":"9m","Status":"passing"}}"#;
    ask(at, "PUT", "/v1/agent/service/register", body);
    services.until(|state| state["web"] == serde_json::json!(["a"]));
    service.until(|state| status(state).as_deref() == Some("passing"));
    checks.until(|state| of_web(state, "passing"));
    passing.until(|state| state.as_array().is_some_and(|all| all.len() == 1));

    ask(at, "PUT", "/v1/agent/check/fail/service:web?note=broken", b"");
    service.until(|state| status(state).as_deref() == Some("critical"));
    checks.until(|state| of_web(state, "critical"));
    passing.until(|state| state.as_array().is_some_and(Vec::is_empty));

    ask(at, "PUT", "/v1/agent/service/deregister/web", b"");
    services.until(|state| state.get("web").is_none());
    service.until(|state| state.as_array().is_some_and(Vec::is_empty));
}
