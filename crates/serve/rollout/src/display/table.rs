//! A live table on a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use weir_rollout::{Moment, Note, Outcome, Phase, Rollout, Row, State};

use super::{Display, line, output_line};

/// How often the time that something takes is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// A line for each server below the lines of what happened, on standard error.
pub struct Table {
    all: MultiProgress,
    head: ProgressBar,
    bars: Vec<(Row, ProgressBar)>,
}

impl Table {
    #[must_use]
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner().with_style(style("{msg:.bold}")));
        Self { all, head, bars: Vec::new() }
    }

    fn print(&self, text: &str) {
        // A terminal that went away does not end a release.
        let _ = self.all.println(text);
    }

    fn bar(&mut self, n: usize, row: &Row) -> &mut (Row, ProgressBar) {
        while self.bars.len() <= n {
            let bar = self.all.add(ProgressBar::new_spinner());
            // No row has this address, so the first one is drawn.
            self.bars.push((Row { server: String::new(), ..row.clone() }, bar));
        }
        let last = self.bars.len() - 1;
        &mut self.bars[n.min(last)]
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Display for Table {
    fn note(&mut self, note: &Note) {
        self.print(&line(note));
    }

    fn output(&mut self, server: &str, line: &str) {
        self.print(&output_line(server, line));
    }

    fn rows(&mut self, rollout: &Rollout, _: Moment) {
        let rows = rollout.status();
        let done = rows.iter().filter(|row| row.state == State::Done).count();
        let batches = rows.iter().filter_map(|row| row.batch).max().unwrap_or(0);
        self.head.set_message(format!(
            "release of {}: {}, {done} of {} done",
            rollout.plan().upstream,
            phase(rollout.phase(), batches),
            rows.iter().filter(|row| row.batch.is_some()).count(),
        ));
        let width = rows.iter().map(|row| row.server.len()).max().unwrap_or(0);
        for (n, row) in rows.into_iter().enumerate() {
            let (shown, bar) = self.bar(n, &row);
            if *shown == row {
                continue;
            }
            bar.set_prefix(format!("{:width$}", row.server));
            bar.set_message(row.detail.clone());
            if shown.state != row.state || shown.server != row.server {
                bar.set_style(row_style(row.state));
                bar.reset_elapsed();
                if is_moving(row.state) {
                    bar.enable_steady_tick(TICK);
                } else {
                    bar.disable_steady_tick();
                }
            }
            bar.tick();
            *shown = row;
        }
    }

    fn end(&mut self, rollout: &Rollout, _: &Outcome) {
        for (_, bar) in &self.bars {
            bar.abandon();
        }
        self.head.abandon();
        eprintln!("{}", rollout.last_line());
    }
}

fn phase(phase: Phase, batches: usize) -> String {
    match phase {
        Phase::Opening => "about to begin".to_owned(),
        Phase::Raising => "spare servers join".to_owned(),
        Phase::Batch(batch) => format!("batch {} of {batches}", batch + 1),
        Phase::Undoing => "the old version comes back".to_owned(),
        Phase::Lowering => "spare servers leave".to_owned(),
        Phase::Closing => "nearly over".to_owned(),
        Phase::Ended => "over".to_owned(),
    }
}

const fn is_moving(state: State) -> bool {
    !matches!(state, State::Ready | State::Done | State::Maint | State::Failed | State::RolledBack)
}

/// The state stands in the template, so that it has a colour of its own; there is none where the terminal has none, or where
/// NO_COLOR is set.
fn row_style(state: State) -> ProgressStyle {
    let colour = match state {
        State::Done => "green",
        State::Failed => "red",
        State::RolledBack | State::Maint => "yellow",
        State::Ready => "dim",
        _ => "cyan",
    };
    let time = if is_moving(state) { "{spinner} {elapsed:>4} " } else { "" };
    let named = style(&format!("  {{prefix}}  {{state:11.{colour}}} {time}{{wide_msg}}"));
    named.with_key("state", move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
        // What a terminal cannot show is no reason to stop.
        let _ = to.write_str(state.name());
    })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
