//! Weir's own subcommands.

mod check;
mod config;
mod directives;
mod files;
mod link;
mod registry;
mod rollout;
mod service;
mod upstream;
mod vip;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use weir_model::Secret;

use crate::machine::Machine;
use crate::place::Invocation;
use crate::{demo, keeper};
pub(crate) use check::Here;
use files::{Kind, Show};

/// Serves your nginx.conf: reverse proxy and load balancer.
#[derive(Parser)]
#[command(
    name = "weir",
    version,
    after_help = "Examples:\n  \
        weir demo                          see it work, nothing to set up\n  \
        weir check /etc/nginx/nginx.conf   is this configuration right?\n  \
        weir run ./nginx.conf              serve it from this terminal\n  \
        weir run nginx.conf keepalived.conf   the same with virtual IPs\n  \
        weir vip                           who holds which virtual IP, and why\n  \
        weir upstream                      which servers take requests, and why\n  \
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
        /// An nginx.conf, a keepalived.conf, or one of each
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Show who holds which virtual IP, since when, and why
    Vip {
        /// One vrrp_instance, with its whole history
        name: Option<String>,
        /// The whole state, for programs
        #[arg(long)]
        json: bool,
        /// The node's status_socket
        #[arg(long, value_name = "PATH")]
        socket: Option<String>,
    },
    /// Show the peers of upstreams, their states and who set them, or set one
    Upstream(upstream::Words),
    /// Run the registry by itself: a durable store with Consul's API, on one machine
    ///
    /// `registry { }` in an nginx.conf runs it inside `weir run`. SIGHUP reads tokens and certificates again.
    Registry(registry::Words),
    /// Release a new version server by server, without a lost request
    ///
    /// Each server in turn, or batch by batch: no new requests, wait until the running ones have ended, stop, start,
    /// check, put back. The first server that fails stops it, and the others serve on.
    Rollout(Box<rollout::Words>),
    /// Run an application that registers itself, and show or change what is registered
    Service(service::Words),
    /// Say whether configurations are right, and what to do where they are not
    ///
    /// Reads nginx and keepalived files, each by itself and then together: the files of all nodes of a group, named
    /// in one command, show what one node's file cannot. A folder with one keepalived.conf is a node; in a folder
    /// with several of them each is a node, and its nginx.conf is that of all. Nothing is opened or bound.
    ///
    /// Exit code 0: nothing is wrong, warnings aside; 1: a file cannot be used, a keepalived.conf says something that
    /// would be ignored, or nodes contradict each other.
    Check {
        /// nginx.conf and keepalived.conf files, or folders with them
        #[arg(required_unless_present = "rules")]
        files: Vec<String>,
        /// What was found, for programs
        #[arg(long)]
        json: bool,
        /// The files are those of this machine: look at its interfaces and scripts as well
        #[arg(long)]
        here: bool,
        /// List the rules for several files together
        #[arg(long, conflicts_with_all = ["files", "here"])]
        rules: bool,
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
        /// Two nodes and one virtual IP between them, as hosts in network namespaces; kill what you like
        #[arg(long, conflicts_with = "port")]
        ha: bool,
    },
    /// Run hosts in network namespaces, break things, and see what an address and its clients saw
    #[command(disable_help_flag = true)]
    Lab {
        /// A scenario file, or --matrix; `weir lab --help` tells all
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
}

/// Does what the words say.
pub(crate) fn run() -> ExitCode {
    let command = parse().command;
    let waits = match &command {
        Command::Run { .. } | Command::Demo { .. } | Command::Registry(_) | Command::Rollout(_) => true,
        Command::Service(words) => words.waits_for_signals(),
        _ => false,
    };
    if !waits {
        // Should it fail, the command is only less easily interrupted.
        let _ = weir_net::end_by_signals();
    }
    match command {
        Command::Run { files } => serve(&files),
        Command::Check { json, rules: true, .. } => check::list_rules(json),
        Command::Check { files, json, here, .. } => check::run(&files, json, here),
        Command::Upstream(words) => upstream::run(words),
        Command::Registry(words) => registry::run(&words),
        Command::Rollout(words) => rollout::run(*words),
        Command::Service(words) => service::run_words(words),
        Command::Vip { name, json, socket } => vip::run(name.as_deref(), socket, json),
        Command::Config { files, json } => config::run(&files, json),
        Command::Directives { name, absent } => directives::run(name.as_deref(), absent),
        Command::Demo { time, ha: true, .. } => with_own_path(|weir| weir_lab::demo_ha(weir, time)),
        Command::Demo { time, port, ha: false } => demo::run(time, port),
        Command::Lab { words } => with_own_path(|weir| weir_lab::main_with(words, weir)),
    }
}

/// Exit code 2 of `weir rollout` says that servers are left changed, so words that are wrong end with its code for what
/// was refused.
fn parse() -> CommandLine {
    CommandLine::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|word| word == "rollout") {
            // Where not even this can be printed the code says it.
            let _ = error.print();
            std::process::exit(i32::from(rollout::REFUSED));
        }
        error.exit()
    })
}

/// The laboratory runs this very binary.
fn with_own_path(run: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match std::env::current_exe() {
        Ok(weir) => run(&weir),
        Err(error) => {
            eprintln!("weir: the path of this binary is not known: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The token in a file.
fn token(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty; a token is expected in it", path.display())),
        token => Ok(Secret(token.to_owned())),
    }
}

fn serve(files: &[String]) -> ExitCode {
    let invocation = match invocation(files) {
        Ok(invocation) => invocation,
        Err(text) => {
            eprintln!("weir: {text}");
            return ExitCode::FAILURE;
        }
    };
    // What is wrong is shown as `weir check` does, not in one line; warnings are told at the start.
    let right = files.iter().all(|file| match files::kind(file) {
        Some(Kind::Nginx) => files::nginx(file, Show::Errors, Machine::Serving).is_some(),
        Some(Kind::Keepalived) => files::keepalived(file, Show::Errors, Machine::Serving).is_some(),
        None => false,
    });
    if right { keeper::run(invocation) } else { ExitCode::FAILURE }
}

/// How one or two files are run.
fn invocation(files: &[String]) -> Result<Invocation, String> {
    let (mut proxy, mut routers) = (Vec::new(), Vec::new());
    for file in files {
        match files::kind(file) {
            Some(Kind::Nginx) => proxy.push(file),
            Some(Kind::Keepalived) => routers.push(file),
            None => return Err(format!("{file} cannot be served")),
        }
    }
    let file = file_of(&proxy, "nginx.conf")?;
    match (file, file_of(&routers, "keepalived.conf")?) {
        (Some(file), routers) => {
            let mut invocation = Invocation::of_file(file).map_err(|error| format!("{file}: {error}"))?;
            // Absolute, because a reload may find the process elsewhere.
            let path = |file| std::path::absolute(file).map(|path| path.display().to_string());
            invocation.keepalived = routers.map(path).transpose().map_err(|error| error.to_string())?;
            Ok(invocation)
        }
        (None, Some(file)) => Invocation::of_keepalived(file).map_err(|error| format!("{file}: {error}")),
        (None, None) => Err("no file; expected an nginx.conf, a keepalived.conf, or one of each".to_owned()),
    }
}

fn file_of<'a>(files: &[&'a String], name: &str) -> Result<Option<&'a str>, String> {
    match files {
        [] => Ok(None),
        [file] => Ok(Some(file)),
        several => Err(format!(
            "{} files for one {name}; expected one, which may `include` others: {}",
            several.len(),
            several.iter().map(|file| file.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}
