//! Peer by the client's address: IPv4 by its network of 24 bits, IPv6 by all of it.

use crate::group::List;
use crate::selector::Turn;

/// Stands for a client without an address, such as one on a unix socket.
const NOWHERE: &[u8] = &[0, 0, 0];

/// `address`: 4 or 16 bytes in network order, or none.
pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List, address: &[u8]) -> Option<usize> {
    let network = match address {
        [] => NOWHERE,
        [network @ .., _] if address.len() == 4 => network,
        whole => whole,
    };
    let mut hash = turn.tried.hash.unwrap_or(89);
    loop {
        for byte in network {
            hash = (hash * 113 + u32::from(*byte)) % 6271;
        }
        let index = list.at_point(u64::from(hash) % list.total_points);
        if turn.is_open(index) {
            match turn.takes(index, network) {
                Ok(()) => {
                    turn.tried.hash = Some(hash);
                    return Some(index);
                }
                Err(other) => hash = other,
            }
        }
        if turn.tried.miss() {
            return None;
        }
    }
}
