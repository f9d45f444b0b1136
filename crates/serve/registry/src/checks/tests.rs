use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_registry::Status;

use super::probe::{OUTPUT_LIMIT, Target, Verdict, probe};
use super::{grpc, http};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

/// A server whose every connection is given to `answer`; its address.
async fn server<F, R>(answer: F) -> String
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// A server that answers each request with these bytes and closes.
async fn fixed(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    server(move |mut stream| {
        let answer = answer.clone();
        async move {
            head(&mut stream).await;
            // A client that has enough closes before the end.
            drop(stream.write_all(&answer).await);
        }
    })
    .await
}

fn ask(url: impl Into<String>) -> http::Ask {
    http::Ask {
        url: url.into(),
        method: String::new(),
        header: BTreeMap::new(),
        body: String::new(),
        skip_verify: false,
    }
}

async fn get(address: &str) -> Verdict {
    probe(&Target::Http(ask(format!("http://{address}/up"))), LONG).await
}

#[tokio::test]
async fn the_status_code_decides() {
    for (line, status) in [
        ("200 OK", Status::Passing),
        ("204 No Content", Status::Passing),
        ("299 Whatever", Status::Passing),
        ("429 Too Many Requests", Status::Warning),
        ("404 Not Found", Status::Critical),
        ("503 Service Unavailable", Status::Critical),
    ] {
        let address = fixed(format!("HTTP/1.1 {line}\r\nConnection: close\r\n\r\nhello\n")).await;
        let text = if line.starts_with("204") { "" } else { "hello\n" };
        let output = format!("HTTP GET http://{address}/up: {line} Output: {text}");
        assert_eq!(get(&address).await, Verdict { status, output });
    }
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let address = fixed("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n").await;
    let output =
        format!("HTTP GET http://{address}/up: 302 Found (redirect to /login, not followed) Output: ");
    assert_eq!(get(&address).await, Verdict { status: Status::Critical, output });
}

