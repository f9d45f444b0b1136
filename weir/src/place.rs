//! Where things are when neither the command line nor the configuration says it.

use std::path::{Path, PathBuf};

use weir_config::Options;
use weir_model::LogTarget;

use crate::arguments::Arguments;

/// nginx's own place of the main file, because that is the file people have.
pub(crate) const CONF: &str = "/etc/nginx/nginx.conf";
/// What relative paths of the configuration are below.
pub(crate) const PREFIX: &str = "/etc/nginx/";

/// keepalived's own place of its process id, which is where exporters look.
pub(crate) const KEEPALIVED_PID: &str = "/run/keepalived.pid";
/// keepalived's own place of its file.
pub(crate) const KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// How this process was called, as far as loading and reloading depend on it.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) options: Options,
    /// The log until the configuration names one; absent: standard error.
    pub(crate) first_log: Option<PathBuf>,
    /// `weir run`: stay in the foreground whatever `daemon` says.
    pub(crate) foreground: bool,
    /// There is no nginx.conf: only virtual routers run.
    pub(crate) routers_only: bool,
    /// A keepalived.conf that the command line names; one that nginx.conf names comes after it.
    pub(crate) keepalived: Option<String>,
    /// Where lines go when there is no nginx.conf; absent: standard error.
    pub(crate) log: Option<LogTarget>,
    /// keepalived's `-i`
    pub(crate) config_id: Option<String>,
}

impl Invocation {
    /// nginx's command line.
    pub(crate) fn nginx_style(arguments: &Arguments) -> Invocation {
        let mut options = match &arguments.prefix {
            Some(prefix) => below(prefix),
            None => system(),
        };
        if let Some(conf) = &arguments.conf {
            options.conf_path.clone_from(conf);
        }
        options.globals.clone_from(&arguments.globals);
        options.error_log.clone_from(&arguments.error_log);
        let first_log = match (&arguments.error_log, &arguments.prefix) {
            (Some(path), _) if path.is_empty() => None,
            (Some(path), _) => Some(options.below_prefix(path).into()),
            (None, Some(_)) => Some(options.below_prefix(&options.default_error_log).into()),
            (None, None) => None,
        };
        if arguments.error_log.as_deref() == Some("") {
            options.error_log = Some("stderr".to_owned());
        }
        Invocation {
            options,
            first_log,
            foreground: false,
            routers_only: false,
            keepalived: None,
            log: None,
            config_id: None,
        }
    }

    /// `weir run FILE`: relative paths are below the file's folder, and nothing needs root.
    pub(crate) fn of_file(file: &str) -> std::io::Result<Invocation> {
        let path = std::fs::canonicalize(file)?;
        let folder = path.parent().unwrap_or(Path::new("/")).display();
        let options = Options {
            prefix: format!("{folder}/"),
            conf_path: path.display().to_string(),
            default_error_log: "stderr".to_owned(),
            ..system()
        };
        Ok(Invocation {
            options,
            first_log: None,
            foreground: true,
            routers_only: false,
            keepalived: None,
            log: None,
            config_id: None,
        })
    }

    /// Virtual routers alone.
    pub(crate) fn of_keepalived(file: &str) -> std::io::Result<Invocation> {
        let mut invocation = Invocation::of_file(file)?;
        invocation.routers_only = true;
        invocation.keepalived = Some(invocation.options.conf_path.clone());
        if weir_net::is_root() {
            KEEPALIVED_PID.clone_into(&mut invocation.options.default_pid);
        }
        Ok(invocation)
    }
}

/// Defaults below a prefix that was given: nginx's layout.
fn below(prefix: &str) -> Options {
    let slash = if prefix.ends_with('/') || prefix.is_empty() { "" } else { "/" };
    Options { prefix: format!("{prefix}{slash}"), ..Options::default() }
}

/// Defaults on a machine whose operator said nothing.
fn system() -> Options {
    let (state, logs) = (state_folder(), log_folder());
    Options {
        prefix: PREFIX.to_owned(),
        conf_path: CONF.to_owned(),
        error_log: None,
        globals: None,
        default_pid: default_pid(),
        default_error_log: format!("{logs}/error.log"),
        default_access_log: format!("{logs}/access.log"),
        default_root: "html".to_owned(),
        default_client_body_temp: format!("{state}/body"),
        default_proxy_temp: format!("{state}/proxy"),
        default_state: state,
    }
}

/// The folder for temporary files when no path was given, and without root for all that is written.
pub(crate) fn state_folder() -> String {
    if weir_net::is_root() {
        return "/var/lib/weir".to_owned();
    }
    let home = |name: &str| std::env::var(name).ok().filter(|path| path.starts_with('/'));
    match (home("XDG_STATE_HOME"), home("HOME")) {
        (Some(state), _) => format!("{state}/weir"),
        (None, Some(home)) => format!("{home}/.local/state/weir"),
        (None, None) => format!("/tmp/weir-{}", rustix::process::getuid().as_raw()),
    }
}

/// Whether two paths lead to one file.
pub(crate) fn same_file(one: &str, other: &str) -> bool {
    match (std::fs::canonicalize(one), std::fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The status socket of a node that root started.
pub(crate) const STATUS_SOCKET: &str = "/run/weir/vrrp.sock";

/// Where a node of this user answers `weir vip` when no `status_socket` was given.
pub(crate) fn status_socket() -> String {
    if weir_net::is_root() { STATUS_SOCKET.to_owned() } else { format!("{}/vrrp.sock", state_folder()) }
}

/// Where a process of this user answers `weir upstream` when no `admin { socket }` was given.
pub(crate) fn control_socket() -> String {
    format!("{}/control.sock", run_folder())
}

/// The same of the process with a pid file: those that have a pid file of their own have a socket of their own.
pub(crate) fn control_socket_of(pid: &str) -> String {
    format!("{}/control{}.sock", run_folder(), mark(pid))
}

/// The folder below the state path for lists and states of one process.
pub(crate) fn control_folder(state: &str, pid: &str) -> String {
    format!("{state}/control{}", mark(pid))
}

/// Tells apart the processes of one machine: nothing for the one with the default pid file.
fn mark(pid: &str) -> String {
    if pid == default_pid() { String::new() } else { format!("-{:08x}", crc32fast::hash(pid.as_bytes())) }
}

/// The folder for sockets.
fn run_folder() -> String {
    if weir_net::is_root() { "/run/weir".to_owned() } else { state_folder() }
}

fn default_pid() -> String {
    if weir_net::is_root() { "/run/weir.pid".to_owned() } else { format!("{}/weir.pid", state_folder()) }
}

/// The folder for logs when no path was given.
pub(crate) fn log_folder() -> String {
    if weir_net::is_root() { "/var/log/weir".to_owned() } else { state_folder() }
}

/// Makes the folder of a path that is a default; a folder that the operator named has to exist.
pub(crate) fn make_state_folder(path: &str) {
    for folder in [state_folder(), log_folder()] {
        if path.strip_prefix(&folder).is_some_and(|rest| rest.starts_with('/')) {
            // What fails here is reported when the file in it is opened.
            let _ = std::fs::create_dir_all(&folder);
        }
    }
}
