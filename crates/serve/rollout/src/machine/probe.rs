//! Probes of the gate, and the requests that warm a server up.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_rollout::{Answer, Check, Gate, Plan, Warm};

use super::address::Address;
use super::http::{Ask, Reply, Target};

/// So many requests that warm up run at the same time.
const AT_ONCE: usize = 4;

/// One probe of the server.
pub(crate) async fn probe(plan: &Plan, address: Address<'_>, rollback: bool) -> Result<(), String> {
    let gate = &plan.gate;
    let limit = gate.timeout.duration();
    let target = target(address, gate.port);
    match &gate.check {
        Check::None => Ok(()),
        Check::Tcp => connection(&target, gate, limit).await.map(drop),
        Check::Http(path) => {
            let reply = request(&target, gate, path, limit).await?;
            let version = if rollback { &plan.version.old } else { &plan.version.new };
            judge(gate, &reply, version.as_deref(), rollback)
        }
    }
}

/// One probe of a URL, of which only the status counts.
pub(crate) async fn through(gate: &Gate, url: &str) -> Result<(), String> {
    let (target, path) = Target::parse(url)?;
    let plain = Gate { host: None, expect_header: Vec::new(), expect_body: None, ..gate.clone() };
    let reply = request(&target, &plain, &path, gate.timeout.duration()).await;
    reply.and_then(|reply| judge(&plain, &reply, None, false)).map_err(|problem| format!("{url}: {problem}"))
}

/// Whether somebody takes connections at the port of the check.
pub(crate) async fn is_open(gate: &Gate, address: Address<'_>) -> bool {
    const LIMIT: Duration = Duration::from_millis(500);
    let target = target(address, gate.port);
    timeout(LIMIT, target.connect()).await.is_ok_and(|connected| connected.is_ok())
}

/// The requests that warm a server up.
pub(crate) async fn warm(plan: &Plan, warm: &Warm, address: Address<'_>) -> Result<(), String> {
    let (gate, target) = (&plan.gate, &target(address, None));
    let limit = gate.timeout.duration();
    let requests = stream::iter(0..warm.requests).map(|_| async move {
        let stream = connection(target, gate, limit).await?;
        // Whatever it answers, or not, it has worked.
        let _ = timeout(limit, exchange(target, stream, gate, "GET", &warm.path)).await;
        Ok(())
    });
    let ends: Vec<Result<(), String>> = requests.buffer_unordered(AT_ONCE).collect().await;
    let connected = ends.iter().any(Result::is_ok);
    match ends.into_iter().find_map(Result::err) {
        Some(problem) if !connected => Err(format!("not warmed up: {problem}")),
        _ => Ok(()),
    }
}

fn target(address: Address<'_>, port: Option<u16>) -> Target {
    Target { host: address.host.to_owned(), port: port.unwrap_or(address.port), tls: false }
}

async fn request(target: &Target, gate: &Gate, path: &str, limit: Duration) -> Result<Reply, String> {
    let whole = async {
        let stream = target.connect().await?;
        exchange(target, stream, gate, &gate.method, path).await
    };
    timeout(limit, whole).await.unwrap_or_else(|_| Err(format!("no answer within {}", gate.timeout)))
}

async fn connection(target: &Target, gate: &Gate, limit: Duration) -> Result<TcpStream, String> {
    let late = |_| Err(format!("no connection to {} within {}", target.text(), gate.timeout));
    timeout(limit, target.connect()).await.unwrap_or_else(late)
}

async fn exchange(
    target: &Target,
    stream: TcpStream,
    gate: &Gate,
    method: &str,
    path: &str,
) -> Result<Reply, String> {
    let own = target.text();
    let ask = Ask { method, host: gate.host.as_deref().unwrap_or(&own), path };
    target.exchange(stream, &ask).await
}

fn judge(gate: &Gate, reply: &Reply, version: Option<&str>, rollback: bool) -> Result<(), String> {
    let answer = Answer { status: reply.status, headers: &reply.headers, body: &reply.body };
    gate.judge(answer, version, rollback)
}
