//! `weir check`: are the configurations of a node, or of all nodes of a group, right?

mod here;
mod json;
mod nodes;

use std::process::ExitCode;

use weir_lint::{Finding, Node};
use weir_syntax::{Diagnostic, Severity, SourceFile};

use super::files::{self, Broken, Kind};
use crate::load::is_mistake;
use crate::machine::Machine;
use crate::place;
pub(crate) use here::Here;

/// A file that was read, with what is wrong with it alone.
struct Checked {
    file: String,
    content: Result<Content, Broken>,
}

enum Content {
    Nginx(Box<weir_config::Loaded>),
    Keepalived(Box<weir_keepalived::Loaded>),
}

/// Checks each file by itself, then all of them together.
pub(super) fn run(files: &[String], json: bool, here: bool) -> ExitCode {
    let checked = read_all(files);
    let own = Here::look();
    let nodes = nodes::of(&checked, here);
    let compared = checked.iter().all(|one| one.content.is_ok());
    let machine = own.as_ref().map(|own| -> &dyn weir_lint::Machine { own });
    let findings = if compared { weir_lint::lint(&nodes, machine) } else { Vec::new() };
    let right = checked.iter().all(Checked::is_right)
        && !findings.iter().any(|finding| finding.diagnostic.severity == Severity::Error);
    if json {
        json::print(&checked, &findings);
    } else {
        checked.iter().for_each(Checked::tell);
        findings.iter().for_each(tell);
        summary(&nodes, &findings, compared, machine);
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lists the rules that look at several files.
pub(super) fn list_rules(json: bool) -> ExitCode {
    if json {
        json::print_rules();
        return ExitCode::SUCCESS;
    }
    let width = weir_lint::rules().map(|rule| rule.id.len()).max().unwrap_or_default();
    for rule in weir_lint::rules() {
        println!("{:width$}  {:7}  {}", rule.id, word(rule.severity), rule.doc);
    }
    ExitCode::SUCCESS
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The files that were named, those of folders, and the keepalived.conf that an nginx.conf names.
fn read_all(paths: &[String]) -> Vec<Checked> {
    let mut checked: Vec<Checked> = Vec::new();
    for path in paths.iter().flat_map(|path| files::below(path)) {
        add(&path, &mut checked);
    }
    let named: Vec<String> = checked.iter().filter_map(Checked::routers).map(str::to_owned).collect();
    for path in named {
        add(&path, &mut checked);
    }
    checked
}

fn add(path: &str, checked: &mut Vec<Checked>) {
    if !checked.iter().any(|one| place::same_file(&one.file, path)) {
        checked.push(Checked { file: path.to_owned(), content: read(path) });
    }
}

fn read(file: &str) -> Result<Content, Broken> {
    match files::peek(file).map_err(|error| Broken::unreadable(file, &error))? {
        Kind::Nginx => {
            files::read_nginx(file, Machine::Looking).map(|loaded| Content::Nginx(Box::new(loaded)))
        }
        Kind::Keepalived => {
            files::read_keepalived(file, Machine::Looking).map(|loaded| Content::Keepalived(Box::new(loaded)))
        }
    }
}

impl Checked {
    /// The keepalived.conf that an nginx.conf names.
    fn routers(&self) -> Option<&str> {
        match &self.content {
            Ok(Content::Nginx(loaded)) => loaded.config.process.keepalived.as_deref(),
            _ => None,
        }
    }

    fn said(&self) -> (&[Diagnostic], &[SourceFile]) {
        match &self.content {
            Ok(Content::Nginx(loaded)) => (&loaded.warnings, &loaded.tree.files),
            Ok(Content::Keepalived(loaded)) => (&loaded.warnings, &loaded.tree.files),
            Err(broken) => (&broken.diagnostics, &broken.files),
        }
    }

    /// Whether it can be used and does what it says.
    fn is_right(&self) -> bool {
        match &self.content {
            Ok(Content::Nginx(_)) => true,
            Ok(Content::Keepalived(loaded)) => {
                !loaded.warnings.iter().any(|warning| is_mistake(warning, &loaded.tree.items))
            }
            Err(_) => false,
        }
    }

    fn tell(&self) {
        let (diagnostics, files) = self.said();
        files::print(diagnostics, files);
        let file = &self.file;
        if self.content.is_err() {
            println!("{file}: cannot be served");
            return;
        }
        let included = match files.len().saturating_sub(1) {
            0 => String::new(),
            1 => ", with 1 included file".to_owned(),
            n => format!(", with {n} included files"),
        };
        let warned = match diagnostics.len() {
            0 => String::new(),
            n => format!(", {}", count(n, "warning")),
        };
        let verdict = if self.is_right() { "ok" } else { "runs, but not as it is written" };
        println!("{file}: {verdict}{included}{warned}");
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn tell(finding: &Finding<'_>) {
    let mut diagnostic = finding.diagnostic.clone();
    diagnostic.notes.push(format!("rule {}, nodes {}", finding.rule.id, finding.nodes.join(", ")));
    files::print(&[diagnostic], finding.place.files);
}

/// What was compared, and what was not looked at.
fn summary(
    nodes: &[Node<'_>],
    findings: &[Finding<'_>],
    compared: bool,
    machine: Option<&dyn weir_lint::Machine>,
) {
    let speakers: Vec<&Node<'_>> = nodes.iter().filter(|node| node.keepalived.is_some()).collect();
    if speakers.is_empty() {
        return;
    }
    let names =
        |nodes: &[&Node<'_>]| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>().join(", ");
    if !compared {
        println!("{}: not compared, because a file cannot be used", names(&speakers));
        return;
    }
    let of = |severity| findings.iter().filter(|one| one.diagnostic.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let found = match (errors, warnings) {
        (0, 0) => "ok together".to_owned(),
        (0, warnings) => format!("ok together, {}", count(warnings, "warning")),
        (errors, 0) => format!("not right together, {}", count(errors, "error")),
        (errors, warnings) => {
            format!("not right together, {}, {}", count(errors, "error"), count(warnings, "warning"))
        }
    };
    println!("{}: {found}", names(&speakers));
    let other: Vec<&Node<'_>> =
        speakers.into_iter().filter(|node| !machine.is_some_and(|machine| node.is_on(machine))).collect();
    if !other.is_empty() {
        let host = machine.map_or("this host", weir_lint::Machine::host_name);
        println!(
            "{}: interfaces and scripts were not looked at: nothing says that the files are for {host} (--here does)",
            names(&other)
        );
    }
}
