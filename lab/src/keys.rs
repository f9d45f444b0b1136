//! Single keys, without Enter.

use std::io::{self, IsTerminal as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal that gives each key at once; it is as before when this value goes.
pub struct Keys {
    before: Termios,
}

impl Keys {
    /// `None`: nobody can press keys, because standard input or output is no terminal.
    pub fn open() -> Option<Keys> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let mut single = before.clone();
        // Ctrl-C stays a signal.
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &single).ok()?;
        Some(Keys { before })
    }

    /// The next key, if one was pressed.
    pub fn take(&self) -> Option<u8> {
        let stdin = io::stdin();
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&no_wait)).ok()? == 0 {
            return None;
        }
        let mut key = [0];
        (rustix::io::read(&stdin, &mut key).ok()? == 1).then_some(key[0])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
