//! Paths of somebody else at the registry's address: who may ask there, and what comes through.

mod support;

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;

use support::ask;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_model::{Registry, Secret};
use weir_serve_registry::{Io, Mount, Options, Running, Visitor};

/// Answers with what it read, and with who asked.
struct Echo;

impl Mount for Echo {
    fn paths(&self) -> &[&str] {
        &["/v1/upstreams"]
    }

    fn serve<'a>(
        &'a self,
        mut connection: Box<dyn Io + 'a>,
        visitor: Visitor,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") && !read.ends_with(b"end") {
                let mut bytes = [0; 7];
                let count = connection.read(&mut bytes).await.expect("a request");
                assert!(count > 0, "it ended early");
                read.extend_from_slice(&bytes[..count]);
            }
            let line = String::from_utf8_lossy(&read).lines().next().unwrap_or_default().to_owned();
            let body = format!(
                "{line} of {:?}, vouched: {}, may write: {}",
                visitor.address, visitor.vouched, visitor.may_write
            );
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            connection.write_all(answer.as_bytes()).await.expect("the client reads");
        })
    }
}

struct Mounted {
    address: std::net::SocketAddr,
    _running: Running,
    _folder: TempDir,
}

fn start(change: impl FnOnce(&mut Registry)) -> Mounted {
    let folder = tempfile::tempdir().expect("a folder for the database");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let data = folder.path().to_str().expect("a path in UTF-8").to_owned();
    let mut registry = Registry { data, ..Registry::default() };
    change(&mut registry);
    let options = Options {
        registry,
        node: "node1".to_owned(),
        listeners: vec![listener],
        unix: Vec::new(),
        dns: Vec::new(),
        log: Arc::new(|level, text| eprintln!("{level:?}: {text}")),
        mount: Some(Arc::new(Echo)),
    };
    let running = Running::start(options).expect("the registry starts");
    Mounted { address, _running: running, _folder: folder }
}

#[test]
fn it_gets_its_requests_and_no_others() {
    let registry = start(|_| {});
    let answer = ask(registry.address, "GET", "/v1/upstreams/web?index=1", b"");
    let expected =
        "GET /v1/upstreams/web?index=1 HTTP/1.1 of Some(127.0.0.1), vouched: false, may write: false";
    assert_eq!((answer.status, answer.text().as_str()), (200, expected));
    // A body comes whole, whatever of it was read with the head.
    let answer = ask(registry.address, "PUT", "/v1/upstreams/web/peers/a", b"from begin to end");
    assert!(answer.text().contains("PUT /v1/upstreams/web/peers/a"), "{}", answer.text());
    assert_eq!(ask(registry.address, "GET", "/v1/upstreamsx", b"").status, 404);
    assert_eq!(ask(registry.address, "PUT", "/v1/kv/v1/upstreams", b"x").text(), "true");
    let version = ask(registry.address, "GET", "/v1/weir/version", b"").json();
    assert_eq!(version["Features"], serde_json::json!(["lease", "upstreams"]));
}

#[test]
fn the_tokens_of_the_registry_count() {
    let registry = start(|registry| {
        registry.write_token = Some(Secret("w".to_owned()));
        registry.read_token = Some(Secret("r".to_owned()));
    });
    let asked = |method: &str, path: &str| {
        let answer = ask(registry.address, method, path, b"the end");
        (answer.status, answer.text().contains("may write: true"))
    };
    assert_eq!(asked("GET", "/v1/upstreams/web"), (403, false));
    assert_eq!(asked("GET", "/v1/upstreams/web?token=x"), (403, false));
    assert_eq!(asked("PUT", "/v1/upstreams/web?token=r"), (403, false));
    assert_eq!(asked("DELETE", "/v1/upstreams/web"), (403, false));
    let answer = ask(registry.address, "GET", "/v1/upstreams/web?token=r", b"");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("vouched: true"), "{}", answer.text());
    assert_eq!(asked("PUT", "/v1/upstreams/web?token=w"), (200, true));
}
