//! A process whose id stands in keepalived's pid file, so that what signals keepalived (exporters, scripts, logrotate)
//! works in a node where the same signals mean nginx's things to the keeper. It does nothing but pass them on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use weir_log::Level;
use weir_net::{InheritedFd, Signal, Signals};

use super::pid_file;
use crate::journal::Journal;

/// Tells a process of this binary that it is a herald, and the number of its socket.
const HERALD: &str = "WEIR_HERALD";
const SOCKET: i32 = 3;

/// What it passes on. All else is left alone: it would end the herald and nothing more.
const PASSED: [Signal; 7] =
    [Signal::Hup, Signal::Term, Signal::Int, Signal::Usr1, Signal::Usr2, Signal::Json, Signal::StatsClear];

/// Seen from the keeper.
pub(super) struct Herald {
    socket: OwnedFd,
    child: Child,
    pid_file: PathBuf,
}

impl Herald {
    /// Starts one and writes its id. Without one only signals to keepalived's pid file are missing, so what fails is
    /// told and no more.
    pub(super) fn start(pid_file: &Path, journal: &Journal) -> Option<Herald> {
        let shown = pid_file.display().to_string();
        let other = pid_file::read(&shown).ok().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if let Some(pid) = other {
            journal.say(
                Level::Warn,
                format_args!(
                    "{shown} names process {pid}, which runs: is keepalived still started by the system?"
                ),
            );
            return None;
        }
        let started = Herald::spawn().and_then(|(socket, child)| {
            std::fs::write(pid_file, format!("{}\n", child.id()))?;
            Ok(Herald { socket, child, pid_file: pid_file.to_owned() })
        });
        let told = |error| journal.say(Level::Warn, format_args!("{shown} is not written: {error}"));
        started.map_err(told).ok()
    }

    fn spawn() -> io::Result<(OwnedFd, Child)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("weir: keepalived's signals").env_clear().env(HERALD, SOCKET.to_string());
        // Standard error too: whoever started a server in the background may wait until nobody holds its end of a pipe.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        weir_net::pass_fds(&mut command, &[InheritedFd { fd: theirs.as_fd(), number: SOCKET }])?;
        Ok((ours, command.spawn()?))
    }

    /// How it ended, if somebody has killed it.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The signals that came.
    pub(super) fn take(&self) -> Vec<Signal> {
        let mut number = [0; 1];
        let mut signals = Vec::new();
        while let Ok((1, _)) = recv(&self.socket, &mut number, RecvFlags::empty()) {
            signals.extend(PASSED.into_iter().find(|one| one.number() == i32::from(number[0])));
        }
        signals
    }
}

impl AsFd for Herald {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Herald {
    fn drop(&mut self) {
        if pid_file::read(&self.pid_file.display().to_string()).is_ok_and(|pid| pid == self.child.id()) {
            // A file that cannot be removed names a process that has gone.
            let _ = std::fs::remove_file(&self.pid_file);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the herald if this process was started as one.
pub(crate) fn run_if_herald() -> Option<ExitCode> {
    let number = std::env::var(HERALD).ok()?;
    let passed = number.parse().map_err(io::Error::other).and_then(weir_net::inherited).and_then(pass_on);
    Some(if passed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pass_on(socket: OwnedFd) -> io::Result<()> {
    weir_net::set_parent_death_signal(Signal::Kill)?;
    // Whoever died before that line closed its end.
    let signals = Signals::new()?;
    loop {
        if let Some(received) = signals.wait(None)?
            && PASSED.contains(&received.signal)
        {
            let number = u8::try_from(received.signal.number()).unwrap_or_default();
            send(&socket, &[number], SendFlags::NOSIGNAL)?;
        }
    }
}
