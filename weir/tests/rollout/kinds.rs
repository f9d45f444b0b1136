//! The same release with every kind of store.

use std::process::Command;

use weir_net::Signal;

use crate::common::{Site, free_port, until};
use crate::load::instance::Instance;
use crate::load::proxy;
use crate::stage::{Fleet, PREFIX, Stage};
use crate::stores::{Consul, send};

#[test]
fn with_a_consul() {
    let consul = Consul::start();
    let source = format!("127.0.0.1:{}/v1/kv/{PREFIX}/ upsync_type=consul", consul.port);
    let stage = Stage::with(3, consul.port, "", &source);
    let (code, log) = stage.release("2", &[]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    assert_eq!(stage.states(), ["up"; 3]);
    // The place of the keys is known from the proxy, and the store's too.
    let words = stage.fleet.words("3").into_iter().chain(["--proxy".to_owned(), stage.control()]);
    let (code, log) = stage.spawn("release", words).code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["3"; 3]);
}

#[test]
fn with_the_registry_of_the_node_one_address_is_enough() {
    let stage = Stage::new(3);
    let words = stage.fleet.words("2");
    let words = words.into_iter().chain(["--store-address".to_owned(), format!("127.0.0.1:{}", stage.store)]);
    let (code, log) = stage.spawn("release", words).code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
}

#[test]
fn with_an_etcd() {
    let folder = tempfile::tempdir().expect("a folder");
    let (client, peer) = (free_port(), free_port());
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new("etcd");
    command.arg(format!("--data-dir={}", folder.path().display()));
    command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
    command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
    command.arg(format!("--initial-cluster=default={}", url(peer)));
    let _etcd = Instance::spawn(folder.path(), "etcd.log", command);
    until("etcd", || send(client, "GET", "/health", "", "").ok().filter(|(status, _)| *status == 200));
    let fleet = Fleet::start(3);
    for address in fleet.addresses() {
        let status = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &url(client), "put", &format!("/{PREFIX}/{address}"), "{\"weight\":1}"])
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.expect("etcdctl is installed by ./test").success());
    }
    let upstream = format!("source etcd 127.0.0.1:{client} prefix=/{PREFIX}/;");
    let server = Site::new(&proxy("", &upstream)).start();
    let stage = Stage { fleet, server, store: client };
    stage.until_all_serve();
    let words = stage.fleet.words("2").into_iter().chain(["--proxy".to_owned(), stage.control()]);
    let (code, log) = stage.spawn("release", words).code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    assert_eq!(stage.states(), ["up"; 3]);
}

/// Servers that stand in the configuration: the proxy itself is told, and remembers it over a reload.
#[test]
fn without_a_store() {
    let fleet = Fleet::start(3);
    let lines: String = fleet.addresses().iter().map(|address| format!("server {address}; ")).collect();
    let server = Site::new(&proxy("", &lines)).start();
    let stage = Stage { fleet, server, store: 0 };
    stage.until_all_serve();
    let state = stage.fleet.path().display().to_string();
    let mut words = stage.fleet.words("2");
    words.extend([
        "--proxy".to_owned(),
        stage.control(),
        "--store-folder".to_owned(),
        format!("{state}/rollout"),
    ]);
    let wait = format!("post_drain=while [ -d {state} ] && ! [ -e {state}/go ]; do sleep 0.02; done");
    words.extend(["--hook".to_owned(), wait]);
    let mut release = stage.spawn("release", words);
    let first = stage.fleet.addresses()[0].clone();
    release.says(&format!("{first}: DRAINED"));
    assert!(stage.peer(0)["by"]["operator"].is_string(), "{}", stage.peer(0));
    stage.server.signal(Signal::Hup);
    stage.server.wait_for_log("reconfigur");
    assert_eq!(stage.states(), ["draining", "up", "up"]);
    std::fs::write(format!("{state}/go"), "").expect("write");
    let (code, log) = release.code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    assert_eq!(stage.states(), ["up"; 3]);
}

/// Over TCP without a token a proxy may be looked at and not told anything; that is known before anything is begun.
#[test]
fn without_a_store_and_without_a_token() {
    let fleet = Fleet::start(2);
    let lines: String = fleet.addresses().iter().map(|address| format!("server {address}; ")).collect();
    let api = free_port();
    let conf = proxy("", &lines).replace("admin { ", &format!("admin {{ listen 127.0.0.1:{api}; "));
    let server = Site::new(&conf).start();
    let stage = Stage { fleet, server, store: 0 };
    stage.until_all_serve();
    let folder = stage.fleet.path().join("rollout").display().to_string();
    let proxy = format!("127.0.0.1:{api}");
    for more in [&[][..], &["--dry-run"]] {
        let words = ["--proxy", &proxy, "--store-folder", &folder];
        let words = words.iter().chain(more).map(|word| (*word).to_owned());
        let (code, log) = stage.spawn("release", stage.fleet.words("2").into_iter().chain(words)).code();
        assert_eq!(code, 3, "{log}");
        assert!(log.contains("changes over TCP are not allowed: there is no write token"), "{log}");
    }
    assert_eq!(stage.states(), ["up", "up"]);
    assert_eq!(stage.fleet.versions(), ["1", "1"]);
}

/// Two proxies read one list: a server is drained when both say so.
#[test]
fn with_two_proxies() {
    let stage = Stage::new(3);
    let upstream = format!(
        "upsync 127.0.0.1:{}/v1/kv/{PREFIX}/ upsync_type=consul; upsync_dump_path DIR/dump;",
        stage.store
    );
    let second = Site::new(&proxy("", &upstream)).start();
    let socket = second.site.file("control.sock");
    let served = || {
        let (_, body) = crate::stores::send_to_socket(&socket, "GET", "/v1/upstreams/web", "").ok()?;
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        (body["peers"].as_array()?.len() == 3).then_some(())
    };
    until("the second proxy has the list", served);
    let control = format!("unix:{}", socket.display());
    // Whatever server it is, it serves somebody on the second proxy only.
    let mut clients: Vec<_> = (0..3).map(|_| crate::support::websocket::open(second.site.port)).collect();
    let (code, log) = stage.release("2", &["--proxy", &control, "--drain-timeout", "300ms"]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("1 request still ran after 300ms of draining"), "{log}");
    assert_eq!(stage.fleet.versions(), ["1"; 3], "it was put back");
    clients.clear();
    until("nobody is served there", || {
        let (_, body) = crate::stores::send_to_socket(&socket, "GET", "/v1/upstreams/web", "").ok()?;
        body.matches("\"active\":0").nth(2).map(drop)
    });
    let (code, log) = stage.release("2", &["--proxy", &control]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    // One that is gone is named, and can be left out.
    drop(second);
    let (code, log) = stage.release("3", &["--proxy", &control]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains(&format!("proxy {control} cannot be reached")), "{log}");
    let (code, log) = stage.release("3", &["--proxy", &control, "--proxy-optional"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["3"; 3]);
}
