//! `weir directives`: the catalogues of both grammars, from which everything else about directives follows.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use weir_config::{Action, Directive, directives, nearest};
use weir_keepalived::{Action as Effect, Keyword, Shape, keywords};

/// Lists all directives, or explains one.
pub(super) fn run(name: Option<&str>, absent: bool) -> ExitCode {
    let Some(name) = name else {
        list(absent);
        return ExitCode::SUCCESS;
    };
    let nginx: Vec<&Directive> = directives().filter(|d| d.name == name).collect();
    let keepalived: Vec<&Keyword> = keywords().filter(|k| k.name == name).collect();
    if nginx.is_empty() && keepalived.is_empty() {
        let names = directives().map(|d| d.name).chain(keywords().map(|k| k.name));
        let hint = match nearest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "type `weir directives` for all of them".to_owned(),
        };
        eprintln!("weir: there is no directive \"{name}\"; {hint}");
        return ExitCode::FAILURE;
    }
    let mut out = std::io::stdout().lock();
    let mut explained = nginx.into_iter().map(|directive| explain(&mut out, directive));
    // A reader that has seen enough (`| head`) is no mistake.
    if explained.all(|written| written.is_ok()) {
        drop(explained);
        let _ = keepalived.into_iter().try_for_each(|keyword| explain_keyword(&mut out, keyword));
    }
    ExitCode::SUCCESS
}

/// Where a name stands, in which file, and whether this version refuses it.
type Row = (Vec<&'static str>, &'static str);

fn list(absent: bool) {
    let mut by_name: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    let mut add = |name, file, contexts: &mut dyn Iterator<Item = &'static str>, refused| {
        if refused || !absent {
            let note = if refused { "not there yet" } else { "" };
            by_name.entry((name, file)).or_insert((Vec::new(), note)).0.extend(contexts);
        }
    };
    for one in directives() {
        add(one.name, "nginx", &mut one.contexts.names(), matches!(one.action, Action::Absent(_)));
    }
    for one in keywords() {
        add(one.name, "keepalived", &mut one.blocks.names(), matches!(one.action, Effect::Later(_)));
    }
    let mut out = std::io::stdout().lock();
    for ((name, file), (mut contexts, note)) in by_name {
        contexts.dedup();
        let contexts = contexts.join(", ");
        let line = format!("{name:36} {file:10} {contexts:44} {note}");
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

/// The same of a keyword of keepalived.conf.
fn explain_keyword(out: &mut impl Write, keyword: &Keyword) -> std::io::Result<()> {
    let Keyword { name, syntax, doc, .. } = keyword;
    let space = if syntax.is_empty() { "" } else { " " };
    let contexts: Vec<&str> = keyword.blocks.names().collect();
    match keyword.shape {
        Shape::List => writeln!(out, "{name} {{ {syntax} ... }}")?,
        Shape::Block { .. } => writeln!(out, "{name}{space}{syntax} {{ ... }}")?,
        Shape::Words(..) | Shape::Command => writeln!(out, "{name}{space}{syntax}")?,
    }
    if !doc.is_empty() {
        writeln!(out, "    {doc}")?;
    }
    writeln!(out, "    default: {}", if keyword.default.is_empty() { "none" } else { keyword.default })?;
    writeln!(out, "    allowed in: {}", contexts.join(", "))?;
    match keyword.since {
        "" => writeln!(out, "    keepalived: every release")?,
        "weir" => writeln!(out, "    keepalived: none, this is Weir's own")?,
        release => writeln!(out, "    keepalived: since {release}")?,
    }
    match keyword.action {
        Effect::Later(why) => writeln!(out, "    Weir: not supported by this version; {why}"),
        Effect::WithoutEffect(why) | Effect::Silent(why) => {
            writeln!(out, "    Weir: accepted without effect; {why}")
        }
        _ => Ok(()),
    }
}
