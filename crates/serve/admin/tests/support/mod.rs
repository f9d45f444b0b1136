//! An API on sockets of its own, with a directory whose threads are played by the test.

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_directory::{Action, Applied, Change, Directory, Memory, Now, SetError, State, UpstreamStatus};
use weir_model::{
    Endpoint, Keepalive, ListenAddress, Method, Millis, Origin, Peer, PeerList, Secret, Source, Store,
    Upstream, UpstreamKey,
};
use weir_serve_admin::{Client, Control, Listener, Options, Tokens, serve};

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn name(n: u8) -> String {
    format!("10.0.0.{n}:80")
}

fn peer(address: &str) -> Peer {
    let parsed = match address.strip_prefix("unix:") {
        Some(path) => ListenAddress::Unix(path.to_owned()),
        None => ListenAddress::Inet(address.parse().expect("an address")),
    };
    Peer::new(parsed, address)
}

fn upstream(name: &str, peers: Vec<Peer>) -> Upstream {
    Upstream {
        name: name.to_owned(),
        implicit: false,
        port: 0,
        method: Method::RoundRobin,
        peers,
        keepalive: Keepalive::default(),
        zone: None,
        sticky: None,
        sources: Vec::new(),
        checks: Vec::new(),
        check_panic: true,
        park: Millis(0),
        resolver: None,
    }
}

fn upstreams() -> Vec<Upstream> {
    let mut web = upstream("web", vec![peer(&name(1)), peer(&name(2)), peer("unix:/run/a b.sock")]);
    let store = Store { endpoints: vec![Endpoint::Embedded], ..Store::default() };
    web.sources = vec![Source {
        origin: Origin::ConsulKv { store, path: "/v1/kv/web".to_owned() },
        template: peer(&name(0)),
        replaces_servers: false,
        interval: Millis(1000),
        timeout: Millis(1000),
        strong_dependency: false,
        dump: None,
    }];
    vec![web, upstream("api", vec![peer(&name(1))])]
}

struct Inner {
    directory: Directory,
    /// Requests that run, by peer.
    running: Vec<String>,
}

/// A directory that is asked from everywhere.
#[derive(Clone)]
pub(crate) struct Rig {
    inner: Arc<Mutex<Inner>>,
    /// Grows whenever anything has happened.
    events: Arc<watch::Sender<u64>>,
    /// What the API waits for at present.
    waits: Arc<watch::Sender<&'static str>>,
}

const NOW: Now = Now { mono: 1000, unix: 1_700_000_000_000 };

impl Rig {
    fn new() -> Rig {
        let mut directory = Directory::new(Memory::default());
        directory.configure(NOW, &upstreams());
        let rig = Rig {
            inner: Arc::new(Mutex::new(Inner { directory, running: Vec::new() })),
            events: Arc::new(watch::Sender::new(0)),
            waits: Arc::new(watch::Sender::new("")),
        };
        rig.serve_all();
        rig
    }

    fn with<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let result = change(&mut self.inner.lock().expect("no test panics in here"));
        self.events.send_modify(|count| *count += 1);
        result
    }

    fn look<R>(&self, look: impl FnOnce(&Inner) -> R) -> R {
        look(&self.inner.lock().expect("no test panics in here"))
    }

    /// Every data thread serves what was published.
    pub(crate) fn serve_all(&self) {
        self.with(|inner| {
            while let Some(action) = inner.directory.poll_action() {
                drop::<Action>(action);
            }
            let (change, _) = inner.directory.changes();
            inner.directory.handle_served(change);
        });
    }

    pub(crate) fn list(&self, index: u64) {
        let key = UpstreamKey { name: "web".to_owned(), port: 0, implicit: false };
        let list = PeerList { index, peers: vec![peer(&name(5))], ..PeerList::default() };
        self.with(|inner| inner.directory.handle_list(NOW, &key, 0, list));
    }

    pub(crate) fn begin_request(&self, peer: &str) {
        self.with(|inner| inner.running.push(peer.to_owned()));
    }

    pub(crate) fn end_request(&self, peer: &str) {
        self.with(|inner| inner.running.retain(|running| running != peer));
    }

    pub(crate) fn state(&self, peer: &str) -> State {
        let status = self.look(|inner| inner.directory.status_of(NOW, "web")).expect("the upstream");
        status.peers.iter().find(|shown| shown.address == peer).expect("the peer").state
    }

    async fn until(&self, wait: &'static str, is: impl Fn(&Inner) -> bool) {
        let mut events = self.events.subscribe();
        loop {
            events.borrow_and_update();
            if self.look(&is) {
                return;
            }
            self.waits.send_replace(wait);
            events.changed().await.expect("the sender lives as long as the rig");
        }
    }

    async fn waiting<F: Future<Output: std::fmt::Debug>>(&self, wait: &str, asked: &mut Pin<&mut F>) {
        let mut waits = self.waits.subscribe();
        tokio::select! {
            answer = asked => panic!("an answer before its time: {answer:?}"),
            found = waits.wait_for(|now| *now == wait) => { found.expect("the rig lives"); }
        }
    }

    pub(crate) async fn waiting_for_served<F: Future<Output: std::fmt::Debug>>(
        &self,
        asked: &mut Pin<&mut F>,
    ) {
        self.waiting("served", asked).await;
    }

    pub(crate) async fn waiting_for_quiet<F: Future<Output: std::fmt::Debug>>(
        &self,
        asked: &mut Pin<&mut F>,
    ) {
        self.waiting("quiet", asked).await;
    }

    pub(crate) async fn waiting_for_index<F: Future<Output: std::fmt::Debug>>(
        &self,
        asked: &mut Pin<&mut F>,
    ) {
        self.waiting("index", asked).await;
    }

    pub(crate) async fn waiting_for_change<F: Future<Output: std::fmt::Debug>>(
        &self,
        asked: &mut Pin<&mut F>,
    ) {
        self.waiting("change", asked).await;
    }
}

