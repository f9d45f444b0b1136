//! The client by itself: transports, failover, what is repeated.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::fake::{Act, Fake, answer};
use common::store;
use hyper::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use weir_model::source::ClientTls;
use weir_model::{Endpoint, Store};
use weir_serve_discovery::Connector;
use weir_serve_discovery::client::{Client, ClientError, Reply};

async fn send(client: &Client, method: Method) -> Result<Reply, ClientError> {
    client
        .send(method, "/v1/x", HeaderMap::new(), Bytes::from_static(b"hello"), Duration::from_secs(30))
        .await
}

/// Reads a question with the body `hello`, and answers with the same.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\nhello") {
        question.push(stream.read_u8().await.expect("a question"));
    }
    stream.write_all(&answer("200 OK", Some(1), "hello")).await.expect("answered");
    // The other side closes first.
    let _ = stream.read_u8().await;
}

fn only(endpoint: Endpoint, tls: Option<ClientTls>) -> Store {
    Store { endpoints: vec![endpoint], token: None, tls }
}

#[tokio::test]
async fn the_registry_of_this_process() {
    let connector: Connector = Arc::new(|| {
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(echo(theirs));
        ours
    });
    let embedded = only(Endpoint::Embedded, None);
    let reply = send(&Client::new(&embedded, Some(connector)), Method::PUT).await.expect("an answer");
    assert_eq!((reply.status, &*reply.body), (StatusCode::OK, &b"hello"[..]));
    let error = send(&Client::new(&embedded, None), Method::PUT).await.expect_err("no registry");
    assert_eq!(
        error.to_string(),
        "registry: this process has no registry; add registry { } or name another endpoint"
    );
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move { echo(listener.accept().await.expect("a client").0).await });
    let client = Client::new(&only(Endpoint::Unix(path.to_str().expect("UTF-8").to_owned()), None), None);
    assert_eq!(&*send(&client, Method::POST).await.expect("an answer").body, b"hello");
}

#[tokio::test]
async fn tls_with_a_certificate_that_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let made = rcgen::generate_simple_self_signed(vec!["store.test".to_owned()]).expect("a certificate");
    let (certificate, key) =
        (file("cert.pem", made.cert.pem()), file("key.pem", made.signing_key.serialize_pem()));
    let config = weir_tls::server_config(certificate.as_ref(), key.as_ref()).expect("settings");
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a client");
            let handshake = acceptor.accept(stream);
            tokio::spawn(async move {
                if let Ok(stream) = handshake.await {
                    echo(stream).await;
                }
            });
        }
    });
    let client = |ca: Option<String>, name: &str| {
        let tls = ClientTls { ca, identity: None, server_name: Some(name.to_owned()) };
        Client::new(&only(Endpoint::Host { host: "127.0.0.1".to_owned(), port }, Some(tls)), None)
    };
    let known = client(Some(certificate.clone()), "store.test");
    assert_eq!(&*send(&known, Method::PUT).await.expect("an answer").body, b"hello");
    assert_eq!(known.endpoint(), format!("https://127.0.0.1:{port}"));
    let error = send(&client(Some(certificate), "other.test"), Method::PUT).await.expect_err("another name");
    assert!(matches!(&error, ClientError::Tls { .. }) && !error.sent(), "{error}");
    let error =
        send(&client(Some("/nowhere.pem".to_owned()), "store.test"), Method::PUT).await.expect_err("no file");
    assert!(error.to_string().contains("/nowhere.pem"), "{error}");
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_not_repeated() {
    let (mut first, second) = (Fake::start().await, Fake::start().await);
    let client = Client::new(&store(&[first.port, second.port]), None);
    first.act(Act::SayAndClose(Vec::new()));
    let error = send(&client, Method::PUT).await.expect_err("no answer");
    assert!(error.sent(), "{error}");
    assert_eq!(*second.connections.lock().expect("no panic"), 0);
    assert!(first.question().await.starts_with("PUT "));
    // The next one goes to the other endpoint, and a refusal by it is an answer.
    second.say("500 Internal Server Error", None, "no");
    assert_eq!(send(&client, Method::PUT).await.expect("an answer").status, 500);
}

#[tokio::test]
async fn reading_goes_on_to_the_next_endpoint() {
    let [dead] = common::real::free_ports();
    let (broken, sick, well) = (Fake::start().await, Fake::start().await, Fake::start().await);
    let client = Client::new(&store(&[dead, broken.port, sick.port, well.port]), None);
    broken.act(Act::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()));
    sick.say("503 Service Unavailable", None, "no leader");
    well.say("200 OK", None, "yes");
    let get =
        async || client.send(Method::GET, "/", HeaderMap::new(), Bytes::new(), Duration::from_secs(30)).await;
    assert_eq!(&*get().await.expect("an answer").body, b"yes");
    well.say("200 OK", None, "again");
    assert_eq!(&*get().await.expect("an answer").body, b"again");
    // When all are sick, the last answer is given.
    let client = Client::new(&store(&[dead, sick.port]), None);
    sick.say("503 Service Unavailable", None, "no leader");
    let reply = client.send(Method::GET, "/", HeaderMap::new(), Bytes::new(), Duration::from_secs(30)).await;
    assert_eq!(&*reply.expect("an answer").body, b"no leader");
    let client = Client::new(&store(&[dead]), None);
    let error = send(&client, Method::GET).await.expect_err("nobody is there");
    assert!(error.to_string().contains("cannot connect: Connection refused") && !error.sent(), "{error}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_no_failure() {
    let mut fake = Fake::start().await;
    let client = Client::new(&store(&[fake.port]), None);
    for n in 0..5 {
        fake.act(Act::SayAndClose(answer("200 OK", None, "yes")));
        assert_eq!(&*send(&client, Method::GET).await.expect("an answer").body, b"yes", "{n}");
        fake.question().await;
    }
}
