//! Single questions to one control API.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::{Proxy, ProxyError, Upstream};
use crate::store::{Reply, said, segment};

/// An answer that is due at once may take so long.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One waiting question takes at most so long; then it is asked again.
const WAIT: Duration = Duration::from_secs(20);

/// A refusal of the control API: what is wrong, and what to do.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    error: String,
    hint: String,
}

pub(super) async fn show(proxy: &Proxy, upstream: &str) -> Result<Upstream, ProxyError> {
    let target = format!("/v1/upstreams/{}", segment(upstream));
    let reply = send(proxy, Method::GET, &target, Bytes::new(), AT_ONCE).await?;
    if reply.status != 200 {
        return Err(refused(proxy, &reply));
    }
    serde_json::from_slice(&reply.body)
        .map_err(|error| ProxyError::Unreadable { proxy: proxy.name.clone(), problem: error.to_string() })
}

/// Nothing once the index is served; else why it is not yet.
pub(super) async fn wait_applied(
    proxy: &Proxy,
    upstream: &str,
    index: u64,
    until: Instant,
) -> Result<Option<String>, ProxyError> {
    let wait = until.saturating_duration_since(Instant::now()).min(WAIT);
    let target = format!(
        "/v1/upstreams/{}/wait-applied?index={index}&timeout={}ms",
        segment(upstream),
        wait.as_millis().max(1)
    );
    let reply = send(proxy, Method::GET, &target, Bytes::new(), wait + AT_ONCE).await?;
    match reply.status {
        200 => Ok(None),
        504 => Ok(Some(words(&reply))),
        _ => Err(refused(proxy, &reply)),
    }
}

pub(super) async fn order(
    proxy: &Proxy,
    upstream: &str,
    peer: &str,
    wish: &Value,
    patience: Duration,
) -> Result<(), ProxyError> {
    let (upstream, peer) = (segment(upstream), segment(peer));
    let target = format!("/v1/upstreams/{upstream}/peers/{peer}?wait=served&timeout={}s", patience.as_secs());
    let body = Bytes::from(wish.to_string());
    let reply = send(proxy, Method::PUT, &target, body, patience + AT_ONCE).await?;
    if reply.status == 200 { Ok(()) } else { Err(refused(proxy, &reply)) }
}

/// A gateway's refusals count as a proxy that is away.
async fn send(
    proxy: &Proxy,
    method: Method,
    target: &str,
    body: Bytes,
    timeout: Duration,
) -> Result<Reply, ProxyError> {
    let away = |problem| ProxyError::Unreachable { proxy: proxy.name.clone(), problem };
    let reply =
        proxy.transport.send(method, target, proxy.headers.clone(), body, timeout).await.map_err(away)?;
    if matches!(reply.status, 502 | 503) {
        return Err(away(format!("it answers {}: {}", reply.status, words(&reply))));
    }
    Ok(reply)
}

fn refused(proxy: &Proxy, reply: &Reply) -> ProxyError {
    ProxyError::Refused { proxy: proxy.name.clone(), status: reply.status, text: words(reply) }
}

fn words(reply: &Reply) -> String {
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(Problem { error, hint }) if !error.is_empty() && !hint.is_empty() => format!("{error}; {hint}"),
        Ok(Problem { error, .. }) if !error.is_empty() => error,
        _ => said(&reply.body),
    }
}
