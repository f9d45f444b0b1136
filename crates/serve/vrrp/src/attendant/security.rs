//! Which file a script is, who runs it, and whether others could have changed it (keepalived.conf(5): `script_user`,
//! `enable_script_security`).

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use weir_model::vrrp::{Globals, Script, ScriptUser};

/// The user that keepalived's documentation recommends for scripts.
const DEFAULT_USER: &str = "keepalived_script";

/// Where a bare name is looked for when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A script that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Without symbolic links, but for a last part whose name differs: some programs go by their name.
    pub(super) path: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) identity: Identity,
    /// Worth a line: who else may change the script, while nothing forbids to run it.
    pub(super) exposure: Option<Exposure>,
}

/// Who runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether it differs from the process's own.
    pub(super) other: bool,
}

/// A part of a script's path that others than root can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exposure {
    component: PathBuf,
    by: Writer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Owner(u32),
    Group(u32),
    Everybody,
}

/// Why a script cannot be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotFound {
        script: String,
        error: String,
    },
    NotInPath {
        script: String,
    },
    NotAFile {
        path: PathBuf,
    },
    NotExecutable {
        path: PathBuf,
        identity: Identity,
    },
    UnknownUser {
        user: String,
    },
    UnknownGroup {
        group: String,
    },
    /// Only root may run scripts as somebody else.
    Unprivileged {
        user: String,
    },
    Exposed {
        path: PathBuf,
        exposure: Exposure,
    },
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(uid) => write!(f, "its owner, uid {uid}"),
            Self::Group(gid) => write!(f, "its group, gid {gid}"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is writable by {}", self.component.display(), self.by)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { script, error } => write!(f, "{script}: {error}; check the path"),
            Self::NotInPath { script } => write!(f, "{script} is in no folder of PATH; write its full path"),
            Self::NotAFile { path } => write!(f, "{} is no regular file", path.display()),
            Self::NotExecutable { path, identity: Identity { uid, gid, .. } } => {
                write!(f, "{} is not executable for uid {uid} gid {gid}; chmod +x it", path.display())
            }
            Self::UnknownUser { user } => {
                write!(f, "there is no user {user}; create it or change script_user")
            }
            Self::UnknownGroup { group } => {
                write!(f, "there is no group {group}; create it or change script_user")
            }
            Self::Unprivileged { user } => {
                write!(f, "only root can run scripts as {user}; run as root or leave script_user out")
            }
            Self::Exposed { path, exposure } => write!(
                f,
                "enable_script_security forbids root to run {}: {exposure}; chown it to root and chmod go-w it",
                path.display()
            ),
        }
    }
}

/// Finds the program of a script and its user.
///
/// Reads file attributes and the user database; nothing is kept, so that each call sees what is there now.
pub(super) fn resolve(script: &Script, globals: &Globals) -> Result<Program, Refusal> {
    let identity = identity(script.user.as_ref(), globals)?;
    let (name, args) = script.argv.split_first().expect("a script's argv is never empty");
    if let Some(file) = name.strip_prefix('<') {
        return Ok(readable(file, args, identity));
    }
    let path = real_path(&find(name)?)?;
    let file = fs::metadata(&path).map_err(|e| not_found(name, &e))?;
    if !file.is_file() {
        return Err(Refusal::NotAFile { path });
    }
    if !may_execute(&file, identity) {
        return Err(Refusal::NotExecutable { path, identity });
    }
    let exposure = if runs_with_root(&file, identity) { exposure(&path) } else { None };
    match exposure {
        Some(exposure) if globals.enable_script_security => Err(Refusal::Exposed { path, exposure }),
        exposure => Ok(Program { path, args: args.to_vec(), identity, exposure }),
    }
}

/// `</path`: keepalived hands it to the shell, where it succeeds if the file can be opened.
fn readable(file: &str, args: &[String], identity: Identity) -> Program {
    let file = [file].into_iter().chain(args.iter().map(String::as_str)).find(|word| !word.is_empty());
    let args = vec!["-c".to_owned(), "<\"$0\"".to_owned(), file.unwrap_or_default().to_owned()];
    Program { path: PathBuf::from("/bin/sh"), args, identity, exposure: None }
}

