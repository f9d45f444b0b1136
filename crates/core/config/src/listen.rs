//! `listen`: addresses, their options, and the servers behind them.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_model::{KeepAlive, Listen, ListenAddress, Listener, Server, ServerName};
use weir_syntax::Span;

use crate::address::port_number;
use crate::args::{Args, Unit, number, size, time};
use crate::directive::Problem;
use crate::scope::Scope;

/// All addresses of the http block in file order.
#[derive(Default)]
pub(crate) struct Listens {
    entries: Vec<Entry>,
    index: HashMap<ListenAddress, usize>,
    /// The server that is being read; its index among the http block's servers.
    pub(crate) server: usize,
    /// The server has a `listen` of its own.
    pub(crate) any: bool,
}

struct Entry {
    address: ListenAddress,
    options: Listen,
    /// Socket options were given; they may be given once for an address.
    set: bool,
    servers: Vec<usize>,
    default_server: usize,
    /// `default_server` was said.
    chosen: bool,
    span: Span,
}

/// What one `listen` says.
#[derive(Default)]
struct Line {
    options: Listen,
    set: bool,
    default_server: bool,
}

/// The directive.
pub(crate) fn listen(_: &mut Server, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    scope.listens.any = true;
    let addresses = addresses(args, scope)?;
    let mut line = Line::default();
    for i in 1..args.len() {
        parameter(&mut line, args, i)?;
    }
    let mut seen = HashSet::new();
    for address in addresses {
        if seen.insert(address.clone()) {
            let warning = scope.listens.add(address, &line, args.span())?;
            if let Some(warning) = warning {
                scope.warn(warning);
            }
        }
    }
    Ok(())
}

