//! What the caller knows and the files do not say.

use std::io;
use std::net::IpAddr;

/// The machine as far as loading asks about it.
pub trait Environment: weir_syntax::Source {
    /// The addresses of a name, in the order of the system's resolver.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
    /// `$hostname` in `server_name`.
    fn hostname(&self) -> String;
    /// The effective user id; without root the default port is 8000.
    fn effective_uid(&self) -> u32;
    /// Whether the worker can become this user and group; the error is nginx's text. Asked when the effective
    /// user is root. Where nothing is going to be served nobody needs to exist.
    fn account(&self, _user: &str, _group: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Paths and texts of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-p`: the folder of relative paths, with a final `/`.
    pub prefix: String,
    /// `-c`: the main file; absolute, or below the prefix.
    pub conf_path: String,
    /// `-e`: where errors go when the main level has no `error_log`.
    pub error_log: Option<String>,
    /// `-g`: directives of the main level, read before the file.
    pub globals: Option<String>,
    /// The default of `pid`; absolute, or below the prefix. So are the next ones.
    pub default_pid: String,
    pub default_error_log: String,
    pub default_access_log: String,
    /// The default of `root`.
    pub default_root: String,
    pub default_client_body_temp: String,
    pub default_proxy_temp: String,
    /// The default of `state_path`.
    pub default_state: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "/usr/local/nginx/".to_owned(),
            conf_path: "conf/nginx.conf".to_owned(),
            error_log: None,
            globals: None,
            default_pid: "logs/nginx.pid".to_owned(),
            default_error_log: "logs/error.log".to_owned(),
            default_access_log: "logs/access.log".to_owned(),
            default_root: "html".to_owned(),
            default_client_body_temp: "client_body_temp".to_owned(),
            default_proxy_temp: "proxy_temp".to_owned(),
            default_state: "state".to_owned(),
        }
    }
}

impl Options {
    /// A path below the prefix; absolute ones stay.
    #[must_use]
    pub fn below_prefix(&self, path: &str) -> String {
        below(&self.prefix, path)
    }

    /// A path below the folder of the main file; absolute ones stay.
    #[must_use]
    pub fn below_conf(&self, path: &str) -> String {
        below(&self.conf_prefix(), path)
    }

    /// The main file, absolute.
    #[must_use]
    pub fn conf_file(&self) -> String {
        self.below_prefix(&self.conf_path)
    }

    /// The folder of the main file with a final `/`.
    #[must_use]
    pub fn conf_prefix(&self) -> String {
        let file = self.conf_file();
        let end = file.rfind('/').map_or(0, |slash| slash + 1);
        file[..end].to_owned()
    }
}

fn below(folder: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let slash = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
    format!("{folder}{slash}{path}")
}
