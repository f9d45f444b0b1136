//! The peers of one upstream, in the order in which they came.

use std::collections::HashMap;

use weir_balance::{Bars, Member};
use weir_model::{ListenAddress, Peer};

use crate::record::{From, News, Record, Seat};

/// Places that are empty are closed when they are this many, and more than an eighth of those that are taken.
const HOLES: usize = 64;

/// Peers by place and by address. A peer keeps its place as long as it is a member, and new ones come at the end, so
/// that what is balanced by position changes as little as can be.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    places: Vec<Option<Record>>,
    by_address: HashMap<ListenAddress, usize>,
    /// Peers that left with a change that is not served by all yet: some thread may still have no other peer.
    leaving: HashMap<ListenAddress, (u64, Record)>,
    /// The same for further seats of peers that stay.
    lost_seats: Vec<(u64, Seat)>,
    round: u64,
    /// Where the next peer of a list that has kept its order will be.
    next: usize,
}

/// What the end of a round brings for a peer.
pub(crate) enum Fate<'a> {
    /// It stays, and something about it is new.
    Stays(&'a mut Record, News),
    Leaves(&'a Record),
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> + Clone {
        self.places.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.places.iter_mut().flatten()
    }

    /// Members and those that are about to leave.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        let leaving = self.leaving.values_mut().map(|(_, record)| record);
        self.places.iter_mut().flatten().chain(leaving)
    }

    pub(crate) fn find(&self, address: &ListenAddress) -> Option<&Record> {
        self.places.get(*self.by_address.get(address)?)?.as_ref()
    }

    pub(crate) fn find_mut(&mut self, address: &ListenAddress) -> Option<&mut Record> {
        self.places.get_mut(*self.by_address.get(address)?)?.as_mut()
    }

    /// A new round of naming all members begins.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.next = 0;
    }

    fn place(&self, address: &ListenAddress) -> Option<usize> {
        let expected = self.places.get(self.next).and_then(Option::as_ref);
        match expected {
            Some(record) if record.first.spec.address == *address => Some(self.next),
            _ => self.by_address.get(address).copied(),
        }
    }

    /// Somebody names a peer. Returns the record of one that was no member.
    pub(crate) fn claim(&mut self, peer: &Peer, from: From, checks: usize) -> Option<&mut Record> {
        let round = self.round;
        if let Some(place) = self.place(&peer.address)
            && let Some(record) = self.places.get_mut(place).and_then(Option::as_mut)
        {
            self.next = place + 1;
            record.claim(peer, from, round);
            return None;
        }
        // One that left a moment ago and comes back is still the same.
        let mut record = match self.leaving.remove(&peer.address) {
            Some((_, record)) => record,
            None => Record::new(peer, from, checks),
        };
        record.renew();
        record.claim(peer, from, round);
        let place = self.places.len();
        self.by_address.insert(peer.address.clone(), place);
        self.next = place + 1;
        self.places.push(Some(record));
        self.places.last_mut().and_then(Option::as_mut)
    }

    /// Ends the round: those whom nobody named leave with `change`.
    pub(crate) fn conclude(&mut self, change: u64, mut tell: impl FnMut(Fate<'_>)) {
        let round = self.round;
        for place in &mut self.places {
            let Some(record) = place else { continue };
            if record.is_claimed(round) {
                let (news, seats) = record.conclude();
                if news.any || news.group {
                    tell(Fate::Stays(record, news));
                }
                self.lost_seats.extend(seats.into_iter().map(|seat| (change, seat)));
            } else if let Some(record) = place.take() {
                tell(Fate::Leaves(&record));
                let address = record.first.spec.address.clone();
                self.by_address.remove(&address);
                self.leaving.insert(address, (change, record));
            }
        }
        self.close_holes();
    }

    fn close_holes(&mut self) {
        let holes = self.places.len() - self.by_address.len();
        if holes < HOLES || holes <= self.by_address.len() / 8 {
            return;
        }
        self.places.retain(Option::is_some);
        for (place, record) in self.places.iter().flatten().enumerate() {
            if let Some(known) = self.by_address.get_mut(&record.first.spec.address) {
                *known = place;
            }
        }
    }

    /// All data threads serve `change`: who left with it gets no attempt any more.
    pub(crate) fn serve(&mut self, change: u64) {
        self.leaving.retain(|_, (with, record)| {
            let gone = *with <= change;
            if gone {
                record.remove();
            }
            !gone
        });
        self.lost_seats.retain(|(with, seat)| {
            let gone = *with <= change;
            if gone {
                seat.state.bar(Bars::REMOVED);
            }
            !gone
        });
    }

    /// Everybody leaves at once.
    pub(crate) fn remove(&self) {
        self.iter().chain(self.leaving.values().map(|(_, record)| record)).for_each(Record::remove);
        self.lost_seats.iter().for_each(|(_, seat)| seat.state.bar(Bars::REMOVED));
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let mut members = Vec::with_capacity(self.len());
        members.extend(self.iter().flat_map(Record::seats).map(Seat::member));
        members
    }
}