/// The user that `user` or the globals name, else keepalived's default.
pub(super) fn identity(user: Option<&ScriptUser>, globals: &Globals) -> Result<Identity, Refusal> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let own = Identity { uid, gid, other: false };
    let identity = match user.or(globals.script_user.as_ref()) {
        Some(user) => named(user)?,
        None if !weir_net::is_root() => return Ok(own),
        None => match weir_net::lookup_user(DEFAULT_USER) {
            Ok(Some(user)) => Identity { uid: user.uid, gid: user.gid, other: true },
            _ => return Ok(own),
        },
    };
    if (identity.uid, identity.gid) == (own.uid, own.gid) {
        return Ok(own);
    }
    if !weir_net::is_root() {
        let user = user.or(globals.script_user.as_ref()).map_or(DEFAULT_USER, |u| u.user.as_str());
        return Err(Refusal::Unprivileged { user: user.to_owned() });
    }
    Ok(identity)
}

/// Whether scripts run as root because nobody said otherwise: worth a warning.
pub(super) fn root_by_default(globals: &Globals) -> bool {
    globals.script_user.is_none() && identity(None, globals).is_ok_and(|i| i.uid == 0)
}

fn named(user: &ScriptUser) -> Result<Identity, Refusal> {
    let unknown = || Refusal::UnknownUser { user: user.user.clone() };
    let entry = weir_net::lookup_user(&user.user).ok().flatten().ok_or_else(unknown)?;
    let gid = match &user.group {
        None => entry.gid,
        Some(group) => weir_net::lookup_group(group)
            .ok()
            .flatten()
            .ok_or_else(|| Refusal::UnknownGroup { group: group.clone() })?,
    };
    Ok(Identity { uid: entry.uid, gid, other: true })
}

fn not_found(script: &str, error: &io::Error) -> Refusal {
    Refusal::NotFound { script: script.to_owned(), error: weir_net::errno_text(error) }
}

/// The file of a name: bare ones are looked up in `PATH`.
fn find(name: &str) -> Result<PathBuf, Refusal> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let candidates =
        path.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(name));
    let executable = |file: &PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    candidates.into_iter().find(executable).ok_or_else(|| Refusal::NotInPath { script: name.to_owned() })
}

/// The path without symbolic links; but the last part keeps its name if it is the same file.
fn real_path(path: &Path) -> Result<PathBuf, Refusal> {
    let real = fs::canonicalize(path).map_err(|e| not_found(&path.display().to_string(), &e))?;
    let Some(named) = real.parent().zip(path.file_name()).map(|(folder, name)| folder.join(name)) else {
        return Ok(real);
    };
    let same = fs::metadata(&named).ok().zip(fs::metadata(&real).ok());
    let same = same.is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()));
    Ok(if same { named } else { real })
}

fn may_execute(file: &Metadata, identity: Identity) -> bool {
    let bit = match identity {
        Identity { uid: 0, .. } => 0o111,
        Identity { uid, .. } if uid == file.uid() => 0o100,
        Identity { gid, .. } if gid == file.gid() => 0o010,
        _ => 0o001,
    };
    file.mode() & bit != 0
}

/// Run by root, or set-user-id root, or the same for the group.
fn runs_with_root(file: &Metadata, identity: Identity) -> bool {
    identity.uid == 0
        || identity.gid == 0
        || (file.uid() == 0 && file.mode() & 0o4100 == 0o4100)
        || (file.gid() == 0 && file.mode() & 0o2010 == 0o2010)
}

/// The first part of an absolute path, from the root on, that others than root can change. A folder where only owners
/// may remove files is safe.
fn exposure(path: &Path) -> Option<Exposure> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    if let Some(part) = parts.iter().find_map(|part| exposed_part(part)) {
        return Some(part);
    }
    // The last part was kept for its name: what it points to counts as well.
    let real = fs::canonicalize(path).ok()?;
    if real == path { None } else { exposure(&real) }
}

fn exposed_part(part: &Path) -> Option<Exposure> {
    let meta = fs::symlink_metadata(part).ok()?;
    let sticky = meta.is_dir() && meta.mode() & 0o1000 != 0;
    let open = !meta.is_symlink() && !sticky;
    let by = if meta.uid() != 0 {
        Writer::Owner(meta.uid())
    } else if open && meta.mode() & 0o002 != 0 {
        Writer::Everybody
    } else if open && meta.gid() != 0 && meta.mode() & 0o020 != 0 {
        Writer::Group(meta.gid())
    } else {
        return None;
    };
    Some(Exposure { component: part.to_owned(), by })
}

#[cfg(test)]
mod tests;
