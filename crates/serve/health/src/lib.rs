//! Runs active checks: one thread, one event loop, one probe for each peer and check.
//! What a result means for traffic is left to weir-directory.

mod probe;
mod runner;
mod socket;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use weir_health::{Report, Target};
use weir_model::{Level, UpstreamKey};

use runner::{Order, Runner, WAKER};

/// Where log lines go.
pub type Log = Arc<dyn Fn(Level, String) + Send + Sync>;

/// The thread that checks. It ends when this is dropped.
#[derive(Debug)]
pub struct Health {
    orders: Sender<Order>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Starts the thread. It calls `report` for each change of a verdict and for each first result; what `report` does has to
    /// be short, because all checks wait for it.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor for its events.
    pub fn start(report: impl Fn(Report) + Send + 'static, log: Log) -> io::Result<Health> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (orders, inbox) = channel();
        let run = move || {
            let result =
                catch_unwind(AssertUnwindSafe(|| Runner::new(poll, inbox, report, Arc::clone(&log)).run()));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => log(Level::Alert, format!("health checks ended: {error}; restart weir")),
                Err(_) => log(Level::Alert, "health checks ended by a fault of weir; restart it".to_owned()),
            }
        };
        let thread = std::thread::Builder::new().name("health".to_owned()).spawn(run)?;
        Ok(Health { orders, waker, thread: Some(thread) })
    }

    /// Checks a target from now on. One that is known by the same upstream, index and peer is replaced; where address and
    /// check are the same, its connection, its rhythm and a probe that runs are kept.
    pub fn watch(&self, target: Target) {
        self.order(Order::Watch(Box::new(target)));
    }

    /// Ends the check of a peer. A report that is on its way may still come.
    pub fn unwatch(&self, key: &UpstreamKey, index: usize, peer: &str) {
        self.order(Order::Unwatch(key.clone(), index, peer.to_owned()));
    }

    /// Ends all checks and waits for the thread.
    pub fn stop(mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic was caught and told by the thread itself.
            let _ = thread.join();
        }
    }

    fn order(&self, order: Order) {
        // A thread that ended said so in the log.
        if self.orders.send(order).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.order(Order::Stop);
    }
}
