//! How requests are spread over peers, and what happens when peers fail.

mod common;
mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Condvar, Mutex};

use common::{Server, until};
use support::upstream::{ok, reply};
use support::{Client, Then, Upstream, get, serve};
use weir_net::Signal;

/// An `http` block with one group and a server that passes everything to it.
fn group(lines: &str, more: &str) -> String {
    format!(
        "upstream group {{ {lines} }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 proxy_pass http://group;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 {more}
             }}
         }}"
    )
}

fn three() -> [Upstream; 3] {
    ["a", "b", "c"].map(Upstream::saying)
}

/// Who answered, request by request.
fn sequence(server: &Server, count: usize) -> String {
    (0..count)
        .map(|n| {
            let answer = get(server, &format!("/?n={n}"));
            assert_eq!(answer.status, 200, "request {n}: {answer:?}");
            answer.text()
        })
        .collect()
}

fn counts(sequence: &str) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for peer in sequence.chars() {
        *counts.entry(peer).or_default() += 1;
    }
    counts
}

#[test]
fn weights_are_spread_smoothly() {
    let [a, b, c] = three();
    let lines = format!("server {} weight=5; server {}; server {};", a.address(), b.address(), c.address());
    let server = serve(&group(&lines, ""));
    assert_eq!(sequence(&server, 14), "aabacaaaabacaa");
}

#[test]
fn all_threads_together_keep_the_weights() {
    let [a, b, c] = three();
    let lines = format!("server {} weight=2; server {}; server {};", a.address(), b.address(), c.address());
    let conf = support::conf(&group(&lines, "")).replace("daemon off;", "daemon off; worker_processes 2;");
    let server = common::Site::new(&conf).start();
    let counts = counts(&sequence(&server, 80));
    // Each thread has its own turn; a thread that got an odd number of requests may be off by a few.
    for (peer, expected) in [('a', 40), ('b', 20), ('c', 20)] {
        assert!(counts[&peer].abs_diff(expected) <= 4, "{counts:?}");
    }
}

#[test]
fn a_peer_that_is_down_gets_nothing() {
    let [a, b, c] = three();
    let lines =
        format!("server {}; server {} down; server {} backup;", a.address(), b.address(), c.address());
    let server = serve(&group(&lines, ""));
    assert_eq!(sequence(&server, 6), "aaaaaa");
    assert_eq!((b.connections(), c.connections()), (0, 0));
}

#[test]
fn a_backup_comes_when_all_others_are_gone() {
    let [mut a, mut b, c] = three();
    let lines = format!("server {}; server {}; server {} backup;", a.address(), b.address(), c.address());
    let server = serve(&group(&lines, ""));
    assert_eq!(sequence(&server, 4), "abab");
    a.stop();
    assert_eq!(sequence(&server, 4), "bbbb");
    b.stop();
    assert_eq!(sequence(&server, 6), "cccccc");
}

#[test]
fn a_dead_peer_costs_no_request() {
    let [a, mut b, c] = three();
    let lines = format!(
        "server {} max_fails=1 fail_timeout=60s; server {} max_fails=1 fail_timeout=60s; server {}; keepalive 8;",
        a.address(),
        b.address(),
        c.address()
    );
    let server = serve(&group(&lines, ""));
    assert_eq!(counts(&sequence(&server, 9)), BTreeMap::from([('a', 3), ('b', 3), ('c', 3)]));
    b.stop();
    let after = counts(&sequence(&server, 30));
    assert_eq!(after.get(&'b'), None);
    assert_eq!(after[&'a'] + after[&'c'], 30);
    let refused = |server: &Server| server.site.read("error.log").matches("connect() failed (111: ").count();
    assert_eq!(refused(&server), 1, "it is not asked again before fail_timeout is over");
    // A reload forgets nothing of this.
    server.signal(Signal::Hup);
    server.wait_for_log("exited with code 0");
    sequence(&server, 30);
    assert_eq!(refused(&server), 1, "the failure lives through a reload");
}

