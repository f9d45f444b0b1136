//! The http block: servers, upstreams, maps and formats.

use serde::{Deserialize, Serialize};

use crate::{Listener, Location, LocationId, LogFormat, Millis, Regex, Template, Upstream};

/// The http block with every reference resolved to an index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Http {
    pub listeners: Vec<Listener>,
    pub servers: Vec<Server>,
    /// All locations of all servers; [`LocationId`] is an index into it.
    pub locations: Vec<Location>,
    pub upstreams: Vec<Upstream>,
    /// The variables that the configuration defines.
    pub variables: Vec<UserVariable>,
    pub maps: Vec<Map>,
    pub geos: Vec<Geo>,
    pub splits: Vec<Split>,
    pub log_formats: Vec<LogFormat>,
    pub limit_req_zones: Vec<LimitZone>,
    pub limit_conn_zones: Vec<LimitZone>,
}

/// A variable that the configuration defines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserVariable {
    pub name: String,
    pub source: VariableSource,
}

/// Where the value of a user's variable comes from when nothing has set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableSource {
    /// `set`, a named group or `auth_request_set`: empty until then.
    Set,
    /// Index into [`Http::maps`].
    Map(usize),
    /// Index into [`Http::geos`].
    Geo(usize),
    /// Index into [`Http::splits`].
    Split(usize),
}

/// A `server` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// In file order. The first is `$server_name`; empty when there is none.
    pub names: Vec<ServerName>,
    /// The server's own settings and rewrite program; kind [`crate::LocationKind::Server`].
    pub root: LocationId,
    pub client_header_timeout: Millis,
    pub client_header_buffer_size: u64,
    /// Number and size in bytes of `large_client_header_buffers`.
    pub large_client_header_buffers: (u32, u64),
    pub max_headers: u32,
    pub ignore_invalid_headers: bool,
    pub underscores_in_headers: bool,
    pub merge_slashes: bool,
}

/// One word of `server_name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerName {
    /// Lower case; may be empty, which matches a missing Host.
    Exact(String),
    /// `*.example.com` holds `example.com`.
    Suffix(String),
    /// `.example.com` holds `example.com`: the name itself and everything below.
    SuffixOrExact(String),
    /// `www.*` holds `www`.
    Prefix(String),
    Regex(Regex),
}

/// A `map` block. Lookup order: exact, longest suffix, longest prefix, regexes in file order, default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub input: Template,
    pub entries: Vec<(MapKey, Template)>,
    pub default: Template,
    pub volatile: bool,
    /// `hostnames` was given: a trailing dot of the input is dropped.
    pub hostnames: bool,
}

/// The left side of a `map` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKey {
    /// Lower case.
    Exact(String),
    Suffix(String),
    SuffixOrExact(String),
    Prefix(String),
    Regex(Regex),
}

/// A `geo` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Geo {
    /// Absent: `$remote_addr`.
    pub input: Option<Template>,
    /// First and last address (both of one family, inclusive) and the value; the narrowest range that
    /// holds the address wins.
    pub ranges: Vec<(std::net::IpAddr, std::net::IpAddr, String)>,
    pub default: String,
    /// The value for a unix client or an address that cannot be read; absent: `default`.
    pub proxies: Vec<(std::net::IpAddr, std::net::IpAddr)>,
    pub proxy_recursive: bool,
    pub volatile: bool,
}

/// A `split_clients` block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    pub input: Template,
    /// Inclusive upper bound of the 32-bit hash and the value; the last one has `u32::MAX` when `*` is there.
    pub parts: Vec<(u32, Template)>,
}

/// `limit_req_zone` or `limit_conn_zone`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitZone {
    pub name: String,
    pub key: Template,
    pub size: u64,
    /// Thousandths of a request per second; 0 for limit_conn.
    pub rate: u64,
}
