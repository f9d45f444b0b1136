//! Checks that the registry runs itself, seen as its clients see them.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use serde_json::Value;
use support::{Weir, ask};

/// An endpoint whose status code the test chooses.
struct Endpoint {
    address: SocketAddr,
    code: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (code, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&code), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head = [0; 4096];
                if !matches!(stream.read(&mut head), Ok(1..)) {
                    continue;
                }
                let code = now.load(Ordering::SeqCst);
                let count = count.fetch_add(1, Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {code} Told\r\nConnection: close\r\n\r\nanswer {count}");
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self { address, code, asked }
    }

    fn answers(&self, code: u16) {
        self.code.store(code, Ordering::SeqCst);
    }
}

/// The check `service:web` once it is in this state, by blocking queries.
fn until(weir: SocketAddr, status: &str) -> Value {
    let mut index = 0;
    loop {
        let answer = ask(weir, "GET", &format!("/v1/health/checks/web?index={index}"), b"");
        let checks = answer.json();
        if let Some(check) = checks.get(0).filter(|check| check["Status"] == status) {
            return check.clone();
        }
        index = answer.index();
    }
}

fn register(weir: SocketAddr, check: &str) {
    let body = format!(r#"{{"Name":"web","Port":80,"Check":{check}}}"#);
    assert_eq!(ask(weir, "PUT", "/v1/agent/service/register", body.as_bytes()).status, 200);
}

#[test]
fn a_service_follows_its_endpoint() {
    let (weir, endpoint) = (Weir::start(), Endpoint::start());
    register(weir.address, &format!(r#"{{"HTTP":"http://{}/up","Interval":"1s"}}"#, endpoint.address));
    let passing = until(weir.address, "passing");
    assert_eq!(passing["Type"], "http");
    let output = passing["Output"].as_str().expect("text");
    assert!(
        output.starts_with(&format!("HTTP GET http://{}/up: 200 Told Output: answer ", endpoint.address)),
        "{output}"
    );
    endpoint.answers(500);
    until(weir.address, "critical");
    assert_eq!(ask(weir.address, "GET", "/v1/agent/health/service/id/web", b"").status, 503);
    endpoint.answers(429);
    until(weir.address, "warning");
    endpoint.answers(200);
    until(weir.address, "passing");
    assert_eq!(ask(weir.address, "GET", "/v1/agent/health/service/id/web", b"").status, 200);
}

#[test]
fn an_output_that_changes_wakes_nobody() {
    let (weir, endpoint) = (Weir::start(), Endpoint::start());
    register(weir.address, &format!(r#"{{"HTTP":"http://{}/up","Interval":"1s"}}"#, endpoint.address));
    until(weir.address, "passing");
    let index = ask(weir.address, "GET", "/v1/health/checks/web", b"").index();
    // Waits for two more probes, each with another output.
    let seen = endpoint.asked.load(Ordering::SeqCst);
    while endpoint.asked.load(Ordering::SeqCst) < seen + 2 {
        std::thread::yield_now();
    }
    assert_eq!(ask(weir.address, "GET", "/v1/health/checks/web", b"").index(), index);
}

#[test]
fn thresholds_need_results_in_a_row() {
    let (weir, endpoint) = (Weir::start(), Endpoint::start());
    let check = format!(
        r#"{{"HTTP":"http://{}/up","Interval":"1s","SuccessBeforePassing":2,"FailuresBeforeCritical":2}}"#,
        endpoint.address
    );
    register(weir.address, &check);
    until(weir.address, "passing");
    let successes = endpoint.asked.load(Ordering::SeqCst);
    assert!(successes >= 2, "{successes} successes made it pass");
    endpoint.answers(503);
    until(weir.address, "critical");
    assert!(endpoint.asked.load(Ordering::SeqCst) >= successes + 2);
}

#[test]
fn a_service_that_stays_critical_goes() {
    let weir = Weir::start();
    register(weir.address, r#"{"TCP":"127.0.0.1:1","Interval":"1s","DeregisterCriticalServiceAfter":"1s"}"#);
    let mut index = 0;
    loop {
        let answer = ask(weir.address, "GET", &format!("/v1/catalog/service/web?index={index}"), b"");
        if answer.json().as_array().is_some_and(Vec::is_empty) {
            break;
        }
        index = answer.index();
    }
    assert_eq!(ask(weir.address, "GET", "/v1/agent/checks", b"").text(), "{}");
}

#[test]
fn a_check_that_is_gone_is_not_run() {
    let (weir, endpoint, other) = (Weir::start(), Endpoint::start(), Endpoint::start());
    register(weir.address, &format!(r#"{{"HTTP":"http://{}/up","Interval":"1s"}}"#, endpoint.address));
    until(weir.address, "passing");
    // The same check with another target: the old one is left alone from now on.
    other.answers(500);
    register(weir.address, &format!(r#"{{"HTTP":"http://{}/up","Interval":"1s"}}"#, other.address));
    until(weir.address, "critical");
    let asked = endpoint.asked.load(Ordering::SeqCst);
    let seen = other.asked.load(Ordering::SeqCst);
    while other.asked.load(Ordering::SeqCst) < seen + 2 {
        std::thread::yield_now();
    }
    assert_eq!(endpoint.asked.load(Ordering::SeqCst), asked);
}

#[test]
fn an_alias_follows_what_it_stands_for() {
    let weir = Weir::start();
    let at = weir.address;
    ask(
        at,
        "PUT",
        "/v1/agent/service/register",
        br#"{"Name":"base","Check":{"TTL":"9m","Status":"passing"}}"#,
    );
    register(at, r#"{"AliasService":"base"}"#);
    until(at, "passing");
    ask(at, "PUT", "/v1/agent/check/fail/service:base?note=broken", b"");
    assert_eq!(until(at, "critical")["Output"], "Aliased check \"Service 'base' check\" failing: broken");
}

#[test]
fn a_hash_waits_for_a_change_of_the_service() {
    let weir = Weir::start();
    register(weir.address, r#"{"TTL":"9m"}"#);
    let hash_of = |answer: &support::Response| {
        answer.header("X-Consul-Contenthash").map(str::to_owned).expect("a hash")
    };
    let hash = hash_of(&ask(weir.address, "GET", "/v1/agent/service/web", b""));
    let path = format!("/v1/agent/service/web?hash={hash}&wait=10m");
    let at = weir.address;
    let waiting = std::thread::spawn(move || ask(at, "GET", &path, b""));
    ask(at, "PUT", "/v1/agent/service/register", br#"{"Name":"web","Port":81}"#);
    let answer = waiting.join().expect("an answer");
    assert_eq!(answer.json()["Port"], 81);
    assert_ne!(hash_of(&answer), hash);
}
