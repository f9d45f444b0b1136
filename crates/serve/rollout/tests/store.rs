//! Servers, progress and history in real stores.

mod real;

use real::{Real, event, soon};
use serde_json::json;
use weir_rollout::{History, Moment, Outcome, Phase, Plan, Progress, State, StoreKind, Version};
use weir_serve_rollout::{StoreError, StoreEvent};

const KEY: &str = "upstreams/web/10.0.0.1:80";

fn progress(phase: Phase) -> Progress {
    Progress {
        schema: 1,
        plan: Plan { upstream: "web".to_owned(), ..Plan::default() },
        started: Moment(1),
        updated: Moment(2),
        phase,
        min_healthy: 1,
        servers: Vec::new(),
        failure: None,
        undo_failed: false,
        outcome: None,
    }
}

async fn servers(kind: StoreKind) {
    let real = Real::start(kind).await;
    let value = json!({ "weight": 3, "zone": { "name": "b" }, "max_fails": 2 });
    real.write(KEY, &value).await.expect("a write");
    real.write("upstreams/web/10.0.0.2:80", &json!({})).await.expect("a write");
    real.write("upstreams/website/10.0.0.9:80", &json!({})).await.expect("a write");
    let (store, _events) = real.store();
    store.reach().await.expect("it is there");
    let peers = store.peers().await.expect("peers");
    assert_eq!(
        peers.iter().map(|peer| peer.address.as_str()).collect::<Vec<_>>(),
        ["10.0.0.1:80", "10.0.0.2:80"]
    );
    assert_eq!(json!(peers[0].attributes), value);

    let drain = |attributes: &mut serde_json::Map<_, _>| drop(attributes.insert("down".to_owned(), json!(1)));
    let index = store.change("10.0.0.1:80", drain).await.expect("a change");
    let drained = json!({ "weight": 3, "zone": { "name": "b" }, "max_fails": 2, "down": 1 });
    assert_eq!(real.read(KEY).await, (drained, index));
    assert_eq!(store.change("10.0.0.1:80", drain).await.expect("no change"), index, "nothing was written");
    let unknown = store.change("10.0.0.3:80", drain).await.expect_err("it is not there");
    assert_eq!(
        unknown.to_string(),
        "server 10.0.0.3:80 has no key upstreams/web/10.0.0.3:80 in the store; name one that is there, or another prefix with --prefix"
    );
    if kind == StoreKind::Consul {
        let (_, body) =
            real.ask(hyper::Method::GET, &format!("/v1/kv/{KEY}"), String::new()).await.expect("an answer");
        assert!(body.contains("\"Flags\":42"), "{body}");
    }
    real.write(KEY, &json!([1])).await.expect("a write");
    let unreadable = store.change("10.0.0.1:80", drain).await.expect_err("no object");
    assert!(matches!(&unreadable, StoreError::Unreadable { key, .. } if key == KEY), "{unreadable}");
}

/// Two who count in the same value at the same time: nothing is lost.
async fn race(kind: StoreKind) {
    let real = Real::start(kind).await;
    real.write(KEY, &json!({ "weight": 1 })).await.expect("a write");
    let ((one, _a), (other, _b)) = (real.store(), real.store());
    let count = async |store: &weir_serve_rollout::Store, name: &str| {
        for n in 1..=40 {
            let set =
                |attributes: &mut serde_json::Map<_, _>| drop(attributes.insert(name.to_owned(), json!(n)));
            let index = store.change("10.0.0.1:80", set).await.expect("a change");
            let (value, seen) = real.read(KEY).await;
            assert!(value[name] == json!(n) && seen >= index, "{value} {seen} {index}");
        }
    };
    tokio::join!(count(&one, "left"), count(&other, "right"));
    assert_eq!(real.read(KEY).await.0, json!({ "weight": 1, "left": 40, "right": 40 }));
}

