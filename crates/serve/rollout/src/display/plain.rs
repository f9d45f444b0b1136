//! One line for each change, for logs of a CI.

use std::io::Write;

use weir_rollout::{Moment, Note, Outcome, Rollout};

use super::{Display, line, output_line};

/// Lines that begin with the seconds since the first one.
pub struct Plain<W> {
    to: W,
    start: Option<Moment>,
    now: Moment,
}

impl<W: Write> Plain<W> {
    #[must_use]
    pub const fn new(to: W) -> Self {
        Self { to, start: None, now: Moment(0) }
    }

    /// A reader that went away does not end a release.
    fn write(&mut self, text: &str) {
        let since = self.now - *self.start.get_or_insert(self.now);
        let _ = writeln!(self.to, "[{:>4}.{}] {text}", since.0 / 1_000, since.0 % 1_000 / 100);
        let _ = self.to.flush();
    }
}

impl<W: Write + Send> Display for Plain<W> {
    fn note(&mut self, note: &Note) {
        self.now = self.now.max(note.at);
        self.write(&line(note));
    }

    fn output(&mut self, server: &str, line: &str) {
        self.write(&output_line(server, line));
    }

    fn rows(&mut self, _: &Rollout, now: Moment) {
        self.start.get_or_insert(now);
        self.now = now;
    }

    fn end(&mut self, rollout: &Rollout, _: &Outcome) {
        self.write(&rollout.last_line());
    }
}
