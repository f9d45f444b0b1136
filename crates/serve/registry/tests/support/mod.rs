//! Registries and Consul agents on free ports of the loopback, and a client that sees every byte of an answer.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use weir_model::Registry;
use weir_serve_registry::{Options, Running};

/// A registry in this process, in a folder of its own.
pub struct Weir {
    pub address: SocketAddr,
    pub running: Running,
    folder: TempDir,
}

impl Weir {
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Registry)) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the database");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut registry = Registry { data: path_of(&folder), ..Registry::default() };
        change(&mut registry);
        let running = Running::start(options(registry, listener)).expect("the registry starts");
        Self { address, running, folder }
    }

    /// Stops and starts again on the same folder, on another port.
    pub fn restart(self) -> Self {
        let Self { running, folder, .. } = self;
        running.stop();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let registry = Registry { data: path_of(&folder), ..Registry::default() };
        let running = Running::start(options(registry, listener)).expect("the registry starts again");
        Self { address, running, folder }
    }

    /// Its configuration with changes, and a listener for it.
    pub fn options(&self, change: impl FnOnce(&mut Registry)) -> (Options, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut registry = Registry { data: path_of(&self.folder), ..Registry::default() };
        change(&mut registry);
        (options(registry, listener), address)
    }
}

fn path_of(folder: &TempDir) -> String {
    folder.path().to_str().expect("a path in UTF-8").to_owned()
}

fn options(registry: Registry, listener: TcpListener) -> Options {
    Options {
        registry,
        node: "node1".to_owned(),
        listeners: vec![listener],
        unix: Vec::new(),
        dns: Vec::new(),
        log: Arc::new(|level, text| eprintln!("{level:?}: {text}")),
        mount: None,
    }
}

/// A real Consul; it is killed when it is dropped.
pub struct Consul {
    pub address: SocketAddr,
    /// UDP and TCP.
    pub dns: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Consul {
    /// In memory, `-dev`.
    pub fn dev() -> Self {
        Self::start(&["-dev"])
    }

    /// A single server with its data on disk.
    pub fn server() -> Self {
        Self::start(&["-server", "-bootstrap-expect=1", "-bind", "127.0.0.1"])
    }

    fn start(mode: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for consul");
        let [http, server, serf, dns] = free_ports();
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "consul", "agent", "-node", "node1", "-log-level", "info"])
            .args(["-grpc-port", "-1", "-serf-wan-port", "-1"])
            .args(["-http-port", &http.to_string(), "-server-port", &server.to_string()])
            .args(["-serf-lan-port", &serf.to_string(), "-dns-port", &dns.to_string()])
            .args(mode)
            .arg("-data-dir")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and consul are installed");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut seen = Vec::new();
        loop {
            let Some(Ok(line)) = lines.next() else { panic!("consul ended: {seen:#?}") };
            if line.contains("Synced node info") {
                break;
            }
            seen.push(line);
        }
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let on = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { address: on(http), dns: on(dns), child, _folder: folder }
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Ports that nobody listens on, and that no other test gets. They are below those that the kernel gives to outgoing
/// connections: a store that is started again finds its own port free.
fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static GIVEN: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    [(); N].map(|()| {
        loop {
            let given = GIVEN.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let port = FIRST + begin.wrapping_add(given) % COUNT;
            let port = u16::try_from(port).expect("all of them are ports");
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break port;
            }
        }
    })
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Response {
    pub version: String,
    pub status: u16,
    /// In the spelling and the order of the server.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub fn index(&self) -> u64 {
        let index = self.header("X-Consul-Index").unwrap_or_else(|| panic!("no index in {self:?}"));
        index.parse().expect("an index is a number")
    }
}

/// A connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).expect("somebody listens")))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: registry\r\n{length}\r\n").as_bytes());
        self.send(body);
        self.response(method == "HEAD")
    }

    /// The next answer.
    pub fn response(&mut self, bodiless: bool) -> Response {
        let status_line = self.line();
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().expect("a version").to_owned();
        let status =
            words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut response = Response { version, status, headers, body: Vec::new() };
        if !bodiless && status != 100 {
            self.body(&mut response);
        }
        response
    }

    fn body(&mut self, response: &mut Response) {
        if let Some(length) = response.header("Content-Length") {
            response.body = vec![0; length.parse().expect("a length")];
            self.0.read_exact(&mut response.body).expect("the whole body comes");
        } else if response.header("Transfer-Encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).expect("a size");
                let mut chunk = vec![0; size];
                self.0.read_exact(&mut chunk).expect("the whole chunk comes");
                self.line();
                response.body.extend_from_slice(&chunk);
                if size == 0 {
                    break;
                }
            }
        } else {
            self.0.read_to_end(&mut response.body).expect("it ends");
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("the server answers");
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// Whether the next line begins so; an end is an empty line.
    pub fn line_starts_with(&mut self, start: &str) -> bool {
        self.line().starts_with(start)
    }

    /// Whether the server has ended the connection; waits for it.
    pub fn ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// One request on a connection of its own.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Response {
    Client::connect(address).ask(method, path, body)
}
