//! Addresses that Weir accepts connections on.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What a listening socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenAddress {
    Inet(SocketAddr),
    /// A path; nginx writes it `unix:/path`.
    Unix(String),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// One address with the options of its socket and the servers behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub address: ListenAddress,
    pub options: Listen,
    /// Indices into [`crate::Http::servers`] in file order.
    pub servers: Vec<usize>,
    /// Index into [`crate::Http::servers`]: `default_server`, else the first of the address.
    pub default_server: usize,
}

/// The parameters of `listen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    pub backlog: i32,
    pub rcvbuf: Option<u64>,
    pub sndbuf: Option<u64>,
    pub ipv6only: bool,
    pub reuseport: bool,
    pub deferred: bool,
    pub fastopen: Option<i32>,
    pub so_keepalive: Option<KeepAlive>,
    pub proxy_protocol: bool,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            backlog: 511,
            rcvbuf: None,
            sndbuf: None,
            ipv6only: true,
            reuseport: false,
            deferred: false,
            fastopen: None,
            so_keepalive: None,
            proxy_protocol: false,
        }
    }
}

/// `so_keepalive=on|off|idle:interval:count`; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepAlive {
    On,
    Off,
    Tuned { idle: Option<u32>, interval: Option<u32>, count: Option<u32> },
}
