//! Weir's own subcommands.

mod check;
mod config;
mod directives;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir_config::{Failure, Loaded};

use crate::machine::Machine;
use crate::place::Invocation;
use crate::{demo, keeper};

/// Serves your nginx.conf: reverse proxy and load balancer.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Examples:\n  \
        weir demo                          see it work, nothing to set up\n  \
        weir check /etc/nginx/nginx.conf   is this configuration right?\n  \
        weir run ./nginx.conf              serve it from this terminal\n  \
        weir directives proxy_pass         what a directive means\n\n\
        nginx's own options work as well, for its scripts and units:\n  \
        weir -t -c /etc/nginx/nginx.conf\n  \
        weir -s reload\n  \
        weir -h                            all of them"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a configuration in the foreground; Ctrl-C ends it
    ///
    /// Relative paths in the file are below its folder. SIGHUP reloads it, SIGQUIT lets requests finish. To run
    /// in the background as the file's `daemon` says, use nginx's way: weir -c FILE.
    Run {
        /// An nginx.conf
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Say whether configurations are right, and what to do where they are not
    ///
    /// Nothing is opened or bound. Exit code 0: all can be served; 1: at least one cannot.
    Check {
        /// nginx.conf files, or folders with one
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Show what a configuration means after includes, inheritance and defaults
    Config {
        /// nginx.conf files
        #[arg(required = true)]
        files: Vec<String>,
        /// The whole compiled configuration, for programs
        #[arg(long)]
        json: bool,
    },
    /// List the directives, or explain one
    Directives {
        /// The directive to explain
        name: Option<String>,
        /// Only those that this version refuses
        #[arg(long, conflicts_with = "name")]
        absent: bool,
    },
    /// Three sample applications and a proxy in front of them
    ///
    /// Keys 1, 2 and 3 stop and start an application while requests run; q ends.
    Demo {
        /// End after this time, with a summary: 10s, 2m
        #[arg(long = "for", value_name = "TIME", value_parser = demo::parse_time)]
        time: Option<std::time::Duration>,
        /// Where the proxy listens; without it a free port from 8000 up
        #[arg(long)]
        port: Option<u16>,
    },
}

/// Does what the words say.
pub(crate) fn run() -> ExitCode {
    let command = CommandLine::parse().command;
    if !matches!(command, Command::Run { .. } | Command::Demo { .. }) {
        // Should it fail, the command is only less easily interrupted.
        let _ = weir_net::end_by_signals();
    }
    match command {
        Command::Run { files } => serve(&files),
        Command::Check { files } => check::run(&files),
        Command::Config { files, json } => config::run(&files, json),
        Command::Directives { name, absent } => directives::run(name.as_deref(), absent),
        Command::Demo { time, port } => demo::run(time, port),
    }
}

fn serve(files: &[String]) -> ExitCode {
    let [file] = files else {
        eprintln!("weir: {} files; expected one nginx.conf, which may `include` others", files.len());
        return ExitCode::FAILURE;
    };
    match Invocation::of_file(file) {
        Ok(invocation) => {
            // What is wrong is shown as `weir check` does, not in one line; warnings are told at the start.
            if load(file, Show::Errors, Machine::Serving).is_none() {
                return ExitCode::FAILURE;
            }
            keeper::run(invocation)
        }
        Err(error) => {
            eprintln!("weir: {file}: {error}; expected the path of an nginx.conf");
            ExitCode::FAILURE
        }
    }
}

/// What [`load`] prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Errors,
    All,
}

/// Loads a file; what is wrong was shown with its lines.
fn load(file: &str, show: Show, machine: Machine) -> Option<Loaded> {
    let invocation = match Invocation::of_file(file) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("weir: {file}: {error}; expected the path of an nginx.conf");
            return None;
        }
    };
    if is_keepalived(&std::fs::read_to_string(file).unwrap_or_default()) {
        eprintln!(
            "weir: {file}: this is a keepalived.conf, which this version does not read; expected an nginx.conf"
        );
        return None;
    }
    let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match weir_config::load(&invocation.options, &machine) {
        Ok(loaded) => {
            for warning in loaded.warnings.iter().filter(|_| show == Show::All) {
                eprintln!("{}", warning.render(&loaded.tree.files, color));
            }
            Some(loaded)
        }
        Err(failure) => {
            let Failure { diagnostics, tree } = *failure;
            for diagnostic in &diagnostics {
                eprintln!("{}", diagnostic.render(&tree.files, color));
            }
            None
        }
    }
}

/// The main file of a folder.
fn in_folder(path: &str) -> String {
    if Path::new(path).is_dir() {
        format!("{}/nginx.conf", path.trim_end_matches('/'))
    } else {
        path.to_owned()
    }
}

/// Whether a text is for keepalived: its blocks have names that nginx does not know.
fn is_keepalived(text: &str) -> bool {
    let blocks = ["global_defs", "vrrp_instance", "vrrp_script", "vrrp_sync_group", "virtual_server"];
    text.lines().any(|line| line.split_whitespace().next().is_some_and(|word| blocks.contains(&word)))
}
