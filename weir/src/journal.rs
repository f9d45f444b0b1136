//! What the keeper has to say: lines for the error log, and for the terminal while the server starts.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use weir_log::{ErrorLog, Level, LogFile, Output, Sink, startup_line};

/// An error log, and whether grave lines go to the terminal too.
pub(crate) struct Journal {
    log: ErrorLog,
    terminal: bool,
    voice: Arc<RwLock<ErrorLog>>,
}

/// Lines of virtual routers are few, and each is looked for at night: from here up they are written even where
/// `error_log` wants less.
const VOICE: Level = Level::Notice;

impl Journal {
    /// The log of a process that starts: the file of `-e`, or standard error alone. Everything from notice up is
    /// written, because no configuration has said otherwise.
    pub(crate) fn starting(file: Option<&Path>) -> Journal {
        let Some(path) = file else {
            return Journal::new(ErrorLog::new(Vec::new()));
        };
        match weir_log::open_append(path) {
            Ok(fd) => {
                let sink = Sink::File(Arc::new(LogFile::new(fd)));
                Journal::new(ErrorLog::new(vec![Output { sink, level: Level::Notice }]))
            }
            Err(error) => {
                let path = path.display();
                let text = format!(
                    "could not open error log file: open() \"{path}\" failed {}",
                    weir_log::Errno(&error)
                );
                eprint!("{}", startup_line(Level::Alert, text));
                Journal::new(ErrorLog::new(Vec::new()))
            }
        }
    }

    fn new(log: ErrorLog) -> Journal {
        let voice = Arc::new(RwLock::new(louder(&log)));
        Journal { log, terminal: true, voice }
    }

    /// From now on lines go to the log of the configuration.
    pub(crate) fn switch(&mut self, log: ErrorLog) {
        *self.voice.write().unwrap_or_else(PoisonError::into_inner) = louder(&log);
        self.log = log;
    }

    /// The same log for other threads; it follows every [`Journal::switch`].
    pub(crate) fn voice(&self) -> Arc<dyn Fn(Level, String) + Send + Sync> {
        let voice = Arc::clone(&self.voice);
        Arc::new(move |level, text| {
            let log = voice.read().unwrap_or_else(PoisonError::into_inner).clone();
            log.note(level, format_args!("{text}"));
        })
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

/// The same outputs, all of which take at least [`VOICE`].
fn louder(log: &ErrorLog) -> ErrorLog {
    let outputs = log.outputs().iter();
    ErrorLog::new(outputs.map(|one| Output { sink: one.sink.clone(), level: one.level.max(VOICE) }).collect())
}