/// The store dies while it is written to, and comes back.
async fn crash(kind: StoreKind) {
    let mut real = Real::start(kind).await;
    real.write(KEY, &json!({ "weight": 1 })).await.expect("a write");
    let (store, mut events) = real.store();
    store.save_progress(&progress(Phase::Opening)).await.expect("saved");
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            let mut last = 0;
            for n in 1..=200 {
                let set = |attributes: &mut serde_json::Map<_, _>| {
                    drop(attributes.insert("n".to_owned(), json!(n)))
                };
                let index = store.change("10.0.0.1:80", set).await.expect("a change");
                assert!(index > last, "{index} after {last}");
                last = index;
                store.save_progress(&progress(Phase::Batch(n))).await.expect("saved");
            }
            last
        }
    });
    for _ in 0..2 {
        real.stop();
        let lost = event(&mut events, |event| matches!(event, StoreEvent::Lost { .. })).await;
        assert!(matches!(lost, StoreEvent::Lost { problem } if !problem.is_empty()));
        real.run().await;
        event(&mut events, |event| *event == StoreEvent::Back).await;
    }
    let last = soon("end of the writer", writer).await.expect("no panic");
    assert_eq!(real.read(KEY).await, (json!({ "weight": 1, "n": 200 }), last));
    assert_eq!(store.load_progress().await.expect("read"), Some(progress(Phase::Batch(200))));
}

async fn documents(kind: StoreKind) {
    let real = Real::start(kind).await;
    let ((store, _a), (other, _b)) = (real.store(), real.store());
    assert_eq!(store.load_progress().await.expect("read"), None);
    store.save_progress(&progress(Phase::Opening)).await.expect("saved");
    assert_eq!(other.load_progress().await.expect("read"), Some(progress(Phase::Opening)));
    other.save_progress(&progress(Phase::Batch(0))).await.expect("saved");
    let overtaken = store.save_progress(&progress(Phase::Batch(1))).await.expect_err("another wrote");
    assert!(
        matches!(&overtaken, StoreError::Overtaken { key } if key == "weir/rollout/web/progress"),
        "{overtaken}"
    );
    assert_eq!(store.load_progress().await.expect("read"), Some(progress(Phase::Batch(0))));
    store.save_progress(&progress(Phase::Batch(1))).await.expect("it read what the other wrote");

    let ended = |n: u64, outcome| History {
        upstream: "web".to_owned(),
        who: "ann@ci-1".to_owned(),
        version: Version::default(),
        started: Moment(n),
        ended: Moment(n + 5),
        outcome,
        servers: vec![("10.0.0.1:80".to_owned(), State::Done)],
    };
    let (first, second) = (ended(99, Outcome::Interrupted), ended(1_700_000_000_000, Outcome::Done));
    store.append_history(&second).await.expect("added");
    store.append_history(&first).await.expect("added");
    store.append_history(&first).await.expect("added once");
    assert_eq!(store.history().await.expect("read"), [first, second]);

    assert_eq!(store.word("order").await.expect("read"), None);
    store.set_word("order", Some("promote")).await.expect("set");
    assert_eq!(other.word("order").await.expect("read").as_deref(), Some("promote"));
    other.set_word("order", None).await.expect("taken");
    assert_eq!(store.word("order").await.expect("read"), None);
}

macro_rules! with_each_store {
    ($($test:ident)+) => {
        mod consul {
            $(#[tokio::test] async fn $test() { super::$test(super::StoreKind::Consul).await; })+
        }
        mod etcd {
            $(#[tokio::test] async fn $test() { super::$test(super::StoreKind::Etcd).await; })+
        }
    };
}

with_each_store! { servers race crash documents }

#[tokio::test]
async fn a_store_that_is_not_there_is_told_at_once() {
    let mut real = Real::start(StoreKind::Consul).await;
    real.stop();
    let (store, _events) = real.store();
    let error = store.reach().await.expect_err("nobody listens");
    assert!(matches!(&error, StoreError::Unreachable { problem } if problem.contains("refused")), "{error}");
}
