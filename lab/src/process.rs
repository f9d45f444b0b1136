//! Programs that run in a host: those that the laboratory started, and those that they started.

use std::fs;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open, test_kill_process};

pub use rustix::process::Signal;

use crate::error::{Error, Result};

/// A process of a host, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// As the machine counts, not the host.
    pub pid: u32,
    pub parent: u32,
    /// Its command line, or its name in brackets if it has none.
    pub name: String,
}

impl Process {
    /// Reads what runs in the process namespace of `holder`; the holder is left out, and so is what has ended.
    pub(crate) fn list(holder: u32) -> Vec<Process> {
        let space = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok();
        let Some(own) = space(&holder.to_string()) else { return Vec::new() };
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let mut found: Vec<Process> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|c| c.is_ascii_digit()) && *name != holder.to_string())
            .filter(|name| space(name).as_ref() == Some(&own))
            .filter_map(|name| Process::read(name.parse().ok()?))
            .collect();
        found.sort_by_key(|process| process.pid);
        found
    }

    /// `None`: it has ended.
    pub(crate) fn read(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(')')?;
        let (_, comm) = start.split_once('(')?;
        let mut fields = rest.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
        if matches!(state, "Z" | "X") {
            return None;
        }
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).collect();
        let name = if words.is_empty() {
            format!("[{comm}]")
        } else {
            String::from_utf8_lossy(&words.join(&b' ')).into_owned()
        };
        Some(Process { pid, parent, name })
    }

    pub fn is_alive(&self) -> bool {
        Process::read(self.pid).is_some()
    }

    /// It has ended, and its parent knows: nobody has its number any more.
    pub(crate) fn is_gone(&self) -> bool {
        number(self.pid).is_none_or(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
    }

    /// Sends a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid, signal)
    }

    /// Waits until the process has ended.
    pub fn wait_end(&self, patience: Duration) -> Result<()> {
        wait_end(self.pid, patience)
    }
}

/// A program that the laboratory started in a host.
#[derive(Clone)]
pub struct Program {
    pid: u32,
    child: Arc<Mutex<Child>>,
    /// Where its output goes, as a path in the host.
    log: String,
}

impl Program {
    pub(crate) fn new(child: Child, log: String) -> Program {
        Program { pid: child.id(), child: Arc::new(Mutex::new(child)), log }
    }

    /// As the machine counts.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file in the host that has what it wrote to standard output and error.
    pub fn log(&self) -> &str {
        &self.log
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        match self.ended() {
            Some(_) => Ok(()),
            None => send(self.pid, signal),
        }
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn wait(&self, patience: Duration) -> Result<ExitStatus> {
        wait_end(self.pid, patience)?;
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait()
            .map_err(Error::io("waiting for a program"))
    }
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    let Some(pid) = number(pid) else { return Ok(()) };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => {
            Err(Error::Io { what: format!("cannot send a signal to process {pid:?}"), source: errno.into() })
        }
    }
}

fn wait_end(pid: u32, patience: Duration) -> Result<()> {
    let Some(number) = number(pid) else { return Ok(()) };
    let process = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let time = Timespec::try_from(left).map_err(|_| Error::wrong("the time to wait is too long"))?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&time)) {
            Ok(0) => return Err(Error::Late { what: format!("the end of process {pid}"), waited: patience }),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
