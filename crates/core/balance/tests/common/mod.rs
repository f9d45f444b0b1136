//! A thread with one group: picks and releases by the peers' names.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part

use std::sync::Arc;
use weir_balance::{Group, Method, Millis, Outcome, PeerSpec, Selector, Tried};

pub const NOW: Millis = 1_000_000;

pub fn spec(name: &str) -> PeerSpec {
    PeerSpec::new(name)
}

pub fn weighted(name: &str, weight: u32) -> PeerSpec {
    PeerSpec { weight, ..spec(name) }
}

pub fn group(method: Method, peers: Vec<PeerSpec>) -> Arc<Group> {
    Arc::new(Group::new("group".into(), method, peers, None))
}

pub fn selector(method: Method, peers: Vec<PeerSpec>) -> Selector {
    Selector::new(group(method, peers), 1)
}

/// One request that takes the first peer it gets and ends well.
pub fn serve(selector: &mut Selector, key: &[u8], now: Millis) -> Option<usize> {
    let peer = selector.pick(&mut Tried::default(), key, None, now)?;
    selector.release(peer, Outcome::Success, now);
    Some(peer)
}

/// The peer that a new request gets, left running.
pub fn begin(selector: &mut Selector, now: Millis) -> Option<usize> {
    selector.pick(&mut Tried::default(), b"", None, now)
}

/// One letter a request: a for the first peer, - for none.
pub fn series(selector: &mut Selector, requests: usize, now: Millis) -> String {
    let letter = |peer: Option<usize>| peer.map_or('-', |peer| char::from(b'a' + peer as u8));
    (0..requests).map(|_| letter(serve(selector, b"", now))).collect()
}
