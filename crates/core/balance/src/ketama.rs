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
    /// Points whose place another server has, for the day that it leaves. A few among thousands.
    shadowed: Vec<Point>,
    /// In the order in which they are first written.
    servers: Vec<Server>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    hash: u32,
    server: u32,
}

/// Addresses of one server line.
#[derive(Debug)]
struct Server {
    /// The highest of the lines with one text, in hundredths.
    weight: u64,
    /// Indices into the group, at least one.
    peers: Vec<usize>,
}

impl Ring {
    /// The ring of these peers. What `previous` has laid for servers that stay is taken over: a change of few servers
    /// costs one walk round the ring.
    pub(crate) fn new(peers: &[Peer], previous: Option<(&Ring, &[Peer])>) -> Ring {
        let mut ring = Ring { servers: servers(peers), ..Ring::default() };
        let mut known: HashMap<(&str, u64), usize> = HashMap::new();
        for (index, server) in previous.iter().flat_map(|(old, _)| old.servers.iter().enumerate()) {
            let texts = previous.map_or(&[][..], |(_, peers)| peers);
            known.insert((text(server, texts), server.weight), index);
        }
        let mut stays: Vec<Option<u32>> = vec![None; previous.map_or(0, |(old, _)| old.servers.len())];
        let mut more = Vec::new();
        for (index, server) in ring.servers.iter().enumerate() {
            let index = u32::try_from(index).expect("fewer than 2^32 server lines");
            match known.get(&(text(server, peers), server.weight)) {
                Some(&old) => stays[old] = Some(index),
                None => lay(text(server, peers), index, server.weight * POINTS / 100, &mut more),
            }
        }
        let moved = |point: &Point| Some(Point { server: stays[point.server as usize]?, ..*point });
        let (laid, hidden) = previous.map_or((&[][..], &[][..]), |(old, _)| (&old.points, &old.shadowed));
        more.extend(hidden.iter().filter_map(moved));
        more.sort_unstable_by_key(|point| (point.hash, point.server));
        ring.points.reserve_exact(laid.len() + more.len());
        let mut more = more.into_iter().peekable();
        for point in laid.iter().filter_map(moved) {
            while let Some(before) = more.next_if(|more| more.hash < point.hash) {
                ring.put(before);
            }
            ring.put(point);
        }
        more.for_each(|point| ring.put(point));
        ring
    }

    /// Adds the next point. Where two servers meet on one place, the one written first keeps it.
    fn put(&mut self, point: Point) {
        match self.points.last_mut() {
            Some(last) if last.hash == point.hash => {
                let (first, second) =
                    if point.server < last.server { (point, *last) } else { (*last, point) };
                *last = first;
                if first.server != second.server {
                    self.shadowed.push(second);
                }
            }
            _ => self.points.push(point),
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
        &self.servers[self.points[place].server as usize].peers
    }
}

/// Peers by the text of their server lines: addresses of one line share their places.
fn servers(peers: &[Peer]) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::with_capacity(peers.len());
    for peer in peers {
        let at = *known.entry(&peer.spec.server).or_insert(servers.len());
        if at == servers.len() {
            servers.push(Server { weight: 0, peers: Vec::with_capacity(1) });
        }
        let server = &mut servers[at];
        // A line of the same text with more weight, or a larger share of it, begins with the same places and goes on.
        server.weight = server.weight.max(u64::from(peer.spec.weight) * u64::from(peer.spec.share));
        server.peers.push(peer.index);
    }
    servers
}

/// The text of a server line.
fn text<'a>(server: &Server, peers: &'a [Peer]) -> &'a str {
    server.peers.first().and_then(|&peer| peers.get(peer)).map_or("", |peer| &peer.spec.server)
}

/// crc32(HOST NUL PORT PREVIOUS), chained.
fn lay(text: &str, server: u32, points: u64, out: &mut Vec<Point>) {
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
        out.push(Point { hash, server });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Method, PeerSpec};
    use proptest::prelude::*;

    /// Groups whose servers are `(text, weight)`.
    fn group(servers: &[(u8, u32)]) -> Group {
        let spec = |&(name, weight): &(u8, u32)| {
            (PeerSpec { weight, ..PeerSpec::new(format!("s{name}:80")) }, std::sync::Arc::default())
        };
        Group::with_states("g".into(), Method::Hash { consistent: true }, servers.iter().map(spec).collect())
    }

    /// Points, then those in their shadow.
    fn places(ring: &Ring) -> Vec<(u32, u32)> {
        ring.points.iter().chain(&ring.shadowed).map(|point| (point.hash, point.server)).collect()
    }

    proptest! {
        #[test]
        fn a_ring_that_followed_is_the_ring_made_anew(
            lists in proptest::collection::vec(proptest::collection::vec((0_u8..30, 1_u32..4), 0..20), 1..6),
        ) {
            let groups: Vec<Group> = lists.iter().map(|list| group(list)).collect();
            let mut previous: Option<(Ring, &Group)> = None;
            for group in &groups {
                let before = previous.as_ref().map(|(ring, group)| (ring, group.peers()));
                let followed = Ring::new(group.peers(), before);
                let anew = Ring::new(group.peers(), None);
                prop_assert_eq!(&followed.points, &anew.points);
                prop_assert!(followed.points.is_sorted_by(|one, two| one.hash < two.hash));
                previous = Some((followed, group));
            }
        }
    }

    #[test]
    fn who_leaves_a_place_leaves_it_to_the_next() {
        let ring = |points: &[(u32, u32)]| {
            let mut ring = Ring::default();
            points.iter().for_each(|&(hash, server)| ring.put(Point { hash, server }));
            ring
        };
        let all = places(&ring(&[(1, 0), (5, 2), (5, 1), (5, 1), (7, 0)]));
        assert_eq!(all, [(1, 0), (5, 1), (7, 0), (5, 2)], "server 1 stands before 2, and once");
    }
}
