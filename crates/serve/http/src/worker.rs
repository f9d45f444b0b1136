//! The worker: data threads and the orders they get from the keeper.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use weir_balance::Member;
use weir_http::Site;
use weir_model::{Config, LogTarget, WorkerCount};

use crate::live::Prepared;
use crate::orders::{Order, Orders};
use crate::publisher::{Publisher, Running};
use crate::resolve::Resolve;
use crate::thread::{self, Counters, Shared};

/// Bytes of a data thread's stack. Pages that include one another to the greatest depth need the most; what is
/// never used costs no memory.
const STACK: usize = 16 << 20;

/// A configuration with the open files it needs.
#[derive(Debug)]
pub struct Generation {
    pub number: u64,
    pub config: Arc<Config>,
    /// In the order of the model's listeners; one socket for each data thread, or fewer. Empty for an address
    /// that the socket of another listener (a wildcard) accepts for.
    pub listeners: Vec<Vec<OwnedFd>>,
    /// Open files of all logs.
    pub logs: HashMap<LogTarget, OwnedFd>,
    /// The peers of each upstream, in the model's order.
    pub members: Vec<Vec<Member>>,
    /// The number of the change that `members` come from; see [`Publisher`].
    pub change: u64,
}

/// The data threads of one process.
pub struct Worker {
    shared: Arc<Shared>,
    publisher: Publisher,
    threads: Vec<Running>,
    current: Option<Arc<Prepared>>,
}

impl Default for Worker {
    fn default() -> Self {
        Self::start()
    }
}

impl Worker {
    /// A worker without threads; the first generation starts them. Names in variables are not resolved.
    #[must_use]
    pub fn start() -> Self {
        Self::new(None)
    }

    /// The same with somebody who resolves names.
    #[must_use]
    pub fn start_with(resolve: Arc<dyn Resolve>) -> Self {
        Self::new(Some(resolve))
    }

