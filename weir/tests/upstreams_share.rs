//! Shares of peers, what is counted of them, and requests that wait for a peer.

mod common;
mod stores;
mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use common::{Server, Site, free_port, text, until, weir};
use serde_json::Value;
use stores::{put, send_to_socket};
use support::upstream::{Then, ok, reply};
use support::{Client, Upstream, get};
use weir_net::Signal;

fn serve(main: &str, upstream: &str) -> Server {
    let conf = support::conf(&format!(
        "upstream app {{ {upstream} }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{ proxy_pass http://app; proxy_read_timeout 1s; }}
             location = /busy {{ stub_status; }}
         }}"
    ));
    let admin = format!("state_path DIR/state; admin {{ socket DIR/control.sock; }} {main}\nevents {{ }}");
    Site::new(&conf.replace("events { }", &admin)).start()
}

fn socket(server: &Server) -> PathBuf {
    server.site.file("control.sock")
}

fn order(server: &Server, peer: &Upstream, body: &str) {
    let path = format!("/v1/upstreams/app/peers/{}?wait=served", peer.address());
    let (status, body) = send_to_socket(&socket(server), "PUT", &path, body).expect("it answers");
    assert_eq!(status, 200, "{body}");
}

fn drain(server: &Server, peer: &Upstream) {
    let path = format!("/v1/upstreams/app/peers/{}?wait=quiet", peer.address());
    let wish = r#"{"state":"drain","force":true}"#;
    let (status, body) = send_to_socket(&socket(server), "PUT", &path, wish).expect("it answers");
    assert_eq!(status, 200, "{body}");
}

fn peer(server: &Server, peer: &Upstream) -> Value {
    let (status, body) = send_to_socket(&socket(server), "GET", "/v1/upstreams/app", "").expect("it answers");
    assert_eq!(status, 200, "{body}");
    let value: Value = serde_json::from_str(&body).expect("JSON");
    let peers = value["peers"].as_array().expect("peers");
    let address = peer.address().to_string();
    peers.iter().find(|peer| peer["address"] == address.as_str()).cloned().unwrap_or(Value::Null)
}

/// Answers of `a` and of `b` to so many requests, one after another.
fn count(server: &Server, requests: usize) -> (usize, usize) {
    let answers: Vec<String> = (0..requests).map(|_| get(server, "/").text()).collect();
    let of = |word: &str| answers.iter().filter(|answer| *answer == word).count();
    (of("a"), of("b"))
}

#[test]
fn ten_percent_are_an_eleventh_of_two() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let server = serve("", &format!("server {}; server {} percent=10;", a.address(), b.address()));
    assert_eq!(count(&server, 1100), (1000, 100));
    let shown = peer(&server, &b);
    assert_eq!((&shown["percent"], &shown["share"], &shown["weight"]), (&10.into(), &10.into(), &1.into()));
    order(&server, &b, r#"{"percent":100}"#);
    let (to_a, to_b) = count(&server, 100);
    assert!(to_a.abs_diff(to_b) <= 2, "{to_a} and {to_b}");
    let address = a.address().to_string();
    let told = weir()
        .args(["upstream", "percent", "app", &address, "25", "--wait", "--socket"])
        .arg(socket(&server))
        .output()
        .expect("run");
    assert_eq!(
        text(&told.stdout),
        format!("app: {address} is up, weight 1 at 25%\n"),
        "{}",
        text(&told.stderr)
    );
    let (to_a, to_b) = count(&server, 100);
    assert!(to_a.abs_diff(20) <= 1 && to_b.abs_diff(80) <= 1, "{to_a} and {to_b}");
    server.signal(Signal::Hup);
    server.wait_for_log("reconfiguring");
    assert_eq!(peer(&server, &a)["percent"], 25, "an order lives through a reload");
}

