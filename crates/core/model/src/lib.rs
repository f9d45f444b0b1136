//! The nouns of Weir: the compiled configuration as plain serde data.
//! Reading text is left to weir-syntax and weir-config, serving to weir-serve-*.

pub mod check;
pub mod control;
pub mod http;
pub mod listen;
pub mod location;
pub mod log;
pub mod process;
pub mod proxy;
pub mod rewrite;
pub mod source;
pub mod template;
pub mod upstream;
pub mod variable;
pub mod vrrp;

use serde::{Deserialize, Serialize};

/// The nginx release whose directives and behaviour are served; `Server` headers and `-v` name it.
pub const NGINX_VERSION: &str = "1.31.4";

pub use check::{Check, Probe};
pub use control::{Admin, Registry};
pub use http::{Geo, Http, Map, MapKey, Server, ServerName, Split, UserVariable, VariableSource};
pub use listen::{KeepAlive, Listen, ListenAddress, Listener};
pub use location::{CheckStatusFormat, Handler, Location, LocationId, LocationKind, Settings};
pub use log::{AccessLog, ErrorLog, Escape, Level, LogFormat, LogTarget, SyslogTarget};
pub use process::{Process, User, WorkerCount};
pub use proxy::{NextUpstream, Proxy, ProxyPass, ProxyTarget};
pub use rewrite::{Condition, FileTest, Regex, Rewrite, RewriteFlag};
pub use source::{Endpoint, Origin, PeerList, Resolver, Secret, Source, Store};
pub use template::{Part, Template};
pub use upstream::{Keepalive, Method, Peer, Sticky, Upstream, UpstreamKey};
pub use variable::{Builtin, Variable};

/// A duration in milliseconds, nginx's finest unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The same span as a standard duration.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// A duration in microseconds, the finest unit of keepalived's timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// The same span as a standard duration.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

/// Everything that one set of files says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    pub process: Process,
    pub http: Option<Http>,
}
