//! The values of variables and of text that contains them.

use std::net::IpAddr;

use weir_model::{Builtin, FileTest, Level, ListenAddress, Part, Template, Variable, VariableSource};

use crate::answer::number;
use crate::credentials::basic_user;
use crate::named::{argument, join, join_with};
use crate::request::{Request, Try, Value, server_name};
use crate::site::{Alias, Site};
use crate::wire::head::Version;

/// What a request may ask of the machine. The shell answers; tests answer from tables.
pub trait World {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
    /// Monotonic milliseconds.
    fn mono_ms(&self) -> u64;
    /// `$time_local`, `$time_iso8601` and friends.
    fn time(&self, which: Builtin, out: &mut Vec<u8>);
    fn hostname(&self) -> &str;
    /// 32 hexadecimal digits that nobody can guess.
    fn request_id(&self) -> [u8; 32];
    /// The path with links resolved.
    fn realpath(&self, path: &[u8]) -> Option<Vec<u8>>;
    fn file(&self, path: &[u8], test: FileTest) -> bool;
    /// The `$tcpinfo_*` value of the client's connection.
    fn tcp_info(&self, which: Builtin) -> Option<u64>;
    /// The `$connections_*` counters.
    fn connections(&self, which: Builtin) -> u64;
    /// Takes a line for the error log; it is written once the value is there.
    fn note(&self, level: Level, line: String);
}

/// Where values come from: the configuration and the machine.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub site: &'a Site,
    pub world: &'a dyn World,
}

