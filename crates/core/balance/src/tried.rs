//! One request's memory between its attempts.

use crate::group::Group;
use crate::peer::PeerState;
use std::sync::Arc;

/// Which peers a request had already, and where its hash stands. The default is a new request; it allocates nothing
/// while the peers that it tries stand among the first 64 of the group and do not fail. When the group changes between
/// two attempts, what was tried stays tried and everything else starts over.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// The list of the selector that the indices belong to; 0 before the first choice.
    pub(crate) epoch: u64,
    /// Peers whose attempts failed, for the day that the indices mean others.
    pub(crate) failed: Vec<Arc<PeerState>>,
    first: u64,
    rest: Vec<u64>,
    /// The primaries gave nothing: from here on only backups.
    pub(crate) backup: bool,
    /// Hashed or thrown choices that did not hold. Past [`Tried::MISSES`] round robin decides.
    pub(crate) misses: u8,
    /// Hash value, or place on the ring; None before the first choice.
    pub(crate) hash: Option<u32>,
    /// How many times the key was hashed.
    pub(crate) rehash: u32,
    /// The attempt counts among the unanswered of `least_time ... inflight`.
    pub(crate) inflight: bool,
}

/// Where the choice of a request stands, to start again from there.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    backup: bool,
    misses: u8,
    hash: Option<u32>,
    rehash: u32,
}

impl Tried {
    /// After this many misses the hashing methods leave the choice to round robin (nginx's number).
    pub(crate) const MISSES: u8 = 20;

    /// Whether the request had the peer already.
    pub fn contains(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => self.first,
            word => self.rest.get(word - 1).copied().unwrap_or(0),
        };
        word & (1 << (index % 64)) != 0
    }

    /// Whether the choice has come down to the backups.
    pub fn on_backups(&self) -> bool {
        self.backup
    }

    /// The peers are those of `group` from here on.
    pub(crate) fn enter(&mut self, epoch: u64, group: &Group) {
        if self.epoch != 0 {
            let failed = std::mem::take(&mut self.failed);
            *self = Tried::default();
            for state in &failed {
                if let Some(index) = group.position(state) {
                    self.insert(index);
                }
            }
            self.failed = failed;
        }
        self.epoch = epoch;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { backup: self.backup, misses: self.misses, hash: self.hash, rehash: self.rehash }
    }

    pub(crate) fn go_back(&mut self, mark: Mark) {
        let Mark { backup, misses, hash, rehash } = mark;
        (self.backup, self.misses, self.hash, self.rehash) = (backup, misses, hash, rehash);
    }

    pub(crate) fn insert(&mut self, index: usize) {
        let bit = 1 << (index % 64);
        match index / 64 {
            0 => self.first |= bit,
            word => {
                if self.rest.len() < word {
                    self.rest.resize(word, 0);
                }
                self.rest[word - 1] |= bit;
            }
        }
    }

    /// Notes a miss; true when there were too many.
    pub(crate) fn miss(&mut self) -> bool {
        self.misses = self.misses.saturating_add(1);
        self.gave_up()
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.misses > Tried::MISSES
    }
}