#[test]
fn a_peer_comes_back() {
    let [a, mut b, _] = three();
    let lines = format!(
        "server {} max_fails=1 fail_timeout=1s; server {} max_fails=1 fail_timeout=1s;",
        a.address(),
        b.address()
    );
    let server = serve(&group(&lines, ""));
    let address = b.address();
    b.stop();
    assert_eq!(sequence(&server, 4), "aaaa");
    let b = Upstream::on(address, |_, stream| reply(stream, &ok("b")));
    until("it is asked again", || sequence(&server, 4).contains('b').then_some(()));
    assert!(b.count() > 0);
}

#[test]
fn all_peers_are_dead() {
    let [mut a, mut b, _] = three();
    let server = serve(&group(&format!("server {}; server {};", a.address(), b.address()), ""));
    a.stop();
    b.stop();
    assert_eq!(get(&server, "/").status, 502);
    assert_eq!(get(&server, "/").status, 502);
    server.wait_for_log("no live upstreams while connecting to upstream");
}

/// The peer closes an idle connection while the next request is on its way to it.
#[test]
fn a_stale_connection_is_nobodys_fault() {
    let upstream = Upstream::new({
        let seen = Mutex::new(Vec::new());
        move |request, stream| {
            let mut seen = seen.lock().expect("one at a time");
            if seen.contains(&request.connection) {
                return Then::Close;
            }
            seen.push(request.connection);
            reply(stream, &ok("a"))
        }
    });
    let lines = format!("server {} max_fails=1 fail_timeout=60s; keepalive 4;", upstream.address());
    let server = serve(&group(&lines, "proxy_next_upstream off;"));
    assert_eq!(sequence(&server, 10), "aaaaaaaaaa");
    assert!(upstream.connections() >= 5, "connections were stale: {}", upstream.connections());
    assert!(!server.site.read("error.log").contains("[error]"), "{}", server.site.read("error.log"));
}

#[test]
fn idle_connections_are_used_again() {
    let upstream = Upstream::saying("a");
    let server = serve(&group(&format!("server {}; keepalive 4;", upstream.address()), ""));
    sequence(&server, 20);
    assert_eq!(upstream.connections(), 1);
    let server =
        serve(&group(&format!("server {}; keepalive 4; keepalive_requests 5;", upstream.address()), ""));
    sequence(&server, 20);
    assert_eq!(upstream.connections(), 1 + 4);
}

/// A gate that holds requests to `/held` until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let open = self.open.lock().expect("nobody panics in here");
        drop(self.changed.wait_while(open, |open| !*open).expect("nobody panics in here"));
    }

    fn open(&self) {
        *self.open.lock().expect("nobody panics in here") = true;
        self.changed.notify_all();
    }
}

fn gated(word: &'static str, gate: &std::sync::Arc<Gate>) -> Upstream {
    let gate = std::sync::Arc::clone(gate);
    Upstream::new(move |request, stream| {
        if request.target.starts_with("/held") {
            gate.wait();
        }
        reply(stream, &ok(word))
    })
}

/// Sends a request that is held, and waits until a peer has it.
fn hold(server: &Server, peers: [&Upstream; 2]) -> Client {
    let held = |peer: &Upstream| peer.requests().iter().filter(|r| r.target == "/held").count();
    let before: usize = peers.iter().map(|peer| held(peer)).sum();
    let mut client = Client::to(server);
    client.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("a peer has it", || (peers.iter().map(|peer| held(peer)).sum::<usize>() > before).then_some(()));
    client
}

#[test]
fn a_peer_with_all_its_connections_in_use_is_passed_over() {
    let gate = std::sync::Arc::default();
    let (a, b) = (gated("a", &gate), gated("b", &gate));
    let lines = format!("server {} max_conns=1 weight=10; server {};", a.address(), b.address());
    let server = serve(&group(&lines, ""));
    let mut held = hold(&server, [&a, &b]);
    assert_eq!(a.count(), 1, "the heavier one was asked first");
    assert_eq!(sequence(&server, 6), "bbbbbb");
    gate.open();
    assert_eq!(held.answer().text(), "a");
    until("it is asked again", || sequence(&server, 1).contains('a').then_some(()));
}

