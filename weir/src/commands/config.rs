//! `weir config`: what a configuration means.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;
use weir_model::vrrp::Vrrp;
use weir_model::{Config, ServerName};

use super::files::{self, Kind, Show};
use crate::load;
use crate::machine::Machine;

/// Shows each file's compiled form.
pub(super) fn run(files: &[String], json: bool) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let mut out = std::io::stdout().lock();
    for file in files.iter().flat_map(|file| files::below(file)) {
        let written = match files::kind(&file) {
            Some(Kind::Nginx) => files::nginx(&file, Show::All, Machine::Looking).map(|mut loaded| {
                weir_config::hide_secrets(&mut loaded.config);
                if json { print(&mut out, &loaded.config) } else { outline(&mut out, &loaded.config) }
            }),
            Some(Kind::Keepalived) => files::keepalived(&file, Show::All, Machine::Looking).map(|loaded| {
                if json {
                    print(&mut out, &load::without_passwords(loaded.vrrp))
                } else {
                    routers(&mut out, &loaded.vrrp)
                }
            }),
            None => None,
        };
        match written {
            Some(Ok(())) => {}
            // A reader that has seen enough (`| head`) is no mistake.
            Some(Err(_)) => break,
            None => code = ExitCode::FAILURE,
        }
    }
    code
}

fn print(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Virtual routers and their addresses.
fn routers(out: &mut impl Write, vrrp: &Vrrp) -> std::io::Result<()> {
    for one in &vrrp.instances {
        let (name, interface, vrid, priority) = (&one.name, &one.interface, one.vrid, one.priority);
        writeln!(out, "vrrp_instance {name}: {interface}, vrid {vrid}, priority {priority}")?;
        for address in one.addresses.iter().chain(&one.excluded) {
            writeln!(out, "    {}/{}", address.address, address.prefix_len)?;
        }
    }
    writeln!(out, "all settings: weir config --json FILE")
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
