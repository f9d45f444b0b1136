//! keepalived's command line, for its units and scripts: under the name `keepalived`, or as `weir keepalived`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use weir_keepalived::Loaded;
use weir_lint::Node;
use weir_model::{LogTarget, log::SyslogTarget};
use weir_net::Signal;
use weir_syntax::{Diagnostic, Severity};

use crate::commands::Here;
use crate::keeper;
use crate::load;
use crate::machine::{self, Machine};
use crate::place::{self, Invocation};

/// keepalived's exit code for a configuration that cannot be used.
const CONFIG: u8 = 4;

/// Virtual IPs by VRRP, as keepalived's command line says it.
#[derive(Parser)]
#[command(name = "keepalived", disable_version_flag = true, args_override_self = true)]
struct Words {
    /// Use the specified configuration file
    #[arg(short = 'f', long = "use-file", value_name = "FILE", default_value = place::KEEPALIVED_CONF)]
    file: String,
    /// Only virtual routers
    #[arg(short = 'P', long = "vrrp")]
    vrrp: bool,
    /// Only health checkers of virtual servers
    #[arg(short = 'C', long = "check")]
    check: bool,
    /// Log messages to the terminal
    #[arg(short = 'l', long = "log-console")]
    console: bool,
    /// Detailed log messages
    #[arg(short = 'D', long = "log-detail")]
    detail: bool,
    /// Stay in the foreground
    #[arg(short = 'n', long = "dont-fork")]
    foreground: bool,
    /// Show what the configuration means
    #[arg(short = 'd', long = "dump-conf")]
    dump: bool,
    /// Do not log via syslog
    #[arg(short = 'G', long = "no-syslog")]
    no_syslog: bool,
    /// Syslog facility: 0 to 7 for local0 to local7, or local0 to local7, user, daemon
    #[arg(short = 'S', long = "log-facility", value_name = "FACILITY", value_parser = facility)]
    facility: Option<u8>,
    /// Log to this file
    #[arg(short = 'g', long = "log-file", value_name = "FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = "/tmp/keepalived.log")]
    log_file: Option<String>,
    /// The file for the process id
    #[arg(short = 'p', long = "pid", value_name = "FILE", default_value = place::KEEPALIVED_PID)]
    pid: String,
    /// What lines that begin with @ are compared with; the node's name unless given
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    config_id: Option<String>,
    /// Print the number of a signal: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON
    #[arg(long, value_name = "SIGFUNC")]
    signum: Option<String>,
    /// Check the configuration; messages go to the file, or to the terminal
    #[arg(short = 't', long = "config-test", value_name = "LOG_FILE", num_args = 0..=1, require_equals = true,
        default_missing_value = "")]
    test: Option<String>,
    /// Display the version number
    #[arg(short = 'v', long)]
    version: bool,
    #[command(flatten)]
    ignored: Ignored,
}

/// What is taken for the sake of existing units, and changes nothing here.
#[derive(clap::Args)]
#[allow(dead_code, reason = "clap fills them in; nobody reads them")]
struct Ignored {
    /// Without effect: there is no BFD subsystem
    #[arg(short = 'B', long = "no_bfd")]
    no_bfd: bool,
    /// Without effect: there is one process
    #[arg(long)]
    all: bool,
    /// Without effect
    #[arg(long = "flush-log-file")]
    flush: bool,
    /// Without effect: files are created with modes that are said
    #[arg(short = 'u', long, value_name = "MASK")]
    umask: Option<String>,
    /// Without effect: a stop always gives the addresses up
    #[arg(short = 'X', long = "release-vips")]
    release: bool,
    /// Without effect
    #[arg(short = 'V', long = "dont-release-vrrp")]
    keep: bool,
    /// Without effect: there is no IPVS
    #[arg(short = 'I', long = "dont-release-ipvs")]
    keep_ipvs: bool,
    /// Without effect: there are no child processes
    #[arg(short = 'R', long = "dont-respawn")]
    no_respawn: bool,
    /// Without effect: there is one process
    #[arg(short = 'r', long = "vrrp_pid", value_name = "FILE")]
    vrrp_pid: Option<String>,
    /// Without effect: there is one process
    #[arg(short = 'c', long = "checkers_pid", value_name = "FILE")]
    checkers_pid: Option<String>,
    /// Without effect: there is one process
    #[arg(short = 'b', long = "bfd_pid", value_name = "FILE")]
    bfd_pid: Option<String>,
    /// Without effect
    #[arg(short = 'a', long = "address-monitoring")]
    addresses: bool,
    /// Without effect: there is no SNMP agent
    #[arg(short = 'x', long)]
    snmp: bool,
    /// Without effect: there is no SNMP agent
    #[arg(short = 'A', long = "snmp-agent-socket", value_name = "FILE")]
    snmp_socket: Option<String>,
    /// Without effect: use `ip netns exec`
    #[arg(short = 's', long = "namespace", value_name = "NAME")]
    namespace: Option<String>,
    /// Without effect: the system's settings hold
    #[arg(short = 'm', long = "core-dump")]
    core: bool,
    /// Without effect: the system's settings hold
    #[arg(short = 'M', long = "core-dump-pattern", value_name = "PATTERN", num_args = 0..=1, require_equals = true)]
    pattern: Option<String>,
    /// Without effect: a missing file is always an error
    #[arg(short = 'e', long = "all-config")]
    all_config: bool,
}

