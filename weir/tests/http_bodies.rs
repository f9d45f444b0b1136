//! Bodies in both directions: every framing, whole and in order, with bounded memory.

mod common;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use common::{Server, text, until};
use support::random::pattern;
use support::upstream::{ok, reply};
use support::{Client, Then, Upstream, exchange, proxy_to, serve};

/// Answers with the number of body bytes and remembers the body.
fn counting() -> Upstream {
    Upstream::new(|request, stream| reply(stream, &ok(&format!("{} bytes", request.body.len()))))
}

/// `proxy_pass` with HTTP/1.1 and no Connection header.
const MODERN: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\"; client_max_body_size 100m;";

fn modern(upstream: &Upstream, more: &str) -> Server {
    proxy_to(upstream, &format!("{MODERN} {more}"))
}

fn upload(length: usize) -> Vec<u8> {
    let body = pattern(length);
    let head = format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    [head.into_bytes(), body].concat()
}

/// The same body in chunks of growing sizes.
fn chunked_upload(length: usize) -> Vec<u8> {
    let body = pattern(length);
    let mut bytes = b"POST /up HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(in_chunks(&body));
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest, mut size) = (Vec::new(), body, 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        bytes.extend(format!("{:x};name=value\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
        (rest, size) = (after, size * 3);
    }
    bytes
}

#[test]
fn uploads_arrive_whole() {
    for buffering in ["on", "off"] {
        let upstream = counting();
        let server = modern(&upstream, &format!("proxy_request_buffering {buffering};"));
        let mut client = Client::to(&server);
        for length in [0, 1, 1000, 20_000, 300_000, 3_000_000] {
            for (kind, bytes) in [("length", upload(length)), ("chunks", chunked_upload(length))] {
                client.send(bytes);
                let answer = client.answer();
                assert_eq!(answer.text(), format!("{length} bytes"), "{kind}, buffering {buffering}");
                let request = upstream.requests().pop().expect("it was asked");
                assert!(request.body == pattern(length), "{kind} of {length} bytes, buffering {buffering}");
                let framing = (request.header("content-length"), request.header("transfer-encoding"));
                let known = (Some(length.to_string()), None);
                let framing = (framing.0.map(str::to_owned), framing.1.map(str::to_owned));
                match (kind, buffering) {
                    // What came whole with its head has a length.
                    ("chunks", "off") if length > 20_000 => {
                        assert_eq!(framing, (None, Some("chunked".to_owned())))
                    }
                    ("chunks", "off") if framing != known => {
                        assert_eq!(framing, (None, Some("chunked".to_owned())))
                    }
                    _ => assert_eq!(framing, known),
                }
            }
        }
        assert!(!server.site.read("error.log").contains("[error]"), "{}", server.site.read("error.log"));
    }
}

#[test]
fn a_large_upload_goes_to_a_file() {
    let upstream = counting();
    let server = modern(&upstream, "client_body_buffer_size 8k;");
    let mut client = Client::to(&server);
    client.send(upload(5_000_000));
    assert_eq!(client.answer().text(), "5000000 bytes");
    assert!(upstream.request().body == pattern(5_000_000));
    server.wait_for_log("a client request body is buffered to a temporary file ");
    until("the temporary file is gone", || files_below(&server, "body").is_empty().then_some(()));
    assert!(peak_megabytes(&server) < 100);
}

fn files_below(server: &Server, folder: &str) -> Vec<String> {
    std::fs::read_dir(server.site.file(folder))
        .expect("the folder was made")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect()
}

/// The most memory that the worker ever had.
fn peak_megabytes(server: &Server) -> usize {
    let path = format!("/proc/{}/status", server.worker());
    let status = std::fs::read_to_string(path).expect("the worker lives");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") / 1024
}

/// The upstream reads the first half while the client still has the second one.
#[test]
fn a_streamed_upload_does_not_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("bound");
    let server = serve(&format!(
        "server {{ listen 127.0.0.1:PORT;
             location / {{ proxy_pass http://{address}; proxy_request_buffering off; {MODERN} }} }}"
    ));
    let mut client = Client::to(&server);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst");
    let (mut stream, _) = listener.accept().expect("the upstream is asked");
    assert!(read_until(&mut stream, "first").contains("Content-Length: 10\r\n"));
    client.send("other");
    read_until(&mut stream, "other");
    stream.write_all(&ok("both")).expect("answer");
    assert_eq!(client.answer().text(), "both");
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).expect("the proxy sends");
        assert!(count > 0, "it ended at {:?}", text(&bytes));
        bytes.extend(&piece[..count]);
    }
    text(&bytes)
}

/// With `proxy_buffering off` each piece of an answer is on its way when it was received.
#[test]
fn a_streamed_answer_does_not_wait() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::new(move |_, stream| {
        reply(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        wait.lock().expect("one at a time").recv().expect("the test goes on");
        reply(stream, b"other")
    });
    let server = modern(&upstream, "proxy_buffering off;");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.take(5), b"first");
    go_on.send(()).expect("the upstream waits");
    assert_eq!(client.take(5), b"other");
}

