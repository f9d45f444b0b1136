//! Who waits for what. One slot a topic, however many wait for it; it goes with the last of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use weir_registry::Topic;

/// All topics that somebody waits for.
#[derive(Default)]
pub(super) struct Watches {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    slots: HashMap<Topic, Weak<Slot>>,
    /// How many prefixes of each length are waited for.
    lengths: BTreeMap<usize, usize>,
}

struct Slot {
    /// The index of the topic's last change since the slot is there.
    last: AtomicU64,
    notify: Notify,
}

/// One who waits for changes of a topic.
pub struct Watch {
    topic: Topic,
    slot: Arc<Slot>,
    watches: Arc<Watches>,
}

impl Watch {
    /// Returns when the topic has changed with a higher index than this one since it is watched; at once if it has
    /// already. Several changes are one.
    pub async fn changed(&self, after: u64) {
        loop {
            let mut notified = std::pin::pin!(self.slot.notify.notified());
            notified.as_mut().enable();
            if self.slot.last.load(Ordering::Acquire) > after {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = self.watches.lock();
        if Arc::strong_count(&self.slot) > 1 {
            return;
        }
        table.slots.remove(&self.topic);
        if let Topic::Prefix(prefix) = &self.topic
            && let Some(count) = table.lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                table.lengths.remove(&prefix.len());
            }
        }
    }
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(self: &Arc<Self>, topic: &Topic) -> Watch {
        let mut table = self.lock();
        let slot = match table.slots.get(topic).and_then(Weak::upgrade) {
            Some(slot) => slot,
            None => {
                let slot = Arc::new(Slot { last: AtomicU64::new(0), notify: Notify::new() });
                table.slots.insert(topic.clone(), Arc::downgrade(&slot));
                if let Topic::Prefix(prefix) = topic {
                    *table.lengths.entry(prefix.len()).or_default() += 1;
                }
                slot
            }
        };
        Watch { topic: topic.clone(), slot, watches: Arc::clone(self) }
    }

    /// Wakes who waits for one of the topics, which have changed with this index.
    pub(super) fn wake<'t>(&self, topics: impl Iterator<Item = &'t Topic>, index: u64) {
        let woken = self.lock().waiting_for(topics);
        for slot in woken {
            slot.last.fetch_max(index, Ordering::AcqRel);
            slot.notify.notify_waiters();
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let table = self.lock();
        table.slots.is_empty() && table.lengths.is_empty()
    }
}

impl Table {
    fn waiting_for<'t>(&self, topics: impl Iterator<Item = &'t Topic>) -> Vec<Arc<Slot>> {
        if self.slots.is_empty() {
            return Vec::new();
        }
        let mut woken = Vec::new();
        for topic in topics {
            woken.extend(self.slots.get(topic).and_then(Weak::upgrade));
            match topic {
                Topic::Key(key) => self.prefixes_of(key, &mut woken),
                Topic::All => woken.extend(self.slots.values().filter_map(Weak::upgrade)),
                _ => {}
            }
        }
        woken
    }

    fn prefixes_of(&self, key: &[u8], woken: &mut Vec<Arc<Slot>>) {
        for &length in self.lengths.range(..=key.len()).map(|(length, _)| length) {
            let prefix = key.get(..length).unwrap_or_default();
            woken.extend(self.slots.get(&Topic::Prefix(prefix.to_vec())).and_then(Weak::upgrade));
        }
    }
}
