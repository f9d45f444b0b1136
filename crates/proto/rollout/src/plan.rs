//! The plan of a release: `rollout.toml`, or the same fields from flags.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::{Amount, Expectation, Share, Statuses, as_word, word_or_number};
use crate::moment::Span;

/// What is released, where, and how carefully.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    pub upstream: String,
    /// Which servers, in this order. Empty: all of the upstream that nobody took out, those that do not serve first, then spread
    /// over hosts.
    pub servers: Vec<String>,
    /// Control APIs of the proxies: `http://10.0.0.2:8500`, `unix:/run/weir/control.sock`. Empty: the local one.
    pub proxies: Vec<String>,
    /// A file with the token of the control APIs.
    pub proxy_token_file: Option<String>,
    /// A proxy that cannot be reached is left out instead of stopping the release.
    pub proxy_optional: bool,
    /// How long the proxies may take to obey a change.
    pub proxy_timeout: ProxyTimeout,
    pub on_failure: OnFailure,
    /// The server grows to its whole share over this time after it was put back.
    pub slow_start: Option<Span>,
    pub store: Store,
    pub batch: Batch,
    pub drain: Drain,
    pub driver: Driver,
    pub gate: Gate,
    pub hooks: Hooks,
    /// Requests that a started server gets before clients do.
    pub warm: Option<Warm>,
    /// Steps of the first server, which makes a batch of its own.
    pub canary: Vec<Canary>,
    /// After a server was put back it is compared with the others for a while.
    pub watch: Option<Watch>,
    pub version: Version,
}

/// The default is 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProxyTimeout(pub Span);

impl Default for ProxyTimeout {
    fn default() -> Self {
        Self(Span::secs(30))
    }
}

/// Where the list of the upstream's servers lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    pub kind: StoreKind,
    /// `http://127.0.0.1:8500`; tried in turn.
    pub endpoints: Vec<String>,
    /// The keys' prefix, as in `upstreams/web`. Absent: asked of the proxies.
    pub prefix: Option<String>,
    /// Of lock, progress and history where there is no store; absent: below the state folder of this user.
    pub folder: Option<String>,
    /// A file with the token; tokens themselves never stand in a plan.
    pub token_file: Option<String>,
    /// PEM files; absent: the roots of the machine, no certificate of its own.
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// Consul's KV store, or the embedded registry.
    #[default]
    Consul,
    Etcd,
    /// No store: the proxies themselves are told, each of them.
    Control,
}

/// How many at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// Servers of one batch; a part of the released servers is rounded down, to at least 1.
    pub max_unavailable: Amount,
    /// So many other servers serve at any time; a part of the upstream's servers is rounded up. Absent: those that nobody took
    /// out, less a batch, but at least 1.
    pub min_healthy: Option<Amount>,
    /// Servers of the upstream that stand by drained: they are started and serve while the release runs, and are drained and stopped
    /// after it.
    pub surge: Vec<String>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_unavailable: Amount::Count(1), min_healthy: None, surge: Vec::new() }
    }
}

/// How a server is taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long its requests may take to end.
    pub timeout: Span,
    pub on_timeout: OnTimeout,
    /// Open WebSockets keep a server from being quiet.
    pub websockets: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Span::secs(30), on_timeout: OnTimeout::Abort, websockets: true }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// Put it back and stop the release.
    #[default]
    Abort,
    /// Stop the server all the same.
    Force,
    /// Wait on, without limit.
    Wait,
}

/// What stops and starts a server. In commands and hosts `{server}`, `{host}` and `{port}` stand for the parts of its address.
/// Every command may run twice, when a release is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    Shell(Shell),
    Systemd(Systemd),
    Docker(Docker),
    External(External),
}

impl Default for Driver {
    fn default() -> Self {
        Self::External(External::default())
    }
}

impl Driver {
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Shell(_) => "shell",
            Self::Systemd(_) => "systemd",
            Self::Docker(_) => "docker",
            Self::External(_) => "external",
        }
    }

    /// Whether what was begun to be started has to be stopped before it is started once more: a command that starts something
    /// knows nothing of what it started before.
    #[must_use]
    pub(crate) const fn stops_before_again(&self) -> bool {
        matches!(self, Self::Shell(Shell { stop: Some(_), .. }))
    }

    /// Whether it knows how to bring the old version back.
    #[must_use]
    pub const fn can_roll_back(&self) -> bool {
        match self {
            Self::Shell(shell) => shell.rollback.is_some(),
            Self::Systemd(systemd) => systemd.rollback.is_some(),
            Self::Docker(_) => true,
            Self::External(_) => false,
        }
    }
}

/// Commands of `sh -c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shell {
    pub stop: Option<String>,
    pub start: Option<String>,
    /// Replaces stop and start when the old version has to come back.
    pub rollback: Option<String>,
    /// Run there instead of here: `deploy@{host}`.
    pub ssh: Option<String>,
    /// Of each command.
    pub timeout: Span,
}

impl Default for Shell {
    fn default() -> Self {
        Self { stop: None, start: None, rollback: None, ssh: None, timeout: Span::secs(300) }
    }
}

/// A unit that is stopped and started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    pub unit: String,
    /// Over ssh; absent: this machine.
    pub host: Option<String>,
    /// A shell command there, run while the unit is stopped, before it is started again.
    pub rollback: Option<String>,
    pub timeout: Span,
}

impl Default for Systemd {
    fn default() -> Self {
        Self { unit: String::new(), host: None, rollback: None, timeout: Span::secs(300) }
    }
}

