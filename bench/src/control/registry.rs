//! The registry by itself: durable writes, and clients that wait.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::node::{self, Node, Store};
use super::{Place, Row};
use crate::{client, measure};

const CLIENTS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
const WATCHERS: usize = 5000;

fn start(place: &Place, name: &str) -> Result<(Node, SocketAddr, f64)> {
    let listen = node::free()?;
    let begun = Instant::now();
    let words = ["registry", "--listen", &listen.to_string(), "--data", "data"];
    let mut registry = Node::program(place, name, &place.weir, &words)?;
    let mut ready = begun.elapsed();
    registry.await_answer(|| {
        let up = Store::open(listen).and_then(|mut store| store.get("/v1/status/leader")).is_ok();
        ready = begun.elapsed();
        up
    })?;
    Ok((registry, listen, ready.as_secs_f64() * 1000.0))
}

/// Sixty-four clients that write keys of their own, each waiting for its answer.
pub(super) fn writes(place: &Place) -> Result<Vec<Row>> {
    let (registry, listen, ready) = start(place, "writes")?;
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let before = measure::Cpu::read(registry.pid())?;
    let begun = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (count, stop) = (&count, &stop);
                scope.spawn(move || write(client, listen, count, stop))
            })
            .collect();
        thread::sleep(TIME);
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().try_for_each(|client| client.join().expect("a client does not panic"))
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let used = measure::Cpu::read(registry.pid())?.since(&before)?;
    let writes = count.load(Ordering::Relaxed) as f64;
    Ok(vec![
        Row::at_most("weir registry answers after its start", ready, "ms", 50.0),
        Row::at_least(format!("durable writes, {CLIENTS} clients"), writes / seconds, "/s", 5000.0),
        Row::plain("CPU of the registry for one", used.total as f64 / 1000.0 / writes, "us"),
    ])
}

fn write(client: usize, listen: SocketAddr, count: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    let mut store = Store::open(listen)?;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let body =
            store.put(&format!("/v1/kv/bench/{client}/{}", number % 100), &format!("value {number}"))?;
        ensure!(body == b"true", "a write was answered with {}", String::from_utf8_lossy(&body));
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Clients that wait for a change of a key of their own, and one write that wakes one of them.
pub(super) fn watchers(place: &Place) -> Result<Vec<Row>> {
    let (registry, listen, _) = start(place, "watchers")?;
    let mut store = Store::open(listen)?;
    for number in 0..WATCHERS {
        store.put(&format!("/v1/kv/watched/{number}"), "x")?;
    }
    let empty = measure::memory(registry.pid())?;
    let mut waiting = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        let mut stream = client::connect(listen)?;
        write!(
            stream,
            "GET /v1/kv/watched/{number}?index=1000000000&wait=300s HTTP/1.1\r\nHost: store\r\n\
             User-Agent: a client with some headers\r\nAccept-Encoding: gzip\r\n\r\n"
        )?;
        waiting.push(stream);
    }
    // One more request on the same loop: all that came before it has been read.
    thread::sleep(Duration::from_millis(500));
    store.get("/v1/status/leader")?;
    let full = measure::memory(registry.pid())?;
    let mut byte = [0];
    waiting[0].set_nonblocking(true)?;
    ensure!(waiting[0].read(&mut byte).is_err(), "a watcher was answered, expected it to wait");
    let mega = 1024.0 * 1024.0;
    Ok(vec![
        Row::plain("memory of the registry without watchers", empty as f64 / mega, "MB"),
        Row::at_most(format!("memory with {WATCHERS} blocking watchers"), full as f64 / mega, "MB", 50.0),
        Row::plain("for each of them", (full - empty) as f64 / WATCHERS as f64, "bytes"),
    ])
}
