//! The time of a release: the wall clock once, and from then on what a monotonic clock counts.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use weir_rollout::{Moment, Span};

/// Moments of one process; they never go back, whatever happens to the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Moment,
    start: Instant,
}

impl Clock {
    #[must_use]
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Moment(millis(wall)), start: Instant::now() }
    }

    #[must_use]
    pub fn now(&self) -> Moment {
        self.wall + Span(millis(self.start.elapsed()))
    }

    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.start + (moment - self.wall).duration()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
