//! Real stores on free ports of loopback, which end with their guard, and a client for them.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_rollout::{Moment, StoreKind};
use weir_serve_rollout::{Holder, Place, Reply, Store, StoreEvent, Transport};

/// Far above what anything takes here; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is awaited comes, or the test fails with its name.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

/// A connection for each question.
pub struct Direct(pub u16);

impl Transport for Direct {
    fn send<'a>(
        &'a self,
        method: Method,
        path_and_query: &'a str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>> {
        let exchange = async move {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.0))
                .await
                .map_err(|error| error.to_string())?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            let mut request =
                Request::builder().method(method).uri(path_and_query).header("host", "localhost");
            request.headers_mut().expect("a good request").extend(headers);
            let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
            let reply = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = reply.status().as_u16();
            let body = reply.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok(Reply { status, body })
        };
        Box::pin(async move {
            tokio::time::timeout(timeout, exchange)
                .await
                .unwrap_or_else(|_| Err("no answer in time".to_owned()))
        })
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

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One Consul, or one etcd.
pub struct Real {
    pub kind: StoreKind,
    pub port: u16,
    ports: Vec<u16>,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Real {
    pub async fn start(kind: StoreKind) -> Self {
        let ports = free_ports::<5>().to_vec();
        let folder = tempfile::tempdir().expect("a folder");
        let mut real = Self { kind, port: ports[0], ports, folder, running: None };
        real.run().await;
        real
    }

    /// Until it takes writes.
    pub async fn run(&mut self) {
        let data = self.folder.path().join("data");
        let (program, arguments) = match self.kind {
            StoreKind::Etcd => ("etcd", etcd(&self.ports, &data)),
            _ => ("consul", consul(&self.ports, &data)),
        };
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log);
        command.process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{program} has to be installed: {error}"));
        self.running = Some(Running(child));
        soon("start of the store", async {
            while self.write("ready", &json!(1)).await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Ends it as a crash does.
    pub fn stop(&mut self) {
        self.running = None;
    }

    pub async fn ask(&self, method: Method, target: &str, body: String) -> Option<(u16, String)> {
        let answer = Direct(self.port)
            .send(method, target, HeaderMap::new(), body.into(), Duration::from_secs(5))
            .await;
        answer.ok().map(|reply| (reply.status, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    /// Writes a key whatever it is; nothing when the store does not take it.
    pub async fn write(&self, key: &str, value: &Value) -> Option<()> {
        let (status, body) = match self.kind {
            StoreKind::Etcd => {
                let body =
                    json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value.to_string()) });
                self.ask(Method::POST, "/v3/kv/put", body.to_string()).await?
            }
            _ => self.ask(Method::PUT, &format!("/v1/kv/{key}?flags=42"), value.to_string()).await?,
        };
        (status == 200 && (self.kind == StoreKind::Etcd || body.trim() == "true")).then_some(())
    }

    /// The value and its index.
    pub async fn read(&self, key: &str) -> (Value, u64) {
        let (pair, value, index) = match self.kind {
            StoreKind::Etcd => {
                let body = json!({ "key": STANDARD.encode(key) }).to_string();
                let (_, body) = self.ask(Method::POST, "/v3/kv/range", body).await.expect("an answer");
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                (answer["kvs"][0].clone(), "value", "mod_revision")
            }
            _ => {
                let (_, body) =
                    self.ask(Method::GET, &format!("/v1/kv/{key}"), String::new()).await.expect("an answer");
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                (answer[0].clone(), "Value", "ModifyIndex")
            }
        };
        let bytes = STANDARD.decode(pair[value].as_str().expect("a value")).expect("base64");
        let index = pair[index].as_u64().or_else(|| pair[index].as_str()?.parse().ok()).expect("an index");
        (serde_json::from_slice(&bytes).expect("JSON"), index)
    }

    /// A store of upstream `web`, and what it tells.
    pub fn store(&self) -> (Store, UnboundedReceiver<StoreEvent>) {
        let (sender, events) = unbounded_channel();
        // In etcd a slash before the name would be a part of it.
        let slash = if self.kind == StoreKind::Etcd { "" } else { "/" };
        let place = Place { upstream: "web".to_owned(), prefix: format!("{slash}upstreams/web/") };
        let tell = Arc::new(move |event| {
            let _ = sender.send(event);
        });
        let store = Store::new(self.kind, Arc::new(Direct(self.port)), None, place, tell).expect("a store");
        (store, events)
    }

    /// Ends whatever session holds the lock, as if its time were over.
    pub async fn expire(&self) {
        match self.kind {
            StoreKind::Etcd => {
                let body = json!({ "key": STANDARD.encode("weir/rollout/web/lock") }).to_string();
                let (_, body) = self.ask(Method::POST, "/v3/kv/range", body).await.expect("an answer");
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                let body = json!({ "ID": answer["kvs"][0]["lease"] }).to_string();
                let (status, body) =
                    self.ask(Method::POST, "/v3/lease/revoke", body).await.expect("an answer");
                assert_eq!(status, 200, "{body}");
            }
            _ => {
                let (_, body) = self
                    .ask(Method::GET, "/v1/kv/weir/rollout/web/lock", String::new())
                    .await
                    .expect("an answer");
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                let target =
                    format!("/v1/session/destroy/{}", answer[0]["Session"].as_str().expect("a session"));
                let (status, body) = self.ask(Method::PUT, &target, String::new()).await.expect("an answer");
                assert_eq!((status, body.trim()), (200, "true"));
            }
        }
    }
}

fn consul(ports: &[u16], data: &Path) -> Vec<String> {
    vec![
        "agent".to_owned(),
        "-server".to_owned(),
        "-bootstrap-expect=1".to_owned(),
        "-bind=127.0.0.1".to_owned(),
        "-node=test".to_owned(),
        format!("-data-dir={}", data.display()),
        format!("-http-port={}", ports[0]),
        format!("-serf-lan-port={}", ports[1]),
        format!("-serf-wan-port={}", ports[2]),
        format!("-server-port={}", ports[3]),
        format!("-grpc-port={}", ports[4]),
        "-dns-port=-1".to_owned(),
        "-hcl=performance { raft_multiplier = 1 } leave_on_terminate = false".to_owned(),
    ]
}

fn etcd(ports: &[u16], data: &Path) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{}", ports[0]), format!("http://127.0.0.1:{}", ports[1]));
    vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ]
}

pub fn holder(who: &str) -> Holder {
    Holder {
        who: who.to_owned(),
        host: "ci-1".to_owned(),
        pid: 7,
        since: Moment(1),
        version: Some("v2".to_owned()),
    }
}

/// The next event of a kind; others are passed over.
pub async fn event(
    events: &mut UnboundedReceiver<StoreEvent>,
    wanted: impl Fn(&StoreEvent) -> bool,
) -> StoreEvent {
    soon("event of the store", async {
        loop {
            let event = events.recv().await.expect("the store lives");
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}
