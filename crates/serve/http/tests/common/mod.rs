//! A worker inside the test, the upstream servers behind it, and a client in front.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../../../../weir/tests/support/upstream.rs"]
mod upstream;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weir_balance::{Bars, Member, PeerSpec, PeerState};
use weir_model::{Config, LogTarget, UpstreamKey};
use weir_serve_http::{Generation, Publisher, Resolve, Worker};

pub use upstream::{Request, Then, Upstream, ok, reply};

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration's text as the only file of a machine.
struct Text(String);

impl weir_syntax::Source for Text {
    fn read(&self, _path: &str) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }

    fn glob(&self, _pattern: &str) -> Vec<String> {
        Vec::new()
    }
}

impl weir_config::Environment for Text {
    fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    fn hostname(&self) -> String {
        "box.test".to_owned()
    }

    fn effective_uid(&self) -> u32 {
        1000
    }
}

/// A worker that serves one port.
pub struct Proxy {
    pub worker: Worker,
    pub publisher: Publisher,
    pub port: u16,
    listener: TcpListener,
    folder: TempDir,
    number: u64,
}

impl Proxy {
    /// Serves the content of an `http` block; `PORT` in it is the port.
    pub fn new(threads: u32, http: &str) -> Proxy {
        Proxy::with(Worker::start(), threads, http)
    }

    /// The same with somebody who resolves names.
    pub fn resolving(resolve: Arc<dyn Resolve>, http: &str) -> Proxy {
        Proxy::with(Worker::start_with(resolve), 1, http)
    }

    fn with(worker: Worker, threads: u32, http: &str) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let folder = tempfile::tempdir().expect("a folder");
        let publisher = worker.publisher();
        let mut proxy = Proxy { worker, publisher, port, listener, folder, number: 0 };
        proxy.load(threads, http);
        proxy
    }

    /// Another configuration, with the peers that it names itself.
    pub fn load(&mut self, threads: u32, http: &str) {
        let config = self.config(threads, http);
        let upstreams = config.http.as_ref().map_or(&[][..], |http| &http.upstreams);
        let members = weir_serve_http::members(upstreams, &self.publisher);
        let change = self.publisher.served() + 1;
        self.apply(config, change, members);
    }

    pub fn config(&self, threads: u32, http: &str) -> Config {
        let text = format!(
            "worker_processes {threads}; error_log {0}/error.log info; events {{ }} \
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n{1}\n}}\n",
            self.folder.path().display(),
            http.replace("PORT", &self.port.to_string()),
        );
        let options = weir_config::Options { prefix: "/w/".to_owned(), ..Default::default() };
        weir_config::load(&options, &Text(text)).unwrap_or_else(|failure| panic!("{failure}")).config
    }

    /// Puts a configuration with these peers in force.
    pub fn apply(&mut self, config: Config, change: u64, members: Vec<Vec<Member>>) {
        self.number += 1;
        let listeners = config.http.as_ref().map_or(0, |http| http.listeners.len());
        assert_eq!(listeners, 1, "the tests have one listener");
        let log = LogTarget::File(self.folder.path().join("error.log").to_string_lossy().into_owned());
        let file = std::fs::File::options().append(true).create(true).open(self.log_path()).expect("a log");
        let generation = Generation {
            number: self.number,
            config: Arc::new(config),
            listeners: vec![vec![OwnedFd::from(self.listener.try_clone().expect("a copy"))]],
            logs: HashMap::from([(log, OwnedFd::from(file))]),
            members,
            change,
        };
        self.worker.apply(generation).expect("it is applied");
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.folder.path().join("error.log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).expect("the log")
    }

    /// Publishes and waits until every thread serves it.
    pub fn publish(&self, change: u64, name: &str, members: Vec<Member>) {
        assert!(self.publisher.publish(change, &key(name), members), "there is such an upstream");
        self.wait_served(change);
    }

    pub fn wait_served(&self, change: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let waited = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.publisher.wait_served(change)).await });
        waited.unwrap_or_else(|_| panic!("change {change} is not served, {} is", self.publisher.served()));
    }

    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// Status and body of a GET on a new connection.
    pub fn get(&self, target: &str) -> (u16, String) {
        self.client().get(target)
    }

    /// The bodies of so many requests, one after the other.
    pub fn series(&self, count: usize) -> String {
        let mut client = self.client();
        (0..count).map(|_| client.get("/").1).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.worker.quit(Some(Duration::ZERO));
    }
}

pub fn key(name: &str) -> UpstreamKey {
    UpstreamKey { name: name.to_owned(), port: 0, implicit: false }
}

/// A member that nobody knew before.
pub fn member(address: SocketAddr) -> Member {
    (PeerSpec::new(address.to_string()), Arc::default())
}

/// An address that nobody listens at.
pub fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// One connection, kept as long as the server keeps it.
pub struct Client {
    port: u16,
    reader: Option<BufReader<TcpStream>>,
    /// Sent with each request, with its end of line.
    pub header: String,
}

impl Client {
    pub fn new(port: u16) -> Client {
        Client { port, reader: None, header: String::new() }
    }

    pub fn get(&mut self, target: &str) -> (u16, String) {
        let (status, _, body) = self.send("GET", target);
        (status, body)
    }

    /// Status, head and body of an answer.
    pub fn send(&mut self, method: &str, target: &str) -> (u16, String, String) {
        self.begin(method, target);
        self.answer(method)
    }

    /// Sends a request whose answer is read later.
    pub fn begin(&mut self, method: &str, target: &str) {
        let port = self.port;
        let reader = self.reader.get_or_insert_with(|| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the proxy accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.set_nodelay(true).expect("no delay");
            BufReader::new(stream)
        });
        let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{}\r\n", self.header);
        reader.get_mut().write_all(request.as_bytes()).expect("the proxy takes it");
    }

    pub fn answer(&mut self, method: &str) -> (u16, String, String) {
        let reader = self.reader.as_mut().expect("a request was sent");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).expect("the proxy answers");
            assert!(read > 0, "the connection ended inside a head: {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
        if method != "HEAD" {
            reader.read_exact(&mut body).expect("the body");
        }
        if lower.contains("connection: close") {
            self.reader = None;
        }
        (status, head, String::from_utf8(body).expect("text"))
    }
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "{what} does not come to be");
        std::thread::sleep(Duration::from_millis(2));
    }
}
