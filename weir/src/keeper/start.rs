//! From a command line to a server that serves.

use std::os::fd::AsFd;
use std::process::ExitCode;

use weir_model::vrrp::Vrrp;
use weir_model::{Config, LogTarget};
use weir_net::{Signal, Signals};

use super::child::Child;
use super::control::ControlSockets;
use super::dump;
use super::logs::Logs;
use super::sockets::Sockets;
use super::upgrade::{self, Launch};
use super::vrrp::{Awaited, Routers};
use super::{Keeper, Serving, Stage, pid_file};
use crate::journal::Journal;
use crate::load::{self, Everything, Moment};
use crate::message::{Order, Report};
use crate::place::{self, Invocation};
use crate::version;

/// Why a worker does not serve a configuration.
pub(super) enum Failure {
    /// It said so, and goes on with what it had.
    Refused(String),
    /// It is gone or cannot be talked to.
    Broken(String),
}

impl Failure {
    pub(super) fn reason(&self) -> &str {
        match self {
            Failure::Refused(reason) | Failure::Broken(reason) => reason,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self, Failure::Broken(_))
    }
}

/// Runs a server until it is told to end.
pub(crate) fn run(invocation: Invocation) -> ExitCode {
    let journal = Journal::starting(invocation.first_log.as_deref());
    match begin(invocation, journal) {
        Some(keeper) => keeper.watch(),
        None => ExitCode::FAILURE,
    }
}

/// Everything up to the moment when connections are served; what fails was told.
fn begin(invocation: Invocation, mut journal: Journal) -> Option<Keeper> {
    let inherited = upgrade::inherited(&journal);
    let told = |journal: &Journal, error: std::io::Error| journal.emerg(error);
    let launch = Launch::of_this_process(inherited.is_some()).map_err(|e| told(&journal, e)).ok()?;
    let before = Sockets::adopt(inherited.unwrap_or_default(), &journal);
    let mut loaded = load::everything(&invocation, Moment::Start, &journal)?;
    if invocation.foreground {
        loaded.config.process.daemon = false;
    }
    let proxy = !invocation.routers_only;
    let serving = prepare(loaded, 1, &before, &ControlSockets::default(), &journal)?;
    drop(before);
    journal.switch(serving.logs.error_log(&serving.config));
    say_hello(&journal);
    let process = &serving.config.process;
    let daemon = process.daemon || launch.inherited;
    let background = if process.daemon && !launch.inherited {
        Some(weir_net::daemonize().map_err(|e| told(&journal, e)).ok()?)
    } else {
        None
    };
    // Opened behind the fork, so that it is this process' queue.
    let signals = Signals::new().map_err(|e| told(&journal, e)).ok()?;
    let workers = if proxy { vec![first_worker(&serving, &journal)?] } else { Vec::new() };
    let pid_path = process.pid.clone();
    let kill = |workers: Vec<Child>| workers.iter().for_each(|worker| worker.signal(Signal::Kill));
    if pid_file::write(&pid_path, &journal).is_none() {
        kill(workers);
        return None;
    }
    // Last, because from then on the network sends requests here.
    let waits = launch.predecessor_lives();
    let (mut routers, mut awaited) = (None, None);
    match serving.vrrp.clone() {
        Some(vrrp) if waits => awaited = Some(Awaited::from_predecessor(vrrp)),
        Some(vrrp) => match Routers::start(vrrp, proxy, &journal) {
            Some(started) => routers = Some(started),
            None => {
                pid_file::remove(&pid_path, &journal);
                kill(workers);
                return None;
            }
        },
        None => {}
    }
    if invocation.foreground {
        say_where(&serving);
    }
    journal.leave_terminal();
    if let Some(background) = background {
        leave_stderr(&serving);
        background.is_up();
    }
    let keeper = Keeper {
        invocation,
        launch,
        journal,
        signals,
        serving,
        workers,
        stage: Stage::Serving,
        pid_path,
        successor: None,
        daemon,
        deaths: Vec::new(),
        restart_at: None,
        kill_at: None,
        proxy,
        routers,
        awaited,
        routers_at: None,
        released: None,
    };
    keeper.tell_routers();
    Some(keeper)
}

/// In the background nobody's pipe or terminal is held, unless the log goes there. Should it fail, it stays in use: no
/// reason not to serve.
fn leave_stderr(serving: &Serving) {
    let logs = &serving.config.process.error_log;
    let wanted = logs.iter().any(|log| log.target == LogTarget::Stderr);
    if let Some(file) = serving.logs.main_file(&serving.config) {
        let _ = weir_net::redirect_stderr(file.as_fd());
    } else if !wanted && let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = weir_net::redirect_stderr(null.as_fd());
    }
}

fn first_worker(serving: &Serving, journal: &Journal) -> Option<Child> {
    journal.notice("start worker processes");
    spawn(serving, journal).map_err(|reason| journal.emerg(reason)).ok()
}

