//! The control APIs of the proxies in front of an upstream, all of them together.

mod ask;
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;
use weir_rollout::{Metrics, PeerState, PeerView};

use crate::store::{Token, Transport};
pub(crate) use status::{Peer, Upstream};

/// Between two counts of what still runs at a server.
const COUNT: Duration = Duration::from_millis(100);

/// So long a proxy may be away where there is no other limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts at a proxy that is away.
const PAUSE: Duration = Duration::from_millis(250);

/// Why the proxies did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error(
        "proxy {proxy} cannot be reached: {problem}; start it, take it out of --proxy, or go on without it with --proxy-optional"
    )]
    Unreachable { proxy: String, problem: String },
    /// It answered, with something else.
    #[error("proxy {proxy} answers {status}: {text}")]
    Refused { proxy: String, status: u16, text: String },
    #[error("proxy {proxy} does not answer as a control API does: {problem}; look at --proxy")]
    Unreadable { proxy: String, problem: String },
    #[error("no proxy is named; name at least one with --proxy")]
    None,
    #[error("proxy {proxy} did not serve index {index} in time: {problem}")]
    Late { proxy: String, index: u64, problem: String },
    #[error(
        "proxy {proxy} still sends requests to {server}, which has to be drained everywhere; does this proxy read another store, or other keys?"
    )]
    Disobeys { proxy: String, server: String },
    #[error("no proxy knows server {server}; look with weir upstream")]
    UnknownServer { server: String },
    #[error("{problem}; name the servers' keys with --prefix, as in upstreams/web")]
    NoPrefix { problem: String },
}

/// One control API.
pub struct Proxy {
    name: String,
    transport: Arc<dyn Transport>,
    headers: HeaderMap,
}

impl Proxy {
    /// `name` is for people: its address. The transport itself adds no token; over a unix socket none is needed.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub fn new(
        name: impl Into<String>,
        transport: Arc<dyn Transport>,
        token: Option<&Token>,
    ) -> Result<Self, String> {
        let (name, mut headers) = (name.into(), HeaderMap::new());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.text())).map_err(|_| {
                format!(
                    "the token of proxy {name} has characters that a header cannot have; look into its file"
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { name, transport, headers })
    }
}

/// Where the servers' list of an upstream comes from, as its proxies say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `consul`, `etcd3`, ...
    pub kind: String,
    pub endpoint: String,
    /// Without a slash at its end.
    pub prefix: String,
}

/// All proxies of one upstream.
pub struct Proxies {
    upstream: String,
    list: Vec<Proxy>,
    optional: bool,
    force: bool,
    /// Names of those that do not answer now.
    away: Mutex<Vec<String>>,
}

impl Proxies {
    /// `optional`: one that cannot be reached is left out, unless all are.
    #[must_use]
    pub fn new(upstream: &str, list: Vec<Proxy>, optional: bool) -> Self {
        let force = false;
        Self { upstream: upstream.to_owned(), list, optional, force, away: Mutex::default() }
    }

    /// A proxy refuses to drain the last server that serves, unless this is set: a plan may say that none has to serve.
    #[must_use]
    pub fn to_the_last(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Until every proxy serves by a list with this index. Index 0 needs no waiting.
    ///
    /// # Errors
    /// The first proxy, in their order, that does not by `until`.
    pub async fn wait_applied(&self, index: u64, until: Instant) -> Result<(), ProxyError> {
        if index == 0 {
            return Ok(());
        }
        let answers = join_all(self.list.iter().map(|proxy| self.applied(proxy, index, until))).await;
        self.together(answers).map(drop)
    }

    /// Until nothing runs at the server on any proxy, at most until then. `seen` is told each count; the last one is
    /// the answer, 0 is quiet. Without `websockets` those are not counted, where a proxy tells them apart. A server to
    /// which new requests may go is not quiet: an index says nothing of a proxy that reads another store.
    ///
    /// # Errors
    /// When a proxy cannot be reached until the limit, or for 10 s where there is none; when one does not hold the server
    /// for drained for 10 s, or until the limit.
    pub async fn quiet(
        &self,
        server: &str,
        until: Option<Instant>,
        websockets: bool,
        seen: impl Fn(u64),
    ) -> Result<u64, ProxyError> {
        let (mut told, mut disobeyed) = (None, None);
        loop {
            let limit = Instant::now() + PATIENCE;
            let upstreams =
                self.read_until(until.map_or(limit, |until| until.max(Instant::now() + PAUSE))).await?;
            let peers =
                upstreams.iter().flat_map(|(_, upstream)| &upstream.peers).filter(|peer| peer.is(server));
            let active = peers.map(|peer| peer.running(websockets)).sum();
            if told.replace(active) != Some(active) {
                seen(active);
            }
            let (now, over) = (Instant::now(), until.is_some_and(|until| Instant::now() >= until));
            match serving(&upstreams, server) {
                Some(proxy) if over || now >= *disobeyed.get_or_insert(now + PATIENCE) => {
                    let (proxy, server) = (proxy.name.clone(), server.to_owned());
                    return Err(ProxyError::Disobeys { proxy, server });
                }
                Some(_) => {}
                None if active == 0 || over => return Ok(active),
                None => disobeyed = None,
            }
            let pause = Instant::now() + COUNT;
            tokio::time::sleep_until(until.map_or(pause, |until| until.min(pause))).await;
        }
    }

    /// Every server of the upstream that a proxy knows, in the order of the first proxy.
    ///
    /// # Errors
    /// When a proxy cannot be reached, or does not know the upstream.
    pub async fn view(&self) -> Result<Vec<PeerView>, ProxyError> {
        Ok(status::view(&self.upstreams().await?))
    }

    /// The counters of a server and, summed, of the others, over all proxies.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn metrics(&self, server: &str, others: &[String]) -> Result<Metrics, ProxyError> {
        let upstreams = self.upstreams().await?;
        let of = |wanted: &dyn Fn(&Peer) -> bool| {
            status::counters(
                upstreams.iter().flat_map(|upstream| &upstream.peers).filter(|peer| wanted(peer)),
            )
        };
        let state: Option<PeerState> =
            status::view(&upstreams).into_iter().find(|view| view.address == server).map(|view| view.state);
        Ok(Metrics {
            server: of(&|peer| peer.is(server)),
            others: of(&|peer| others.iter().any(|other| peer.is(other))),
            state,
        })
    }

