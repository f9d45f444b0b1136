//! The book of orders: what operators said, by upstream and peer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use weir_model::Level;

use crate::{Action, AdminState, Memory, Now, Remembered};

/// How long an order for a peer that is not there is kept.
pub(crate) const ABSENCE: u64 = 24 * 60 * 60 * 1000;

/// Orders by the upstream's name and the peer's.
#[derive(Debug, Default)]
pub(crate) struct Book {
    orders: HashMap<String, HashMap<String, Arc<Remembered>>>,
}

impl Book {
    pub(crate) fn new(memory: Memory) -> Book {
        let mut book = Book::default();
        for order in memory.orders {
            book.insert(order);
        }
        book
    }

    pub(crate) fn insert(&mut self, order: Remembered) -> Arc<Remembered> {
        let order = Arc::new(order);
        let peers = self.orders.entry(order.upstream.clone()).or_default();
        peers.insert(order.peer.clone(), Arc::clone(&order));
        order
    }

    pub(crate) fn remove(&mut self, upstream: &str, peer: &str) -> bool {
        let Some(peers) = self.orders.get_mut(upstream) else { return false };
        let removed = peers.remove(peer).is_some();
        if peers.is_empty() {
            self.orders.remove(upstream);
        }
        removed
    }

    pub(crate) fn find(&self, upstream: &str, peer: &str) -> Option<&Arc<Remembered>> {
        self.orders.get(upstream)?.get(peer)
    }

    /// The order for a peer that is a member from now on; true: the book is another one.
    pub(crate) fn arrive(&mut self, upstream: &str, peer: &str) -> Option<(Arc<Remembered>, bool)> {
        let order = self.orders.get_mut(upstream)?.get_mut(peer)?;
        let changed = order.absent.is_some();
        if changed {
            Arc::make_mut(order).absent = None;
        }
        Some((Arc::clone(order), changed))
    }

    /// A peer left; true: the book is another one.
    pub(crate) fn leave(&mut self, upstream: &str, peer: &str, now: Now) -> bool {
        let order = self.orders.get_mut(upstream).and_then(|peers| peers.get_mut(peer));
        let Some(order) = order.filter(|order| order.absent.is_none()) else { return false };
        Arc::make_mut(order).absent = Some(now.unix);
        true
    }

    /// Notes who is absent; `is_member` by upstream and peer. True: the book is another one.
    pub(crate) fn call(&mut self, now: Now, is_member: impl Fn(&str, &str) -> bool) -> bool {
        let mut changed = false;
        for order in self.orders.values_mut().flat_map(HashMap::values_mut) {
            let absent = !is_member(&order.upstream, &order.peer);
            if absent != order.absent.is_some() {
                Arc::make_mut(order).absent = absent.then_some(now.unix);
                changed = true;
            }
        }
        changed
    }

    fn end(order: &Remembered) -> Option<u64> {
        let absence = order.absent.map(|since| since.saturating_add(ABSENCE));
        [order.expires, absence].into_iter().flatten().min()
    }

    /// When the next order ends, milliseconds since 1970.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.orders.values().flat_map(HashMap::values).filter_map(|order| Book::end(order)).min()
    }

    /// Takes out the orders that have ended.
    pub(crate) fn ended(&mut self, now: Now) -> Vec<Arc<Remembered>> {
        let mut ended = Vec::new();
        self.orders.retain(|_, peers| {
            peers.retain(|_, order| {
                let over = Book::end(order).is_some_and(|end| end <= now.unix);
                if over {
                    ended.push(Arc::clone(order));
                }
                !over
            });
            !peers.is_empty()
        });
        ended
    }

    /// In the order of names, so that equal books are equal documents.
    pub(crate) fn memory(&self) -> Memory {
        let orders = self.orders.values().flat_map(HashMap::values);
        let mut orders: Vec<Remembered> = orders.map(|order| order.as_ref().clone()).collect();
        orders.sort_by(|one, other| (&one.upstream, &one.peer).cmp(&(&other.upstream, &other.peer)));
        Memory { orders }
    }
}

impl Remembered {
    /// An order that says nothing is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.state == AdminState::Up && self.weight.is_none() && self.percent.is_none()
    }
}

/// What is to be done outside.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) actions: VecDeque<Action>,
    pub(crate) remember: bool,
    /// Counts everything that `status` shows, requests and ages aside.
    pub(crate) version: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn note(&mut self, level: Level, text: String) {
        self.push(Action::Note { level, text });
    }

    pub(crate) fn poll(&mut self) -> Option<Action> {
        let next = self.actions.pop_front();
        next.or_else(|| std::mem::take(&mut self.remember).then_some(Action::Remember))
    }
}

/// What every step needs: the moment, the orders, and where actions go.
pub(crate) struct Scene<'a> {
    pub(crate) now: Now,
    pub(crate) book: &'a mut Book,
    pub(crate) out: &'a mut Outbox,
}
