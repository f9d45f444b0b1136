//! Upstreams whose peers come from a store: the registry inside, and a real Consul.

mod common;
mod stores;
mod support;

use common::{Server, Site, free_port, until};
use stores::{Consul, delete, get, put};
use support::Upstream;
use weir_net::Signal;

/// Main-level lines, lines of the upstream and lines of the server.
fn conf(main: &str, upstream: &str, server: &str) -> String {
    support::conf(&format!(
        "upstream app {{ {upstream} }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{ proxy_pass http://app; }}
             location = /list {{ upstream_show; }}
             {server}
         }}"
    ))
    .replace("events { }", &format!("state_path DIR/state; {main}\nevents {{ }}"))
}

fn with_registry(registry: u16, upstream: &str) -> Server {
    let main = format!("registry {{ listen 127.0.0.1:{registry}; data DIR/registry; }}");
    Site::new(&conf(&main, upstream, "")).start()
}

const EMBEDDED: &str = "upsync registry/v1/kv/upstreams/app/ upsync_type=consul upsync_interval=500ms;
    upsync_dump_path DIR/app.servers;";

fn key(upstream: &Upstream) -> String {
    format!("/v1/kv/upstreams/app/{}", upstream.address())
}

/// Waits until the next requests are answered by these and nobody else.
fn answered_by(server: &Server, words: &[&str]) {
    until(&format!("{words:?} answer"), || {
        let answers: Vec<String> = (0..words.len() * 3).map(|_| support::get(server, "/").text()).collect();
        let all = words.iter().all(|word| answers.iter().any(|answer| answer == word));
        (all && answers.iter().all(|answer| words.contains(&answer.as_str()))).then_some(())
    });
}

