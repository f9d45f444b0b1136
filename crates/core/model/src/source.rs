//! Where the peers of an upstream come from when they are not written in the file: stores, catalogs, DNS, folders.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Millis, Peer};

/// One source of peers of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub origin: Origin,
    /// What a peer has that the source says nothing about. Of `upsync` the module's own defaults, of
    /// `server NAME resolve` what stands in that line.
    pub template: Peer,
    /// The list of this source stands in place of the `server` lines once it is there (`upsync`); otherwise it is added to
    /// them (`resolve`).
    pub replaces_servers: bool,
    /// The pause before the source is asked again after it failed, or where it can only be polled.
    pub interval: Millis,
    /// How long one blocking question may take.
    pub timeout: Millis,
    /// `strong_dependency=on`: without a first answer the configuration is not served.
    pub strong_dependency: bool,
    /// `upsync_dump_path`: the list as nginx lines, written after each change; absolute.
    pub dump: Option<String>,
}

/// What is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Keys below a path of Consul's KV store, one peer each; the path begins with `/v1/kv/`. Here and in the next two
    /// it may end with a query of its own: `?dc=east`.
    ConsulKv {
        store: Store,
        path: String,
    },
    /// `/v1/catalog/service/NAME`.
    ConsulServices {
        store: Store,
        path: String,
    },
    /// `/v1/health/service/NAME`, as in `/v1/health/service/app?tag=v2&passing`.
    ConsulHealth {
        store: Store,
        path: String,
    },
    /// The v2 API; the path begins with `/v2/keys/`.
    Etcd2 {
        store: Store,
        path: String,
    },
    /// Keys with a prefix of etcd v3.
    Etcd3 {
        store: Store,
        prefix: String,
    },
    Dns(DnsQuery),
    /// Every file of a folder, each with `server` lines; absolute.
    Folder {
        path: String,
    },
}

impl Origin {
    /// The store that is asked; DNS and folders have none.
    #[must_use]
    pub const fn store(&self) -> Option<&Store> {
        match self {
            Self::ConsulKv { store, .. }
            | Self::ConsulServices { store, .. }
            | Self::ConsulHealth { store, .. }
            | Self::Etcd2 { store, .. }
            | Self::Etcd3 { store, .. } => Some(store),
            Self::Dns(_) | Self::Folder { .. } => None,
        }
    }

    /// The same to be changed.
    pub const fn store_mut(&mut self) -> Option<&mut Store> {
        match self {
            Self::ConsulKv { store, .. }
            | Self::ConsulServices { store, .. }
            | Self::ConsulHealth { store, .. }
            | Self::Etcd2 { store, .. }
            | Self::Etcd3 { store, .. } => Some(store),
            Self::Dns(_) | Self::Folder { .. } => None,
        }
    }
}

/// How a store is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Tried in turn; never empty.
    pub endpoints: Vec<Endpoint>,
    pub token: Option<Secret>,
    /// Absent: plain text.
    pub tls: Option<ClientTls>,
}

/// One address of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// The registry inside this process (`registry { }`).
    Embedded,
    /// A host name or an address (an IPv6 address without brackets), and a port.
    Host { host: String, port: u16 },
    /// Absolute path of a socket.
    Unix(String),
}

/// TLS towards a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTls {
    /// PEM file; absent: the roots of the machine.
    pub ca: Option<String>,
    /// PEM files of the client's certificate and its key.
    pub identity: Option<(String, String)>,
    /// The name that the certificate has to have; absent: the endpoint's host.
    pub server_name: Option<String>,
}

/// A word that is not shown: `Debug` and JSON for people print `(hidden)`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A name that is asked of name servers, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsQuery {
    pub name: String,
    /// Of the peers; unused where an SRV record names it.
    pub port: u16,
    /// `service=`: ask for SRV records `_SERVICE._tcp.NAME` (a name with a dot is taken as it is).
    pub service: Option<String>,
    pub resolver: Resolver,
}

/// `resolver`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Name servers; empty: those of the machine (`resolver system`), its hosts file included.
    pub servers: Vec<SocketAddr>,
    /// Instead of the records' own time to live.
    pub valid: Option<Millis>,
    pub ipv4: bool,
    pub ipv6: bool,
    /// `resolver_timeout`.
    pub timeout: Millis,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { servers: Vec::new(), valid: None, ipv4: true, ipv6: true, timeout: Millis(30_000) }
    }
}

/// What a source said: the complete list of its peers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// The source's own count of its changes (X-Consul-Index, etcd's revision); 0 where it has none.
    pub index: u64,
    pub peers: Vec<Peer>,
    /// Entries that were skipped: which, and why.
    pub rejected: Vec<String>,
    /// It comes from the disk, because the source has not answered yet.
    pub remembered: bool,
    /// Who said it, for people: `http://127.0.0.1:8500`.
    pub endpoint: String,
}
