//! The state itself: persistent maps, so that a copy for readers costs nothing and a refused command leaves no trace.

use std::sync::Arc;
use std::time::Duration;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::Serialize;

use crate::alarm::Alarms;
use crate::command::Outcome;
use crate::record::{Record, Table};
use crate::refusal::Refusal;
use crate::rows::{Check, KvEntry, Node, Service, Session};
use crate::topic::Topic;

pub(crate) type Map<K, V> = RedBlackTreeMapSync<K, V>;
pub(crate) type Set<K> = RedBlackTreeSetSync<K>;

/// Milliseconds of a clock that never goes back; where it starts does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    pub(crate) fn after(self, pause: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Who the registry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The own node's name.
    pub node: String,
    /// A UUID. Empty: the one in the records, or that of [`State::name_node`].
    pub node_id: String,
    pub datacenter: String,
    /// The own node's address, without brackets.
    pub address: String,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    pub outcome: Result<Outcome, Refusal>,
    /// The index after it; the same as before if nothing changed.
    pub index: u64,
    /// To be written in one piece, in this order, before anybody sees the state.
    pub records: Vec<Record>,
    /// Whom to wake once the state is visible.
    pub topics: Vec<Topic>,
}

/// An answer and the index of it (`X-Consul-Index`): never lower than one given before for the same question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<T> {
    /// At least 1.
    pub index: u64,
    pub data: T,
}

/// Everything that the registry knows. A clone is cheap: the maps are shared until one is changed.
#[derive(Clone)]
pub struct State {
    pub(crate) identity: Arc<Identity>,
    /// The last index that was given.
    pub(crate) index: u64,
    /// No answer has a lower index: it was so high when a snapshot was restored.
    pub(crate) floor: u64,
    /// No answer about what is absent, or about a prefix, has a lower index: marks of that were dropped.
    pub(crate) dropped: u64,
    pub(crate) kv: Map<Vec<u8>, Arc<KvEntry>>,
    /// The last change of any key.
    pub(crate) kv_index: u64,
    pub(crate) graves: Map<Vec<u8>, u64>,
    pub(crate) marks: Map<Topic, u64>,
    pub(crate) sessions: Map<String, Arc<Session>>,
    /// Session and key, of every lock that is held.
    pub(crate) locks: Set<(String, Vec<u8>)>,
    /// By name in lower case.
    pub(crate) nodes: Map<String, Arc<Node>>,
    /// By node in lower case and id.
    pub(crate) services: Map<(String, String), Arc<Service>>,
    /// By name in lower case, node in lower case, id.
    pub(crate) named: Map<(String, String, String), Arc<Service>>,
    /// By node in lower case, service id, check id.
    pub(crate) checks: Map<(String, String, String), Arc<Check>>,
    /// By node in lower case and check id: the service id.
    pub(crate) check_owner: Map<(String, String), String>,
    /// Node in lower case and check id of the alias checks.
    pub(crate) aliases: Set<(String, String)>,
    /// Of probed checks of the own node: results in a row, and whether they were good.
    pub(crate) streaks: Map<String, (bool, u32)>,
    pub(crate) alarms: Alarms,
    /// The own node's name in the records, until [`State::start`].
    pub(crate) previous: String,
}

/// What one command changes while it is applied.
pub(crate) struct Change {
    pub(crate) now: Time,
    /// The index of whatever is changed.
    pub(crate) index: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) topics: Vec<Topic>,
    /// Something that alias checks look at.
    pub(crate) health: bool,
}

impl Change {
    pub(crate) fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: &impl Serialize) {
        self.records.push(Record::put(table, key, value));
    }

    pub(crate) fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.records.push(Record::remove(table, key));
    }
}

impl State {
    /// An empty registry. [`State::start`] comes next.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            index: 0,
            floor: 0,
            dropped: 0,
            kv: Map::default(),
            kv_index: 0,
            graves: Map::default(),
            marks: Map::default(),
            sessions: Map::default(),
            locks: Set::default(),
            nodes: Map::default(),
            services: Map::default(),
            named: Map::default(),
            checks: Map::default(),
            check_owner: Map::default(),
            aliases: Set::default(),
            streaks: Map::default(),
            alarms: Alarms::default(),
            previous: String::new(),
        }
    }

    /// Who this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last index that was given.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// When [`State::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.alarms.next()
    }

    /// The own node's name in lower case: the key of it.
    pub(crate) fn own(&self) -> String {
        self.identity.node.to_lowercase()
    }
}
