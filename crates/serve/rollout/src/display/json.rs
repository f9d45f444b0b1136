//! One JSON object a line, for programs.
//!
//! `{"at":MILLISECONDS,"type":TYPE,...}` with the types `state` (a server's row), `note` (`level`, `server`, `text`), `output`
//! (`server`, `line`) and, at last, `end` (`outcome`, `reason`, `exit_code`, `servers`, `text`).

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use weir_rollout::{Moment, Note, Outcome, Rollout, Row, State};

use super::{Display, End, level};

/// A line for everything that happens.
pub struct Json<W> {
    to: W,
    now: Moment,
    shown: Vec<(String, State, String)>,
}

#[derive(Serialize)]
struct Line<T> {
    at: Moment,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    content: T,
}

impl<W: Write> Json<W> {
    #[must_use]
    pub const fn new(to: W) -> Self {
        Self { to, now: Moment(0), shown: Vec::new() }
    }

    fn write(&mut self, kind: &'static str, content: impl Serialize) {
        let line = Line { at: self.now, kind, content };
        if let Ok(text) = serde_json::to_string(&line) {
            // A reader that went away does not end a release.
            let _ = writeln!(self.to, "{text}");
            let _ = self.to.flush();
        }
    }
}

impl<W: Write + Send> Display for Json<W> {
    fn note(&mut self, note: &Note) {
        self.now = self.now.max(note.at);
        self.write("note", json!({ "level": level(note.level), "server": note.server, "text": note.text }));
    }

    fn output(&mut self, server: &str, line: &str) {
        let server = (!server.is_empty()).then_some(server);
        self.write("output", json!({ "server": server, "line": line }));
    }

    fn rows(&mut self, rollout: &Rollout, now: Moment) {
        self.now = now;
        let rows = rollout.status();
        let key = |row: &Row| (row.server.clone(), row.state, row.detail.clone());
        let keys: Vec<_> = rows.iter().map(key).collect();
        for (row, key) in rows.into_iter().zip(&keys) {
            if !self.shown.contains(key) {
                self.write("state", row);
            }
        }
        self.shown = keys;
    }

    fn end(&mut self, rollout: &Rollout, outcome: &Outcome) {
        self.write("end", End::new(rollout, outcome));
    }
}
