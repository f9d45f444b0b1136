//! The store behind an upstream: its servers, and what releases write about themselves.
//!
//! Servers are keys `PREFIX/ip:port` with a JSON object, as nginx-upsync has them. What belongs to releases is below
//! `weir/rollout/UPSTREAM/`: `lock`, `progress`, `history/MOMENT` and words such as `order`. Without a store the
//! proxies hold the servers' states, and a folder of this machine the rest.

mod consul;
mod control;
mod error;
mod etcd;
mod folder;
mod kv;
mod link;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, watch};
use weir_rollout::{Progress, StoreKind};

use crate::lock::Standing;
use crate::proxies::Proxies;

pub(crate) use consul::Consul;
pub use error::StoreError;
pub(crate) use etcd::Etcd;
pub(crate) use folder::Folder;
pub(crate) use kv::{Acquired, Item, Kv};
pub use link::{StoreEvent, Tell};
pub use transport::{Reply, Token, Transport};
pub(crate) use transport::{said, segment};

/// How often a key is written anew that others change at the same time.
const ROUNDS: u32 = 64;

/// One server as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// `host:port`.
    pub address: String,
    /// `weight`, `down`, `percent`, and whatever else others wrote there.
    pub attributes: Map<String, Value>,
}

/// Where things are kept.
#[derive(Clone, Debug)]
pub struct Place {
    pub upstream: String,
    /// Of the servers' keys, `upstreams/web`; a slash at its end does not count, and but for etcd none at its beginning.
    pub prefix: String,
}

/// The store of one upstream. A copy is the same store. Every operation waits until the store is there; see
/// [`StoreEvent`].
#[derive(Clone)]
pub struct Store {
    pub(crate) core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) kv: Kv,
    servers: Servers,
    pub(crate) upstream: String,
    pub(crate) link: link::Link,
    pub(crate) standing: watch::Sender<Standing>,
    /// The progress as this process read or wrote it last; outer absence: it does not know.
    progress: Mutex<Option<Option<Item>>>,
}

/// Where the servers' states are.
enum Servers {
    /// Keys with this prefix, which ends with a slash.
    Keys(String),
    Proxies(Arc<Proxies>),
}

impl Store {
    /// Of the kind that a plan names. The transport itself adds no token.
    ///
    /// # Errors
    /// When a token cannot be sent, or the kind is [`StoreKind::Control`], which has [`Self::control`].
    pub fn new(
        kind: StoreKind,
        transport: Arc<dyn Transport>,
        token: Option<&Token>,
        place: Place,
        tell: Tell,
    ) -> Result<Self, String> {
        let kv = match kind {
            StoreKind::Consul => Kv::Consul(Consul::new(transport, token)?),
            StoreKind::Etcd => Kv::Etcd(Etcd::new(transport, token)?),
            StoreKind::Control => {
                return Err("store kind control has no store; expected consul or etcd".to_owned());
            }
        };
        // In etcd a slash before the name is a part of it.
        let prefix = match kind {
            StoreKind::Etcd => place.prefix.trim_end_matches('/'),
            _ => place.prefix.trim_matches('/'),
        };
        if prefix.is_empty() {
            return Err(
                "the prefix of the servers' keys is empty; name it with --prefix, as in upstreams/web"
                    .to_owned(),
            );
        }
        Ok(Self::over(kv, Servers::Keys(format!("{prefix}/")), place.upstream, tell))
    }

    /// Without a store: the proxies are told, each of them, and lock, progress and history are files of a folder. Such a
    /// lock keeps out only others who use the same folder of the same machine.
    #[must_use]
    pub fn control(upstream: &str, proxies: Arc<Proxies>, folder: PathBuf, tell: Tell) -> Self {
        Self::over(Kv::Folder(Folder::new(folder)), Servers::Proxies(proxies), upstream.to_owned(), tell)
    }

    fn over(kv: Kv, servers: Servers, upstream: String, tell: Tell) -> Self {
        let (standing, _) = watch::channel(Standing::None);
        let core =
            Core { kv, servers, upstream, link: link::Link::new(tell), standing, progress: Mutex::new(None) };
        Self { core: Arc::new(core) }
    }

    /// Asks once, so that a wrong address is found before anything else.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] and all others.
    pub async fn reach(&self) -> Result<(), StoreError> {
        self.core.kv.get(&self.core.key("progress")).await.map(drop)
    }

    /// The servers of the upstream in the order of their keys.
    ///
    /// # Errors
    /// When the store refuses, or a value is no JSON object.
    pub async fn peers(&self) -> Result<Vec<Entry>, StoreError> {
        let core = &self.core;
        match &core.servers {
            Servers::Proxies(proxies) => core.link.patiently(|| control::peers(proxies)).await,
            Servers::Keys(prefix) => {
                let items = core.link.patiently(|| core.kv.list(prefix)).await?;
                items.iter().filter(|item| !address(&item.key).is_empty()).map(entry).collect()
            }
        }
    }

