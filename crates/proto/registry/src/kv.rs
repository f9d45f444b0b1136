//! Writes to keys, and the locks on them.

use std::sync::Arc;

use crate::alarm::Alarm;
use crate::command::KvWrite;
use crate::record::{Record, Table};
use crate::refusal::Refusal;
use crate::rows::KvEntry;
use crate::state::{Change, State};
use crate::topic::Topic;

/// What a write brings along, before it is known what it meets.
pub(crate) struct Content {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u64,
}

impl State {
    pub(crate) fn kv_write(&mut self, change: &mut Change, write: KvWrite) -> Result<bool, Refusal> {
        match write {
            KvWrite::Set { key, value, flags } => {
                self.kv_set(change, Content { key, value, flags })?;
                Ok(true)
            }
            KvWrite::Cas { key, value, flags, index } => {
                Ok(self.kv_cas(change, Content { key, value, flags }, index)?.is_some())
            }
            KvWrite::Acquire { key, value, flags, session } => {
                if self.is_delayed(change, &key) {
                    return Ok(false);
                }
                Ok(self.kv_lock(change, Content { key, value, flags }, &session)?.is_some())
            }
            KvWrite::Release { key, value, flags, session } => {
                Ok(self.kv_unlock(change, Content { key, value, flags }, &session)?.is_some())
            }
            KvWrite::Delete { key } => {
                refuse_empty(&key)?;
                self.kv_delete(change, &key);
                Ok(true)
            }
            KvWrite::DeleteCas { key, index } => self.kv_delete_cas(change, &key, index),
            KvWrite::DeleteTree { prefix } => {
                self.kv_delete_tree(change, &prefix);
                Ok(true)
            }
        }
    }

    /// Whether a lock on the key ended without its holder's consent a moment ago.
    pub(crate) fn is_delayed(&self, change: &Change, key: &[u8]) -> bool {
        self.alarms.at(&Alarm::Delay(key.to_vec())).is_some_and(|until| until > change.now)
    }

    /// A plain write: who holds the lock goes on holding it.
    pub(crate) fn kv_set(&mut self, change: &mut Change, content: Content) -> Result<Arc<KvEntry>, Refusal> {
        refuse_empty(&content.key)?;
        let (lock_index, session) = match self.kv.get(&content.key) {
            Some(old) => (old.lock_index, old.session.clone()),
            None => (0, None),
        };
        Ok(self.kv_put(change, content, lock_index, session))
    }

    /// `None`: the index was another.
    pub(crate) fn kv_cas(
        &mut self,
        change: &mut Change,
        content: Content,
        index: u64,
    ) -> Result<Option<Arc<KvEntry>>, Refusal> {
        refuse_empty(&content.key)?;
        let found = self.kv.get(&content.key).map_or(0, |entry| entry.modify_index);
        if found != index {
            return Ok(None);
        }
        self.kv_set(change, content).map(Some)
    }

    /// `None`: somebody else holds it. Whether the key is delayed is the caller's question.
    pub(crate) fn kv_lock(
        &mut self,
        change: &mut Change,
        content: Content,
        session: &str,
    ) -> Result<Option<Arc<KvEntry>>, Refusal> {
        refuse_empty(&content.key)?;
        if session.is_empty() {
            return Err(Refusal::NoSession);
        }
        if let Some(refusal) = Refusal::of_session_id(session) {
            return Err(refusal);
        }
        if !self.sessions.contains_key(session) {
            return Err(Refusal::InvalidSession(session.to_owned()));
        }
        let lock_index = match self.kv.get(&content.key) {
            None => 1,
            Some(old) => match old.session.as_deref() {
                Some(holder) if holder == session => old.lock_index,
                Some(_) => return Ok(None),
                None => old.lock_index + 1,
            },
        };
        Ok(Some(self.kv_put(change, content, lock_index, Some(session.to_owned()))))
    }

