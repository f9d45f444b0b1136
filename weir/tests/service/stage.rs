//! A node, instances that run as services of it, and what is known of them.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use weir_net::{Signal, send_signal};

use crate::common::{Server, Site, free_port, text, until, weir};
use crate::load::instance::Instance;
use crate::load::{program, proxy};
use crate::stores::{Consul, get};
use crate::support::Client;
use crate::{load, stores, support};

fn upstream(source: &str) -> String {
    format!("upsync {source}; upsync_dump_path DIR/dump;")
}

/// A proxy, and the registry where it finds its peers.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) registry: u16,
}

impl Node {
    /// A node that is the registry too; its peers are the keys below `web`.
    pub(crate) fn start() -> Node {
        let registry = free_port();
        let main = format!("registry {{ listen 127.0.0.1:{registry}; data DIR/registry; }}");
        let server = Site::new(&proxy(&main, &upstream("registry/v1/kv/web/ upsync_type=consul"))).start();
        until("the registry", || get(registry, "/v1/status/leader").ok());
        Node { server, registry }
    }

    /// A node beside a Consul, with what its source has behind the address.
    pub(crate) fn beside_consul(path: &str) -> (Node, Consul) {
        let consul = Consul::start();
        let registry = consul.port;
        let server = Site::new(&proxy("", &upstream(&format!("127.0.0.1:{registry}{path}")))).start();
        (Node { server, registry }, consul)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.server.site.path()
    }

    /// Ends it as a machine ends that loses its power.
    pub(crate) fn kill(mut self) -> (Site, u16) {
        let worker = self.server.worker();
        let _ = send_signal(worker, Signal::Kill);
        self.server.signal(Signal::Kill);
        self.server.wait();
        let dir = tempfile::tempdir().expect("a folder");
        let site = &mut self.server.site;
        let site = Site { dir: std::mem::replace(&mut site.dir, dir), port: site.port };
        let _ = std::fs::remove_file(site.file("nginx.pid"));
        (site, self.registry)
    }

    pub(crate) fn again((site, registry): (Site, u16)) -> Node {
        Node { server: site.start(), registry }
    }

    pub(crate) fn control(&self) -> String {
        format!("unix:{}", self.server.site.file("control.sock").display())
    }
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The application at a port, with a check, run as a service of a registry; `more` are options of the service, `app` those
/// of the application.
pub(crate) fn run(folder: &Path, registry: u16, port: u16, more: &str, app: &str) -> Instance {
    let program = program(folder).display().to_string();
    let limit = if more.contains("--drain-timeout") { "" } else { "--drain-timeout 10s" };
    let check = if more.contains("--check") { "" } else { "--check /health" };
    let options = format!(
        "--service web --port {port} --registry 127.0.0.1:{registry} {check} --interval 100ms \
         {limit} {more} -- {program} --port {port} {app}"
    );
    Instance::run(folder, &format!("service-{port}"), words(&options))
}

/// A command without a registry that would answer.
pub(crate) fn alone(folder: &Path, script: &str) -> Instance {
    let mut all = words("--service web --port 9 --check tcp --registry 127.0.0.1:9 -- /bin/sh -c");
    all.push(script.to_owned());
    Instance::run(folder, "alone", all)
}

pub(crate) fn service(registry: u16, text: &str) -> Output {
    let mut command = weir();
    command.arg("service").args(words(text)).args(["--registry", &format!("127.0.0.1:{registry}")]);
    command.output().expect("run")
}

pub(crate) fn told(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// What a registry says of the service: its status, as `weir service list` has it, or "none".
pub(crate) fn status(registry: u16, port: u16) -> String {
    let list = told(&service(registry, "list web"));
    let line = list.lines().find(|line| line.contains(&format!("127.0.0.1:{port} ")));
    line.and_then(|line| line.split_whitespace().nth(3)).unwrap_or("none").to_owned()
}

pub(crate) fn until_status(registry: u16, port: u16, wanted: &str) {
    until(&format!("status {wanted}"), || (status(registry, port) == wanted).then_some(()));
}

pub(crate) fn key(registry: u16, port: u16) -> Option<String> {
    let found = get(registry, &format!("/v1/kv/web/127.0.0.1:{port}?raw")).ok()?;
    (found.0 == 200).then_some(found.1)
}

pub(crate) fn until_key(registry: u16, port: u16, there: bool) {
    until(&format!("key: {there}"), || (key(registry, port).is_some() == there).then_some(()));
}

pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The state of a peer and the requests it has, as the proxy says.
pub(crate) fn peer(node: &Node, port: u16) -> (String, u64) {
    let socket = node.server.site.file("control.sock");
    let (_, body) = stores::send_to_socket(&socket, "GET", "/v1/upstreams/web", "").expect("it answers");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let peers = body["peers"].as_array().expect("peers");
    let peer = peers.iter().find(|peer| peer["address"] == format!("127.0.0.1:{port}"));
    let state = peer.and_then(|peer| peer["state"].as_str()).unwrap_or("none");
    (state.to_owned(), peer.and_then(|peer| peer["active"].as_u64()).unwrap_or(0))
}

pub(crate) fn until_peer(node: &Node, port: u16, state: &str) {
    until(&format!("{port} is {state}"), || (peer(node, port).0 == state).then_some(()));
}

/// A WebSocket through the proxy: a request that runs until somebody ends it.
pub(crate) fn websocket(node: &Node) -> Client {
    support::websocket::open(node.server.site.port)
}

/// The close frame that the server sends, and the answer to it.
pub(crate) fn close(client: &mut Client) {
    assert_eq!(client.take(4), [0x88, 2, 0x03, 0xe9], "a close frame with 1001");
    client.send(load::app::frame(load::app::CLOSE, &1001_u16.to_be_bytes(), Some([1, 2, 3, 4])));
}

/// The application without a service.
pub(crate) fn bare(folder: &Path, port: u16, more: &str) -> Instance {
    let mut command = Command::new(program(folder));
    command.args(["--port", &port.to_string()]).args(words(more));
    let instance = Instance::spawn(folder, &format!("app-{port}"), command);
    until("the application", || listens(port).then_some(()));
    instance
}