#[test]
fn everybody_at_the_limit_is_a_502() {
    let gate = std::sync::Arc::default();
    let a = gated("a", &gate);
    let server = serve(&group(&format!("server {} max_conns=1;", a.address()), ""));
    let mut held = hold(&server, [&a, &a]);
    assert_eq!(get(&server, "/").status, 502);
    server.wait_for_log("no live upstreams while connecting to upstream");
    gate.open();
    assert_eq!(held.answer().text(), "a");
}

#[test]
fn least_conn_asks_who_has_least_to_do() {
    let gate = std::sync::Arc::default();
    let (a, b) = (gated("a", &gate), gated("b", &gate));
    let lines = format!("least_conn; server {}; server {};", a.address(), b.address());
    let server = serve(&group(&lines, ""));
    let mut held = hold(&server, [&a, &b]);
    let free = if a.count() == 1 { "bbbb" } else { "aaaa" };
    assert_eq!(sequence(&server, 4), free);
    gate.open();
    assert_eq!(held.answer().status, 200);
}

#[test]
fn one_client_stays_with_one_peer() {
    let [a, b, c] = three();
    let lines = format!("ip_hash; server {}; server {}; server {};", a.address(), b.address(), c.address());
    let server = serve(&group(&lines, ""));
    let counts = counts(&sequence(&server, 12));
    assert_eq!(counts.len(), 1, "{counts:?}");
}

#[test]
fn random_reaches_everybody() {
    let [a, b, c] = three();
    for method in ["random", "random two", "random two least_conn"] {
        let lines =
            format!("{method}; server {}; server {}; server {};", a.address(), b.address(), c.address());
        let server = serve(&group(&lines, ""));
        assert_eq!(counts(&sequence(&server, 60)).len(), 3, "{method}");
    }
}

#[test]
fn a_key_stays_with_its_peer() {
    let [a, b, c] = three();
    for method in ["hash $arg_n", "hash $arg_n consistent"] {
        let lines =
            format!("{method}; server {}; server {}; server {};", a.address(), b.address(), c.address());
        let server = serve(&group(&lines, ""));
        let first = sequence(&server, 60);
        assert_eq!(counts(&first).len(), 3, "{method}: {first}");
        assert_eq!(sequence(&server, 60), first, "{method}");
        if method.ends_with("consistent") {
            // Without one peer only its own keys move.
            let fewer = lines.replace(&format!("server {};", b.address()), "");
            server.site.write(&support::conf(&group(&fewer, "add_header X-Fewer yes;")));
            server.signal(Signal::Hup);
            until("the new configuration", || get(&server, "/").header("x-fewer").map(drop));
            for (old, new) in first.chars().zip(sequence(&server, 60).chars()) {
                assert!(if old == 'b' { new != 'b' } else { new == old }, "{old} became {new}");
            }
        }
    }
}

/// What is not idempotent is sent once, unless the configuration says otherwise.
#[test]
fn a_post_is_not_sent_twice() {
    for (policy, expected) in [("error", 502), ("error non_idempotent", 200)] {
        let bad = Upstream::new(|_, stream| {
            let _ = stream.set_nonblocking(true).map(|()| stream.read(&mut [0]));
            Then::Close
        });
        let good = Upstream::saying("fine");
        let lines = format!("server {} weight=100 max_fails=0; server {};", bad.address(), good.address());
        let server = serve(&group(&lines, &format!("proxy_next_upstream {policy};")));
        let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
        assert_eq!(support::exchange(&server, request).status, expected, "{policy}");
        assert_eq!(bad.count(), 1, "{policy}");
        assert_eq!(good.count(), usize::from(expected == 200), "{policy}");
    }
}

#[test]
fn tries_are_counted() {
    let bad: Vec<Upstream> = (0..3).map(|_| Upstream::raw("garbage\r\n\r\n")).collect();
    let lines: String = bad.iter().map(|peer| format!("server {} max_fails=0;", peer.address())).collect();
    let more = "proxy_next_upstream error invalid_header; proxy_next_upstream_tries 2;";
    let server = serve(&group(&lines, more));
    assert_eq!(get(&server, "/").status, 502);
    assert_eq!(bad.iter().map(Upstream::count).sum::<usize>(), 2);
}