    /// Where the list of the servers comes from, so that a plan need not say it.
    ///
    /// # Errors
    /// When the proxies do not say it, or do not agree.
    pub async fn origin(&self) -> Result<Origin, ProxyError> {
        status::origin(&self.upstream, &self.upstreams().await?)
    }

    async fn upstreams(&self) -> Result<Vec<Upstream>, ProxyError> {
        Ok(self.read().await?.into_iter().map(|(_, upstream)| upstream).collect())
    }

    /// What each proxy says of the upstream.
    pub(crate) async fn read(&self) -> Result<Vec<(&Proxy, Upstream)>, ProxyError> {
        self.read_until(Instant::now() + PATIENCE).await
    }

    async fn read_until(&self, until: Instant) -> Result<Vec<(&Proxy, Upstream)>, ProxyError> {
        let until = if self.optional { until.min(Instant::now() + PAUSE) } else { until };
        let answers = join_all(self.list.iter().map(|proxy| async move {
            Ok((proxy, self.patiently(proxy, until, || ask::show(proxy, &self.upstream)).await?))
        }))
        .await;
        self.together(answers)
    }

    /// Those that do not answer now; for people.
    #[must_use]
    pub fn away(&self) -> Vec<String> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether one that does not answer is done without.
    #[must_use]
    pub const fn is_optional(&self) -> bool {
        self.optional
    }

    /// Again while the proxy is away, until then; at least once.
    async fn patiently<T, F>(
        &self,
        proxy: &Proxy,
        until: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<T, ProxyError>
    where
        F: Future<Output = Result<T, ProxyError>>,
    {
        loop {
            let answer = attempt().await;
            let is_away = matches!(answer, Err(ProxyError::Unreachable { .. }));
            {
                let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
                away.retain(|name| *name != proxy.name);
                if is_away {
                    away.push(proxy.name.clone());
                }
            }
            if !is_away || Instant::now() + PAUSE >= until {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether this release may give the proxies orders; nothing is ordered.
    ///
    /// # Errors
    /// [`ProxyError::Refused`] by one that wants another token.
    pub async fn may_order(&self) -> Result<(), ProxyError> {
        for proxy in &self.list {
            // No peer is called so: who may order is told that, and who may not is told so first.
            let nothing = Value::Object(serde_json::Map::new());
            let told = ask::order(proxy, &self.upstream, "-", &nothing, PATIENCE).await;
            if let Err(error @ ProxyError::Refused { status: 401 | 403, .. }) = told {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn applied(&self, proxy: &Proxy, index: u64, until: Instant) -> Result<(), ProxyError> {
        // A proxy that may be left out has only this time to come back.
        let away = if self.optional { until.min(Instant::now() + PAUSE) } else { until };
        loop {
            let answer = self
                .patiently(proxy, away, || ask::wait_applied(proxy, &self.upstream, index, until))
                .await?;
            match answer {
                None => return Ok(()),
                Some(problem) if Instant::now() >= until => {
                    return Err(ProxyError::Late { proxy: proxy.name.clone(), index, problem });
                }
                Some(_) => tokio::time::sleep(COUNT).await,
            }
        }
    }

    /// Gives one proxy an order for one peer, and waits until all its data threads obey.
    pub(crate) async fn order(
        &self,
        proxy: &Proxy,
        peer: &str,
        wish: &Value,
        patience: Duration,
    ) -> Result<(), ProxyError> {
        let mut wish = wish.clone();
        if self.force && wish["state"] == "drain" {
            wish["force"] = Value::Bool(true);
        }
        ask::order(proxy, &self.upstream, peer, &wish, patience).await
    }

    /// All answers, or those of the proxies that can be reached where that is enough.
    fn together<T>(&self, answers: Vec<Result<T, ProxyError>>) -> Result<Vec<T>, ProxyError> {
        let (mut good, mut away) = (Vec::new(), None);
        for answer in answers {
            match answer {
                Ok(answer) => good.push(answer),
                Err(error @ ProxyError::Unreachable { .. }) if self.optional => away = Some(error),
                Err(error) => return Err(error),
            }
        }
        if good.is_empty() { Err(away.unwrap_or(ProxyError::None)) } else { Ok(good) }
    }
}

/// A proxy that may send new requests to the server.
fn serving<'a>(upstreams: &[(&'a Proxy, Upstream)], server: &str) -> Option<&'a Proxy> {
    let open = |peer: &Peer| peer.is(server) && !peer.state.is_ordered();
    upstreams.iter().find(|(_, upstream)| upstream.peers.iter().any(open)).map(|(proxy, _)| *proxy)
}