#[test]
fn a_share_comes_from_a_store() {
    let registry = free_port();
    let main = format!("registry {{ listen 127.0.0.1:{registry}; data DIR/registry; }}");
    let server =
        serve(&main, "upsync registry/v1/kv/upstreams/app/ upsync_type=consul; upsync_dump_path DIR/dump;");
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let key = |peer: &Upstream| format!("/v1/kv/upstreams/app/{}", peer.address());
    assert_eq!(put(registry, &key(&a), r#"{"weight":1}"#).0, 200);
    assert_eq!(put(registry, &key(&b), r#"{"weight":1,"percent":10}"#).0, 200);
    let shown = until("the list is served", || {
        let shown = peer(&server, &b);
        (shown["share"] == 10 && peer(&server, &a) != Value::Null).then_some(shown)
    });
    assert_eq!(shown["state"], "up", "{shown}");
    let (_, body) = send_to_socket(&socket(&server), "GET", "/v1/upstreams/app", "").expect("it answers");
    let status: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status["sources"][0]["path"], "upstreams/app/", "a release finds the keys by this");
    // A release gives a server back with a slow start of its own.
    assert_eq!(put(registry, &key(&a), r#"{"weight":1,"down":1}"#).0, 200);
    until("it drains", || (peer(&server, &a)["state"] == "draining").then_some(()));
    assert_eq!(put(registry, &key(&a), r#"{"weight":1,"down":0,"slow_start":"5s"}"#).0, 200);
    let first = until("it is up", || {
        let shown = peer(&server, &a);
        (shown["state"] == "up").then_some(shown)
    });
    assert!(first["share"].as_u64().is_some_and(|share| share < 60), "{first}");
    until("it has grown into its whole weight", || peer(&server, &a)["share"].is_null().then_some(()));
}

#[test]
fn answers_are_counted_by_class_and_time() {
    let a = Upstream::new(|request, stream| match request.target.as_str() {
        "/503" => reply(stream, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        "/404" => reply(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "/silent" => Then::Keep,
        _ => reply(stream, &ok("a")),
    });
    let mut refuses = Upstream::saying("");
    refuses.stop();
    let server = serve("", &format!("server {}; server {} backup;", a.address(), refuses.address()));
    for (path, status) in [("/", 200), ("/", 200), ("/503", 503), ("/404", 404), ("/silent", 502)] {
        assert_eq!(get(&server, path).status, status, "{path}");
    }
    let shown = peer(&server, &a);
    assert_eq!(shown["answers"], serde_json::json!({"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 1, "5xx": 1}));
    assert_eq!((&shown["timeouts"], &shown["connect_errors"]), (&1.into(), &0.into()), "{shown}");
    let buckets = shown["latency"]["buckets"].as_array().expect("times");
    assert_eq!(buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum::<u64>(), 4);
    let refused = peer(&server, &refuses)["connect_errors"].as_u64();
    assert!(refused.is_some_and(|refused| refused > 0), "{refused:?}");
    let (status, body) = send_to_socket(&socket(&server), "GET", "/metrics", "").expect("it answers");
    let line = format!(
        "weir_upstream_peer_answers_total{{upstream=\"app\",peer=\"{}\",class=\"2xx\"}} 2\n",
        a.address()
    );
    assert!(status == 200 && body.contains(&line), "{body}");
    let table = weir().args(["upstream", "app", "--socket"]).arg(socket(&server)).output().expect("run");
    assert!(text(&table.stdout).contains("5XX  P50"), "{}", text(&table.stdout));
}

/// Requests that are being served, this one included.
fn busy(server: &Server) -> usize {
    let page = get(server, "/busy").text();
    let (_, rest) = page.split_once("Writing: ").expect("the page of stub_status");
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn the_only_backend_restarts_under_fifty_clients() {
    let mut a = Upstream::saying("a");
    let server =
        Arc::new(serve("worker_processes 2;", &format!("upstream_park 60s; server {};", a.address())));
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..50)
        .map(|n| {
            let (server, done, served) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&served));
            std::thread::spawn(move || {
                let (mut client, mut sent) = (Client::to(&server), 0);
                while !done.load(Ordering::SeqCst) {
                    // Some have a body, which nobody reads before there is a peer.
                    client.send(if n % 5 == 0 {
                        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody"
                    } else {
                        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    });
                    let answer = client.answer();
                    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
                    served.fetch_add(1, Ordering::SeqCst);
                    sent += 1;
                    // A connection carries a thousand.
                    if sent % 500 == 0 {
                        client = Client::to(&server);
                    }
                }
            })
        })
        .collect();
    for _ in 0..5 {
        drain(&server, &a);
        until("all of them wait", || (busy(&server) >= 51).then_some(()));
        a.stop();
        a = Upstream::on(a.address(), |_, stream| reply(stream, &ok("a")));
        let before = served.load(Ordering::SeqCst);
        order(&server, &a, r#"{"state":"up"}"#);
        until("all are served again", || (served.load(Ordering::SeqCst) >= before + 200).then_some(()));
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().expect("every answer was good");
    }
    assert!(a.requests().iter().any(|request| request.body == b"body"));
}

#[test]
fn who_waits_too_long_or_leaves_is_let_go() {
    let a = Upstream::saying("a");
    let server = serve("", &format!("upstream_park 200ms; server {};", a.address()));
    drain(&server, &a);
    assert_eq!(get(&server, "/").status, 502);
    assert!(server.site.read("error.log").contains("no live upstreams"));
    let server = serve("", &format!("upstream_park 1h; server {};", a.address()));
    drain(&server, &a);
    let mut client = Client::to(&server);
    client.send("GET /left HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("it waits", || (busy(&server) == 2).then_some(()));
    drop(client);
    until("it is let go", || (busy(&server) == 1).then_some(()));
    until("the log says so", || {
        server.site.read("access.log").contains("\"GET /left HTTP/1.1\" 499 ").then_some(())
    });
    assert_eq!(a.count(), 0);
}

#[test]
fn a_peer_that_failed_by_itself_makes_nobody_wait() {
    let mut a = Upstream::saying("a");
    let server = serve("", &format!("upstream_park 1h; server {};", a.address()));
    a.stop();
    assert_eq!(get(&server, "/").status, 502);
}

#[test]
fn upgraded_connections_are_counted_apart() {
    let (hold, release) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (held, released) = (Arc::clone(&hold), Arc::clone(&release));
    let a = Upstream::new(move |_, stream| {
        reply(stream, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        held.wait();
        released.wait();
        Then::Close
    });
    let server = serve("", &format!("server {};", a.address()));
    let conf = server.site.read("nginx.conf").replace(
        "proxy_read_timeout 1s;",
        "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;",
    );
    std::fs::write(server.site.file("nginx.conf"), conf).expect("write");
    server.signal(Signal::Hup);
    server.wait_for_log("reconfiguring");
    let mut client = Client::to(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert!(client.head().contains(" 101 "));
    hold.wait();
    let shown = until("it is upgraded", || {
        let shown = peer(&server, &a);
        (shown["upgraded"] == 1).then_some(shown)
    });
    assert_eq!((&shown["active"], &shown["answers"]["1xx"]), (&1.into(), &1.into()));
    release.wait();
    client.expect_end();
    until("it has ended", || {
        let shown = peer(&server, &a);
        (shown["upgraded"] == 0 && shown["active"] == 0).then_some(())
    });
}