impl Control for Rig {
    async fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.look(|inner| inner.directory.status(NOW))
    }

    async fn upstream(&self, name: String) -> Option<UpstreamStatus> {
        let (status, running) =
            self.look(|inner| (inner.directory.status_of(NOW, &name), inner.running.clone()));
        let mut status = status?;
        for peer in &mut status.peers {
            peer.active = running.iter().filter(|running| **running == peer.address).count() as u32;
        }
        Some(status)
    }

    async fn set(&self, change: Change) -> Result<u64, SetError> {
        self.with(|inner| inner.directory.set(NOW, change))
    }

    async fn served(&self, change: u64) {
        self.until("served", |inner| inner.directory.changes().1 >= change).await;
    }

    async fn quiet(&self, _: String, peer: String) {
        self.until("quiet", |inner| !inner.running.contains(&peer)).await;
    }

    async fn wait_applied(&self, upstream: String, index: u64) -> Option<Applied> {
        let applied = |inner: &Inner| inner.directory.applied_index(&upstream);
        self.until("index", |inner| applied(inner).is_none_or(|applied| applied.served >= index)).await;
        self.look(applied)
    }

    async fn applied(&self, upstream: String) -> Option<Applied> {
        self.look(|inner| inner.directory.applied_index(&upstream))
    }

    async fn version(&self) -> u64 {
        self.look(|inner| inner.directory.version())
    }

    async fn changed(&self, version: u64) {
        self.until("change", |inner| inner.directory.version() != version).await;
    }
}

/// The API and its sockets; ends with the test.
pub(crate) struct Stage {
    pub(crate) control: Rig,
    client: Client,
    tcp: std::net::SocketAddr,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let unix = UnixListener::bind(&path).expect("a socket in a folder of its own");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let tcp = listener.local_addr().expect("its address");
        let control = Rig::new();
        let secret = |text: &str| Some(Secret(text.to_owned()));
        let options = Options { tokens: Tokens { write: secret("writer"), read: secret("reader") } };
        let served = serve(vec![Listener::Unix(unix), Listener::Tcp(listener)], options, control.clone());
        let server = tokio::spawn(async move { served.await.expect("listeners that tokio takes") });
        Stage { control, client: Client::new(path), tcp, server, _folder: folder }
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let reply = self.client.send(method, target, body.as_bytes().to_vec(), PATIENCE).await;
        let reply = reply.expect("an answer");
        (reply.status, serde_json::from_slice(&reply.body).expect("JSON"))
    }

    pub(crate) async fn get(&self, target: &str) -> (u16, Value) {
        self.ask("GET", target, "").await
    }

    pub(crate) async fn fetch<T: DeserializeOwned>(&self, target: &str) -> T {
        let (status, body) = self.get(target).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).expect("the document of this path")
    }

    pub(crate) async fn ask_tcp(&self, method: &str, target: &str, token: &str, body: &str) -> (u16, Value) {
        let authorization =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\n{authorization}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = String::from_utf8(self.raw_tcp(request.as_bytes()).await).expect("text");
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status, serde_json::from_str(body).expect("JSON"))
    }

    pub(crate) async fn raw_tcp(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.tcp).await.expect("the API listens");
        // It may answer and close before all is sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }
}
