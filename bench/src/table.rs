//! The report for people: facts, tables, targets. Combines nothing itself.

use std::fmt::Write;

use crate::cases::{self, THROUGHPUT};
use crate::machine::Facts;
use crate::proxy::Kind;
use crate::results::{Metric, Results, Spread};
use crate::targets::Verdict;
use crate::{idle, reload};

/// What the report needs beside the figures.
pub(crate) struct Run<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) proxies: &'a [Kind],
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    /// Requests per second of the latency case, if it was run.
    pub(crate) rate: Option<u32>,
    pub(crate) idle_connections: usize,
    /// What other programs used, in percent of one core.
    pub(crate) bystanders: f64,
}

/// Above this share of one core the figures are marked as disturbed.
const DISTURBED: f64 = 10.0;

/// The whole report.
pub(crate) fn report(run: &Run<'_>, results: &Results, verdicts: &[Verdict]) -> String {
    let mut text = facts(run);
    text.push_str(&requests(run, results));
    text.push_str(&idle_table(run, results));
    text.push_str(&reload_table(run, results));
    text.push_str(&targets(verdicts));
    for note in &results.notes {
        let _ = writeln!(text, "note: {note}");
    }
    if run.bystanders > DISTURBED {
        let _ = writeln!(
            text,
            "note: other programs used {:.0} % of a core during the run; the figures are disturbed",
            run.bystanders
        );
    }
    for problem in &results.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    text
}

fn facts(run: &Run<'_>) -> String {
    let facts = run.facts;
    format!(
        "Linux {}, {}, {} cores; proxy on core {}, load and backend on core {}\n{}\n\
         {} rounds of {} s, medians; ratios are to nginx in the same round, with least and most\n\n",
        facts.kernel,
        facts.processor,
        facts.cores,
        facts.proxy_core,
        facts.load_core,
        facts.versions.join("; "),
        run.rounds,
        run.seconds
    )
}

fn requests(run: &Run<'_>, results: &Results) -> String {
    let latency =
        format!("{} requests/s, {} connections", run.rate.unwrap_or_default(), cases::LATENCY_CONNECTIONS);
    let cases =
        THROUGHPUT.iter().map(|case| (case.name, case.title)).chain([(cases::LATENCY, latency.as_str())]);
    let header = [
        "case",
        "proxy",
        "CPU us",
        "user us",
        "CPU ratio",
        "requests/s",
        "p50 us",
        "p99 us",
        "p99 ratio",
        "core %",
    ];
    let mut rows = Vec::new();
    for (name, title) in cases {
        let mut first = true;
        for kind in run.proxies {
            let median = |metric| results.median(name, *kind, metric);
            let Some(cpu) = median(Metric::CpuMicros) else {
                continue;
            };
            rows.push(vec![
                if std::mem::take(&mut first) { format!("{name}: {title}") } else { String::new() },
                kind.name().to_owned(),
                format!("{cpu:.2}"),
                number(median(Metric::UserMicros), 2),
                ratio(results.ratio(name, *kind, Metric::CpuMicros), *kind),
                number(median(Metric::RequestsPerSecond), 0),
                number(median(Metric::P50Micros), 0),
                number(median(Metric::P99Micros), 0),
                ratio(results.ratio(name, *kind, Metric::P99Micros), *kind),
                number(median(Metric::CorePercent), 0),
            ]);
        }
    }
    layout(&header, &rows)
}

fn idle_table(run: &Run<'_>, results: &Results) -> String {
    let header = ["case", "proxy", "bytes/connection", "ratio", "before MB"];
    let mut rows = Vec::new();
    for kind in run.proxies {
        let median = |metric| results.median(idle::NAME, *kind, metric);
        let Some(bytes) = median(Metric::IdleBytes) else {
            continue;
        };
        rows.push(vec![
            if rows.is_empty() {
                format!("idle: {} keep-alive connections", run.idle_connections)
            } else {
                String::new()
            },
            kind.name().to_owned(),
            format!("{bytes:.0}"),
            ratio(results.ratio(idle::NAME, *kind, Metric::IdleBytes), *kind),
            number(median(Metric::BaseBytes).map(|bytes| bytes / 1e6), 1),
        ]);
    }
    layout(&header, &rows)
}

fn reload_table(run: &Run<'_>, results: &Results) -> String {
    let header = ["case", "proxy", "ms/reload", "worst ms", "requests", "failed", "WebSockets lost"];
    let mut rows = Vec::new();
    for kind in run.proxies {
        let median = |metric| results.median(reload::NAME, *kind, metric);
        let Some(time) = median(Metric::ReloadMillis) else {
            continue;
        };
        rows.push(vec![
            if rows.is_empty() {
                format!(
                    "reload: {} times at {} requests/s, {} WebSockets",
                    reload::RELOADS,
                    reload::RATE,
                    reload::WEBSOCKETS
                )
            } else {
                String::new()
            },
            kind.name().to_owned(),
            format!("{time:.1}"),
            number(median(Metric::WorstReloadMillis), 1),
            number(median(Metric::Requests), 0),
            number(median(Metric::FailedRequests), 0),
            number(median(Metric::LostWebsockets), 0),
        ]);
    }
    layout(&header, &rows)
}

fn targets(verdicts: &[Verdict]) -> String {
    if verdicts.iter().all(|verdict| verdict.value.is_none()) {
        return String::new();
    }
    let header = ["target for weir", "limit", "measured", ""];
    let rows: Vec<Vec<String>> = verdicts
        .iter()
        .map(|verdict| {
            let format = |value: f64| {
                if verdict.ratio { format!("{value:.2} x nginx") } else { format!("{value:.0}") }
            };
            vec![
                verdict.title.to_owned(),
                format(verdict.limit),
                verdict.value.map_or("-".to_owned(), format),
                match verdict.met {
                    Some(true) => "met",
                    Some(false) => "missed",
                    None => "not measured",
                }
                .to_owned(),
            ]
        })
        .collect();
    layout(&header, &rows)
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn ratio(ratio: Option<Spread>, kind: Kind) -> String {
    match ratio {
        Some(_) if kind == Kind::Nginx => "1".to_owned(),
        Some(ratio) => format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.least, ratio.most),
        None => "-".to_owned(),
    }
}

/// Columns as wide as their widest cell: the first column and the last one lean left when they hold
/// words, figures lean right. Nothing when there are no rows.
fn layout(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: Vec<usize> = header
        .iter()
        .enumerate()
        .map(|(column, title)| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([title.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut row = String::new();
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let words = column == 0 || cell.chars().all(char::is_alphabetic);
            let _ = if words { write!(row, "{cell:<width$}  ") } else { write!(row, "{cell:>width$}  ") };
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(&mut header.iter().copied());
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    line(&mut rules.iter().map(String::as_str));
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".to_owned(), "nginx".to_owned(), "10.5".to_owned()],
            vec![String::new(), "weir".to_owned(), "9".to_owned()],
        ];
        assert_eq!(
            layout(&["case", "proxy", "CPU us"], &rows),
            "case  proxy  CPU us\n----  -----  ------\na     nginx    10.5\n      weir        9\n\n"
        );
        assert_eq!(layout(&["case"], &[]), "");
    }
}
