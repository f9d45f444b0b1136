//! `weir config`: what a configuration means.

use std::io::Write;
use std::process::ExitCode;

use weir_model::{Config, ServerName};

use crate::machine::Machine;

/// Shows each file's compiled form.
pub(super) fn run(files: &[String], json: bool) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut out = std::io::stdout().lock();
    for file in files.iter().map(|file| super::in_folder(file)) {
        let Some(loaded) = super::load(&file, super::Show::All, Machine::Looking) else {
            code = ExitCode::FAILURE;
            continue;
        };
        let written = if json {
            serde_json::to_writer_pretty(&mut out, &loaded.config)
                .map_err(std::io::Error::from)
                .and_then(|()| writeln!(out))
        } else {
            outline(&mut out, &loaded.config)
        };
        // A reader that has seen enough (`| head`) is no mistake.
        if written.is_err() {
            break;
        }
    }
    code
}

/// Addresses, the servers behind them, and the groups of upstream servers.
fn outline(out: &mut impl Write, config: &Config) -> std::io::Result<()> {
    let Some(http) = &config.http else {
        return writeln!(out, "nothing is served: there is no http block");
    };
    for listener in &http.listeners {
        writeln!(out, "listen {}", listener.address)?;
        for &index in &listener.servers {
            let server = &http.servers[index];
            let names: Vec<String> = server.names.iter().map(name).collect();
            let names =
                if names.iter().all(String::is_empty) { "(no name)".to_owned() } else { names.join(" ") };
            let default = if index == listener.default_server { "  (default)" } else { "" };
            writeln!(out, "    server {names}{default}")?;
        }
    }
    for upstream in &http.upstreams {
        writeln!(out, "upstream {}", upstream.name)?;
    }
    writeln!(out, "all settings: weir config --json FILE")
}

fn name(name: &ServerName) -> String {
    match name {
        ServerName::Exact(name) => name.clone(),
        ServerName::Suffix(name) => format!("*.{name}"),
        ServerName::SuffixOrExact(name) => format!(".{name}"),
        ServerName::Prefix(name) => format!("{name}.*"),
        ServerName::Regex(regex) => format!("~{}", regex.source),
    }
}
