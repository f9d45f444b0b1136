//! Real Consul and real etcd.

mod common;

use common::real::{Consul, Etcd};
use common::{Process, addresses, consul_keys, source, store};
use weir_model::Origin;

const ONE: &str = "192.0.2.1:80";
const TWO: &str = "192.0.2.2:80";

#[tokio::test]
async fn keys_of_consul_over_its_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut consul = Consul::start(folder.path()).await;
    let mut process = Process::new(None);
    consul.put("upstreams/app/192.0.2.1:80", "").await.expect("Consul answers");
    process.follow(source(consul_keys(&[consul.port])));
    let list = process.peers(&[ONE]).await;
    assert!(list.index > 0);

    consul.put("upstreams/app/192.0.2.2:80", r#"{"weight":3,"down":1}"#).await.expect("Consul answers");
    let list = process.peers(&[ONE, TWO]).await;
    assert_eq!((list.peers[1].weight, list.peers[1].drain, list.peers[0].drain), (3, true, false));
    consul.call("DELETE", "/v1/kv/upstreams/app/192.0.2.1:80", "").await;
    process.peers(&[TWO]).await;

    // The last key goes: the peer stays, and it is told why.
    consul.call("DELETE", "/v1/kv/upstreams/app/?recurse", "").await;
    assert!(
        process
            .failure()
            .await
            .starts_with("it lists no peer; cannot delete all peers; the last list (1 peers")
    );
    consul.put("upstreams/app/192.0.2.1:80", "").await.expect("Consul answers");
    process.peers(&[ONE]).await;

    // A restart, and what changed right after it.
    consul.stop();
    process.failure().await;
    consul.run().await;
    consul.put("upstreams/app/192.0.2.2:80", "").await.expect("Consul answers");
    process.peers(&[ONE, TWO]).await;

    // A restart without its data: the index begins anew, and the peers stay until there are others.
    consul.stop();
    process.failure().await;
    consul.wipe();
    consul.run().await;
    consul.put("upstreams/app/192.0.2.3:80", "").await.expect("Consul answers");
    process.peers(&["192.0.2.3:80"]).await;
}

