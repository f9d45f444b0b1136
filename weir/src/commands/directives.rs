//! `weir directives`: the catalogue, from which everything else about directives follows.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use weir_config::{Action, Directive, directives, nearest};

/// Lists all directives, or explains one.
pub(super) fn run(name: Option<&str>, absent: bool) -> ExitCode {
    let Some(name) = name else {
        list(absent);
        return ExitCode::SUCCESS;
    };
    let found: Vec<&Directive> = directives().filter(|d| d.name == name).collect();
    if found.is_empty() {
        let hint = match nearest(name, directives().map(|d| d.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "type `weir directives` for all of them".to_owned(),
        };
        eprintln!("weir: there is no directive \"{name}\"; {hint}");
        return ExitCode::FAILURE;
    }
    let mut out = std::io::stdout().lock();
    for directive in found {
        if explain(&mut out, directive).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn list(absent: bool) {
    let mut by_name: BTreeMap<&str, (Vec<&str>, &str)> = BTreeMap::new();
    for directive in directives() {
        let refused = matches!(directive.action, Action::Absent(_));
        if absent && !refused {
            continue;
        }
        let note = if refused { "not there yet" } else { "" };
        let entry = by_name.entry(directive.name).or_insert((Vec::new(), note));
        entry.0.extend(directive.contexts.names());
    }
    let mut out = std::io::stdout().lock();
    for (name, (mut contexts, note)) in by_name {
        contexts.dedup();
        let contexts = contexts.join(", ");
        let line = format!("{name:36} {contexts:44} {note}");
        // A reader that has seen enough (`| head`) is no mistake.
        if writeln!(out, "{}", line.trim_end()).is_err() {
            return;
        }
    }
}

fn explain(out: &mut impl Write, directive: &Directive) -> std::io::Result<()> {
    let Directive { name, syntax, .. } = directive;
    let space = if syntax.is_empty() { "" } else { " " };
    let end = if directive.block { " { ... }" } else { ";" };
    let default = if directive.default.is_empty() { "none" } else { directive.default };
    let contexts: Vec<&str> = directive.contexts.names().collect();
    writeln!(out, "{name}{space}{syntax}{end}")?;
    if !directive.doc.is_empty() {
        writeln!(out, "    {}", directive.doc)?;
    }
    writeln!(out, "    default: {default}")?;
    writeln!(out, "    allowed in: {}", contexts.join(", "))?;
    if !directive.module.is_empty() {
        writeln!(out, "    nginx module: {}", directive.module)?;
    }
    match directive.action {
        Action::Absent("") => writeln!(out, "    Weir: not supported by this version"),
        Action::Absent(instead) => writeln!(out, "    Weir: not supported by this version; {instead}"),
        Action::Accepted(why) if !why.is_empty() => writeln!(out, "    Weir: accepted without effect; {why}"),
        _ => Ok(()),
    }
}
