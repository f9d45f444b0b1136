//! The state as rows of a table on disk: what a command has changed, and what the state is built from again.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::CheckKind;
use crate::rows::{Check, KvEntry, Status};

/// Which table a record belongs to. The numbers are on disk: they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// `index`, `floor`, `node`.
    Meta = 0,
    Kv = 1,
    /// Keys that were deleted, with the index of it.
    Grave = 2,
    /// Topics, with the index of their last change.
    Mark = 3,
    Session = 4,
    /// Keys that cannot be locked for a while.
    Delay = 5,
    Node = 6,
    Service = 7,
    Check = 8,
}

impl Table {
    /// The table of a number on disk.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Meta,
            1 => Self::Kv,
            2 => Self::Grave,
            3 => Self::Mark,
            4 => Self::Session,
            5 => Self::Delay,
            6 => Self::Node,
            7 => Self::Service,
            8 => Self::Check,
            _ => return None,
        })
    }
}

/// One row: written, or with `None` removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub table: Table,
    pub key: Vec<u8>,
    /// JSON; of the KV table a line of JSON and then the value's bytes.
    pub value: Option<Vec<u8>>,
}

/// A record that the state cannot be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of the table {table:?} with the key {key:?} cannot be read: {reason}; it was written by another version \
     or the disk has changed it"
)]
pub struct Corrupt {
    pub table: Table,
    pub key: String,
    pub reason: String,
}

impl Record {
    pub(crate) fn put(table: Table, key: impl Into<Vec<u8>>, value: &impl Serialize) -> Self {
        let value = serde_json::to_vec(value).expect("rows of the registry are valid JSON");
        Self { table, key: key.into(), value: Some(value) }
    }

    pub(crate) fn remove(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }

    pub(crate) fn kv(entry: &KvEntry) -> Self {
        let head = KvHead {
            lock_index: entry.lock_index,
            flags: entry.flags,
            session: entry.session.clone(),
            create_index: entry.create_index,
            modify_index: entry.modify_index,
        };
        let mut value = serde_json::to_vec(&head).expect("numbers and text are valid JSON");
        value.push(b'\n');
        value.extend_from_slice(&entry.value);
        Self { table: Table::Kv, key: entry.key.clone(), value: Some(value) }
    }

    pub(crate) fn check(check: &Check) -> Self {
        Self::put(Table::Check, pair(&check.node, &check.check_id), &StoredCheck::from(check))
    }

    pub(crate) fn flaw(&self, reason: impl Into<String>) -> Corrupt {
        Corrupt {
            table: self.table,
            key: String::from_utf8_lossy(&self.key).into_owned(),
            reason: reason.into(),
        }
    }

    fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Corrupt> {
        serde_json::from_slice(self.bytes()).map_err(|e| self.flaw(e.to_string()))
    }

    pub(crate) fn read_kv(&self) -> Result<KvEntry, Corrupt> {
        let bytes = self.bytes();
        let end = bytes
            .iter()
            .position(|&b| b == b'\n')
            .ok_or_else(|| self.flaw("no line feed after the head of the entry"))?;
        let (head, value) = bytes.split_at(end);
        let head: KvHead = serde_json::from_slice(head).map_err(|e| self.flaw(e.to_string()))?;
        Ok(KvEntry {
            lock_index: head.lock_index,
            key: self.key.clone(),
            flags: head.flags,
            value: value.get(1..).unwrap_or_default().to_vec(),
            session: head.session,
            create_index: head.create_index,
            modify_index: head.modify_index,
        })
    }

    pub(crate) fn read_check(&self) -> Result<Check, Corrupt> {
        self.read::<StoredCheck>().map(Check::from)
    }
}

/// A key of two names; names hold no NUL that would make two pairs alike, because the first is a node's.
pub(crate) fn pair(node: &str, id: &str) -> Vec<u8> {
    format!("{}\0{id}", node.to_lowercase()).into_bytes()
}

/// An entry without key and value; an entry's JSON has no raw line feed, so that the first one ends it.
#[derive(Serialize, Deserialize)]
struct KvHead {
    lock_index: u64,
    flags: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    create_index: u64,
    modify_index: u64,
}

/// A check on disk, because its own JSON is what Consul shows of it.
#[derive(Serialize, Deserialize)]
struct StoredCheck {
    node: String,
    check_id: String,
    name: String,
    status: Status,
    notes: String,
    output: String,
    service_id: String,
    service_name: String,
    service_tags: Vec<String>,
    kind: CheckKind,
    interval: Duration,
    timeout: Duration,
    deregister_after: Duration,
    success_before_passing: u32,
    failures_before_critical: u32,
    #[serde(default)]
    definition: Value,
    create_index: u64,
    modify_index: u64,
}

/// Both ways, field by field.
macro_rules! convert {
    ($from:ty, $to:ty, $($field:ident),+) => {
        impl From<$from> for $to {
            fn from(check: $from) -> Self {
                Self { $($field: check.$field.clone()),+ }
            }
        }
    };
}

convert!(
    &Check,
    StoredCheck,
    node,
    check_id,
    name,
    status,
    notes,
    output,
    service_id,
    service_name,
    service_tags,
    kind,
    interval,
    timeout,
    deregister_after,
    success_before_passing,
    failures_before_critical,
    definition,
    create_index,
    modify_index
);
convert!(
    StoredCheck,
    Check,
    node,
    check_id,
    name,
    status,
    notes,
    output,
    service_id,
    service_name,
    service_tags,
    kind,
    interval,
    timeout,
    deregister_after,
    success_before_passing,
    failures_before_critical,
    definition,
    create_index,
    modify_index
);