impl Request {
    /// Appends the value of a template.
    pub fn expand(&mut self, scope: Scope<'_>, template: &Template, out: &mut Vec<u8>) {
        for part in &template.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Capture(group) => {
                    out.extend_from_slice(self.capture(usize::from(*group)));
                }
                Part::Variable(variable) => {
                    self.variable(scope, variable, out);
                }
            }
        }
    }

    /// The value of a template as bytes of its own.
    #[must_use]
    pub fn expanded(&mut self, scope: Scope<'_>, template: &Template) -> Vec<u8> {
        let mut out = Vec::new();
        self.expand(scope, template, &mut out);
        out
    }

    /// Appends the value of a variable. False when it has none, which logs print as `-`.
    pub fn variable(&mut self, scope: Scope<'_>, variable: &Variable, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Builtin(builtin) => self.builtin(scope, *builtin, out),
            Variable::User(index) => self.user(scope, *index, out),
            Variable::Http(name) => self.request_headers(name, out),
            Variable::Arg(name) => argument(&self.args, name.as_bytes(), out),
            Variable::Cookie(name) => self.cookie(name.as_bytes(), out),
            Variable::SentHttp(name) => self.sent(name, out),
            Variable::SentTrailer(name) => {
                let trailers = &self.answer.trailers;
                join(trailers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())), name, out)
            }
            Variable::UpstreamHttp(name) => {
                let head = &self.upstream;
                join(head.fields.iter().map(|f| (f.name.of(&head.bytes), f.value.of(&head.bytes))), name, out)
            }
            Variable::UpstreamTrailer(name) => {
                let trailers = &self.upstream.trailers;
                join(trailers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())), name, out)
            }
            Variable::UpstreamCookie(name) => self.upstream_cookie(name.as_bytes(), out),
            Variable::ProxyProtocolTlv(name) => self.tlv(name, out),
        }
    }

    fn user(&mut self, scope: Scope<'_>, index: u32, out: &mut Vec<u8>) -> bool {
        if let Some(Value::Set(value)) = self.variables.get(index as usize) {
            out.extend_from_slice(value);
            return true;
        }
        let Some(declared) = scope.site.http().variables.get(index as usize) else { return false };
        let (value, volatile) = match declared.source {
            VariableSource::Set => {
                if scope.site.place(self.location).settings.uninitialized_variable_warn {
                    let line = format!("using uninitialized \"{}\" variable", declared.name);
                    scope.world.note(Level::Warn, line);
                }
                self.set(index, Vec::new());
                return true;
            }
            VariableSource::Map(map) => (self.map(scope, map), scope.site.http().maps[map].volatile),
            VariableSource::Geo(geo) => (self.geo(scope, geo), scope.site.http().geos[geo].volatile),
            VariableSource::Split(split) => (self.split(scope, split), false),
        };
        out.extend_from_slice(&value);
        if !volatile {
            self.set(index, value);
        }
        true
    }

    fn request_headers(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let fields = self.head.fields.iter().map(|f| (f.name.of(&self.bytes), f.value.of(&self.bytes)));
        if name == "cookie" { join_with(fields, name, b"; ", out) } else { join(fields, name, out) }
    }

    fn cookie(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let cookies =
            self.head.fields.iter().filter(|f| f.name.of(&self.bytes).eq_ignore_ascii_case(b"cookie"));
        for field in cookies {
            for pair in field.value.of(&self.bytes).split(|&byte| byte == b';') {
                let pair = pair.trim_ascii();
                if let Some(at) = pair.iter().position(|&byte| byte == b'=')
                    && pair[..at].trim_ascii_end().eq_ignore_ascii_case(name)
                {
                    out.extend_from_slice(pair[at + 1..].trim_ascii_start());
                    return true;
                }
            }
        }
        false
    }

    fn upstream_cookie(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let head = &self.upstream;
        let cookies =
            head.fields.iter().filter(|f| f.name.of(&head.bytes).eq_ignore_ascii_case(b"set-cookie"));
        for field in cookies {
            let Some((start, rest)) = field.value.of(&head.bytes).split_at_checked(name.len()) else {
                continue;
            };
            // Only spaces count as blank here.
            if let (true, [b'=', rest @ ..]) = (start.eq_ignore_ascii_case(name), after_spaces(rest)) {
                let rest = after_spaces(rest);
                let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
                out.extend_from_slice(rest.get(..end).unwrap_or_default());
                return true;
            }
        }
        false
    }

    fn sent(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let answer = &self.answer;
        let slot = |slot: &Option<Vec<u8>>, out: &mut Vec<u8>| match slot {
            Some(value) => {
                out.extend_from_slice(value);
                true
            }
            None => false,
        };
        match name {
            "content_type" => {
                let known = slot(&answer.content_type, out);
                if let (true, Some(charset)) = (known, &answer.charset) {
                    out.extend_from_slice(b"; charset=");
                    out.extend_from_slice(charset);
                }
                known
            }
            "content_length" => match answer.content_length {
                Some(length) => {
                    number(length, out);
                    true
                }
                None => false,
            },
            "last_modified" => slot(&answer.last_modified, out),
            "location" => slot(&answer.location, out),
            "connection" => {
                let text: &[u8] = match (answer.upgrade, answer.keep_alive) {
                    (true, _) => b"upgrade",
                    (_, true) => b"keep-alive",
                    _ => b"close",
                };
                out.extend_from_slice(text);
                true
            }
            "keep_alive" => match (answer.keep_alive_header, answer.keep_alive) {
                (Some(seconds), true) => {
                    out.extend_from_slice(b"timeout=");
                    number(seconds, out);
                    true
                }
                _ => false,
            },
            "transfer_encoding" if answer.chunked => {
                out.extend_from_slice(b"chunked");
                true
            }
            _ => join(answer.fields(), name, out),
        }
    }

    fn tlv(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let Some(header) = &self.facts.proxied else { return false };
        let kind = match name {
            "alpn" => 0x01,
            "authority" => 0x02,
            "crc32c" => 0x03,
            "unique_id" => 0x05,
            "ssl" => 0x20,
            "netns" => 0x30,
            _ => match name.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(kind) => kind,
                None => return self.ssl_tlv(name, out),
            },
        };
        match header.tlvs.iter().find(|(found, _)| *found == kind) {
            Some((_, value)) => {
                out.extend_from_slice(value);
                true
            }
            None => false,
        }
    }

    /// The parts inside the SSL TLV: client flags, verify result and sub-TLVs (PROXY protocol, 2.2.6).
    fn ssl_tlv(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let Some(value) = self
            .facts
            .proxied
            .as_ref()
            .and_then(|header| header.tlvs.iter().find(|(kind, _)| *kind == 0x20))
            .map(|(_, value)| value.as_slice())
        else {
            return false;
        };
        let Some((flags, rest)) = value.split_first_chunk::<5>() else { return false };
        let kind = match name {
            "ssl_verify" => {
                number(u64::from(u32::from_be_bytes([flags[1], flags[2], flags[3], flags[4]])), out);
                return true;
            }
            "ssl_version" => 0x21,
            "ssl_cn" => 0x22,
            "ssl_cipher" => 0x23,
            "ssl_sig_alg" => 0x24,
            "ssl_key_alg" => 0x25,
            _ => match name.strip_prefix("ssl_0x").and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(kind) => kind,
                None => return false,
            },
        };
        let mut rest = rest;
        while let Some((header, tail)) = rest.split_first_chunk::<3>() {
            let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
            let Some((body, next)) = tail.split_at_checked(length) else { return false };
            if header[0] == kind {
                out.extend_from_slice(body);
                return true;
            }
            rest = next;
        }
        false
    }

    fn builtin(&mut self, scope: Scope<'_>, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        let world = scope.world;
        match builtin {
            B::Args | B::QueryString => return some(&self.args, out),
            B::Uri | B::DocumentUri => out.extend_from_slice(&self.uri),
            B::Request => out.extend_from_slice(self.request_line()),
            B::RequestUri => match &self.head.absolute {
                None => out.extend_from_slice(self.text(self.head.target)),
                // Scheme and host are no part of it.
                Some(absolute) => {
                    let path = self.text(absolute.path);
                    if !path.starts_with(b"/") {
                        out.push(b'/');
                    }
                    out.extend_from_slice(path);
                }
            },
            B::RequestMethod => out.extend_from_slice(self.text_method()),
            B::ServerProtocol => out.extend_from_slice(match self.head.version {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            }),
            B::Scheme => out.extend_from_slice(b"http"),
            B::Https | B::Http2 | B::Http3 => return true,
            B::IsArgs => out.extend_from_slice(if self.args.is_empty() { b"" } else { b"?" }),
            B::RequestLength => number(self.request_length, out),
            B::RequestCompletion => out.extend_from_slice(if self.complete { b"OK" } else { b"" }),
            B::RequestTime => seconds(world.mono_ms().saturating_sub(self.started), out),
            B::RequestId => {
                let id = *self.request_id.get_or_insert_with(|| world.request_id());
                out.extend_from_slice(&id);
            }
            B::RequestBody => {
                if self.body.memory.is_empty() {
                    return false;
                }
                out.extend_from_slice(&self.body.memory);
            }
            B::RequestBodyFile => match &self.body.file {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => return false,
            },
            B::ContentLength => match self.head.content_length {
                Some(length) => number(length, out),
                None => return false,
            },
            B::ContentType => return self.request_headers("content_type", out),
            B::Status => {
                let status = if self.error_status == 0 { self.answer.status } else { self.error_status };
                if status == 0 {
                    out.extend_from_slice(b"000");
                } else {
                    number(u64::from(status), out);
                }
            }
            B::BytesSent => number(self.sent, out),
            B::BodyBytesSent => number(self.body_sent, out),
            B::Pipe => out.push(if self.pipelined { b'p' } else { b'.' }),
            B::LimitRate => return self.limit_rate_value(scope, out),
            B::LimitReqStatus => return some(self.limit_req_status.as_bytes(), out),
            B::LimitConnStatus => return some(self.limit_conn_status.as_bytes(), out),
            B::GzipRatio => match self.gzip_ratio {
                Some((taken, made)) if made > 0 => {
                    let hundredths = (taken.saturating_mul(1000) / made).saturating_add(5) / 10;
                    out.extend_from_slice(format!("{}.{:02}", hundredths / 100, hundredths % 100).as_bytes());
                }
                _ => return false,
            },
            B::UpstreamCacheStatus => return false,
            B::Msec => {
                let now = world.unix_ms();
                seconds(now, out);
            }
            B::TimeLocal | B::TimeIso8601 | B::DateGmt | B::DateLocal => world.time(builtin, out),
            B::Hostname => out.extend_from_slice(world.hostname().as_bytes()),
            B::NginxVersion => out.extend_from_slice(weir_model::NGINX_VERSION.as_bytes()),
            B::Pid => number(u64::from(std::process::id()), out),
            B::ConnectionsActive | B::ConnectionsReading | B::ConnectionsWaiting | B::ConnectionsWriting => {
                number(world.connections(builtin), out);
            }
            B::TcpinfoRcvSpace | B::TcpinfoRtt | B::TcpinfoRttvar | B::TcpinfoSndCwnd => {
                match world.tcp_info(builtin) {
                    Some(value) => number(value, out),
                    None => return false,
                }
            }
            _ => return self.place_variable(scope, builtin, out),
        }
        true
    }

    /// `$request_method`: that of the request that the client sent, as redirects left it, also in subrequests.
    fn text_method(&self) -> &[u8] {
        if self.is_sub { self.text(self.head.method) } else { self.method() }
    }

    fn limit_rate_value(&mut self, scope: Scope<'_>, out: &mut Vec<u8>) -> bool {
        let rate = match self.limit_rate {
            Some(rate) => rate,
            None => {
                let site = scope.site;
                let template = &site.place(self.location).settings.client.limit_rate;
                size(&self.expanded(scope, template)).unwrap_or(0)
            }
        };
        number(rate, out);
        true
    }

    /// Variables of the connection, of names and of paths.
    fn place_variable(&mut self, scope: Scope<'_>, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        match builtin {
            B::RemoteAddr => match self.remote() {
                Some(address) if self.real.is_some() => address_text(address, out),
                _ => out.extend_from_slice(self.facts.remote_text.as_bytes()),
            },
            B::RealipRemoteAddr => out.extend_from_slice(self.facts.remote_text.as_bytes()),
            B::RemotePort => {
                let port = self.real.map_or(self.facts.remote_port, |(_, port)| port);
                if port == 0 {
                    return true;
                }
                number(u64::from(port), out);
            }
            B::RealipRemotePort => {
                if self.facts.remote_port != 0 {
                    number(u64::from(self.facts.remote_port), out);
                }
            }
            B::BinaryRemoteAddr => match self.remote() {
                Some(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
                Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
                None => out.extend_from_slice(b"unix:"),
            },
            B::ServerAddr => match &self.facts.local {
                ListenAddress::Inet(address) => address_text(address.ip(), out),
                ListenAddress::Unix(path) => {
                    out.extend_from_slice(b"unix:");
                    out.extend_from_slice(path.as_bytes());
                }
            },
            B::ServerPort => {
                if let ListenAddress::Inet(address) = &self.facts.local {
                    number(u64::from(address.port()), out);
                }
            }
            B::ServerName => {
                out.extend_from_slice(server_name(scope.site.http(), self.server).as_bytes());
            }
            B::Host => {
                let host = self.host_or_server(scope.site.http());
                out.extend_from_slice(&host);
            }
            B::RequestPort => match self.request_port {
                Some(port) => number(u64::from(port), out),
                None => return true,
            },
            B::IsRequestPort => out.extend_from_slice(if self.request_port.is_some() { b":" } else { b"" }),
            B::RemoteUser => match &self.remote_user {
                Some(user) => out.extend_from_slice(user),
                None => match basic_user(self.header("authorization")) {
                    Some(user) => {
                        out.extend_from_slice(&user);
                        self.remote_user = Some(user);
                    }
                    None => return false,
                },
            },
            B::Connection => number(self.facts.serial, out),
            B::ConnectionRequests => number(self.number, out),
            B::ConnectionTime => {
                seconds(scope.world.mono_ms().saturating_sub(self.facts.accepted), out);
            }
            B::DocumentRoot => {
                let root = self.root(scope);
                out.extend_from_slice(&root);
            }
            B::RealpathRoot => {
                let root = self.root(scope);
                match scope.world.realpath(&root) {
                    Some(path) => out.extend_from_slice(&path),
                    None => return false,
                }
            }
            B::RequestFilename => {
                let path = self.filename(scope);
                out.extend_from_slice(&path);
            }
            _ => return self.upstream_variable(builtin, out),
        }
        true
    }

    /// The value of `root` or `alias`.
    #[must_use]
    pub fn root(&mut self, scope: Scope<'_>) -> Vec<u8> {
        let site = scope.site;
        self.expanded(scope, &site.place(self.location).settings.files.root)
    }

    /// The path of the file that the URI names.
    #[must_use]
    pub fn filename(&mut self, scope: Scope<'_>) -> Vec<u8> {
        let site = scope.site;
        let place = site.place(self.location);
        let mut path = self.root(scope);
        match place.alias {
            Alias::None => path.extend_from_slice(&self.uri),
            Alias::Name(length) => path.extend_from_slice(self.uri.get(length..).unwrap_or_default()),
            Alias::Whole if self.uri_behind_alias => path.extend_from_slice(&self.uri),
            Alias::Whole => {}
        }
        path
    }

    fn upstream_variable(&mut self, builtin: Builtin, out: &mut Vec<u8>) -> bool {
        use Builtin as B;
        match builtin {
            B::ProxyHost => return some(&self.proxy_host, out),
            B::ProxyPort => return some(&self.proxy_port, out),
            B::ProxyAddXForwardedFor => {
                if self.request_headers("x_forwarded_for", out) {
                    out.extend_from_slice(b", ");
                }
                match self.real {
                    Some((address, _)) => address_text(address, out),
                    None => out.extend_from_slice(self.facts.remote_text.as_bytes()),
                }
            }
            B::ProxyProtocolAddr | B::ProxyProtocolPort => {
                let end = self.facts.proxied.as_ref().and_then(|header| header.source);
                return proxied(end, builtin == B::ProxyProtocolPort, out);
            }
            B::ProxyProtocolServerAddr | B::ProxyProtocolServerPort => {
                let end = self.facts.proxied.as_ref().and_then(|header| header.destination);
                return proxied(end, builtin == B::ProxyProtocolServerPort, out);
            }
            B::UpstreamAddr => return self.each_try(out, |t, out| out.extend_from_slice(t.peer.as_bytes())),
            B::UpstreamStatus => {
                return self.each_try(out, |t, out| match t.status {
                    Some(status) => number(u64::from(status), out),
                    None => out.push(b'-'),
                });
            }
            B::UpstreamConnectTime => return self.each_try(out, |t, out| optional_seconds(t.connect, out)),
            B::UpstreamHeaderTime => return self.each_try(out, |t, out| optional_seconds(t.header, out)),
            B::UpstreamResponseTime => return self.each_try(out, |t, out| optional_seconds(t.response, out)),
            B::UpstreamResponseLength => return self.each_try(out, |t, out| number(t.length, out)),
            B::UpstreamBytesReceived => return self.each_try(out, |t, out| number(t.received, out)),
            B::UpstreamBytesSent => return self.each_try(out, |t, out| number(t.sent, out)),
            _ => {}
        }
        false
    }

    fn each_try(&self, out: &mut Vec<u8>, value: impl Fn(&Try, &mut Vec<u8>)) -> bool {
        for (index, attempt) in self.tries.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(if attempt.after_redirect { b" : " } else { b", " });
            }
            value(attempt, out);
        }
        !self.tries.is_empty()
    }
}

