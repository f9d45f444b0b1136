//! The application as a process: its start, its signals, its end.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::notify;

/// What a shell answers for a program that is not there, and for one that cannot be started.
pub(crate) const NOT_FOUND: u8 = 127;
pub(crate) const NOT_RUNNABLE: u8 = 126;

/// What a process may be sent and asked to pass on: all that have a name, but for those that say that this process itself
/// is broken, and those that nobody can wait for.
const FORWARDED: [i32; 22] =
    [1, 2, 3, 10, 12, 14, 15, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, CHILD, PIPE];
const CHILD: i32 = 17;
const PIPE: i32 = 13;
pub(crate) const INTERRUPT: i32 = 2;
pub(crate) const TERMINATE: i32 = 15;
pub(crate) const KILL: i32 = 9;

/// What happens to this process or its children.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The number of a signal to pass on.
    Signal(i32),
    /// Some child ended.
    Child,
}

/// Waits for signals from now on, which may have been blocked before; so none is lost between the start of the process
/// and this.
pub(crate) fn signals() -> io::Result<UnboundedReceiver<Event>> {
    let (events, inbox) = unbounded_channel();
    for number in FORWARDED.into_iter().filter(|number| *number != PIPE) {
        pass_on(number, events.clone())?;
    }
    weir_net::end_by_signals()?;
    // A handler of its own, because a child starts with the default in its place, and not with "ignore".
    pass_on(PIPE, events)?;
    Ok(inbox)
}

fn pass_on(number: i32, events: UnboundedSender<Event>) -> io::Result<()> {
    let mut stream = signal(SignalKind::from_raw(number))?;
    tokio::spawn(async move {
        while stream.recv().await.is_some() {
            let event = match number {
                PIPE => continue,
                CHILD => Event::Child,
                number => Event::Signal(number),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The application that runs.
pub(crate) struct App {
    pid: u32,
}

impl App {
    /// Starts it with this process' own input and output, as the leader of a group of its own; it is told to end when this
    /// process dies without a word.
    ///
    /// `notify`: where it says how it is. It never sees a supervisor's socket, which wants to hear of this process.
    pub(crate) fn start(words: &[OsString], notify: Option<&Path>) -> Result<Self, (u8, String)> {
        let Some((program, words)) = words.split_first() else {
            return Err((NOT_RUNNABLE, "no command behind --".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(words).process_group(0).env_remove(notify::VARIABLE);
        if let Some(path) = notify {
            command.env(notify::VARIABLE, path);
        }
        weir_net::end_with_parent(&mut command, weir_net::Signal::Term);
        match command.spawn() {
            Ok(child) => Ok(Self { pid: child.id() }),
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
                Err((code, format!("cannot start {}: {error}", program.display())))
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Reaps every child that ended, orphans of others too; the application's own status if it is among them.
    pub(crate) fn reap(&self) -> Option<ExitStatus> {
        weir_net::wait_child().into_iter().find(|(pid, _)| *pid == self.pid).map(|(_, status)| status)
    }

    /// To the application and all that it started. A group that is gone is no mistake: its end is on its way here.
    pub(crate) fn send(&self, number: i32) {
        let group = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (Some(group), Some(signal)) = (group, Signal::from_named_raw(number)) {
            let _ = kill_process_group(group, signal);
        }
    }
}

/// As shells tell it: 128 and the signal's number for one that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
