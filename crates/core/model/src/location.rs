//! Locations and the settings that a request is served by.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AccessLog, ErrorLog, Millis, Proxy, ProxyPass, Regex, Rewrite, Template, Variable};

/// Index into [`crate::Http::locations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocationId(pub u32);

/// A place where a request can end up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location {
    pub kind: LocationKind,
    /// Nested locations in file order, without the nameless ones of `if` and `limit_except`.
    pub children: Vec<LocationId>,
    pub rewrite: Vec<Rewrite>,
    pub handler: Handler,
    pub internal: bool,
    /// `limit_except`: the methods that stay here, and where the others go.
    pub limit_except: Option<(Vec<String>, LocationId)>,
    pub settings: Settings,
}

/// How a location is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocationKind {
    /// The server's own level, used when no location matches.
    Server,
    Exact(String),
    Prefix(String),
    /// `^~`.
    PrefixNoRegex(String),
    Regex(Regex),
    /// With the `@`.
    Named(String),
    /// Of `if` or `limit_except`; the name of the location around it.
    Nameless(String),
}

impl LocationKind {
    /// The text that `proxy_pass` with a URI part replaces.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Server => "",
            Self::Exact(name)
            | Self::Prefix(name)
            | Self::PrefixNoRegex(name)
            | Self::Named(name)
            | Self::Nameless(name) => name,
            Self::Regex(regex) => &regex.source,
        }
    }
}

/// What makes the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// Files below `root` or `alias`.
    #[default]
    Static,
    Proxy(Box<ProxyPass>),
    StubStatus,
    EmptyGif,
    /// `upstream_show`: the lists that are balanced over.
    UpstreamShow,
    /// `check_status`: the results of active checks.
    CheckStatus(CheckStatusFormat),
}

/// The form of `check_status` when the request asks for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatusFormat {
    #[default]
    Html,
    Csv,
    Json,
}

/// Everything else that holds for a request in a location, with inheritance done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub files: Files,
    pub client: Client,
    pub response: Response,
    pub access: Access,
    pub proxy: Proxy,
    pub error_pages: Vec<ErrorPage>,
    pub recursive_error_pages: bool,
    pub access_log: Vec<AccessLog>,
    /// `open_log_file_cache`; absent: logs whose path has variables are opened for each line.
    pub log_file_cache: Option<LogFileCache>,
    pub error_log: Vec<ErrorLog>,
    pub log_not_found: bool,
    pub log_subrequest: bool,
    pub rewrite_log: bool,
    pub uninitialized_variable_warn: bool,
    pub mirror: Vec<String>,
    pub mirror_request_body: bool,
    /// A URI that is served, unseen by the client, once a request is answered.
    pub post_action: Option<String>,
}

/// `open_log_file_cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFileCache {
    /// Logs that are kept open at most.
    pub max: u64,
    /// A log that was not used for so long is closed.
    pub inactive: Millis,
    /// How long the path of an open log is trusted to name it still.
    pub valid: Millis,
    /// Uses until a log is kept open.
    pub min_uses: u64,
}

/// Files and their types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Files {
    /// Absolute unless it has variables.
    pub root: Template,
    /// `root` is an alias: it stands in place of the location's name.
    pub alias: bool,
    pub index: Vec<Template>,
    pub try_files: Option<TryFiles>,
    pub sendfile: bool,
    pub sendfile_max_chunk: u64,
    pub etag: bool,
    pub if_modified_since: IfModifiedSince,
    pub max_ranges: u32,
    /// Extension in lower case to type.
    pub types: BTreeMap<String, String>,
    pub default_type: String,
}

/// `if_modified_since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfModifiedSince {
    Off,
    Exact,
    Before,
}

/// `try_files`: the candidates, then where to go when none exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TryFiles {
    /// With a trailing `/`: a directory.
    pub files: Vec<Template>,
    pub fallback: Fallback,
}

/// The last word of `try_files`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// A URI, or `@name`.
    Redirect(Template),
    Status(u16),
}

