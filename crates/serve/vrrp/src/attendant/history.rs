//! The last events of each instance.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryEntry {
    /// RFC 3339 in serialized form.
    pub at: Timestamp,
    /// What and why, for people.
    pub text: String,
}

/// The last [`History::DEPTH`] events of the node and of each of its instances, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    node: VecDeque<HistoryEntry>,
    instances: BTreeMap<String, VecDeque<HistoryEntry>>,
}

impl History {
    /// events that are kept of each instance
    pub(crate) const DEPTH: usize = 100;

    /// Adds an event, of the whole node without an instance; the oldest one goes when there are too many.
    pub(crate) fn push(&mut self, instance: Option<&str>, at: SystemTime, text: impl Into<String>) {
        let events = match instance {
            None => &mut self.node,
            Some(name) => {
                if !self.instances.contains_key(name) {
                    self.instances.insert(name.to_owned(), VecDeque::new());
                }
                self.instances.get_mut(name).expect("was put in above")
            }
        };
        if events.len() == Self::DEPTH {
            events.pop_front();
        }
        // Outside of the years -9999 to 9999 no clock is right.
        let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
        events.push_back(HistoryEntry { at, text: text.into() });
    }

    /// The events of an instance, or those of the whole node; the oldest first.
    pub(crate) fn of(&self, instance: Option<&str>) -> impl DoubleEndedIterator<Item = &HistoryEntry> {
        let events = instance.map_or(Some(&self.node), |name| self.instances.get(name));
        events.into_iter().flatten()
    }

    /// Forgets the instances that are not wanted, after a reload.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.instances.retain(|name, _| wanted(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_event_of_an_instance_goes_first() {
        let mut history = History::default();
        let start = SystemTime::UNIX_EPOCH;
        history.push(Some("quiet"), start, "came up");
        for n in 0..150_u64 {
            history.push(Some("busy"), start + Duration::from_secs(n), format!("event {n}"));
        }
        let busy: Vec<_> = history.of(Some("busy")).map(|e| e.text.as_str()).collect();
        assert_eq!(busy.len(), History::DEPTH);
        assert_eq!((busy.first(), busy.last()), (Some(&"event 50"), Some(&"event 149")));
        assert_eq!(history.of(Some("quiet")).count(), 1);
        assert_eq!(history.of(Some("unknown")).count(), 0);
    }

    #[test]
    fn it_comes_back_from_json_as_it_was() {
        let mut history = History::default();
        history.push(None, SystemTime::UNIX_EPOCH + Duration::from_millis(1500), "started");
        history.push(Some("edge"), SystemTime::UNIX_EPOCH, "is backup");
        let json = serde_json::to_string(&history).expect("history has only string keys");
        assert!(json.contains(r#"{"at":"1970-01-01T00:00:01.5Z","text":"started"}"#), "{json}");
        assert_eq!(serde_json::from_str::<History>(&json).expect("own form"), history);
    }

    #[test]
    fn instances_that_are_gone_are_forgotten() {
        let mut history = History::default();
        history.push(Some("kept"), SystemTime::UNIX_EPOCH, "one");
        history.push(Some("gone"), SystemTime::UNIX_EPOCH, "two");
        history.retain(|name| name == "kept");
        assert_eq!(history.of(Some("gone")).count(), 0);
        assert_eq!(history.of(Some("kept")).count(), 1);
    }
}
