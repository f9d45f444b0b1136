//! Idle connections to the peers of one upstream on one thread (`keepalive`).

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;

use weir_model::{Keepalive, ListenAddress};

use crate::stream::Stream;

/// A connection to a peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: Stream,
    /// Requests that it has carried.
    pub(crate) requests: u64,
    /// Monotonic milliseconds of its making.
    pub(crate) born: u64,
    /// The address of `proxy_bind`.
    pub(crate) bound: Option<SocketAddr>,
    pub(crate) reused: bool,
}

#[derive(Debug)]
struct Idle {
    address: ListenAddress,
    link: Link,
    since: u64,
}

/// The pool of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    limits: Cell<Keepalive>,
    /// The longest idle stands first.
    idle: RefCell<VecDeque<Idle>>,
}

impl Pool {
    pub(crate) fn set_limits(&self, limits: Keepalive) {
        self.limits.set(limits);
    }

    /// Whether connections are kept at all.
    pub(crate) fn keeps(&self) -> bool {
        self.limits.get().connections > 0
    }

    /// The connection that idled shortest and is still open.
    pub(crate) fn take(&self, address: &ListenAddress, bound: Option<SocketAddr>, now: u64) -> Option<Link> {
        let limit = self.limits.get().timeout.0;
        let mut idle = self.idle.borrow_mut();
        loop {
            let at = idle.iter().rposition(|idle| idle.address == *address && idle.link.bound == bound)?;
            let Idle { mut link, since, .. } = idle.remove(at)?;
            if now.saturating_sub(since) < limit && is_quiet(&link) {
                link.reused = true;
                return Some(link);
            }
        }
    }

    /// Keeps a connection whose last answer is complete. The longest idle one makes room.
    pub(crate) fn put(&self, address: ListenAddress, link: Link, now: u64) {
        let limits = self.limits.get();
        if limits.connections == 0
            || link.requests >= limits.requests
            || now.saturating_sub(link.born) >= limits.time.0
            || !is_quiet(&link)
        {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        while idle.len() >= limits.connections as usize {
            idle.pop_front();
        }
        idle.push_back(Idle { address, link, since: now });
    }

    /// Closes what idled too long or was closed by its peer.
    pub(crate) fn sweep(&self, now: u64) {
        let limit = self.limits.get().timeout.0;
        self.idle.borrow_mut().retain(|idle| now.saturating_sub(idle.since) < limit && is_quiet(&idle.link));
    }

    /// Closes the connections to these addresses.
    pub(crate) fn close(&self, addresses: &HashSet<&ListenAddress>) {
        if !addresses.is_empty() {
            self.idle.borrow_mut().retain(|idle| !addresses.contains(&idle.address));
        }
    }

    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}

/// Nothing has arrived: neither the end of the stream nor bytes that nobody asked for.
fn is_quiet(link: &Link) -> bool {
    let mut byte = [0_u8];
    matches!(link.stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