#[tokio::test]
async fn services_of_consul_and_their_health() {
    let folder = tempfile::tempdir().expect("a folder");
    let consul = Consul::start(folder.path()).await;
    let register = |id: &str, port: u16, tags: &str| {
        format!(
            r#"{{"ID":"{id}","Name":"web","Address":"192.0.2.1","Port":{port},"Tags":[{tags}],
                "Check":{{"CheckID":"ttl-{id}","TTL":"600s","Status":"passing"}}}}"#
        )
    };
    consul.call("PUT", "/v1/agent/service/register", &register("a", 80, r#""weight=4""#)).await;
    consul.call("PUT", "/v1/agent/service/register", &register("b", 81, r#""backup","v1""#)).await;

    let mut catalog = Process::new(None);
    let path = "/v1/catalog/service/web".to_owned();
    catalog.follow(source(Origin::ConsulServices { store: store(&[consul.port]), path }));
    let list = catalog.peers(&["192.0.2.1:80", "192.0.2.1:81"]).await;
    assert_eq!((list.peers[0].weight, list.peers[0].backup, list.peers[1].backup), (4, false, true));

    let mut health = Process::new(None);
    let path = "/v1/health/service/web".to_owned();
    health.follow(source(Origin::ConsulHealth { store: store(&[consul.port]), path }));
    let states = async |health: &mut Process, expected: [(bool, bool); 2]| loop {
        let list = health.list().await;
        if list.peers.iter().map(|peer| (peer.down, peer.drain)).eq(expected) {
            return;
        }
    };
    states(&mut health, [(false, false), (false, false)]).await;
    consul.call("PUT", "/v1/agent/check/fail/ttl-a", "").await;
    states(&mut health, [(true, false), (false, false)]).await;
    consul.call("PUT", "/v1/agent/check/warn/ttl-a", "").await;
    states(&mut health, [(false, true), (false, false)]).await;
    consul.call("PUT", "/v1/agent/check/pass/ttl-a", "").await;
    consul.call("PUT", "/v1/agent/service/maintenance/b?enable=true&reason=x", "").await;
    states(&mut health, [(false, false), (true, false)]).await;

    consul.call("PUT", "/v1/agent/service/deregister/a", "").await;
    catalog.peers(&["192.0.2.1:81"]).await;
    health.peers(&["192.0.2.1:81"]).await;
}

#[tokio::test]
async fn keys_of_etcd_by_its_old_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let etcd = Etcd::start(folder.path()).await;
    let mut process = Process::new(None);
    etcd.call("PUT", "/v2/keys/app/192.0.2.1:80", "value=").await;
    process.follow(source(Origin::Etcd2 { store: store(&[etcd.port]), path: "/v2/keys/app".to_owned() }));
    process.peers(&[ONE]).await;
    etcd.call("PUT", "/v2/keys/app/192.0.2.2:80", "value={\"weight\":7}").await;
    assert_eq!(process.peers(&[ONE, TWO]).await.peers[1].weight, 7);
    etcd.call("DELETE", "/v2/keys/app/192.0.2.1:80", "").await;
    process.peers(&[TWO]).await;
    etcd.call("DELETE", "/v2/keys/app?recursive=true", "").await;
    assert!(process.failure().await.contains("cannot delete all peers"));
    etcd.call("PUT", "/v2/keys/app/192.0.2.2:80", "value=").await;
    process.peers(&[TWO]).await;
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn put(etcd: &Etcd, address: &str, value: &str) {
    let body = format!(r#"{{"key":"{}","value":"{}"}}"#, base64(&format!("app/{address}")), base64(value));
    etcd.call("POST", "/v3/kv/put", &body).await;
}

#[tokio::test]
async fn keys_of_etcd_by_its_new_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut etcd = Etcd::start(folder.path()).await;
    let mut process = Process::new(None);
    put(&etcd, ONE, "").await;
    process.follow(source(Origin::Etcd3 { store: store(&[etcd.port]), prefix: "app/".to_owned() }));
    let first = process.peers(&[ONE]).await;
    put(&etcd, TWO, r#"{"weight":"7"}"#).await;
    let list = process.peers(&[ONE, TWO]).await;
    assert_eq!((list.peers[1].weight, list.index), (7, first.index + 1));
    let key = base64("app/192.0.2.1:80");
    etcd.call("POST", "/v3/kv/deleterange", &format!(r#"{{"key":"{key}"}}"#)).await;
    let list = process.peers(&[TWO]).await;

    // While it is away much happens, and what happened is forgotten.
    etcd.stop();
    process.failure().await;
    etcd.run().await;
    let mut revision = 0;
    for n in 0..10 {
        let body = format!(
            r#"{{"key":"{}","value":"{}"}}"#,
            base64("app/192.0.2.3:80"),
            base64(&format!(r#"{{"weight":{n}}}"#))
        );
        let answer = etcd.call("POST", "/v3/kv/put", &body).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        revision = answer["header"]["revision"].as_str().expect("a revision").parse().expect("a number");
    }
    etcd.call("POST", "/v3/kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#)).await;
    let last = loop {
        let list = process.peers(&[TWO, "192.0.2.3:80"]).await;
        if list.index == revision {
            break list;
        }
    };
    assert_eq!(last.peers[1].weight, 9);
    assert!(last.index > list.index);
}

#[tokio::test]
async fn a_watch_of_etcd_from_a_forgotten_revision_reads_everything_again() {
    use common::fake::{Act, Fake};
    let range = |revision: u64, address: &str| {
        let key = base64(&format!("app/{address}"));
        let body = format!(r#"{{"header":{{"revision":"{revision}"}},"kvs":[{{"key":"{key}"}}]}}"#);
        Act::Say(common::fake::answer("200 OK", None, &body))
    };
    let mut fake = Fake::start().await;
    let mut process = Process::new(None);
    process.follow(source(Origin::Etcd3 { store: store(&[fake.port]), prefix: "app/".to_owned() }));
    // A gateway of another age.
    assert_eq!(fake.target().await, "/v3/kv/range");
    fake.act(Act::SayAndClose(common::fake::answer("404 Not Found", None, "Not Found")));
    assert_eq!(fake.target().await, "/v3beta/kv/range");
    fake.act(range(5, ONE));
    assert_eq!(addresses(&process.list().await), [ONE]);
    assert_eq!(fake.target().await, "/v3beta/watch");
    let line =
        r#"{"result":{"header":{"revision":"9"},"created":true,"canceled":true,"compact_revision":"8"}}"#;
    fake.act(Act::SayAndClose(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{line}\n").into_bytes()));
    assert_eq!(fake.target().await, "/v3beta/kv/range");
    fake.act(range(9, TWO));
    let list = process.list().await;
    assert_eq!((addresses(&list), list.index), (vec![TWO.to_owned()], 9));
    assert_eq!(process.errors(), Vec::<String>::new());
}
