//! Who may release, in real stores.

mod real;

use std::time::Duration;

use real::{Real, event, holder, soon};
use serde_json::json;
use weir_rollout::StoreKind;
use weir_serve_rollout::{Lock, LockError, Store, StoreError, StoreEvent};

const KEY: &str = "upstreams/web/10.0.0.1:80";

fn held_by(answer: Result<Lock, LockError>) -> String {
    match answer {
        Err(LockError::HeldBy(holder)) => holder.who,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was free"),
    }
}

async fn write(store: &Store) -> Result<u64, StoreError> {
    store.change("10.0.0.1:80", |attributes| drop(attributes.insert("down".to_owned(), json!(1)))).await
}

async fn two(kind: StoreKind) {
    let real = Real::start(kind).await;
    let ((one, _a), (other, _b)) = (real.store(), real.store());
    assert_eq!(one.holder().await.expect("read"), None);
    let (first, second) = tokio::join!(one.lock(holder("ann")), other.lock(holder("bob")));
    let (won, lost, winner, loser) = match (first, second) {
        (Ok(lock), answer) => (lock, held_by(answer), &one, &other),
        (answer, Ok(lock)) => (lock, held_by(answer), &other, &one),
        (Err(error), Err(_)) => panic!("nobody has it: {error}"),
    };
    assert_eq!(loser.holder().await.expect("read").expect("somebody").who, lost);
    let text = loser.lock(holder("cid")).await.err().expect("it is held").to_string();
    assert!(
        text.starts_with(&format!("{lost}@ci-1 (process 7, version v2) releases this upstream now")),
        "{text}"
    );
    won.release().await.expect("released");
    assert_eq!(winner.holder().await.expect("read"), None);
    let lock = loser.lock(holder("cid")).await.expect("it is free");
    lock.release().await.expect("released");
}

/// A process that was killed renews nothing.
async fn killed(kind: StoreKind) {
    let real = Real::start(kind).await;
    let ((one, _a), (other, _b)) = (real.store(), real.store());
    drop(one.lock(holder("ann")).await.expect("it is free"));
    assert_eq!(held_by(other.lock(holder("bob")).await), "ann");
    let lock =
        soon("lock", other.lock_within(holder("bob"), Duration::from_secs(60))).await.expect("it ended");
    assert_eq!(one.holder().await.expect("read").expect("somebody").who, "bob");
    lock.release().await.expect("released");
}

async fn broken(kind: StoreKind) {
    let real = Real::start(kind).await;
    real.write(KEY, &json!({})).await.expect("a write");
    let ((one, mut events), (other, _b)) = (real.store(), real.store());
    assert_eq!(other.break_lock("bob@desk").await.expect("nothing to break"), None);
    let _lock = one.lock(holder("ann")).await.expect("it is free");
    write(&one).await.expect("it has the lock");
    assert_eq!(other.break_lock("bob@desk").await.expect("broken").expect("somebody").who, "ann");
    let lost = event(&mut events, |event| matches!(event, StoreEvent::LockLost { .. })).await;
    assert_eq!(lost, StoreEvent::LockLost { why: "broken by bob@desk".to_owned() });
    let refused = write(&one).await.expect_err("no lock");
    assert!(matches!(&refused, StoreError::LockLost { why } if why == "broken by bob@desk"), "{refused}");
    let lock = other.lock(holder("bob")).await.expect("it is free");
    lock.release().await.expect("released");
}

/// The session ends too early: taken anew while nobody wants it, lost when somebody was faster.
async fn expired(kind: StoreKind) {
    let real = Real::start(kind).await;
    real.write(KEY, &json!({})).await.expect("a write");
    let ((one, mut events), (other, _b)) = (real.store(), real.store());
    let _lock = one.lock(holder("ann")).await.expect("it is free");
    real.expire().await;
    soon("ann again", async {
        while other.holder().await.expect("read").is_none_or(|holder| holder.who != "ann") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    write(&one).await.expect("it has the lock");
    let waiting = tokio::spawn({
        let other = other.clone();
        // Less than between two renewals of the one who has it.
        async move { other.lock_within(holder("bob"), Duration::from_secs(60)).await }
    });
    let taken = loop {
        real.expire().await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        if waiting.is_finished() {
            break waiting.await.expect("no panic").expect("bob was faster");
        }
        soon("ann again", async {
            while one.holder().await.expect("read").is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    };
    let lost = event(&mut events, |event| matches!(event, StoreEvent::LockLost { .. })).await;
    assert_eq!(lost, StoreEvent::LockLost { why: "bob@ci-1 (process 7, version v2) has it".to_owned() });
    assert!(matches!(write(&one).await, Err(StoreError::LockLost { .. })));
    taken.release().await.expect("released");
}

/// The store is away for longer than a session lives.
async fn away(kind: StoreKind) {
    let mut real = Real::start(kind).await;
    real.write(KEY, &json!({})).await.expect("a write");
    let ((one, mut events), (other, _b)) = (real.store(), real.store());
    let lock = one.lock(holder("ann")).await.expect("it is free");
    real.stop();
    event(&mut events, |event| matches!(event, StoreEvent::Lost { .. })).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    real.run().await;
    soon("write", write(&one)).await.expect("it has the lock, still or again");
    assert_eq!(held_by(other.lock(holder("bob")).await), "ann");
    event(&mut events, |event| *event == StoreEvent::Back).await;
    lock.release().await.expect("released");
    assert!(events.try_recv().is_err(), "nothing else happened");
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

with_each_store! { two killed broken expired away }
