//! WebSockets: bytes both ways as they come, through reloads, until either end leaves.

mod common;
mod support;

use common::{Server, until};
use support::random::pattern;
use support::websocket::{HANDSHAKE, assert_echo, echo, open};
use support::{Client, Upstream, serve};
use weir_net::Signal;

fn proxy(upstream: &Upstream, more: &str) -> Server {
    serve(&configuration(upstream, more))
}

fn configuration(upstream: &Upstream, more: &str) -> String {
    format!(
        "map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 proxy_pass http://{};
                 proxy_http_version 1.1;
                 proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection $connection_upgrade;
                 {more}
             }}
         }}",
        upstream.address()
    )
}

#[test]
fn bytes_both_ways() {
    let upstream = echo();
    let server = proxy(&upstream, "");
    let mut socket = open(server.site.port);
    let request = upstream.request();
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    for length in [1, 2, 1000, 70_000, 1_000_000] {
        assert_echo(&mut socket, &pattern(length));
    }
}

/// What the client sends right behind its request belongs to the new protocol.
#[test]
fn the_first_bytes_come_with_the_request() {
    let upstream = Upstream::new(|_, stream| {
        use std::io::Write;
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        let _ = stream.write_all(head.as_bytes());
        support::Then::Close
    });
    let server = proxy(&upstream, "");
    let mut client = Client::to(&server);
    client.send(HANDSHAKE);
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.rest(), b"hello", "what came with the answer is passed on, and then the end");
}

#[test]
fn a_refused_upgrade_is_an_answer() {
    let upstream = Upstream::saying("no sockets here");
    let server = proxy(&upstream, "");
    let mut client = Client::to(&server);
    client.send(HANDSHAKE);
    assert_eq!(client.answer().text(), "no sockets here");
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().text(), "no sockets here", "the connection is still one for HTTP");
}

/// Without `proxy_set_header Upgrade` nothing is switched: the header is hop by hop.
#[test]
fn nobody_is_upgraded_unasked() {
    let upstream = echo();
    let server = support::proxy_to(&upstream, "");
    let mut client = Client::to(&server);
    client.send(HANDSHAKE);
    assert_eq!(client.answer().status, 426);
    assert_eq!(upstream.request().header("upgrade"), None);
}

#[test]
fn reloads_do_not_matter() {
    let upstream = echo();
    let server = proxy(&upstream, "");
    let mut sockets: Vec<Client> = (0..20).map(|_| open(server.site.port)).collect();
    for turn in 0..3 {
        let word = format!("location = /turn {{ return 200 'turn {turn}'; }}");
        let http = configuration(&upstream, "").replace("location / {", &format!("{word} location / {{"));
        server.site.write(&support::conf(&http));
        server.signal(Signal::Hup);
        until("the new configuration", || {
            (support::get(&server, "/turn").text() == format!("turn {turn}")).then_some(())
        });
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_echo(socket, format!("socket {number} after reload {turn}").as_bytes());
        }
    }
    assert_eq!(upstream.requests().iter().filter(|request| request.target == "/ws").count(), 20);
}

#[test]
fn the_client_leaves() {
    let upstream = echo();
    let server = proxy(&upstream, "");
    let mut socket = open(server.site.port);
    assert_echo(&mut socket, b"one");
    drop(socket);
    until("the line of the access log", || {
        server.site.read("access.log").contains("\"GET /ws HTTP/1.1\" 101 ").then_some(())
    });
}

#[test]
fn the_upstream_leaves() {
    let upstream = echo();
    let server = proxy(&upstream, "");
    let mut socket = open(server.site.port);
    assert_echo(&mut socket, b"one");
    socket.send("bye");
    socket.expect_end();
    until("the line of the access log", || {
        server.site.read("access.log").contains("\"GET /ws HTTP/1.1\" 101 ").then_some(())
    });
}

#[test]
fn silence_has_a_limit() {
    let upstream = echo();
    let server = proxy(&upstream, "proxy_read_timeout 300ms;");
    let mut socket = open(server.site.port);
    assert_echo(&mut socket, b"one");
    socket.expect_end();
    server.wait_for_log("upstream timed out (110: Connection timed out) while proxying upgraded connection");
}