/// How the client is read from and written to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// 0: no limit.
    pub max_body_size: u64,
    pub body_buffer_size: u64,
    pub body_timeout: Millis,
    /// Absolute.
    pub body_temp_path: String,
    pub body_in_file_only: BodyInFile,
    pub body_in_single_buffer: bool,
    pub send_timeout: Millis,
    pub keepalive_timeout: Millis,
    /// Seconds for the Keep-Alive header; absent: no header.
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: u64,
    pub keepalive_time: Millis,
    pub keepalive_min_timeout: Millis,
    pub keepalive_disable_msie6: bool,
    pub keepalive_disable_safari: bool,
    pub lingering_close: LingeringClose,
    pub lingering_time: Millis,
    pub lingering_timeout: Millis,
    pub reset_timedout_connection: bool,
    pub tcp_nodelay: bool,
    pub tcp_nopush: bool,
    pub limit_rate: Template,
    pub limit_rate_after: Template,
}

/// `client_body_in_file_only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyInFile {
    Off,
    On,
    Clean,
}

/// `lingering_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LingeringClose {
    Off,
    On,
    Always,
}

/// What is added to or changed in answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    pub add_headers: Vec<AddHeader>,
    pub add_trailers: Vec<AddHeader>,
    pub expires: Option<Expires>,
    pub server_tokens: bool,
    pub absolute_redirect: bool,
    pub server_name_in_redirect: bool,
    pub port_in_redirect: bool,
    pub msie_padding: bool,
    pub chunked_transfer_encoding: bool,
    pub gzip: Gzip,
    pub ssi: Ssi,
    pub charset: Option<Template>,
}

/// `add_header` or `add_trailer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddHeader {
    pub name: String,
    pub value: Template,
    pub always: bool,
}

/// `expires`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expires {
    pub modified: bool,
    /// `off`, `epoch`, `max`, or a time with an optional sign, as written.
    pub time: Template,
}

/// `gzip` and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gzip {
    pub on: bool,
    pub level: u8,
    pub min_length: u64,
    /// Lower case; `*` stands for all.
    pub types: Vec<String>,
    pub http_1_0: bool,
    /// Words of `gzip_proxied`; empty is `off`.
    pub proxied: Vec<String>,
    pub vary: bool,
    pub disable: Vec<Regex>,
    pub disable_msie6: bool,
}

/// `ssi` and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ssi {
    pub on: bool,
    /// Lower case; `*` stands for all.
    pub types: Vec<String>,
    pub silent_errors: bool,
    /// Whether Last-Modified and a weak ETag of the page itself stay.
    pub last_modified: bool,
    /// Bytes of the longest value of a parameter.
    pub value_length: u64,
}

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// In file order; the first that matches decides.
    pub rules: Vec<AccessRule>,
    /// False: `satisfy all`.
    pub satisfy_any: bool,
    pub auth_basic: Option<Template>,
    pub auth_basic_user_file: Option<Template>,
    pub auth_request: Option<String>,
    /// A variable that can be set, and the value.
    pub auth_request_set: Vec<(Variable, Template)>,
    pub auth_delay: Millis,
    pub limit_req: Vec<LimitReq>,
    pub limit_req_status: u16,
    pub limit_req_dry_run: bool,
    pub limit_req_log_level: Option<crate::Level>,
    pub limit_conn: Vec<LimitConn>,
    pub limit_conn_status: u16,
    pub limit_conn_dry_run: bool,
    pub limit_conn_log_level: Option<crate::Level>,
    pub real_ip: RealIp,
}

/// `allow` or `deny`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    pub allow: bool,
    pub who: Network,
}

/// A set of client addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    All,
    Unix,
    /// Address and prefix length in bits.
    Net(IpAddr, u8),
}

impl Network {
    /// Whether an address is in the set; `None` is a client on a unix socket.
    #[must_use]
    pub fn holds(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) | (Self::Unix, None) => true,
            (Self::Net(IpAddr::V4(net), bits), Some(IpAddr::V4(address))) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                u32::from(*net) & mask == u32::from(address) & mask
            }
            (Self::Net(IpAddr::V6(net), bits), Some(IpAddr::V6(address))) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                u128::from(*net) & mask == u128::from(address) & mask
            }
            (Self::Net(IpAddr::V4(_), _), Some(IpAddr::V6(address))) => {
                address.to_ipv4_mapped().is_some_and(|address| self.holds(Some(IpAddr::V4(address))))
            }
            _ => false,
        }
    }
}

