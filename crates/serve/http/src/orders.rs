//! The orders that wait for one data thread.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use weir_model::{LogTarget, UpstreamKey};

use crate::live::Prepared;
use crate::membership::Membership;

/// What a thread is to do.
pub(crate) enum Order {
    Apply {
        /// The number that is served once this is done.
        change: u64,
        prepared: Arc<Prepared>,
        /// Of each upstream.
        memberships: Vec<Arc<Membership>>,
        listeners: Vec<Vec<OwnedFd>>,
        done: std::sync::mpsc::Sender<()>,
    },
    /// Other peers of one upstream.
    Publish {
        change: u64,
        key: UpstreamKey,
        membership: Arc<Membership>,
    },
    /// A change that is served by all that came before.
    Count {
        change: u64,
    },
    /// States of peers may be others than before.
    Look,
    Reopen {
        files: Arc<HashMap<LogTarget, Arc<OwnedFd>>>,
    },
    Quit {
        limit: Option<Duration>,
    },
}

/// A queue from the owner of the threads to one of them. A slow thread finds only the newest peers of each upstream in it:
/// it is as long as there are upstreams, at most.
#[derive(Default)]
pub(crate) struct Orders {
    queue: Mutex<Queue>,
    bell: Notify,
}

#[derive(Default)]
struct Queue {
    orders: VecDeque<Order>,
    closed: bool,
}

impl Orders {
    /// False when the thread has ended.
    pub(crate) fn push(&self, order: Order) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            return false;
        }
        queue.push(order);
        drop(queue);
        self.bell.notify_one();
        true
    }

    /// Waits for the next order.
    pub(crate) async fn next(&self) -> Order {
        loop {
            if let Some(order) = self.lock().orders.pop_front() {
                return order;
            }
            self.bell.notified().await;
        }
    }

    /// The thread ends: what is still here is given up.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.orders.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic elsewhere leaves orders that still hold.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, order: Order) {
        match order {
            Order::Publish { change, key, membership } => self.publish(change, key, membership),
            Order::Count { change } => self.count(change),
            Order::Look if matches!(self.orders.back(), Some(Order::Look)) => {}
            order => self.orders.push_back(order),
        }
    }

    /// Newer peers take the place of older ones that still wait; what was ordered behind those stays behind, and so does
    /// the number of the newer ones.
    fn publish(&mut self, change: u64, key: UpstreamKey, membership: Arc<Membership>) {
        let recent = self.orders.iter_mut().rev().take_while(|order| !matches!(order, Order::Apply { .. }));
        let same = recent.into_iter().find_map(|order| match order {
            Order::Publish { key: waiting, membership, .. } if *waiting == key => Some(membership),
            _ => None,
        });
        match same {
            Some(waiting) => {
                *waiting = membership;
                self.count(change);
            }
            None => self.orders.push_back(Order::Publish { change, key, membership }),
        }
    }

    fn count(&mut self, newer: u64) {
        match self.orders.back_mut() {
            Some(Order::Count { change }) => *change = newer,
            _ => self.orders.push_back(Order::Count { change: newer }),
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_balance::PeerSpec;
    use weir_model::Upstream;

    use super::*;
    use crate::membership::Rules;

    fn key(name: &str) -> UpstreamKey {
        UpstreamKey { name: name.to_owned(), port: 0, implicit: false }
    }

    fn publish(orders: &Orders, change: u64, name: &str) {
        let rules = Rules::of(&Upstream { name: name.to_owned(), ..crate::membership::tests::upstream() });
        let members = vec![(PeerSpec::new(format!("127.0.0.1:{change}")), Arc::default())];
        let membership = Arc::new(Membership::new(&rules, members, None));
        assert!(orders.push(Order::Publish { change, key: key(name), membership }));
    }

    /// What waits, as `NAME CHANGE PEER`.
    fn waiting(orders: &Orders) -> Vec<String> {
        let show = |order: &Order| match order {
            Order::Publish { change, key, membership } => {
                format!("{key} {change} {}", membership.group.peers()[0].spec.name)
            }
            Order::Count { change } => format!("count {change}"),
            Order::Quit { .. } => "quit".to_owned(),
            Order::Look => "look".to_owned(),
            Order::Apply { .. } | Order::Reopen { .. } => "other".to_owned(),
        };
        orders.lock().orders.iter().map(show).collect()
    }

    #[test]
    fn newer_peers_stand_where_the_older_ones_stood_and_count_behind_all() {
        let orders = Orders::default();
        for (change, name) in [(1, "a"), (2, "b"), (3, "a"), (4, "a"), (5, "b")] {
            publish(&orders, change, name);
        }
        assert_eq!(waiting(&orders), ["a 1 127.0.0.1:4", "b 2 127.0.0.1:5", "count 5"]);
    }

    #[test]
    fn one_look_is_enough() {
        let orders = Orders::default();
        for change in [1, 2] {
            publish(&orders, change, "a");
            assert!(orders.push(Order::Look) && orders.push(Order::Look));
        }
        assert_eq!(waiting(&orders), ["a 1 127.0.0.1:2", "look", "count 2", "look"]);
    }

    #[test]
    fn a_thread_that_has_ended_takes_no_orders() {
        let orders = Orders::default();
        publish(&orders, 1, "a");
        orders.close();
        assert!(waiting(&orders).is_empty());
        assert!(!orders.push(Order::Quit { limit: None }));
    }
}