#[test]
fn answers_arrive_whole() {
    for buffering in ["on", "off"] {
        let upstream = Upstream::new(|request, stream| {
            let (kind, length) = request.target[1..].split_once('/').expect("kind and length");
            let body = pattern(length.parse().expect("a length"));
            let head = match kind {
                "length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
                "chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
            };
            reply(stream, head.as_bytes());
            match kind {
                "chunks" => reply(stream, &[in_chunks(&body), b"0\r\n\r\n".to_vec()].concat()),
                "close" => {
                    reply(stream, &body);
                    Then::Close
                }
                _ => reply(stream, &body),
            }
        });
        let server = modern(&upstream, &format!("proxy_buffering {buffering};"));
        let mut client = Client::to(&server);
        for length in [0, 1, 1000, 20_000, 300_000, 3_000_000] {
            for kind in ["length", "chunks", "close"] {
                client.send(format!("GET /{kind}/{length} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                let answer = client.answer();
                assert!(answer.body == pattern(length), "{kind} of {length} bytes, buffering {buffering}");
                let framing = (answer.header("content-length"), answer.header("transfer-encoding"));
                match kind {
                    "length" => assert_eq!(framing, (Some(length.to_string().as_str()), None)),
                    _ => assert_eq!(framing, (None, Some("chunked"))),
                }
                assert!(answer.complete);
                // An older client gets the same bytes, and the end of the connection behind them.
                let old =
                    exchange(&server, &format!("GET /{kind}/{length} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
                assert!(old.body == pattern(length), "{kind} of {length} bytes for HTTP/1.0");
                assert_eq!(old.header("transfer-encoding"), None);
            }
        }
    }
}

/// The upstream is fast, the client is slow: what lies between is bounded, in memory and in a file.
#[test]
fn a_slow_reader_costs_no_memory() {
    const LENGTH: usize = 48 << 20;
    for more in ["proxy_max_temp_file_size 0;", "proxy_buffering off;", "proxy_max_temp_file_size 1024m;"] {
        let upstream = Upstream::new(|_, stream| {
            reply(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes());
            reply(stream, &pattern(LENGTH))
        });
        let server = modern(&upstream, more);
        let mut client = Client::to(&server);
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.head();
        let expected = pattern(LENGTH);
        let mut at = 0;
        while at < LENGTH {
            let piece = client.take(8192.min(LENGTH - at));
            assert!(piece == expected[at..at + piece.len()], "{more} the bytes at {at}");
            at += piece.len();
        }
        let peak = peak_megabytes(&server);
        assert!(peak < 40, "{more} the worker had {peak} MB for an answer of {} MB", LENGTH >> 20);
        until("the temporary file is gone", || files_below(&server, "proxy").is_empty().then_some(()));
    }
}

/// The client takes nothing before a part of the answer is in a file; then all of it has to come in order.
#[test]
fn an_answer_that_went_through_a_file_is_in_order() {
    const LENGTH: usize = 24 << 20;
    let upstream = Upstream::new(|request, stream| {
        let body = pattern(LENGTH);
        let (head, end) = match request.target.as_str() {
            "/length" => (format!("Content-Length: {LENGTH}"), Then::Keep),
            "/chunks" => ("Transfer-Encoding: chunked".to_owned(), Then::Keep),
            _ => ("Connection: close".to_owned(), Then::Close),
        };
        reply(stream, format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes());
        match request.target.as_str() {
            "/chunks" => reply(stream, &[in_chunks(&body), b"0\r\n\r\n".to_vec()].concat()),
            _ => reply(stream, &body),
        };
        end
    });
    for kind in ["length", "chunks", "close"] {
        for version in ["1.1", "1.0"] {
            let server = modern(&upstream, "");
            let mut client = Client::to(&server);
            client.send(format!("GET /{kind} HTTP/{version}\r\nHost: localhost\r\n\r\n"));
            server.wait_for_log("an upstream response is buffered to a temporary file ");
            let answer = client.answer();
            assert_eq!(answer.body.len(), LENGTH, "{kind} for HTTP/{version}");
            assert!(answer.complete);
            assert!(answer.body == pattern(LENGTH), "{kind} for HTTP/{version}: bytes out of order");
        }
    }
}

#[test]
fn trailers_are_passed_when_asked_for() {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nfine\r\n0\r\nX-Sum: 42\r\n\r\n";
    let upstream = Upstream::new(move |_, stream| reply(stream, bytes.as_bytes()));
    let server = modern(&upstream, "proxy_pass_trailers on;");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.text(), "fine");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    let server = modern(&upstream, "");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!(client.answer().trailers, []);
}

#[test]
fn an_expectation_is_met_before_the_body() {
    let upstream = counting();
    for buffering in ["on", "off"] {
        let server = modern(&upstream, &format!("proxy_request_buffering {buffering};"));
        let mut client = Client::to(&server);
        client
            .send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_eq!(client.answer().line, "HTTP/1.1 100 Continue");
        client.send("body");
        assert_eq!(client.answer().text(), "4 bytes");
        let request = upstream.requests().pop().expect("it was asked");
        assert_eq!((request.header("expect"), text(&request.body)), (None, "body".to_owned()));
    }
}

#[test]
fn nobody_is_invited_to_send_too_much() {
    let upstream = counting();
    let server = proxy_to(&upstream, "client_max_body_size 1k;");
    let mut client = Client::to(&server);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4000\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 413, "{answer:?}");
    client.expect_end();
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn head_has_no_body() {
    let upstream = Upstream::new(|request, stream| {
        let body = if request.method == "HEAD" { "" } else { "fine" };
        reply(stream, format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}").as_bytes())
    });
    let server = modern(&upstream, "");
    let mut client = Client::to(&server);
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.answer_to("HEAD");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().text(), "fine");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::new(|request, stream| {
        reply(stream, &ok(&format!("{} {}", request.target, text(&request.body))))
    });
    let server = modern(&upstream, "");
    let mut client = Client::to(&server);
    let mut bytes = String::new();
    for n in 0..60 {
        bytes += &match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"),
            _ => format!(
                "POST /{n} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
            ),
        };
    }
    client.send(bytes);
    for n in 0..60 {
        let body = if n % 3 == 0 { "" } else { "body" };
        assert_eq!(client.answer().text(), format!("/{n} {body}"));
    }
}

/// A body that nobody reads must not be taken for the next request.
#[test]
fn a_body_that_is_not_wanted_is_skipped() {
    let server = serve("server { listen 127.0.0.1:PORT; location / { return 200 $request_uri; } }");
    let inner = "GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = Client::to(&server);
    client.send(format!(
        "POST /1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));
    client.send("GET /2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "/1");
    assert_eq!(client.answer().text(), "/2");
}

#[test]
fn old_clients_may_keep_their_connection() {
    let server = serve("server { listen 127.0.0.1:PORT; return 200 fine; }");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.answer().header("connection"), Some("keep-alive"));
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().header("connection"), Some("close"));
    client.expect_end();
}

#[test]
fn connections_end_after_so_many_requests() {
    let server =
        serve("keepalive_requests 3; server { listen 127.0.0.1:PORT; return 200 $connection_requests; }");
    let mut client = Client::to(&server);
    for (number, connection) in [("1", "keep-alive"), ("2", "keep-alive"), ("3", "close")] {
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.text().as_str(), answer.header("connection")), (number, Some(connection)));
    }
    client.expect_end();
}

