//! Several control APIs, and an upstream whose servers only they know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::time::Instant;
use weir_rollout::{Bucket, Counters, Moment, PeerState, PeerView};
use weir_serve_rollout::{
    Holder, LockError, Proxies, Proxy, ProxyError, Reply, Store, StoreError, StoreEvent, Token, Transport,
};

/// A control API of a test.
#[derive(Default)]
struct Fake {
    away: Mutex<bool>,
    peers: Mutex<BTreeMap<String, Value>>,
    sources: Value,
    served: Mutex<u64>,
    /// Method, target, authorization and body of each question that changes or waits.
    asked: Mutex<Vec<(String, String, Value)>>,
    /// One is taken from what runs with each look.
    ends: bool,
}

const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";

impl Fake {
    fn new(peers: &[(&str, Value)]) -> Self {
        let full = |(address, more): &(&str, Value)| {
            let mut peer =
                json!({ "address": address, "server": address, "weight": 1, "state": "up", "active": 0 });
            for (name, value) in more.as_object().expect("an object") {
                peer[name] = value.clone();
            }
            ((*address).to_owned(), peer)
        };
        Self { peers: Mutex::new(peers.iter().map(full).collect()), sources: json!([]), ..Self::default() }
    }

    fn show(&self) -> Value {
        let mut peers = self.peers.lock().expect("no panic");
        let shown =
            json!({ "name": "web", "sources": self.sources, "peers": peers.values().collect::<Vec<_>>() });
        for peer in peers.values_mut().filter(|_| self.ends) {
            peer["active"] = json!(peer["active"].as_u64().unwrap_or(0).saturating_sub(1));
        }
        shown
    }

    fn answer(&self, method: &Method, target: &str, body: &[u8]) -> (u16, Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match (method.as_str(), path) {
            ("GET", "/v1/upstreams/web") => (200, self.show()),
            ("GET", "/v1/upstreams/web/wait-applied") => {
                let index = query
                    .trim_start_matches("index=")
                    .split('&')
                    .next()
                    .and_then(|index| index.parse::<u64>().ok());
                let (index, served) = (index.expect("an index"), *self.served.lock().expect("no panic"));
                if index <= served {
                    return (200, json!({ "index": served, "served": served }));
                }
                (
                    504,
                    json!({ "error": "upstream web does not serve it yet", "hint": format!("{served} is served") }),
                )
            }
            ("PUT", path) if path.starts_with("/v1/upstreams/web/peers/") => {
                let wish: Value = serde_json::from_slice(body).expect("JSON");
                let mut peers = self.peers.lock().expect("no panic");
                let peer =
                    peers.get_mut(path.trim_start_matches("/v1/upstreams/web/peers/")).expect("a peer");
                peer["state"] = json!(if wish["state"] == "drain" { "draining" } else { "up" });
                (200, json!({ "served": true }))
            }
            _ => (404, json!({ "error": "unknown upstream", "hint": "GET /v1/upstreams lists all" })),
        }
    }
}

impl Transport for Fake {
    fn send<'a>(
        &'a self,
        method: Method,
        path_and_query: &'a str,
        headers: HeaderMap,
        body: Bytes,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if *self.away.lock().expect("no panic") {
                return Err("connection refused".to_owned());
            }
            let shown = headers.get("authorization").map_or("", |value| value.to_str().expect("text"));
            if method != Method::GET {
                let wish = serde_json::from_slice(&body).expect("JSON");
                self.asked.lock().expect("no panic").push((
                    path_and_query.to_owned(),
                    shown.to_owned(),
                    wish,
                ));
            }
            let (status, body) = self.answer(&method, path_and_query, &body);
            Ok(Reply { status, body: body.to_string().into() })
        })
    }
}

fn proxies(fakes: &[&Arc<Fake>], optional: bool) -> Arc<Proxies> {
    Arc::new(proxies_of(fakes, optional))
}

