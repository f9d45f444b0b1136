//! An error log: a message, its level, and all outputs that want it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use weir_model::Level;

use crate::line::{self, Context};
use crate::{LogFile, Syslog};

/// Where lines end.
#[derive(Debug, Clone)]
pub enum Sink {
    /// an open file
    File(Arc<LogFile>),
    /// standard error
    Stderr,
    /// a syslog server; the message's level is its severity
    Syslog(Arc<Syslog>),
    /// nginx's `memory:` is for its debugger; lines are dropped
    Memory,
}

/// A sink and the least severe level it takes.
#[derive(Debug, Clone)]
pub struct Output {
    /// where
    pub sink: Sink,
    /// this and all more severe levels
    pub level: Level,
}

/// The outputs of one `error_log` level of the configuration. Cheap to clone and to share.
#[derive(Debug, Clone)]
pub struct ErrorLog {
    outputs: Arc<[Output]>,
    /// the least severe level that anybody takes; absent: nobody takes anything
    threshold: Option<Level>,
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl ErrorLog {
    /// Writes to all of `outputs`.
    pub fn new(outputs: Vec<Output>) -> ErrorLog {
        let wanted = outputs.iter().filter(|o| !matches!(o.sink, Sink::Memory));
        let threshold = wanted.map(|o| o.level).max();
        ErrorLog { outputs: outputs.into(), threshold }
    }

    /// Standard error at `level`: before a configuration was read.
    pub fn stderr(level: Level) -> ErrorLog {
        ErrorLog::new(vec![Output { sink: Sink::Stderr, level }])
    }

    /// Its outputs.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Whether a message of this level goes anywhere: asked before one is put together.
    pub fn enabled(&self, level: Level) -> bool {
        self.threshold.is_some_and(|least| level <= least)
    }

    /// Writes one line to every output that takes the level. `conn` is the number of the client connection.
    /// Failures are dropped: there is no place left to tell them.
    pub fn log(&self, level: Level, conn: Option<u64>, message: fmt::Arguments<'_>, context: &Context<'_>) {
        if !self.enabled(level) {
            return;
        }
        // A message whose Display logs finds the buffer taken and uses one of its own.
        LINE.with(|shared| match shared.try_borrow_mut() {
            Ok(mut line) => self.emit(&mut line, level, conn, message, context),
            Err(_) => self.emit(&mut Vec::new(), level, conn, message, context),
        });
    }

    /// A line about no connection and no request.
    pub fn note(&self, level: Level, message: fmt::Arguments<'_>) {
        self.log(level, None, message, &Context::NONE);
    }

    fn emit(
        &self,
        line: &mut Vec<u8>,
        level: Level,
        conn: Option<u64>,
        message: fmt::Arguments<'_>,
        context: &Context<'_>,
    ) {
        line.clear();
        line::write_line(line, level, conn, message, context);
        for output in self.outputs.iter().filter(|o| level <= o.level) {
            match &output.sink {
                Sink::File(file) => drop(file.write_line(line)),
                Sink::Stderr => drop(rustix::io::write(rustix::stdio::stderr(), line)),
                Sink::Syslog(syslog) => syslog.send_as(level as u8, &line[..line.len() - 1]),
                Sink::Memory => {}
            }
        }
    }
}
