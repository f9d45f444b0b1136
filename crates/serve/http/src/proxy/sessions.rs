//! The table of `sticky learn`: which peer a session belongs to, shared by all data threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LinkedHashMap;
use md5::{Digest, Md5};
use weir_balance::Millis;

/// Bytes that one session takes: its key, its entry and its share of the index. A megabyte holds 8192.
const ENTRY: u64 = 128;
/// Sessions of one part, at least, before there are more parts.
const PART: u64 = 512;
/// Parts at most.
const PARTS: u64 = 64;
/// Expired sessions that one call drops: more than come in, so that they run out, and few enough for a short lock.
const SWEEP: usize = 4;

/// MD5 of a session's id: clients choose the length of an id, not that of its key.
type Key = [u8; 16];

/// Sessions by id, those that were used longest ago dropped when there is no room.
#[derive(Debug)]
pub(super) struct Sessions {
    /// What the configuration says about it; a table lives on through a reload while this stays.
    pub(super) upstream: String,
    pub(super) zone: String,
    /// In bytes.
    pub(super) size: u64,
    /// A session stands in the part that its key names. A part is locked for one step at a time.
    parts: Vec<Mutex<Part>>,
}

/// The session that was used longest ago stands first.
#[derive(Debug)]
struct Part {
    sessions: LinkedHashMap<Key, Session>,
    room: usize,
}

#[derive(Debug)]
struct Session {
    /// Server id of its peer.
    server: Arc<[u8]>,
    used: Millis,
}

/// What a lesson came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    Kept,
    /// The table was full, and a session that had not expired had to go.
    Displaced,
    /// The session is not known and was not to be made.
    Unknown,
}

impl Sessions {
    /// An empty table of `size` bytes.
    pub(super) fn new(upstream: &str, zone: &str, size: u64) -> Self {
        let room = (size / ENTRY).max(1);
        let parts = (room / PART).clamp(1, PARTS);
        let room = usize::try_from(room / parts).unwrap_or(usize::MAX);
        let part = || Mutex::new(Part { sessions: LinkedHashMap::new(), room });
        Self {
            upstream: upstream.to_owned(),
            zone: zone.to_owned(),
            size,
            parts: std::iter::repeat_with(part).take(parts as usize).collect(),
        }
    }

    /// The server id of a session that was used within `timeout`.
    pub(super) fn find(&self, id: &[u8], now: Millis, timeout: Millis) -> Option<Arc<[u8]>> {
        let key = key(id);
        let part = self.part(&key);
        let session = part.sessions.get(&key)?;
        (!session.is_over(now, timeout)).then(|| Arc::clone(&session.server))
    }

    /// A session was used with a server. One that is not known is made if `create`.
    pub(super) fn learn(
        &self,
        id: &[u8],
        server: &Arc<[u8]>,
        create: bool,
        now: Millis,
        timeout: Millis,
    ) -> Learnt {
        let key = key(id);
        let mut part = self.part(&key);
        part.sweep(now, timeout);
        if let Some(session) = part.sessions.to_back(&key)
            && (create || !session.is_over(now, timeout))
        {
            session.server = Arc::clone(server);
            session.used = now.max(session.used);
            return Learnt::Kept;
        }
        if !create {
            return Learnt::Unknown;
        }
        let full = part.sessions.len() >= part.room && part.sessions.pop_front().is_some();
        part.sessions.insert(key, Session { server: Arc::clone(server), used: now });
        if full { Learnt::Displaced } else { Learnt::Kept }
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Part> {
        let index = usize::from(u16::from_be_bytes([key[0], key[1]])) % self.parts.len();
        // A panic elsewhere leaves sessions that are still of use.
        self.parts[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn sweep(&mut self, now: Millis, timeout: Millis) {
        for _ in 0..SWEEP {
            match self.sessions.front() {
                Some((_, session)) if session.is_over(now, timeout) => drop(self.sessions.pop_front()),
                _ => return,
            }
        }
    }
}

impl Session {
    fn is_over(&self, now: Millis, timeout: Millis) -> bool {
        now.saturating_sub(self.used) >= timeout
    }
}

fn key(id: &[u8]) -> Key {
    Md5::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &[u8]) -> Arc<[u8]> {
        name.into()
    }

    #[test]
    fn a_session_lasts_while_it_is_used() {
        let table = Sessions::new("u", "z", 1 << 20);
        assert_eq!(table.find(b"id", 0, 10), None);
        assert_eq!(table.learn(b"id", &server(b"a"), true, 0, 10), Learnt::Kept);
        assert_eq!(table.find(b"id", 9, 10).as_deref(), Some(&b"a"[..]));
        assert_eq!(table.learn(b"id", &server(b"b"), false, 9, 10), Learnt::Kept);
        assert_eq!(table.find(b"id", 18, 10).as_deref(), Some(&b"b"[..]));
        assert_eq!(table.find(b"id", 19, 10), None, "ten after its last use");
        assert_eq!(table.learn(b"id", &server(b"b"), false, 19, 10), Learnt::Unknown);
        assert_eq!(table.learn(b"id", &server(b"b"), true, 19, 10), Learnt::Kept);
    }

    #[test]
    fn a_look_does_not_make_it_last() {
        let table = Sessions::new("u", "z", 1 << 20);
        table.learn(b"id", &server(b"a"), true, 0, 10);
        for now in 0..10 {
            assert!(table.find(b"id", now, 10).is_some(), "{now}");
        }
        assert_eq!(table.find(b"id", 10, 10), None);
    }

    #[test]
    fn the_session_used_longest_ago_makes_room() {
        let table = Sessions::new("u", "z", 4 * ENTRY);
        for (now, id) in [b"1", b"2", b"3", b"4"].into_iter().enumerate() {
            assert_eq!(table.learn(id, &server(b"a"), true, now as Millis, 100), Learnt::Kept);
        }
        assert_eq!(table.learn(b"1", &server(b"a"), false, 5, 100), Learnt::Kept);
        assert_eq!(table.learn(b"5", &server(b"a"), true, 6, 100), Learnt::Displaced);
        assert_eq!(table.find(b"2", 6, 100), None);
        assert!(table.find(b"1", 6, 100).is_some(), "it was used since");
        assert_eq!(table.learn(b"6", &server(b"a"), true, 200, 100), Learnt::Kept, "all others are over");
    }

    #[test]
    fn a_large_table_has_parts_and_holds_its_number() {
        let table = Sessions::new("u", "z", 1 << 20);
        assert_eq!(table.parts.len(), 16);
        for id in 0..20_000_u32 {
            table.learn(&id.to_be_bytes(), &server(b"a"), true, 0, 100);
        }
        let held: usize = table.parts.iter().map(|part| part.lock().expect("no panic").sessions.len()).sum();
        assert_eq!(held, 8192);
    }
}
