//! States of peers: checks, orders of people, and the barrier that a release script waits at.

mod common;
mod stores;
mod support;

use std::path::PathBuf;
use std::process::Output;

use common::{Server, Site, free_port, text, until, weir};
use serde_json::Value;
use stores::{put, send, send_to_socket};
use support::upstream::{ok, reply};
use support::{Client, Upstream, get};
use weir_net::Signal;

fn conf(main: &str, upstream: &str) -> String {
    support::conf(&format!(
        "upstream app {{ {upstream} }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{ proxy_pass http://app; }}
             location = /status {{ check_status; }}
         }}"
    ))
    .replace(
        "events { }",
        &format!("state_path DIR/state; admin {{ socket DIR/control.sock; }} {main}\nevents {{ }}"),
    )
}

fn serve(main: &str, upstream: &str) -> Server {
    Site::new(&conf(main, upstream)).start()
}

fn socket(server: &Server) -> PathBuf {
    server.site.file("control.sock")
}

/// `weir upstream ...` about a server.
fn ask(server: &Server, words: &[&str]) -> Output {
    weir().arg("upstream").args(words).arg("--socket").arg(socket(server)).output().expect("run")
}

fn told(output: &Output) -> String {
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// One peer of the status.
fn peer(server: &Server, address: &str) -> Value {
    let (status, body) = send_to_socket(&socket(server), "GET", "/v1/upstreams/app", "").expect("it answers");
    assert_eq!(status, 200, "{body}");
    let value: Value = serde_json::from_str(&body).expect("JSON");
    let peers = value["peers"].as_array().expect("peers");
    peers.iter().find(|peer| peer["address"] == address).cloned().unwrap_or(Value::Null)
}

#[test]
fn a_drained_peer_finishes_what_it_has_and_gets_nothing_new() {
    let (begun, finish) =
        (std::sync::Arc::new(std::sync::Barrier::new(2)), std::sync::Arc::new(std::sync::Barrier::new(2)));
    let (at_begin, at_end) = (begun.clone(), finish.clone());
    let a = Upstream::new(move |request, stream| {
        if request.target == "/slow" {
            at_begin.wait();
            at_end.wait();
        }
        reply(stream, &ok("a"))
    });
    let b = Upstream::saying("b");
    let server = serve("", &format!("server {}; server {} backup;", a.address(), b.address()));
    let address = a.address().to_string();
    let mut client = Client::to(&server);
    client.send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    begun.wait();
    let output = ask(&server, &["drain", "app", &address, "--reason", "release 7"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(get(&server, "/").text(), "b");
    let status = peer(&server, &address);
    assert_eq!(
        (&status["state"], &status["reason"], &status["active"]),
        (&"draining".into(), &"release 7".into(), &1.into())
    );
    // With a request under way the command waits, and says so when its time is over.
    let waited = ask(&server, &["drain", "app", &address, "--wait", "--timeout", "1s"]);
    assert!(!waited.status.success(), "{}", told(&waited));
    assert!(told(&waited).contains("1 request"), "{}", told(&waited));
    finish.wait();
    assert_eq!(client.answer().text(), "a");
    let waited = ask(&server, &["drain", "app", &address, "--wait"]);
    assert!(waited.status.success(), "{}", told(&waited));
    assert!(ask(&server, &["undrain", "app", &address, "--wait"]).status.success());
    assert_eq!(get(&server, "/").text(), "a");
}

#[test]
fn an_order_lives_through_reload_and_restart() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let server = serve("", &format!("server {}; server {};", a.address(), b.address()));
    let address = a.address().to_string();
    assert!(ask(&server, &["maintenance", "app", &address, "--reason", "disk"]).status.success());
    server.signal(Signal::Hup);
    server.wait_for_log("reconfiguring");
    for _ in 0..4 {
        assert_eq!(get(&server, "/").text(), "b");
    }
    let server = server.quit().start();
    for _ in 0..4 {
        assert_eq!(get(&server, "/").text(), "b");
    }
    let status = peer(&server, &address);
    assert_eq!((&status["state"], &status["reason"]), (&"maintenance".into(), &"disk".into()));
    let shown = told(&ask(&server, &["app"]));
    assert!(shown.contains("maintenance") && shown.contains("disk"), "{shown}");
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    let a = Upstream::saying("a");
    let server = serve("", &format!("server {};", a.address()));
    let address = a.address().to_string();
    let output = ask(&server, &["drain", "ap", &address]);
    assert!(
        !output.status.success() && told(&output).contains("there is no upstream ap; there are: app"),
        "{}",
        told(&output)
    );
    let output = ask(&server, &["drain", "app", "127.0.0.1:1"]);
    assert!(!output.status.success() && told(&output).contains(&address), "{}", told(&output));
    let output = ask(&server, &["drain", "app", &address]);
    assert!(
        !output.status.success() && told(&output).contains("the last peer that serves"),
        "{}",
        told(&output)
    );
    assert!(ask(&server, &["drain", "app", &address, "--force"]).status.success());
    assert_eq!(get(&server, "/").status, 502);
}

#[test]
fn a_peer_that_fails_its_check_gets_nothing_and_comes_back() {
    let healthy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let look = healthy.clone();
    let a = Upstream::new(move |request, stream| match request.target.as_str() {
        "/health" if !look.load(std::sync::atomic::Ordering::SeqCst) => {
            reply(stream, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        }
        _ => reply(stream, &ok("a")),
    });
    let b = Upstream::saying("b");
    let check = "check interval=50 rise=1 fall=2 timeout=1000 type=http default_down=true;
        check_http_send \"GET /health HTTP/1.0\\r\\n\\r\\n\"; check_http_expect_alive http_2xx;";
    let server = serve("", &format!("server {}; server {} backup; {check}", a.address(), b.address()));
    assert_eq!(get(&server, "/").text(), "a", "its first result was there before the first request");
    healthy.store(false, std::sync::atomic::Ordering::SeqCst);
    until("the check takes it out", || (get(&server, "/").text() == "b").then_some(()));
    let page = get(&server, "/status?format=csv").text();
    assert!(page.contains(&format!("app,{},down,0,", a.address())), "{page}");
    let status = peer(&server, &a.address().to_string());
    assert_eq!(status["state"], "failed", "{status}");
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("503")), "{status}");
    // What is known holds over a reload.
    server.signal(Signal::Hup);
    server.wait_for_log("reconfiguring");
    assert_eq!(get(&server, "/").text(), "b");
    healthy.store(true, std::sync::atomic::Ordering::SeqCst);
    until("the check brings it back", || (get(&server, "/").text() == "a").then_some(()));
    let json: Value = serde_json::from_str(&get(&server, "/status?format=json").text()).expect("JSON");
    assert_eq!(json["servers"]["total"], 2, "{json}");
}

#[test]
fn checks_that_fail_all_peers_at_once_are_not_believed() {
    let a = Upstream::new(|request, stream| match request.target.as_str() {
        "/" => reply(stream, &ok("a")),
        _ => reply(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    });
    let check = "check interval=50 rise=1 fall=1 timeout=1000 type=http;
        check_http_send \"GET /renamed HTTP/1.0\\r\\n\\r\\n\"; check_http_expect_alive http_2xx;";
    let server = serve("", &format!("server {}; server {}; {check}", a.address(), a.address()));
    assert_eq!(get(&server, "/").text(), "a");
    server.wait_for_log("checks failed all peers of upstream \"app\"");
    let server = serve("", &format!("server {}; {check} check_panic off;", a.address()));
    assert_eq!(get(&server, "/").status, 502);
}

#[test]
fn a_script_waits_at_the_barrier_instead_of_sleeping() {
    let registry = free_port();
    let main = format!("registry {{ listen 127.0.0.1:{registry}; data DIR/registry; }} worker_processes 2;");
    let server = serve(&main, "upsync registry/v1/kv/app/ upsync_type=consul; upsync_dump_path DIR/dump;");
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    put(registry, &format!("/v1/kv/app/{}", b.address()), "{}");
    for round in 0..20 {
        let body = format!(r#"{{"down":{}}}"#, round % 2);
        let key = format!("/v1/kv/app/{}", a.address());
        assert_eq!(put(registry, &key, &body).0, 200);
        let (_, entry) = stores::get(registry, &key).expect("it answers");
        let entry: Value = serde_json::from_str(&entry).expect("JSON");
        let index = entry[0]["ModifyIndex"].as_u64().expect("an index");
        let path = format!("/v1/upstreams/app/wait-applied?index={index}&timeout=30s");
        let (status, body) = send_to_socket(&socket(&server), "GET", &path, "").expect("it answers");
        assert_eq!(status, 200, "{body}");
        let answers: Vec<String> = (0..8).map(|_| get(&server, "/").text()).collect();
        assert_eq!(answers.iter().any(|answer| answer == "a"), round % 2 == 0, "round {round}: {answers:?}");
    }
}

#[test]
fn over_tcp_a_token_is_asked_for() {
    let admin = free_port();
    let a = Upstream::saying("a");
    let conf = conf("", &format!("server {};", a.address())).replace(
        "admin { socket DIR/control.sock; }",
        &format!(
            "admin {{ socket DIR/control.sock; listen 127.0.0.1:{admin}; token write=letmein read=look; }}"
        ),
    );
    let server = Site::new(&conf).start();
    let path = format!("/v1/upstreams/app/peers/{}", a.address());
    let order = r#"{"state":"maintenance","force":true}"#;
    let (status, body) = send(admin, "GET", "/v1/upstreams", "", "").expect("it answers");
    assert_eq!(status, 403, "{body}");
    for headers in ["", "Authorization: Bearer look\r\n", "Authorization: Bearer wrong\r\n"] {
        let (status, body) = send(admin, "PUT", &path, headers, order).expect("it answers");
        assert_eq!(status, 403, "{headers}: {body}");
    }
    assert_eq!(get(&server, "/").text(), "a", "nothing was done");
    let (status, _) =
        send(admin, "GET", "/v1/upstreams", "Authorization: Bearer look\r\n", "").expect("it answers");
    assert_eq!(status, 200);
    let (status, body) =
        send(admin, "PUT", &path, "Authorization: Bearer letmein\r\n", order).expect("it answers");
    assert_eq!(status, 200, "{body}");
    assert_eq!(get(&server, "/").status, 502);
}
