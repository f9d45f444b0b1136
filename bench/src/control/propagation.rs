//! From a write in the store to the first request that obeys it; and a peer that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::node::{self, Node, Store};
use super::{Place, Row};
use crate::load::{self, Plan};
use crate::{Origin, client};

const CHANGES: usize = 300;
/// Between two changes.
const BETWEEN: Duration = Duration::from_millis(15);
const OBEYED: Duration = Duration::from_secs(5);

/// With the registry inside.
pub(super) fn embedded(place: &Place) -> Result<Vec<Row>> {
    let (registry, listen) = (node::free()?, node::free()?);
    let main = format!("registry {{ listen {registry}; data registry; }}");
    let upstream = "upsync registry/v1/kv/upstreams/app/ upsync_type=consul upsync_interval=500ms;\nupsync_dump_path app.dump;";
    let mut weir = Node::weir(place, "propagation", &node::conf("", &main, upstream, listen))?;
    weir.await_answer(|| Store::open(registry).and_then(|mut store| store.get("/v1/status/leader")).is_ok())?;
    let mut times = changes(registry, listen)?.0;
    Ok(vec![
        Row::plain(
            "PUT in the embedded registry to the first request that obeys, p50",
            node::quantile(&mut times, 0.5),
            "ms",
        ),
        Row::at_most("the same, p99", node::quantile(&mut times, 0.99), "ms", 5.0),
    ])
}

/// With Consul as the source: beside the time itself the part that is behind Consul's own wake-up.
pub(super) fn consul(place: &Place) -> Result<Vec<Row>> {
    if Command::new("consul").arg("version").output().is_err() {
        bail!("consul is not installed");
    }
    let (store, listen) = (node::free()?, node::free()?);
    let port = |name: &str| Ok::<_, anyhow::Error>(format!("{name} = {}", node::free()?.port()));
    let ports = [port("serf_lan")?, port("serf_wan")?, port("server")?].join(" ");
    let http = format!("ports {{ http = {} dns = -1 grpc = -1 {ports} }}", store.port());
    let words = ["agent", "-dev", "-log-level=err", "-hcl", &http];
    let mut consul = Node::program(place, "consul", Path::new("consul"), &words)?;
    let leads = || {
        let leader = Store::open(store).and_then(|mut store| store.get("/v1/status/leader"));
        leader.is_ok_and(|leader| leader.len() > 4)
    };
    consul.await_answer(leads)?;
    let upstream = format!(
        "upsync {store}/v1/kv/upstreams/app/ upsync_type=consul upsync_interval=500ms;\nupsync_dump_path app.dump;"
    );
    let mut weir = Node::weir(place, "from-consul", &node::conf("", "", &upstream, listen))?;
    weir.await_answer(|| client::connect(listen).is_ok())?;
    let (mut times, mut behind) = changes(store, listen)?;
    Ok(vec![
        Row::plain(
            "PUT in Consul 1.8 to the first request that obeys, p99",
            node::quantile(&mut times, 0.99),
            "ms",
        ),
        Row::at_most(
            "the same, behind Consul's own wake-up, p99",
            node::quantile(&mut behind, 0.99),
            "ms",
            20.0,
        ),
    ])
}

/// One peer that is put up and down; while it is up it gets all requests, because the other one is a backup. Milliseconds
/// from the PUT, and from when a blocking query of our own has returned.
fn changes(store: SocketAddr, listen: SocketAddr) -> Result<(Vec<f64>, Vec<f64>)> {
    let (first, second) = (node::named("first")?, node::named("second")?);
    let mut writer = Store::open(store)?;
    writer.put(&format!("/v1/kv/upstreams/app/{second}"), r#"{"backup":1,"max_fails":0}"#)?;
    let key = format!("/v1/kv/upstreams/app/{first}");
    let mut client = None;
    let (mut times, mut behind) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let (body, expected) = match change % 2 {
            0 => (r#"{"max_fails":0}"#, "first"),
            _ => (r#"{"max_fails":0,"down":1}"#, "second"),
        };
        let index = latest_index(store)?;
        let watcher = thread::spawn(move || watch(store, index));
        // It has to wait already when the write comes, and a source is read a hundred times a second at most.
        thread::sleep(BETWEEN);
        let begun = Instant::now();
        writer.put(&key, body)?;
        let obeyed = await_answer_of(&mut client, listen, expected, begun)?;
        let woken = watcher.join().expect("the watcher does not panic")?;
        if change > 1 {
            times.push((obeyed - begun).as_secs_f64() * 1000.0);
            behind.push(obeyed.saturating_duration_since(woken).as_secs_f64() * 1000.0);
        }
    }
    Ok((times, behind))
}

fn await_answer_of(
    client: &mut Option<std::net::TcpStream>,
    listen: SocketAddr,
    expected: &str,
    begun: Instant,
) -> Result<Instant> {
    loop {
        let mut stream = match client.take() {
            Some(stream) => stream,
            None => client::connect(listen)?,
        };
        let (head, body) = client::exchange(&mut stream, "/", false)?;
        if !head.close {
            *client = Some(stream);
        }
        if body == expected.as_bytes() {
            return Ok(Instant::now());
        }
        ensure!(begun.elapsed() < OBEYED, "the change was not obeyed within {OBEYED:?}");
    }
}

fn latest_index(store: SocketAddr) -> Result<u64> {
    index_of(&raw(store, "/v1/kv/upstreams/app/?recurse")?)
}

/// A blocking query; when it returned.
fn watch(store: SocketAddr, index: u64) -> Result<Instant> {
    raw(store, &format!("/v1/kv/upstreams/app/?recurse&index={index}&wait=5s"))?;
    Ok(Instant::now())
}

/// The head of an answer, on a connection of its own.
fn raw(store: SocketAddr, path: &str) -> Result<String> {
    use std::io::{Read, Write};
    let mut stream = client::connect(store)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n")?;
    let mut text = vec![0; 4096];
    let count = stream.read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..count]).into_owned())
}

fn index_of(head: &str) -> Result<u64> {
    let line = head.lines().find_map(|line| line.strip_prefix("X-Consul-Index: "));
    line.and_then(|value| value.trim().parse().ok()).context("an answer without X-Consul-Index")
}

/// Requests per second, and how long, while peers are killed.
const RATE: u32 = 2000;
const KILLS: usize = 3;

/// Four peers under load, three of which are killed one after the other.
pub(super) fn killed_peer(place: &Place) -> Result<Vec<Row>> {
    let listen = node::free()?;
    let mut origins = Vec::new();
    let mut servers = String::new();
    for _ in 0..=KILLS {
        let mut origin = Origin::start()?;
        servers.push_str(&format!("server {};\n", origin.address()?));
        origins.push(origin);
    }
    servers.push_str("check interval=200 rise=1 fall=1 timeout=200 type=tcp default_down=false;\n");
    let mut weir = Node::weir(place, "killed", &node::conf("", "", &servers, listen))?;
    weir.await_answer(|| client::check(listen, "/small").is_ok())?;
    let plan = Plan {
        address: listen,
        path: "/small",
        rate: RATE,
        connections: 64,
        close_every: None,
        warm_up: Duration::ZERO,
    };
    let stop = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(plan, &stop));
        for origin in origins.iter_mut().take(KILLS) {
            thread::sleep(Duration::from_secs(1));
            origin.kill();
        }
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load generator does not panic")
    })?;
    Ok(vec![
        Row::plain(
            format!("requests while {KILLS} of {} peers are killed", KILLS + 1),
            outcome.answered as f64,
            "",
        ),
        Row::at_most("failed among them", outcome.failures() as f64, "", 0.0),
    ])
}
