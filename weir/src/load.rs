//! Loading a configuration, and telling what is wrong with it as nginx does.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use weir_config::{Loaded, Options};
use weir_keepalived::Action;
use weir_log::{Errno, Level};
use weir_model::vrrp::{Authentication, Vrrp};
use weir_model::{Config, LogTarget, Process, WorkerCount};
use weir_syntax::keepalived::{self, Statement};
use weir_syntax::{Diagnostic, Severity};

use crate::journal::Journal;
use crate::machine::{self, Machine};
use crate::message::{Account, Identity};
use crate::place::{self, Invocation};

/// nginx's account when none is named.
const NOBODY: &str = "nobody";

/// Loads the configuration of the command line. Errors and warnings were told.
pub(crate) fn load(options: &Options, journal: &Journal) -> Option<Loaded> {
    match weir_config::load(options, &Machine::Serving) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                journal.say(Level::Warn, warning.nginx_line(&loaded.tree.files));
            }
            Some(loaded)
        }
        Err(failure) => {
            // nginx stops at the first error, and so do those who read its line.
            let warnings = failure.diagnostics.iter().filter(|d| d.severity == Severity::Warning);
            for warning in warnings {
                journal.say(Level::Warn, warning.nginx_line(&failure.tree.files));
            }
            journal.emerg(&failure);
            None
        }
    }
}

/// What a process runs: a proxy, virtual routers, or both.
pub(crate) struct Everything {
    /// Without an nginx.conf the defaults.
    pub(crate) config: Config,
    pub(crate) vrrp: Option<Vrrp>,
    /// There is an nginx.conf, and so there are workers.
    pub(crate) serves: bool,
}

/// What a configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Something is better than nothing: as with keepalived, what cannot be understood is told and left out.
    Start,
    /// What serves is better than half a file: one whose blocks, quotes or definitions are broken is refused.
    Reload,
}

/// Loads all files of the command line, and the keepalived.conf that nginx.conf names. Errors and warnings were told.
pub(crate) fn everything(invocation: &Invocation, moment: Moment, journal: &Journal) -> Option<Everything> {
    let config = if invocation.routers_only {
        without_proxy(invocation)
    } else {
        load(&invocation.options, journal)?.config
    };
    let named = (&invocation.keepalived, &config.process.keepalived);
    if let (Some(typed), Some(written)) = named
        && !place::same_file(typed, written)
    {
        journal.emerg(format_args!(
            "the command line names {typed}, and the keepalived directive of {} names another file, {written}; one \
             node has one keepalived.conf: leave one of them out",
            invocation.options.conf_file()
        ));
        return None;
    }
    let path = named.0.as_ref().or(named.1.as_ref()).cloned();
    let vrrp = match path {
        Some(path) => Some(routers(&path, invocation.config_id.clone(), moment, journal)?),
        None => None,
    };
    Some(Everything { config, vrrp, serves: !invocation.routers_only })
}

/// The process' own settings where there is no nginx.conf.
fn without_proxy(invocation: &Invocation) -> Config {
    let mut config = Config::default();
    let process = &mut config.process;
    process.pid = invocation.options.below_prefix(&invocation.options.default_pid);
    process.daemon = !invocation.foreground;
    let target = invocation.log.clone().unwrap_or(LogTarget::Stderr);
    process.error_log.push(weir_model::ErrorLog { target, level: Level::Info });
    config
}

/// Loads a keepalived.conf as keepalived does: what it would ignore is told, and the rest runs.
pub(crate) fn routers(
    path: &str,
    config_id: Option<String>,
    moment: Moment,
    journal: &Journal,
) -> Option<Vrrp> {
    let parsed = keepalived::parse(path, &machine::settings(config_id), &Machine::Serving);
    let is_broken = |one: &&Diagnostic| moment == Moment::Reload && one.severity == Severity::Error;
    let broken: Vec<String> =
        parsed.diagnostics.iter().filter(is_broken).map(|one| one.nginx_line(&parsed.tree.files)).collect();
    if !broken.is_empty() {
        broken.iter().for_each(|line| journal.emerg(line));
        return None;
    }
    match weir_keepalived::lower(parsed, &Machine::Serving) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                journal.say(Level::Warn, warning.nginx_line(&loaded.tree.files));
            }
            Some(loaded.vrrp)
        }
        Err(failure) => {
            for diagnostic in &failure.diagnostics {
                let level = if diagnostic.severity == Severity::Error { Level::Emerg } else { Level::Warn };
                journal.say(level, diagnostic.nginx_line(&failure.tree.files));
            }
            None
        }
    }
}

/// What stands in the place of a password that is not shown.
const HIDDEN: &str = "(hidden)";

