//! How people and programs see a release: a table on a terminal, lines elsewhere, JSON where it is asked for.

mod json;
mod plain;
mod table;

use serde::Serialize;
use weir_rollout::{Moment, Note, NoteLevel, Outcome, Rollout, Row};

pub use json::Json;
pub use plain::Plain;
pub use table::Table;

/// What is told while a release runs.
pub trait Display: Send {
    /// A line for people.
    fn note(&mut self, note: &Note);

    /// A line that a command or hook wrote; `server` is empty where it belongs to the whole release.
    fn output(&mut self, server: &str, line: &str);

    /// Every server as it stands; called after anything happened.
    fn rows(&mut self, rollout: &Rollout, now: Moment);

    /// The last line.
    fn end(&mut self, rollout: &Rollout, outcome: &Outcome);
}

/// The last line of [`Json`].
#[derive(Serialize)]
struct End<'a> {
    outcome: &'static str,
    reason: Option<&'a str>,
    exit_code: u8,
    servers: Vec<Row>,
    /// The same for people.
    text: String,
}

impl<'a> End<'a> {
    fn new(rollout: &Rollout, outcome: &'a Outcome) -> Self {
        let reason = match outcome {
            Outcome::RolledBack { reason } | Outcome::Left { reason } => Some(reason.as_str()),
            Outcome::Done | Outcome::Interrupted => None,
        };
        Self {
            outcome: outcome.name(),
            reason,
            exit_code: outcome.exit_code(),
            servers: rollout.status(),
            text: rollout.last_line(),
        }
    }
}

const fn level(level: NoteLevel) -> &'static str {
    match level {
        NoteLevel::Info => "info",
        NoteLevel::Warning => "warning",
        NoteLevel::Error => "error",
    }
}

/// `10.0.0.7:8080: text`, with the word for its weight where it is none of the usual.
fn line(note: &Note) -> String {
    let weight = match note.level {
        NoteLevel::Info => "",
        NoteLevel::Warning => "warning: ",
        NoteLevel::Error => "error: ",
    };
    match &note.server {
        Some(server) => format!("{server}: {weight}{}", note.text),
        None => format!("{weight}{}", note.text),
    }
}

fn output_line(server: &str, line: &str) -> String {
    if server.is_empty() { format!("| {line}") } else { format!("{server} | {line}") }
}