#[tokio::test]
async fn the_request_is_as_the_definition_says() {
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let address = server(move |mut stream| {
        let seen = seen.clone();
        async move {
            let head = head(&mut stream).await;
            let mut body = [0; 4];
            stream.read_exact(&mut body).await.expect("the body");
            seen.send((head, body)).expect("the test waits");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await
                .expect("the client reads");
        }
    })
    .await;
    let mut ask = ask(format!("http://{address}/a%20b?c=d"));
    ask.method = "POST".to_owned();
    ask.body = "ping".to_owned();
    ask.header = [("X-Two", ["1", "2"].as_slice()), ("Host", &["web.example"])]
        .map(|(name, values)| (name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
        .into();
    let verdict = probe(&Target::Http(ask), LONG).await;
    assert_eq!(verdict.status, Status::Passing, "{}", verdict.output);
    let (head, body) = requests.recv().await.expect("a request");
    assert_eq!(&body, b"ping");
    assert!(head.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{head}");
    for line in ["Host: web.example", "X-Two: 1", "X-Two: 2", "Connection: close", "Content-Length: 4"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is not in {head}");
    }
    assert_eq!(head.matches("Host:").count(), 1);
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit() {
    let address = server(|mut stream| async move {
        head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let verdict = get(&address).await;
    assert_eq!(verdict.status, Status::Passing);
    let body = verdict.output.split_once("Output: ").map(|(_, body)| body);
    assert_eq!(body, Some("x".repeat(OUTPUT_LIMIT).as_str()));
}

#[tokio::test]
async fn a_body_that_drips_does_not_hold_the_check() {
    let address = server(|mut stream| async move {
        head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nslow").await);
        std::future::pending::<()>().await;
    })
    .await;
    let verdict = probe(&Target::Http(ask(format!("http://{address}/"))), SHORT).await;
    assert_eq!(verdict.status, Status::Passing, "the head came in time: {}", verdict.output);
}

#[tokio::test]
async fn a_hanging_endpoint_is_critical_after_the_timeout() {
    let address = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let verdict = probe(&Target::Http(ask(format!("http://{address}/"))), SHORT).await;
    assert_eq!(verdict, Verdict::critical(format!("Get \"http://{address}/\": no answer within 300ms")));
}

#[tokio::test]
async fn an_endless_head_is_critical() {
    let address = server(|mut stream| async move {
        head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n").await);
        while stream.write_all(b"X-More: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n").await.is_ok()
        {
        }
    })
    .await;
    let verdict = get(&address).await;
    assert_eq!(verdict.status, Status::Critical);
    assert!(verdict.output.contains("no HTTP answer"), "{}", verdict.output);
}

#[tokio::test]
async fn what_cannot_be_asked_is_critical_with_the_reason() {
    let garbage = fixed("nonsense\r\n\r\n").await;
    assert!(get(&garbage).await.output.contains("no HTTP answer"));
    for (url, reason) in [
        ("not a url", "the URL cannot be read"),
        ("/path", "unsupported protocol scheme \"\""),
        ("ftp://a/", "unsupported protocol scheme \"ftp\""),
        ("http://user:word@127.0.0.1:1/", "give an Authorization header instead"),
        ("http://127.0.0.1:1/", "dial tcp 127.0.0.1:1: connect: connection refused"),
    ] {
        let verdict = probe(&Target::Http(ask(url)), LONG).await;
        assert_eq!(verdict.status, Status::Critical);
        assert!(verdict.output.contains(reason), "{url}: {}", verdict.output);
        assert!(verdict.output.starts_with(&format!("Get {url:?}: ")), "{}", verdict.output);
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let address = server(|_| async {}).await;
    let verdict = probe(&Target::Tcp(address.clone()), LONG).await;
    assert_eq!(verdict, Verdict::passing(format!("TCP connect {address}: Success")));
    let port = address.rsplit_once(':').expect("a port").1;
    let named = probe(&Target::Tcp(format!("localhost:{port}")), LONG).await;
    assert_eq!(named.status, Status::Passing, "one address of the name after the other: {}", named.output);
    let refused = probe(&Target::Tcp("127.0.0.1:1".to_owned()), LONG).await;
    assert_eq!(refused, Verdict::critical("dial tcp 127.0.0.1:1: connect: connection refused"));
    for wrong in ["127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", ""] {
        let verdict = probe(&Target::Tcp(wrong.to_owned()), LONG).await;
        let output = format!("dial tcp: address {wrong}: missing port in address; expected host:port");
        assert_eq!(verdict, Verdict::critical(output));
    }
}

#[tokio::test]
async fn https_knows_the_server_unless_it_is_told_not_to_care() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("it is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
    let acceptor = tokio_rustls::TlsAcceptor::from(weir_tls::server_config(&cert, &key).expect("a server"));
    let address = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not trust it ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            drop(stream.read(&mut [0; 1024]).await);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")
                .await
                .expect("the client reads");
        }
    })
    .await;
    let mut ask = ask(format!("https://{address}/"));
    let strict = probe(&Target::Http(ask.clone()), LONG).await;
    assert_eq!(strict.status, Status::Critical);
    assert!(strict.output.contains("TLS: invalid peer certificate"), "{}", strict.output);
    ask.skip_verify = true;
    let output = format!("HTTP GET https://{address}/: 200 OK Output: up");
    assert_eq!(probe(&Target::Http(ask), LONG).await, Verdict::passing(output));
}

/// A gRPC server that gives these bytes and this status, to the service `known` alone.
async fn health_server(message: &'static [u8], status: &'static str) -> String {
    server(move |stream| async move {
        let service = service_fn(move |request: Request<Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let asked = request.into_body().collect().await.expect("a body").to_bytes();
            let known: &[u8] = &[0, 0, 0, 0, 7, 0x0a, 5, b'k', b'n', b'o', b'w', b'n'];
            let status = if asked == known { status } else { "5" };
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse().expect("a number"));
            trailers.insert("grpc-message", "as told".parse().expect("ASCII"));
            let body = Full::new(Bytes::from_static(message)).with_trailers(async { Some(Ok(trailers)) });
            Ok::<_, std::convert::Infallible>(Response::new(body))
        });
        // The client ends the connection as it likes.
        drop(
            hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await,
        );
    })
    .await
}

async fn rpc(address: &str, service: &str) -> Verdict {
    probe(&Target::Grpc(grpc::Ask::parse(&format!("{address}/{service}"), false, false)), LONG).await
}

#[tokio::test]
async fn a_grpc_server_says_whether_it_serves() {
    let serving = health_server(&[0, 0, 0, 0, 2, 0x08, 1], "0").await;
    assert_eq!(
        rpc(&serving, "known").await,
        Verdict::passing(format!("gRPC check {serving}/known: success"))
    );
    let unknown = rpc(&serving, "other").await;
    assert_eq!(unknown, Verdict::critical("rpc error: code = NotFound desc = as told"));
    let not_serving = health_server(&[0, 0, 0, 0, 2, 0x08, 2], "0").await;
    let unhealthy = Verdict::critical("gRPC application didn't report service healthy");
    assert_eq!(rpc(&not_serving, "known").await, unhealthy);
    let none = rpc("127.0.0.1:1", "known").await;
    let reason = "rpc error: code = Unavailable desc = dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(none, Verdict::critical(reason));
    let other = fixed("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let spoken = rpc(&other, "known").await;
    assert!(spoken.output.starts_with("rpc error: code = Unavailable desc = "), "{}", spoken.output);
}

#[tokio::test]
async fn a_grpc_server_that_hangs_is_bounded() {
    let address = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let start = Instant::now();
    let verdict = probe(&Target::Grpc(grpc::Ask::parse(&address, false, false)), SHORT).await;
    assert!(verdict.output.starts_with("rpc error: code = DeadlineExceeded"), "{}", verdict.output);
    assert!(start.elapsed() >= SHORT);
}
