//! `resolver`: the name servers that are asked while serving.

use std::net::SocketAddr;

use weir_model::{Millis, Origin, Resolver, Upstream};
use weir_syntax::{Directive as Node, Severity, Span};

use crate::address::Authority;
use crate::args::{Args, Unit, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const SYNTAX: &str = "ADDRESS ... [valid=TIME] [ipv4=on|off] [ipv6=on|off] | system [valid=TIME] ... | local=on [valid=TIME] ...";
const DOC: &str =
    "The name servers that are asked while serving; system asks those of the machine, and its hosts file.";
const TIMEOUT_DOC: &str = "How long a name may take to be resolved while serving.";
const HTTP: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HSL, ..Directive::NEW };
const UPSTREAM: Directive =
    Directive { module: "ngx_http_upstream_module", contexts: Contexts::UPSTREAM, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "resolver",
        arguments: Arity::AtLeast(1),
        syntax: SYNTAX,
        doc: DOC,
        action: Action::Setting(|settings, args, scope| {
            settings.proxy.resolver = Some(read(args, scope)?);
            Ok(())
        }),
        ..HTTP
    },
    Directive {
        name: "resolver_timeout",
        syntax: "TIME",
        default: "30s",
        doc: TIMEOUT_DOC,
        action: Action::Setting(|settings, args, _| {
            settings.proxy.resolver_timeout = args.time(0)?;
            Ok(())
        }),
        ..HTTP
    },
    Directive {
        name: "resolver",
        arguments: Arity::AtLeast(1),
        syntax: SYNTAX,
        doc: DOC,
        action: Action::Upstream(|_, args, scope| {
            scope.resolvers.own = Some(read(args, scope)?);
            Ok(())
        }),
        ..UPSTREAM
    },
    Directive {
        name: "resolver_timeout",
        syntax: "TIME",
        default: "30s",
        doc: TIMEOUT_DOC,
        action: Action::Upstream(|_, args, scope| {
            scope.resolvers.own_timeout = Some(args.time(0)?);
            Ok(())
        }),
        ..UPSTREAM
    },
];

/// Who is asked for the names of an upstream's servers.
#[derive(Default)]
pub(crate) struct Resolvers {
    /// Of the http level, its timeout included.
    pub(crate) http: Option<Resolver>,
    pub(crate) http_timeout: Millis,
    /// Of the `upstream` block that is open.
    own: Option<Resolver>,
    own_timeout: Option<Millis>,
    /// Sources of that block whose resolver is not known before the block ends.
    waiting: Vec<Waiting>,
}

struct Waiting {
    /// Index into the upstream's sources.
    source: usize,
    /// Of the line itself.
    timeout: Option<Millis>,
    /// Without a resolver the file is refused; otherwise the machine's is asked.
    required: bool,
}

impl Resolvers {
    pub(crate) fn open(&mut self) {
        self.own = None;
        self.own_timeout = None;
        self.waiting.clear();
    }

    /// The source with this index gets its resolver when the block ends.
    pub(crate) fn wait(&mut self, source: usize, timeout: Option<Millis>, required: bool) {
        self.waiting.push(Waiting { source, timeout, required });
    }
}

/// The end of an `upstream` block: its names get their resolver.
pub(crate) fn finish(scope: &mut Scope<'_>, node: &Node, upstream: &mut Upstream) {
    let Resolvers { http, http_timeout, own, own_timeout, waiting } = &mut scope.resolvers;
    let timeout = own_timeout.unwrap_or(*http_timeout);
    let waiting = std::mem::take(waiting);
    let fallback = if waiting.is_empty() { None } else { http.clone() };
    upstream.resolver = own.take().or(fallback).map(|resolver| Resolver { timeout, ..resolver });
    if upstream.resolver.is_none() && waiting.iter().any(|one| one.required) {
        let name = &upstream.name;
        let text = format!(r#"no resolver defined to resolve names at run time in upstream "{name}""#);
        let problem = Problem::new(text)
            .at(node.name.span)
            .help("add a resolver to this block or to http: resolver ADDRESS; or resolver system;");
        scope.note_when_http_ends(Severity::Error, problem);
        return;
    }
    for one in waiting {
        let timeout = one.timeout.unwrap_or(timeout);
        let resolver = Resolver { timeout, ..upstream.resolver.clone().unwrap_or_default() };
        if let Some(source) = upstream.sources.get_mut(one.source)
            && let Origin::Dns(query) = &mut source.origin
        {
            source.timeout = timeout;
            query.resolver = resolver;
        }
    }
}

/// The arguments of the directive, in nginx's words where they are wrong.
fn read(args: &Args<'_>, scope: &Scope<'_>) -> Result<Resolver, Problem> {
    let mut resolver = Resolver::default();
    let mut system = false;
    for i in 0..args.len() {
        let (text, span) = (args.text(i), args.word(i).span);
        let invalid = || Problem::new(format!("invalid parameter: {text}")).at(span);
        let flag = |value: &str| match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid().help("on or off is expected")),
        };
        match text.split_once('=') {
            Some(("valid", value)) => {
                let seconds = time(value, Unit::Seconds).ok_or_else(invalid)?;
                resolver.valid = (seconds > 0).then_some(Millis(seconds.saturating_mul(1000)));
            }
            Some(("ipv4", value)) => resolver.ipv4 = flag(value)?,
            Some(("ipv6", value)) => resolver.ipv6 = flag(value)?,
            Some(("local", value)) => system |= flag(value)?,
            // Names a shared memory that counts questions; nothing is answered differently.
            Some(("status_zone", _)) => {}
            None if text == "system" => system = true,
            _ => resolver.servers.extend(name_servers(text, span, scope)?),
        }
    }
    if !resolver.ipv4 && !resolver.ipv6 {
        return Err(Problem::new(r#""ipv4" and "ipv6" cannot both be "off""#));
    }
    if system && !resolver.servers.is_empty() {
        return Err(Problem::new("name servers stand beside those of the machine")
            .help("leave the addresses out, or system (local=on)"));
    }
    if !system && resolver.servers.is_empty() {
        return Err(Problem::new("no name servers defined")
            .help("the address of one is expected, or system for those of the machine"));
    }
    Ok(resolver)
}

/// The addresses of one name server; its name is resolved when the file is read.
pub(crate) fn name_servers(text: &str, span: Span, scope: &Scope<'_>) -> Result<Vec<SocketAddr>, Problem> {
    let wrong = |words: &str| {
        Problem::new(format!(r#"{words} in resolver "{text}""#))
            .at(span)
            .help("a name server is ADDRESS[:PORT] or [IPV6][:PORT]")
    };
    match Authority::parse(text, false).map_err(wrong)? {
        Authority::Unix { .. } => Err(wrong("invalid host")),
        Authority::Inet { host, port, .. } => {
            let found = scope.resolve(host, &format!(r#"resolver "{text}""#), span)?;
            Ok(found.into_iter().map(|address| (address, port.unwrap_or(53)).into()).collect())
        }
    }
}
