//! Fewest running requests by weight; among equals, smooth weighted round robin.

use crate::group::List;
use crate::selector::Turn;
use std::cmp::Ordering;

pub(crate) fn pick<'a>(turn: &mut Turn<'a>, list: &'a List) -> Option<usize> {
    let load = |turn: &mut Turn<'a>, index: usize| u64::from(turn.peer(index).state.conns());
    pick_lightest(turn, list, load, load)
}

/// The peer with the smallest load by weight. `first` tells a peer's load in the first pass; `again` once more, when
/// several were equal and round robin has to choose among them. A hinted peer is taken without more.
pub(crate) fn pick_lightest<'a>(
    turn: &mut Turn<'a>,
    list: &'a List,
    first: impl Fn(&mut Turn<'a>, usize) -> u64,
    again: impl Fn(&mut Turn<'a>, usize) -> u64,
) -> Option<usize> {
    if let Some(index) = turn.hinted(list) {
        return Some(index);
    }
    let mut best: Option<(usize, u64)> = None;
    let mut many = false;
    for index in list.range.clone() {
        if !turn.is_open(index) {
            continue;
        }
        let load = first(turn, index);
        let order = best.map_or(Ordering::Less, |best| compare(turn, (index, load), best));
        match order {
            Ordering::Less => (best, many) = (Some((index, load)), false),
            Ordering::Equal => many = true,
            Ordering::Greater => {}
        }
    }
    let lightest = best?;
    let mut chosen = lightest.0;
    if many {
        let mut total = 0;
        for index in lightest.0..list.range.end {
            if !turn.is_open(index) {
                continue;
            }
            let load = again(turn, index);
            if compare(turn, (index, load), lightest) != Ordering::Equal {
                continue;
            }
            total += turn.raise(index);
            if turn.weights[index].current > turn.weights[chosen].current {
                chosen = index;
            }
        }
        turn.weights[chosen].current -= total;
    }
    Some(chosen)
}

/// Compares load / weight without dividing.
pub(crate) fn compare(turn: &Turn<'_>, one: (usize, u64), two: (usize, u64)) -> Ordering {
    let weight = |index| u128::from(turn.peer(index).weight());
    let scaled = |load: u64, other: usize| u128::from(load) * weight(other);
    scaled(one.1, two.0).cmp(&scaled(two.1, one.0))
}