/// A configuration to be shown: what is printed is pasted into tickets, and passwords stay in the file, for those who may
/// read it.
pub(crate) fn without_passwords(mut vrrp: Vrrp) -> Vrrp {
    for instance in &mut vrrp.instances {
        if let Authentication::Pass(word) | Authentication::Ah(word) = &mut instance.authentication {
            HIDDEN.clone_into(word);
        }
    }
    vrrp
}

/// The number of data threads.
pub(crate) fn threads(process: &Process) -> usize {
    match process.worker_processes {
        WorkerCount::Fixed(count) => (count as usize).max(1),
        WorkerCount::Auto => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Who the worker has to become. Errors were told.
pub(crate) fn identity(process: &Process, journal: &Journal) -> Option<Identity> {
    let account = if weir_net::is_root() { Some(account(process, journal)?) } else { None };
    let directory = process.working_directory.clone();
    Some(Identity { account, files: process.worker_rlimit_nofile, directory })
}

fn account(process: &Process, journal: &Journal) -> Option<Account> {
    let name = process.user.as_ref().map_or(NOBODY, |user| user.name.as_str());
    let found = known_user(name).and_then(|user| {
        // Without a group nginx takes the one that is called like the user; the default account has its own.
        let gid = match &process.user {
            None => user.gid,
            Some(named) => known_group(named.group.as_deref().unwrap_or(name))?,
        };
        Ok(Account { name: user.name, uid: user.uid, gid })
    });
    found.map_err(|text| journal.emerg(text)).ok()
}

/// A user of this machine; the error is nginx's text.
pub(crate) fn known_user(name: &str) -> Result<weir_net::User, String> {
    match weir_net::lookup_user(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("getpwnam(\"{name}\") failed")),
        Err(error) => Err(format!("getpwnam(\"{name}\") failed {}", Errno(&error))),
    }
}

/// The number of a group of this machine; the error is nginx's text.
pub(crate) fn known_group(name: &str) -> Result<u32, String> {
    match weir_net::lookup_group(name) {
        Ok(Some(gid)) => Ok(gid),
        Ok(None) => Err(format!("getgrnam(\"{name}\") failed")),
        Err(error) => Err(format!("getgrnam(\"{name}\") failed {}", Errno(&error))),
    }
}

/// Makes the folders for temporary files, owned by whom the worker runs as. Errors were told.
pub(crate) fn make_folders(config: &Config, identity: &Identity, journal: &Journal) -> Option<()> {
    let mut folders = BTreeSet::new();
    for location in config.http.iter().flat_map(|http| &http.locations) {
        folders.insert(location.settings.client.body_temp_path.as_str());
        folders.insert(location.settings.proxy.temp_path.as_str());
    }
    let process = &config.process;
    let control = place::control_folder(&process.state_path, &process.pid);
    if !process.state_path.is_empty() {
        // Of what the process writes by itself; a folder that cannot be made is told by the one who needs it.
        place::make_state_folder(&format!("{}/", process.state_path));
        let _ = std::fs::create_dir_all(&process.state_path);
        folders.insert(control.as_str());
    }
    if let Some(registry) = &process.registry {
        let _ = Path::new(&registry.data).parent().map(std::fs::create_dir_all);
        folders.insert(registry.data.as_str());
    }
    for folder in folders.into_iter().filter(|folder| !folder.is_empty()) {
        place::make_state_folder(folder);
        let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
        if let Err(error) = made
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            journal.emerg(format_args!("mkdir() \"{folder}\" failed {}", Errno(&error)));
            return None;
        }
        if let Some(account) = &identity.account
            && let Err(error) = std::os::unix::fs::chown(folder, Some(account.uid), None)
        {
            journal.emerg(format_args!("chown(\"{folder}\", {}) failed {}", account.uid, Errno(&error)));
            return None;
        }
    }
    Some(())
}

/// Whether a warning is about what the file says, and not about what Weir does not do.
pub(crate) fn is_mistake(warning: &Diagnostic, items: &[Statement]) -> bool {
    let Some(statement) = warning.span.and_then(|span| at(items, span)) else { return true };
    let without = weir_keepalived::keywords().filter(|keyword| keyword.name == statement.name.text);
    !without.into_iter().any(|keyword| matches!(keyword.action, Action::WithoutEffect(_) | Action::Later(_)))
}

/// The statement whose keyword stands at a place.
fn at(items: &[Statement], span: weir_syntax::Span) -> Option<&Statement> {
    items.iter().find_map(|statement| match statement.name.span == span {
        true => Some(statement),
        false => at(statement.block.as_deref()?, span),
    })
}
