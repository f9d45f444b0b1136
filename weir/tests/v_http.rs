//! Answers without a body, bodies that come too slowly or grow too large, upgrades that nobody asked for.

mod common;
mod support;

use common::Server;
use support::upstream::reply;
use support::{Client, Upstream, proxy_to};

const MODERN: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\";";

/// A proxy that hands bodies on while they arrive.
fn streaming(upstream: &Upstream, more: &str) -> Server {
    proxy_to(upstream, &format!("{MODERN} proxy_request_buffering off; {more}"))
}

/// Nothing follows the head, because whatever does is taken for the next answer.
#[test]
fn head_of_a_body_without_a_length() {
    for framing in ["Transfer-Encoding: chunked", "Connection: close"] {
        let upstream = Upstream::new(move |_, stream| {
            reply(stream, format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").as_bytes());
            if framing.starts_with('C') { support::Then::Close } else { support::Then::Keep }
        });
        let server = proxy_to(&upstream, MODERN);
        let mut client = Client::to(&server);
        for _ in 0..2 {
            client.send("HEAD /1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let head = client.head();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
            assert!(head.contains("Connection: keep-alive\r\n"), "{head}");
        }
        client.send("HEAD /2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.head();
        client.expect_end();
    }
}

/// The chunk's size says it: nobody waits for the data.
#[test]
fn a_streamed_body_that_announces_too_much() {
    for buffering in ["on", "off"] {
        let upstream = Upstream::saying("taken");
        let more = format!("{MODERN} client_max_body_size 1m; proxy_request_buffering {buffering};");
        let server = proxy_to(&upstream, &more);
        let mut client = Client::to(&server);
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}4\r\nbody\r\n100000\r\n"));
        assert_eq!(client.answer().status, 413, "buffering {buffering}");
        client.half_close();
        client.expect_end();
        server.wait_for_log("client intended to send too large chunked body: 4+1048576 bytes");
        assert_eq!(upstream.count(), 0);
    }
}

#[test]
fn a_streamed_body_of_the_largest_size_passes() {
    let upstream = Upstream::saying("taken");
    let server = streaming(&upstream, "client_max_body_size 8;");
    let mut client = Client::to(&server);
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}4\r\nbody\r\n4\r\nbody\r\n0\r\n\r\n"));
    assert_eq!(client.answer().text(), "taken");
    assert_eq!(upstream.request().body, b"bodybody");
}

/// It is the client that is late, so the peer is not blamed and `proxy_send_timeout` is not what counts.
#[test]
fn a_streamed_body_that_does_not_come() {
    let upstream = Upstream::saying("taken");
    let server = streaming(&upstream, "client_body_timeout 150ms;");
    let mut client = Client::to(&server);
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nbody");
    assert_eq!(client.answer().status, 408);
    client.half_close();
    client.expect_end();
    server.wait_for_log("client timed out (110: Connection timed out) while reading client request body");
    assert!(!server.site.read("error.log").contains("upstream timed out"));
}

#[test]
fn an_upgrade_that_nobody_asked_for() {
    let upstream = Upstream::raw(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\n",
    );
    let server = proxy_to(&upstream, MODERN);
    assert_eq!(support::get(&server, "/").status, 502);
    server.wait_for_log("upstream sent status 101 for a request without \"Upgrade\"");
}

/// Whoever looks for the cause finds what was sent.
#[test]
fn lines_that_are_none_are_logged() {
    let server = support::serve("server { listen 127.0.0.1:PORT; location / { return 200 x; } }");
    for (sent, status, logged) in [
        ("\r\nG@T /x HTTP/1.1\r\nHost: a\r\n\r\n", "400", "\"G@T /x HTTP/1.1\""),
        ("\x16\x03\x01\x02hello\r\n\r\n", "400", "\"\\x16\\x03\\x01\\x02hello\""),
        ("GET /../../etc/passwd HTTP/1.1\r\n\r\n", "400", "\"GET /../../etc/passwd HTTP/1.1\""),
    ] {
        assert_eq!(support::exchange(&server, sent).status.to_string(), status, "{sent:?}");
        let line = format!("] {logged} {status} ");
        common::until(&line, || server.site.read("access.log").contains(&line).then_some(()));
        server.wait_for_log(&format!("request: {logged}"));
    }
}

/// What a location returns is for the methods that it lets in.
#[test]
fn a_method_that_is_denied_gets_no_return() {
    let server = support::serve(
        "server { listen 127.0.0.1:PORT;
             location / { limit_except GET { deny all; } if ($arg_a) { return 201 if; } return 200 secret; } }",
    );
    let ask = |method: &str, target: &str| {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let mut client = Client::to(&server);
        client.send(request);
        client.answer_to(method).status
    };
    assert_eq!((ask("GET", "/"), ask("HEAD", "/"), ask("GET", "/?a=1")), (200, 200, 201));
    assert_eq!((ask("POST", "/"), ask("DELETE", "/?a=1")), (403, 403));
}

#[test]
fn a_returned_text_shows_its_own_status() {
    let server = support::serve(
        "server { listen 127.0.0.1:PORT; error_page 502 = @named; error_page 503 @kept;
             location /a { return 202 $status; } location /b { return 502; } location /c { return 503; }
             location @named { return 200 $status; } location @kept { return 200 $status; } }",
    );
    let get = |target: &str| {
        let answer = support::get(&server, target);
        (answer.status, answer.text())
    };
    assert_eq!(get("/a"), (202, "202".to_owned()));
    assert_eq!(get("/b"), (200, "200".to_owned()));
    assert_eq!(get("/c"), (503, "503".to_owned()));
}
