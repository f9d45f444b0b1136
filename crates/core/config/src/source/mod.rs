//! Where an upstream's servers come from when they are not written in the file.

pub(crate) mod store;
pub(crate) mod upsync;

use weir_model::source::DnsQuery;
use weir_model::{Endpoint, ListenAddress, Millis, Origin, Peer, Resolver, Source, Upstream};
use weir_syntax::Span;

use crate::address::Authority;
use crate::args::{Args, Unit, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;
use store::{Access, Endpoints, Ports};

pub(crate) const DIRECTIVES: &[Directive] = &[Directive {
    name: "source",
    module: "weir",
    contexts: Contexts::UPSTREAM,
    arguments: Arity::AtLeast(2),
    repeat: true,
    syntax: "consul ADDRESS[,ADDRESS...] service=NAME [tag=TAG ...] [passing=on|off] [dc=NAME] | consul ADDRESS kv=PREFIX | etcd ADDRESS[,ADDRESS...] prefix=PREFIX | dns NAME[:PORT] [service=NAME] [resolver=ADDRESS[,ADDRESS...]|system] | folder PATH [replace] [interval=TIME] [timeout=TIME] [strong_dependency=on|off] [token=TOKEN | token_file=FILE] [ca=FILE] [certificate=FILE certificate_key=FILE] [server_name=NAME] [weight=NUMBER] [max_conns=NUMBER] [max_fails=NUMBER] [fail_timeout=TIME] [slow_start=TIME] [backup]",
    doc: "Adds the servers of a store, a name or a folder to the server lines; with replace in place of them.",
    action: Action::Upstream(source),
    ..Directive::NEW
}];

/// How long a source that failed rests, unless the line says otherwise.
const INTERVAL: Millis = Millis(5_000);

/// How long one question may take that is answered when something changes.
const TIMEOUT: Millis = Millis(360_000);

/// What the parameters say; which of them a kind of source takes is checked when it is made.
struct Line<'a> {
    source: Source,
    /// `timeout=`, which of DNS means something else.
    timeout: Option<Millis>,
    access: Access,
    /// Key, value and word of what only some kinds take.
    special: Vec<(&'a str, &'a str, usize)>,
}

const COMMON: [&str; 10] = [
    "replace",
    "interval=",
    "timeout=",
    "strong_dependency=",
    "weight=",
    "max_conns=",
    "max_fails=",
    "fail_timeout=",
    "slow_start=",
    "backup",
];

/// The kinds, each with what only it takes.
const KINDS: [(&str, &[&str]); 4] = [
    ("consul", &["service=", "tag=", "passing=", "dc=", "kv="]),
    ("etcd", &["prefix="]),
    ("dns", &["service=", "resolver="]),
    ("folder", &[]),
];

