//! The case of many idle keep-alive connections: what memory one of them holds in the proxy.
//! Memory of the kernel's sockets is the same for all and is not counted.

use anyhow::{Context, Result, ensure};

use crate::cases::warm_up;
use crate::client;
use crate::measure::memory;
use crate::proxy::{Kind, Proxy, Setup, Site};
use crate::results::{Metric, Sample};

/// Name of the case.
pub(crate) const NAME: &str = "idle";

/// How many connections are wanted.
pub(crate) const CONNECTIONS: usize = 8000;

/// Opens `connections`, each with one request behind it, and measures the growth.
pub(crate) fn idle(site: &Site, kind: Kind, connections: usize) -> Result<Sample> {
    let setup = Setup { access_log: true, generation: None };
    let proxy = Proxy::start(site, kind, setup)?;
    warm_up(&proxy, "/small")?;
    let base = memory(proxy.pid())?;
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut stream = client::connect(proxy.address())
            .with_context(|| format!("opening idle connection {number}; {}", proxy.said()))?;
        let (head, _) = client::exchange(&mut stream, "/small", false)
            .with_context(|| format!("on idle connection {number}; {}", proxy.said()))?;
        ensure!(
            head.status == 200 && !head.close,
            "idle connection {number} was answered with {} and {}, expected 200 and keep-alive",
            head.status,
            if head.close { "close" } else { "keep-alive" }
        );
        open.push(stream);
    }
    let full = memory(proxy.pid())?;
    // A proxy that dropped some of them would look thrifty.
    for (number, stream) in open.iter_mut().enumerate().step_by(97) {
        client::exchange(stream, "/small", false)
            .with_context(|| format!("idle connection {number} did not stay open"))?;
    }
    Ok(Sample::from([
        (Metric::IdleBytes, full.saturating_sub(base) as f64 / connections as f64),
        (Metric::BaseBytes, base as f64),
    ]))
}
