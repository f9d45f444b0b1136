//! Signals as values to wait for, instead of handlers that interrupt.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::process::process_id;

/// The signals that mean something to a server (nginx's documentation, "Controlling nginx"; keepalived(8), "SIGNALS").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// stop fast
    Term,
    /// stop fast, from a terminal
    Int,
    /// stop gracefully
    Quit,
    /// reload
    Hup,
    /// reopen the logs
    Usr1,
    /// replace the binary
    Usr2,
    /// stop the workers gracefully
    Winch,
    /// a child ended
    Chld,
    /// write the state as JSON, SIGRTMIN+2 (keepalived)
    Json,
    /// write the statistics and set them to zero, SIGRTMAX-1 (keepalived)
    StatsClear,
    /// end without any say
    Kill,
}

/// What [`Signals`] waits for: all but KILL, which nobody can.
const WAITABLE: [Signal; 10] = [
    Signal::Term,
    Signal::Int,
    Signal::Quit,
    Signal::Hup,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Winch,
    Signal::Chld,
    Signal::Json,
    Signal::StatsClear,
];

impl Signal {
    /// `SIGTERM`
    pub fn name(self) -> &'static str {
        self.named().0
    }

    /// 15
    pub fn number(self) -> i32 {
        self.named().1
    }

    /// The numbers of real-time signals are the C library's to say: it keeps the first of them for itself.
    fn named(self) -> (&'static str, i32) {
        match self {
            Signal::Term => ("SIGTERM", libc::SIGTERM),
            Signal::Int => ("SIGINT", libc::SIGINT),
            Signal::Quit => ("SIGQUIT", libc::SIGQUIT),
            Signal::Hup => ("SIGHUP", libc::SIGHUP),
            Signal::Usr1 => ("SIGUSR1", libc::SIGUSR1),
            Signal::Usr2 => ("SIGUSR2", libc::SIGUSR2),
            Signal::Winch => ("SIGWINCH", libc::SIGWINCH),
            Signal::Chld => ("SIGCHLD", libc::SIGCHLD),
            Signal::Json => ("SIGRTMIN+2", libc::SIGRTMIN() + 2),
            Signal::StatsClear => ("SIGRTMAX-1", libc::SIGRTMAX() - 1),
            Signal::Kill => ("SIGKILL", libc::SIGKILL),
        }
    }
}

/// A signal and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// which
    pub signal: Signal,
    /// the sender's process id; 0 is the kernel (a terminal's key)
    pub from: u32,
}

/// For a command that prints and ends: signals interrupt it again, and so does a reader that wants no more of
/// what it prints (`weir check FILE | head`), without a message.
pub fn end_by_signals() -> io::Result<()> {
    SigSet::all().thread_unblock()?;
    // SAFETY: the default action replaces "ignore"; no handler of this process is involved.
    unsafe { nix::sys::signal::signal(NixSignal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) }?;
    Ok(())
}

/// Keeps the signals of [`Signal`] from interrupting this thread and those it starts; they wait for
/// [`Signals`]. Call it first thing in `main`: a thread started before would still be interrupted.
pub fn block_signals() -> io::Result<()> {
    Ok(mask().thread_block()?)
}

fn mask() -> SigSet {
    let mut set: libc::sigset_t = *SigSet::empty().as_ref();
    for signal in WAITABLE {
        // SAFETY: the pointer is to a live set, which `SigSet::empty` initialised; a number that is no signal would
        // only be an error.
        unsafe { libc::sigaddset(&raw mut set, signal.number()) };
    }
    // SAFETY: the set is initialised.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// The queue of signals of this process. [`block_signals`] comes before it.
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Opens the queue.
    pub fn new() -> io::Result<Signals> {
        let fd = SignalFd::with_flags(&mask(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd })
    }

    /// The next signal, if one waits already.
    pub fn take(&self) -> io::Result<Option<Received>> {
        let Some(info) = self.fd.read_signal()? else {
            return Ok(None);
        };
        let number = info.ssi_signo as i32;
        let signal = WAITABLE.into_iter().find(|s| s.number() == number);
        Ok(signal.map(|signal| Received { signal, from: info.ssi_pid }))
    }

    /// The next signal; waits for it, at most for `timeout`.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<Received>> {
        if let Some(received) = self.take()? {
            return Ok(Some(received));
        }
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.take(),
            Err(e) => Err(e.into()),
        }
    }
}

/// Readable when a signal waits: for a poll together with sockets.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends a signal to a process.
pub fn send_signal(pid: u32, signal: Signal) -> io::Result<()> {
    kill(process_id(pid)?.as_raw_nonzero().get(), signal)
}

/// Sends a signal to the process group that `pid` leads: a script with all that it started.
pub fn signal_group(pid: u32, signal: Signal) -> io::Result<()> {
    let leader = process_id(pid)?.as_raw_nonzero().get();
    // To the kernel the negative of 1 is every process there is (kill(2)).
    if leader == 1 {
        let text = "process group 1; expected the group of a child, 2 or more";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    kill(-leader, signal)
}

fn kill(target: i32, signal: Signal) -> io::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory.
    let result = unsafe { libc::kill(target, signal.number()) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
