//! The `upstream` block: servers, balancing method, idle connections, sessions.

use weir_model::{Keepalive, Method, Millis, Sticky, Template, Upstream};
use weir_syntax::Directive as Node;

use crate::args::{Args, Unit, number, size, time};
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::lower::{Target, run};
use crate::scope::Scope;

/// What the lines of one block say about each other.
#[derive(Default)]
pub(crate) struct Balancing {
    /// A method was named.
    chosen: bool,
    /// The method that was named last takes no `backup`.
    no_backup: bool,
}

impl Balancing {
    pub(crate) const fn no_backup(&self) -> bool {
        self.no_backup
    }
}

const IN: Directive =
    Directive { module: "ngx_http_upstream_module", contexts: Contexts::UPSTREAM, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "upstream",
        contexts: Contexts::HTTP,
        block: true,
        repeat: true,
        syntax: "NAME",
        doc: "A group of servers that proxy_pass can name.",
        action: Action::Block(Block::Upstream),
        ..IN
    },
    Directive {
        name: "server",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "ADDRESS [weight=NUMBER] [max_conns=NUMBER] [max_fails=NUMBER] [fail_timeout=TIME] [backup] [down] [drain] [route=TEXT] [slow_start=TIME] [percent=NUMBER] [resolve] [service=NAME]",
        doc: "A server of the group; a name with several addresses counts as several, with resolve as they come and go.",
        action: Action::Upstream(crate::peer::server),
        ..IN
    },
    Directive {
        name: "hash",
        module: "ngx_http_upstream_hash_module",
        arguments: Arity::Between(1, 2),
        repeat: true,
        syntax: "KEY [consistent]",
        doc: "Spreads by the hash of a text.",
        action: Action::Upstream(hash),
        ..IN
    },
    Directive {
        name: "ip_hash",
        module: "ngx_http_upstream_ip_hash_module",
        arguments: Arity::None,
        repeat: true,
        doc: "Spreads by the client's address.",
        action: Action::Upstream(|upstream, _, scope| {
            choose(upstream, scope, Method::IpHash, true);
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "least_conn",
        module: "ngx_http_upstream_least_conn_module",
        arguments: Arity::None,
        repeat: true,
        doc: "Prefers the server with the fewest connections by weight.",
        action: Action::Upstream(|upstream, _, scope| {
            choose(upstream, scope, Method::LeastConn, false);
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "least_time",
        module: "ngx_http_upstream_least_time_module",
        arguments: Arity::Between(1, 2),
        syntax: "header | last_byte [inflight]",
        doc: "Prefers the server that answers soonest by weight and connections.",
        action: Action::Upstream(least_time),
        ..IN
    },
    Directive {
        name: "random",
        module: "ngx_http_upstream_random_module",
        arguments: Arity::Between(0, 2),
        repeat: true,
        syntax: "[two [least_conn]]",
        doc: "Picks by chance and weight, or the less busy of two picks.",
        action: Action::Upstream(random),
        ..IN
    },
    Directive {
        name: "keepalive",
        module: "ngx_http_upstream_keepalive_module",
        arguments: Arity::Between(1, 2),
        syntax: "NUMBER [local]",
        default: "32 local",
        doc: "The idle connections that a thread keeps to the group; 0 keeps none.",
        action: Action::Upstream(keepalive),
        ..IN
    },
    Directive {
        name: "keepalive_requests",
        module: "ngx_http_upstream_keepalive_module",
        syntax: "NUMBER",
        default: "1000",
        doc: "The requests that a kept connection carries at most.",
        action: Action::Upstream(|upstream, args, _| {
            upstream.keepalive.requests = args.number(0)?;
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "keepalive_time",
        module: "ngx_http_upstream_keepalive_module",
        syntax: "TIME",
        default: "1h",
        doc: "The age at which a kept connection is closed.",
        action: Action::Upstream(|upstream, args, _| {
            upstream.keepalive.time = args.time(0)?;
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "keepalive_timeout",
        module: "ngx_http_upstream_keepalive_module",
        syntax: "TIME",
        default: "60s",
        doc: "How long a kept connection may be idle.",
        action: Action::Upstream(|upstream, args, _| {
            upstream.keepalive.timeout = args.time(0)?;
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "zone",
        module: "ngx_http_upstream_zone_module",
        arguments: Arity::Between(1, 2),
        repeat: true,
        syntax: "NAME [SIZE]",
        doc: "Names the shared state of the group; Weir's threads share it in any case.",
        action: Action::Upstream(zone),
        ..IN
    },
    Directive {
        name: "upstream_park",
        module: "weir",
        syntax: "TIME",
        default: "0",
        doc: "How long requests wait for a server while all are drained, in maintenance, failed by checks or gone; 0 answers 502 at once.",
        action: Action::Upstream(|upstream, args, _| {
            upstream.park = args.time(0)?;
            Ok(())
        }),
        ..IN
    },
    Directive {
        name: "sticky",
        module: "ngx_http_upstream_sticky_module",
        arguments: Arity::AtLeast(2),
        syntax: "cookie NAME ... | route $VARIABLE ... | learn create=$VARIABLE lookup=$VARIABLE zone=NAME:SIZE ...",
        doc: "Brings a client back to the server that it had before.",
        action: Action::Upstream(sticky),
        ..IN
    },
];

/// Lowers one `upstream` block.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node) -> Result<(), Problem> {
    let args = Args::new(node);
    let name = args.text(0);
    if scope.http.upstreams.iter().any(|upstream| upstream.name.eq_ignore_ascii_case(name)) {
        return Err(Problem::new(format!(r#"duplicate upstream "{name}""#)).at(args.word(0).span));
    }
    let mut upstream = Upstream {
        name: name.to_owned(),
        implicit: false,
        port: 0,
        method: Method::default(),
        peers: Vec::new(),
        keepalive: Keepalive::default(),
        zone: None,
        sticky: None,
        sources: Vec::new(),
        checks: Vec::new(),
        check_panic: true,
        park: Millis(0),
        resolver: None,
    };
    scope.balancing = Balancing::default();
    scope.upsync = crate::source::upsync::Lines::default();
    scope.check = crate::health::check::Lines::default();
    scope.resolvers.open();
    scope.enter();
    let errors = scope.errors();
    run(scope, args.body(), Contexts::UPSTREAM, &mut Target::Upstream(&mut upstream));
    scope.leave();
    crate::source::upsync::finish(scope, &mut upstream);
    crate::health::check::finish(scope, &mut upstream);
    crate::resolver::finish(scope, node, &mut upstream);
    // What a source says comes later, and is enough.
    if scope.errors() == errors && node.close.is_some() && upstream.sources.is_empty() {
        if upstream.peers.is_empty() {
            let problem = Problem::new("no servers are inside upstream")
                .help("at least one server line is expected: server ADDRESS:PORT;");
            scope.error_at_end(node, problem);
        } else if upstream.peers.iter().all(|peer| peer.backup) {
            let problem = Problem::new(format!(r#"no servers in upstream "{name}""#))
                .help("at least one server that is no backup is expected");
            scope.error_at_end(node, problem);
        }
    }
    warn_of_slow_start(scope, node, &upstream);
    scope.http.upstreams.push(upstream);
    Ok(())
}

/// Methods that choose by a hash or by chance send a server that comes back its whole part at once.
fn warn_of_slow_start(scope: &mut Scope<'_>, node: &Node, upstream: &Upstream) {
    let method = match upstream.method {
        Method::Hash { .. } => "hash",
        Method::IpHash => "ip_hash",
        Method::Random { .. } => "random",
        Method::RoundRobin | Method::LeastConn | Method::LeastTime { .. } => return,
    };
    let templates = upstream.sources.iter().map(|source| &source.template);
    if upstream.peers.iter().chain(templates).any(|peer| peer.slow_start > Millis(0)) {
        let text = format!(r#"slow_start is ignored in upstream "{}" with {method}"#, upstream.name);
        scope.warn(
            Problem::new(text)
                .at(node.name.span)
                .help("round robin, least_conn and least_time let a server begin with little"),
        );
    }
}

fn choose(upstream: &mut Upstream, scope: &mut Scope<'_>, method: Method, no_backup: bool) {
    if scope.balancing.chosen {
        scope.warn(Problem::new("load balancing method redefined"));
    }
    upstream.method = method;
    scope.balancing = Balancing { chosen: true, no_backup };
}

fn hash(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let key = scope.template(args.word(0))?;
    let consistent = args.len() == 2;
    if consistent && args.text(1) != "consistent" {
        return Err(args.invalid_parameter(1));
    }
    choose(upstream, scope, Method::Hash { key, consistent }, true);
    Ok(())
}

fn least_time(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let inflight = args.len() == 2;
    if inflight && args.text(1) != "inflight" {
        return Err(args.invalid_parameter(1));
    }
    let last_byte = match args.text(0) {
        "header" => false,
        "last_byte" => true,
        _ => return Err(args.invalid_value(0).help("header or last_byte is expected")),
    };
    choose(upstream, scope, Method::LeastTime { last_byte, inflight }, false);
    Ok(())
}

fn random(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    for (i, expected) in ["two", "least_conn"].into_iter().enumerate().take(args.len()) {
        if args.text(i) != expected {
            return Err(args.invalid_parameter(i).help(format!("{expected} is expected")));
        }
    }
    choose(upstream, scope, Method::Random { two: args.len() > 0 }, true);
    Ok(())
}

fn keepalive(upstream: &mut Upstream, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    let connections = number(args.text(0)).ok_or_else(|| args.not_in_list(0, &["a number"]))?;
    if args.len() == 2 && args.text(1) != "local" {
        return Err(args.invalid_parameter(1));
    }
    upstream.keepalive.connections = u32::try_from(connections).unwrap_or(u32::MAX);
    Ok(())
}

/// Eight pages: nginx takes no smaller zone.
const SMALLEST_ZONE: u64 = 8 * 4096;

fn zone(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let name = args.text(0);
    if name.is_empty() {
        return Err(Problem::new(r#"invalid zone name """#).at(args.word(0).span));
    }
    if args.len() == 2 {
        let text = args.text(1);
        match size(text) {
            None => return Err(Problem::new(format!(r#"invalid zone size "{text}""#)).at(args.word(1).span)),
            Some(bytes) if bytes < SMALLEST_ZONE => {
                return Err(Problem::new(format!(r#"zone "{name}" is too small"#))
                    .at(args.word(1).span)
                    .help("at least 32k is expected"));
            }
            Some(_) => {}
        }
    }
    scope.zones.upstream.mention(name, args.len() == 2, args.span());
    upstream.zone = Some(name.to_owned());
    Ok(())
}

fn sticky(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let sticky = match args.text(0) {
        "cookie" => cookie(args, scope)?,
        "route" => {
            let lookup = args.words()[1..].iter().map(|word| {
                scope.variable(word).map(|variable| Template(vec![weir_model::Part::Variable(variable)]))
            });
            Sticky::Route { lookup: lookup.collect::<Result<_, _>>()? }
        }
        "learn" => learn(args, scope)?,
        text => {
            return Err(Problem::new(format!(r#"unknown parameter "{text}""#))
                .at(args.word(0).span)
                .help("cookie, route or learn is expected"));
        }
    };
    upstream.sticky = Some(sticky);
    Ok(())
}

fn cookie(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Sticky, Problem> {
    let cookie_name = args.text(1);
    if cookie_name.is_empty() {
        return Err(args.slot(1, "empty cookie name"));
    }
    let (mut expires, mut domain, mut path, mut samesite) = (None, None, None, None);
    let (mut httponly, mut secure) = (false, false);
    for i in 2..args.len() {
        let word = args.text(i);
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        let duplicate = || args.slot(i, &format!(r#"parameter "{key}" is duplicate"#));
        let span = args.word(i).span;
        match (key, value) {
            ("domain" | "path", Some("")) => return Err(args.slot(i, &format!(r#"no value for "{key}""#))),
            ("domain", Some(value)) => put(&mut domain, scope.template_of(value, span)?, duplicate)?,
            // nginx takes the path as it is, without variables.
            ("path", Some(value)) => put(&mut path, Template::text(value), duplicate)?,
            ("expires", Some("max")) => put(&mut expires, u64::MAX, duplicate)?,
            ("expires", Some(value)) => {
                let seconds = time(value, Unit::Seconds)
                    .ok_or_else(|| args.slot(i, r#"invalid "expires" parameter value"#))?;
                put(&mut expires, seconds, duplicate)?;
            }
            ("samesite", Some(value)) => {
                let template = scope.template_of(value, span)?;
                let known = ["strict", "lax", "none"].iter().any(|known| known.eq_ignore_ascii_case(value));
                if template.literal().is_some() && !known {
                    return Err(args.slot(i, r#"invalid "samesite" parameter value"#));
                }
                put(&mut samesite, template, duplicate)?;
            }
            ("httponly", None) if httponly => return Err(duplicate()),
            ("secure", None) if secure => return Err(duplicate()),
            ("httponly", None) => httponly = true,
            ("secure", None) => secure = true,
            _ => return Err(Problem::new(format!(r#"unknown parameter "{word}""#)).at(span)),
        }
    }
    Ok(Sticky::Cookie { name: cookie_name.to_owned(), expires, domain, path, httponly, secure, samesite })
}

fn put<T>(slot: &mut Option<T>, value: T, duplicate: impl FnOnce() -> Problem) -> Result<(), Problem> {
    if slot.is_some() {
        return Err(duplicate());
    }
    *slot = Some(value);
    Ok(())
}

fn learn(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Sticky, Problem> {
    let (mut create, mut lookup) = (Vec::new(), Vec::new());
    let (mut zone, mut timeout, mut header) = (None, None, false);
    for i in 1..args.len() {
        let word = args.text(i);
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        match (key, value) {
            ("zone", Some(_)) if zone.is_some() => return Err(args.slot(i, "duplicate zone")),
            ("zone", Some(value)) => zone = Some(learn_zone(args, i, value)?),
            ("timeout", Some(_)) if timeout.is_some() => return Err(args.slot(i, "duplicate timeout")),
            ("timeout", Some(value)) => {
                let millis = time(value, Unit::Millis).filter(|millis| *millis > 0);
                timeout = Some(Millis(millis.ok_or_else(|| args.slot(i, "invalid timeout"))?));
            }
            ("create" | "lookup", Some(value)) => {
                if !value.starts_with('$') {
                    return Err(args.slot(i, &format!(r#"missing variable in the "{key}" parameter"#)));
                }
                let template = scope.template_of(value, args.word(i).span)?;
                if key == "create" { create.push(template) } else { lookup.push(template) }
            }
            ("header", None) => header = true,
            _ => {
                return Err(Problem::new(format!(r#"unknown parameter "{word}""#)).at(args.word(i).span));
            }
        }
    }
    let missing = |what: &str| args.slot(0, &format!(r#""{what}" parameter is not specified"#));
    if lookup.is_empty() {
        return Err(missing("lookup"));
    }
    if create.is_empty() {
        return Err(missing("create"));
    }
    let (zone, size) = zone.ok_or_else(|| missing("zone"))?;
    let used = scope
        .http
        .upstreams
        .iter()
        .find(|other| matches!(&other.sticky, Some(Sticky::Learn { zone: name, .. }) if *name == zone));
    if let Some(other) = used {
        let text = format!(r#"sticky zone "{zone}" is already used in upstream "{}""#, other.name);
        return Err(Problem::new(text));
    }
    Ok(Sticky::Learn { create, lookup, zone, size, timeout: timeout.unwrap_or(Millis(600_000)), header })
}

fn learn_zone(args: &Args<'_>, i: usize, text: &str) -> Result<(String, u64), Problem> {
    let (name, bytes) = text.split_once(':').ok_or_else(|| args.slot(i, "zone size is not specified"))?;
    if name.is_empty() {
        return Err(args.slot(i, "zone name is not specified"));
    }
    let bytes = size(bytes).ok_or_else(|| args.slot(i, "invalid zone size"))?;
    if bytes < SMALLEST_ZONE {
        return Err(args.slot(i, "zone is too small").help("at least 32k is expected"));
    }
    Ok((name.to_owned(), bytes))
}
