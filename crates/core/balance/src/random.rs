//! Peer by chance, in proportion to the weights; or the better of two.

use crate::group::List;
use crate::least_conn::compare;
use crate::selector::Turn;
use std::cmp::Ordering;

/// splitmix64 (Steele, Lea, Flood 2014): one word of state, good enough to spread load, not to keep secrets.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn throw_peer(&mut self, list: &List) -> usize {
        list.at_point(self.throw() % list.total_points)
    }
}

pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List) -> Option<usize> {
    loop {
        let index = turn.dice.throw_peer(list);
        if turn.is_open(index) {
            return Some(index);
        }
        if turn.tried.miss() {
            return None;
        }
    }
}

/// Throws until two different peers can be had and takes the one with fewer running requests by weight; the second
/// if they are equal.
pub(crate) fn pick_two<'a>(turn: &mut Turn<'a>, list: &'a List) -> Option<usize> {
    let mut first: Option<usize> = None;
    loop {
        let index = turn.dice.throw_peer(list);
        if first != Some(index) && turn.is_open(index) {
            let load = |index: usize| (index, u64::from(turn.peer(index).state.conns()));
            match first {
                None => first = Some(index),
                Some(first) if compare(turn, load(index), load(first)) == Ordering::Greater => {
                    return Some(first);
                }
                Some(_) => return Some(index),
            }
        }
        // The throw of the first counts too, so that a group with one peer left comes to round robin.
        if turn.tried.miss() {
            return None;
        }
    }
}
