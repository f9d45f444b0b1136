//! Counting results: when a verdict changes.

use weir_model::Check;

/// The verdict on one target and its results in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    verdict: Option<bool>,
    rise: u32,
    fall: u32,
}

/// A verdict that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub passed: bool,
    /// There was none before.
    pub first: bool,
    /// Results of the last one's kind in a row.
    pub after: u32,
}

impl Tally {
    /// `rise` and `fall` are the counts so far; they go on growing over a reload when there is a verdict.
    #[must_use]
    pub fn new(known: Option<bool>, rise: u32, fall: u32) -> Self {
        match known {
            Some(_) => Self { verdict: known, rise, fall },
            None => Self { verdict: None, rise: 0, fall: 0 },
        }
    }

    #[must_use]
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// Passes in a row; they are counted beyond the number that a change needs.
    #[must_use]
    pub fn rise(&self) -> u32 {
        self.rise
    }

    /// Failures in a row.
    #[must_use]
    pub fn fall(&self) -> u32 {
        self.fall
    }

    /// Whether the first result has to come before traffic.
    #[must_use]
    pub fn awaits_first(&self, check: &Check) -> bool {
        self.verdict.is_none() && check.default_down
    }

    /// Counts a result. The first one of a check with `default_down=true` decides alone; else a verdict changes after
    /// `rise` passes or `fall` failures in a row.
    pub fn count(&mut self, passed: bool, check: &Check) -> Option<Change> {
        let (up, down) = (&mut self.rise, &mut self.fall);
        let (row, other) = if passed { (up, down) } else { (down, up) };
        *row = row.saturating_add(1);
        *other = 0;
        let after = *row;
        let enough = after >= if passed { check.rise } else { check.fall };
        let before = self.verdict;
        let verdict = match before {
            None if check.default_down => passed,
            None => passed || !enough,
            Some(up) if up != passed && enough => passed,
            Some(up) => up,
        };
        self.verdict = Some(verdict);
        (before != Some(verdict)).then_some(Change { passed: verdict, first: before.is_none(), after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use weir_model::{Millis, Probe};

    fn check(rise: u32, fall: u32, default_down: bool) -> Check {
        Check {
            probe: Probe::Tcp,
            interval: Millis(1000),
            jitter: Millis(0),
            timeout: Millis(1000),
            rise,
            fall,
            default_down,
            persistent: false,
            port: 0,
            keepalive_requests: 1,
        }
    }

    #[test]
    fn first_result_decides_alone_where_the_peer_is_down_by_default() {
        let check = check(3, 3, true);
        let mut tally = Tally::new(None, 7, 7);
        assert_eq!(tally.count(true, &check), Some(Change { passed: true, first: true, after: 1 }));
        let mut tally = Tally::new(None, 0, 0);
        assert_eq!(tally.count(false, &check), Some(Change { passed: false, first: true, after: 1 }));
        assert_eq!(tally.count(true, &check), None);
        assert_eq!(tally.count(true, &check), None);
        assert_eq!(tally.count(true, &check), Some(Change { passed: true, first: false, after: 3 }));
    }

    #[test]
    fn up_by_default_until_enough_failures() {
        let check = check(2, 2, false);
        let mut tally = Tally::new(None, 0, 0);
        assert_eq!(tally.count(false, &check), Some(Change { passed: true, first: true, after: 1 }));
        assert_eq!(tally.count(false, &check), Some(Change { passed: false, first: false, after: 2 }));
        let mut tally = Tally::new(None, 0, 0);
        let at_once = Check { fall: 1, ..check };
        assert_eq!(tally.count(false, &at_once), Some(Change { passed: false, first: true, after: 1 }));
    }

    #[test]
    fn counts_go_on_over_a_reload() {
        let check = check(2, 5, true);
        let mut tally = Tally::new(Some(true), 40, 0);
        assert_eq!(tally.count(true, &check), None);
        assert_eq!((tally.rise(), tally.fall()), (41, 0));
        let mut tally = Tally::new(Some(true), 0, 4);
        assert_eq!(tally.count(false, &check), Some(Change { passed: false, first: false, after: 5 }));
    }

    proptest! {
        #[test]
        fn a_verdict_changes_only_after_enough_in_a_row(
            results in proptest::collection::vec(any::<bool>(), 1..200),
            rise in 0_u32..5, fall in 0_u32..5, default_down: bool, known: Option<bool>,
        ) {
            let check = check(rise, fall, default_down);
            let mut tally = Tally::new(known, 0, 0);
            let mut row = 0;
            let mut last = None;
            for passed in results {
                row = if last == Some(passed) { row + 1 } else { 1 };
                last = Some(passed);
                let before = tally.verdict();
                let change = tally.count(passed, &check);
                let after = tally.verdict().expect("a result makes a verdict");
                prop_assert_eq!(change.is_some(), before != Some(after));
                prop_assert_eq!(if passed { tally.rise() } else { tally.fall() }, row);
                prop_assert_eq!(if passed { tally.fall() } else { tally.rise() }, 0);
                if let Some(before) = before.filter(|before| *before != after) {
                    prop_assert_eq!(after, passed);
                    let enough = if before { fall } else { rise };
                    prop_assert!(row >= enough);
                }
            }
        }
    }
}