fn proxies_of(fakes: &[&Arc<Fake>], optional: bool) -> Proxies {
    let token = Token::new("hush\n");
    let one = |(n, fake): (usize, &&Arc<Fake>)| {
        let transport: Arc<dyn Transport> = Arc::<Fake>::clone(fake);
        Proxy::new(format!("edge-{n}"), transport, Some(&token)).expect("a proxy")
    };
    Proxies::new("web", fakes.iter().enumerate().map(one).collect(), optional)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test(start_paused = true)]
async fn the_barrier_waits_for_all_and_names_who_is_late() {
    let (one, other) = (Arc::new(Fake::new(&[])), Arc::new(Fake::new(&[])));
    let both = proxies(&[&one, &other], false);
    *one.served.lock().expect("no panic") = 7;
    assert_eq!(
        both.wait_applied(7, soon()).await,
        Err(ProxyError::Late {
            proxy: "edge-1".to_owned(),
            index: 7,
            problem: "upstream web does not serve it yet; 0 is served".to_owned()
        })
    );
    let (reached, ()) = tokio::join!(both.wait_applied(7, soon()), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        *other.served.lock().expect("no panic") = 8;
    });
    assert_eq!(reached, Ok(()));
    assert_eq!(both.wait_applied(0, Instant::now()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_is_away_stops_it_unless_it_is_optional() {
    let (one, other) = (Arc::new(Fake::new(&[(A, json!({}))])), Arc::new(Fake::new(&[(A, json!({}))])));
    *one.served.lock().expect("no panic") = 7;
    *other.away.lock().expect("no panic") = true;
    let gone =
        ProxyError::Unreachable { proxy: "edge-1".to_owned(), problem: "connection refused".to_owned() };
    let strict = proxies(&[&one, &other], false);
    assert_eq!(strict.view().await, Err(gone.clone()));
    assert_eq!(strict.wait_applied(7, soon()).await, Err(gone.clone()));
    assert_eq!(strict.quiet(A, Some(soon()), true, |_| {}).await, Err(gone.clone()));
    let lax = proxies(&[&one, &other], true);
    assert_eq!(lax.view().await.expect("one is enough").len(), 1);
    assert_eq!(lax.away(), ["edge-1"]);
    assert_eq!(lax.wait_applied(7, soon()).await, Ok(()));
    *other.away.lock().expect("no panic") = false;
    lax.view().await.expect("both");
    assert!(lax.away().is_empty());
    *one.away.lock().expect("no panic") = true;
    *other.away.lock().expect("no panic") = true;
    assert_eq!(lax.view().await, Err(gone));
    assert_eq!(proxies(&[], false).view().await, Err(ProxyError::None));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_comes_back_in_time_is_waited_for() {
    let one = Arc::new(Fake::new(&[(A, json!({}))]));
    *one.away.lock().expect("no panic") = true;
    let alone = proxies(&[&one], false);
    let (view, ()) = tokio::join!(alone.view(), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        *one.away.lock().expect("no panic") = false;
    });
    assert_eq!(view.expect("it came back").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn quiet_is_when_nothing_runs_anywhere() {
    let out = |active: u64| json!({ "active": active, "state": "draining" });
    let one = Arc::new(Fake { ends: true, ..Fake::new(&[(A, out(3))]) });
    let other = Arc::new(Fake { ends: true, ..Fake::new(&[(A, out(1)), (B, json!({ "active": 90 }))]) });
    let counts = Mutex::new(Vec::new());
    let both = proxies(&[&one, &other], false);
    let seen = |active| counts.lock().expect("no panic").push(active);
    assert_eq!(both.quiet(A, None, true, seen).await, Ok(0));
    assert_eq!(*counts.lock().expect("no panic"), [4, 2, 1, 0]);
    let busy = json!({ "active": 5, "upgraded": 5, "state": "draining" });
    let busy = Arc::new(Fake::new(&[(A, busy)]));
    let alone = proxies(&[&busy], false);
    assert_eq!(alone.quiet(A, Some(soon()), true, |_| {}).await, Ok(5));
    assert_eq!(alone.quiet(A, Some(soon()), false, |_| {}).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_a_proxy_still_serves_is_not_quiet() {
    let one = Arc::new(Fake::new(&[(A, json!({ "state": "draining" }))]));
    let other = Arc::new(Fake::new(&[(A, json!({}))]));
    let both = proxies(&[&one, &other], false);
    let disobeys = ProxyError::Disobeys { proxy: "edge-1".to_owned(), server: A.to_owned() };
    assert_eq!(both.quiet(A, None, true, |_| {}).await, Err(disobeys.clone()));
    assert_eq!(both.quiet(A, Some(soon()), true, |_| {}).await, Err(disobeys));
    let (quiet, ()) = tokio::join!(both.quiet(A, None, true, |_| {}), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.peers.lock().expect("no panic").get_mut(A).expect("a peer")["state"] = json!("draining");
    });
    assert_eq!(quiet, Ok(0));
    // Who does not know it sends it nothing.
    assert_eq!(both.quiet(B, None, true, |_| {}).await, Ok(0));
}

#[tokio::test]
async fn views_and_counters_are_those_of_all() {
    let answers = |ok: u64, bad: u64, slow: u64| {
        let buckets = json!([{ "up_to_us": 1000, "count": ok }, { "up_to_us": 8000, "count": slow }]);
        json!({ "answers": { "2xx": ok, "5xx": bad }, "connect_errors": 1, "timeouts": 2, "latency": { "buckets": buckets } })
    };
    let named = json!({ "server": "app-3:80", "failures": 4, "requests": 9 });
    let one =
        Arc::new(Fake::new(&[(A, answers(10, 1, 1)), (B, json!({ "active": 2 })), ("10.0.0.3:80", named)]));
    let mut worse = answers(20, 2, 2);
    worse["state"] = json!("failed");
    let other = Arc::new(Fake::new(&[(A, worse), ("10.0.0.3:80", json!({ "server": "app-3:80" }))]));
    let both = proxies(&[&one, &other], false);
    let view = |address: &str, serving, active, state| PeerView {
        address: address.to_owned(),
        weight: 1,
        serving,
        active,
        state,
        backup: false,
    };
    assert_eq!(
        both.view().await.expect("a view"),
        [
            view(A, false, 0, PeerState::Failed),
            view(B, false, 2, PeerState::Up),
            view("app-3:80", true, 0, PeerState::Up)
        ]
    );
    let metrics = both.metrics(A, &[B.to_owned(), "app-3:80".to_owned()]).await.expect("metrics");
    let latency = vec![Bucket { up_to_us: 1000, count: 30 }, Bucket { up_to_us: 8000, count: 3 }];
    assert_eq!(metrics.server, Counters { requests: 37, errors: 7, connect_errors: 2, latency });
    assert_eq!((metrics.others.requests, metrics.others.errors), (9, 4));
    assert_eq!(metrics.state, Some(PeerState::Failed));
}

#[tokio::test]
async fn the_prefix_is_what_all_proxies_say() {
    let source = |path: Value| json!([{ "kind": "consul", "endpoint": "127.0.0.1:8500", "path": path }]);
    let fake = |sources| Arc::new(Fake { sources, ..Fake::new(&[]) });
    let (web, same, api) = (
        fake(source(json!("/upstreams/web/"))),
        fake(source(json!("upstreams/web"))),
        fake(source(json!("api"))),
    );
    let origin = proxies(&[&web, &same], false).origin().await.expect("an origin");
    assert_eq!((origin.kind.as_str(), origin.prefix.as_str()), ("consul", "upstreams/web"));
    let text =
        async |fakes: &[&Arc<Fake>]| proxies(fakes, false).origin().await.expect_err("no origin").to_string();
    assert_eq!(
        text(&[&web, &api]).await,
        "upstream web is read from upstreams/web and from api; name the servers' keys with --prefix, as in upstreams/web"
    );
    assert!(
        text(&[&fake(source(Value::Null))])
            .await
            .starts_with("the proxies do not say which keys upstream web is read from")
    );
    assert!(text(&[&fake(json!([]))]).await.contains("use --store control"));
}

#[tokio::test]
async fn another_upstream_is_refused_in_the_words_of_the_proxy() {
    let fake: Arc<dyn Transport> = Arc::new(Fake::new(&[]));
    let all = Proxies::new("wep", vec![Proxy::new("edge", fake, None).expect("a proxy")], true);
    assert_eq!(
        all.view().await.expect_err("it is not there").to_string(),
        "proxy edge answers 404: unknown upstream; GET /v1/upstreams lists all"
    );
}

fn holder(who: &str) -> Holder {
    Holder { who: who.to_owned(), host: "ci-1".to_owned(), pid: 7, since: Moment(1), version: None }
}

#[tokio::test(start_paused = true)]
async fn without_a_store_the_proxies_are_told_and_a_folder_has_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (Arc::new(Fake::new(&[(A, json!({}))])), Arc::new(Fake::new(&[(A, json!({}))])));
    let both = proxies(&[&one, &other], false);
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let tell: weir_serve_rollout::Tell = Arc::new(move |event| drop(sender.send(event)));
    let open = || Store::control("web", Arc::clone(&both), folder.path().to_owned(), Arc::clone(&tell));
    let (store, second) = (open(), open());
    assert_eq!(json!(store.peers().await.expect("peers")[0].attributes), json!({ "weight": 1, "down": 0 }));
    let lock = store.lock(holder("ann")).await.expect("it is free");
    assert!(
        matches!(second.lock(holder("bob")).await, Err(LockError::HeldBy(held)) if held == holder("ann"))
    );
    let drain = |attributes: &mut serde_json::Map<_, _>| drop(attributes.insert("down".to_owned(), json!(1)));
    assert_eq!(store.change(A, drain).await.expect("a change"), 0);
    let order = (
        "/v1/upstreams/web/peers/10.0.0.1:80?wait=served&timeout=30s".to_owned(),
        "Bearer hush".to_owned(),
        json!({ "state": "drain", "reason": "release" }),
    );
    for fake in [&one, &other] {
        assert_eq!(*fake.asked.lock().expect("no panic"), std::slice::from_ref(&order));
    }
    assert_eq!(both.view().await.expect("a view")[0].state, PeerState::Draining);
    let forced = Arc::new(proxies_of(&[&one], false).to_the_last(true));
    let third = Store::control("web", forced, folder.path().to_owned(), Arc::clone(&tell));
    third.change(A, drain).await.expect("a change");
    let last = one.asked.lock().expect("no panic").last().cloned().expect("an order");
    assert_eq!(last.2, json!({ "state": "drain", "reason": "release", "force": true }));
    let unknown = store.change(B, drain).await.expect_err("it is not there");
    assert_eq!(unknown.to_string(), "no proxy knows server 10.0.0.2:80; look with weir upstream");
    store.set_word("order", Some("abort")).await.expect("set");
    assert_eq!(second.word("order").await.expect("read").as_deref(), Some("abort"));

    assert_eq!(second.break_lock("bob@desk").await.expect("broken"), Some(holder("ann")));
    let lost = events.recv().await.expect("the store lives");
    assert_eq!(lost, StoreEvent::LockLost { why: "broken by bob@desk".to_owned() });
    assert!(matches!(store.change(A, drain).await, Err(StoreError::LockLost { .. })));
    drop(lock);
    let lock = second.lock(holder("bob")).await.expect("it is free");
    lock.release().await.expect("released");
    assert_eq!(second.holder().await.expect("read"), None);
}
