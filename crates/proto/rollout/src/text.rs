//! What people read: the plan before it is carried out, and the last line.

use std::fmt::Write;

use crate::command::Outcome;
use crate::moment::Span;
use crate::plan::{OnFailure, OnTimeout, Pause, Plan};
use crate::rollout::Rollout;
use crate::server::Row;
use crate::view::PeerView;

/// Stopping and starting takes so long where nothing is known of it.
const RESTART: Span = Span::secs(5);

impl Rollout {
    /// What would be done, for `--dry-run`: several lines.
    #[must_use]
    pub fn plan_text(&self, view: &[PeerView]) -> String {
        let (plan, rows) = (self.plan(), self.status());
        let released: Vec<&Row> = rows.iter().filter(|row| row.batch.is_some()).collect();
        let batches = released.iter().filter_map(|row| row.batch).max().unwrap_or(0);
        let serving = view.iter().filter(|peer| peer.serving && !peer.backup).count();
        let mut text = format!(
            "release of {}: {} in {}; {serving} serve now, at least {} at any time\n",
            plan.upstream,
            counted(released.len(), "server", "servers"),
            counted(batches, "batch", "batches"),
            counted(self.min_healthy(), "other serves", "others serve"),
        );
        let _ = writeln!(text, "each: {}", steps(plan));
        for step in &plan.canary {
            let pause = match step.pause {
                Pause::Manual => "until promoted".to_owned(),
                Pause::For(span) => format!("for {span}"),
            };
            let _ = writeln!(text, "canary: {} {pause}", step.percent);
        }
        for batch in 1..=batches {
            let members: Vec<&str> = released
                .iter()
                .filter(|row| row.batch == Some(batch))
                .map(|row| row.server.as_str())
                .collect();
            let _ = writeln!(text, "batch {batch}: {}", members.join(", "));
        }
        for row in rows.iter().filter(|row| row.batch.is_none()) {
            let _ = writeln!(text, "{}: {}", row.server, row.detail);
        }
        let failure = match plan.on_failure {
            OnFailure::Leave => "stop; upgraded servers keep the new version",
            OnFailure::Rollback => "stop, and bring the old version back to every changed server",
        };
        let _ = writeln!(text, "on a failure: {failure}");
        let (least, most) = estimate(plan, batches);
        let most = most.map_or("an open end".to_owned(), |most| most.to_string());
        let _ = writeln!(text, "takes about {least}, at most about {most}");
        text
    }

    /// The last line: how it ended, the state of every server, and what to type next.
    #[must_use]
    pub fn last_line(&self) -> String {
        let mut text = match self.outcome() {
            Some(outcome) => outcome.brief(),
            None => "running".to_owned(),
        };
        for (n, row) in self.status().iter().enumerate() {
            let place = if row.out { " (drained)" } else { "" };
            let lead = if n == 0 { " | " } else { ", " };
            let _ = write!(text, "{lead}{} {}{place}", row.server, row.state);
        }
        let name = &format!("{}{}", self.plan().upstream, self.words());
        if self.has_lost_lock() {
            let _ = write!(text, " | see who releases now: weir rollout status {name}");
        }
        let _ = match self.outcome() {
            Some(Outcome::Left { .. }) if self.is_aborted() && self.left_out().is_empty() => {
                write!(text, " | begin anew when it is mended: weir rollout {name}")
            }
            Some(Outcome::Left { .. } | Outcome::Interrupted) | None => {
                write!(text, " | go on: weir rollout resume {name} | give up: weir rollout abort {name}")
            }
            Some(Outcome::RolledBack { .. }) => {
                write!(
                    text,
                    " | the old version serves; when the new one is mended, release it: weir rollout {name}"
                )
            }
            Some(Outcome::Done) => match self.left_out() {
                left if left.is_empty() => Ok(()),
                left => write!(text, " | release as well: weir rollout {name} --server {}", left.join(",")),
            },
        };
        one_line(&text)
    }

    /// Servers that this release took out and did not put back.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        self.status().into_iter().filter(|row| row.out).map(|row| row.server).collect()
    }
}

impl Outcome {
    /// One line, without what a command printed: that was told already, and hides the rest of the line.
    #[must_use]
    pub fn brief(&self) -> String {
        let text = self.to_string();
        one_line(text.split("; its last lines:").next().unwrap_or(&text))
    }
}

/// What commands and servers answered may have several lines.
fn one_line(text: &str) -> String {
    text.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `1 server`, `2 servers`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn steps(plan: &Plan) -> String {
    let drain = &plan.drain;
    let mut steps = vec![match drain.on_timeout {
        OnTimeout::Abort => format!("drain (at most {}, then give up)", drain.timeout),
        OnTimeout::Force => format!("drain (at most {}, then stop all the same)", drain.timeout),
        OnTimeout::Wait => "drain (as long as it takes)".to_owned(),
    }];
    steps.push(format!("stop and start ({})", plan.driver.name()));
    let gate = &plan.gate;
    steps.push(format!("check {} {} times in a row within {}", gate.check, gate.rise, gate.deadline));
    if !gate.min_healthy_time.is_zero() {
        steps.push(format!("healthy for {}", gate.min_healthy_time));
    }
    if let Some(warm) = &plan.warm {
        steps.push(format!("warm up with {} requests", warm.requests));
    }
    steps.push("put back".to_owned());
    if let Some(watch) = &plan.watch {
        steps.push(format!("watch for {}", watch.window));
    }
    steps.join(", ")
}

/// The time that the release takes if nothing goes wrong, and the most that it may take; absent: no limit.
fn estimate(plan: &Plan, batches: usize) -> (Span, Option<Span>) {
    let batches = u64::try_from(batches).unwrap_or(u64::MAX);
    let watch = plan.watch.as_ref().map_or(Span::ZERO, |watch| watch.window);
    let gate = &plan.gate;
    let each =
        RESTART + gate.interval.times(u64::from(gate.rise.saturating_sub(1))) + gate.min_healthy_time + watch;
    let longest = RESTART + plan.drain.timeout + gate.deadline + gate.min_healthy_time + watch;
    let mut pauses = Span::ZERO;
    let mut open = plan.drain.on_timeout == OnTimeout::Wait;
    for step in &plan.canary {
        match step.pause {
            Pause::For(span) => pauses = pauses + span,
            Pause::Manual => open = true,
        }
    }
    let most = (!open).then(|| longest.times(batches) + pauses);
    (each.times(batches) + pauses, most)
}
