//! An upstream of many members that change all the time.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::node::{self, Node, Store};
use super::{Place, Row};
use crate::{client, measure};

const PEERS: u32 = 10_000;
const CHANGES: u32 = 100;
const TIME: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(1);
/// What a request may wait for a change.
const SLOW: f64 = 5.0;

pub(super) fn churn(place: &Place) -> Result<Vec<Row>> {
    let port = node::everywhere()?;
    let (registry, listen) = (node::free()?, node::free()?);
    let main = format!("registry {{ listen {registry}; data registry; }}");
    let upstream = "upsync registry/v1/kv/upstreams/app/ upsync_type=consul upsync_interval=500ms;\nupsync_dump_path app.dump;\nkeepalive 0;";
    let mut weir = Node::weir(place, "churn", &node::conf("", &main, upstream, listen))?;
    weir.await_answer(|| Store::open(registry).and_then(|mut store| store.get("/v1/status/leader")).is_ok())?;
    let mut store = Store::open(registry)?;
    let key = |n: u32| format!("/v1/kv/upstreams/app/{}:{port}", node::loopback(n));
    store.put(&key(0), "{}")?;
    weir.await_answer(|| client::check(listen, "/small").is_ok())?;
    thread::sleep(Duration::from_millis(500));
    let small = measure::memory(weir.pid())?;
    fill(&mut store, port)?;
    // Until the last of them has come.
    thread::sleep(Duration::from_secs(2));
    let large = measure::memory(weir.pid())?;
    let calm = requests(listen, TIME / 2)?;
    let stop = AtomicBool::new(false);
    let before = measure::Cpu::read(weir.pid())?;
    let changed = thread::scope(|scope| {
        let writer = scope.spawn(|| change(&mut store, &key, &stop));
        let changed = requests(listen, TIME);
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")?;
        changed
    })?;
    let used = measure::Cpu::read(weir.pid())?.since(&before)?;
    let mega = 1024.0 * 1024.0;
    let (mut calm, mut changed) = (calm, changed);
    let slow = changed.iter().filter(|time| **time > SLOW).count();
    let slow_before = calm.iter().filter(|time| **time > SLOW).count();
    Ok(vec![
        Row::at_most(format!("memory that {PEERS} peers take"), (large - small) as f64 / mega, "MB", 30.0),
        Row::plain("requests without changes, p99", node::quantile(&mut calm, 0.99), "ms"),
        Row::plain(format!("slower than {SLOW} ms among {}", calm.len()), slow_before as f64, ""),
        Row::plain(
            format!("requests with {CHANGES} changes/s, p99"),
            node::quantile(&mut changed, 0.99),
            "ms",
        ),
        Row::at_most(
            format!("slower than {SLOW} ms among {}", changed.len()),
            slow as f64,
            "",
            slow_before as f64,
        ),
        Row::plain(
            "CPU of the node meanwhile",
            used.total as f64 / TIME.as_nanos() as f64 * 100.0,
            "% of a core",
        ),
    ])
}

/// Puts all members in, by transactions of as many as one takes.
fn fill(store: &mut Store, port: u16) -> Result<()> {
    let all: Vec<u32> = (0..PEERS).collect();
    for some in all.chunks(64) {
        let mut body = String::from("[");
        for n in some {
            let separator = if body.len() > 1 { "," } else { "" };
            let address = node::loopback(*n);
            // e30= is {} in base64.
            write!(
                body,
                r#"{separator}{{"KV":{{"Verb":"set","Key":"upstreams/app/{address}:{port}","Value":"e30="}}}}"#
            )?;
        }
        body.push(']');
        store.put("/v1/txn", &body)?;
    }
    Ok(())
}

fn change(store: &mut Store, key: &impl Fn(u32) -> String, stop: &AtomicBool) -> Result<()> {
    let begun = Instant::now();
    for number in 1_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body = if number % 2 == 0 { "{}" } else { r#"{"weight":2}"# };
        store.put(&key(number % PEERS), body)?;
        let next = begun + Duration::from_secs(1) / CHANGES * number;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Milliseconds of requests one after the other.
fn requests(listen: std::net::SocketAddr, time: Duration) -> Result<Vec<f64>> {
    let mut stream = client::connect(listen)?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < time {
        let sent = Instant::now();
        let (head, _) = client::exchange(&mut stream, "/small", false)?;
        times.push(sent.elapsed().as_secs_f64() * 1000.0);
        if head.close {
            stream = client::connect(listen)?;
        }
        thread::sleep(PAUSE);
    }
    Ok(times)
}
