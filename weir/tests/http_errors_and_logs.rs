//! Pages for errors, what a request that is not read to its end gets, and when log lines are there.

mod common;
mod support;

use common::Server;
use support::{Client, get};

/// A server with these directives.
fn serve(directives: &str) -> Server {
    support::serve(&format!("server {{ listen 127.0.0.1:PORT; {directives} }}"))
}

const PAGES: &str = "
    location /missing { error_page 404 /gone; return 404; }
    location /gone { return 410; }
    location /moved { error_page 302 /there; return 302 http://first.test/; }
    location /there { return 303 http://second.test/; }
    location /text { error_page 302 /body; return 302 http://first.test/; }
    location /body { return 200 words; }
    location /out { error_page 403 http://out.test/; error_page 302 /body; return 403; }
    location /same { error_page 405 =200 /body; return 405; }
    location /loop { recursive_error_pages on; error_page 404 /loop; return 404; }
";

#[test]
fn an_error_page_may_end_in_another_error_or_a_redirect() {
    let server = serve(PAGES);
    let found = |target: &str| {
        let answer = get(&server, target);
        (answer.status, answer.header("location").map(str::to_owned))
    };
    assert_eq!(found("/missing"), (410, None));
    assert_eq!(found("/moved"), (303, Some("http://second.test/".to_owned())));
    assert_eq!(found("/text"), (302, Some("http://first.test/".to_owned())));
    assert_eq!(found("/out"), (302, Some("http://out.test/".to_owned())));
    assert_eq!(found("/same"), (200, None));
    assert_eq!(found("/loop"), (500, None));
    server.wait_for_log("rewrite or internal redirection cycle while processing \"/loop\"");
}

#[test]
fn the_log_line_is_there_when_the_connection_ends() {
    let server = serve("access_log DIR/one.log; location / { return 200 words; }");
    for count in 1..=50 {
        let mut client = Client::to(&server);
        client.send("GET / HTTP/1.1\r\nHost: two\r\nConnection: close\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        client.expect_end();
        assert_eq!(server.site.read("one.log").lines().count(), count);
    }
}

#[test]
fn a_client_that_waits_for_100_gets_it_for_an_empty_body_too() {
    let server = serve("location / { return 200 words; }");
    let mut client = Client::to(&server);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.answer().text(), "words");
    client.send("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_malformed_body_is_refused_where_nobody_wanted_it() {
    let server = serve("location / { return 200 words; }");
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::to(&server);
    client.send(format!("{head}4\r\nmore than four\r\n0\r\n\r\n"));
    assert_eq!(client.answer().status, 400);
    client.expect_end();
    let mut client = Client::to(&server);
    client.send(format!("{head}4\r\nfour\r\n0\r\n\r\n{head}0\r\n\r\n"));
    assert_eq!((client.answer().status, client.answer().status), (200, 200));
}

#[test]
fn keepalive_is_off_for_the_browsers_that_are_named() {
    let server = serve(
        "location / { return 200 words; }
         location /safari { keepalive_disable safari; return 200 words; }
         location /none { keepalive_disable none; return 200 words; }",
    );
    let kept = |request: &str, browser: &str| {
        let mut client = Client::to(&server);
        client.send(format!(
            "{request} HTTP/1.1\r\nHost: a\r\nUser-Agent: {browser}\r\nContent-Length: 0\r\n\r\n"
        ));
        client.answer().header("connection").map(str::to_owned)
    };
    let (safari, explorer) = ("Mac OS X Safari/7534.48.3", "MSIE 6.0");
    assert_eq!(kept("GET /", safari).as_deref(), Some("keep-alive"));
    assert_eq!(kept("GET /safari", safari).as_deref(), Some("close"));
    assert_eq!(kept("POST /", explorer).as_deref(), Some("close"));
    assert_eq!(kept("GET /", explorer).as_deref(), Some("keep-alive"));
    assert_eq!(kept("POST /none", explorer).as_deref(), Some("keep-alive"));
}

#[test]
fn trailers_see_the_trailers_before_them() {
    let server = serve(
        "location / { add_trailer A 1; add_trailer A 2; add_trailer B $sent_trailer_a; return 200 x; }",
    );
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = common::text(&client.rest());
    assert!(answer.ends_with("\r\n0\r\nA: 1\r\nA: 2\r\nB: 1, 2\r\n\r\n"), "{answer}");
}
