//! The keeper: holds what must outlive the worker (sockets, files, configuration), obeys signals, and sees that a
//! worker serves. It reads nothing from the internet.

mod child;
mod control;
mod dump;
mod health;
mod herald;
pub(crate) mod logs;
pub(crate) mod pid_file;
mod reload;
pub(crate) mod sockets;
mod start;
mod upgrade;
mod vrrp;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use weir_model::Config;
use weir_model::vrrp::Vrrp;
use weir_net::{Received, Signal, Signals};
use weir_serve_vrrp::{Dump, Released};

pub(crate) use child::{PULSE, WORKER};
pub(crate) use herald::run_if_herald;
pub(crate) use start::{run, test};

use crate::journal::Journal;
use crate::message::{Identity, Order, Report};
use crate::place::Invocation;
use child::Child;
use control::ControlSockets;
use logs::Logs;
use sockets::Sockets;
use upgrade::Launch;
use vrrp::{Awaited, Routers};

/// What serves: everything that a reload replaces together.
struct Serving {
    generation: u64,
    config: Config,
    identity: Identity,
    sockets: Sockets,
    control: ControlSockets,
    logs: Logs,
    vrrp: Option<Vrrp>,
}

/// Serving --WINCH--> Resting --HUP--> Serving; any --QUIT--> Quitting; any --TERM, INT--> Stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A worker runs or is about to.
    Serving,
    /// Its workers were sent away, and a new binary serves.
    Resting,
    /// Workers finish what they have, then this process ends.
    Quitting,
    /// The same without finishing.
    Stopping,
}

/// After so many deaths of workers in [`DEATH_WINDOW`] the next one waits for [`DEATH_PAUSE`].
const DEATHS: usize = 5;
const DEATH_WINDOW: Duration = Duration::from_secs(10);
const DEATH_PAUSE: Duration = Duration::from_secs(1);
/// A worker that was told to stop at once, or whose limit of a graceful end is over, is killed after this.
const KILL_AFTER: Duration = Duration::from_secs(1);

struct Keeper {
    invocation: Invocation,
    launch: Launch,
    journal: Journal,
    signals: Signals,
    serving: Serving,
    /// The last one that is not leaving is the one that serves.
    workers: Vec<Child>,
    stage: Stage,
    /// Set when a reload chose other paths than the start.
    pid_path: String,
    /// A new binary that was started from here.
    successor: Option<u32>,
    daemon: bool,
    deaths: Vec<Instant>,
    restart_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// There is an nginx.conf, and so there are workers.
    proxy: bool,
    routers: Option<Routers>,
    /// Virtual routers that begin when another keeper lets go.
    awaited: Option<Awaited>,
    /// When elections that ended by a defect, or did not begin, are tried again.
    routers_at: Option<Instant>,
    /// Elections that have ended, whose scripts may still run.
    released: Option<Released>,
}

/// How often it is looked whether another keeper still holds the addresses.
const AWAIT: Duration = Duration::from_millis(50);
/// How often it is looked whether the elections still run.
const ROUTERS: Duration = Duration::from_secs(1);

impl Keeper {
    /// Obeys signals and looks after workers until the end.
    fn watch(mut self) -> ExitCode {
        loop {
            if let Err(error) = self.sleep() {
                self.journal.alert(format_args!("poll() failed {}", weir_log::Errno(&error)));
            }
            loop {
                match self.signals.take() {
                    Ok(Some(received)) => self.obey(received),
                    Ok(None) => break,
                    Err(error) => {
                        self.journal.alert(format_args!("read() failed {}", weir_log::Errno(&error)));
                        break;
                    }
                }
            }
            self.timers();
            if self.workers.is_empty() && matches!(self.stage, Stage::Quitting | Stage::Stopping) {
                return self.exit();
            }
        }
    }

    /// Waits for a signal, a report or a timer, and takes the reports.
    fn sleep(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let awaited = self.routers_wait().then(|| now + AWAIT);
        let routers = self.routers.is_some().then(|| now + ROUTERS);
        let next =
            [self.restart_at, self.kill_at, self.routers_at, awaited, routers].into_iter().flatten().min();
        let timeout = next.map(|at| {
            let wait = at.saturating_duration_since(now);
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() }
        });
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let listened = self.workers.iter().filter(|w| !w.deaf);
        fds.extend(listened.map(|worker| PollFd::from_borrowed_fd(worker.as_fd(), PollFlags::IN)));
        fds.extend(self.herald_fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds[1..].iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut told = false;
        for (worker, ready) in self.workers.iter_mut().filter(|w| !w.deaf).zip(ready) {
            if ready {
                told |= take_report(worker, &self.serving.config, &self.journal);
            }
        }
        if told {
            self.tell_routers();
        }
        self.heed_herald();
        Ok(())
    }

