//! What came of the traffic.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many failures are described.
const DESCRIBED: usize = 20;

/// What the connections count together.
#[derive(Default)]
pub struct Counts {
    /// Answers and failures.
    pub answers: AtomicU64,
    pub tally: Mutex<Tally>,
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers that were right in every byte.
    pub requests: u64,
    /// The first of them: when, what was sent, what came.
    pub failed: Vec<String>,
    pub failures: u64,
    /// By `X-Server`.
    pub by_server: BTreeMap<String, u64>,
    /// By `X-Version`.
    pub by_version: BTreeMap<String, u64>,
    /// Connections that the proxy closed properly while nothing ran on them, without having said so.
    pub idle_closed: u64,
    pub websockets_opened: u64,
    /// Those that the server ended with a close frame.
    pub websockets_closed: Vec<WebsocketEnd>,
    /// Those that ended without one.
    pub websockets_cut: Vec<WebsocketEnd>,
    /// Of `requests`, those to `/slow`.
    pub slow: u64,
    /// Of the requests that are not slow; set at the end.
    pub p99_ms: f64,
    microseconds: Vec<u32>,
}

/// The life of a WebSocket that the client did not end.
#[derive(Clone, Debug)]
pub struct WebsocketEnd {
    pub server: String,
    pub version: String,
    pub opened: Instant,
    pub ended: Instant,
    pub how: String,
}

impl Counts {
    pub fn right(&self, server: &str, version: &str, took: Duration, slow: bool) {
        self.with(|tally| {
            tally.requests += 1;
            add(&mut tally.by_server, server);
            add(&mut tally.by_version, version);
            if slow {
                tally.slow += 1;
            } else {
                tally.microseconds.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            }
        });
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn failed(&self, text: String) {
        self.with(|tally| {
            tally.failures += 1;
            if tally.failed.len() < DESCRIBED {
                tally.failed.push(text);
            }
        });
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub fn with(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().expect("nobody panics with it"));
    }
}

impl Tally {
    /// Asserts that nothing at all was lost.
    pub fn assert_nothing_lost(&self) {
        assert_eq!(self.failures, 0, "{:#?}", self.failed);
        assert!(self.websockets_cut.is_empty(), "{:#?}", self.websockets_cut);
        assert!(self.requests > 0, "no traffic");
    }

    pub fn conclude(&mut self) {
        self.microseconds.sort_unstable();
        let at = self.microseconds.len() * 99 / 100;
        self.p99_ms = self.microseconds.get(at).map_or(0.0, |found| f64::from(*found) / 1000.0);
    }
}

fn add(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
