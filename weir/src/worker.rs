//! The worker process: takes orders from the keeper, and gives the sockets to the data threads.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SendFlags;
use weir_log::{ErrorLog, Level};
use weir_model::{Config, LogTarget};
use weir_net::{Signal, Signals};
use weir_serve_http::{Generation, Worker};

use crate::control::{self, Control};
use crate::keeper::{PULSE, WORKER, logs};
use crate::message::{self, Identity, Order, Report, Role, Standing};

/// How often the data threads are asked for their progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// How often they are proven to the keeper's watch for the sake of virtual routers.
const BEAT: Duration = Duration::from_millis(100);
/// How often it is looked whether old connections are gone, while there are any.
const DRAIN: Duration = Duration::from_millis(20);
/// How long the data threads have to close everything when the end is to be at once.
const STOP: Duration = Duration::from_millis(300);

/// Runs the worker if this process was started as one.
pub(crate) fn run_if_worker() -> Option<ExitCode> {
    let number = std::env::var(WORKER).ok()?;
    let socket = number.parse().map_err(io::Error::other).and_then(weir_net::inherited);
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!(
                "weir: {WORKER}={number} is no socket of a keeper: {error}; unset the variable, it is Weir's own"
            );
            return Some(ExitCode::FAILURE);
        }
    };
    let begun = weir_net::inherited(PULSE).and_then(|pulse| Process::begin(socket, pulse));
    Some(match begun.and_then(Process::serve) {
        Ok(()) => ExitCode::SUCCESS,
        // The keeper has gone, and with it the reason to serve.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: worker process {}: {error}", std::process::id());
            ExitCode::FAILURE
        }
    })
}

/// What the files of a configuration are.
struct Parts {
    listeners: Vec<usize>,
    logs: Vec<String>,
    control: Vec<Role>,
}

struct Process {
    socket: OwnedFd,
    pulse: OwnedFd,
    signals: Signals,
    worker: Worker,
    /// Begins with the first configuration.
    control: Option<Control>,
    questions: Option<control::names::Questions>,
    /// What was told of upstreams.
    standing: Vec<Standing>,
    log: Arc<RwLock<ErrorLog>>,
    errors: Vec<weir_model::ErrorLog>,
    limit: Duration,
    generation: u64,
    /// Connections of older generations are still there.
    draining: bool,
    quitting: bool,
    next_progress: Instant,
    next_beat: Instant,
}

impl Process {
    /// Becomes what the keeper says, before anything else.
    fn begin(socket: OwnedFd, pulse: OwnedFd) -> io::Result<Process> {
        let (order, _) = message::receive(socket.as_fd())?;
        let Order::Become(identity) = order else {
            return Err(io::Error::other("the keeper's first order has to be what to become"));
        };
        become_worker(&identity)?;
        let log = Arc::new(RwLock::new(ErrorLog::stderr(Level::Error)));
        report_panics(Arc::clone(&log));
        let (asking, questions) = control::names::pair();
        Ok(Process {
            socket,
            pulse,
            signals: Signals::new()?,
            worker: Worker::start_with(asking),
            control: None,
            questions: Some(questions),
            standing: Vec::new(),
            log,
            errors: Vec::new(),
            limit: Duration::ZERO,
            generation: 0,
            draining: false,
            quitting: false,
            next_progress: Instant::now() + PROGRESS,
            next_beat: Instant::now(),
        })
    }

    /// Obeys until the end.
    fn serve(mut self) -> io::Result<()> {
        loop {
            if self.sleep()? {
                let (order, files) = message::receive(self.socket.as_fd())?;
                if self.obey(order, files)? {
                    return self.stop();
                }
            }
            while let Some(received) = self.signals.take()? {
                match received.signal {
                    Signal::Term | Signal::Int => return self.stop(),
                    Signal::Quit => self.quit(),
                    // The keeper hears these itself, and sends what has to be known.
                    _ => {}
                }
            }
            if self.quitting && self.worker.is_finished() {
                return Ok(());
            }
            self.look()?;
        }
    }