    fn timers(&mut self) {
        let now = Instant::now();
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.start_worker();
        }
        if self.routers_wait() {
            self.start_awaited_routers();
        }
        self.restart_routers();
        self.mend_herald();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = Some(now + KILL_AFTER);
            self.workers
                .iter()
                .filter(|worker| worker.leaving)
                .for_each(|worker| worker.signal(Signal::Kill));
        }
    }

    /// Signals in keepalived's meaning: in a node without a proxy, and those of the herald.
    fn obey_as_keepalived(&mut self, signal: Signal) {
        match signal {
            Signal::Term | Signal::Int => self.stop(),
            Signal::Hup if self.stage == Stage::Serving => self.reload(),
            Signal::Usr1 => self.dump(Dump::Data),
            Signal::Usr2 => self.dump(Dump::Stats),
            Signal::StatsClear => self.dump(Dump::StatsAndClear),
            Signal::Json => self.dump(Dump::Json),
            _ => {}
        }
    }

    fn obey(&mut self, received: Received) {
        let dumps = matches!(received.signal, Signal::Json | Signal::StatsClear);
        let switches = matches!(received.signal, Signal::Usr1 | Signal::Usr2);
        if dumps || (switches && !self.proxy) {
            self.obey_as_keepalived(received.signal);
            return;
        }
        let ending = matches!(self.stage, Stage::Quitting | Stage::Stopping);
        let busy = self.successor.is_some() || self.launch.predecessor_lives();
        let action = match received.signal {
            Signal::Quit => ", shutting down",
            Signal::Term | Signal::Int => ", exiting",
            Signal::Winch if self.daemon => ", stop accepting connections",
            Signal::Winch => "",
            Signal::Hup => ", reconfiguring",
            Signal::Usr1 => ", reopening logs",
            Signal::Usr2 if busy => ", ignoring",
            Signal::Usr2 => ", changing binary",
            Signal::Chld | Signal::Kill | Signal::Json | Signal::StatsClear => "",
        };
        let (number, name) = (received.signal.number(), received.signal.name());
        match received.from {
            0 => self.journal.notice(format_args!("signal {number} ({name}) received{action}")),
            from => {
                self.journal.notice(format_args!("signal {number} ({name}) received from {from}{action}"))
            }
        }
        match received.signal {
            Signal::Term | Signal::Int => self.stop(),
            Signal::Chld => self.reap(),
            _ if ending => {}
            Signal::Quit => self.quit(),
            Signal::Hup => self.reload(),
            Signal::Usr1 => self.reopen(),
            Signal::Usr2 if busy => self.journal.say(
                weir_log::Level::Crit,
                "the changing binary signal is ignored: you should shutdown or terminate before either old or \
                 new binary's process",
            ),
            Signal::Usr2 => self.change_binary(),
            // Without a daemon it is the terminal's window that changed.
            Signal::Winch if self.daemon => {
                // First, because the new binary's workers are watched by the new keeper.
                self.lend_routers();
                self.dismiss_workers();
                self.stage = Stage::Resting;
            }
            Signal::Winch | Signal::Kill | Signal::Json | Signal::StatsClear => {}
        }
    }

    fn quit(&mut self) {
        self.stage = Stage::Quitting;
        // Before nobody listens any more: a peer answers while this node finishes.
        self.release_routers();
        self.dismiss_workers();
        self.close_sockets();
    }

    fn stop(&mut self) {
        self.stage = Stage::Stopping;
        self.release_routers();
        self.restart_at = None;
        for worker in &mut self.workers {
            worker.leaving = true;
            if worker.send(&Order::Stop, &[]).is_err() {
                worker.signal(Signal::Kill);
            }
        }
        self.kill_at = Some(Instant::now() + KILL_AFTER);
    }

    /// Tells all workers to end when they have finished.
    fn dismiss_workers(&mut self) {
        let limit = self.serving.config.process.worker_shutdown_timeout.0;
        self.restart_at = None;
        for worker in self.workers.iter_mut().filter(|worker| !worker.leaving) {
            worker.leaving = true;
            if worker.send(&Order::Quit { limit }, &[]).is_err() {
                worker.signal(Signal::Kill);
            }
        }
        if limit > 0 {
            self.kill_at = Some(Instant::now() + Duration::from_millis(limit) + KILL_AFTER);
        }
    }

    /// Closes the listening sockets; files of unix sockets go, unless another keeper uses them.
    fn close_sockets(&mut self) {
        let sockets = std::mem::take(&mut self.serving.sockets);
        let control = std::mem::take(&mut self.serving.control);
        if self.successor.is_none() && !self.launch.predecessor_lives() {
            sockets.remove_files(&Sockets::default(), &self.journal);
            control.streams().remove_files(&Sockets::default(), &self.journal);
        }
    }

    fn reopen(&mut self) {
        self.journal.notice("reopening logs");
        self.serving.logs.reopen(&self.journal);
        self.switch_log();
        let (logs, files) = self.serving.logs.files();
        for worker in &self.workers {
            if worker.send(&Order::Reopen { logs: logs.clone() }, &files).is_err() {
                worker.signal(Signal::Kill);
            }
        }
    }

    /// Writes to the log of what serves; in the background what a library prints goes there too, so that a
    /// rotated file is let go.
    fn switch_log(&mut self) {
        self.journal.switch(self.serving.logs.error_log(&self.serving.config));
        if self.daemon
            && let Some(file) = self.serving.logs.main_file(&self.serving.config)
        {
            // Should it fail, the old file stays in use: no reason not to serve.
            let _ = weir_net::redirect_stderr(file.as_fd());
        }
    }

    fn change_binary(&mut self) {
        self.journal.notice("changing binary");
        let (path, old) = (&self.pid_path, pid_file::old(&self.pid_path));
        if !pid_file::rename(path, &old, &self.journal) {
            return;
        }
        let (_, mut sockets) = self.serving.sockets.files();
        sockets.extend(self.serving.control.streams().files().1);
        self.successor = self.launch.start(&sockets, &self.journal);
        if self.successor.is_none() {
            pid_file::rename(&old, path, &self.journal);
        }
    }

    /// Takes the status of children that ended.
    fn reap(&mut self) {
        let children = self.workers.iter().map(|worker| worker.pid).chain(self.successor);
        // Only these: scripts are children of this process as well, and others wait for them.
        let ended: Vec<_> = children.filter_map(|pid| Some((pid, weir_net::wait_pid(pid).ok()??))).collect();
        for (pid, status) in ended {
            if self.successor == Some(pid) {
                self.say_ended("new binary process", pid, status);
                self.successor = None;
                pid_file::rename(&pid_file::old(&self.pid_path), &self.pid_path, &self.journal);
                if self.stage == Stage::Resting {
                    self.stage = Stage::Serving;
                    self.start_worker();
                }
            } else if let Some(at) = self.workers.iter().position(|worker| worker.pid == pid) {
                self.say_ended("worker process", pid, status);
                let worker = self.workers.remove(at);
                if !worker.leaving && self.stage == Stage::Serving {
                    self.replace_worker();
                }
            }
        }
        self.tell_routers();
    }

    fn say_ended(&self, what: &str, pid: u32, status: ExitStatus) {
        match (status.code(), status.signal()) {
            (Some(code), _) => self.journal.notice(format_args!("{what} {pid} exited with code {code}")),
            (None, signal) => {
                let (signal, core) = (signal.unwrap_or(0), status.core_dumped());
                let dumped = if core { " (core dumped)" } else { "" };
                self.journal.alert(format_args!("{what} {pid} exited on signal {signal}{dumped}"));
            }
        }
    }

    /// Starts another worker at once, or a little later when they keep dying.
    fn replace_worker(&mut self) {
        let now = Instant::now();
        self.deaths.retain(|at| now.duration_since(*at) < DEATH_WINDOW);
        self.deaths.push(now);
        if self.deaths.len() >= DEATHS {
            self.restart_at = Some(now + DEATH_PAUSE);
        } else {
            self.start_worker();
        }
    }

    /// Starts a worker with what serves; tries again later if that fails.
    fn start_worker(&mut self) {
        if !self.proxy {
            return;
        }
        match start::spawn(&self.serving, &self.journal) {
            Ok(worker) => {
                self.workers.push(worker);
                self.tell_routers();
            }
            Err(reason) => {
                self.journal.alert(format_args!("could not respawn worker process: {reason}"));
                self.restart_at = Some(Instant::now() + DEATH_PAUSE);
            }
        }
    }

    fn exit(mut self) -> ExitCode {
        let path = &self.pid_path;
        match self.successor {
            Some(_) => pid_file::remove(&pid_file::old(path), &self.journal),
            None => pid_file::remove(path, &self.journal),
        }
        self.await_successor();
        if let Some(released) = self.released.take() {
            released.finish();
        }
        self.journal.notice("exit");
        self.close_sockets();
        ExitCode::SUCCESS
    }
}

/// Takes one report of a worker that serves; answers whether it is for virtual routers.
fn take_report(worker: &mut Child, config: &Config, journal: &Journal) -> bool {
    match worker.report() {
        Ok((Report::Drained { generation }, _)) => {
            let pid = worker.pid;
            // The words are nginx's for a worker of an older configuration that has ended, because scripts
            // wait for them.
            journal.notice(format_args!(
                "connections before generation {generation} of worker process {pid} have ended: \
                 exited with code 0"
            ));
        }
        Ok((Report::Dump { path }, files)) => dump::write(&path, files, config, journal),
        Ok((Report::Progress { threads }, _)) => worker.progress(threads, journal),
        Ok((Report::Upstreams { standing }, _)) => {
            worker.standing = standing;
            return true;
        }
        Ok((Report::Applied { .. } | Report::Refused { .. }, _)) => {}
        Err(error) => {
            // It ends, or it is broken; SIGCHLD tells the rest.
            worker.deaf = true;
            if error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::ConnectionReset
            {
                let pid = worker.pid;
                journal.alert(format_args!("worker process {pid} is not understood: {error}; it is killed"));
                worker.signal(Signal::Kill);
            }
        }
    }
    false
}
