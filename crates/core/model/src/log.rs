//! Where lines go: error logs, access logs and their formats.

use serde::{Deserialize, Serialize};

use crate::{Millis, Template};

/// Severity in nginx's order; the lower, the more severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// nginx's name of the level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emerg => "emerg",
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of a name that `error_log` takes; every `debug_*` mask counts as debug.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [Level; 8] = [
            Level::Emerg,
            Level::Alert,
            Level::Crit,
            Level::Error,
            Level::Warn,
            Level::Notice,
            Level::Info,
            Level::Debug,
        ];
        if name.starts_with("debug_") {
            return Some(Self::Debug);
        }
        ALL.into_iter().find(|level| level.name() == name)
    }
}

/// A destination of lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LogTarget {
    /// Absolute path; opened and reopened by the keeper.
    File(String),
    Stderr,
    Syslog(SyslogTarget),
    /// `memory:size`, accepted and dropped.
    Memory,
}

/// RFC 3164 over a datagram socket, as nginx's syslog targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SyslogTarget {
    /// `host:port` resolved to an address, or `unix:/path`.
    pub address: String,
    pub facility: u8,
    pub severity: u8,
    pub tag: String,
    /// False with `nohostname`.
    pub hostname: bool,
}

/// One `error_log` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLog {
    pub target: LogTarget,
    pub level: Level,
}

/// How `log_format` escapes the values of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Escape {
    #[default]
    Default,
    Json,
    None,
}

/// A named `log_format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFormat {
    pub name: String,
    pub escape: Escape,
    pub template: Template,
}

/// One `access_log` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    pub target: AccessTarget,
    /// Index into [`crate::Http::log_formats`].
    pub format: usize,
    /// `buffer=` in bytes; absent writes without waiting.
    pub buffer: Option<u64>,
    pub flush: Option<Millis>,
    pub gzip: Option<u8>,
    /// `if=`: no line when it is empty or `0`.
    pub condition: Option<Template>,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessTarget {
    Log(LogTarget),
    /// A path with variables: opened by the worker at each line.
    Template(Template),
}
