//! Everything about virtual routers that touches files, processes and mail, in threads without real-time priority: one
//! for scripts, pipes and trackers, one that writes lines and dumps, one that sends mail.

mod checks;
mod children;
mod dump;
mod fifo;
mod files;
mod history;
mod mail;
mod processes;
mod queue;
mod runner;
mod security;
mod writer;

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use weir_log::Level;
use weir_model::vrrp::Vrrp;
use weir_net::Waker;
use weir_vrrp::{Finding, Notice, NoticeState, Status, Subject, Tracker};

use dump::Kind;
pub(crate) use history::{History, HistoryEntry};
use mail::Mailer;
use runner::{Order, Runner};
use writer::Log;

/// Where log lines go. It is called by one thread of the attendant alone, and may wait for a disk.
pub type Journal = Arc<dyn Fn(Level, String) + Send + Sync>;

/// Who is told what trackers found. It is called by the thread that runs scripts, so it must not wait.
pub(crate) type Findings = Arc<dyn Fn(Tracker, Finding) + Send + Sync>;

/// What the last log lines have to be written, when the patience of [`Attendant::stop`] is used up.
const LAST_LINES: Duration = Duration::from_millis(100);

/// What the attendant has to know besides the configuration.
#[derive(Clone)]
pub(crate) struct Context {
    /// In the subject of mails where the configuration has no `router_id`: the name of the host.
    pub router_id: String,
    /// The name of the host: HELO and sender of mails where the configuration has none.
    pub host: String,
    pub journal: Journal,
    /// The node has been running: its `startup_script` has had its time.
    pub running: bool,
}

/// Runs check scripts, notify scripts, pipes, mail and dumps, and follows tracked files and processes.
///
/// None of its calls waits, but for [`Attendant::start`] and [`Attendant::stop`]. Dropping it ends its threads without
/// regard for notify scripts.
pub(crate) struct Attendant {
    orders: Orders,
    runner: JoinHandle<()>,
    log: Log,
    /// Ends when the threads that write and mail have ended.
    others: Mutex<Receiver<()>>,
}

/// The way to the runner, which ends when this is dropped.
struct Orders {
    sender: Sender<Order>,
    waker: Waker,
}

impl Attendant {
    /// Runs `startup_script` where a node starts, waits for its end or its timeout, and starts the threads.
    ///
    /// Call it from a thread without real-time priority and with signals blocked: the new threads take both over.
    ///
    /// # Errors
    ///
    /// Threads, an event file or an inotify instance could not be made.
    pub(crate) fn start(config: Arc<Vrrp>, context: Context, findings: Findings) -> io::Result<Self> {
        let (alive, others) = channel();
        let log = Log::start(context.journal, alive.clone())?;
        if let (Some(hook), false) = (&config.globals.startup_script, context.running) {
            runner::run_hook(hook, &config.globals, &log);
        }
        let router_id = context.router_id;
        let mailer = Mailer::start(&config, router_id.clone(), context.host, log.clone(), alive)?;
        let (sender, inbox) = channel();
        let waker = Waker::new()?;
        let orders = Orders { sender, waker: waker.clone() };
        let runner = Runner::new(inbox, waker, log.clone(), findings, mailer, router_id, config)?;
        let runner = thread::Builder::new().name("weir-attendant".into()).spawn(move || runner.run())?;
        Ok(Self { orders, runner, log, others: Mutex::new(others) })
    }

    /// Runs the scripts of a notice, writes it to the pipes and mails it.
    pub(crate) fn notify(&self, notice: Notice) {
        self.orders.send(Order::Notice(notice));
    }

    /// Writes states to the pipes alone: what `fifo_write_vrrp_states_on_reload` asks for, after [`Self::reload`].
    pub(crate) fn write_states(&self, states: Vec<(Subject, NoticeState, u8)>) {
        self.orders.send(Order::States(states));
    }

    /// Writes a line to the journal. When it takes lines too slowly, some are lost and their number is told.
    pub(crate) fn log(&self, level: Level, text: String) {
        self.log.say(level, text);
    }

    /// Takes a new configuration over. Trackers whose definition is the same keep running and keep their state; those
    /// that are gone end; pipes are closed and opened, and their scripts started, again.
    pub(crate) fn reload(&self, config: Arc<Vrrp>) {
        self.orders.send(Order::Reload(config));
    }

    /// Writes `/tmp/keepalived.data` or what `state_dump_file` says (SIGUSR1).
    pub(crate) fn dump_data(&self, status: Status) {
        self.orders.send(Order::Dump(Kind::Data, Box::new(status)));
    }

    /// Writes `/tmp/keepalived.stats` or what `stats_dump_file` says (SIGUSR2).
    pub(crate) fn dump_stats(&self, status: Status) {
        self.orders.send(Order::Dump(Kind::Stats, Box::new(status)));
    }

    /// Writes `/tmp/keepalived.json` or what `json_dump_file` says (SIGRTMIN+2).
    pub(crate) fn dump_json(&self, status: Status) {
        self.orders.send(Order::Dump(Kind::Json, Box::new(status)));
    }

    /// Leaves trackers, pipes and `shutdown_script` to another process that goes on with the node.
    pub(crate) fn leave(&self) {
        self.orders.send(Order::Leave);
    }

    /// Ends the trackers, lets the notify scripts that were asked for run out for at most `patience`, runs
    /// `shutdown_script` for at most its timeout, and ends the scripts of pipes. Notify scripts that still run then are
    /// left alone; mail that is not delivered by then is not waited for.
    pub(crate) fn stop(self, patience: Duration) {
        let end = Instant::now() + patience;
        let Self { orders, runner, log, others } = self;
        orders.send(Order::Stop(end));
        // The runner keeps the time by itself; if it panicked, there is nothing to wait for.
        _ = runner.join();
        drop((orders, log));
        let rest = end.saturating_duration_since(Instant::now()).max(LAST_LINES);
        // Either they have ended, or the time is over and they hang in a network or on a disk.
        _ = others.into_inner().unwrap_or_else(PoisonError::into_inner).recv_timeout(rest);
    }
}

impl Orders {
    fn send(&self, order: Order) {
        // The runner is there as long as this is, unless it panicked; then nothing can be done here.
        _ = self.sender.send(order);
        _ = self.waker.wake();
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        let (closed, _) = channel();
        drop(std::mem::replace(&mut self.sender, closed));
        _ = self.waker.wake();
    }
}

#[cfg(test)]
mod tests;
