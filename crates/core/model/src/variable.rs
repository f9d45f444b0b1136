//! Names after a dollar sign.

use serde::{Deserialize, Serialize};

/// What a `$name` stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    Builtin(Builtin),
    /// Index into [`crate::Http::variables`].
    User(u32),
    /// Names of the prefix families are lower case with `_` in place of `-`.
    Arg(String),
    Cookie(String),
    Http(String),
    SentHttp(String),
    SentTrailer(String),
    UpstreamHttp(String),
    UpstreamTrailer(String),
    UpstreamCookie(String),
    ProxyProtocolTlv(String),
}

macro_rules! builtins {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// The variables that nginx's http modules define.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Builtin {
            $(#[doc = $doc] $variant,)*
        }

        impl Builtin {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name without the dollar sign.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the value is.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

builtins! {
    Args "args" "the arguments in the request line, without the question mark",
    BinaryRemoteAddr "binary_remote_addr" "the client address as 4 or 16 bytes",
    BodyBytesSent "body_bytes_sent" "bytes of the body sent to the client",
    BytesSent "bytes_sent" "bytes sent to the client",
    Connection "connection" "serial number of the connection",
    ConnectionRequests "connection_requests" "number of the request on its connection",
    ConnectionTime "connection_time" "age of the connection in seconds",
    ConnectionsActive "connections_active" "open client connections",
    ConnectionsReading "connections_reading" "connections on which a head is being read",
    ConnectionsWaiting "connections_waiting" "idle client connections",
    ConnectionsWriting "connections_writing" "connections on which an answer is being made",
    ContentLength "content_length" "the Content-Length header of the request",
    ContentType "content_type" "the Content-Type header of the request",
    DateGmt "date_gmt" "the time in GMT",
    DateLocal "date_local" "the time in the local zone",
    DocumentRoot "document_root" "root or alias of the location",
    DocumentUri "document_uri" "the same as uri",
    Host "host" "name from the request line, the Host header, or the server's name",
    Hostname "hostname" "name of the machine",
    Http2 "http2" "negotiated HTTP/2 protocol; empty in HTTP/1",
    Http3 "http3" "negotiated HTTP/3 protocol; empty in HTTP/1",
    Https "https" "on in TLS, else empty",
    IsArgs "is_args" "a question mark when there are arguments, else empty",
    IsRequestPort "is_request_port" "a colon when the request names a port, else empty",
    LimitConnStatus "limit_conn_status" "PASSED, REJECTED or REJECTED_DRY_RUN",
    LimitRate "limit_rate" "limit of the rate of the answer in bytes a second",
    LimitReqStatus "limit_req_status" "PASSED, DELAYED, REJECTED, DELAYED_DRY_RUN or REJECTED_DRY_RUN",
    Msec "msec" "the time in seconds with milliseconds",
    NginxVersion "nginx_version" "the nginx version whose behaviour is served",
    Pid "pid" "process id of the worker",
    Pipe "pipe" "p when the request was pipelined, else a dot",
    ProxyAddXForwardedFor "proxy_add_x_forwarded_for" "X-Forwarded-For of the request with the client address added",
    ProxyHost "proxy_host" "host and port of proxy_pass",
    ProxyPort "proxy_port" "port of proxy_pass",
    ProxyProtocolAddr "proxy_protocol_addr" "client address from the PROXY header",
    ProxyProtocolPort "proxy_protocol_port" "client port from the PROXY header",
    ProxyProtocolServerAddr "proxy_protocol_server_addr" "server address from the PROXY header",
    ProxyProtocolServerPort "proxy_protocol_server_port" "server port from the PROXY header",
    QueryString "query_string" "the same as args",
    RealipRemoteAddr "realip_remote_addr" "the client address before realip changed it",
    RealipRemotePort "realip_remote_port" "the client port before realip changed it",
    RealpathRoot "realpath_root" "root or alias of the location with links resolved",
    RemoteAddr "remote_addr" "the client address",
    RemotePort "remote_port" "the client port",
    RemoteUser "remote_user" "the name in Basic credentials",
    Request "request" "the request line",
    RequestBody "request_body" "the body of the request, when it is in memory",
    RequestBodyFile "request_body_file" "name of the file that holds the body of the request",
    RequestCompletion "request_completion" "OK when the request was served completely",
    RequestFilename "request_filename" "path of the file that the URI names",
    RequestId "request_id" "32 random hexadecimal digits",
    RequestLength "request_length" "bytes of the request: line, head and body",
    RequestMethod "request_method" "the method",
    RequestPort "request_port" "the port that the request names",
    RequestTime "request_time" "seconds with milliseconds since the first byte of the request",
    RequestUri "request_uri" "the target of the request line with arguments, as sent",
    Scheme "scheme" "http or https",
    ServerAddr "server_addr" "the address that accepted the connection",
    ServerName "server_name" "the first name of the server",
    ServerPort "server_port" "the port that accepted the connection",
    ServerProtocol "server_protocol" "HTTP/1.0 or HTTP/1.1",
    Status "status" "status of the answer",
    TcpinfoRcvSpace "tcpinfo_rcv_space" "receive space of the client's TCP connection",
    TcpinfoRtt "tcpinfo_rtt" "round trip time of the client's TCP connection in microseconds",
    TcpinfoRttvar "tcpinfo_rttvar" "variance of the round trip time in microseconds",
    TcpinfoSndCwnd "tcpinfo_snd_cwnd" "congestion window of the client's TCP connection",
    TimeIso8601 "time_iso8601" "the time in ISO 8601",
    TimeLocal "time_local" "the time in the common log format",
    UpstreamAddr "upstream_addr" "addresses of the peers that were asked",
    UpstreamBytesReceived "upstream_bytes_received" "bytes received from the peers",
    UpstreamBytesSent "upstream_bytes_sent" "bytes sent to the peers",
    UpstreamCacheStatus "upstream_cache_status" "state of the cache; empty without one",
    UpstreamConnectTime "upstream_connect_time" "seconds to connect to the peers",
    UpstreamHeaderTime "upstream_header_time" "seconds until the heads of the peers' answers",
    UpstreamResponseLength "upstream_response_length" "lengths of the peers' answers",
    UpstreamResponseTime "upstream_response_time" "seconds until the ends of the peers' answers",
    UpstreamStatus "upstream_status" "statuses of the peers' answers",
    Uri "uri" "the normalized path of the request",
    GzipRatio "gzip_ratio" "achieved compression ratio",
}

impl Builtin {
    /// The variable of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|builtin| builtin.name() == name)
    }
}

impl Variable {
    /// A built-in variable or a member of a prefix family; `None` for a name that only the configuration
    /// could define.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(builtin) = Builtin::parse(name) {
            return Some(Self::Builtin(builtin));
        }
        const FAMILIES: &[(&str, fn(String) -> Variable)] = &[
            ("arg_", Variable::Arg),
            ("cookie_", Variable::Cookie),
            ("http_", Variable::Http),
            ("sent_http_", Variable::SentHttp),
            ("sent_trailer_", Variable::SentTrailer),
            ("upstream_http_", Variable::UpstreamHttp),
            ("upstream_trailer_", Variable::UpstreamTrailer),
            ("upstream_cookie_", Variable::UpstreamCookie),
            ("proxy_protocol_tlv_", Variable::ProxyProtocolTlv),
        ];
        FAMILIES
            .iter()
            .find_map(|(prefix, make)| name.strip_prefix(prefix).map(|rest| make(rest.to_ascii_lowercase())))
    }
}