    /// Changes the attributes of a server, without losing what others write at the same time. `alter` may run often, and
    /// always sees the newest attributes. The answer is the index of the state in which the change is contained: the
    /// proxies have it when they serve this index; 0 where they all were told already.
    ///
    /// # Errors
    /// When the server is not there, when the store refuses, when others undo the change again and again, or when the
    /// lock is lost.
    pub async fn change(
        &self,
        server: &str,
        alter: impl Fn(&mut Map<String, Value>) + Send + Sync,
    ) -> Result<u64, StoreError> {
        let core = &self.core;
        let prefix = match &core.servers {
            Servers::Keys(prefix) => prefix,
            Servers::Proxies(proxies) => {
                core.fence().await?;
                core.link.patiently(|| control::change(proxies, server, &alter)).await?;
                return Ok(0);
            }
        };
        let key = format!("{prefix}{server}");
        for round in 0..ROUNDS {
            core.fence().await?;
            let Some(item) = core.link.patiently(|| core.kv.get(&key)).await? else {
                return Err(StoreError::UnknownServer { server: server.to_owned(), key });
            };
            let before = entry(&item)?.attributes;
            let mut after = before.clone();
            alter(&mut after);
            // Also when an earlier round wrote it, whatever became of the answer.
            if after == before {
                return Ok(item.index);
            }
            let value = Value::Object(after).to_string();
            core.link.patiently(|| core.kv.put(&key, value.as_bytes(), Some(&item))).await?;
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=20))).await;
            }
        }
        Err(StoreError::Contended { key, rounds: ROUNDS })
    }

    /// Writes the progress down; when this returns, it can be resumed from.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when another release wrote since this process read or wrote it; when the lock is lost
    /// or the store refuses.
    pub async fn save_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let core = &self.core;
        let key = core.key("progress");
        let value = document(&key, progress)?;
        let mut known = core.progress.lock().await;
        let mut read = match known.take() {
            Some(read) => read,
            None => core.link.patiently(|| core.kv.get(&key)).await?,
        };
        loop {
            core.fence().await?;
            core.link.patiently(|| core.kv.put(&key, &value, read.as_ref())).await?;
            match core.link.patiently(|| core.kv.get(&key)).await? {
                Some(found) if found.value == value => {
                    *known = Some(Some(found));
                    return Ok(());
                }
                // The store forgot it.
                None => read = None,
                Some(_) => {
                    *known = Some(read);
                    return Err(StoreError::Overtaken { key });
                }
            }
        }
    }

    /// The progress of the last release; absent: there was none.
    ///
    /// # Errors
    /// When it is unreadable, or the store refuses.
    pub async fn load_progress(&self) -> Result<Option<Progress>, StoreError> {
        let core = &self.core;
        let key = core.key("progress");
        let mut known = core.progress.lock().await;
        let read = core.link.patiently(|| core.kv.get(&key)).await?;
        let progress = read.as_ref().map(|item| parse(item, "the progress of a release")).transpose()?;
        *known = Some(read);
        Ok(progress)
    }

    /// What stands below a name: how the commands of one release speak to the process of another.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn word(&self, name: &str) -> Result<Option<String>, StoreError> {
        let (core, key) = (&self.core, self.core.key(&segment(name)));
        let item = core.link.patiently(|| core.kv.get(&key)).await?;
        Ok(item.map(|item| String::from_utf8_lossy(&item.value).into_owned()))
    }

    /// Sets it, or takes it away. No lock is needed.
    ///
    /// # Errors
    /// When the store refuses, or others write all the time.
    pub async fn set_word(&self, name: &str, word: Option<&str>) -> Result<(), StoreError> {
        let (core, key) = (&self.core, self.core.key(&segment(name)));
        for _ in 0..ROUNDS {
            let read = core.link.patiently(|| core.kv.get(&key)).await?;
            match (word, &read) {
                (None, None) => return Ok(()),
                (Some(word), Some(item)) if item.value == word.as_bytes() => return Ok(()),
                (Some(word), read) => {
                    core.link.patiently(|| core.kv.put(&key, word.as_bytes(), read.as_ref())).await?
                }
                (None, Some(item)) => core.link.patiently(|| core.kv.delete(item)).await?,
            };
        }
        Err(StoreError::Contended { key, rounds: ROUNDS })
    }

    /// Reads it and takes away what was read, never what was set after it.
    pub(crate) async fn take_word(&self, name: &str) -> Result<Option<String>, StoreError> {
        let (core, key) = (&self.core, self.core.key(&segment(name)));
        let mut taken = None;
        for _ in 0..ROUNDS {
            let Some(item) = core.link.patiently(|| core.kv.get(&key)).await? else { return Ok(taken) };
            let word = Some(String::from_utf8_lossy(&item.value).into_owned());
            if core.link.patiently(|| core.kv.delete(&item)).await? {
                return Ok(word);
            }
            // If it is gone at the next look, an answer was lost and it was taken here.
            taken = word;
        }
        Err(StoreError::Contended { key, rounds: ROUNDS })
    }
}

impl Core {
    pub(crate) fn key(&self, name: &str) -> String {
        format!("weir/rollout/{}/{name}", segment(&self.upstream))
    }

    /// Waits until it is known whose the lock is.
    pub(crate) async fn fence(&self) -> Result<(), StoreError> {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(Standing::is_known).await;
        match known.as_deref() {
            Ok(Standing::Lost(why)) => Err(StoreError::LockLost { why: why.clone() }),
            _ => Ok(()),
        }
    }
}

fn address(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, last)| last)
}

/// An empty value is all defaults.
fn entry(item: &Item) -> Result<Entry, StoreError> {
    let attributes = if item.value.trim_ascii().is_empty() {
        Map::new()
    } else {
        parse(item, "a JSON object like {\"weight\":1}")?
    };
    Ok(Entry { address: address(&item.key).to_owned(), attributes })
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    item: &Item,
    expected: &'static str,
) -> Result<T, StoreError> {
    serde_json::from_slice(&item.value).map_err(|error| StoreError::unreadable(&item.key, error, expected))
}

pub(crate) fn document<T: serde::Serialize>(key: &str, content: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(content).map_err(|error| StoreError::unreadable(key, error, "what JSON can say"))
}
