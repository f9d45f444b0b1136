//! Who is woken by what, and that nothing is left of those who went away.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use weir_registry::{Command, KvWrite, Topic};

use super::{fresh, put};

fn is_woken(watch: &super::super::Watch, after: u64) -> bool {
    let polled = pin!(watch.changed(after)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(()))
}

#[tokio::test]
async fn a_write_wakes_its_key_and_the_prefixes_of_it() {
    let (_folder, engine) = fresh();
    let topics = [
        (Topic::Key(b"a/b".to_vec()), true),
        (Topic::Prefix(Vec::new()), true),
        (Topic::Prefix(b"a".to_vec()), true),
        (Topic::Prefix(b"a/b".to_vec()), true),
        (Topic::Prefix(b"a/b/".to_vec()), false),
        (Topic::Prefix(b"b".to_vec()), false),
        (Topic::Key(b"a".to_vec()), false),
        (Topic::Services, false),
    ];
    let watches: Vec<_> = topics.iter().map(|(topic, woken)| (engine.watch(topic), topic, *woken)).collect();
    let index = put(&engine, "a/b", "1").await;
    for (watch, topic, woken) in &watches {
        assert_eq!(is_woken(watch, index - 1), *woken, "{topic:?}");
        assert!(!is_woken(watch, index), "{topic:?}: an index that was seen already");
    }
    drop(watches);
    assert!(engine.inner.shared.watches.is_empty());
}

#[tokio::test]
async fn an_identical_write_wakes_nobody() {
    let (_folder, engine) = fresh();
    let index = put(&engine, "a", "1").await;
    let watch = engine.watch(&Topic::Prefix(Vec::new()));
    assert_eq!(put(&engine, "a", "1").await, index);
    assert!(!is_woken(&watch, 0));
}

#[tokio::test]
async fn one_who_waits_sees_the_change_that_woke_him() {
    let (_folder, engine) = fresh();
    let before = put(&engine, "a", "1").await;
    let watching = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..1000)
        .map(|_| {
            let (engine, watching) = (engine.clone(), Arc::clone(&watching));
            tokio::spawn(async move {
                let watch = engine.watch(&Topic::Key(b"a".to_vec()));
                watching.fetch_add(1, Ordering::Relaxed);
                watch.changed(before).await;
                engine.read(|state| state.kv(b"a").data).expect("the key").value.clone()
            })
        })
        .collect();
    // Who begins to watch after the write waits for the next one.
    while watching.load(Ordering::Relaxed) < waiters.len() {
        tokio::task::yield_now().await;
    }
    put(&engine, "a", "2").await;
    for waiter in waiters {
        assert_eq!(waiter.await.expect("the waiter"), b"2");
    }
    // The writer's thread may still be at the one that it has just woken.
    while !engine.inner.shared.watches.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restored_snapshot_wakes_everybody() {
    let (_folder, engine) = fresh();
    put(&engine, "a", "1").await;
    let (bytes, index) = engine.snapshot();
    let watches =
        [Topic::Sessions, Topic::service("web"), Topic::Key(b"x".to_vec())].map(|t| engine.watch(&t));
    engine.restore_snapshot(bytes).await.expect("a good snapshot");
    assert!(watches.iter().all(|watch| is_woken(watch, index)));
}

#[tokio::test]
async fn a_future_that_is_dropped_does_not_take_its_command_back() {
    let (_folder, engine) = fresh();
    let watch = engine.watch(&Topic::Key(b"a".to_vec()));
    let index = engine.read(|state| state.kv(b"a").index);
    let write = KvWrite::Set { key: b"a".to_vec(), value: b"1".to_vec(), flags: 0 };
    let polled = pin!(engine.write(Command::Kv(write))).poll(&mut Context::from_waker(Waker::noop()));
    drop(polled);
    watch.changed(index).await;
    assert_eq!(super::value(&engine, "a").as_deref(), Some("1"));
}
