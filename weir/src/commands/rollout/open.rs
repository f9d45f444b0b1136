//! Finds the proxies and the store of an upstream, and says of each that cannot be asked what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{HeaderMap, Method};
use weir_model::source::ClientTls;
use weir_rollout::{Plan, StoreKind};
use weir_serve_discovery::client::Client;
use weir_serve_rollout::{Mouth, Place, Proxies, Proxy, ProxyError, Reply, Store, Token, Transport};

use super::super::{link, upstream};
use crate::place;

/// An embedded registry answers for its proxy at once, or not at all.
const KNOCK: Duration = Duration::from_secs(5);

/// The client of stores, as a release asks it.
struct Line(Client);

impl Transport for Line {
    fn send<'a>(
        &'a self,
        method: Method,
        path_and_query: &'a str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>> {
        Box::pin(async move {
            let reply = self.0.send(method, path_and_query, headers, body, timeout).await;
            let reply = reply.map_err(|error| error.to_string())?;
            Ok(Reply { status: reply.status.as_u16(), body: reply.body })
        })
    }
}

/// The proxies of an upstream and the store of its servers. The plan is completed by what they say.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) proxies: Arc<Proxies>,
}

/// For what touches servers: proxies are needed, and the keys' prefix.
pub(super) async fn all(plan: &mut Plan, mouth: &Mouth) -> Result<Opened, String> {
    let named = !plan.store.endpoints.is_empty() || plan.store.kind != StoreKind::Consul;
    if plan.proxies.is_empty() {
        plan.proxies = default_proxies(plan).await?;
    }
    let proxies = Arc::new(proxies(plan)?);
    if plan.store.kind != StoreKind::Control && (!named || plan.store.prefix.is_none()) {
        complete(plan, &proxies, named).await?;
    }
    let store = store(plan, &proxies, mouth)?;
    reach(plan, &store).await?;
    Ok(Opened { store, proxies })
}

/// For what only looks at a release or speaks to it: the proxies are asked where the store is when nobody says it.
pub(super) async fn store_only(plan: &mut Plan, mouth: &Mouth) -> Result<Store, String> {
    let named = !plan.store.endpoints.is_empty() || plan.store.kind == StoreKind::Etcd;
    if !named {
        return Ok(all(plan, mouth).await?.store);
    }
    plan.store.prefix.get_or_insert_with(|| plan.upstream.clone());
    let store = store(plan, &Arc::new(Proxies::new(&plan.upstream, Vec::new(), true)), mouth)?;
    reach(plan, &store).await?;
    Ok(store)
}

async fn reach(plan: &Plan, store: &Store) -> Result<(), String> {
    store.reach().await.map_err(|error| match plan.store.kind {
        StoreKind::Control => error.to_string(),
        _ => {
            format!("the store at {}: {error}; name another with --store-address", addresses(plan).join(", "))
        }
    })
}

/// What the proxies say of the list's origin. One without keys is kept by the proxies alone.
async fn complete(plan: &mut Plan, proxies: &Proxies, named: bool) -> Result<(), String> {
    let origin = match proxies.origin().await {
        Ok(origin) => Some(origin),
        Err(ProxyError::NoPrefix { .. }) if !named && plan.store.prefix.is_none() => None,
        Err(error) => return Err(error.to_string()),
    };
    let store = &mut plan.store;
    let Some(origin) = origin else {
        store.kind = StoreKind::Control;
        return Ok(());
    };
    if !named {
        match origin.kind.as_str() {
            "consul" => store.kind = StoreKind::Consul,
            "etcd3" => store.kind = StoreKind::Etcd,
            _ => {
                store.kind = StoreKind::Control;
                return Ok(());
            }
        }
        if !origin.endpoint.is_empty() && origin.endpoint != EMBEDDED {
            store.endpoints = vec![origin.endpoint];
        }
    }
    store.prefix.get_or_insert(origin.prefix);
    Ok(())
}

/// What a proxy calls the registry in its own process.
const EMBEDDED: &str = "registry";

fn addresses(plan: &Plan) -> Vec<String> {
    match plan.store.kind {
        _ if !plan.store.endpoints.is_empty() => plan.store.endpoints.clone(),
        StoreKind::Etcd => vec!["127.0.0.1:2379".to_owned()],
        _ => vec!["127.0.0.1:8500".to_owned()],
    }
}