/// The address of a server without `listen`.
pub(crate) fn default_listen(scope: &mut Scope<'_>, span: Span) -> Result<(), Problem> {
    let port = if scope.env.effective_uid() == 0 { 80 } else { 8000 };
    let address = ListenAddress::Inet(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    scope.listens.add(address, &Line::default(), span).map(|_| ())
}

impl Listens {
    fn add(&mut self, address: ListenAddress, line: &Line, span: Span) -> Result<Option<Problem>, Problem> {
        let server = self.server;
        let known = self.index.get(&address).and_then(|index| self.entries.get_mut(*index));
        let Some(entry) = known else {
            self.index.insert(address.clone(), self.entries.len());
            self.entries.push(Entry {
                address,
                options: line.options.clone(),
                set: line.set,
                servers: vec![server],
                default_server: server,
                chosen: line.default_server,
                span,
            });
            return Ok(None);
        };
        if entry.servers.last() == Some(&server) {
            return Err(Problem::new(format!("a duplicate listen {address}")));
        }
        entry.servers.push(server);
        let before = entry.options.proxy_protocol;
        if line.set {
            if entry.set {
                return Err(Problem::new(format!("duplicate listen options for {address}"))
                    .help("socket options are written once for an address; leave them out here"));
            }
            entry.options = line.options.clone();
            entry.set = true;
        }
        entry.options.proxy_protocol = before || line.options.proxy_protocol;
        if line.default_server {
            if entry.chosen {
                return Err(Problem::new(format!("a duplicate default server for {address}")));
            }
            entry.chosen = true;
            entry.default_server = server;
        }
        let redefined = before != line.options.proxy_protocol;
        Ok(redefined.then(|| Problem::new(format!("protocol options redefined for {address}"))))
    }

    /// The listeners, and what is to be said about names that two servers of one address share.
    pub(crate) fn finish(self, servers: &[Server]) -> (Vec<Listener>, Vec<Problem>, Vec<Problem>) {
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        let mut listeners = Vec::new();
        for entry in self.entries {
            if entry.servers.len() > 1 {
                check_names(&entry, servers, &mut warnings, &mut errors);
            }
            let Entry { address, options, servers, default_server, .. } = entry;
            listeners.push(Listener { address, options, servers, default_server });
        }
        (listeners, warnings, errors)
    }
}

fn check_names(entry: &Entry, servers: &[Server], warnings: &mut Vec<Problem>, errors: &mut Vec<Problem>) {
    let (mut exact, mut suffixes, mut prefixes) = (HashSet::new(), HashSet::new(), HashSet::new());
    let nameless = [ServerName::Exact(String::new())];
    for server in entry.servers.iter().filter_map(|server| servers.get(*server)) {
        let names = if server.names.is_empty() { &nameless[..] } else { &server.names };
        for name in names {
            let (text, fresh) = match name {
                ServerName::Regex(_) => continue,
                ServerName::Exact(name) if crate::names::is_invalid(name) => {
                    errors.push(
                        Problem::new(format!(
                            r#"invalid server name or wildcard "{name}" on {}"#,
                            entry.address
                        ))
                        .at(entry.span)
                        .help("a * stands for a whole first or last label: *.example.com or www.example.*"),
                    );
                    continue;
                }
                ServerName::Exact(name) => (name.clone(), exact.insert(name.as_str())),
                ServerName::Suffix(name) => (format!("*.{name}"), suffixes.insert(name.as_str())),
                ServerName::Prefix(name) => (format!("{name}.*"), prefixes.insert(name.as_str())),
                ServerName::SuffixOrExact(name) => {
                    (format!(".{name}"), exact.insert(name.as_str()) && suffixes.insert(name.as_str()))
                }
            };
            if !fresh {
                let text = format!(r#"conflicting server name "{text}" on {}, ignored"#, entry.address);
                warnings.push(Problem::new(text).at(entry.span));
            }
        }
    }
}

/// The addresses of the first word: several for a range of ports and for a name with several addresses.
fn addresses(args: &Args<'_>, scope: &Scope<'_>) -> Result<Vec<ListenAddress>, Problem> {
    let text = args.text(0);
    let wrong = |words: &str| {
        Problem::new(format!(r#"{words} in "{text}" of the "listen" directive"#)).at(args.word(0).span).help(
            "an address is ADDRESS[:PORT], PORT, [IPV6]:PORT or unix:PATH; a port may be a range FROM-TO",
        )
    };
    if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("unix:")) {
        return match &text[5..] {
            "" => Err(wrong("no path in the unix domain socket")),
            path if path.len() > 107 => Err(wrong("too long path in the unix domain socket")),
            path => Ok(vec![ListenAddress::Unix(path.to_owned())]),
        };
    }
    let (host, ports) = split(text).map_err(wrong)?;
    let (first, last) = match ports {
        Some(ports) => port_range(ports).map_err(wrong)?,
        None => (80, 80),
    };
    let hosts = match host {
        "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        "" => return Err(wrong("no host")),
        host if host.starts_with('[') => match host[1..host.len() - 1].parse() {
            Ok(address) => vec![IpAddr::V6(address)],
            Err(_) => return Err(wrong("invalid IPv6 address")),
        },
        host => {
            let what = format!(r#""{text}" of the "listen" directive"#);
            scope.resolve(host, &what, args.word(0).span)?
        }
    };
    Ok(hosts
        .into_iter()
        .flat_map(|host| (first..=last).map(move |port| ListenAddress::Inet(SocketAddr::new(host, port))))
        .collect())
}

/// Host and port text; a number alone is a port of every IPv4 address.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let end = rest.find(']').ok_or("invalid host")? + 2;
        return match text[end..].strip_prefix(':') {
            Some(ports) => Ok((&text[..end], Some(ports))),
            None if end == text.len() => Ok((text, None)),
            None => Err("invalid host"),
        };
    }
    if text.contains('/') || text.contains('?') {
        return Err("invalid host");
    }
    if let Some((host, ports)) = text.split_once(':') {
        return Ok((host, Some(ports)));
    }
    let (from, to) = text.split_once('-').map_or((text, None), |(from, to)| (from, Some(to)));
    if number(from).is_some() && to.is_none_or(|to| number(to).is_some()) {
        return Ok(("*", Some(text)));
    }
    Ok((text, None))
}

fn port_range(text: &str) -> Result<(u16, u16), &'static str> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let to = port_number(to).ok_or("invalid port")?;
    let from = port_number(from).ok_or("invalid port")?;
    if from > to { Err("invalid port range") } else { Ok((from, to)) }
}