#[test]
fn an_idle_connection_is_closed() {
    let server = serve("keepalive_timeout 200ms; server { listen 127.0.0.1:PORT; return 200 fine; }");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "fine");
    client.expect_end();
}

/// A target with a host is the same request as one with the path, and its host wins.
#[test]
fn absolute_targets() {
    let upstream =
        Upstream::new(|request, stream| reply(stream, &ok(request.header("host").unwrap_or_default())));
    let server = proxy_to(&upstream, "proxy_set_header Host $host;");
    let request = "GET http://Example.COM:8080/a?b HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(&server, request).text(), "example.com");
    assert_eq!(upstream.request().target, "/a?b");
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let (told, gone) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let upstream = Upstream::new(move |_, stream| {
        // The proxy closes its connection when nobody waits for the answer.
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "nothing more is sent");
        told.lock().expect("one at a time").send(()).expect("the test waits");
        Then::Close
    });
    let server = modern(&upstream, "");
    let mut client = Client::to(&server);
    client.send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the upstream is asked", || (upstream.count() == 1).then_some(()));
    drop(client);
    gone.recv_timeout(std::time::Duration::from_secs(20)).expect("the upstream's connection ends");
    until("its line", || {
        server.site.read("access.log").contains("\"GET /left HTTP/1.1\" 499 0 ").then_some(())
    });
}

/// `proxy_ignore_client_abort on` lets the upstream finish.
#[test]
fn a_client_that_leaves_is_ignored_when_told_so() {
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::new(move |_, stream| {
        wait.lock().expect("one at a time").recv().expect("the test goes on");
        reply(stream, &ok("late"))
    });
    let server = modern(&upstream, "proxy_ignore_client_abort on;");
    let mut client = Client::to(&server);
    client.send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("the upstream is asked", || (upstream.count() == 1).then_some(()));
    drop(client);
    go_on.send(()).expect("the upstream waits");
    until("its line", || {
        server.site.read("access.log").contains("\"GET /left HTTP/1.1\" 200 ").then_some(())
    });
}
