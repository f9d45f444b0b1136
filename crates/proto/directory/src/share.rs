//! How much of its weight a peer that came up has: `slow_start`.

use weir_model::Method;

/// Of the whole, what a peer begins with, percent; and the steps in which it grows.
const FIRST: u64 = 5;
const STEPS: u64 = 20;
/// Shorter steps would be noise, milliseconds.
const SHORTEST: u64 = 250;

/// Whether a peer that was out has to begin with little. What it has seen of requests meanwhile (caches, connections) is
/// not known, so whoever was out is cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warmth {
    /// It was there from the start, or long enough.
    Whole,
    /// It is out, or in but never was up. It has the first share in advance: the first choice after it comes up counts it.
    Cold,
    /// Up since then, monotonic milliseconds.
    Since(u64),
}

/// Under what peers of one upstream grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Monotonic milliseconds.
    pub(crate) now: u64,
    /// Peers grow at all.
    pub(crate) grows: bool,
}

impl Pace {
    /// `peers` of the upstream. One that is alone has nobody who could take its requests meanwhile, and hashed and random
    /// choices know no slow start (nginx: "cannot be used along with the hash, ip_hash, and random load balancing
    /// methods").
    pub(crate) fn new(now: u64, peers: usize, method: &Method) -> Pace {
        let turns = matches!(method, Method::RoundRobin | Method::LeastConn | Method::LeastTime { .. });
        Pace { now, grows: turns && peers > 1 }
    }
}

impl Warmth {
    /// Percent of what the peer is to have, and when that changes next (monotonic milliseconds). From 1/20 it grows to the
    /// whole within `slow_start` milliseconds.
    pub(crate) fn share(self, slow_start: u64, pace: Pace) -> (u64, Option<u64>) {
        if slow_start == 0 || !pace.grows {
            return (100, None);
        }
        match self {
            Warmth::Whole => (100, None),
            Warmth::Cold => (FIRST, None),
            Warmth::Since(begun) => {
                let step = (slow_start / STEPS).max(SHORTEST);
                let made = pace.now.saturating_sub(begun) / step;
                let grown = made.saturating_mul(step);
                if grown >= slow_start {
                    return (100, None);
                }
                let share = FIRST + (100 - FIRST) * grown / slow_start;
                (share, Some(begun.saturating_add((made + 1) * step)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: u64) -> Pace {
        Pace::new(now, 2, &Method::RoundRobin)
    }

    #[test]
    fn a_share_grows_from_a_twentieth_in_twenty_steps() {
        let (mut now, mut shares) = (1000, Vec::new());
        loop {
            let (share, next) = Warmth::Since(1000).share(30_000, at(now));
            shares.push(share);
            let Some(next) = next else { break };
            assert_eq!(next, now + 1500);
            now = next;
        }
        assert_eq!(shares.len(), 21);
        assert_eq!((shares[0], shares[1], shares[10], shares[20], now), (5, 9, 52, 100, 31_000));
        assert!(shares.is_sorted());
    }

    #[test]
    fn steps_are_no_shorter_than_a_quarter_of_a_second() {
        assert_eq!(Warmth::Since(0).share(1000, at(249)), (5, Some(250)));
        assert_eq!(Warmth::Since(0).share(1000, at(250)), (28, Some(500)));
        assert_eq!(Warmth::Since(0).share(100, at(0)), (5, Some(250)));
        assert_eq!(Warmth::Since(0).share(100, at(250)), (100, None));
    }

    #[test]
    fn who_does_not_grow_is_whole() {
        let hashed = Pace::new(0, 2, &Method::IpHash);
        let alone = Pace::new(0, 1, &Method::RoundRobin);
        for warmth in [Warmth::Cold, Warmth::Since(0)] {
            assert_eq!(warmth.share(1000, hashed), (100, None));
            assert_eq!(warmth.share(1000, alone), (100, None));
            assert_eq!(warmth.share(0, at(0)), (100, None));
        }
        assert_eq!(Warmth::Cold.share(1000, at(0)), (5, None));
        assert_eq!(Warmth::Whole.share(1000, at(0)), (100, None));
    }
}
