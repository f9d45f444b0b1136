//! One worker process, seen from the keeper.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use weir_log::Level;
use weir_model::Process;
use weir_net::{InheritedFd, Signal};

use crate::journal::Journal;
use crate::message::{self, Identity, Order, Report, Standing};

/// Tells a process of this binary that it is a worker, and the number of its socket.
pub(crate) const WORKER: &str = "WEIR_WORKER";
const SOCKET: i32 = 3;
/// The worker's end of its pulse.
pub(crate) const PULSE: i32 = 4;
/// A worker that takes no order or gives half a report for so long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker process and the socket to it.
pub(crate) struct Child {
    pub(crate) pid: u32,
    socket: OwnedFd,
    /// Counters of its data threads come here, ten times a second.
    pub(crate) pulse: Arc<OwnedFd>,
    pub(crate) identity: Identity,
    /// It was told to end.
    pub(crate) leaving: bool,
    /// Its end of the socket is closed.
    pub(crate) deaf: bool,
    threads: Vec<Thread>,
    /// What it said last of upstreams that virtual routers look at.
    pub(crate) standing: Vec<Standing>,
}

/// What a data thread proved.
#[derive(Debug, Clone, Copy)]
struct Thread {
    counter: u64,
    /// reports in a row without any progress
    still: u32,
}

/// So many reports without progress are worth a line.
const STILL: u32 = 3;

impl Child {
    /// Starts a worker from this very binary, even if another one lies in its place by now.
    /// `errors` takes what it prints; absent: the terminal does.
    pub(crate) fn spawn(
        process: &Process,
        identity: &Identity,
        errors: Option<OwnedFd>,
    ) -> io::Result<Child> {
        let (ours, theirs) = weir_net::socket_pair()?;
        let (pulse, beating) = super::health::pulse()?;
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&ours, Timeout::Send, Some(PATIENCE))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("weir: worker process").env_clear().stdin(Stdio::null());
        if let Some(errors) = errors {
            command.stderr(errors);
        }
        for (name, value) in environment(&process.env) {
            command.env(name, value);
        }
        command.env(WORKER, SOCKET.to_string());
        let passed = [(&theirs, SOCKET), (&beating, PULSE)];
        let passed = passed.map(|(fd, number)| InheritedFd { fd: fd.as_fd(), number });
        weir_net::pass_fds(&mut command, &passed)?;
        let pid = command.spawn()?.id();
        let child = Child {
            pid,
            socket: ours,
            pulse: Arc::new(pulse),
            identity: identity.clone(),
            leaving: false,
            deaf: false,
            threads: Vec::new(),
            standing: Vec::new(),
        };
        child.send(&Order::Become(identity.clone()), &[])?;
        Ok(child)
    }

    /// Gives an order.
    pub(crate) fn send(&self, order: &Order, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        message::send(self.socket.as_fd(), order, files)
    }

    /// Waits for the next report, and for the files beside it.
    pub(crate) fn report(&self) -> io::Result<(Report, Vec<OwnedFd>)> {
        message::receive(self.socket.as_fd())
    }

    /// Looks whether every data thread's loop has turned since the report before.
    pub(crate) fn progress(&mut self, counters: Vec<u64>, journal: &Journal) {
        if counters.len() != self.threads.len() {
            self.threads = counters.iter().map(|&counter| Thread { counter, still: 0 }).collect();
            return;
        }
        for (number, (thread, counter)) in self.threads.iter_mut().zip(counters).enumerate() {
            thread.still = if thread.counter == counter { thread.still + 1 } else { 0 };
            thread.counter = counter;
            if thread.still == STILL {
                let pid = self.pid;
                journal.say(
                    Level::Error,
                    format_args!("data thread {number} of worker process {pid} makes no progress"),
                );
            }
        }
    }

    /// Sends a signal; that the process has gone meanwhile is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = weir_net::send_signal(self.pid, signal);
    }
}

/// Readable when there is a report, or when the worker has gone.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a worker sees of the environment: the time zone, and what `env` lets through or sets.
fn environment(lines: &[String]) -> Vec<(String, String)> {
    let passed = ["TZ", "RUST_BACKTRACE"].into_iter();
    passed
        .chain(lines.iter().map(String::as_str))
        .filter_map(|line| match line.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((line.to_owned(), std::env::var(line).ok()?)),
        })
        .collect()
}