/// Opens all that a configuration needs, beside what is open already.
pub(super) fn prepare(
    loaded: Everything,
    generation: u64,
    before: &Sockets,
    control: &ControlSockets,
    journal: &Journal,
) -> Option<Serving> {
    let Everything { config, vrrp, serves } = loaded;
    let identity = load::identity(&config.process, journal)?;
    load::make_folders(&config, &identity, journal)?;
    let logs = Logs::open(&config, journal)?;
    let listeners = config.http.as_ref().map_or(&[][..], |http| &http.listeners);
    let sockets = before.prepare(listeners, load::threads(&config.process), journal)?;
    let control = if serves { control.prepare(before, &config, journal)? } else { ControlSockets::default() };
    Some(Serving { generation, config, identity, sockets, control, logs, vrrp })
}

/// Starts a worker and has it serve.
pub(super) fn spawn(serving: &Serving, journal: &Journal) -> Result<Child, String> {
    let process = &serving.config.process;
    // Whoever started a server in the background may wait until nobody holds the terminal's end of a pipe.
    let errors = if process.daemon { serving.logs.main_file(&serving.config) } else { None };
    let worker = Child::spawn(process, &serving.identity, errors)
        .map_err(|error| format!("worker process does not start {}", weir_log::Errno(&error)))?;
    journal.notice(format_args!("start worker process {}", worker.pid));
    match apply(&worker, serving, journal) {
        Ok(()) => Ok(worker),
        Err(failure) => {
            worker.signal(Signal::Kill);
            Err(failure.reason().to_owned())
        }
    }
}

/// Has a worker serve, and waits until it does.
pub(super) fn apply(worker: &Child, serving: &Serving, journal: &Journal) -> Result<(), Failure> {
    let (listeners, mut files) = serving.sockets.files();
    let (logs, log_files) = serving.logs.files();
    files.extend(log_files);
    let generation = serving.generation;
    let config = Box::new(serving.config.clone());
    let (control, control_files) = serving.control.files();
    files.extend(control_files);
    let process = &serving.config.process;
    let folder = place::control_folder(&process.state_path, &process.pid);
    let watched = watched(serving.vrrp.as_ref());
    let order = Order::Apply { generation, config, listeners, logs, control, folder, watched };
    let broken = |error: std::io::Error| {
        Failure::Broken(format!("worker process {} does not answer: {error}", worker.pid))
    };
    worker.send(&order, &files).map_err(broken)?;
    loop {
        match worker.report().map_err(broken)? {
            (Report::Applied { generation: done }, _) if done == generation => return Ok(()),
            (Report::Refused { generation: failed, reason }, _) if failed == generation => {
                return Err(Failure::Refused(reason));
            }
            // Of the configuration before.
            (Report::Dump { path }, files) => dump::write(&path, files, &serving.config, journal),
            (other, _) => journal.say(weir_log::Level::Debug, format_args!("{other:?}")),
        }
    }
}

/// The upstreams that virtual routers look at.
fn watched(vrrp: Option<&Vrrp>) -> Vec<String> {
    let instances = vrrp.iter().flat_map(|vrrp| &vrrp.instances);
    let mut names: Vec<String> =
        instances.flat_map(|one| one.track_upstreams.iter().map(|track| track.name.clone())).collect();
    names.sort();
    names.dedup();
    names
}

/// For somebody who sits in front of it.
fn say_where(serving: &Serving) {
    let listeners = serving.config.http.iter().flat_map(|http| &http.listeners);
    let mut addresses: Vec<String> = listeners.map(|listener| listener.address.to_string()).collect();
    addresses.extend(
        serving.vrrp.iter().flat_map(|vrrp| &vrrp.instances).map(|one| format!("vrrp_instance {}", one.name)),
    );
    if addresses.is_empty() {
        eprintln!("weir runs, and serves nothing: the configuration has no server; Ctrl-C ends it");
    } else {
        eprintln!("weir serves {}; Ctrl-C ends it", addresses.join(", "));
    }
}

fn say_hello(journal: &Journal) {
    journal.notice(version::NAME);
    let system = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    journal.notice(format_args!("OS: {} {}", text(system.sysname()), text(system.release())));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let number = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    journal.notice(format_args!(
        "getrlimit(RLIMIT_NOFILE): {}:{}",
        number(limit.current),
        number(limit.maximum)
    ));
}

/// Whether a configuration could be served: what has to be opened can be. Nothing stays open. Errors were told.
pub(crate) fn test(config: &Config, journal: &Journal) -> bool {
    let prepared = || {
        let identity = load::identity(&config.process, journal)?;
        load::make_folders(config, &identity, journal)?;
        Logs::open(config, journal)
    };
    let listeners = config.http.iter().flat_map(|http| &http.listeners);
    let mut bound = true;
    for listener in listeners {
        let spec = weir_net::ListenSpec { addr: listener.address.clone(), options: listener.options.clone() };
        if let Err(error) = weir_net::probe(&spec) {
            journal.emerg(error);
            bound = false;
        }
    }
    prepared().is_some() && bound
}