fn store(plan: &Plan, proxies: &Arc<Proxies>, mouth: &Mouth) -> Result<Store, String> {
    let keys = &plan.store;
    if keys.kind == StoreKind::Control {
        let usual = || Path::new(&place::state_folder()).join("rollout");
        let folder = keys.folder.as_ref().map_or_else(usual, PathBuf::from);
        return Ok(Store::control(&plan.upstream, Arc::clone(proxies), folder, mouth.tell()));
    }
    let token = keys.token_file.as_deref().map(token).transpose()?;
    let line = Arc::new(Line(Client::new(&link::store(&addresses(plan), None, tls(plan))?, None)));
    let prefix = keys.prefix.clone().unwrap_or_default();
    let place = Place { upstream: plan.upstream.clone(), prefix };
    Store::new(keys.kind, line, token.as_ref(), place, mouth.tell())
}

fn proxies(plan: &Plan) -> Result<Proxies, String> {
    let tokens = |file: &Option<String>| file.as_deref().map(token).transpose();
    let (own, of_store) = (tokens(&plan.proxy_token_file)?, tokens(&plan.store.token_file)?);
    let list = plan.proxies.iter().map(|address| {
        // A node that is asked at its registry's address looks at the registry's tokens.
        let shared = addresses(plan).contains(address);
        let token = own.as_ref().or(of_store.as_ref().filter(|_| shared));
        let tls = if shared { tls(plan) } else { ClientTls::default() };
        Proxy::new(address, transport(address, tls)?, token)
    });
    let list = list.collect::<Result<_, String>>()?;
    let none_has_to_serve = plan.batch.min_healthy.is_some_and(|least| least.ceil(1) == 0);
    Ok(Proxies::new(&plan.upstream, list, plan.proxy_optional).to_the_last(none_has_to_serve))
}

fn transport(address: &str, tls: ClientTls) -> Result<Arc<dyn Transport>, String> {
    let store = link::store(&[address.to_owned()], None, tls)?;
    Ok(Arc::new(Line(Client::new(&store, None))))
}

/// How the store is talked to, where it is https://.
fn tls(plan: &Plan) -> ClientTls {
    let keys = &plan.store;
    ClientTls {
        ca: keys.ca_file.clone(),
        identity: keys.cert_file.clone().zip(keys.key_file.clone()),
        server_name: None,
    }
}

/// Nodes whose registry is the store answer for their proxy there as well; else the node of this machine.
async fn default_proxies(plan: &Plan) -> Result<Vec<String>, String> {
    let (mut found, mut away) = (Vec::new(), None);
    if plan.store.kind == StoreKind::Consul {
        for address in addresses(plan) {
            let token = plan.store.token_file.as_deref().map(|path| super::super::token(Path::new(path)));
            let store = link::store(std::slice::from_ref(&address), token.transpose()?, tls(plan))?;
            let line = Line(Client::new(&store, None));
            match line.send(Method::GET, "/v1/weir/version", HeaderMap::new(), Bytes::new(), KNOCK).await {
                Ok(reply) if reply.status == 200 && has_proxy(&reply.body) => found.push(address),
                Ok(_) => {}
                Err(problem) => away = Some(format!("{address}: {problem}")),
            }
        }
    }
    // One of them that serves on unseen would lose requests.
    if let Some(away) = away.filter(|_| !found.is_empty() && !plan.proxy_optional) {
        return Err(format!(
            "whether this node is a proxy of the upstream as well cannot be seen: {away}; start it, name the proxies with \
             --proxy, or go on without it with --proxy-optional"
        ));
    }
    if found.is_empty() {
        found.push(format!("unix:{}", upstream::local_socket()?));
    }
    Ok(found)
}

/// A registry by itself has no proxy.
fn has_proxy(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        features: Vec<String>,
    }
    serde_json::from_slice::<Version>(body)
        .is_ok_and(|version| version.features.iter().any(|feature| feature == "upstreams"))
}

fn token(path: &str) -> Result<Token, String> {
    Ok(Token::new(&super::super::token(Path::new(path))?.0))
}
