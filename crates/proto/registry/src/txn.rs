//! Transactions: all operations with one index, or none.

use std::sync::Arc;

use crate::command::{TxnError, TxnOp, TxnVerb};
use crate::kv::Content;
use crate::refusal::Refusal;
use crate::rows::KvEntry;
use crate::state::{Change, State};

/// The operations' entries, or why one failed.
type Entries = Result<Vec<Arc<KvEntry>>, String>;

impl State {
    /// Every operation is tried, so that all reasons are told.
    pub(crate) fn txn(&mut self, change: &mut Change, ops: Vec<TxnOp>) -> Result<Vec<Arc<KvEntry>>, Refusal> {
        self.refuse_delayed(change, &ops)?;
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for (op_index, op) in ops.into_iter().enumerate() {
            let reads_values = matches!(op.verb, TxnVerb::Get | TxnVerb::GetTree);
            match self.txn_op(change, op) {
                Ok(entries) if reads_values => results.extend(entries),
                Ok(entries) => results.extend(entries.iter().map(without_value)),
                Err(what) => errors.push(TxnError { op_index, what }),
            }
        }
        if errors.is_empty() { Ok(results) } else { Err(Refusal::Txn(errors)) }
    }

    /// Consul looks for delayed locks and missing keys before it begins.
    fn refuse_delayed(&self, change: &Change, ops: &[TxnOp]) -> Result<(), Refusal> {
        let mut errors = Vec::new();
        for (op_index, op) in ops.iter().enumerate() {
            let what = if op.key.is_empty() && !may_lack_key(op.verb) {
                Refusal::NoKey.to_string()
            } else if op.verb == TxnVerb::Lock && self.is_delayed(change, &op.key) {
                format!("failed to lock key {:?} due to lock delay", name(&op.key))
            } else {
                continue;
            };
            errors.push(TxnError { op_index, what });
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::Txn(errors)) }
    }

    fn txn_op(&mut self, change: &mut Change, op: TxnOp) -> Entries {
        let TxnOp { verb, key, value, flags, index, session } = op;
        let shown = name(&key);
        let refused = |refusal: Refusal| refusal.to_string();
        let content = |key| Content { key, value, flags };
        let written = match verb {
            TxnVerb::Set => return Ok(vec![self.kv_set(change, content(key)).map_err(refused)?]),
            TxnVerb::Cas => self
                .kv_cas(change, content(key), index)
                .map_err(refused)?
                .ok_or_else(|| format!("failed to set key {shown:?}, index is stale")),
            TxnVerb::Lock => self
                .kv_lock(change, content(key), &session)
                .map_err(refused)?
                .ok_or_else(|| format!("failed to lock key {shown:?}, lock is already held")),
            TxnVerb::Unlock => {
                self.kv_unlock(change, content(key), &session).map_err(refused)?.ok_or_else(|| {
                    format!("failed to unlock key {shown:?}, lock isn't held, or is held by another session")
                })
            }
            TxnVerb::Delete => {
                self.kv_delete(change, &key);
                return Ok(Vec::new());
            }
            TxnVerb::DeleteTree => {
                self.kv_delete_tree(change, &key);
                return Ok(Vec::new());
            }
            TxnVerb::DeleteCas => {
                let done = self.kv_delete_cas(change, &key, index).map_err(refused)?;
                let stale = || format!("failed to delete key {shown:?}, index is stale");
                return if done { Ok(Vec::new()) } else { Err(stale()) };
            }
            TxnVerb::GetTree => return Ok(self.below(&key).cloned().collect()),
            TxnVerb::Get => self.existing(&key, "key"),
            TxnVerb::CheckIndex => self.check_index(&key, index),
            TxnVerb::CheckSession => self.check_session(&key, &session),
            TxnVerb::CheckNotExists if self.kv.contains_key(&key) => Err(format!("key {shown:?} exists")),
            TxnVerb::CheckNotExists => return Ok(Vec::new()),
        };
        written.map(|entry| vec![entry])
    }

    fn existing(&self, key: &[u8], what: &str) -> Result<Arc<KvEntry>, String> {
        self.kv.get(key).cloned().ok_or_else(|| format!("{what} {:?} doesn't exist", name(key)))
    }

    fn check_index(&self, key: &[u8], index: u64) -> Result<Arc<KvEntry>, String> {
        let entry = self.existing(key, "failed to check index, key")?;
        if entry.modify_index == index {
            return Ok(entry);
        }
        let (key, found) = (name(key), entry.modify_index);
        Err(format!("failed index check for key {key:?}, current modify index {found} != {index}"))
    }

    fn check_session(&self, key: &[u8], session: &str) -> Result<Arc<KvEntry>, String> {
        let entry = self.existing(key, "failed to check session, key")?;
        let found = entry.session.as_deref().unwrap_or_default();
        if found == session {
            return Ok(entry);
        }
        let key = name(key);
        Err(format!("failed session check for key {key:?}, current session {found:?} != {session:?}"))
    }
}

const fn may_lack_key(verb: TxnVerb) -> bool {
    matches!(verb, TxnVerb::DeleteTree | TxnVerb::GetTree)
}

fn name(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn without_value(entry: &Arc<KvEntry>) -> Arc<KvEntry> {
    if entry.value.is_empty() {
        return Arc::clone(entry);
    }
    Arc::new(KvEntry {
        lock_index: entry.lock_index,
        key: entry.key.clone(),
        flags: entry.flags,
        value: Vec::new(),
        session: entry.session.clone(),
        create_index: entry.create_index,
        modify_index: entry.modify_index,
    })
}
