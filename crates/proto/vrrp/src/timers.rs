//! The deadlines of one virtual router.

use crate::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Master_Down_Timer (RFC 9568 section 6.1).
    Down,
    /// Adver_Timer (RFC 9568 section 6.1).
    Advert,
    /// The leases are renewed.
    Renew,
    /// The second burst of gratuitous ARP after the change to master.
    SecondBurst,
    /// The next refreshing burst.
    Refresh,
    /// The second burst after an advertisement of lower priority.
    LowerPriority,
    /// The addresses are probed for others that have them.
    Probe,
    /// Addresses that could not be held are tried again.
    HoldRetry,
    /// Another owner should have gone by now.
    Rogue,
    /// A predecessor's addresses cannot be taken over any more.
    Adoption,
}

impl Timer {
    const ALL: [Self; 10] = [
        Self::Adoption,
        Self::Advert,
        Self::Renew,
        Self::Down,
        Self::Rogue,
        Self::HoldRetry,
        Self::SecondBurst,
        Self::LowerPriority,
        Self::Refresh,
        Self::Probe,
    ];
}

/// At most one deadline of each kind; the earliest is at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    at: [Option<Time>; Timer::ALL.len()],
    next: Option<Time>,
}

impl Timers {
    pub(crate) fn arm(&mut self, timer: Timer, at: Time) {
        self.put(timer, Some(at));
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    pub(crate) fn clear_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn at(&self, timer: Timer) -> Option<Time> {
        self.at.get(timer as usize).copied().flatten()
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.next
    }

    /// Takes one timer that has run out, with its deadline.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<(Timer, Time)> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        let (timer, at) = Timer::ALL
            .into_iter()
            .filter_map(|timer| Some((timer, self.at(timer)?)))
            .min_by_key(|(_, at)| *at)?;
        self.clear(timer);
        Some((timer, at))
    }

    fn put(&mut self, timer: Timer, at: Option<Time>) {
        if let Some(slot) = self.at.get_mut(timer as usize) {
            *slot = at;
        }
        self.next = self.at.iter().flatten().min().copied();
    }
}
