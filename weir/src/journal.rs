//! What the keeper has to say: lines for the error log, and for the terminal while the server starts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use weir_log::{ErrorLog, Level, LogFile, Output, Sink, startup_line};

/// An error log, and whether grave lines go to the terminal too.
pub(crate) struct Journal {
    log: ErrorLog,
    terminal: bool,
}

impl Journal {
    /// The log of a process that starts: the file of `-e`, or standard error alone. Everything from notice up is
    /// written, because no configuration has said otherwise.
    pub(crate) fn starting(file: Option<&Path>) -> Journal {
        let Some(path) = file else {
            return Journal { log: ErrorLog::new(Vec::new()), terminal: true };
        };
        match weir_log::open_append(path) {
            Ok(fd) => {
                let sink = Sink::File(Arc::new(LogFile::new(fd)));
                let log = ErrorLog::new(vec![Output { sink, level: Level::Notice }]);
                Journal { log, terminal: true }
            }
            Err(error) => {
                let path = path.display();
                let text = format!(
                    "could not open error log file: open() \"{path}\" failed {}",
                    weir_log::Errno(&error)
                );
                eprint!("{}", startup_line(Level::Alert, text));
                Journal { log: ErrorLog::new(Vec::new()), terminal: true }
            }
        }
    }

    /// From now on lines go to the log of the configuration.
    pub(crate) fn switch(&mut self, log: ErrorLog) {
        self.log = log;
    }

    /// The server runs: the terminal is left alone.
    pub(crate) fn leave_terminal(&mut self) {
        self.terminal = false;
    }

    /// One line; from warn up it is shown on the terminal as well, as long as the server starts.
    pub(crate) fn say(&self, level: Level, text: impl fmt::Display) {
        self.log.note(level, format_args!("{text}"));
        let on_terminal = |o: &Output| matches!(o.sink, Sink::Stderr) && level <= o.level;
        if self.terminal && level <= Level::Warn && !self.log.outputs().iter().any(on_terminal) {
            eprint!("{}", startup_line(level, text));
        }
    }

    pub(crate) fn notice(&self, text: impl fmt::Display) {
        self.say(Level::Notice, text);
    }

    pub(crate) fn emerg(&self, text: impl fmt::Display) {
        self.say(Level::Emerg, text);
    }

    pub(crate) fn alert(&self, text: impl fmt::Display) {
        self.say(Level::Alert, text);
    }
}
