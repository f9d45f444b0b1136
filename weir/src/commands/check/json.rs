//! What was found, for programs.

use std::io::Write;

use serde::Serialize;
use weir_lint::{Finding, Place};
use weir_syntax::Diagnostic;

use super::{Checked, word};

/// The rule of what one file shows by itself.
const FILE: &str = "file";

#[derive(Serialize)]
struct Entry<'a> {
    /// Absent where the whole is meant.
    file: Option<&'a str>,
    /// Both counted from 1.
    line: Option<usize>,
    column: Option<usize>,
    rule: &'a str,
    severity: &'static str,
    message: &'a str,
    notes: &'a [String],
    help: &'a [String],
    nodes: &'a [String],
    related: Vec<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

#[derive(Serialize)]
struct Listed {
    rule: &'static str,
    severity: &'static str,
    doc: &'static str,
}

impl<'a> Entry<'a> {
    fn new(rule: &'a str, diagnostic: &'a Diagnostic, position: Option<(&'a str, usize, usize)>) -> Self {
        Self {
            file: position.map(|(file, ..)| file),
            line: position.map(|(_, line, _)| line),
            column: position.map(|(.., column)| column),
            rule,
            severity: word(diagnostic.severity),
            message: &diagnostic.message,
            notes: &diagnostic.notes,
            help: &diagnostic.help,
            nodes: &[],
            related: Vec::new(),
        }
    }
}

/// One array: what is wrong with each file, then what all of them show together.
pub(super) fn print(checked: &[Checked], findings: &[Finding<'_>]) {
    let places: Vec<(&Diagnostic, Place<'_>)> = checked
        .iter()
        .flat_map(|one| {
            let (diagnostics, files) = one.said();
            diagnostics.iter().map(move |one| (one, Place { files, span: one.span.or(one.stood) }))
        })
        .collect();
    let mut entries: Vec<Entry<'_>> =
        places.iter().map(|(one, place)| Entry::new(FILE, one, place.position())).collect();
    entries.extend(findings.iter().map(|finding| Entry {
        nodes: &finding.nodes,
        related: finding.related.iter().filter_map(Place::position).map(related).collect(),
        ..Entry::new(finding.rule.id, &finding.diagnostic, finding.place.position())
    }));
    write(&entries);
}

const fn related((file, line, column): (&str, usize, usize)) -> Related<'_> {
    Related { file, line, column }
}

/// Every rule.
pub(super) fn print_rules() {
    let rules: Vec<Listed> = weir_lint::rules()
        .map(|rule| Listed { rule: rule.id, severity: word(rule.severity), doc: rule.doc })
        .collect();
    write(&rules);
}

fn write(value: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    // A reader that has seen enough (`| head`) is no mistake.
    let _ = serde_json::to_writer_pretty(&mut out, value).map(|()| writeln!(out));
}
