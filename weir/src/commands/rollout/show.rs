//! What `weir rollout` shows of releases that run or ran.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use weir_rollout::{History, Moment, Outcome, Plan, Progress};
use weir_serve_rollout::Holder;

/// A release that runs, or the last one.
pub(super) fn status(progress: Option<&Progress>, holder: Option<&Holder>, now: Moment) -> String {
    let mut text = String::new();
    match holder {
        Some(holder) => {
            let _ = writeln!(text, "{holder} releases, for {}", round(now - holder.since));
        }
        None => text.push_str("nobody releases now\n"),
    }
    let Some(progress) = progress else {
        text.push_str("there was no release yet\n");
        return text;
    };
    let name = &progress.plan.upstream;
    let state = match (&progress.outcome, holder) {
        (Some(outcome), _) => outcome.to_string(),
        (None, Some(_)) => "runs".to_owned(),
        (None, None) => {
            format!(
                "was interrupted without a word: weir rollout resume {name}, or weir rollout abort {name}"
            )
        }
    };
    let _ = writeln!(text, "release{} of {}: {state}", version(&progress.plan), date(progress.started));
    text.push_str(&rows(progress));
    text
}

/// `SERVER STATE DETAIL` of a document.
fn rows(progress: &Progress) -> String {
    let rows = progress.rows();
    let width = rows.iter().map(|row| row.server.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, row| {
        let batch = row.batch.map_or_else(|| "-".to_owned(), |batch| batch.to_string());
        let line = format!(
            "  {:width$}  batch {batch:<3} {:<11} {}",
            row.server,
            row.state,
            row.detail.replace('\n', " ")
        );
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// The newest last.
pub(super) fn history(releases: &[History]) -> String {
    if releases.is_empty() {
        return "no release ended yet\n".to_owned();
    }
    let mut text = String::new();
    for (n, release) in releases.iter().enumerate() {
        let number = releases.len() - n;
        let version = match (&release.version.old, &release.version.new) {
            (Some(old), Some(new)) => format!(" {old} -> {new}"),
            (None, Some(new)) => format!(" {new}"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{number:>4}  {}  {:>8}  {}{version}  {}",
            date(release.started),
            round(release.ended - release.started),
            release.who,
            release.outcome.brief()
        );
    }
    text
}

/// One release that ended.
pub(super) fn release(release: &History) -> String {
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "not said".to_owned());
    let mut text = format!(
        "upstream:     {}\nwho:          {}\nbegan:        {}\nended:        {}\nold version:  {}\nnew version:  {}\nresult:       {} (exit code {})\n",
        release.upstream,
        release.who,
        date(release.started),
        date(release.ended),
        word(&release.version.old),
        word(&release.version.new),
        release.outcome,
        release.outcome.exit_code(),
    );
    for (server, state) in &release.servers {
        let _ = writeln!(text, "  {server}  {state}");
    }
    if matches!(release.outcome, Outcome::Left { .. } | Outcome::Interrupted) {
        let _ = writeln!(text, "what stands there now: weir rollout status {}", release.upstream);
    }
    text
}

fn version(plan: &Plan) -> String {
    plan.version.new.as_ref().map(|version| format!(" of version {version}")).unwrap_or_default()
}

fn date(moment: Moment) -> String {
    let time =
        Timestamp::from_millisecond(i64::try_from(moment.0).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Without parts of a second.
fn round(span: weir_rollout::Span) -> weir_rollout::Span {
    weir_rollout::Span(span.0 / 1_000 * 1_000)
}
