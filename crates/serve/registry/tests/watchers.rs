//! Thousands of watchers: what they cost, that all are woken, and that nothing is left of those who went.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use support::{Client, Weir, ask};

const WATCHERS: usize = 5_000;
/// Of the whole process, in KiB.
const MOST_MEMORY: u64 = 50 * 1024;
/// Tells the test program to be the registry.
const CHILD: &str = "WEIR_TEST_REGISTRY";

/// A registry in a process of its own; it ends with the test.
struct Apart {
    child: Child,
    address: SocketAddr,
}

impl Apart {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "serves_when_asked", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = lines.find_map(|line| line.ok()?.rsplit_once("listens on ")?.1.parse().ok());
        Self { child, address: address.expect("it tells its address") }
    }

    /// KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of memory");
        line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    }

    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The registry of [`Apart`]; nothing where nobody asks.
#[test]
fn serves_when_asked() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    weir_net::raise_nofile().expect("more files");
    let weir = Weir::start();
    println!("listens on {}", weir.address);
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("the end of the test");
}

#[test]
fn five_thousand_watchers_fit_and_are_woken() {
    weir_net::raise_nofile().expect("more files");
    let registry = Apart::start();
    ask(registry.address, "PUT", "/v1/kv/app/1", b"1");
    let index = ask(registry.address, "GET", "/v1/kv/app/?recurse", b"").index();
    let files = registry.files();
    let mut watchers: Vec<Client> = (0..WATCHERS)
        .map(|_| {
            let mut watcher = Client::connect(registry.address);
            let request = format!(
                "GET /v1/kv/app/?recurse&index={index} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
                registry.address
            );
            watcher.send(request.as_bytes());
            watcher
        })
        .collect();
    // One thread serves in turn: whatever came before has been read when this is answered.
    ask(registry.address, "GET", "/v1/status/leader", b"");
    let memory = registry.memory();
    println!("{WATCHERS} watchers: {memory} KiB");
    assert!(memory < MOST_MEMORY, "{memory} KiB for {WATCHERS} watchers, expected less than {MOST_MEMORY}");

    ask(registry.address, "PUT", "/v1/kv/app/2", b"2");
    for watcher in &mut watchers {
        assert_eq!(watcher.response(false).json().as_array().map(Vec::len), Some(2));
    }
    // Half of them waits again and goes away.
    let request = format!("GET /v1/kv/app/?recurse&index={} HTTP/1.1\r\nHost: a\r\n\r\n", u64::MAX);
    for watcher in watchers.iter_mut().step_by(2) {
        watcher.send(request.as_bytes());
    }
    drop(watchers);
    while registry.files() > files {
        ask(registry.address, "GET", "/v1/status/leader", b"");
    }
}
