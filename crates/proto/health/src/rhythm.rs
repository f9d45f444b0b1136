//! When a target is probed.

use std::hash::{DefaultHasher, Hash, Hasher};

use weir_model::Check;

use crate::Target;

/// The moments at which one target is due: from start to start, each target at a phase of its own, so that many targets
/// never fire together. Times are milliseconds of a monotonic clock.
#[derive(Clone, Debug)]
pub struct Rhythm {
    interval: u64,
    jitter: u64,
    /// Remainder of the starts divided by the interval, while there is no jitter.
    phase: u64,
    due: u64,
    dice: u64,
    /// The last turn was passed over.
    skipped: bool,
}

/// What to do with a target whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Start,
    /// Too late: everybody else is late as well, so wait for the next moment of its own.
    Skip,
}

impl Rhythm {
    /// The first moment is `now` for a target whose first result has to come before traffic, else within an interval.
    #[must_use]
    pub fn new(target: &Target, now: u64, at_once: bool) -> Self {
        let mut hasher = DefaultHasher::new();
        (&target.key, target.index, &target.peer).hash(&mut hasher);
        let dice = hasher.finish();
        let check: &Check = &target.check;
        let interval = check.interval.0.max(1);
        let mut rhythm = Self {
            interval,
            jitter: check.jitter.0,
            phase: dice % interval,
            due: now,
            dice: dice | 1,
            skipped: false,
        };
        if !at_once {
            rhythm.due = rhythm.slot_from(now);
        }
        rhythm
    }

    #[must_use]
    pub fn due(&self) -> u64 {
        self.due
    }

    /// Asked at or after [`Rhythm::due`]. A loop that was held up finds all of its targets overdue; were all of them started
    /// at once, peers and loop would be flooded. So an overdue one waits for its next phase, but never twice in a row.
    pub fn turn(&mut self, now: u64) -> Turn {
        let slack = (self.interval / 10).max(20);
        if self.skipped || now.saturating_sub(self.due) <= slack {
            self.skipped = false;
            return Turn::Start;
        }
        self.skipped = true;
        self.due = self.slot_from(now);
        Turn::Skip
    }

    /// The probe was started. `at_once` when it did not wait for its phase: it finds it now, after half an interval or more.
    pub fn started(&mut self, now: u64, at_once: bool) {
        if at_once {
            self.due = self.slot_from(now.saturating_add(self.interval.div_ceil(2)));
            return;
        }
        self.due = self.due.saturating_add(self.interval).saturating_add(self.toss());
        if self.due <= now {
            self.due = self.slot_from(now.saturating_add(1));
        }
    }

    /// The probe ended; when it took longer than the interval, the next one waits for its phase.
    pub fn ended(&mut self, now: u64) {
        if self.due < now {
            self.due = self.slot_from(now);
        }
    }

    /// The first moment of its phase that is not before `time`.
    fn slot_from(&self, time: u64) -> u64 {
        let ahead = (self.phase + self.interval - time % self.interval) % self.interval;
        time.saturating_add(ahead)
    }

    /// 0 to `jitter` (xorshift64).
    fn toss(&mut self) -> u64 {
        if self.jitter == 0 {
            return 0;
        }
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % (self.jitter.saturating_add(1))
    }
}
