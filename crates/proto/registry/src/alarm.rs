//! What happens by itself at a time.

use std::time::Duration;

use crate::state::{Map, Set, Time};

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// A session was not renewed.
    Session(String),
    /// A TTL check of the own node was not updated.
    Ttl(String),
    /// A check of the own node has been critical for so long that its service goes.
    Reap(String),
    /// A key can be locked again.
    Delay(Vec<u8>),
}

/// Alarms by time, at most one of a kind and name.
#[derive(Clone, Default)]
pub(crate) struct Alarms {
    due: Set<(Time, Alarm)>,
    of: Map<Alarm, Time>,
}

impl Alarms {
    /// Sets an alarm, instead of an earlier one of the same kind and name.
    pub(crate) fn set(&mut self, at: Time, alarm: Alarm) {
        self.clear(&alarm);
        self.of.insert_mut(alarm.clone(), at);
        self.due.insert_mut((at, alarm));
    }

    pub(crate) fn clear(&mut self, alarm: &Alarm) {
        if let Some(&at) = self.of.get(alarm) {
            self.of.remove_mut(alarm);
            self.due.remove_mut(&(at, alarm.clone()));
        }
    }

    pub(crate) fn at(&self, alarm: &Alarm) -> Option<Time> {
        self.of.get(alarm).copied()
    }

    /// The keys that cannot be locked, and for how much longer.
    pub(crate) fn delays(&self, now: Time) -> impl Iterator<Item = (&[u8], Duration)> {
        self.of.iter().filter_map(move |(alarm, at)| match alarm {
            Alarm::Delay(key) => Some((&**key, Duration::from_millis(at.0.saturating_sub(now.0)))),
            _ => None,
        })
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one alarm that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Alarm> {
        let (at, alarm) = self.due.first()?;
        if *at > now {
            return None;
        }
        let alarm = alarm.clone();
        self.clear(&alarm);
        Some(alarm)
    }
}
