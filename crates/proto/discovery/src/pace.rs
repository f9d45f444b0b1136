//! When to ask again.

use std::time::Duration;

/// The pauses after failures: the first is short, then each is twice as long, up to a ceiling; each with a part of
/// chance, so that many do not come at once.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    failures: u32,
    ceiling: Duration,
}

impl Backoff {
    /// The pause after the first failure.
    pub const FIRST: Duration = Duration::from_millis(100);

    #[must_use]
    pub const fn new(ceiling: Duration) -> Self {
        Self { failures: 0, ceiling }
    }

    /// The pause after one more failure: between half and the whole of its step, by any number.
    pub fn failed(&mut self, chance: u64) -> Duration {
        let step = Self::FIRST
            .saturating_mul(1 << self.failures.min(20))
            .min(self.ceiling.max(Duration::from_millis(1)));
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let parts = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(chance % parts.max(1))
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// How often a source that keeps waking may be read: 100 times a second with as many in store, and at most a third of
/// the time where reading takes long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When the next reading is due if all come at an even pace.
    due: Duration,
}

impl Pace {
    const STEP: Duration = Duration::from_millis(10);
    const STORE: Duration = Duration::from_secs(1);
    /// Work that is shorter needs no rest.
    const SHORT: Duration = Duration::from_millis(2);

    /// The pause after a reading that ended `now` (counted from any start) and took `work`.
    pub fn pause(&mut self, now: Duration, work: Duration) -> Duration {
        self.due = self.due.max(now) + Self::STEP;
        let even = self.due.saturating_sub(now + Self::STORE);
        let rest = if work < Self::SHORT { Duration::ZERO } else { work * 2 };
        even.max(rest)
    }
}
