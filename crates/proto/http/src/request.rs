//! The state of one request, from its first byte to its log line.

use std::net::IpAddr;
use std::rc::Rc;

use weir_model::{Http, ListenAddress, LocationId};
use weir_pattern::Captures;

use crate::answer::Answer;
use crate::site::Matcher;
use crate::wire::head::{RequestHead, Span, Version};

/// What is known of the connection that carries a request.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Client address; `None` on a unix socket.
    pub remote: Option<IpAddr>,
    pub remote_port: u16,
    /// Text of `remote`, or `unix:`.
    pub remote_text: String,
    /// The address that accepted, after wildcard resolution; computed by the shell.
    pub local: ListenAddress,
    /// Serial number of the connection.
    pub serial: u64,
    /// Monotonic milliseconds of the accept.
    pub accepted: u64,
    pub proxied: Option<Box<ProxyHeader>>,
}

/// A PROXY protocol header (HAProxy, "The PROXY protocol", versions 1 and 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    pub source: Option<(IpAddr, u16)>,
    pub destination: Option<(IpAddr, u16)>,
    /// Type and value of each TLV.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// A user variable's value within one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing has set it; maps are asked then.
    #[default]
    Unset,
    Set(Vec<u8>),
}

/// One peer that was asked.
#[derive(Clone, Debug)]
pub struct Try {
    /// `$upstream_addr` of this try.
    pub peer: Rc<str>,
    pub status: Option<u16>,
    /// Milliseconds since the try began.
    pub connect: Option<u64>,
    pub header: Option<u64>,
    pub response: Option<u64>,
    pub length: u64,
    pub received: u64,
    pub sent: u64,
    /// The request was redirected internally before this try: ` : ` stands before it in lists, not `, `.
    pub after_redirect: bool,
}

impl Try {
    /// A try that has just begun.
    #[must_use]
    pub fn new(peer: Rc<str>, after_redirect: bool) -> Self {
        Self {
            peer,
            status: None,
            connect: None,
            header: None,
            response: None,
            length: 0,
            received: 0,
            sent: 0,
            after_redirect,
        }
    }
}

