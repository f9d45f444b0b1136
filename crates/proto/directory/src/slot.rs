//! One source of an upstream: its newest list, and how far the list has come.

use std::collections::VecDeque;

use weir_model::{Endpoint, Origin, PeerList, Source};

use crate::{Now, SourceStatus};

/// A source and what it said.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) source: Source,
    pub(crate) list: Option<PeerList>,
    /// Monotonic milliseconds of the newest list.
    heard: u64,
    endpoint: String,
    /// What keeps newer lists away, and since when (1970).
    error: Option<(String, u64)>,
    /// Index of the newest list that is served.
    applied: Option<u64>,
    /// Changes that bring newer indexes into force.
    pending: VecDeque<(u64, u64)>,
}

impl Slot {
    pub(crate) fn new(source: Source) -> Slot {
        let endpoint = first_endpoint(&source.origin);
        Slot { source, list: None, heard: 0, endpoint, error: None, applied: None, pending: VecDeque::new() }
    }

    /// The slot under a new configuration that asks for the same.
    pub(crate) fn renewed(mut self, source: Source, change: u64) -> Slot {
        self.source = source;
        self.pending.clear();
        if let Some(list) = &self.list {
            self.pending.push_back((change, list.index));
        }
        self
    }

    /// Whether `list` is worth less than what is known: one from the disk, after the source itself has spoken.
    pub(crate) fn is_stale(&self, list: &PeerList) -> bool {
        list.remembered && self.list.as_ref().is_some_and(|known| !known.remembered)
    }

    /// Keeps a list; true if its peers are others than before.
    pub(crate) fn take(&mut self, now: Now, list: PeerList) -> bool {
        let changed = self.list.as_ref().is_none_or(|known| known.peers != list.peers);
        self.heard = now.mono;
        if !list.endpoint.is_empty() {
            self.endpoint.clone_from(&list.endpoint);
        }
        if !list.remembered {
            self.error = None;
        }
        self.list = Some(list);
        changed
    }

    /// The newest list is in force with `change`.
    pub(crate) fn await_change(&mut self, change: u64, served: u64) {
        let Some(list) = &self.list else { return };
        match self.pending.back_mut() {
            Some(last) if last.0 == change => last.1 = list.index,
            _ => self.pending.push_back((change, list.index)),
        }
        self.serve(served);
    }

    /// All changes up to `served` are in force.
    pub(crate) fn serve(&mut self, served: u64) {
        while let Some((change, index)) = self.pending.front().copied()
            && change <= served
        {
            self.applied = Some(index);
            self.pending.pop_front();
        }
    }

    pub(crate) fn fail(&mut self, now: Now, error: String, endpoint: String) {
        let since = self.error.as_ref().map_or(now.unix, |(_, since)| *since);
        self.error = Some((error, since));
        if !endpoint.is_empty() {
            self.endpoint = endpoint;
        }
    }

    /// Indexes of the newest list and of the newest one in force; absent: this kind of source counts nothing.
    pub(crate) fn indexes(&self) -> Option<(u64, u64)> {
        let counts = !matches!(self.source.origin, Origin::Dns(_) | Origin::Folder { .. });
        counts.then(|| (self.list.as_ref().map_or(0, |list| list.index), self.applied.unwrap_or(0)))
    }

    pub(crate) fn status(&self, now: Now) -> SourceStatus {
        let list = self.list.as_ref();
        SourceStatus {
            kind: kind(&self.source.origin).to_owned(),
            endpoint: self.endpoint.clone(),
            path: keys(&self.source.origin).map(str::to_owned),
            index: list.map(|list| list.index),
            applied_index: self.applied,
            age_ms: list.map(|_| now.mono.saturating_sub(self.heard)),
            error: self.error.as_ref().map(|(error, _)| error.clone()),
            since: self.error.as_ref().map(|(_, since)| *since),
            remembered: list.is_some_and(|list| list.remembered),
            peers: list.map_or(0, |list| list.peers.len()),
            rejected: list.map_or_else(Vec::new, |list| list.rejected.clone()),
        }
    }
}

/// The word for a kind of source, as `upsync_type` has it where that has one.
pub(crate) const fn kind(origin: &Origin) -> &'static str {
    match origin {
        Origin::ConsulKv { .. } => "consul",
        Origin::ConsulServices { .. } => "consul_services",
        Origin::ConsulHealth { .. } => "consul_health",
        Origin::Etcd2 { .. } => "etcd",
        Origin::Etcd3 { .. } => "etcd3",
        Origin::Dns(_) => "dns",
        Origin::Folder { .. } => "folder",
    }
}

/// What the keys of a store's peers begin with; catalogs, DNS and folders have no keys.
fn keys(origin: &Origin) -> Option<&str> {
    let (path, api) = match origin {
        Origin::ConsulKv { path, .. } => (path, "/v1/kv/"),
        Origin::Etcd2 { path, .. } => (path, "/v2/keys/"),
        Origin::Etcd3 { prefix, .. } => return Some(prefix),
        Origin::ConsulServices { .. }
        | Origin::ConsulHealth { .. }
        | Origin::Dns(_)
        | Origin::Folder { .. } => return None,
    };
    let path = path.split_once('?').map_or(path.as_str(), |(path, _query)| path);
    Some(path.strip_prefix(api).unwrap_or(path))
}

/// Whether two sources ask for the same thing, maybe of other machines or with another token: then the list of the one
/// is the best that is known until the other has spoken.
pub(crate) fn same_question(one: &Origin, other: &Origin) -> bool {
    let question = |origin: &Origin| match origin {
        Origin::ConsulKv { path, .. }
        | Origin::ConsulServices { path, .. }
        | Origin::ConsulHealth { path, .. }
        | Origin::Etcd2 { path, .. }
        | Origin::Etcd3 { prefix: path, .. }
        | Origin::Folder { path } => path.clone(),
        Origin::Dns(query) => {
            format!("{}:{}:{}", query.name, query.port, query.service.as_deref().unwrap_or_default())
        }
    };
    kind(one) == kind(other) && question(one) == question(other)
}

/// What is shown until somebody has answered.
fn first_endpoint(origin: &Origin) -> String {
    let store = match origin {
        Origin::ConsulKv { store, .. }
        | Origin::ConsulServices { store, .. }
        | Origin::ConsulHealth { store, .. }
        | Origin::Etcd2 { store, .. }
        | Origin::Etcd3 { store, .. } => store,
        Origin::Dns(query) => return query.name.clone(),
        Origin::Folder { path } => return path.clone(),
    };
    let scheme = if store.tls.is_some() { "https" } else { "http" };
    match store.endpoints.first() {
        Some(Endpoint::Embedded) => "registry".to_owned(),
        Some(Endpoint::Host { host, port }) if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        Some(Endpoint::Host { host, port }) => format!("{scheme}://{host}:{port}"),
        Some(Endpoint::Unix(path)) => format!("unix:{path}"),
        None => String::new(),
    }
}
