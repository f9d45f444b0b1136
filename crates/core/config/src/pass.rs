//! `proxy_pass`: a group of peers, or a URL with variables.

use weir_model::{
    Handler, Keepalive, ListenAddress, Location, LocationKind, Method, Peer, ProxyPass, ProxyTarget, Upstream,
};
use weir_syntax::Span;

use crate::address::Authority;
use crate::args::Args;
use crate::directive::{Action, Contexts, Directive, Problem};
use crate::scope::Scope;

pub(crate) const DIRECTIVES: &[Directive] = &[Directive {
    name: "proxy_pass",
    module: "ngx_http_proxy_module",
    contexts: Contexts::LOCATION.or(Contexts::LOCATION_IF).or(Contexts::LIMIT_EXCEPT),
    syntax: "URL",
    doc: "Hands requests on to a server or to a group of servers.",
    action: Action::Location(proxy_pass),
    ..Directive::NEW
}];

fn proxy_pass(location: &mut Location, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let (text, span) = (args.text(0), args.word(0).span);
    let target = if crate::template::has_variables(text) {
        ProxyTarget::Template(scope.template(args.word(0))?)
    } else {
        group(text, span, scope)?
    };
    if let ProxyTarget::Group { uri: Some(_), .. } = target
        && matches!(
            location.kind,
            LocationKind::Regex(_) | LocationKind::Named(_) | LocationKind::Nameless(_)
        )
    {
        return Err(Problem::new(
            r#""proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside "if" statement, or inside "limit_except" block"#,
        )
        .at(span)
        .help("leave out everything behind host and port; the request's own path is sent then"));
    }
    location.handler = Handler::Proxy(Box::new(ProxyPass { target, url: text.to_owned() }));
    Ok(())
}

fn group(text: &str, span: Span, scope: &mut Scope<'_>) -> Result<ProxyTarget, Problem> {
    let scheme = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    if scheme("https://") {
        return Err(Problem::new("https protocol requires SSL support")
            .at(span)
            .help("TLS to the servers behind is not supported by this version of Weir; http:// is"));
    }
    if !scheme("http://") {
        return Err(Problem::new("invalid URL prefix").at(span).help("the URL starts with http://"));
    }
    let rest = &text["http://".len()..];
    let authority = Authority::parse(rest, true)
        .map_err(|words| Problem::new(format!(r#"{words} in upstream "{rest}""#)).at(span))?;
    let (name, port, host, port_text, uri) = match &authority {
        Authority::Inet { host, port: None | Some(80), uri, .. } => {
            (*host, port_of(&authority), (*host).to_owned(), "80", *uri)
        }
        Authority::Inet { host, port_text, uri, .. } => {
            (*host, port_of(&authority), format!("{host}:{port_text}"), *port_text, *uri)
        }
        Authority::Unix { path, uri } => (*path, None, "localhost".to_owned(), "", *uri),
    };
    let upstream = match find(scope, name, port, span)? {
        Some(index) => index,
        None => {
            let group = implicit(scope, &authority, name, span)?;
            scope.http.upstreams.push(group);
            scope.http.upstreams.len() - 1
        }
    };
    let uri = (!uri.is_empty()).then(|| uri.to_owned());
    Ok(ProxyTarget::Group { upstream, host, port: port_text.to_owned(), uri })
}

fn port_of(authority: &Authority<'_>) -> Option<u16> {
    match authority {
        Authority::Inet { port, .. } => *port,
        Authority::Unix { .. } => None,
    }
}

/// The group of a name: an `upstream` block takes no port; others are told apart by it.
fn find(scope: &Scope<'_>, name: &str, port: Option<u16>, span: Span) -> Result<Option<usize>, Problem> {
    for (index, upstream) in scope.http.upstreams.iter().enumerate() {
        if !upstream.name.eq_ignore_ascii_case(name) {
            continue;
        }
        if !upstream.implicit {
            return match port {
                Some(port) => Err(Problem::new(format!(r#"upstream "{name}" may not have port {port}"#))
                    .at(span)
                    .help("the ports are those of the servers in the upstream block")),
                None => Ok(Some(index)),
            };
        }
        if upstream.port == port.unwrap_or(80) || upstream.port == 0 {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The group that a literal host makes: each of its addresses is a peer.
fn implicit(
    scope: &Scope<'_>,
    authority: &Authority<'_>,
    name: &str,
    span: Span,
) -> Result<Upstream, Problem> {
    let (addresses, port, server) = match authority {
        Authority::Unix { path, .. } => {
            (vec![ListenAddress::Unix((*path).to_owned())], 0, format!("unix:{path}"))
        }
        Authority::Inet { host, port, .. } => {
            let port = port.unwrap_or(80);
            let addresses = scope.resolve(host, &format!(r#"upstream "{host}""#), span)?;
            let peers = addresses.into_iter().map(|address| ListenAddress::Inet((address, port).into()));
            (peers.collect(), port, format!("{host}:{port}"))
        }
    };
    let peers = addresses.into_iter().map(|address| Peer::new(address, &server)).collect();
    Ok(Upstream {
        name: name.to_owned(),
        implicit: true,
        port,
        method: Method::RoundRobin,
        peers,
        // nginx keeps idle connections for upstream blocks only.
        keepalive: Keepalive { connections: 0, ..Keepalive::default() },
        zone: None,
        sticky: None,
        sources: Vec::new(),
        checks: Vec::new(),
        check_panic: true,
        park: weir_model::Millis(0),
        resolver: None,
    })
}
