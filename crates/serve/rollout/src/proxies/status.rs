//! What a control API says of an upstream, and what several of them say together.
//!
//! Only what a release needs is read, and a proxy that says less or more than another version is understood.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use weir_rollout::{Bucket, Counters, PeerState, PeerView};

use super::{Origin, ProxyError};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Upstream {
    pub(crate) sources: Vec<Source>,
    pub(crate) peers: Vec<Peer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    kind: String,
    endpoint: String,
    path: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peer {
    pub(crate) address: String,
    /// As its configuration or source writes it, perhaps a name.
    #[serde(default)]
    server: String,
    pub(crate) weight: u32,
    #[serde(default)]
    pub(crate) backup: bool,
    pub(crate) state: PeerState,
    #[serde(default)]
    pub(crate) percent: Option<u8>,
    #[serde(default)]
    active: u64,
    /// Of the active ones, connections that were upgraded.
    #[serde(default)]
    upgraded: u64,
    #[serde(default)]
    requests: u64,
    /// Failed attempts of any kind.
    #[serde(default)]
    failures: u64,
    /// By class: `2xx` to `5xx`.
    #[serde(default)]
    answers: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    connect_errors: u64,
    #[serde(default)]
    timeouts: u64,
    #[serde(default)]
    latency: Option<Latency>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    buckets: Vec<Bucket>,
}

impl Peer {
    /// What keys and plans call it: its address, unless it was given as a name with a port.
    pub(crate) fn name(&self) -> &str {
        let named = self.server.rsplit_once(':').is_some_and(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            port.parse::<u16>().is_ok() && host != "unix" && host.parse::<IpAddr>().is_err()
        });
        if named { &self.server } else { &self.address }
    }

    pub(crate) fn is(&self, server: &str) -> bool {
        self.address == server || self.server == server
    }

    pub(super) fn running(&self, websockets: bool) -> u64 {
        if websockets { self.active } else { self.active.saturating_sub(self.upgraded) }
    }

    fn counters(&self) -> Counters {
        let Some(answers) = &self.answers else {
            return Counters { requests: self.requests, errors: self.failures, ..Counters::default() };
        };
        Counters {
            requests: answers.values().sum::<u64>() + self.timeouts,
            errors: answers.get("5xx").copied().unwrap_or(0) + self.timeouts,
            connect_errors: self.connect_errors,
            latency: self.latency.clone().unwrap_or_default().buckets,
        }
    }
}

/// The sum over peers, on one or several proxies.
pub(super) fn counters<'a>(peers: impl Iterator<Item = &'a Peer>) -> Counters {
    let (mut sum, mut buckets) = (Counters::default(), BTreeMap::<u64, u64>::new());
    for counters in peers.map(Peer::counters) {
        sum.requests += counters.requests;
        sum.errors += counters.errors;
        sum.connect_errors += counters.connect_errors;
        for bucket in counters.latency {
            *buckets.entry(bucket.up_to_us).or_default() += bucket.count;
        }
    }
    sum.latency = buckets.into_iter().map(|(up_to_us, count)| Bucket { up_to_us, count }).collect();
    sum
}

/// The worst state of all, and serving only where every proxy sends it requests.
pub(super) fn view(upstreams: &[Upstream]) -> Vec<PeerView> {
    let mut views: Vec<PeerView> = Vec::new();
    for peer in upstreams.iter().flat_map(|upstream| &upstream.peers) {
        let name = peer.name();
        let view = match views.iter_mut().find(|view| view.address == name) {
            Some(view) => view,
            None => {
                let known = |upstream: &Upstream| upstream.peers.iter().any(|peer| peer.name() == name);
                views.push(PeerView {
                    address: name.to_owned(),
                    weight: peer.weight,
                    serving: upstreams.iter().all(known),
                    active: 0,
                    state: peer.state,
                    backup: peer.backup,
                });
                let Some(view) = views.last_mut() else { continue };
                view
            }
        };
        view.serving &= peer.state == PeerState::Up;
        view.active += peer.active;
        if rank(peer.state) < rank(view.state) {
            view.state = peer.state;
        }
    }
    views
}

/// The worst first.
const fn rank(state: PeerState) -> u8 {
    match state {
        PeerState::Maintenance => 0,
        PeerState::Down => 1,
        PeerState::Draining => 2,
        PeerState::Failed => 3,
        PeerState::Ejected => 4,
        PeerState::Up => 5,
    }
}

pub(super) fn origin(name: &str, upstreams: &[Upstream]) -> Result<Origin, ProxyError> {
    let none = |problem: String| Err(ProxyError::NoPrefix { problem });
    let mut found: Option<Origin> = None;
    for source in upstreams.iter().flat_map(|upstream| &upstream.sources) {
        let Some(path) = &source.path else {
            return none(format!("the proxies do not say which keys upstream {name} is read from"));
        };
        // In etcd a slash before the name is a part of it.
        let path = if source.kind == "etcd3" { path } else { path.trim_start_matches('/') };
        let prefix = path.trim_end_matches('/').to_owned();
        match &found {
            Some(first) if first.prefix != prefix || first.kind != source.kind => {
                return none(format!("upstream {name} is read from {} and from {prefix}", first.prefix));
            }
            Some(_) => {}
            None => {
                found = Some(Origin { kind: source.kind.clone(), endpoint: source.endpoint.clone(), prefix })
            }
        }
    }
    match found {
        Some(origin) => Ok(origin),
        None => none(format!(
            "upstream {name} has no source; with servers that only its proxies know use --store control"
        )),
    }
}
