//! `registry`, `admin` and `state_path`: what runs beside the traffic.

pub(crate) mod admin;
pub(crate) mod registry;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_model::{ListenAddress, Secret};
use weir_syntax::{Directive as Node, Span};

use crate::address::Authority;
use crate::args::{Args, number};
use crate::directive::Problem;
use crate::scope::Scope;

/// An address to listen on: `ADDRESS[:PORT]`, `PORT` (of this machine alone), `*:PORT`, `unix:PATH`.
fn address(args: &Args<'_>, port: Option<u16>, scope: &Scope<'_>) -> Result<Vec<ListenAddress>, Problem> {
    let (text, span) = (args.text(0), args.word(0).span);
    let name = args.name();
    let wrong = |words: &str| {
        Problem::new(format!(r#"{words} in "{text}" of the "{name}" directive"#))
            .at(span)
            .help("an address is ADDRESS[:PORT], [IPV6][:PORT], *:PORT, PORT or unix:PATH; PORT alone is 127.0.0.1:PORT")
    };
    if number(text).is_some() {
        let port = crate::address::port_number(text).ok_or_else(|| wrong("invalid port"))?;
        return Ok(vec![ListenAddress::Inet((Ipv4Addr::LOCALHOST, port).into())]);
    }
    match Authority::parse(text, false).map_err(wrong)? {
        Authority::Unix { path, .. } => Ok(vec![ListenAddress::Unix(scope.path(path))]),
        Authority::Inet { host, port: named, .. } => {
            let port = named.or(port).ok_or_else(|| wrong("no port"))?;
            let hosts = match host {
                "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
                host => scope.resolve(host, &format!(r#""{text}" of the "{name}" directive"#), span)?,
            };
            Ok(hosts.into_iter().map(|host| ListenAddress::Inet((host, port).into())).collect())
        }
    }
}

/// The same where only IP has a meaning.
fn inet(args: &Args<'_>, port: Option<u16>, scope: &Scope<'_>) -> Result<Vec<SocketAddr>, Problem> {
    let found = address(args, port, scope)?.into_iter().map(|address| match address {
        ListenAddress::Inet(address) => Ok(address),
        ListenAddress::Unix(_) => {
            let text = format!(r#"invalid host in "{}" of the "{}" directive"#, args.text(0), args.name());
            Err(Problem::new(text).at(args.word(0).span).help("an IP address with a port is expected"))
        }
    });
    found.collect()
}

/// The tokens of a `token` line: `write=`, `write_file=`, `read=`, `read_file=`.
fn tokens(
    write: &mut Option<Secret>,
    read: &mut Option<Secret>,
    args: &Args<'_>,
    scope: &Scope<'_>,
) -> Result<(), Problem> {
    const PARAMETERS: [&str; 4] = ["write=", "write_file=", "read=", "read_file="];
    for i in 0..args.len() {
        let span = args.word(i).span;
        let (slot, secret) = match args.text(i).split_once('=') {
            Some(("write", value)) => (&mut *write, crate::secret::token(value, span)?),
            Some(("write_file", value)) => (&mut *write, crate::secret::token_file(value, span, scope)?),
            Some(("read", value)) => (&mut *read, crate::secret::token(value, span)?),
            Some(("read_file", value)) => (&mut *read, crate::secret::token_file(value, span, scope)?),
            _ => {
                // What was meant may be the token itself: it is not repeated.
                return Err(Problem::new(r#"invalid parameter in "token" directive"#)
                    .at(span)
                    .help(format!("known parameters are {}", PARAMETERS.join(", "))));
            }
        };
        if slot.replace(secret).is_some() {
            return Err(Problem::new(r#"a token is given twice in "token" directive"#).at(span));
        }
    }
    Ok(())
}

/// Who is not on this machine writes with a token, or not at all.
fn check_open(
    scope: &mut Scope<'_>,
    node: &Node,
    listen: &[ListenAddress],
    write: Option<&Secret>,
    what: &str,
) {
    let open = listen.iter().find(|address| !is_local(address));
    if let (Some(address), None) = (open, write) {
        let text = format!("{what} on {address} lets everybody who reaches it change what is served");
        let problem = Problem::new(text).at(span_of(node, "listen")).help(
            "add a token, such as token write_file=FILE; or listen on 127.0.0.1, on [::1] or on a unix socket",
        );
        scope.error_at_end(node, problem);
    }
}

fn is_local(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Inet(address) => address.ip().to_canonical().is_loopback(),
        ListenAddress::Unix(_) => true,
    }
}

/// The first line of a block with this name.
fn span_of(node: &Node, name: &str) -> Span {
    let mut lines = node.block.iter().flatten();
    lines.find(|line| line.name.text == name).map_or(node.name.span, crate::scope::line)
}