/// A container that is made anew with another image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    pub container: String,
    pub image: String,
    /// The engine: `unix:///var/run/docker.sock`, `tcp://{host}:2375`.
    pub engine: Option<String>,
    /// Between SIGTERM and SIGKILL.
    pub grace: Span,
    pub pull: bool,
    pub timeout: Span,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            container: String::new(),
            image: String::new(),
            engine: None,
            grace: Span::secs(10),
            pull: true,
            timeout: Span::secs(600),
        }
    }
}

/// Somebody else replaces the server while it is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct External {
    /// How long that may take.
    pub timeout: Span,
}

impl Default for External {
    fn default() -> Self {
        Self { timeout: Span::secs(3600) }
    }
}

/// What a started server has to show before it gets requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    pub check: Check,
    /// Absent: the server's own.
    pub port: Option<u16>,
    pub method: String,
    /// Absent: the server's address.
    pub host: Option<String>,
    /// A redirect is never followed, and never healthy unless its code stands here.
    pub expect_status: Statuses,
    /// `{version}` stands for the version that is started.
    pub expect_header: Vec<Expectation>,
    /// A part of the body; `{version}` as above.
    pub expect_body: Option<String>,
    /// Passes in a row.
    pub rise: u32,
    pub interval: Span,
    /// Of one probe.
    pub timeout: Span,
    /// Of the whole gate.
    pub deadline: Span,
    /// It has to stay healthy for so long without a failed probe.
    pub min_healthy_time: Span,
    /// A URL that is asked besides when the server was put back, so that the whole way of a request is seen.
    pub through_proxy: Option<String>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            check: Check::Tcp,
            port: None,
            method: "GET".to_owned(),
            host: None,
            expect_status: Statuses::default(),
            expect_header: Vec::new(),
            expect_body: None,
            rise: 3,
            interval: Span::secs(1),
            timeout: Span::secs(5),
            deadline: Span::secs(120),
            min_healthy_time: Span::ZERO,
            through_proxy: None,
        }
    }
}

/// `tcp`: a connection is enough. `/health`: a request to this path. `none`: a server that was started is healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Check {
    #[default]
    Tcp,
    Http(
        /// Begins with a slash.
        String,
    ),
    None,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http(path) => path,
            Self::None => "none",
        })
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "none" => Ok(Self::None),
            path if path.starts_with('/') && !path.chars().any(|c| c.is_control() || c == ' ') => {
                Ok(Self::Http(path.to_owned()))
            }
            _ => Err(format!("\"{text}\" is no check; expected a path like /health, or tcp, or none")),
        }
    }
}

/// Shell commands on the machine where the release runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    pub pre_plan: Option<String>,
    pub post_plan: Option<String>,
    pub pre_drain: Option<String>,
    pub post_drain: Option<String>,
    pub pre_stop: Option<String>,
    pub post_stop: Option<String>,
    pub pre_start: Option<String>,
    pub post_start: Option<String>,
    pub pre_check: Option<String>,
    pub post_check: Option<String>,
    pub pre_undrain: Option<String>,
    pub post_undrain: Option<String>,
    pub on_fail: Option<String>,
    /// Of each.
    pub timeout: Span,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            pre_plan: None,
            post_plan: None,
            pre_drain: None,
            post_drain: None,
            pre_stop: None,
            post_stop: None,
            pre_start: None,
            post_start: None,
            pre_check: None,
            post_check: None,
            pre_undrain: None,
            post_undrain: None,
            on_fail: None,
            timeout: Span::secs(300),
        }
    }
}

/// Requests before traffic; their answers are not judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Warm {
    pub requests: u32,
    pub path: String,
}

impl Default for Warm {
    fn default() -> Self {
        Self { requests: 20, path: "/".to_owned() }
    }
}

/// One step of the canary: this share, then this pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub percent: Share,
    pub pause: Pause,
}

/// `manual`: until somebody promotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Manual,
    For(Span),
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.write_str("manual"),
            Self::For(span) => span.fmt(f),
        }
    }
}

impl FromStr for Pause {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "manual" => Ok(Self::Manual),
            text => text.parse().map(Self::For).map_err(|why: String| format!("{why}, or manual")),
        }
    }
}

/// `5%:10m`, `50%:manual`, `20%` (until promoted): how a flag writes a step.
impl FromStr for Canary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (percent, pause) = text.split_once(':').unwrap_or((text, "manual"));
        Ok(Self { percent: percent.parse()?, pause: pause.parse()? })
    }
}

/// The comparison of a new server with the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    pub window: Span,
    /// Answers 5xx of all answers, above those of the others: 0.05 for five in a hundred.
    pub max_error_ratio: f64,
    /// Connections that failed within the window.
    pub max_connect_errors: u64,
    /// So many times the others' 95th percentile of the time to an answer. Absent: not compared.
    pub latency_factor: Option<f64>,
    /// With fewer answers ratio and latency are not judged.
    pub min_requests: u64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            window: Span::secs(30),
            max_error_ratio: 0.05,
            max_connect_errors: 0,
            latency_factor: None,
            min_requests: 50,
        }
    }
}

/// What becomes of upgraded servers when one fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They go on serving the new version.
    #[default]
    Leave,
    /// The old version is brought back, the last upgraded server first.
    Rollback,
}

/// Names of the versions, for hooks, commands and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Version {
    pub old: Option<String>,
    pub new: Option<String>,
}

as_word! {
    Check: "a path like \"/health\", or \"tcp\", or \"none\"",
    Pause: "a time like \"10m\", or \"manual\"",
}
