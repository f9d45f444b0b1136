//! nginx-upsync-module's directives, with stores and parameters that the module lacks.

use weir_model::source::DnsQuery;
use weir_model::{
    Endpoint, Handler, ListenAddress, Method, Millis, Origin, Peer, Resolver, Source, Upstream,
};
use weir_syntax::Span;

use super::store::{self, Access, Endpoints, Ports};
use crate::args::{Args, Unit, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const MODULE: Directive =
    Directive { module: "nginx-upsync-module", contexts: Contexts::UPSTREAM, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "upsync",
        arguments: Arity::AtLeast(1),
        syntax: "[https://]HOST[:PORT][,HOST[:PORT]...]/PATH | registry/PATH | unix:SOCKET:/PATH upsync_type=consul|consul_services|consul_health|etcd|etcd3|dns|folder [upsync_interval=TIME] [upsync_timeout=TIME] [strong_dependency=on|off] [token=TOKEN | token_file=FILE] [ca=FILE] [certificate=FILE certificate_key=FILE] [server_name=NAME] [service=NAME]",
        doc: "Takes the servers of the group from a store, in place of the server lines once it has answered.",
        action: Action::Upstream(upsync),
        ..MODULE
    },
    Directive {
        name: "upsync_lb",
        repeat: true,
        syntax: "roundrobin | ip_hash | least_conn | hash_modula | hash_ketama",
        default: "roundrobin",
        doc: "Repeats the balancing method of the group; the method's own directive decides.",
        action: Action::Upstream(lb),
        ..MODULE
    },
    Directive {
        name: "upsync_dump_path",
        repeat: true,
        syntax: "FILE",
        default: "/tmp/servers_<upstream>.conf",
        doc: "The file that holds the servers that upsync found, as server lines; an include in the group can read it.",
        action: Action::Upstream(|_, args, scope| {
            if args.text(0).is_empty() {
                return Err(args.slot(0, "invalid value").help("the path of a file is expected"));
            }
            scope.upsync.dump = Some((scope.conf_path(args.text(0)), args.span()));
            Ok(())
        }),
        ..MODULE
    },
    Directive {
        name: "upstream_show",
        contexts: Contexts::LOCATION,
        arguments: Arity::None,
        doc: "Answers with the servers of all groups, or of the group that the query names.",
        action: Action::Location(|location, _, _| {
            location.handler = Handler::UpstreamShow;
            Ok(())
        }),
        ..MODULE
    },
];

/// What the lines of one `upstream` block say about each other.
#[derive(Default)]
pub(crate) struct Lines {
    /// Index into the upstream's sources.
    source: Option<usize>,
    dump: Option<(String, Span)>,
    lb: Option<(Word, Span)>,
}

/// A word of `upsync_lb`.
#[derive(Clone, Copy)]
enum Word {
    RoundRobin,
    IpHash,
    LeastConn,
    HashModula,
    HashKetama,
}

const WORDS: [(&str, Word); 5] = [
    ("roundrobin", Word::RoundRobin),
    ("ip_hash", Word::IpHash),
    ("least_conn", Word::LeastConn),
    ("hash_modula", Word::HashModula),
    ("hash_ketama", Word::HashKetama),
];

impl Word {
    /// What it repeats, and the directive that says so.
    const fn is(self, method: &Method) -> (bool, &'static str) {
        match self {
            Self::RoundRobin => (matches!(method, Method::RoundRobin), "no balancing directive"),
            Self::IpHash => (matches!(method, Method::IpHash), "ip_hash;"),
            Self::LeastConn => (matches!(method, Method::LeastConn), "least_conn;"),
            Self::HashModula => (matches!(method, Method::Hash { consistent: false, .. }), "hash KEY;"),
            Self::HashKetama => {
                (matches!(method, Method::Hash { consistent: true, .. }), "hash KEY consistent;")
            }
        }
    }
}

fn lb(_: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let text = args.text(0);
    let Some((_, word)) = WORDS.iter().find(|(name, _)| *name == text) else {
        return Err(args.not_in_list(0, &WORDS.map(|(name, _)| name)));
    };
    scope.upsync.lb = Some((*word, args.span()));
    Ok(())
}