/// The head of a peer's answer, kept for `$upstream_http_*`.
#[derive(Clone, Debug, Default)]
pub struct UpstreamHead {
    pub bytes: Vec<u8>,
    pub fields: Vec<crate::wire::head::Field>,
    /// `name: value` lines after a chunked body.
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a request stands towards its URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriState {
    /// `uri` is what the client sent; its raw form may be passed on.
    AsSent,
    /// A rewrite or an internal redirect changed it.
    Changed,
}

/// State of one request. Its vectors keep their capacity from one request to the next.
#[derive(Debug)]
pub struct Request {
    /// Bytes of the head; spans point into it.
    pub bytes: Vec<u8>,
    pub head: RequestHead,
    pub facts: Rc<Facts>,
    pub server: usize,
    pub location: LocationId,
    /// Lower case, without port.
    pub host: Vec<u8>,
    /// Port that the client named.
    pub request_port: Option<u16>,
    /// Decoded, normalized path.
    pub uri: Vec<u8>,
    pub args: Vec<u8>,
    /// The path had percent-encoded bytes: it is encoded again where it is passed on.
    pub quoted: bool,
    pub uri_state: UriState,
    /// The URI still starts with the name of its location (no `rewrite ... break` since it was found).
    pub valid_location: bool,
    /// `try_files` chose a file below an `alias` that stands for the whole path: the URI follows the alias.
    pub uri_behind_alias: bool,
    pub internal: bool,
    /// A subrequest; its method is not the one that `$request_method` shows.
    pub is_sub: bool,
    /// Internal redirects and location searches left before the request ends in 500.
    pub turns: u8,
    /// The method after an `error_page` turned it into GET.
    pub method: Vec<u8>,
    pub variables: Vec<Value>,
    pub captures: Captures,
    /// What the captures point into.
    pub subject: Vec<u8>,
    /// Bytes a second that `set $limit_rate` or a peer asked for; 0 is no limit.
    pub limit_rate: Option<u64>,
    pub remote_user: Option<Vec<u8>>,
    /// Client address and port as realip replaced them; the original stays in `facts`.
    pub real: Option<(IpAddr, u16)>,
    /// The error status that `error_page` works on; 0 without one.
    pub error_status: u16,
    /// An error met `error_page` lines without `recursive_error_pages`: they are not looked at again.
    pub error_page_used: bool,
    /// Bytes of line, head and body received.
    pub request_length: u64,
    pub body: BodyView,
    /// Unix milliseconds and monotonic milliseconds of the first byte.
    pub started: u64,
    pub pipelined: bool,
    /// Number of this request on its connection, from 1.
    pub number: u64,
    pub request_id: Option<[u8; 32]>,
    pub tries: Vec<Try>,
    pub upstream: UpstreamHead,
    /// `$proxy_host` and `$proxy_port` once a proxy location was reached.
    pub proxy_host: Vec<u8>,
    pub proxy_port: Vec<u8>,
    pub limit_req_status: &'static str,
    pub limit_conn_status: &'static str,
    pub answer: Answer,
    /// Bytes written to the client for this request.
    pub sent: u64,
    pub body_sent: u64,
    /// Bytes into and out of the compressor of the answer.
    pub gzip_ratio: Option<(u64, u64)>,
    pub complete: bool,
}

/// The part of a request's body that variables can see.
#[derive(Clone, Debug, Default)]
pub struct BodyView {
    pub memory: Vec<u8>,
    pub file: Option<String>,
}

impl Request {
    /// An empty request of a connection.
    #[must_use]
    pub fn new(facts: Rc<Facts>) -> Self {
        Self {
            bytes: Vec::new(),
            head: RequestHead::new(),
            facts,
            server: 0,
            location: LocationId(0),
            host: Vec::new(),
            request_port: None,
            uri: Vec::new(),
            args: Vec::new(),
            quoted: false,
            uri_state: UriState::AsSent,
            valid_location: true,
            uri_behind_alias: false,
            internal: false,
            is_sub: false,
            turns: TURNS,
            method: Vec::new(),
            variables: Vec::new(),
            captures: Captures::default(),
            subject: Vec::new(),
            limit_rate: None,
            remote_user: None,
            real: None,
            error_status: 0,
            error_page_used: false,
            request_length: 0,
            body: BodyView::default(),
            started: 0,
            pipelined: false,
            number: 1,
            request_id: None,
            tries: Vec::new(),
            upstream: UpstreamHead::default(),
            proxy_host: Vec::new(),
            proxy_port: Vec::new(),
            limit_req_status: "",
            limit_conn_status: "",
            answer: Answer::default(),
            sent: 0,
            body_sent: 0,
            gzip_ratio: None,
            complete: false,
        }
    }

    /// Ready for the next request of a connection; capacities stay. Every field is named, so that one more
    /// cannot be forgotten here.
    pub fn reset(&mut self, for_connection: Rc<Facts>) {
        let Self {
            bytes,
            head,
            facts,
            server,
            location,
            host,
            request_port,
            uri,
            args,
            quoted,
            uri_state,
            valid_location,
            uri_behind_alias,
            internal,
            is_sub,
            turns,
            method,
            variables,
            captures,
            subject,
            limit_rate,
            remote_user,
            real,
            error_status,
            error_page_used,
            request_length,
            body,
            started,
            pipelined,
            number,
            request_id,
            tries,
            upstream,
            proxy_host,
            proxy_port,
            limit_req_status,
            limit_conn_status,
            answer,
            sent,
            body_sent,
            gzip_ratio,
            complete,
        } = self;
        bytes.clear();
        head.clear();
        *facts = for_connection;
        *server = 0;
        *location = LocationId(0);
        host.clear();
        *request_port = None;
        uri.clear();
        args.clear();
        *quoted = false;
        *uri_state = UriState::AsSent;
        *valid_location = true;
        *uri_behind_alias = false;
        *internal = false;
        *is_sub = false;
        *turns = TURNS;
        method.clear();
        variables.clear();
        captures.clear();
        subject.clear();
        *limit_rate = None;
        *remote_user = None;
        *real = None;
        *error_status = 0;
        *error_page_used = false;
        *request_length = 0;
        body.memory.clear();
        body.file = None;
        *started = 0;
        *pipelined = false;
        *number = 1;
        *request_id = None;
        tries.clear();
        upstream.bytes.clear();
        upstream.fields.clear();
        upstream.trailers.clear();
        proxy_host.clear();
        proxy_port.clear();
        *limit_req_status = "";
        *limit_conn_status = "";
        answer.clear();
        *sent = 0;
        *body_sent = 0;
        *gzip_ratio = None;
        *complete = false;
    }