    fn new(resolve: Option<Arc<dyn Resolve>>) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let shared = Arc::new(Shared { hostname, resolve, ..Shared::default() });
        let publisher = Publisher::new(Arc::clone(&shared));
        Self { shared, publisher, threads: Vec::new(), current: None }
    }

    /// Who gives upstreams other peers between two generations.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Puts a generation in force on every thread and returns when all serve it. Peers that were published with a higher
    /// number than the generation's stay.
    ///
    /// # Errors
    /// When the configuration cannot be compiled or the lists of members are not one for each upstream; nothing has
    /// changed then.
    pub fn apply(&mut self, generation: Generation) -> Result<(), String> {
        let Generation { number, config, listeners, logs, members, change } = generation;
        let count = match config.process.worker_processes {
            WorkerCount::Fixed(count) => count.max(1) as usize,
            WorkerCount::Auto => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        let site = Site::new(config).map_err(|error| error.to_string())?;
        let upstreams = site.http().upstreams.len();
        if members.len() != upstreams {
            let lists = members.len();
            return Err(format!(
                "there are {lists} lists of peers for {upstreams} upstreams, which has to be one for each"
            ));
        }
        let sockets = distribute(listeners, count)?;
        let prepared = Arc::new(Prepared::new(number, site, logs, self.current.as_deref()));
        while self.threads.len() < count {
            self.spawn()?;
        }
        self.order(&prepared, members, change, sockets)?;
        self.current = Some(prepared);
        // Threads beyond the new number finish what they have; the sockets are shared by the others.
        for surplus in self.threads.drain(count.min(self.threads.len())..) {
            let _ = surplus.orders.push(Order::Quit { limit: None });
        }
        Ok(())
    }

    /// Has all threads take a generation.
    fn order(
        &self,
        prepared: &Arc<Prepared>,
        members: Vec<Vec<Member>>,
        change: u64,
        mut sockets: Vec<Vec<Vec<OwnedFd>>>,
    ) -> Result<(), String> {
        let (done, all) = std::sync::mpsc::channel();
        let mut asked = 0;
        let count = sockets.len();
        sockets.resize_with(self.threads.len(), Vec::new);
        // What is published meanwhile stands behind the generation in every queue.
        let mut board = self.publisher.lock();
        let (change, memberships) = board.install(change, &prepared.site.http().upstreams, members);
        for (running, listeners) in self.threads.iter().zip(sockets) {
            let (prepared, memberships, done) = (Arc::clone(prepared), memberships.clone(), done.clone());
            let order = Order::Apply { change, prepared, memberships, listeners, done };
            asked += usize::from(running.orders.push(order));
        }
        board.threads = self.threads.iter().take(count).cloned().collect();
        drop((board, done));
        for _ in 0..asked {
            all.recv().map_err(|_| "a data thread ended before it took the configuration".to_owned())?;
        }
        Ok(())
    }

    fn spawn(&mut self) -> Result<(), String> {
        let index = self.threads.len();
        let counters = Arc::new(Counters::default());
        // It has nothing that an earlier change could be missing in.
        counters.served.store(self.publisher.served(), Release);
        self.shared
            .counters
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(Arc::clone(&counters));
        let orders = Arc::new(Orders::default());
        let received = Arc::clone(&orders);
        let (shared, mine) = (Arc::clone(&self.shared), Arc::clone(&counters));
        std::thread::Builder::new()
            .stack_size(STACK)
            .name(format!("data-{index}"))
            .spawn(move || thread::run(index, shared, mine, received))
            .map_err(|error| format!("a data thread cannot be started: {error}"))?;
        self.threads.push(Running { orders, counters });
        Ok(())
    }

    /// Log files were opened again: all lines from now on go to these.
    pub fn reopen(&self, logs: HashMap<LogTarget, OwnedFd>) {
        let Some(current) = &self.current else { return };
        let mut files = HashMap::new();
        for (target, fd) in logs {
            if let (Some(file), Ok(copy)) = (current.files.get(&target), fd.try_clone()) {
                file.replace(copy);
            }
            files.insert(target, Arc::new(fd));
        }
        let files = Arc::new(files);
        for running in &self.threads {
            let _ = running.orders.push(Order::Reopen { files: Arc::clone(&files) });
        }
    }

    /// Graceful end: no new connections, idle ones are closed, requests finish. After `limit` all is closed.
    pub fn quit(&mut self, limit: Option<Duration>) {
        for running in &self.threads {
            let _ = running.orders.push(Order::Quit { limit });
        }
    }

    /// Requests that still run on an older generation.
    #[must_use]
    pub fn outdated(&self) -> u64 {
        self.threads.iter().map(|running| running.counters.outdated.load(Relaxed)).sum()
    }

    /// Whether all threads have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(|running| running.counters.finished.load(Relaxed))
    }

    /// A number for each data thread that grows ten times a second while its loop turns.
    #[must_use]
    pub fn progress(&self) -> Vec<u64> {
        self.threads.iter().map(|running| running.counters.beats.load(Relaxed)).collect()
    }
}

/// Shares out the sockets of each listener: every socket has a thread, every thread has a socket.
fn distribute(listeners: Vec<Vec<OwnedFd>>, threads: usize) -> Result<Vec<Vec<Vec<OwnedFd>>>, String> {
    let mut shares: Vec<Vec<Vec<OwnedFd>>> = (0..threads).map(|_| Vec::new()).collect();
    for sockets in listeners {
        for (thread, share) in shares.iter_mut().enumerate() {
            let own = sockets.iter().enumerate().filter(|(index, _)| {
                index % threads == thread || (!sockets.is_empty() && thread % sockets.len() == *index)
            });
            let copies: Result<Vec<OwnedFd>, _> = own.map(|(_, socket)| socket.try_clone()).collect();
            share.push(copies.map_err(|error| format!("a listening socket cannot be shared: {error}"))?);
        }
    }
    Ok(shares)
}
