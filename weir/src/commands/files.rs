//! Files of the command line: an nginx.conf or a keepalived.conf, told apart by what is in them.

use std::io::IsTerminal;
use std::path::Path;

use weir_syntax::{Diagnostic, SourceFile};

use crate::machine::{self, Machine};
use crate::place::Invocation;

/// What [`nginx`] and [`keepalived`] print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Errors,
    All,
}

/// What a file is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Keepalived,
}

/// Looks into a file; one that cannot be read was told.
pub(super) fn kind(file: &str) -> Option<Kind> {
    match peek(file) {
        Ok(kind) => Some(kind),
        Err(error) => {
            eprintln!("weir: {}", unreadable(file, &error));
            None
        }
    }
}

/// Looks into a file.
pub(super) fn peek(file: &str) -> std::io::Result<Kind> {
    let bytes = std::fs::read(file)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(if weir_syntax::keepalived::is_keepalived(&text) { Kind::Keepalived } else { Kind::Nginx })
}

/// What is said of a file that is not there.
fn unreadable(file: &str, error: &std::io::Error) -> String {
    format!("{file}: {error}; expected the path of an nginx.conf or a keepalived.conf")
}

/// Why a file cannot be used.
pub(super) struct Broken {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What the spans point into.
    pub(super) files: Vec<SourceFile>,
}

/// Loads an nginx.conf.
pub(super) fn read_nginx(file: &str, machine: Machine) -> Result<weir_config::Loaded, Broken> {
    let invocation = Invocation::of_file(file).map_err(|error| Broken::unreadable(file, &error))?;
    weir_config::load(&invocation.options, &machine)
        .map_err(|failure| Broken { diagnostics: failure.diagnostics, files: failure.tree.files })
}

/// Loads a keepalived.conf.
pub(super) fn read_keepalived(file: &str, machine: Machine) -> Result<weir_keepalived::Loaded, Broken> {
    weir_keepalived::load(file, &machine::settings(None), &machine)
        .map_err(|failure| Broken { diagnostics: failure.diagnostics, files: failure.tree.files })
}

impl Broken {
    /// A file that is not there.
    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self { diagnostics: vec![Diagnostic::error(unreadable(file, error))], files: Vec::new() }
    }
}

/// Loads an nginx.conf; what is wrong was shown with its lines.
pub(super) fn nginx(file: &str, show: Show, machine: Machine) -> Option<weir_config::Loaded> {
    let loaded = told(read_nginx(file, machine))?;
    if show == Show::All {
        print(&loaded.warnings, &loaded.tree.files);
    }
    Some(loaded)
}

/// Loads a keepalived.conf; what is wrong was shown with its lines.
pub(super) fn keepalived(file: &str, show: Show, machine: Machine) -> Option<weir_keepalived::Loaded> {
    let loaded = told(read_keepalived(file, machine))?;
    if show == Show::All {
        print(&loaded.warnings, &loaded.tree.files);
    }
    Some(loaded)
}

fn told<T>(read: Result<T, Broken>) -> Option<T> {
    read.map_err(|broken| print(&broken.diagnostics, &broken.files)).ok()
}

/// Shows diagnostics with their lines.
pub(super) fn print(diagnostics: &[Diagnostic], files: &[SourceFile]) {
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    for diagnostic in diagnostics {
        eprintln!("{}", diagnostic.render(files, color));
    }
}

/// The files of a path: itself, or what a folder holds of the two kinds.
pub(super) fn below(path: &str) -> Vec<String> {
    if !Path::new(path).is_dir() {
        return vec![path.to_owned()];
    }
    let folder = path.trim_end_matches('/');
    let usual = ["nginx.conf", "keepalived.conf"].map(|name| format!("{folder}/{name}"));
    let mut files: Vec<String> = usual.into_iter().filter(|file| Path::new(file).exists()).collect();
    // Several nodes side by side: keepalived-lb01.conf, keepalived-lb02.conf.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let named = others.filter(|name| name.starts_with("keepalived") && name.ends_with(".conf"));
    files.extend(named.map(|name| format!("{folder}/{name}")));
    files.sort();
    files.dedup();
    if files.is_empty() {
        // So that the message names what was looked for.
        files.push(format!("{folder}/nginx.conf"));
    }
    files
}
