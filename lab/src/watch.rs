//! Who held an address, when: intervals, time without a holder, time with two, moves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::addresses::Change;
use crate::error::{Error, Result};
use crate::lab::Lab;

/// An address under observation.
#[derive(Clone)]
pub struct Watch {
    lab: Lab,
    address: IpAddr,
}

/// A host had the address from `from` to `to`, times since the laboratory began. `to` is `None` while it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interval {
    pub host: String,
    pub from: Duration,
    pub to: Option<Duration>,
}

/// What happened to an address in a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    pub window: Duration,
    /// The sum of all times in which no host had it.
    pub without: Duration,
    /// The longest of them.
    pub longest_without: Duration,
    /// The sum of all times in which two hosts or more had it.
    pub doubled: Duration,
    /// Two hosts had it at the end of the window: nothing seen would ever end it.
    pub doubled_at_end: bool,
    /// How often a host got it that was not the last to have it.
    pub moves: u32,
    /// Who had it at the end.
    pub holders: Vec<String>,
}

impl Watch {
    pub(crate) fn new(lab: Lab, address: IpAddr) -> Watch {
        Watch { lab, address }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    fn changes(&self) -> Vec<Change> {
        self.lab.inner.ledger.changes().iter().filter(|c| c.address == self.address).cloned().collect()
    }

    /// All intervals since the laboratory began, by their begin.
    pub fn intervals(&self) -> Vec<Interval> {
        intervals(&self.changes())
    }

    /// Who has it now.
    pub fn holders(&self) -> Vec<String> {
        self.intervals().into_iter().filter(|i| i.to.is_none()).map(|i| i.host).collect()
    }

    /// The account of a window of the laboratory's time.
    pub fn account(&self, from: Duration, to: Duration) -> Account {
        account(&self.intervals(), from, to)
    }

    /// Waits until exactly these hosts have the address.
    pub fn wait_holders(&self, hosts: &[&str], patience: Duration) -> Result<()> {
        let mut wanted: Vec<&str> = hosts.to_vec();
        wanted.sort_unstable();
        let reached = |changes: &[Change]| {
            let mut present: BTreeMap<&str, bool> = BTreeMap::new();
            for change in changes.iter().filter(|c| c.address == self.address) {
                present.insert(&change.host, change.present);
            }
            present.into_iter().filter(|(_, has)| *has).map(|(host, _)| host).eq(wanted.iter().copied())
        };
        if self.lab.inner.ledger.wait(patience, reached) {
            return Ok(());
        }
        let (wanted, holders) = (hosts.join(" and "), self.holders().join(" and "));
        let what = format!("{} on {wanted} (it is on: {holders})", self.address);
        Err(Error::Late { what, waited: patience })
    }

    /// Waits until exactly these hosts have the address, and nobody else had it or lost it for `quiet`: two that begin at once
    /// may both take it, and one lets go when it hears the other.
    pub fn wait_settled(&self, hosts: &[&str], quiet: Duration, patience: Duration) -> Result<()> {
        let end = self.lab.now() + patience;
        loop {
            self.wait_holders(hosts, end.saturating_sub(self.lab.now()))?;
            let last = self.changes().last().map_or(Duration::ZERO, |change| change.at);
            let left = (last + quiet).saturating_sub(self.lab.now());
            if left.is_zero() {
                return Ok(());
            }
            if self.lab.now() > end {
                let what = format!("{} to rest on {}", self.address, hosts.join(" and "));
                return Err(Error::Late { what, waited: patience });
            }
            std::thread::sleep(left);
        }
    }
}

fn intervals(changes: &[Change]) -> Vec<Interval> {
    let mut intervals: Vec<Interval> = Vec::new();
    for change in changes {
        let open = intervals.iter_mut().rev().find(|i| i.host == change.host && i.to.is_none());
        match (open, change.present) {
            (Some(interval), false) => interval.to = Some(change.at),
            (None, true) => intervals.push(Interval { host: change.host.clone(), from: change.at, to: None }),
            _ => {}
        }
    }
    intervals.sort_by_key(|interval| interval.from);
    intervals
}

pub(crate) fn account(intervals: &[Interval], from: Duration, to: Duration) -> Account {
    let mut edges: Vec<Duration> = vec![from, to];
    edges.extend(
        intervals.iter().flat_map(|i| [Some(i.from), i.to]).flatten().filter(|at| *at > from && *at < to),
    );
    edges.sort_unstable();
    edges.dedup();
    let mut account = Account { window: to.saturating_sub(from), ..Account::default() };
    let mut gap = Duration::ZERO;
    for pair in edges.windows(2) {
        let &[start, end] = pair else { continue };
        let length = end - start;
        let holders = holding(intervals, start).count();
        gap = if holders == 0 { gap + length } else { Duration::ZERO };
        account.longest_without = account.longest_without.max(gap);
        match holders {
            0 => account.without += length,
            1 => {}
            _ => account.doubled += length,
        }
        account.holders = holding(intervals, start).map(|i| i.host.clone()).collect();
    }
    account.doubled_at_end = account.holders.len() > 1;
    account.moves = moves(intervals, from, to);
    account
}

/// Those that are open right after `at`.
fn holding(intervals: &[Interval], at: Duration) -> impl Iterator<Item = &Interval> {
    intervals.iter().filter(move |i| i.from <= at && i.to.is_none_or(|to| to > at))
}

fn moves(intervals: &[Interval], from: Duration, to: Duration) -> u32 {
    let begun = intervals.iter().filter(|i| i.from > from && i.from < to);
    let moved = begun.filter(|new| {
        let before = intervals.iter().filter(|i| i.from < new.from);
        let last = before.max_by_key(|i| (i.to.map_or(new.from, |to| to.min(new.from)), i.from));
        last.is_some_and(|last| last.host != new.host)
    });
    u32::try_from(moved.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn change(at: u64, host: &str, present: bool) -> Change {
        Change {
            at: ms(at),
            host: host.to_owned(),
            address: "10.0.0.9".parse().expect("an address"),
            present,
        }
    }

    #[test]
    fn a_clean_move_leaves_a_gap_and_no_double() {
        let all = intervals(&[change(0, "a", true), change(1000, "a", false), change(1600, "b", true)]);
        let account = account(&all, ms(500), ms(3000));
        assert_eq!((account.without, account.doubled, account.moves), (ms(600), ms(0), 1));
        assert_eq!(account.holders, ["b"]);
    }

    #[test]
    fn two_holders_at_the_end_are_doubled_for_ever() {
        let all = intervals(&[change(0, "a", true), change(3000, "b", true)]);
        let account = account(&all, ms(500), ms(5000));
        assert_eq!((account.without, account.doubled, account.doubled_at_end), (ms(0), ms(2000), true));
    }

    #[test]
    fn there_and_back_are_two_moves_and_the_same_host_again_is_none() {
        let there_and_back = [
            change(0, "a", true),
            change(1000, "a", false),
            change(2000, "b", true),
            change(3000, "b", false),
            change(3001, "a", true),
        ];
        assert_eq!(account(&intervals(&there_and_back), ms(500), ms(5000)).moves, 2);
        let again = [change(0, "a", true), change(1000, "a", false), change(1500, "a", true)];
        let account = account(&intervals(&again), ms(500), ms(5000));
        assert_eq!((account.moves, account.longest_without), (0, ms(500)));
    }

    #[test]
    fn a_short_guest_before_the_window_is_not_the_last_holder() {
        let all = intervals(&[
            change(0, "a", true),
            change(100, "b", true),
            change(110, "b", false),
            change(1000, "a", false),
            change(1300, "b", true),
        ]);
        assert_eq!(account(&all, ms(500), ms(5000)).moves, 1);
    }
}
