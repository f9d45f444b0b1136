//! The case of reloads under load: how long until a new configuration serves, how many requests fail
//! meanwhile, and how many open WebSockets are lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::client;
use crate::load::{self, Outcome, Plan};
use crate::proxy::{Kind, Proxy, Setup, Site};
use crate::results::{Metric, Results, Sample, spread};
use crate::websocket::WebSocket;

/// Name of the case.
pub(crate) const NAME: &str = "reload";

/// How often the configuration changes in one round.
pub(crate) const RELOADS: u32 = 20;
/// How many WebSockets are open all the time.
pub(crate) const WEBSOCKETS: usize = 100;
/// Requests per second meanwhile, and how many connections carry them.
pub(crate) const RATE: u32 = 1000;
const CONNECTIONS: usize = 32;

const EFFECT_TIMEOUT: Duration = Duration::from_secs(5);
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two reloads, so that load runs on each configuration.
const PAUSE: Duration = Duration::from_millis(50);

/// Twenty reloads of one proxy.
pub(crate) fn reload(site: &Site, kind: Kind, results: &mut Results) -> Result<Sample> {
    let setup = Setup { access_log: true, generation: Some(0) };
    let mut proxy = Proxy::start(site, kind, setup)?;
    let mut sockets = Vec::new();
    for number in 0..WEBSOCKETS {
        let socket = WebSocket::open(proxy.address());
        sockets.push(socket.with_context(|| format!("opening WebSocket {number}; {}", proxy.said()))?);
    }
    echo_all(&mut sockets, 0);
    let plan = Plan {
        address: proxy.address(),
        path: "/small",
        rate: RATE,
        connections: CONNECTIONS,
        close_every: Some(10),
        warm_up: Duration::ZERO,
    };
    let stop = AtomicBool::new(false);
    let (reloads, outcome) = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(plan, &stop));
        let reloads = reload_in_turn(&mut proxy, &mut sockets);
        stop.store(true, Ordering::Relaxed);
        let outcome = load.join().expect("the load generator does not panic");
        (reloads, outcome)
    });
    let (times, failed_probes) = reloads.map_err(|error| anyhow!("{error:#}; {}", proxy.said()))?;
    let outcome = outcome?;
    note(kind, &outcome, failed_probes, results);
    let times = spread(times).context("no reload was made")?;
    Ok(Sample::from([
        (Metric::ReloadMillis, times.median),
        (Metric::WorstReloadMillis, times.most),
        (Metric::Requests, outcome.due as f64),
        (Metric::FailedRequests, (outcome.failures() + failed_probes) as f64),
        (Metric::LostWebsockets, (WEBSOCKETS - sockets.len()) as f64),
    ]))
}

/// Milliseconds of each reload, and how many requests on new connections failed.
fn reload_in_turn(proxy: &mut Proxy<'_>, sockets: &mut Vec<WebSocket>) -> Result<(Vec<f64>, u64)> {
    let mut times = Vec::new();
    let mut failed_probes = 0;
    for generation in 1..=RELOADS {
        thread::sleep(PAUSE);
        let started = Instant::now();
        proxy.reload(generation)?;
        loop {
            match client::check(proxy.address(), "/small") {
                Ok(head) if head.generation == Some(generation) => break,
                Ok(_) => {}
                Err(_) => failed_probes += 1,
            }
            if started.elapsed() > EFFECT_TIMEOUT {
                bail!("reload {generation} had no effect within {EFFECT_TIMEOUT:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        echo_all(sockets, generation);
    }
    Ok((times, failed_probes))
}

/// Sends a message on every WebSocket, waits for all echoes, and drops those that are lost.
fn echo_all(sockets: &mut Vec<WebSocket>, generation: u32) {
    let message = format!("generation {generation}");
    let deadline = Instant::now() + ECHO_TIMEOUT;
    sockets.retain_mut(|socket| socket.send(&message).is_ok());
    sockets.retain_mut(|socket| socket.expect(&message, deadline).is_ok());
}

fn note(kind: Kind, outcome: &Outcome, failed_probes: u64, results: &mut Results) {
    if outcome.failures() + failed_probes == 0 {
        return;
    }
    let mut kinds: Vec<String> =
        outcome.failed.iter().map(|(failure, count)| format!("{count} {}", failure.text())).collect();
    if failed_probes > 0 {
        kinds.push(format!("{failed_probes} on new connections of the probe"));
    }
    results.notes.push(format!("{NAME}: {} failed requests: {}", kind.name(), kinds.join(", ")));
}
