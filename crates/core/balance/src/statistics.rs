//! What a peer answered and how fast: counters that all threads add to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Times up to this many microseconds share the first bucket: 2 to this power.
const FIRST: u32 = 6;
/// Each octave has this many buckets, of equal width: 2 to this power.
const QUARTERS: u32 = 2;
/// 64 us times 2 to this power is the end of the last bucket, 67 s.
const OCTAVES: u32 = 20;
/// Longer times count in the last one.
const BUCKETS: usize = 1 + ((OCTAVES as usize) << QUARTERS);

/// Answers of a peer. One attempt writes one class, one bucket and the sum.
#[derive(Debug, Default)]
#[repr(align(64))] // choosing a peer reads its bars and failures, which would share a line with what every answer writes
pub(crate) struct Answers {
    /// 1xx to 5xx.
    classes: [AtomicU64; 5],
    pub(crate) upgraded: AtomicU32,
    /// Made by the first answer: most peers of a long list have none.
    times: OnceLock<Box<Times>>,
}

/// Times from the request to the head of its answer.
#[derive(Debug)]
#[repr(align(64))]
struct Times {
    sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Answers {
    pub(crate) fn count(&self, status: u16, time: Duration) {
        let class = usize::from(status / 100).wrapping_sub(1);
        if let Some(class) = self.classes.get(class) {
            class.fetch_add(1, Relaxed);
        }
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let times = self.times.get_or_init(|| {
            Box::new(Times { sum: AtomicU64::new(0), buckets: std::array::from_fn(|_| AtomicU64::new(0)) })
        });
        times.sum.fetch_add(us, Relaxed);
        if let Some(bucket) = times.buckets.get(bucket(us)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn classes(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.classes[class].load(Relaxed))
    }

    pub(crate) fn latency(&self) -> Latency {
        let Some(times) = self.times.get() else { return Latency::default() };
        let counts = times.buckets.iter().map(|bucket| bucket.load(Relaxed)).enumerate();
        let filled = counts.filter(|(_, count)| *count != 0);
        Latency {
            buckets: filled.map(|(index, count)| Bucket { up_to_us: end_of(index), count }).collect(),
            sum_us: times.sum.load(Relaxed),
        }
    }
}

/// The bucket of a time. Ends are inclusive.
fn bucket(us: u64) -> usize {
    let below = us.saturating_sub(1);
    let Some(octave) = below.checked_ilog2().and_then(|power| power.checked_sub(FIRST)) else { return 0 };
    let quarter = (below >> (octave + FIRST - QUARTERS)) & ((1 << QUARTERS) - 1);
    (1 + ((octave as usize) << QUARTERS) + quarter as usize).min(BUCKETS - 1)
}

/// The longest time of a bucket, microseconds.
fn end_of(bucket: usize) -> u64 {
    let Some(index) = bucket.checked_sub(1) else { return 1 << FIRST };
    let (octave, quarter) = (index >> QUARTERS, index as u64 & ((1 << QUARTERS) - 1));
    ((1 << QUARTERS) + quarter + 1) << (octave + FIRST as usize - QUARTERS as usize)
}

/// How long answers took, from the request sent to the head of its answer. The default: there was none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// In rising order, none of them empty.
    pub buckets: Vec<Bucket>,
    /// Of all times, microseconds.
    pub sum_us: u64,
}

/// Answers that took longer than the end of the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Microseconds, inclusive. The bucket that ends at [`Latency::LONGEST`] holds all longer times as well.
    pub up_to_us: u64,
    pub count: u64,
}

impl Latency {
    /// End of the last bucket, microseconds.
    pub const LONGEST: u64 = 1 << (FIRST + OCTAVES);

    /// Answers in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// The time within which `percent` of the answers came, as the end of its bucket; absent: there was no answer.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (u128::from(self.count()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = self.buckets.iter().find(|bucket| {
            seen += u128::from(bucket.count);
            seen >= wanted
        });
        reached.map(|bucket| bucket.up_to_us)
    }
}

/// An upgraded connection to a peer; it ends when this is dropped.
#[derive(Debug)]
pub struct Upgraded(pub(crate) std::sync::Arc<crate::PeerState>);

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.0.answers.upgraded.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket() {
        assert_eq!((bucket(0), bucket(64), bucket(65), end_of(0), end_of(1)), (0, 0, 1, 64, 80));
        for index in 0..BUCKETS - 1 {
            let end = end_of(index);
            assert_eq!((bucket(end), bucket(end + 1)), (index, index + 1), "bucket {index} ends at {end} us");
        }
        assert_eq!(end_of(BUCKETS - 1), Latency::LONGEST);
        assert_eq!((bucket(Latency::LONGEST + 1), bucket(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn answers_are_counted_by_class_and_time() {
        let answers = Answers::default();
        assert_eq!(answers.latency(), Latency::default());
        assert!(answers.times.get().is_none(), "nothing is allocated before the first answer");
        for (status, us) in
            [(200, 70), (204, 80), (302, 1000), (404, 1), (503, 100_000_000), (101, 5), (42, 5)]
        {
            answers.count(status, Duration::from_micros(us));
        }
        assert_eq!(answers.classes(), [1, 2, 1, 1, 1]);
        let latency = answers.latency();
        let buckets: Vec<_> = latency.buckets.iter().map(|bucket| (bucket.up_to_us, bucket.count)).collect();
        assert_eq!(buckets, [(64, 3), (80, 2), (1024, 1), (Latency::LONGEST, 1)]);
        assert_eq!((latency.count(), latency.sum_us), (7, 100_001_161));
    }

    #[test]
    fn percentiles_are_ends_of_buckets() {
        assert_eq!(Latency::default().percentile(50), None);
        let of = |buckets: &[(u64, u64)]| Latency {
            buckets: buckets.iter().map(|&(up_to_us, count)| Bucket { up_to_us, count }).collect(),
            sum_us: 0,
        };
        let hundred = of(&[(64, 50), (80, 40), (96, 9), (112, 1)]);
        let shown = [1, 50, 51, 90, 91, 99, 100].map(|percent| hundred.percentile(percent));
        assert_eq!(shown, [64, 64, 80, 80, 96, 96, 112].map(Some));
        assert_eq!(of(&[(640, 1)]).percentile(50), Some(640));
    }

    #[test]
    fn a_peer_without_answers_is_small() {
        assert_eq!(size_of::<Answers>(), 64);
        assert!(size_of::<crate::PeerState>() <= 192);
    }
}
