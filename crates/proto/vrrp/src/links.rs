//! The interfaces of this host, and how long one has to be up or down before that counts.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::{LinkDelay, Mac};

use crate::{Link, Time};

#[derive(Debug, Default)]
pub(crate) struct Links {
    entries: HashMap<u32, Entry>,
    names: HashMap<String, u32>,
    /// Interfaces that were there once.
    gone: HashSet<String>,
    /// Every address of this host.
    own: Vec<IpAddr>,
    /// What has not been seen by now does not exist.
    complete: bool,
}

#[derive(Debug)]
struct Entry {
    link: Link,
    /// What counts: it follows `link.up` after the delay.
    up: bool,
    turns_at: Option<Time>,
}

/// Where an interface is, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presence<'a> {
    /// The list of interfaces is still being read.
    Unknown,
    Missing,
    Gone,
    There {
        link: &'a Link,
        up: bool,
    },
}

impl Links {
    /// Takes what the kernel says. Whether the interface is new or came back under another index.
    pub(crate) fn update(&mut self, now: Time, link: Link, delays: &[LinkDelay]) -> bool {
        if let Some(old) = self.names.get(&link.name).copied().filter(|index| *index != link.index) {
            self.entries.remove(&old);
        }
        self.gone.remove(&link.name);
        let (index, name) = (link.index, link.name.clone());
        let fresh = match self.entries.get_mut(&index) {
            Some(entry) => {
                if entry.link.name != link.name {
                    self.names.remove(&entry.link.name);
                    self.gone.insert(entry.link.name.clone());
                }
                entry.turn(now, link, delays);
                false
            }
            None => {
                self.entries.insert(index, Entry { up: link.up, link, turns_at: None });
                true
            }
        };
        self.names.insert(name, index);
        self.collect_own();
        fresh
    }

    /// The name of the interface that vanished.
    pub(crate) fn remove(&mut self, index: u32) -> Option<String> {
        let entry = self.entries.remove(&index)?;
        if self.names.get(&entry.link.name) == Some(&index) {
            self.names.remove(&entry.link.name);
        }
        self.gone.insert(entry.link.name.clone());
        self.collect_own();
        Some(entry.link.name)
    }

    /// Lets delays run out. Whether something changed.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let mut changed = false;
        for entry in self.entries.values_mut() {
            if entry.turns_at.is_some_and(|at| at <= now) {
                entry.turns_at = None;
                entry.up = entry.link.up;
                changed = true;
            }
        }
        changed
    }

    /// From now on an interface that was not seen does not exist.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.entries.values().filter_map(|entry| entry.turns_at).min()
    }

    pub(crate) fn find(&self, name: &str) -> Presence<'_> {
        match self.names.get(name).and_then(|index| self.entries.get(index)) {
            Some(entry) => Presence::There { link: &entry.link, up: entry.up },
            None if self.gone.contains(name) => Presence::Gone,
            None if self.complete => Presence::Missing,
            None => Presence::Unknown,
        }
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Link> {
        self.names.get(name).and_then(|index| self.link(*index))
    }

    pub(crate) fn link(&self, index: u32) -> Option<&Link> {
        self.entries.get(&index).map(|entry| &entry.link)
    }

    pub(crate) fn own_addresses(&self) -> &[IpAddr] {
        &self.own
    }

    pub(crate) fn is_own_mac(&self, mac: Mac) -> bool {
        self.entries.values().any(|entry| entry.link.mac == Some(mac))
    }

    fn collect_own(&mut self) {
        self.own.clear();
        self.own.extend(self.entries.values().flat_map(|entry| entry.link.addresses.iter().copied()));
        self.own.sort_unstable();
        self.own.dedup();
    }
}

impl Entry {
    /// `interface_up_down_delays`: a change counts when it has lasted.
    fn turn(&mut self, now: Time, link: Link, delays: &[LinkDelay]) {
        let delay = delays.iter().find(|delay| delay.interface == link.name);
        let delay = match (delay, link.up) {
            (None, _) => Duration::ZERO,
            (Some(delay), true) => delay.up.duration(),
            (Some(delay), false) => delay.down.duration(),
        };
        self.link = link;
        if self.link.up == self.up {
            self.turns_at = None;
        } else if delay.is_zero() {
            self.up = self.link.up;
            self.turns_at = None;
        } else if self.turns_at.is_none() {
            self.turns_at = Some(now + delay);
        }
    }
}
