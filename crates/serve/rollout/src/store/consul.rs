//! Consul's key-value store and sessions (its HTTP API, `/v1/kv` and `/v1/session`); the embedded registry has the same.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::json;

use super::error::StoreError;
use super::kv::{Acquired, EXCHANGE, Item};
use super::transport::{Reply, Token, Transport, path, said};

pub(crate) struct Consul {
    transport: Arc<dyn Transport>,
    headers: HeaderMap,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pair {
    key: String,
    value: Option<String>,
    modify_index: u64,
    #[serde(default)]
    flags: u64,
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    #[serde(rename = "ID")]
    id: String,
}

impl Consul {
    pub(crate) fn new(transport: Arc<dyn Transport>, token: Option<&Token>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert("x-consul-token", sensitive(token.text())?);
        }
        Ok(Self { transport, headers })
    }

    async fn send(&self, method: Method, target: &str, body: &[u8]) -> Result<Reply, StoreError> {
        let body = Bytes::copy_from_slice(body);
        let reply = self.transport.send(method, target, self.headers.clone(), body, EXCHANGE).await;
        reply.map_err(StoreError::unreachable)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let items = self.read(&format!("/v1/kv/{}?consistent", path(key)), key).await?;
        Ok(items.into_iter().find(|item| item.key == key))
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Item>, StoreError> {
        self.read(&format!("/v1/kv/{}?recurse&consistent", path(prefix)), prefix).await
    }

    async fn read(&self, target: &str, key: &str) -> Result<Vec<Item>, StoreError> {
        let reply = self.send(Method::GET, target, b"").await?;
        match reply.status {
            200 => {}
            404 => return Ok(Vec::new()),
            _ => return Err(refused(&reply, format!("read {key}"))),
        }
        let pairs: Vec<Pair> = answer(&reply, key)?;
        let items = pairs.into_iter().map(|pair| {
            let value = STANDARD.decode(pair.value.unwrap_or_default());
            let value = value.map_err(|error| StoreError::unreadable(&pair.key, error, "base64"))?;
            let session = pair.session.filter(|session| !session.is_empty());
            Ok(Item { key: pair.key, value, index: pair.modify_index, flags: pair.flags, session })
        });
        items.collect()
    }

    pub(crate) async fn put(&self, key: &str, value: &[u8], read: Option<&Item>) -> Result<bool, StoreError> {
        let (index, flags) = read.map_or((0, 0), |item| (item.index, item.flags));
        let target = format!("/v1/kv/{}?cas={index}&flags={flags}", path(key));
        let reply = self.send(Method::PUT, &target, value).await?;
        self.done(&reply, || format!("write {key}"))
    }

    pub(crate) async fn delete(&self, read: &Item) -> Result<bool, StoreError> {
        let target = format!("/v1/kv/{}?cas={}", path(&read.key), read.index);
        let reply = self.send(Method::DELETE, &target, b"").await?;
        self.done(&reply, || format!("delete {}", read.key))
    }

    /// A write answers `true` or `false`.
    fn done(&self, reply: &Reply, doing: impl Fn() -> String) -> Result<bool, StoreError> {
        match (reply.status, reply.body.trim_ascii()) {
            (200, b"true") => Ok(true),
            (200, b"false") => Ok(false),
            _ => Err(refused(reply, doing())),
        }
    }

    /// No check of a node ends it, only time. No lock delay: the holder itself stops before its time is over.
    pub(crate) async fn open(&self, name: &str, ttl: Duration) -> Result<String, StoreError> {
        let ttl = format!("{}s", ttl.as_secs());
        let body =
            json!({ "Name": name, "TTL": ttl, "LockDelay": "0s", "Behavior": "release", "Checks": [] });
        let reply = self.send(Method::PUT, "/v1/session/create", body.to_string().as_bytes()).await?;
        if reply.status != 200 {
            return Err(refused(&reply, "open a session".to_owned()));
        }
        Ok(answer::<Session>(&reply, "a new session")?.id)
    }

    pub(crate) async fn renew(&self, session: &str) -> Result<bool, StoreError> {
        let reply = self.send(Method::PUT, &format!("/v1/session/renew/{}", path(session)), b"").await?;
        match reply.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(&reply, "renew the session".to_owned())),
        }
    }

    pub(crate) async fn acquire(
        &self,
        key: &str,
        value: &[u8],
        session: &str,
    ) -> Result<Acquired, StoreError> {
        let target = format!("/v1/kv/{}?acquire={}", path(key), path(session));
        let reply = self.send(Method::PUT, &target, value).await?;
        // Consul has no status of its own for this.
        if reply.status != 200 && said(&reply.body).to_ascii_lowercase().contains("invalid session") {
            return Ok(Acquired::SessionGone);
        }
        let done = self.done(&reply, || format!("lock {key}"))?;
        Ok(if done { Acquired::Yes } else { Acquired::No })
    }

    pub(crate) async fn close(&self, session: &str) -> Result<(), StoreError> {
        let reply = self.send(Method::PUT, &format!("/v1/session/destroy/{}", path(session)), b"").await?;
        match reply.status {
            200 | 404 => Ok(()),
            _ => Err(refused(&reply, "end the session".to_owned())),
        }
    }
}

pub(super) fn sensitive(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "the token has characters that a header cannot have; look into its file".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn answer<T: serde::de::DeserializeOwned>(reply: &Reply, what: &str) -> Result<T, StoreError> {
    serde_json::from_slice(&reply.body)
        .map_err(|error| StoreError::unreadable(what, error, "an answer of Consul's HTTP API"))
}

/// 500 is what Consul says without a leader, 429 to clients with too many connections.
fn refused(reply: &Reply, doing: String) -> StoreError {
    let (status, text) = (reply.status, said(&reply.body));
    if matches!(status, 429 | 500 | 502..=504) {
        return StoreError::unreachable(format!("the store answers {status} ({text}) when asked to {doing}"));
    }
    let hint = match status {
        401 | 403 => "give a token that may do so with --store-token-file",
        413 => "it takes values up to 512 KiB",
        _ => "expected Consul's HTTP API; look at --store",
    };
    StoreError::Refused { doing, status, text, hint }
}
