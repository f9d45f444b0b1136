//! Peer by a key: plain, as Cache::Memcached does it, or consistent, on the ring.

use crate::group::List;
use crate::selector::Turn;
use std::io::Write;

/// Plain hash. Each further try hashes the key again with the number of the try before it.
pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List, key: &[u8]) -> Option<usize> {
    loop {
        let step = step(turn.tried.rehash, key);
        let hash = turn.tried.hash.unwrap_or(0).wrapping_add(step);
        turn.tried.hash = Some(hash);
        turn.tried.rehash += 1;
        let index = list.at_point(u64::from(hash) % list.total_points);
        if turn.is_open(index) {
            match turn.takes(index, key) {
                Ok(()) => return Some(index),
                Err(other) => turn.tried.hash = Some(other),
            }
        }
        if turn.tried.miss() {
            return None;
        }
    }
}

/// (crc32([REHASH] KEY) >> 16) & 0x7fff, REHASH in decimal and absent at the first try.
fn step(rehash: u32, key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if rehash > 0 {
        let mut digits = [0; 10];
        let mut rest = &mut digits[..];
        write!(rest, "{rehash}").expect("a u32 has at most ten digits");
        let unused = rest.len();
        crc.update(&digits[..digits.len() - unused]);
    }
    crc.update(key);
    (crc.finalize() >> 16) & 0x7fff
}

/// Consistent hash: the server at the key's place of the ring, or the next places' if it cannot be had. Addresses of
/// one server line share its places, and take turns by round robin.
pub(crate) fn pick_consistent<'a>(turn: &mut Turn<'a>, _list: &'a List, key: &[u8]) -> Option<usize> {
    let ring = turn.group.ring();
    let mut place = match turn.tried.hash {
        Some(place) => place,
        None => ring.place(crc32fast::hash(key)),
    };
    loop {
        let mut best: Option<usize> = None;
        let mut total = 0;
        for &index in ring.server_at(place) {
            if !turn.is_open(index) {
                continue;
            }
            total += turn.raise(index);
            if best.is_none_or(|best| turn.weights[index].current > turn.weights[best].current) {
                best = Some(index);
            }
        }
        if let Some(index) = best {
            turn.tried.hash = Some(place);
            turn.weights[index].current -= total;
            return Some(index);
        }
        place = place.wrapping_add(1);
        if turn.tried.miss() {
            return None;
        }
    }
}
