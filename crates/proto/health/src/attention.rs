//! A clock that does not blame peers for our own lateness.

/// Counts the time in which somebody was looking. A loop that gets no processor for three seconds finds all probes past
/// their deadlines, though every peer may have answered: deadlines are taken from this clock, which goes on by no more than
/// what the loop meant to sleep, and [`GRACE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Attention {
    looked: u64,
    attended: u64,
}

/// Lateness that counts as punctual, milliseconds.
pub const GRACE: u64 = 25;

impl Attention {
    /// `now` is of a monotonic clock in milliseconds.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { looked: now, attended: 0 }
    }

    /// The sockets were looked at, after a sleep that was meant to last `meant` at most. Answers how many milliseconds are
    /// the loop's own fault.
    pub fn look(&mut self, now: u64, meant: u64) -> u64 {
        let passed = now.saturating_sub(self.looked);
        let counted = passed.min(meant.saturating_add(GRACE));
        self.looked = now;
        self.attended += counted;
        passed - counted
    }

    /// Milliseconds that were attended.
    #[must_use]
    pub fn attended(&self) -> u64 {
        self.attended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_does_not_count() {
        let mut clock = Attention::new(1000);
        assert_eq!(clock.look(1100, 100), 0);
        assert_eq!(clock.look(4100, 5), 3000 - 5 - GRACE);
        assert_eq!(clock.attended(), 100 + 5 + GRACE);
        assert_eq!(clock.look(4110, 500), 0);
        assert_eq!(clock.attended(), 110 + 5 + GRACE);
    }
}
