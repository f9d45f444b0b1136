//! Starting, naming, limiting and reaping processes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions};

use crate::Signal;

/// An open file and the number under which a child will find it.
#[derive(Debug, Clone, Copy)]
pub struct InheritedFd<'a> {
    /// the file here
    pub fd: BorrowedFd<'a>,
    /// its number there; 3 and above
    pub number: RawFd,
}

/// Gives open files to the child of `command`, each under its number; all others stay close-on-exec.
///
/// The files must stay open until the child was spawned: they are duplicated here, so that holds by itself.
pub fn pass_fds(command: &mut Command, fds: &[InheritedFd<'_>]) -> io::Result<()> {
    // Above every wanted number, so that putting one in its place closes none of the others.
    let floor = fds.iter().map(|f| f.number).max().unwrap_or(0) + 1;
    let mut moves = Vec::with_capacity(fds.len());
    for f in fds {
        moves.push((rustix::io::fcntl_dupfd_cloexec(f.fd, floor)?, f.number));
    }
    // SAFETY: the closure runs in the child between fork and exec and calls only dup2, which is
    // async-signal-safe; it allocates nothing (`last_os_error` does not).
    unsafe {
        command.pre_exec(move || {
            for (from, to) in &moves {
                if libc::dup2(from.as_raw_fd(), *to) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// The child of `command` gets `signal` when the thread that starts it ends.
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    // SAFETY: the closure runs in the child between fork and exec and calls only prctl, which is
    // async-signal-safe; it allocates nothing.
    unsafe {
        command.pre_exec(move || set_parent_death_signal(signal));
    }
}

/// Takes over an open file that the parent left under `number`, and makes it close-on-exec.
///
/// An error if the number is not open. Call it once for each number, before any other file is opened, because
/// the number must belong to nobody else in this process.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        let text = format!("file number {number} is no inherited file; expected 3 or more");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // SAFETY: fcntl on a number is harmless: a number that is not open gives EBADF.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (fcntl said so) and, as the caller warrants, owned by nobody else here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Asks the kernel to send `signal` when the thread that started this process ends.
///
/// Changing the user clears it, so call it after [`crate::drop_privileges`]; then look whether the parent is
/// still there.
pub fn set_parent_death_signal(signal: Signal) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal.number() as libc::c_ulong) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The name in `ps -o comm` and `top`, at most 15 bytes.
pub fn set_process_name(name: &str) -> io::Result<()> {
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::thread::set_name(&name)?)
}

/// Sets the limit of open files, soft and hard. Raising the hard limit needs CAP_SYS_RESOURCE.
pub fn set_nofile_limit(files: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(files), maximum: Some(files) };
    Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
}

/// Raises the soft limit of open files to the hard one and returns it; `None` is no limit.
pub fn raise_nofile() -> io::Result<Option<u64>> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let files = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit)?;
    Ok(files)
}

/// The way to tell the process that waits in the foreground that the server is up.
#[derive(Debug)]
pub struct Background {
    ready: OwnedFd,
}

impl Background {
    /// Lets the foreground process exit with 0. If it is dropped without that, the exit code is 1.
    pub fn is_up(self) {
        // The foreground may have been killed; that is no concern of the server.
        let _ = rustix::io::write(&self.ready, &[1]);
    }
}

/// Goes to the background: the caller goes on in a child with a session of its own, standard input and
/// output at /dev/null and a umask that lets nobody else write, for what it makes and what its scripts make. Standard
/// error stays. The parent waits for
/// [`Background::is_up`] and exits, so whoever started it knows then that the server serves.
///
/// Call it before any thread is started: only the calling one goes on.
pub fn daemonize() -> io::Result<Background> {
    let (wait, ready) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the process has one thread (see above), so the child may go on as the parent would have.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => drop(wait),
        _ => {
            drop(ready);
            let up = loop {
                match rustix::io::read(&wait, &mut [0; 1]) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other == Ok(1),
                }
            };
            // SAFETY: _exit ends the parent without running what now belongs to the child (buffers, guards).
            unsafe { libc::_exit(i32::from(!up)) }
        }
    }
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(Background { ready })
}

/// Standard error goes to `fd` from now on: what a library prints in the background is kept.
pub fn redirect_stderr(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(fd)?)
}

/// The children that ended since the last call, without waiting.
///
/// It takes the status of every child: do not mix it with `std::process::Child::wait`.
pub fn wait_child() -> Vec<(u32, ExitStatus)> {
    let mut ended = Vec::new();
    // An error is ECHILD: there are no children.
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        ended.push((Pid::as_raw(Some(pid)) as u32, ExitStatus::from_raw(status.as_raw())));
    }
    ended
}

/// The status of one child, if it ended; does not wait. An error if `pid` is no child, or was asked for before.
pub fn wait_pid(pid: u32) -> io::Result<Option<ExitStatus>> {
    let ended = rustix::process::waitpid(Some(process_id(pid)?), WaitOptions::NOHANG)?;
    Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
}

/// A file that is readable once the process has ended; it stays that process' even when its number is another's.
pub fn child_fd(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(process_id(pid)?, PidfdFlags::empty())?)
}

/// 0 and below mean groups to the kernel, never one process.
pub(crate) fn process_id(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("process id {pid}; expected 1 to {}", i32::MAX))
    })
}
