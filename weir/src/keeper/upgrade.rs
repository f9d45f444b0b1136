//! Replacing the binary: a new keeper starts beside the old one, on the same sockets.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use weir_log::Level;
use weir_net::InheritedFd;

use crate::journal::Journal;

/// nginx's variable: numbers of listening sockets, each followed by `;`. Its name lets nginx and Weir take over
/// from each other.
const VARIABLE: &str = "NGINX";
/// The first number that is given to an inherited socket.
const FIRST: i32 = 3;

/// The sockets that the process before left, and that there was one at all.
pub(crate) fn inherited(journal: &Journal) -> Option<Vec<OwnedFd>> {
    let text = std::env::var(VARIABLE).ok()?;
    journal.notice(format_args!("using inherited sockets from \"{text}\""));
    let mut sockets = Vec::new();
    for number in text.split_terminator([';', ':']) {
        let taken = number.parse().map_err(io::Error::other).and_then(weir_net::inherited);
        match taken {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                journal.emerg(format_args!(
                    "invalid socket number \"{number}\" in {VARIABLE} environment variable {}, \
                     ignoring the rest of the variable",
                    weir_log::Errno(&error)
                ));
                break;
            }
        }
    }
    Some(sockets)
}

/// How this process was started, which is how the next one will be.
pub(crate) struct Launch {
    program: PathBuf,
    words: Vec<std::ffi::OsString>,
    /// Who started this one.
    parent: Option<rustix::process::Pid>,
    /// It took sockets over.
    pub(crate) inherited: bool,
}

impl Launch {
    pub(crate) fn of_this_process(inherited: bool) -> io::Result<Launch> {
        Ok(Launch {
            program: std::env::current_exe()?,
            words: std::env::args_os().skip(1).collect(),
            parent: rustix::process::getppid(),
            inherited,
        })
    }

    /// Whether the process that handed its sockets on still runs.
    pub(crate) fn predecessor_lives(&self) -> bool {
        self.inherited && rustix::process::getppid() == self.parent
    }

    /// Starts what lies at the program's path now; answers its process id.
    pub(crate) fn start(&self, sockets: &[BorrowedFd<'_>], journal: &Journal) -> Option<u32> {
        let mut command = Command::new(&self.program);
        command.args(&self.words).stdin(Stdio::null());
        let passed: Vec<InheritedFd<'_>> =
            (FIRST..).zip(sockets).map(|(number, fd)| InheritedFd { fd: *fd, number }).collect();
        command.env(VARIABLE, passed.iter().map(|p| format!("{};", p.number)).collect::<String>());
        let started = weir_net::pass_fds(&mut command, &passed).and_then(|()| command.spawn());
        match started {
            Ok(child) => {
                journal.notice(format_args!("start new binary process {}", child.id()));
                Some(child.id())
            }
            Err(error) => {
                let program = self.program.display();
                let errno = weir_log::Errno(&error);
                let text =
                    format!("execve() failed while executing new binary process \"{program}\" {errno}");
                journal.say(Level::Alert, text);
                None
            }
        }
    }
}
