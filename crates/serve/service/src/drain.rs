//! Waiting until no proxy sends anything any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_directory::UpstreamStatus;

use crate::transport::{Log, Transport, escape};

/// From question to question.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(3);

/// The control API of one proxy.
pub type Proxy = Arc<dyn Transport>;

/// Whether the peer takes no requests and serves none, as this proxy sees it; an error says why that is not known.
async fn is_quiet(proxy: &Proxy, upstream: &str, peer: &str) -> Result<bool, String> {
    let path = format!("/v1/upstreams/{}", escape(upstream));
    let reply = proxy.send("GET", &path, Vec::new(), PATIENCE).await?;
    // Whoever has no such upstream sends it nothing.
    if reply.status == 404 {
        return Ok(true);
    }
    let status: UpstreamStatus = serde_json::from_slice(&reply.accepted()?)
        .map_err(|error| format!("an answer that is not understood: {error}"))?;
    Ok(is_left(&status, peer))
}

/// A list that came but is not in force everywhere may still send somebody there.
fn is_left(status: &UpstreamStatus, peer: &str) -> bool {
    let in_force = status.sources.iter().all(|source| source.applied_index >= source.index);
    let mut members = status.peers.iter().filter(|known| known.address == peer);
    in_force && members.all(|peer| !peer.state.serves() && peer.active == 0)
}

/// Whether this registry answers for a proxy as well.
pub(crate) async fn is_proxy(registry: &Proxy, upstream: &str) -> bool {
    let path = format!("/v1/upstreams/{}", escape(upstream));
    let reply = registry.send("GET", &path, Vec::new(), PATIENCE).await;
    reply.is_ok_and(|reply| {
        reply.status == 200 && serde_json::from_slice::<UpstreamStatus>(&reply.body).is_ok()
    })
}

/// Returns when every proxy has said twice in a row that the peer is quiet: true; or at the deadline: false.
pub(crate) async fn quiet(
    proxies: &[Proxy],
    upstream: &str,
    peer: &str,
    deadline: Instant,
    log: &Log,
) -> bool {
    for proxy in proxies {
        let (mut row, mut told) = (0, None);
        while row < 2 {
            if Instant::now() >= deadline {
                return false;
            }
            match is_quiet(proxy, upstream, peer).await {
                Ok(true) => row += 1,
                Ok(false) => row = 0,
                Err(text) => {
                    row = 0;
                    if told.as_ref() != Some(&text) {
                        log(format!("proxy {}: {text}; asked again until the drain timeout", proxy.name()));
                        told = Some(text);
                    }
                }
            }
            sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const PEER: &str = "10.0.0.7:80";

    fn peer(address: &str, state: &str, active: u32) -> Value {
        json!({
            "address": address, "server": address, "weight": 1, "own_weight": null, "backup": false, "state": state,
            "since": null, "by": null, "reason": "", "expires": null, "active": active, "requests": 9, "failures": 0,
            "checks": [], "sources": ["consul"],
        })
    }

    fn left(index: Option<u64>, applied: Option<u64>, peers: &[Value]) -> bool {
        let status = json!({
            "name": "web", "method": "round robin", "change": 7, "panic": false, "peers": peers,
            "sources": [{
                "kind": "consul", "endpoint": "10.0.0.1:8500", "index": index, "applied_index": applied, "age_ms": 1,
                "error": null, "since": null, "remembered": false, "peers": 2, "rejected": [],
            }],
        });
        is_left(&serde_json::from_value(status).expect("a status"), PEER)
    }

    #[test]
    fn a_peer_is_left_when_it_serves_nobody_and_gets_nobody() {
        let other = peer("10.0.0.8:80", "up", 5);
        assert!(left(Some(7), Some(7), &[peer(PEER, "draining", 0), other.clone()]));
        assert!(left(Some(7), Some(7), std::slice::from_ref(&other)), "whoever is no member gets nobody");
        assert!(left(None, None, &[peer(PEER, "draining", 0)]), "a source that does not count");
        assert!(!left(Some(7), Some(7), &[peer(PEER, "up", 0)]));
        assert!(!left(Some(7), Some(7), &[peer(PEER, "draining", 1)]));
        assert!(
            !left(Some(7), Some(7), &[peer(PEER, "draining", 0), peer(PEER, "draining", 1)]),
            "two members"
        );
        assert!(!left(Some(8), Some(7), &[peer(PEER, "draining", 0)]), "a thread has the old list");
        assert!(!left(Some(1), None, &[]), "no thread has a list yet");
    }
}