/// One `limit_req` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitReq {
    /// Index into [`crate::Http::limit_req_zones`].
    pub zone: usize,
    pub burst: u64,
    /// Requests above this many wait; `u64::MAX` is `nodelay`.
    pub delay: u64,
}

/// One `limit_conn` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitConn {
    /// Index into [`crate::Http::limit_conn_zones`].
    pub zone: usize,
    pub connections: u32,
}

/// `set_real_ip_from`, `real_ip_header` and `real_ip_recursive`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealIp {
    pub from: Vec<Network>,
    /// Lower case; `proxy_protocol` takes the address of the PROXY header.
    pub header: String,
    pub recursive: bool,
}

impl Default for RealIp {
    fn default() -> Self {
        Self { from: Vec::new(), header: "x-real-ip".to_owned(), recursive: false }
    }
}

/// One status of an `error_page` line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorPage {
    pub status: u16,
    pub overwrite: Overwrite,
    /// A URI, a URL, or `@name`.
    pub target: Template,
}

/// `=` and `=code` of `error_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Nothing said: the error's own status stays.
    Keep,
    /// `=`: the status of the answer to the target.
    Answer,
    /// `=code`.
    Status(u16),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: Files::default(),
            client: Client::default(),
            response: Response::default(),
            access: Access { limit_req_status: 503, limit_conn_status: 503, ..Access::default() },
            proxy: Proxy::default(),
            error_pages: Vec::new(),
            recursive_error_pages: false,
            access_log: Vec::new(),
            log_file_cache: None,
            error_log: Vec::new(),
            log_not_found: true,
            log_subrequest: false,
            rewrite_log: false,
            uninitialized_variable_warn: true,
            mirror: Vec::new(),
            mirror_request_body: true,
            post_action: None,
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        let types = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
        Self {
            root: Template::default(),
            alias: false,
            index: vec![Template::text("index.html")],
            try_files: None,
            sendfile: false,
            sendfile_max_chunk: 2 * 1024 * 1024,
            etag: true,
            if_modified_since: IfModifiedSince::Exact,
            max_ranges: u32::MAX,
            types: types.into_iter().map(|(from, to)| (from.to_owned(), to.to_owned())).collect(),
            default_type: "text/plain".to_owned(),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            max_body_size: 1024 * 1024,
            body_buffer_size: 8 * 1024,
            body_timeout: Millis(60_000),
            body_temp_path: String::new(),
            body_in_file_only: BodyInFile::Off,
            body_in_single_buffer: false,
            send_timeout: Millis(60_000),
            keepalive_timeout: Millis(75_000),
            keepalive_header: None,
            keepalive_requests: 1000,
            keepalive_time: Millis(3_600_000),
            keepalive_min_timeout: Millis(0),
            keepalive_disable_msie6: true,
            keepalive_disable_safari: false,
            lingering_close: LingeringClose::On,
            lingering_time: Millis(30_000),
            lingering_timeout: Millis(5_000),
            reset_timedout_connection: false,
            tcp_nodelay: true,
            tcp_nopush: false,
            limit_rate: Template::default(),
            limit_rate_after: Template::default(),
        }
    }
}

impl Default for Response {
    fn default() -> Self {
        Self {
            add_headers: Vec::new(),
            add_trailers: Vec::new(),
            expires: None,
            server_tokens: true,
            absolute_redirect: true,
            server_name_in_redirect: false,
            port_in_redirect: true,
            msie_padding: true,
            chunked_transfer_encoding: true,
            gzip: Gzip::default(),
            ssi: Ssi::default(),
            charset: None,
        }
    }
}

impl Default for Ssi {
    fn default() -> Self {
        Self {
            on: false,
            types: vec!["text/html".to_owned()],
            silent_errors: false,
            last_modified: false,
            value_length: 255,
        }
    }
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            on: false,
            level: 1,
            min_length: 20,
            types: vec!["text/html".to_owned()],
            http_1_0: false,
            proxied: Vec::new(),
            vary: false,
            disable: Vec::new(),
            disable_msie6: false,
        }
    }
}
