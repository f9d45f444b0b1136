//! The ring of the consistent hash, with the points of Cache::Memcached::Fast and nginx.

use crate::peer::Peer;
use std::collections::HashMap;

/// Points that each unit of weight puts on the ring.
const POINTS: u64 = 160;

/// Servers on a ring of 2^32 places.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// Sorted by hash, no hash twice.
    points: Vec<Point>,
    /// Peers of each server line, as indices into the group.
    servers: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    hash: u32,
    server: u32,
}

/// What stands on the ring for one server line while it is built.
struct Laid {
    server: usize,
    weight: u32,
}

impl Ring {
    pub(crate) fn new(peers: &[Peer]) -> Ring {
        let mut ring = Ring::default();
        let mut known: HashMap<&str, Laid> = HashMap::new();
        for peer in peers {
            let text = peer.spec.server.as_str();
            let laid = known.entry(text).or_insert_with(|| {
                ring.servers.push(Vec::new());
                Laid { server: ring.servers.len() - 1, weight: 0 }
            });
            ring.servers[laid.server].push(peer.index);
            // Addresses of one line share their places. A line of the same text with more weight begins with the
            // same places and goes on.
            if peer.spec.weight > laid.weight {
                laid.weight = peer.spec.weight;
                let server = u32::try_from(laid.server).expect("fewer than 2^32 server lines");
                ring.lay(text, server, u64::from(laid.weight) * POINTS);
            }
        }
        // Where two servers meet on one place, the one written first keeps it.
        ring.points.sort_by_key(|point| point.hash);
        ring.points.dedup_by_key(|point| point.hash);
        ring
    }

    /// crc32(HOST NUL PORT PREVIOUS), chained.
    fn lay(&mut self, text: &str, server: u32, points: u64) {
        let (host, port) = host_and_port(text);
        let mut base = crc32fast::Hasher::new();
        base.update(host.as_bytes());
        base.update(&[0]);
        base.update(port.as_bytes());
        let mut hash = 0_u32;
        for _ in 0..points {
            let mut crc = base.clone();
            crc.update(&hash.to_le_bytes());
            hash = crc.finalize();
            self.points.push(Point { hash, server });
        }
    }

    /// Number of the first point at or after `hash`; one past the last wraps in [`Ring::server_at`].
    pub(crate) fn place(&self, hash: u32) -> u32 {
        let place = self.points.partition_point(|point| point.hash < hash);
        u32::try_from(place).unwrap_or(0)
    }

    /// The peers of the server that holds a place, counted round the ring.
    pub(crate) fn server_at(&self, place: u32) -> &[usize] {
        let Some(place) = (place as usize).checked_rem(self.points.len()) else {
            return &[];
        };
        &self.servers[self.points[place].server as usize]
    }
}

/// Splits at the last colon if only digits follow; a unix socket is all path.
fn host_and_port(server: &str) -> (&str, &str) {
    if let Some((scheme, path)) = server.split_at_checked(5)
        && scheme.eq_ignore_ascii_case("unix:")
    {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}