    /// The bytes of a span of the head.
    #[must_use]
    pub fn text(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The request line; of one that was refused or did not come to its end, what is there of it.
    #[must_use]
    pub fn request_line(&self) -> &[u8] {
        let line = self.text(self.head.request_line);
        if !line.is_empty() {
            return line;
        }
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = self.bytes.iter().position(|byte| !is_end(byte)).unwrap_or(self.bytes.len());
        let rest = self.bytes.get(start..).unwrap_or_default();
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    /// The method of the client's request line or of the redirect that replaced it.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        if self.method.is_empty() { self.text(self.head.method) } else { &self.method }
    }

    /// Whether the answer has no body because of the method.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }

    /// Whether the client speaks HTTP/1.1.
    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.head.version == Version::Http11
    }

    /// First header of a lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head
            .fields
            .iter()
            .find(|field| field.name.of(&self.bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value.of(&self.bytes))
    }

    /// The client address as realip left it.
    #[must_use]
    pub fn remote(&self) -> Option<IpAddr> {
        self.real.map_or(self.facts.remote, |(address, _)| Some(address))
    }

    /// Takes over the captures of a match in `subject` and sets the named groups' variables.
    pub fn matched(&mut self, matcher: &Matcher, subject: &[u8]) {
        self.subject.clear();
        self.subject.extend_from_slice(subject);
        for &(group, variable) in &matcher.names {
            let value = self.capture(usize::from(group)).to_vec();
            self.set(variable, value);
        }
    }

    /// The text of a capture group, empty when it took no part.
    #[must_use]
    pub fn capture(&self, group: usize) -> &[u8] {
        self.captures.text(&self.subject, group)
    }

    /// Sets a user variable.
    pub fn set(&mut self, variable: u32, value: Vec<u8>) {
        let index = variable as usize;
        if self.variables.len() <= index {
            self.variables.resize(index + 1, Value::Unset);
        }
        if let Some(slot) = self.variables.get_mut(index) {
            *slot = Value::Set(value);
        }
    }

    /// The name that stands for the server in redirects and `$host`: the client's, else the server's.
    #[must_use]
    pub fn host_or_server(&self, http: &Http) -> Vec<u8> {
        if self.host.is_empty() {
            server_name(http, self.server).as_bytes().to_vec()
        } else {
            self.host.clone()
        }
    }
}

/// Location searches that one request may cause (nginx's NGX_HTTP_MAX_URI_CHANGES).
pub const TURNS: u8 = 10;

/// `$server_name`: the first name of a server as written.
#[must_use]
pub fn server_name(http: &Http, server: usize) -> std::borrow::Cow<'_, str> {
    use weir_model::ServerName;
    match http.servers.get(server).and_then(|server| server.names.first()) {
        None => "".into(),
        Some(ServerName::Exact(name)) => name.as_str().into(),
        Some(ServerName::Suffix(name)) => format!("*.{name}").into(),
        Some(ServerName::SuffixOrExact(name)) => name.as_str().into(),
        Some(ServerName::Prefix(name)) => format!("{name}.*").into(),
        Some(ServerName::Regex(regex)) => format!("~{}", regex.source).into(),
    }
}