fn source(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let kind = args.text(0);
    let Some((_, special)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        return Err(Problem::new(format!(r#"unknown source "{kind}""#))
            .at(args.word(0).span)
            .help("consul, etcd, dns or folder is expected"));
    };
    let mut line = Line {
        source: Source {
            origin: Origin::Folder { path: String::new() },
            template: Peer::new(ListenAddress::Unix(String::new()), ""),
            replaces_servers: false,
            interval: INTERVAL,
            timeout: TIMEOUT,
            strong_dependency: false,
            dump: None,
        },
        timeout: None,
        access: Access::default(),
        special: Vec::new(),
    };
    for i in 2..args.len() {
        parameter(&mut line, args, i, special, scope)?;
    }
    let Line { mut source, timeout, access, special } = line;
    source.timeout = timeout.unwrap_or(source.timeout);
    source.origin = match kind {
        "consul" => consul(access, &special, args)?,
        "etcd" => etcd(access, &special, args)?,
        "dns" => {
            access.none(args)?;
            source.timeout = timeout.unwrap_or(Resolver::default().timeout);
            dns(&special, timeout, args, scope, upstream.sources.len())?
        }
        _ => {
            access.none(args)?;
            Origin::Folder { path: scope.conf_path(args.text(1)) }
        }
    };
    add(upstream, source, args, scope);
    Ok(())
}

/// Adds a source to a group.
fn add(upstream: &mut Upstream, source: Source, args: &Args<'_>, scope: &mut Scope<'_>) {
    if source.origin.store().is_some_and(|store| store.endpoints.contains(&Endpoint::Embedded)) {
        scope.embedded.get_or_insert(args.span());
    }
    upstream.sources.push(source);
}

/// What is wrong when a source names the registry inside and there is none.
pub(crate) fn without_registry(span: Span) -> Problem {
    Problem::new("no registry is inside this process")
        .at(span)
        .help("add registry { } at the main level, or name the address of one")
}

fn parameter<'a>(
    line: &mut Line<'a>,
    args: &Args<'a>,
    i: usize,
    special: &[&str],
    scope: &Scope<'_>,
) -> Result<(), Problem> {
    let word = args.text(i);
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    let millis = |value: &str| {
        let found = time(value, Unit::Millis).filter(|millis| *millis > 0);
        found.map(Millis).ok_or_else(|| args.invalid_parameter(i).help("a time above zero is expected"))
    };
    let source = &mut line.source;
    match (key, value) {
        ("replace", None) => source.replaces_servers = true,
        ("interval", Some(value)) => source.interval = millis(value)?,
        ("timeout", Some(value)) => line.timeout = Some(millis(value)?),
        ("strong_dependency", Some(value)) => source.strong_dependency = on_or_off(args, i, value)?,
        ("weight" | "max_conns" | "max_fails" | "fail_timeout" | "slow_start", Some(_))
        | ("backup", None) => {
            crate::peer::parameter(&mut source.template, args, i, scope.balancing.no_backup())?;
        }
        (key, Some(value)) if special.iter().any(|known| known.strip_suffix('=') == Some(key)) => {
            if value.is_empty() {
                return Err(args.invalid_parameter(i).help("a value is expected behind ="));
            }
            line.special.push((key, value, i));
        }
        _ if line.access.take(args, i, scope)? => {}
        _ => return Err(store::unknown(args, i, &[special, &COMMON, &store::PARAMETERS].concat())),
    }
    Ok(())
}

/// `on` or `off` in the words of nginx-upsync-module.
fn on_or_off(args: &Args<'_>, i: usize, value: &str) -> Result<bool, Problem> {
    match value {
        value if value.eq_ignore_ascii_case("on") => Ok(true),
        value if value.eq_ignore_ascii_case("off") => Ok(false),
        _ => {
            let text = format!(r#"invalid value "{}", it must be "on" or "off""#, args.text(i));
            Err(Problem::new(text).at(args.word(i).span))
        }
    }
}

/// The value of a key that may stand once.
fn only<'a>(
    special: &[(&str, &'a str, usize)],
    key: &str,
    args: &Args<'_>,
) -> Result<Option<&'a str>, Problem> {
    let mut found = special.iter().filter(|(name, ..)| *name == key);
    let first = found.next().map(|(_, value, _)| *value);
    match found.next() {
        Some((_, _, i)) => Err(args.invalid_parameter(*i).help(format!("{key}= stands twice on this line"))),
        None => Ok(first),
    }
}

fn endpoints(args: &Args<'_>, ports: Ports) -> Result<Endpoints, Problem> {
    let text = args.text(1);
    Endpoints::parse(text, ports).map_err(|words| {
        Problem::new(format!(r#"{words} in source "{}""#, store::shown(text)))
            .at(args.word(1).span)
            .help("a store is HOST[:PORT], several with commas between them, registry, or unix:PATH")
    })
}

fn consul(access: Access, special: &[(&str, &str, usize)], args: &Args<'_>) -> Result<Origin, Problem> {
    let store = access.store(endpoints(args, Ports(8500, 8501))?, args)?;
    let service = only(special, "service", args)?;
    let mut query = Vec::new();
    for (key, value, i) in special {
        match *key {
            "passing" if on_or_off(args, *i, value)? => query.push("passing".to_owned()),
            "tag" | "dc" => query.push(format!("{key}={}", percent(value, b""))),
            _ => {}
        }
    }
    only(special, "dc", args)?;
    only(special, "passing", args)?;
    match (service, only(special, "kv", args)?) {
        (Some(name), None) => {
            let mark = if query.is_empty() { "" } else { "?" };
            let path = format!("/v1/health/service/{}{mark}{}", percent(name, b""), query.join("&"));
            Ok(Origin::ConsulHealth { store, path })
        }
        (None, Some(prefix)) => {
            if let Some((_, _, i)) = special.iter().find(|(key, ..)| matches!(*key, "tag" | "passing")) {
                return Err(args
                    .invalid_parameter(*i)
                    .help("it narrows a service; keys have neither tags nor checks"));
            }
            let mark = if query.is_empty() { "" } else { "?" };
            let prefix = percent(prefix.trim_start_matches('/'), b"/");
            Ok(Origin::ConsulKv { store, path: format!("/v1/kv/{prefix}{mark}{}", query.join("&")) })
        }
        (Some(_), Some(_)) => Err(Problem::new("service= and kv= stand on one line")
            .help("write two source lines when both are meant")),
        (None, None) => Err(Problem::new("neither service= nor kv= is given")
            .help("service=NAME takes the instances of a service, kv=PREFIX the keys below a prefix")),
    }
}

fn etcd(access: Access, special: &[(&str, &str, usize)], args: &Args<'_>) -> Result<Origin, Problem> {
    let endpoints = endpoints(args, Ports(2379, 2379))?;
    if endpoints.list.contains(&Endpoint::Embedded) {
        return Err(Problem::new("the registry does not speak etcd's protocol")
            .at(args.word(1).span)
            .help("it has Consul's API: source consul registry ..."));
    }
    let store = access.store(endpoints, args)?;
    match only(special, "prefix", args)? {
        Some(prefix) => Ok(Origin::Etcd3 { store, prefix: prefix.to_owned() }),
        None => Err(Problem::new("prefix= is not given").help("the peers are the keys that begin with it")),
    }
}

fn dns(
    special: &[(&str, &str, usize)],
    timeout: Option<Millis>,
    args: &Args<'_>,
    scope: &mut Scope<'_>,
    index: usize,
) -> Result<Origin, Problem> {
    let span = args.word(1).span;
    let service = only(special, "service", args)?;
    let (name, port) = name_and_port(args.text(1), service, span)?;
    let mut resolver = Resolver::default();
    resolver.timeout = timeout.unwrap_or(resolver.timeout);
    match only(special, "resolver", args)? {
        None => scope.resolvers.wait(index, timeout, false),
        Some("system") => {}
        Some(list) => {
            for one in list.split(',') {
                resolver.servers.extend(crate::resolver::name_servers(one, span, scope)?);
            }
        }
    }
    Ok(Origin::Dns(DnsQuery { name, port, service: service.map(str::to_owned), resolver }))
}

/// `NAME[:PORT]`; with a service the port is that of its records.
fn name_and_port(text: &str, service: Option<&str>, span: Span) -> Result<(String, u16), Problem> {
    let wrong = |text: String| Problem::new(text).at(span);
    match Authority::parse(text, false) {
        Ok(Authority::Inet { port: Some(_), .. }) if service.is_some() => {
            Err(wrong(format!(r#"service upstream "{text}" may not have port"#)))
        }
        Ok(Authority::Inet { host, .. })
            if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() =>
        {
            Err(wrong(format!(r#"name "{text}" is an address"#)).help("write it as a server line"))
        }
        Ok(Authority::Inet { host, port, .. }) => Ok((host.to_owned(), port.unwrap_or(80))),
        Ok(Authority::Unix { .. }) => Err(wrong(format!(r#"invalid host in source "{text}""#))),
        Err(words) => Err(wrong(format!(r#"{words} in source "{text}""#)).help("NAME[:PORT] is expected")),
    }
}

/// `server NAME resolve`: the source that stands in place of the line's addresses.
pub(crate) fn of_name(query: DnsQuery, template: Peer) -> Source {
    Source {
        origin: Origin::Dns(query),
        template,
        replaces_servers: false,
        interval: INTERVAL,
        timeout: Resolver::default().timeout,
        strong_dependency: false,
        dump: None,
    }
}

/// Text as it stands in a path: everything but RFC 3986's unreserved characters and `keep` becomes `%XX`.
fn percent(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in weir_syntax::encode(text).iter() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
