//! Questions about keys and sessions, and the index of every answer.

use std::ops::Bound;
use std::sync::Arc;

use crate::rows::{KvEntry, Session};
use crate::state::{Reply, State};
use crate::topic::Topic;

impl State {
    /// The index of what a topic tells: its last change, and never below what was said before.
    pub(crate) fn mark(&self, topic: &Topic) -> u64 {
        self.marks.get(topic).copied().unwrap_or(self.dropped).max(self.floor).max(1)
    }

    pub(crate) fn reply<T>(&self, topic: &Topic, data: T) -> Reply<T> {
        Reply { index: self.mark(topic), data }
    }

    /// One key.
    #[must_use]
    pub fn kv(&self, key: &[u8]) -> Reply<Option<Arc<KvEntry>>> {
        let entry = self.kv.get(key).cloned();
        let index = match &entry {
            Some(entry) => entry.modify_index,
            None => self.graves.get(key).copied().unwrap_or_default().max(self.dropped),
        };
        Reply { index: index.max(self.floor).max(1), data: entry }
    }

    /// All keys that begin with the prefix, in the order of their bytes.
    #[must_use]
    pub fn kv_list(&self, prefix: &[u8]) -> Reply<Vec<Arc<KvEntry>>> {
        let data: Vec<_> = self.below(prefix).cloned().collect();
        let last = data.iter().map(|entry| entry.modify_index).max().unwrap_or_default();
        Reply { index: self.prefix_index(prefix, last), data }
    }

    /// The names of all keys that begin with the prefix, each cut after the next separator behind it, none twice.
    #[must_use]
    pub fn kv_keys(&self, prefix: &[u8], separator: &[u8]) -> Reply<Vec<String>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut last = 0;
        for entry in self.below(prefix) {
            last = last.max(entry.modify_index);
            let name = cut(&entry.key, prefix.len(), separator);
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        let data = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Reply { index: self.prefix_index(prefix, last), data }
    }

    pub(crate) fn below<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.kv
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// `last`: of the entries below it.
    fn prefix_index(&self, prefix: &[u8], last: u64) -> u64 {
        let deleted = if prefix.is_empty() {
            self.kv_index
        } else {
            self.graves
                .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(_, index)| *index)
                .max()
                .unwrap_or_default()
        };
        last.max(deleted).max(self.dropped).max(self.floor).max(1)
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: &str) -> Reply<Option<Arc<Session>>> {
        self.reply(&Topic::Sessions, self.sessions.get(id).cloned())
    }

    /// All sessions, by id.
    #[must_use]
    pub fn sessions(&self) -> Reply<Vec<Arc<Session>>> {
        self.reply(&Topic::Sessions, self.sessions.values().cloned().collect())
    }

    /// The sessions of a node, by id.
    #[must_use]
    pub fn node_sessions(&self, node: &str) -> Reply<Vec<Arc<Session>>> {
        let of_node = |session: &&Arc<Session>| session.node.eq_ignore_ascii_case(node);
        self.reply(&Topic::Sessions, self.sessions.values().filter(of_node).cloned().collect())
    }
}

/// The key up to and with the first separator after `from`.
fn cut<'a>(key: &'a [u8], from: usize, separator: &[u8]) -> &'a [u8] {
    if separator.is_empty() {
        return key;
    }
    let rest = key.get(from..).unwrap_or_default();
    match rest.windows(separator.len()).position(|window| window == separator) {
        Some(at) => key.get(..from + at + separator.len()).unwrap_or(key),
        None => key,
    }
}
