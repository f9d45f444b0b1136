//! What Consul and etcd have in common: keys with an index, writes on a condition, sessions that end by themselves.

use std::time::Duration;

use super::consul::Consul;
use super::error::StoreError;
use super::etcd::Etcd;
use super::folder::Folder;

/// One exchange may take so long.
pub(super) const EXCHANGE: Duration = Duration::from_secs(10);

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) value: Vec<u8>,
    /// Of its last change.
    pub(crate) index: u64,
    /// Consul's flags, which belong to whoever set them.
    pub(crate) flags: u64,
    /// The session that locks it.
    pub(crate) session: Option<String>,
}

/// What became of the wish for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquired {
    Yes,
    /// Another has it, or had it a moment ago.
    No,
    /// The session ended.
    SessionGone,
}

/// The kinds of store. Every operation is one attempt; a write that failed may have had its effect.
pub(crate) enum Kv {
    Consul(Consul),
    Etcd(Etcd),
    Folder(Folder),
}

macro_rules! either {
    ($self:ident, $kv:ident => $call:expr, $folder:ident => $here:expr) => {
        match $self {
            Kv::Consul($kv) => $call.await,
            Kv::Etcd($kv) => $call.await,
            Kv::Folder($folder) => $here,
        }
    };
}

impl Kv {
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Item>, StoreError> {
        either!(self, kv => kv.get(key), folder => folder.get(key))
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Item>, StoreError> {
        either!(self, kv => kv.list(prefix), folder => folder.list(prefix))
    }

    /// Writes if the key still is what was read, or still is absent; a lock on it and its flags stay.
    pub(crate) async fn put(&self, key: &str, value: &[u8], read: Option<&Item>) -> Result<bool, StoreError> {
        either!(self, kv => kv.put(key, value, read), folder => folder.put(key, value, read))
    }

    /// Writes a key that a session locks, so that the value outlives the session.
    pub(crate) async fn seize(&self, value: &[u8], read: &Item) -> Result<bool, StoreError> {
        match self {
            Self::Etcd(etcd) => etcd.seize(value, read).await,
            Self::Consul(_) | Self::Folder(_) => self.put(&read.key, value, Some(read)).await,
        }
    }

    /// Deletes it if it still is what was read.
    pub(crate) async fn delete(&self, read: &Item) -> Result<bool, StoreError> {
        either!(self, kv => kv.delete(read), folder => folder.delete(read))
    }

    /// A session that ends when it is not renewed for `ttl`.
    pub(crate) async fn open(&self, name: &str, ttl: Duration) -> Result<String, StoreError> {
        either!(self, kv => kv.open(name, ttl), folder => Ok(folder.open()))
    }

    /// Whether the session still was there.
    pub(crate) async fn renew(&self, session: &str) -> Result<bool, StoreError> {
        either!(self, kv => kv.renew(session), folder => Ok(folder.renew()))
    }

    pub(crate) async fn acquire(
        &self,
        key: &str,
        value: &[u8],
        session: &str,
    ) -> Result<Acquired, StoreError> {
        either!(self, kv => kv.acquire(key, value, session), folder => folder.acquire(key, value))
    }

    /// What it locks is free; a session that is not there is as good.
    pub(crate) async fn close(&self, session: &str) -> Result<(), StoreError> {
        either!(self, kv => kv.close(session), folder => {
            folder.close();
            Ok(())
        })
    }
}
