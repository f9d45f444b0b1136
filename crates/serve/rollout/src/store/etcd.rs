//! etcd's v3 API by its JSON gateway: keys and values are base64, 64-bit numbers text. A session is a lease.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_discovery::etcd3;

use super::consul::sensitive;
use super::error::StoreError;
use super::kv::{Acquired, EXCHANGE, Item};
use super::transport::{Reply, Token, Transport, said};

pub(crate) struct Etcd {
    transport: Arc<dyn Transport>,
    token: Option<Token>,
    /// Of the last login.
    session: Mutex<Option<HeaderValue>>,
    /// The gateway of 3.3 is at `/v3beta`.
    beta: AtomicBool,
}

/// gRPC's code for a request without a valid token.
const UNAUTHENTICATED: i64 = 16;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pair {
    key: String,
    value: String,
    mod_revision: String,
    /// Absent: none.
    lease: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Range {
    kvs: Vec<Pair>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Done {
    succeeded: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lease {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "TTL")]
    ttl: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Renewed {
    result: Lease,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trouble {
    code: i64,
    message: String,
    error: Value,
}

impl Etcd {
    /// A token `user:password` is changed into one by a login.
    pub(crate) fn new(transport: Arc<dyn Transport>, token: Option<&Token>) -> Result<Self, String> {
        if let Some(token) = token {
            sensitive(token.text())?;
        }
        Ok(Self { transport, token: token.cloned(), session: Mutex::default(), beta: AtomicBool::new(false) })
    }

    /// Logs in when needed, and once more when a token became too old.
    async fn call(&self, method: &str, body: &str, doing: impl Fn() -> String) -> Result<Reply, StoreError> {
        let mut reply = self.once(method, body).await?;
        // Not one of etcd's own answers, which have a code, but no such path.
        if reply.status == 404 && trouble(&reply).0 == 0 {
            self.beta.fetch_xor(true, Ordering::Relaxed);
            reply = self.once(method, body).await?;
        }
        if reply.status != 200 && trouble(&reply).0 == UNAUTHENTICATED && self.token.is_some() {
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
            reply = self.once(method, body).await?;
        }
        if reply.status == 200 { Ok(reply) } else { Err(refused(&reply, doing())) }
    }

    async fn once(&self, method: &str, body: &str) -> Result<Reply, StoreError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.authorization().await? {
            headers.insert(AUTHORIZATION, value);
        }
        self.send(method, body, headers).await
    }

    async fn send(&self, method: &str, body: &str, headers: HeaderMap) -> Result<Reply, StoreError> {
        let root = if self.beta.load(Ordering::Relaxed) { "/v3beta" } else { "/v3" };
        let (target, body) = (format!("{root}/{method}"), Bytes::copy_from_slice(body.as_bytes()));
        let reply = self.transport.send(Method::POST, &target, headers, body, EXCHANGE).await;
        reply.map_err(StoreError::unreachable)
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, StoreError> {
        let Some(token) = &self.token else { return Ok(None) };
        if let Some(value) = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Some(value));
        }
        let word = match token.text().split_once(':') {
            None => token.text().to_owned(),
            Some((user, password)) => {
                let reply =
                    self.send("auth/authenticate", &etcd3::login(user, password), HeaderMap::new()).await?;
                etcd3::token(&reply.body).map_err(|_| refused(&reply, "log in".to_owned()))?
            }
        };
        let value = sensitive(&word).map_err(StoreError::unreachable)?;
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.clone());
        Ok(Some(value))
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        let body = json!({ "key": STANDARD.encode(key) }).to_string();
        let reply = self.call("kv/range", &body, || format!("read {key}")).await?;
        Ok(items(&reply, key)?.into_iter().next())
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Item>, StoreError> {
        let reply = self.call("kv/range", &etcd3::range(prefix), || format!("read {prefix}")).await?;
        items(&reply, prefix)
    }

    pub(crate) async fn put(&self, key: &str, value: &[u8], read: Option<&Item>) -> Result<bool, StoreError> {
        let mut put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        if read.is_some() {
            put["ignore_lease"] = json!(true);
        }
        let compare = same(key, read.map(|item| item.index));
        self.txn(&compare, &json!({ "request_put": put }), || format!("write {key}")).await
    }

    /// A lease takes the keys with it that were written under it last.
    pub(crate) async fn seize(&self, value: &[u8], read: &Item) -> Result<bool, StoreError> {
        let put = json!({ "key": STANDARD.encode(&read.key), "value": STANDARD.encode(value) });
        let request = json!({ "request_put": put });
        self.txn(&same(&read.key, Some(read.index)), &request, || format!("write {}", read.key)).await
    }

    pub(crate) async fn delete(&self, read: &Item) -> Result<bool, StoreError> {
        let request = json!({ "request_delete_range": { "key": STANDARD.encode(&read.key) } });
        self.txn(&same(&read.key, Some(read.index)), &request, || format!("delete {}", read.key)).await
    }

    async fn txn(
        &self,
        compare: &Value,
        request: &Value,
        doing: impl Fn() -> String,
    ) -> Result<bool, StoreError> {
        let body = json!({ "compare": [compare], "success": [request] }).to_string();
        let reply = self.call("kv/txn", &body, &doing).await?;
        Ok(answer::<Done>(&reply, &doing())?.succeeded)
    }

    pub(crate) async fn open(&self, _name: &str, ttl: Duration) -> Result<String, StoreError> {
        let body = json!({ "TTL": ttl.as_secs() }).to_string();
        let reply = self.call("lease/grant", &body, || "open a lease".to_owned()).await?;
        let id = answer::<Lease>(&reply, "a new lease")?.id;
        if id.is_empty() {
            return Err(StoreError::unreadable("a new lease", said(&reply.body), EXPECTED));
        }
        Ok(id)
    }

    pub(crate) async fn renew(&self, lease: &str) -> Result<bool, StoreError> {
        let body = json!({ "ID": lease }).to_string();
        let reply = self.call("lease/keepalive", &body, || "renew the lease".to_owned()).await?;
        // A lease that is over has no TTL, or 0.
        let ttl = answer::<Renewed>(&reply, "the lease")?.result.ttl;
        Ok(ttl.parse::<i64>().is_ok_and(|seconds| seconds > 0))
    }

    /// Only of a key that is absent, or that no lease holds.
    pub(crate) async fn acquire(&self, key: &str, value: &[u8], lease: &str) -> Result<Acquired, StoreError> {
        let read = self.get(key).await?;
        if let Some(holder) = read.as_ref().and_then(|item| item.session.as_deref()) {
            return Ok(if holder == lease { Acquired::Yes } else { Acquired::No });
        }
        let put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value), "lease": lease });
        let compare = same(key, read.map(|item| item.index));
        match self.txn(&compare, &json!({ "request_put": put }), || format!("lock {key}")).await {
            Ok(true) => Ok(Acquired::Yes),
            Ok(false) => Ok(Acquired::No),
            Err(StoreError::Refused { text, .. }) if text.contains("lease not found") => {
                Ok(Acquired::SessionGone)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn close(&self, lease: &str) -> Result<(), StoreError> {
        let body = json!({ "ID": lease }).to_string();
        match self.call("lease/revoke", &body, || "end the lease".to_owned()).await {
            Err(StoreError::Refused { text, .. }) if text.contains("lease not found") => Ok(()),
            answer => answer.map(drop),
        }
    }
}

const EXPECTED: &str = "an answer of etcd's JSON gateway";

/// The key is as it was read; a revision of 0 is an absent key.
fn same(key: &str, index: Option<u64>) -> Value {
    json!({ "key": STANDARD.encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": index.unwrap_or(0).to_string() })
}

fn answer<T: serde::de::DeserializeOwned>(reply: &Reply, what: &str) -> Result<T, StoreError> {
    serde_json::from_slice(&reply.body).map_err(|error| StoreError::unreadable(what, error, EXPECTED))
}

fn items(reply: &Reply, key: &str) -> Result<Vec<Item>, StoreError> {
    let decode =
        |text: &str| STANDARD.decode(text).map_err(|error| StoreError::unreadable(key, error, "base64"));
    let pairs = answer::<Range>(reply, key)?.kvs.into_iter();
    let items = pairs.map(|pair| {
        let name = String::from_utf8_lossy(&decode(&pair.key)?).into_owned();
        let index =
            pair.mod_revision.parse().map_err(|error| StoreError::unreadable(&name, error, EXPECTED))?;
        let session = Some(pair.lease).filter(|lease| !lease.is_empty() && lease != "0");
        Ok(Item { value: decode(&pair.value)?, key: name, index, flags: 0, session })
    });
    items.collect()
}

/// The gateway writes the words of an error as `error`, as `message`, or as both.
fn trouble(reply: &Reply) -> (i64, String) {
    let Ok(trouble) = serde_json::from_slice::<Trouble>(&reply.body) else { return (0, said(&reply.body)) };
    let code = trouble.error.get("grpc_code").and_then(Value::as_i64).unwrap_or(trouble.code);
    let inner = trouble.error.get("message").or(Some(&trouble.error)).and_then(Value::as_str);
    let text =
        if trouble.message.is_empty() { inner.unwrap_or_default().to_owned() } else { trouble.message };
    (code, text)
}

/// gRPC: 1 cancelled, 4 deadline, 8 exhausted (too many requests), 10 aborted, 13 internal, 14 unavailable (no leader).
fn refused(reply: &Reply, doing: String) -> StoreError {
    let (code, text) = trouble(reply);
    let status = reply.status;
    let full = text.contains("database space exceeded");
    if matches!(code, 1 | 4 | 10 | 13 | 14)
        || (code == 8 && !full)
        || (code == 0 && matches!(status, 429 | 500..=504))
    {
        return StoreError::unreachable(format!("the store answers {status} ({text}) when asked to {doing}"));
    }
    let hint = match code {
        // 2 is what etcd says to a wrong password.
        2 | 3 | 7 | UNAUTHENTICATED if status != 404 => {
            "give a token or user:password that may do so with --store-token-file"
        }
        _ if full => "it is full: compact and defragment it, then disarm its alarm",
        _ => "expected etcd's v3 JSON gateway; look at --store",
    };
    StoreError::Refused { doing, status, text, hint }
}
