//! Groups of peers that requests are balanced over.

use serde::{Deserialize, Serialize};

use crate::{Check, ListenAddress, Millis, Resolver, Source, Template};

/// An `upstream` block, or the group that a literal host in `proxy_pass` makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    /// True for a group that no `upstream` block names.
    pub implicit: bool,
    /// The port that `proxy_pass` named, for telling implicit groups apart; 0 in an `upstream` block.
    pub port: u16,
    pub method: Method,
    /// In file order; a name with several addresses gives several peers.
    pub peers: Vec<Peer>,
    pub keepalive: Keepalive,
    pub zone: Option<String>,
    pub sticky: Option<Sticky>,
    /// Peers that come and go by themselves.
    pub sources: Vec<Source>,
    pub checks: Vec<Check>,
    /// When checks fail every peer that nobody took out, all of them serve as if none were checked (`check_panic`).
    pub check_panic: bool,
    /// How long a request waits for a peer while none can be had because of what somebody did (`upstream_park`); 0: not at
    /// all.
    #[serde(default)]
    pub park: Millis,
    /// For `server NAME resolve`.
    pub resolver: Option<Resolver>,
}

/// What tells one group from the others, also over a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UpstreamKey {
    pub name: String,
    /// 0 for an `upstream` block.
    pub port: u16,
    pub implicit: bool,
}

/// The name of the block, or `host:port` as `proxy_pass` has it.
impl std::fmt::Display for UpstreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.implicit && self.port != 0 {
            write!(f, "{}:{}", self.name, self.port)
        } else {
            f.write_str(&self.name)
        }
    }
}

impl Upstream {
    #[must_use]
    pub fn key(&self) -> UpstreamKey {
        UpstreamKey { name: self.name.clone(), port: self.port, implicit: self.implicit }
    }
}

/// How a peer is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    RoundRobin,
    LeastConn,
    IpHash,
    Hash {
        key: Template,
        consistent: bool,
    },
    Random {
        two: bool,
    },
    LeastTime {
        last_byte: bool,
        inflight: bool,
    },
}

/// One address of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub address: ListenAddress,
    /// The text of the `server` line's address, before names were resolved.
    pub server: String,
    pub weight: u32,
    /// 0: no limit.
    pub max_conns: u32,
    pub max_fails: u32,
    pub fail_timeout: Millis,
    pub backup: bool,
    pub down: bool,
    pub drain: bool,
    pub route: Option<String>,
    /// How long a peer that comes back takes to its whole weight; 0: at once.
    pub slow_start: Millis,
    /// Of its weight, the part that counts: 1 to 100.
    #[serde(default = "whole")]
    pub percent: u8,
}

const fn whole() -> u8 {
    100
}

impl Peer {
    /// A peer with the defaults of a `server` line; `server` is its text before names were resolved.
    #[must_use]
    pub fn new(address: ListenAddress, server: &str) -> Self {
        Self {
            address,
            server: server.to_owned(),
            weight: 1,
            max_conns: 0,
            max_fails: 1,
            fail_timeout: Millis(10_000),
            backup: false,
            down: false,
            drain: false,
            route: None,
            slow_start: Millis(0),
            percent: 100,
        }
    }
}

/// The pool of idle connections of one data thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepalive {
    /// 0 turns the pool off.
    pub connections: u32,
    pub requests: u64,
    pub time: Millis,
    pub timeout: Millis,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { connections: 32, requests: 1000, time: Millis(3_600_000), timeout: Millis(60_000) }
    }
}

/// `sticky`: how a client comes back to its peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// The peer's id in a cookie that Weir sets.
    Cookie {
        name: String,
        /// Seconds; `Some(u64::MAX)` for `max`.
        expires: Option<u64>,
        domain: Option<Template>,
        path: Option<Template>,
        httponly: bool,
        secure: bool,
        samesite: Option<Template>,
    },
    /// The peer's `route=` in the first variable that is not empty.
    Route { lookup: Vec<Template> },
    /// A table from session ids to peers.
    Learn {
        create: Vec<Template>,
        lookup: Vec<Template>,
        zone: String,
        size: u64,
        timeout: Millis,
        header: bool,
    },
}