/// What `listen` takes behind the address.
const PARAMETERS: [&str; 12] = [
    "default_server",
    "proxy_protocol",
    "bind",
    "deferred",
    "reuseport",
    "backlog=",
    "fastopen=",
    "rcvbuf=",
    "sndbuf=",
    "ipv6only=",
    "so_keepalive=",
    "default",
];

fn parameter(line: &mut Line, args: &Args<'_>, i: usize) -> Result<(), Problem> {
    let word = args.text(i);
    let invalid = |what: &str| Problem::new(format!(r#"invalid {what} "{word}""#)).at(args.word(i).span);
    let options = &mut line.options;
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    match (key, value) {
        ("default_server" | "default", None) => {
            line.default_server = true;
            return Ok(());
        }
        ("proxy_protocol", None) => {
            options.proxy_protocol = true;
            return Ok(());
        }
        ("bind", None) => {}
        ("deferred", None) => options.deferred = true,
        ("reuseport", None) => options.reuseport = true,
        ("backlog", Some(value)) => {
            let backlog = number(value).and_then(|n| i32::try_from(n).ok()).filter(|n| *n != 0);
            options.backlog = backlog.ok_or_else(|| invalid("backlog"))?;
        }
        ("fastopen", Some(value)) => {
            let queue = number(value).and_then(|n| i32::try_from(n).ok());
            options.fastopen = Some(queue.ok_or_else(|| invalid("fastopen"))?);
        }
        ("rcvbuf", Some(value)) => options.rcvbuf = Some(size(value).ok_or_else(|| invalid("rcvbuf"))?),
        ("sndbuf", Some(value)) => options.sndbuf = Some(size(value).ok_or_else(|| invalid("sndbuf"))?),
        ("ipv6only", Some("on")) => options.ipv6only = true,
        ("ipv6only", Some("off")) => options.ipv6only = false,
        ("ipv6only", Some(value)) if value.starts_with('o') => {
            return Err(Problem::new(format!(r#"invalid ipv6only flags "{value}""#)).at(args.word(i).span));
        }
        ("so_keepalive", Some(value)) => {
            options.so_keepalive = Some(keepalive(value).ok_or_else(|| {
                Problem::new(format!(r#"invalid so_keepalive value: "{value}""#))
                    .at(args.word(i).span)
                    .help("on, off, or IDLE:INTERVAL:COUNT with at least one of them is expected")
            })?);
        }
        ("ssl" | "http2" | "quic" | "multipath" | "setfib" | "accept_filter", _) => {
            return Err(Problem::new(format!(
                r#"the "{key}" parameter of "listen" is not supported by this version of Weir"#
            ))
            .at(args.word(i).span)
            .help(match key {
                "ssl" | "http2" | "quic" => {
                    "HTTP/1.1 without TLS is served; TLS, HTTP/2 and HTTP/3 come later"
                }
                "multipath" => "plain TCP is served; leave the parameter out",
                _ => "the parameter is for FreeBSD; leave it out",
            }));
        }
        _ => return Err(args.unknown_parameter(i, &PARAMETERS)),
    }
    line.set = true;
    Ok(())
}

fn keepalive(text: &str) -> Option<KeepAlive> {
    match text {
        "on" => return Some(KeepAlive::On),
        "off" => return Some(KeepAlive::Off),
        _ => {}
    }
    let mut parts = text.splitn(3, ':');
    let seconds = |part: Option<&str>| match part {
        None | Some("") => Some(None),
        Some(text) => Some(Some(u32::try_from(time(text, Unit::Seconds)?).ok()?).filter(|value| *value > 0)),
    };
    let idle = seconds(parts.next())?;
    let interval = seconds(parts.next())?;
    let count = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(u32::try_from(number(text)?).ok()?).filter(|count| *count > 0),
    };
    (idle.is_some() || interval.is_some() || count.is_some()).then_some(KeepAlive::Tuned {
        idle,
        interval,
        count,
    })
}