    /// Waits for an order, a signal or the next look at the threads; answers whether there is an order.
    fn sleep(&self) -> io::Result<bool> {
        let now = Instant::now();
        let mut wait = self.next_progress.min(self.next_beat).saturating_duration_since(now);
        if self.draining || self.quitting {
            wait = wait.min(DRAIN);
        }
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&wait)) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what the keeper says; answers whether this is the end.
    fn obey(&mut self, order: Order, files: Vec<OwnedFd>) -> io::Result<bool> {
        match order {
            Order::Become(_) => {
                return Err(io::Error::other("the keeper said twice what to become"));
            }
            Order::Apply { generation, config, listeners, logs, control, folder, watched } => {
                let parts = Parts { listeners, logs, control };
                self.start_control(&folder)?;
                let report = match self.apply(generation, *config, watched, &parts, files) {
                    Ok(()) => Report::Applied { generation },
                    Err(reason) => Report::Refused { generation, reason },
                };
                self.report(&report)?;
            }
            Order::Reopen { logs } => {
                let files = logs.into_iter().zip(files).collect();
                self.switch_log(&files)?;
                self.worker.reopen(by_target(files));
            }
            Order::Quit { limit } => {
                self.limit = Duration::from_millis(limit);
                self.quit();
            }
            Order::Stop => return Ok(true),
        }
        Ok(false)
    }

    /// Starts what runs beside the traffic, once.
    fn start_control(&mut self, folder: &str) -> io::Result<()> {
        let Some(questions) = self.questions.take() else { return Ok(()) };
        let log = Arc::clone(&self.log);
        let voice: control::Log = Arc::new(move |level, text| {
            let log = log.read().unwrap_or_else(PoisonError::into_inner).clone();
            log.note(level, format_args!("{text}"));
        });
        self.control = Some(Control::start(self.worker.publisher(), folder.into(), questions, voice)?);
        Ok(())
    }

    fn apply(
        &mut self,
        number: u64,
        config: Config,
        watched: Vec<String>,
        parts: &Parts,
        files: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let sockets: usize = parts.listeners.iter().sum();
        let named = sockets + parts.logs.len() + parts.control.len();
        if named != files.len() {
            return Err(format!("the keeper named {named} files and sent {}", files.len()));
        }
        let mut files = files.into_iter();
        let listeners = parts.listeners.iter().map(|&count| files.by_ref().take(count).collect()).collect();
        let logs: HashMap<String, OwnedFd> = parts.logs.iter().cloned().zip(files.by_ref()).collect();
        let sockets = parts.control.iter().copied().zip(files).collect();
        let errors = config.process.error_log.clone();
        let limit = config.process.worker_shutdown_timeout.duration();
        let copies = copies(&logs).map_err(|error| error.to_string())?;
        let config = Arc::new(config);
        let control = self.control.as_ref().ok_or("the control thread does not run")?;
        let configured = control.configure(Arc::clone(&config), watched, sockets)?;
        let (change, members) = (configured.change, configured.members);
        let generation = Generation { number, config, listeners, logs: by_target(logs), members, change };
        let applied = self.worker.apply(generation);
        control.settle(applied.is_ok().then_some(change));
        applied?;
        self.errors = errors;
        self.limit = limit;
        self.draining = self.generation > 0;
        self.generation = number;
        self.switch_log(&copies).map_err(|error| error.to_string())
    }

    /// Lines of this process go to the log of the configuration.
    fn switch_log(&self, files: &HashMap<String, OwnedFd>) -> io::Result<()> {
        let log = logs::error_log(&self.errors, |path| files.get(path)?.try_clone().ok());
        *self.log.write().unwrap_or_else(PoisonError::into_inner) = log;
        Ok(())
    }

    fn quit(&mut self) {
        if !self.quitting {
            self.quitting = true;
            if let Some(control) = &self.control {
                control.retire();
            }
            let limit = (self.limit > Duration::ZERO).then_some(self.limit);
            self.worker.quit(limit);
        }
    }

    /// Ends at once: connections are closed, and the logs get what was gathered for them.
    fn stop(&mut self) -> io::Result<()> {
        let until = Instant::now() + STOP;
        self.worker.quit(Some(Duration::ZERO));
        while !self.worker.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Tells the keeper what has changed by itself.
    fn look(&mut self) -> io::Result<()> {
        if self.draining && self.worker.outdated() == 0 {
            self.draining = false;
            self.report(&Report::Drained { generation: self.generation })?;
        }
        let now = Instant::now();
        if self.next_beat <= now {
            self.next_beat = now + BEAT;
            let counters = self.worker.progress();
            let bytes: Vec<u8> = counters.into_iter().flat_map(u64::to_ne_bytes).collect();
            // Nobody reads it where there are no virtual routers: then it is full, and that is no error.
            let _ = rustix::net::send(&self.pulse, &bytes, SendFlags::NOSIGNAL);
        }
        for (path, content) in self.control.as_ref().map(Control::take_dumps).unwrap_or_default() {
            self.send_dump(&path, &content)?;
        }
        let standing = self.control.as_ref().map(Control::standing).unwrap_or_default();
        if standing != self.standing {
            self.standing.clone_from(&standing);
            self.report(&Report::Upstreams { standing })?;
        }
        if self.next_progress <= now && !self.quitting {
            self.next_progress = now + PROGRESS;
            self.report(&Report::Progress { threads: self.worker.progress() })?;
        }
        Ok(())
    }

    /// Gives the keeper a file to write.
    fn send_dump(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        use std::io::{Seek, Write};
        let file = rustix::fs::memfd_create("dump", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(file);
        file.write_all(content)?;
        file.rewind()?;
        let report = Report::Dump { path: path.to_owned() };
        message::send(self.socket.as_fd(), &report, &[file.as_fd()])
    }

    fn report(&self, report: &Report) -> io::Result<()> {
        message::send(self.socket.as_fd(), report, &[])
    }
}

fn copies(files: &HashMap<String, OwnedFd>) -> io::Result<HashMap<String, OwnedFd>> {
    files.iter().map(|(path, fd)| Ok((path.clone(), fd.try_clone()?))).collect()
}

fn by_target(files: HashMap<String, OwnedFd>) -> HashMap<LogTarget, OwnedFd> {
    files.into_iter().map(|(path, fd)| (LogTarget::File(path), fd)).collect()
}

/// Gives up what a worker may not have, and ties its life to the keeper's.
fn become_worker(identity: &Identity) -> io::Result<()> {
    let limited = match identity.files {
        Some(files) => weir_net::set_nofile_limit(files),
        None => weir_net::raise_nofile().map(drop),
    };
    if let Err(error) = limited {
        // As in nginx no reason not to serve: the limit that is in force holds.
        let text = format!("setrlimit(RLIMIT_NOFILE) failed {}", weir_log::Errno(&error));
        eprint!("{}", weir_log::startup_line(Level::Alert, text));
    }
    if let Some(account) = &identity.account {
        let user = weir_net::User {
            name: account.name.clone(),
            uid: account.uid,
            gid: account.gid,
            home: "/".into(),
        };
        weir_net::drop_privileges(&user, account.gid)?;
    }
    // A keeper that has gone before this line has closed the socket, which is seen at the next order.
    weir_net::set_parent_death_signal(Signal::Term)?;
    if let Some(directory) = &identity.directory {
        std::env::set_current_dir(directory)?;
    }
    weir_net::set_process_name("weir: worker")
}

/// A panic ends one connection; the log says so.
fn report_panics(log: Arc<RwLock<ErrorLog>>) {
    std::panic::set_hook(Box::new(move |info| {
        let log = log.read().unwrap_or_else(PoisonError::into_inner).clone();
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = words.unwrap_or("a panic without words");
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        log.note(Level::Crit, format_args!("panic{place}: {text}"));
    }));
}