/// Does what keepalived would do with these words.
pub(crate) fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let words = words.map(|word| attached(&word));
    let words = std::iter::once("keepalived".to_owned()).chain(words).map(OsString::from);
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) => {
            // Printing fails only where there is nobody to read it.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if words.version {
        eprintln!("Keepalived v2.2.8 (weir/{})", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &words.signum {
        return signum(name);
    }
    if let Some(log) = &words.test {
        return test(&words, log);
    }
    if words.check && !words.vrrp {
        eprintln!(
            "keepalived: -C: this version has no virtual servers, so there is nothing to run; expected -P or neither"
        );
        return ExitCode::FAILURE;
    }
    serve(&words)
}

/// `-t/path` and `-g/path` as getopt takes them: a value that is not needed stands right behind the letter.
fn attached(word: &str) -> String {
    let path = ["-t", "-g"].iter().find_map(|option| Some((option, word.strip_prefix(option)?)));
    match path {
        Some((option, path)) if path.starts_with('/') => format!("{option}={path}"),
        _ => word.to_owned(),
    }
}

fn serve(words: &Words) -> ExitCode {
    let mut invocation = match Invocation::of_keepalived(&words.file) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("keepalived: {}: {error}; expected the path of a keepalived.conf", words.file);
            return ExitCode::from(CONFIG);
        }
    };
    invocation.foreground = words.foreground;
    invocation.config_id.clone_from(&words.config_id);
    invocation.options.default_pid.clone_from(&words.pid);
    invocation.log = Some(target(words));
    if words.dump
        && let Ok(loaded) = weir_keepalived::load(&words.file, &settings(words), &Machine::Serving)
    {
        let shown = load::without_passwords(loaded.vrrp);
        println!("{}", serde_json::to_string_pretty(&shown).unwrap_or_default());
    }
    keeper::run(invocation)
}

/// Where keepalived would log.
fn target(words: &Words) -> LogTarget {
    match &words.log_file {
        Some(path) => LogTarget::File(path.clone()),
        None if words.console || words.no_syslog => LogTarget::Stderr,
        None => LogTarget::Syslog(SyslogTarget {
            address: "unix:/dev/log".to_owned(),
            facility: words.facility.unwrap_or(DAEMON),
            severity: 6,
            tag: "Keepalived".to_owned(),
            hostname: false,
        }),
    }
}

/// RFC 3164's number for daemons.
const DAEMON: u8 = 3;

fn facility(text: &str) -> Result<u8, String> {
    let local = text.strip_prefix("local").unwrap_or(text).parse::<u8>();
    match (text, local) {
        ("user", _) => Ok(1),
        ("daemon", _) => Ok(DAEMON),
        (_, Ok(number @ 0..=7)) => Ok(16 + number),
        _ => Err("expected 0 to 7, local0 to local7, user or daemon".to_owned()),
    }
}

fn settings(words: &Words) -> weir_syntax::keepalived::Settings {
    machine::settings(words.config_id.clone())
}

/// `-t`: 0 when keepalived would take the file without complaint. What only Weir has to say of it, such as that a part
/// has no effect here, is printed and does not count.
fn test(words: &Words, log: &str) -> ExitCode {
    let (lines, right) = match weir_keepalived::load(&words.file, &settings(words), &Machine::Serving) {
        Ok(loaded) => {
            let mut said = loaded.warnings.clone();
            let missing = missing(&words.file, &loaded);
            let mistake = |warning| load::is_mistake(warning, &loaded.tree.items);
            let right = missing.is_empty() && !said.iter().any(mistake);
            said.extend(missing);
            (lines(&said, &loaded.tree.files), right)
        }
        Err(failure) => (lines(&failure.diagnostics, &failure.tree.files), false),
    };
    if log.is_empty() {
        lines.iter().for_each(|line| eprintln!("{line}"));
    } else if let Err(error) = std::fs::write(log, lines.join("\n") + "\n") {
        eprintln!("keepalived: {log}: {error}");
    }
    if right { ExitCode::SUCCESS } else { ExitCode::from(CONFIG) }
}

/// Interfaces and scripts that the file names and this machine does not have.
fn missing(file: &str, loaded: &Loaded) -> Vec<Diagnostic> {
    let Some(machine) = Here::look() else { return Vec::new() };
    let node = Node { name: file.to_owned(), nginx: Vec::new(), keepalived: Some(loaded), here: true };
    let found = weir_lint::lint(std::slice::from_ref(&node), Some(&machine));
    let errors = found.into_iter().map(|finding| finding.diagnostic);
    errors.filter(|diagnostic| diagnostic.severity == Severity::Error).collect()
}

fn lines(diagnostics: &[Diagnostic], files: &[weir_syntax::SourceFile]) -> Vec<String> {
    let word = |severity| if severity == Severity::Error { "error" } else { "warning" };
    diagnostics.iter().map(|one| format!("{}: {}", word(one.severity), one.nginx_line(files))).collect()
}

fn signum(name: &str) -> ExitCode {
    let signal = match name {
        "STOP" => Signal::Term,
        "RELOAD" => Signal::Hup,
        "DATA" => Signal::Usr1,
        "STATS" => Signal::Usr2,
        "STATS_CLEAR" => Signal::StatsClear,
        "JSON" => Signal::Json,
        _ => {
            eprintln!("Unknown sigfunc {name}; expected STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", signal.number());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_stand_right_behind_their_letter() {
        assert_eq!(attached("-t/tmp/x"), "-t=/tmp/x");
        assert_eq!(attached("-g/tmp/x"), "-g=/tmp/x");
        for word in ["-t", "-t=/x", "-f/etc/x", "/t"] {
            assert_eq!(attached(word), word);
        }
    }
}