fn after_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn some(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    !value.is_empty()
}

fn proxied(end: Option<(IpAddr, u16)>, port: bool, out: &mut Vec<u8>) -> bool {
    match (end, port) {
        (Some((_, number_of)), true) => number(u64::from(number_of), out),
        (Some((address, _)), false) => address_text(address, out),
        (None, _) => return false,
    }
    true
}

/// Appends an address without brackets.
pub fn address_text(address: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write;
    write!(out, "{address}").expect("a vector takes every write");
}

fn optional_seconds(value: Option<u64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => seconds(value, out),
        None => out.push(b'-'),
    }
}

/// Milliseconds as seconds with three decimals.
fn seconds(ms: u64, out: &mut Vec<u8>) {
    number(ms / 1000, out);
    let rest = ms % 1000;
    out.extend_from_slice(&[
        b'.',
        b'0' + (rest / 100) as u8,
        b'0' + (rest / 10 % 10) as u8,
        b'0' + (rest % 10) as u8,
    ]);
}

/// A size as the configuration writes it: bytes, or with `k` or `m`.
#[must_use]
pub fn size(text: &[u8]) -> Option<u64> {
    let (digits, scale) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 1 << 10),
        (b'm' | b'M', digits) => (digits, 1 << 20),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(scale)
}