/// The end of an `upstream` block.
pub(crate) fn finish(scope: &mut Scope<'_>, upstream: &mut Upstream) {
    let Lines { source, dump, lb } = std::mem::take(&mut scope.upsync);
    if let Some((word, span)) = lb
        && let (false, written) = word.is(&upstream.method)
    {
        let name = WORDS[word as usize].0;
        let text = format!(r#""upsync_lb {name}" contradicts the balancing method of the group"#);
        let problem = Problem::new(text).at(span);
        scope.warn_at(span, problem.help(format!("the method decides; {name} is written: {written}")));
    }
    match (source.and_then(|index| upstream.sources.get_mut(index)), dump) {
        (Some(source), dump) => {
            let default = || format!("/tmp/servers_{}.conf", upstream.name.replace('/', "_"));
            source.dump = Some(dump.map_or_else(default, |(path, _)| path));
        }
        (None, Some((_, span))) => scope.warn_at(
            span,
            Problem::new(r#""upsync_dump_path" without "upsync" writes nothing"#)
                .at(span)
                .help("take it out, or name the store with upsync"),
        ),
        (None, None) => {}
    }
}

/// What the parameters say.
struct Line<'a> {
    kind: Option<&'a str>,
    interval: Millis,
    timeout: Option<Millis>,
    strong_dependency: bool,
    service: Option<usize>,
    access: Access,
}

const PARAMETERS: [&str; 5] =
    ["upsync_type=", "upsync_interval=", "upsync_timeout=", "strong_dependency=", "service="];

const TYPES: [&str; 7] = ["consul", "consul_services", "consul_health", "etcd", "etcd3", "dns", "folder"];

fn upsync(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let mut line = Line {
        kind: None,
        interval: Millis(5_000),
        timeout: None,
        strong_dependency: false,
        service: None,
        access: Access::default(),
    };
    for i in 1..args.len() {
        parameter(&mut line, args, i, scope)?;
    }
    let Line { interval, timeout, strong_dependency, .. } = line;
    let timeout = timeout.unwrap_or(match line.kind {
        Some("dns") => Resolver::default().timeout,
        _ => Millis(360_000),
    });
    let mut origin = origin(line, args, scope)?;
    if let Origin::Dns(query) = &mut origin {
        query.resolver.timeout = timeout;
    }
    scope.upsync.source = Some(upstream.sources.len());
    let source = Source {
        origin,
        template: template(),
        replaces_servers: true,
        interval,
        timeout,
        strong_dependency,
        dump: None,
    };
    super::add(upstream, source, args, scope);
    Ok(())
}

/// What the module gives a server of which the store says nothing more.
fn template() -> Peer {
    Peer { max_fails: 2, ..Peer::new(ListenAddress::Unix(String::new()), "") }
}

fn parameter<'a>(line: &mut Line<'a>, args: &Args<'a>, i: usize, scope: &Scope<'_>) -> Result<(), Problem> {
    let word = args.text(i);
    let span = args.word(i).span;
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let millis = || {
        let found = time(value, Unit::Millis).ok_or_else(|| {
            Problem::new(format!(r#"upsync_server: invalid parameter: "{word}""#))
                .at(span)
                .help("a time is a number with ms, s, m or h, such as 500ms or 6m")
        })?;
        // In the module a time of zero leaves the default.
        Ok((found > 0).then_some(Millis(found)))
    };
    match key {
        "upsync_type" => {
            if !TYPES.contains(&value) {
                return Err(Problem::new("upsync_server: upsync_type invalid para")
                    .at(span)
                    .help(format!("one of {} is expected", TYPES.join(", "))));
            }
            line.kind = Some(value);
        }
        "upsync_interval" => line.interval = millis()?.unwrap_or(line.interval),
        "upsync_timeout" => line.timeout = millis()?.or(line.timeout),
        "strong_dependency" => line.strong_dependency = super::on_or_off(args, i, value)?,
        "service" if !value.is_empty() => line.service = Some(i),
        _ if line.access.take(args, i, scope)? => {}
        _ => return Err(store::unknown(args, i, &[&PARAMETERS[..], &store::PARAMETERS].concat())),
    }
    Ok(())
}

fn origin(line: Line<'_>, args: &Args<'_>, scope: &Scope<'_>) -> Result<Origin, Problem> {
    let Some(kind) = line.kind else {
        return Err(Problem::new("upsync_server: upsync_type cannt be null")
            .help(format!("add upsync_type= with one of {}", TYPES.join(", "))));
    };
    if let Some(i) = line.service.filter(|_| kind != "dns") {
        return Err(args.invalid_parameter(i).help("service= asks DNS for SRV records: upsync_type=dns"));
    }
    if kind == "folder" {
        line.access.none(args)?;
        return Ok(Origin::Folder { path: scope.conf_path(args.text(0)) });
    }
    let (tls, authority, path) = split(args)?;
    if kind == "dns" {
        line.access.none(args)?;
        if tls {
            return Err(Problem::new("upsync_server: name servers are not asked with TLS")
                .at(args.word(0).span)
                .help("leave https:// out"));
        }
        let service = line.service.and_then(|i| args.key_value(i, "service"));
        return dns(authority, path, service, args, scope);
    }
    let endpoints = Endpoints::list(authority, tls, Ports(80, 443)).map_err(|words| {
        let text = match words {
            "invalid port" => "upsync_server: conf server port is invalid".to_owned(),
            words => format!(r#"upsync_server: {words} in upstream "{}""#, store::shown(authority)),
        };
        Problem::new(text).at(args.word(0).span).help("a store is HOST[:PORT], registry or unix:SOCKET:")
    })?;
    if path.split_once('?').is_some_and(|(_, query)| query.contains("token=")) {
        return Err(Problem::new("upsync_server: a token stands in the path")
            .at(args.word(0).span)
            .help("add token=TOKEN or token_file=FILE behind it; it is sent as a header field"));
    }
    let begin = |expected: &'static str| match path.starts_with(expected) {
        true => Ok(path.to_owned()),
        false => Err(Problem::new(format!(r#"upsync_server: invalid path "{path}" for upsync_type={kind}"#))
            .at(args.word(0).span)
            .help(format!("it begins with {expected}"))),
    };
    let store = line.access.store(endpoints, args)?;
    let embedded = store.endpoints.contains(&Endpoint::Embedded);
    Ok(match kind {
        "consul" => Origin::ConsulKv { path: begin("/v1/kv/")?, store },
        "consul_services" => Origin::ConsulServices { path: begin("/v1/catalog/service/")?, store },
        "consul_health" => Origin::ConsulHealth { path: begin("/v1/health/service/")?, store },
        _ if embedded => {
            return Err(Problem::new(format!(
                "upsync_server: the registry does not speak upsync_type={kind}"
            ))
            .at(args.word(0).span)
            .help("it has Consul's API: consul, consul_services or consul_health"));
        }
        "etcd" => Origin::Etcd2 { path: begin("/v2/keys/")?, store },
        // A file that named etcd's v2 keys needs a new word only.
        _ => Origin::Etcd3 { prefix: path.strip_prefix("/v2/keys").unwrap_or(path).to_owned(), store },
    })
}

/// Scheme, endpoints and path of the first word.
fn split<'a>(args: &Args<'a>) -> Result<(bool, &'a str, &'a str), Problem> {
    let (tls, text) = store::scheme(args.text(0));
    let at = match text.strip_prefix("unix:") {
        // The path behind the socket's own starts with the second `:/`.
        Some(rest) => rest.find(":/").map(|at| (at + "unix:".len(), at + "unix:".len() + 1)),
        None => text.find('/').map(|at| (at, at)),
    };
    let Some((end, start)) = at else {
        return Err(Problem::new("upsync_server: please input conf_server upstream key in upstream")
            .at(args.word(0).span)
            .help("a path is expected behind the store: 127.0.0.1:8500/v1/kv/upstreams/app/"));
    };
    Ok((tls, &text[..end], &text[start..]))
}

/// `NAMESERVER[:PORT]/NAME[:PORT]` or `system/NAME[:PORT]`.
fn dns(
    authority: &str,
    path: &str,
    service: Option<&str>,
    args: &Args<'_>,
    scope: &Scope<'_>,
) -> Result<Origin, Problem> {
    let span = args.word(0).span;
    let mut resolver = Resolver::default();
    if authority != "system" {
        for one in authority.split(',') {
            resolver.servers.extend(crate::resolver::name_servers(one, span, scope)?);
        }
    }
    let (name, port) = super::name_and_port(&path[1..], service, span)?;
    Ok(Origin::Dns(DnsQuery { name, port, service: service.map(str::to_owned), resolver }))
}
