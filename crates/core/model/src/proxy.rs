//! What a location asks of the proxy.

use serde::{Deserialize, Serialize};

use crate::{Millis, Regex, Resolver, Template};

/// `proxy_pass` of one location.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyPass {
    pub target: ProxyTarget,
    /// The text as written, for messages.
    pub url: String,
}

/// Where the request goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyTarget {
    Group {
        /// Index into [`crate::Http::upstreams`].
        upstream: usize,
        /// `$proxy_host`: host, and port unless it is the scheme's.
        host: String,
        /// `$proxy_port`.
        port: String,
        /// The URI part; absent when the URL ends after the authority.
        uri: Option<String>,
    },
    /// A URL with variables, split and looked up per request.
    Template(Template),
}

/// The `proxy_*` settings of a location with inheritance done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proxy {
    pub connect_timeout: Millis,
    pub send_timeout: Millis,
    pub read_timeout: Millis,
    pub buffering: bool,
    pub request_buffering: bool,
    pub ignore_client_abort: bool,
    pub intercept_errors: bool,
    pub pass_request_headers: bool,
    pub pass_request_body: bool,
    pub pass_trailers: bool,
    pub force_ranges: bool,
    pub socket_keepalive: bool,
    /// `1.0` or `1.1`.
    pub http_1_0: bool,
    pub buffer_size: u64,
    /// Number and size in bytes.
    pub buffers: (u32, u64),
    pub busy_buffers_size: u64,
    pub max_temp_file_size: u64,
    pub temp_file_write_size: u64,
    /// Absolute.
    pub temp_path: String,
    pub limit_rate: Template,
    pub bind: Option<Bind>,
    pub method: Option<Template>,
    pub set_body: Option<Template>,
    /// In file order as written; the defaults (Host, Connection ...) are not in it.
    pub set_headers: Vec<(String, Template)>,
    /// Lower case.
    pub hide_headers: Vec<String>,
    /// Lower case.
    pub pass_headers: Vec<String>,
    /// Lower case names given to `proxy_ignore_headers`.
    pub ignore_headers: Vec<String>,
    pub redirect: Redirects,
    pub cookie_domain: Vec<(CookiePattern, Template)>,
    pub cookie_path: Vec<(CookiePattern, Template)>,
    pub cookie_flags: Vec<CookieFlags>,
    pub next_upstream: NextUpstream,
    pub next_upstream_tries: u32,
    pub next_upstream_timeout: Millis,
    /// `resolver`: who is asked for a host that a variable names.
    pub resolver: Option<Resolver>,
    /// `resolver_timeout`, also where no resolver is set.
    pub resolver_timeout: Millis,
}

/// `proxy_bind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// An address with an optional port.
    pub address: Template,
    pub transparent: bool,
}

/// `proxy_redirect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirects {
    /// Nothing said, or `default` alone: from the URL of `proxy_pass` to the location's name.
    Default,
    Off,
    /// In file order; a `default` among others is lowered to its pair.
    List(Vec<(CookiePattern, Template)>),
}

/// The left side of `proxy_redirect`, `proxy_cookie_domain` and `proxy_cookie_path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CookiePattern {
    /// A prefix (redirect, path) or the whole domain.
    Text(Template),
    Regex(Regex),
}

/// One line of `proxy_cookie_flags`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieFlags {
    pub cookie: CookiePattern,
    /// `secure`, `nosecure`, `httponly`, `samesite=...`, `nosamesite` as written.
    pub flags: Vec<Template>,
}

/// The events that send a request to the next peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextUpstream {
    pub error: bool,
    pub timeout: bool,
    pub invalid_header: bool,
    pub non_idempotent: bool,
    pub http_403: bool,
    pub http_404: bool,
    pub http_429: bool,
    pub http_500: bool,
    pub http_502: bool,
    pub http_503: bool,
    pub http_504: bool,
}

impl NextUpstream {
    /// `proxy_next_upstream off`.
    pub const OFF: Self = Self {
        error: false,
        timeout: false,
        invalid_header: false,
        non_idempotent: false,
        http_403: false,
        http_404: false,
        http_429: false,
        http_500: false,
        http_502: false,
        http_503: false,
        http_504: false,
    };

    /// Whether an answer with this status is to be tried elsewhere.
    #[must_use]
    pub const fn status(&self, status: u16) -> bool {
        match status {
            403 => self.http_403,
            404 => self.http_404,
            429 => self.http_429,
            500 => self.http_500,
            502 => self.http_502,
            503 => self.http_503,
            504 => self.http_504,
            _ => false,
        }
    }
}

impl Default for NextUpstream {
    fn default() -> Self {
        Self { error: true, timeout: true, ..Self::OFF }
    }
}

const PAGE: u64 = 4096;
const MINUTE: Millis = Millis(60_000);

impl Default for Proxy {
    fn default() -> Self {
        Self {
            connect_timeout: MINUTE,
            send_timeout: MINUTE,
            read_timeout: MINUTE,
            buffering: true,
            request_buffering: true,
            ignore_client_abort: false,
            intercept_errors: false,
            pass_request_headers: true,
            pass_request_body: true,
            pass_trailers: false,
            force_ranges: false,
            socket_keepalive: false,
            http_1_0: false,
            buffer_size: PAGE,
            buffers: (8, PAGE),
            busy_buffers_size: 2 * PAGE,
            max_temp_file_size: 1024 * 1024 * 1024,
            temp_file_write_size: 2 * PAGE,
            temp_path: String::new(),
            limit_rate: Template::default(),
            bind: None,
            method: None,
            set_body: None,
            set_headers: Vec::new(),
            hide_headers: Vec::new(),
            pass_headers: Vec::new(),
            ignore_headers: Vec::new(),
            redirect: Redirects::Default,
            cookie_domain: Vec::new(),
            cookie_path: Vec::new(),
            cookie_flags: Vec::new(),
            next_upstream: NextUpstream::default(),
            next_upstream_tries: 0,
            next_upstream_timeout: Millis(0),
            resolver: None,
            resolver_timeout: Millis(30_000),
        }
    }
}
