//! Upstreams that misbehave: 502, or an answer that is visibly cut off; the reason in the error log; the connection
//! not used again.

mod common;
mod support;

use common::{Server, text};
use support::upstream::reply;
use support::{Client, Then, Upstream, get, serve};

/// A server that would keep connections to its upstream if the upstream let it.
fn keeping(upstream: &Upstream, more: &str) -> Server {
    serve(&format!(
        "upstream bad {{ server {}; keepalive 4; }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 proxy_pass http://bad;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 {more}
             }}
         }}",
        upstream.address()
    ))
}

/// Answers `/bad` with these bytes and anything else properly; the connection stays open.
fn faulty(bytes: Vec<u8>) -> Upstream {
    Upstream::new(move |request, stream| {
        if request.target == "/bad" {
            reply(stream, &bytes)
        } else {
            reply(stream, &support::upstream::ok("fine"))
        }
    })
}

/// The same, but the connection ends behind the bytes.
fn faulty_and_gone(bytes: Vec<u8>) -> Upstream {
    Upstream::new(move |request, stream| {
        if request.target == "/bad" {
            reply(stream, &bytes);
            return Then::Close;
        }
        reply(stream, &support::upstream::ok("fine"))
    })
}

/// The good requests around a bad one: the connection of the bad one does not come back.
fn assert_not_reused(server: &Server, upstream: &Upstream) {
    assert_eq!(get(server, "/good").text(), "fine");
    let requests = upstream.requests();
    let bad = requests.iter().rfind(|request| request.target == "/bad").expect("it was asked").connection;
    let good = requests.last().expect("it was asked");
    assert_eq!(good.target, "/good");
    assert_ne!(good.connection, bad, "a connection that misbehaved is not used again");
}

fn assert_logged(server: &Server, reason: &str) {
    server.wait_for_log(reason);
    let log = server.site.read("error.log");
    let line = log.lines().find(|line| line.contains(reason)).expect("it was waited for");
    assert!(line.contains("upstream: \"http://"), "the line names the upstream: {line}");
    assert!(line.contains("request: \"GET /bad HTTP/1.1\""), "the line names the request: {line}");
}

#[test]
fn heads_that_are_none() {
    for (name, bytes, reason) in [
        ("binary", b"\x00\x01\x02\x03\xff\xfe\r\n\r\n".to_vec(), "upstream sent no valid HTTP/1.0 header"),
        ("text", b"hello, this is no HTTP\r\n\r\n".to_vec(), "upstream sent no valid HTTP/1.0 header"),
        ("no status", b"HTTP/1.1 \r\n\r\n".to_vec(), "upstream sent no valid HTTP/1.0 header"),
        (
            "NUL in a line",
            b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n".to_vec(),
            "upstream sent invalid header: ",
        ),
        (
            "space before the colon",
            b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n".to_vec(),
            "upstream sent invalid header: ",
        ),
        (
            "two lengths",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
            "upstream sent duplicate header line: \"Content-Length: 2\", previous value: \"Content-Length: 1\"",
        ),
        (
            "a length that is none",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\na".to_vec(),
            "upstream sent invalid \"Content-Length\" header: \"",
        ),
        (
            "length and chunks",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            "upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time",
        ),
        (
            "unknown coding",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: squeezed\r\n\r\n".to_vec(),
            "upstream sent unknown \"Transfer-Encoding\": \"squeezed\"",
        ),
    ] {
        let upstream = faulty(bytes);
        let server = keeping(&upstream, "proxy_next_upstream off;");
        let answer = get(&server, "/bad");
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert_logged(&server, reason);
        assert_not_reused(&server, &upstream);
        assert!(server.site.read("access.log").contains("\"GET /bad HTTP/1.1\" 502 "), "{name}");
    }
}

#[test]
fn a_head_that_is_too_large() {
    let head = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(10_000));
    let upstream = faulty(head.into_bytes());
    let server = keeping(&upstream, "proxy_buffer_size 4k; proxy_next_upstream off;");
    assert_eq!(get(&server, "/bad").status, 502);
    assert_logged(&server, "upstream sent too big header");
    assert_not_reused(&server, &upstream);
}

#[test]
fn a_head_that_never_ends() {
    let upstream = Upstream::new(|_, stream| {
        reply(stream, b"HTTP/1.1 200 OK\r\n");
        while reply(stream, b"X-A: more\r\n") == Then::Keep {}
        Then::Close
    });
    let server = keeping(&upstream, "proxy_next_upstream off;");
    assert_eq!(get(&server, "/bad").status, 502);
    assert_logged(&server, "upstream sent too big header");
}

