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
    let peer = status.peers.iter().find(|known| known.address == peer);
    Ok(peer.is_none_or(|peer| !peer.state.serves() && peer.active == 0))
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