    /// `None`: the session does not hold it.
    pub(crate) fn kv_unlock(
        &mut self,
        change: &mut Change,
        content: Content,
        session: &str,
    ) -> Result<Option<Arc<KvEntry>>, Refusal> {
        refuse_empty(&content.key)?;
        if session.is_empty() {
            return Err(Refusal::NoSession);
        }
        let Some(old) = self.kv.get(&content.key) else { return Ok(None) };
        if old.session.as_deref() != Some(session) {
            return Ok(None);
        }
        let lock_index = old.lock_index;
        Ok(Some(self.kv_put(change, content, lock_index, None)))
    }

    /// Writes the entry, unless it is there already just so.
    fn kv_put(
        &mut self,
        change: &mut Change,
        content: Content,
        lock_index: u64,
        session: Option<String>,
    ) -> Arc<KvEntry> {
        let Content { key, value, flags } = content;
        let old = self.kv.get(&key).cloned();
        if let Some(old) = &old
            && (old.lock_index, old.flags, &old.value, &old.session) == (lock_index, flags, &value, &session)
        {
            return Arc::clone(old);
        }
        let create_index = old.as_ref().map_or(change.index, |old| old.create_index);
        self.hold(&key, old.and_then(|old| old.session.clone()), session.clone());
        let modify_index = change.index;
        let entry = Arc::new(KvEntry { lock_index, key, flags, value, session, create_index, modify_index });
        if self.graves.remove_mut(&entry.key) {
            change.remove(Table::Grave, entry.key.clone());
        }
        self.kv.insert_mut(entry.key.clone(), Arc::clone(&entry));
        self.kv_index = change.index;
        change.records.push(Record::kv(&entry));
        change.topics.push(Topic::Key(entry.key.clone()));
        entry
    }

    /// Keeps the list of held locks.
    fn hold(&mut self, key: &[u8], before: Option<String>, after: Option<String>) {
        if before == after {
            return;
        }
        if let Some(session) = before {
            self.locks.remove_mut(&(session, key.to_vec()));
        }
        if let Some(session) = after {
            self.locks.insert_mut((session, key.to_vec()));
        }
    }

    pub(crate) fn kv_delete(&mut self, change: &mut Change, key: &[u8]) {
        let Some(old) = self.kv.get(key).cloned() else { return };
        self.hold(key, old.session.clone(), None);
        self.kv.remove_mut(key);
        self.graves.insert_mut(key.to_vec(), change.index);
        self.kv_index = change.index;
        change.remove(Table::Kv, key);
        change.records.push(Record::put(Table::Grave, key, &change.index));
        change.topics.push(Topic::Key(key.to_vec()));
    }

    /// True also when there is nothing to delete, as Consul has it.
    pub(crate) fn kv_delete_cas(
        &mut self,
        change: &mut Change,
        key: &[u8],
        index: u64,
    ) -> Result<bool, Refusal> {
        refuse_empty(key)?;
        match self.kv.get(key) {
            Some(entry) if entry.modify_index != index => Ok(false),
            _ => {
                self.kv_delete(change, key);
                Ok(true)
            }
        }
    }

    pub(crate) fn kv_delete_tree(&mut self, change: &mut Change, prefix: &[u8]) {
        let keys: Vec<Vec<u8>> = self.below(prefix).map(|entry| entry.key.clone()).collect();
        for key in keys {
            self.kv_delete(change, &key);
        }
    }

    /// Takes the lock away from its holder, who did not ask for it.
    pub(crate) fn kv_invalidate(&mut self, change: &mut Change, key: &[u8], delete: bool) {
        let Some(entry) = self.kv.get(key).cloned() else { return };
        if delete {
            self.kv_delete(change, key);
            return;
        }
        let content = Content { key: entry.key.clone(), value: entry.value.clone(), flags: entry.flags };
        self.kv_put(change, content, entry.lock_index, None);
    }
}

fn refuse_empty(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::NoKey) } else { Ok(()) }
}