#[test]
fn an_early_end() {
    let closed = "upstream prematurely closed connection while reading response header from upstream";
    for bytes in [&b""[..], b"HTT", b"HTTP/1.1 200 OK\r\nContent-Le"] {
        let upstream = faulty_and_gone(bytes.to_vec());
        let server = keeping(&upstream, "proxy_next_upstream off;");
        assert_eq!(get(&server, "/bad").status, 502, "{bytes:?}");
        assert_logged(&server, closed);
        assert_eq!(get(&server, "/good").text(), "fine");
    }
}

/// The head has gone to the client, so what is missing must show: fewer bytes than announced, no last chunk.
#[test]
fn an_early_end_of_a_body() {
    for buffering in ["on", "off"] {
        for (name, head, body) in [
            ("length", "Content-Length: 10\r\n", "12345"),
            ("chunks", "Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n"),
            ("inside a chunk", "Transfer-Encoding: chunked\r\n", "8\r\n12345"),
        ] {
            let upstream = faulty_and_gone(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes());
            let server = keeping(&upstream, &format!("proxy_buffering {buffering};"));
            let mut client = Client::to(&server);
            client.send("GET /bad HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = client.answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "12345"), "{name}, {buffering}");
            assert!(!answer.complete, "{name}, {buffering}: the client sees that it is cut off");
            client.expect_end();
            assert_logged(&server, "upstream prematurely closed connection while reading upstream");
            assert_not_reused(&server, &upstream);
        }
    }
}

#[test]
fn bad_chunks() {
    for body in ["zz\r\nabc\r\n0\r\n\r\n", "5\r\n12345678\r\n0\r\n\r\n", "ffffffffffffffffff\r\n"] {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let upstream = faulty(format!("{head}{body}").into_bytes());
        let server = keeping(&upstream, "");
        let mut client = Client::to(&server);
        client.send("GET /bad HTTP/1.1\r\nHost: localhost\r\n\r\n");
        // Whether the head had left before the fault was seen is up to the network.
        let answer = text(&client.rest());
        let refused = answer.starts_with("HTTP/1.1 502 ");
        assert!(refused || !answer.contains("0\r\n\r\n"), "{body:?} looks complete: {answer:?}");
        assert_logged(&server, "upstream sent invalid chunked response");
        assert_not_reused(&server, &upstream);
    }
}

/// Bytes behind an answer could be taken for the next answer: the client gets its own, and nobody the rest.
#[test]
fn more_than_was_announced() {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for first in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
    ] {
        for buffering in ["on", "off"] {
            let upstream = faulty(format!("{first}{second}").into_bytes());
            let server = keeping(&upstream, &format!("proxy_buffering {buffering};"));
            let mut client = Client::to(&server);
            client.send("GET /bad HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = client.answer();
            assert!(answer.complete, "{answer:?}");
            assert!(matches!(answer.text().as_str(), "fine" | ""), "{answer:?}");
            client.send("GET /good HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(client.answer().text(), "fine");
            assert_not_reused(&server, &upstream);
        }
    }
}

/// An answer to HEAD has no body, whatever follows its head.
#[test]
fn a_body_behind_an_answer_to_head() {
    let upstream = Upstream::new(|_, stream| reply(stream, &support::upstream::ok("fine")));
    let server = keeping(&upstream, "");
    let mut client = Client::to(&server);
    client.send("HEAD /bad HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer_to("HEAD");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
    client.send("GET /good HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "fine");
    assert_not_reused(&server, &upstream);
}

#[test]
fn nobody_listens() {
    let mut upstream = Upstream::saying("fine");
    let server = keeping(&upstream, "");
    upstream.stop();
    assert_eq!(get(&server, "/bad").status, 502);
    assert_logged(&server, "connect() failed (111: Connection refused) while connecting to upstream");
}

#[test]
fn an_upstream_that_says_nothing() {
    let upstream = Upstream::new(|_, stream| {
        // Ends when the proxy gives up.
        let _ = std::io::Read::read(stream, &mut [0]);
        Then::Close
    });
    let server = keeping(&upstream, "proxy_read_timeout 200ms; proxy_next_upstream off;");
    assert_eq!(get(&server, "/bad").status, 504);
    assert_logged(
        &server,
        "upstream timed out (110: Connection timed out) while reading response header from upstream",
    );
}

/// A peer that misbehaves is left for the next one, as `proxy_next_upstream` says.
#[test]
fn another_peer_is_asked() {
    for bytes in [&b"garbage\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nbroken \0\r\n\r\n"] {
        let bad = Upstream::raw(bytes);
        let good = Upstream::saying("fine");
        let server = serve(&format!(
            "upstream two {{ server {} max_fails=0; server {} max_fails=0; }}
             server {{
                 listen 127.0.0.1:PORT;
                 location / {{
                     proxy_pass http://two;
                     proxy_next_upstream error timeout invalid_header;
                 }}
             }}",
            bad.address(),
            good.address()
        ));
        for _ in 0..6 {
            assert_eq!(get(&server, "/bad").text(), "fine", "{bytes:?}");
        }
        assert!(bad.connections() > 0, "the bad one was tried");
    }
}