#[test]
fn peers_of_the_registry_inside_come_and_go() {
    let registry = free_port();
    let server = with_registry(registry, EMBEDDED);
    assert_eq!(support::get(&server, "/").status, 502, "nobody is there yet");
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    assert_eq!(put(registry, &key(&a), "{}"), (200, "true".to_owned()));
    answered_by(&server, &["a"]);
    put(registry, &key(&b), r#"{"weight":2, "max_fails":3, "fail_timeout":"7"}"#);
    answered_by(&server, &["a", "b"]);
    let list = support::get(&server, "/list?app").text();
    assert!(list.starts_with("Upstream name: app; Backend server count: 2\n"), "{list}");
    let line = format!("        server {} weight=2 max_fails=3 fail_timeout=7s;\n", b.address());
    assert!(list.contains(&line), "{list}");
    let dump =
        until("the dump", || Some(server.site.read("app.servers")).filter(|text| text.lines().count() == 2));
    assert!(
        dump.contains(&format!("server {} weight=1 max_fails=2 fail_timeout=10s;\n", a.address())),
        "{dump}"
    );
    put(registry, &key(&b), r#"{"down":1}"#);
    answered_by(&server, &["a"]);
    put(registry, &key(&b), "{}");
    delete(registry, &key(&a));
    answered_by(&server, &["b"]);
    // The last one cannot go: a list that became empty is more likely a mistake than a wish.
    delete(registry, &key(&b));
    server.wait_for_log("cannot delete all peers");
    answered_by(&server, &["b"]);
}

#[test]
fn the_worker_may_die_and_the_node_may_restart() {
    let registry = free_port();
    let server = with_registry(registry, EMBEDDED);
    let a = Upstream::saying("a");
    put(registry, &key(&a), "{}");
    answered_by(&server, &["a"]);
    let worker = server.worker();
    weir_net::send_signal(worker, Signal::Kill).expect("it runs");
    until("another worker", || (server.worker() != worker).then_some(()));
    answered_by(&server, &["a"]);
    assert_eq!(put(registry, "/v1/kv/after", "x"), (200, "true".to_owned()), "the registry is there again");
    let server = server.quit().start();
    answered_by(&server, &["a"]);
    assert_eq!(get(registry, "/v1/kv/after?raw").expect("it answers"), (200, "x".to_owned()));
}

#[test]
fn a_reload_and_a_broken_file_leave_the_peers_alone() {
    let registry = free_port();
    let server = with_registry(registry, EMBEDDED);
    let a = Upstream::saying("a");
    put(registry, &key(&a), "{}");
    answered_by(&server, &["a"]);
    let good = server.site.read("nginx.conf");
    server.site.write(&good.replace("upsync_type=consul ", "upsync_type=nothing "));
    server.signal(Signal::Hup);
    server.wait_for_log("reload refused");
    answered_by(&server, &["a"]);
    server.site.write(
        &good.replace("location = /list", "location = /another { return 200 another; } location = /list"),
    );
    server.signal(Signal::Hup);
    until("the reload", || (support::get(&server, "/another").text() == "another").then_some(()));
    assert_eq!(support::get(&server, "/").text(), "a", "it is there from the first request on");
}

#[test]
fn peers_of_a_consul_live_through_its_death() {
    let consul = Consul::start();
    let a = Upstream::saying("a");
    put(consul.port, &key(&a), "{}");
    let upstream = format!(
        "upsync 127.0.0.1:{}/v1/kv/upstreams/app/ upsync_type=consul upsync_interval=200ms;
         upsync_dump_path DIR/app.servers;",
        consul.port
    );
    let server = Site::new(&conf("", &upstream, "")).start();
    answered_by(&server, &["a"]);
    let stopped = consul.kill();
    assert_eq!(support::get(&server, "/").text(), "a");
    // The list of the disk serves while nobody can be asked.
    let server = server.quit().start();
    answered_by(&server, &["a"]);
    let consul = stopped.start();
    let b = Upstream::saying("b");
    put(consul.port, &key(&b), "{}");
    answered_by(&server, &["a", "b"]);
    // One that knows nothing must not empty the upstream.
    let consul = consul.kill().start_empty();
    put(consul.port, "/v1/kv/other", "x");
    answered_by(&server, &["a", "b"]);
    put(consul.port, &key(&a), "{}");
    answered_by(&server, &["a"]);
}

#[test]
fn services_of_a_consul_are_peers_while_they_pass() {
    let consul = Consul::start();
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    for (id, upstream) in [("a", &a), ("b", &b)] {
        let body = format!(
            r#"{{"ID":"{id}","Name":"web","Address":"127.0.0.1","Port":{},"Tags":["max_fails=0"],
                "Check":{{"CheckID":"{id}","TTL":"1h","Status":"passing"}}}}"#,
            upstream.address().port()
        );
        assert_eq!(put(consul.port, "/v1/agent/service/register", &body).0, 200);
    }
    let upstream = format!(
        "upsync 127.0.0.1:{}/v1/health/service/web upsync_type=consul_health upsync_interval=200ms;
         upsync_dump_path DIR/app.servers;",
        consul.port
    );
    let server = Site::new(&conf("", &upstream, "")).start();
    answered_by(&server, &["a", "b"]);
    put(consul.port, "/v1/agent/check/fail/b", "");
    answered_by(&server, &["a"]);
    put(consul.port, "/v1/agent/check/pass/b", "");
    answered_by(&server, &["a", "b"]);
}

#[test]
fn without_a_list_strong_dependency_serves_nothing() {
    let port = free_port();
    let upstream = format!(
        "upsync 127.0.0.1:{port}/v1/kv/upstreams/app/ upsync_type=consul strong_dependency=on;
         upsync_dump_path DIR/app.servers;"
    );
    let site = Site::new(&conf("", &upstream, ""));
    let output = site.output(&[]);
    assert!(!output.status.success());
    let log = site.read("error.log");
    assert!(log.contains("upstream \"app\" has strong_dependency=on and no list from"), "{log}");
}

#[test]
fn a_refused_reload_leaves_the_sources_at_work() {
    let registry = free_port();
    let server = with_registry(registry, EMBEDDED);
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    put(registry, &key(&a), "{}");
    answered_by(&server, &["a"]);
    let good = server.site.read("nginx.conf");
    let strong = format!(
        "upstream other {{ upsync 127.0.0.1:{}/v1/kv/other/ upsync_type=consul strong_dependency=on;
         upsync_dump_path DIR/other.servers; }} upstream app {{",
        free_port()
    );
    server.site.write(&good.replace("upstream app {", &strong));
    server.signal(Signal::Hup);
    server.wait_for_log("reload failed: upstream \"other\" has strong_dependency=on and no list from");
    put(registry, &key(&b), "{}");
    answered_by(&server, &["a", "b"]);
}
