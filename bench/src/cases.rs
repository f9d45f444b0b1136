//! The cases in which requests are what is measured: throughput and CPU time under wrk, and latency
//! under a fixed rate. Idle connections and reloads are cases of their own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client;
use crate::load::{self, Plan};
use crate::measure::Cpu;
use crate::proxy::{Kind, Proxy, Setup, Site};
use crate::results::{Metric, Results, Sample, percentile};
use crate::wrk::{Load, Wrk};

/// A case under wrk.
pub(crate) struct Throughput {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    path: &'static str,
    connections: usize,
    close: bool,
    access_log: bool,
}

/// In the order of the table.
pub(crate) const THROUGHPUT: &[Throughput] = &[
    Throughput {
        name: "small-1",
        title: "100 bytes, 1 connection",
        path: "/small",
        connections: 1,
        close: false,
        access_log: true,
    },
    Throughput {
        name: "small-64",
        title: "100 bytes, 64 connections",
        path: "/small",
        connections: 64,
        close: false,
        access_log: true,
    },
    Throughput {
        name: "log-off",
        title: "the same without access log",
        path: "/small",
        connections: 64,
        close: false,
        access_log: false,
    },
    Throughput {
        name: "small-512",
        title: "100 bytes, 512 connections",
        path: "/small",
        connections: 512,
        close: false,
        access_log: true,
    },
    Throughput {
        name: "body-16k",
        title: "16 KiB, 64 connections",
        path: "/16k",
        connections: 64,
        close: false,
        access_log: true,
    },
    Throughput {
        name: "body-1m",
        title: "1 MiB, 16 connections",
        path: "/1m",
        connections: 16,
        close: false,
        access_log: true,
    },
    Throughput {
        name: "new-connection",
        title: "a connection per request, 64 at once",
        path: "/small",
        connections: 64,
        close: true,
        access_log: true,
    },
];

/// Name of the case under a fixed rate.
pub(crate) const LATENCY: &str = "latency";

/// Length of a round of the case under a fixed rate, and how much of its beginning is dropped.
const LATENCY_ROUND: Duration = Duration::from_secs(1);
const LATENCY_WARM_UP: Duration = Duration::from_millis(200);

/// Connections of the case under a fixed rate.
pub(crate) const LATENCY_CONNECTIONS: usize = 64;

/// One round of one proxy under wrk.
pub(crate) fn throughput(
    case: &Throughput,
    site: &Site,
    kind: Kind,
    wrk: &Wrk,
    seconds: u32,
    results: &mut Results,
) -> Result<Sample> {
    let setup = Setup { access_log: case.access_log, generation: None };
    let proxy = Proxy::start(site, kind, setup)?;
    warm_up(&proxy, case.path)?;
    let before = Cpu::read(proxy.pid())?;
    let figures = wrk.run(&Load {
        address: proxy.address(),
        path: case.path,
        connections: case.connections,
        close: case.close,
        seconds,
    })?;
    let used = Cpu::read(proxy.pid())?.since(&before)?;
    if figures.errors > 0.0 {
        results.problems.push(format!(
            "{}: wrk counted {} errors in {} requests; {}",
            case.name,
            figures.errors,
            figures.requests,
            proxy.said()
        ));
    }
    Ok(Sample::from([
        (Metric::CpuMicros, used.total as f64 / 1000.0 / figures.requests),
        (Metric::UserMicros, used.user as f64 / 1000.0 / figures.requests),
        (Metric::RequestsPerSecond, figures.requests / figures.seconds),
        (Metric::P50Micros, figures.p50),
        (Metric::P99Micros, figures.p99),
        (Metric::CorePercent, used.total as f64 / 1e7 / figures.seconds),
    ]))
}

/// One round of one proxy at `rate` requests per second.
pub(crate) fn latency(site: &Site, kind: Kind, rate: u32, results: &mut Results) -> Result<Sample> {
    let setup = Setup { access_log: true, generation: None };
    let proxy = Proxy::start(site, kind, setup)?;
    warm_up(&proxy, "/small")?;
    let plan = Plan {
        address: proxy.address(),
        path: "/small",
        rate,
        connections: LATENCY_CONNECTIONS,
        close_every: None,
        warm_up: LATENCY_WARM_UP,
    };
    let before = Cpu::read(proxy.pid())?;
    let stop = AtomicBool::new(false);
    let mut outcome = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(plan, &stop));
        thread::sleep(LATENCY_ROUND);
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the load generator does not panic")
    })?;
    let used = Cpu::read(proxy.pid())?.since(&before)?;
    if outcome.failures() > 0 {
        results.problems.push(format!(
            "{LATENCY}: {} of {} requests failed ({:?}); {}",
            outcome.failures(),
            outcome.due,
            outcome.failed,
            proxy.said()
        ));
    }
    outcome.latencies.sort_by(f64::total_cmp);
    let at = |percent| {
        percentile(&outcome.latencies, percent).context("no request was answered after the warm-up")
    };
    let answered = outcome.answered as f64;
    Ok(Sample::from([
        (Metric::CpuMicros, used.total as f64 / 1000.0 / answered),
        (Metric::UserMicros, used.user as f64 / 1000.0 / answered),
        (Metric::RequestsPerSecond, answered / LATENCY_ROUND.as_secs_f64()),
        (Metric::P50Micros, at(50.0)?),
        (Metric::P99Micros, at(99.0)?),
        (Metric::CorePercent, used.total as f64 / 1e7 / LATENCY_ROUND.as_secs_f64()),
    ]))
}

/// A third of what nginx answers under wrk, so that nobody is near its limit and the load generator
/// is not what stalls.
pub(crate) fn latency_rate(site: &Site, reference: Kind, wrk: &Wrk, results: &Results) -> Result<u32> {
    let known = results.median("small-64", reference, Metric::RequestsPerSecond);
    let full = match known {
        Some(full) => full,
        None => {
            let setup = Setup { access_log: true, generation: None };
            let proxy = Proxy::start(site, reference, setup)?;
            let figures = wrk.run(&Load {
                address: proxy.address(),
                path: "/small",
                connections: LATENCY_CONNECTIONS,
                close: false,
                seconds: 1,
            })?;
            figures.requests / figures.seconds
        }
    };
    Ok(((full / 3.0) as u32 / 500 * 500).max(500))
}

/// Some requests on one connection, so that pools, caches and buffers are in use.
pub(crate) fn warm_up(proxy: &Proxy<'_>, path: &str) -> Result<()> {
    let mut stream = client::connect(proxy.address())?;
    let count = if path == "/1m" { 20 } else { 200 };
    for _ in 0..count {
        client::exchange(&mut stream, path, false).context("during the warm-up")?;
    }
    Ok(())
}
