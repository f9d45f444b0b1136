//! Signals as values to wait for, instead of handlers that interrupt.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};

/// The signals that mean something to a server (nginx's documentation, "Controlling nginx").
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
    /// end without any say
    Kill,
}

/// What [`Signals`] waits for: all but KILL, which nobody can.
const WAITABLE: [Signal; 8] = [
    Signal::Term,
    Signal::Int,
    Signal::Quit,
    Signal::Hup,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Winch,
    Signal::Chld,
];

impl Signal {
    /// `SIGTERM`
    pub fn name(self) -> &'static str {
        self.nix().as_str()
    }

    /// 15
    pub fn number(self) -> i32 {
        self.nix() as i32
    }

    fn nix(self) -> NixSignal {
        match self {
            Signal::Term => NixSignal::SIGTERM,
            Signal::Int => NixSignal::SIGINT,
            Signal::Quit => NixSignal::SIGQUIT,
            Signal::Hup => NixSignal::SIGHUP,
            Signal::Usr1 => NixSignal::SIGUSR1,
            Signal::Usr2 => NixSignal::SIGUSR2,
            Signal::Winch => NixSignal::SIGWINCH,
            Signal::Chld => NixSignal::SIGCHLD,
            Signal::Kill => NixSignal::SIGKILL,
        }
    }
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> rustix::process::Signal {
        match signal {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Int => rustix::process::Signal::INT,
            Signal::Quit => rustix::process::Signal::QUIT,
            Signal::Hup => rustix::process::Signal::HUP,
            Signal::Usr1 => rustix::process::Signal::USR1,
            Signal::Usr2 => rustix::process::Signal::USR2,
            Signal::Winch => rustix::process::Signal::WINCH,
            Signal::Chld => rustix::process::Signal::CHILD,
            Signal::Kill => rustix::process::Signal::KILL,
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
    WAITABLE.into_iter().map(Signal::nix).collect()
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
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::kill_process(pid, signal.into())?)
}
