//! Moments to come: one for each of many numbered things.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of moments. A thing has one moment, and moving it costs nothing while the new one is later: probes that end well
/// move theirs with each run.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    things: Vec<Thing>,
}

#[derive(Clone, Copy, Debug)]
struct Thing {
    /// When it wants to be called.
    wanted: u64,
    /// Its entry in the heap that counts, not later than `wanted`; others are leftovers.
    queued: u64,
}

const NEVER: u64 = u64::MAX;

impl Timers {
    /// Sets the moment of a thing, in place of the one before.
    pub fn arm(&mut self, id: usize, at: u64) {
        if self.things.len() <= id {
            self.things.resize(id + 1, Thing { wanted: NEVER, queued: NEVER });
        }
        let Some(thing) = self.things.get_mut(id) else { return };
        thing.wanted = at;
        if at < thing.queued {
            thing.queued = at;
            self.heap.push(Reverse((at, id)));
        }
    }

    /// Forgets the moment of a thing.
    pub fn disarm(&mut self, id: usize) {
        if let Some(thing) = self.things.get_mut(id) {
            thing.wanted = NEVER;
        }
    }

    /// A lower bound of the next moment.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a thing whose moment has come; it has none then.
    pub fn pop(&mut self, now: u64) -> Option<usize> {
        while self.next().is_some_and(|at| at <= now) {
            let Reverse((at, id)) = self.heap.pop()?;
            let Some(thing) = self.things.get_mut(id) else { continue };
            if thing.queued != at {
                continue;
            }
            thing.queued = NEVER;
            let wanted = thing.wanted;
            if wanted <= now {
                thing.wanted = NEVER;
                return Some(id);
            }
            if wanted != NEVER {
                self.arm(id, wanted);
            }
        }
        None
    }
}
