//! At most one line per kind, sender and minute about what others send.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use weir_model::vrrp::Mac;

use crate::{Defect, InstanceId, Time};

const WINDOW: Duration = Duration::from_secs(60);
/// How often entries that have run out are removed from a full table.
const SWEEP: Duration = Duration::from_secs(1);
/// Entries; a flood with more senders shares one.
const MOST: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Defect(Discriminant<Defect>),
    UnknownVrid(u32, u8),
    Addresses,
    Interval,
    Crossed,
    Conflict(IpAddr, Mac),
    Owners,
    Master,
    Restored,
    /// All that found the table full.
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) kind: Kind,
    pub(crate) source: IpAddr,
}

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    lines: HashMap<Key, Line>,
    swept: Time,
}

#[derive(Debug)]
struct Line {
    at: Time,
    suppressed: u64,
}

impl Limiter {
    /// Whether a line may be said now; then how many were not said since the last one.
    pub(crate) fn admit(&mut self, now: Time, key: Key) -> Option<u64> {
        let key = self.room_for(now, key);
        let Some(line) = self.lines.get_mut(&key) else {
            self.lines.insert(key, Line { at: now, suppressed: 0 });
            return Some(0);
        };
        if now.saturating_sub(line.at) < WINDOW {
            line.suppressed += 1;
            return None;
        }
        line.at = now;
        Some(std::mem::take(&mut line.suppressed))
    }

    fn room_for(&mut self, now: Time, key: Key) -> Key {
        if self.lines.len() < MOST || self.lines.contains_key(&key) {
            return key;
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.lines.retain(|_, line| now.saturating_sub(line.at) < WINDOW);
        }
        if self.lines.len() < MOST {
            return key;
        }
        Key { instance: None, kind: Kind::Rest, source: IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Key { instance: None, kind: Kind::Crossed, source: IpAddr::V4(Ipv4Addr::from(n)) }
    }

    #[test]
    fn one_line_a_minute_with_the_number_of_the_rest() {
        let mut limiter = Limiter::default();
        let second = Duration::from_secs;
        assert_eq!(limiter.admit(second(5), key(1)), Some(0));
        assert_eq!(limiter.admit(second(6), key(1)), None);
        assert_eq!(limiter.admit(second(64), key(1)), None);
        assert_eq!(limiter.admit(second(64), key(2)), Some(0), "another sender has a line of its own");
        assert_eq!(limiter.admit(second(65), key(1)), Some(2));
        assert_eq!(limiter.admit(second(66), key(1)), None);
    }

    #[test]
    fn a_flood_of_senders_shares_one_line() {
        let mut limiter = Limiter::default();
        let said = (0..100_000).filter(|n| limiter.admit(Duration::from_secs(1), key(*n)).is_some()).count();
        assert_eq!(said, MOST + 1);
        assert_eq!(limiter.lines.len(), MOST + 1);
        let later = Duration::from_secs(70);
        assert_eq!(limiter.admit(later, key(200_000)), Some(0), "old entries make room");
    }
}
