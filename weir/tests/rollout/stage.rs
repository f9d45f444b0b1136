//! A proxy, a store, and servers that shell commands stop and start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use weir_net::{Signal, send_signal};

use crate::common::{Server, Site, free_port, text, until, weir};
use crate::load::instance::Instance;
use crate::load::{Load, Mix, program, proxy};
use crate::stores::{get, put, send_to_socket};

/// Of the servers' keys.
pub(crate) const PREFIX: &str = "upstreams/web";

/// Servers of an application, and the scripts of those who run it.
pub(crate) struct Fleet {
    folder: tempfile::TempDir,
    pub(crate) ports: Vec<u16>,
}

impl Fleet {
    /// Version 1 runs on so many ports.
    pub(crate) fn start(count: usize) -> Fleet {
        let folder = tempfile::tempdir().expect("a folder");
        let fleet = Fleet { folder, ports: std::iter::repeat_with(free_port).take(count).collect() };
        let (here, app) = (fleet.path().display(), program(fleet.path()));
        fleet.script(
            "start",
            &format!(
                "port=$1 version=$2; shift 2\n\
                 {} --port $port --version $version \"$@\" > {here}/app-$port.log 2>&1 < /dev/null &\n\
                 echo $! > {here}/$port.pid; echo $! >> {here}/pids",
                app.display()
            ),
        );
        // A process that nobody collects is over as well.
        fleet.script(
            "stop",
            &format!(
                "pid=$(cat {here}/$1.pid); kill $pid || exit 0\n\
                 while [ -d /proc/$pid ] && ! grep -q 'State:.Z' /proc/$pid/status; do sleep 0.02; done"
            ),
        );
        for port in &fleet.ports {
            fleet.run("start", &[&port.to_string(), "1"]);
        }
        for port in &fleet.ports {
            until("the application", || std::net::TcpStream::connect(("127.0.0.1", *port)).ok());
        }
        fleet
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn script(&self, name: &str, text: &str) {
        let file = self.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    pub(crate) fn run(&self, script: &str, words: &[&str]) {
        let status = Command::new(self.path().join(script)).args(words).status().expect("it runs");
        assert!(status.success(), "{script} {words:?}: {status}");
    }

    pub(crate) fn command(&self, script: &str, words: &str) -> String {
        format!("{} {words}", self.path().join(script).display())
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// The version that answers at each port.
    pub(crate) fn versions(&self) -> Vec<String> {
        // The application answers its name, its version, and more.
        let version = |port: &u16| {
            let answer = crate::common::get(*port, "/").ok()?;
            answer.split_whitespace().nth(1).map(str::to_owned)
        };
        self.ports.iter().map(|port| version(port).unwrap_or_else(|| "none".to_owned())).collect()
    }

    /// `weir rollout` with the usual words: new version, scripts, check.
    pub(crate) fn words(&self, version: &str) -> Vec<String> {
        let mut words: Vec<String> =
            ["rollout", "web", "--plain", "--check", "/health", "--rise", "2", "--interval", "50ms"]
                .map(str::to_owned)
                .into();
        words.extend(["--new-version".to_owned(), version.to_owned()]);
        words.extend(["--expect-header".to_owned(), "X-Version: {version}".to_owned()]);
        words.extend(["--stop".to_owned(), self.command("stop", "{port}")]);
        words.extend(["--start".to_owned(), self.command("start", "{port} $WEIR_NEW_VERSION")]);
        words
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.path().join("pids")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            let _ = send_signal(pid, Signal::Kill);
        }
    }
}

/// A proxy, the store of its peers, and the servers.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) server: Server,
    /// Where the store answers.
    pub(crate) store: u16,
}

impl Stage {
    /// The registry is the proxy's own.
    pub(crate) fn new(servers: usize) -> Stage {
        let store = free_port();
        let main = format!("registry {{ listen 127.0.0.1:{store}; data DIR/registry; }}");
        Stage::with(servers, store, &main, &format!("registry/v1/kv/{PREFIX}/ upsync_type=consul"))
    }

    /// The store runs already.
    pub(crate) fn with(servers: usize, store: u16, main: &str, source: &str) -> Stage {
        let fleet = Fleet::start(servers);
        let upstream = format!("upsync {source}; upsync_dump_path DIR/dump;");
        let server = Site::new(&proxy(main, &upstream)).start();
        until("the store", || get(store, "/v1/status/leader").ok());
        for address in fleet.addresses() {
            assert_eq!(
                put(store, &format!("/v1/kv/{PREFIX}/{address}"), "{\"weight\":1,\"note\":\"kept\"}").0,
                200
            );
        }
        let stage = Stage { fleet, server, store };
        stage.until_all_serve();
        stage
    }

    pub(crate) fn until_all_serve(&self) {
        let all = self.fleet.ports.len();
        until("all serve", || {
            let peers = self.peers();
            (peers.iter().filter(|peer| peer["state"] == "up").count() == all).then_some(())
        });
    }

    pub(crate) fn control(&self) -> String {
        format!("unix:{}", self.server.site.file("control.sock").display())
    }

    /// What the proxy says of its peers.
    pub(crate) fn peers(&self) -> Vec<Value> {
        let socket = self.server.site.file("control.sock");
        let answer = send_to_socket(&socket, "GET", "/v1/upstreams/web", "").ok();
        let body = answer.and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok()).unwrap_or_default();
        body["peers"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn peer(&self, server: usize) -> Value {
        let address = &self.fleet.addresses()[server];
        self.peers().into_iter().find(|peer| peer["address"] == **address).unwrap_or_default()
    }

    /// The states of the servers in their order.
    pub(crate) fn states(&self) -> Vec<String> {
        let state = |n| self.peer(n)["state"].as_str().unwrap_or("none").to_owned();
        (0..self.fleet.ports.len()).map(state).collect()
    }

    /// A server's attributes in the store.
    pub(crate) fn attributes(&self, server: usize) -> Value {
        let address = &self.fleet.addresses()[server];
        let (_, body) =
            get(self.store, &format!("/v1/kv/{PREFIX}/{address}?raw")).expect("the store answers");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Where the store and the proxy are.
    pub(crate) fn place(&self) -> Vec<String> {
        let store = ["--store-address".to_owned(), format!("127.0.0.1:{}", self.store)];
        store.into_iter().chain(["--proxy".to_owned(), self.control()]).collect()
    }

    /// A release that runs beside the test.
    pub(crate) fn begin(&self, version: &str, more: &[&str]) -> Instance {
        let words = self.fleet.words(version).into_iter().chain(self.place());
        self.spawn(&format!("release-{version}"), words.chain(more.iter().map(|word| (*word).to_owned())))
    }

    pub(crate) fn spawn(&self, name: &str, words: impl IntoIterator<Item = String>) -> Instance {
        let mut command = weir();
        command.args(words);
        Instance::spawn(self.fleet.path(), name, command)
    }

    /// A release to its end: its exit code and all that it said.
    pub(crate) fn release(&self, version: &str, more: &[&str]) -> (i32, String) {
        self.begin(version, more).code()
    }

    /// `weir rollout WORDS web` at the same place.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        let mut command = weir();
        command.arg("rollout").args(words).arg("web").args(self.place());
        command.output().expect("it runs")
    }

    pub(crate) fn told(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(words);
        (output.status.code().unwrap_or(-1), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }

    pub(crate) fn load(&self, mix: Mix) -> Load {
        let load = Load::start(([127, 0, 0, 1], self.server.site.port).into(), mix);
        load.await_more(300);
        load
    }
}

/// Enough to hit every moment of a release, and little enough for a machine that does other things as well.
pub(crate) fn mix() -> Mix {
    Mix {
        requests_per_second: 1000,
        connections: 24,
        posts: 0.2,
        post_bytes: 3000,
        websockets: 0,
        slow: 4,
        slow_ms: 300,
        host: "localhost",
    }
}

/// `weir registry` as a process of its own.
pub(crate) struct Registry {
    process: Option<Instance>,
    pub(crate) port: u16,
    folder: PathBuf,
}

impl Registry {
    pub(crate) fn start(folder: &Path) -> Registry {
        let mut registry = Registry { process: None, port: free_port(), folder: folder.to_owned() };
        registry.again();
        registry
    }

    pub(crate) fn again(&mut self) {
        let mut command = weir();
        command.args(["registry", "--listen", &format!("127.0.0.1:{}", self.port), "--data"]);
        command.arg(self.folder.join("registry"));
        self.process = Some(Instance::spawn(&self.folder, "registry.log", command));
        until("the registry", || get(self.port, "/v1/status/leader").ok());
    }

    /// As a machine ends that loses its power.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }
}

/// The last line of a release.
pub(crate) fn last(log: &str) -> &str {
    log.lines().last().unwrap_or_default()
}
