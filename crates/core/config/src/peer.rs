//! The `server` line of an `upstream` block.

use std::net::IpAddr;

use weir_model::source::DnsQuery;
use weir_model::{ListenAddress, Millis, Peer, Resolver, Upstream};
use weir_syntax::Span;

use crate::address::Authority;
use crate::args::{Args, Unit, number, time};
use crate::directive::Problem;
use crate::scope::Scope;

/// The directive.
pub(crate) fn server(upstream: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let text = args.text(0);
    let mut line = Peer::new(ListenAddress::Unix(String::new()), text);
    let (mut resolve, mut service) = (false, None);
    for i in 1..args.len() {
        match (args.text(i), args.key_value(i, "service")) {
            ("resolve", _) => resolve = true,
            (_, Some("")) => return Err(Problem::new("service is empty").at(args.word(i).span)),
            (_, Some(name)) => service = Some(name),
            _ => parameter(&mut line, args, i, scope.balancing.no_backup())?,
        }
    }
    let span = args.word(0).span;
    if service.is_some() && !resolve {
        let text = format!(r#"service upstream "{text}" requires "resolve" parameter"#);
        return Err(
            Problem::new(text).help("add resolve behind service=; such records are asked while serving")
        );
    }
    match (authority(text, span)?, service) {
        (Authority::Inet { port: Some(_), .. }, Some(_)) => {
            return Err(Problem::new(format!(r#"service upstream "{text}" may not have port"#))
                .at(span)
                .help("the records of the service name the ports"));
        }
        (Authority::Inet { host, port, .. }, service) if resolve && literal(host).is_none() => {
            let query = DnsQuery {
                name: host.to_owned(),
                port: port.unwrap_or(80),
                service: service.map(str::to_owned),
                resolver: Resolver::default(),
            };
            scope.resolvers.wait(upstream.sources.len(), None, true);
            upstream.sources.push(crate::source::of_name(query, line));
        }
        (_, Some(_)) => {
            return Err(Problem::new(format!(r#"service upstream "{text}" requires domain name"#)).at(span));
        }
        (Authority::Unix { path, .. }, None) => {
            upstream.peers.push(Peer { address: ListenAddress::Unix(path.to_owned()), ..line });
        }
        (Authority::Inet { host, port, .. }, None) => {
            let found = scope.resolve(host, &format!(r#"upstream "{text}""#), span)?;
            let port = port.unwrap_or(80);
            let addresses = found.into_iter().map(|address| ListenAddress::Inet((address, port).into()));
            upstream.peers.extend(addresses.map(|address| Peer { address, ..line.clone() }));
        }
    }
    Ok(())
}

fn authority(text: &str, span: Span) -> Result<Authority<'_>, Problem> {
    Authority::parse(text, false)
        .map_err(|words| Problem::new(format!(r#"{words} in upstream "{text}""#)).at(span))
}

/// The address that a host is, when it is no name.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What a `server` line takes.
const PARAMETERS: [&str; 12] = [
    "weight=",
    "max_conns=",
    "max_fails=",
    "fail_timeout=",
    "backup",
    "down",
    "drain",
    "route=",
    "slow_start=",
    "percent=",
    "resolve",
    "service=",
];

/// The longest `route=`, as in nginx.
const ROUTE: usize = 32;

/// Reads one parameter of a line into the peer that it describes.
pub(crate) fn parameter(line: &mut Peer, args: &Args<'_>, i: usize, no_backup: bool) -> Result<(), Problem> {
    let word = args.text(i);
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    let invalid = || args.invalid_parameter(i);
    let counted =
        |value: &str| number(value).map(|n| u32::try_from(n).unwrap_or(u32::MAX)).ok_or_else(invalid);
    match (key, value) {
        ("weight", Some(value)) => {
            line.weight = counted(value)?;
            if line.weight == 0 {
                return Err(invalid().help("a weight is at least 1; down takes a server out"));
            }
        }
        ("max_conns", Some(value)) => line.max_conns = counted(value)?,
        ("max_fails", Some(value)) => line.max_fails = counted(value)?,
        ("fail_timeout", Some(value)) => {
            let seconds = time(value, Unit::Seconds).ok_or_else(invalid)?;
            line.fail_timeout = Millis(seconds.saturating_mul(1000));
        }
        ("backup", None) if no_backup => {
            return Err(Problem::new(format!(r#"balancing method does not support parameter "{word}""#))
                .at(args.word(i).span)
                .help("hash, ip_hash and random know no backup servers"));
        }
        ("backup", None) => line.backup = true,
        ("down", None) => {
            line.down = true;
            line.drain = false;
        }
        ("drain", None) => {
            line.drain = true;
            line.down = false;
        }
        ("route", Some("")) => return Err(Problem::new("route is empty").at(args.word(i).span)),
        ("route", Some(value)) if value.len() > ROUTE => {
            return Err(Problem::new(format!("route is longer than {ROUTE}")).at(args.word(i).span));
        }
        ("route", Some(value)) => line.route = Some(value.to_owned()),
        ("slow_start", Some(value)) => {
            line.slow_start = Millis(time(value, Unit::Millis).ok_or_else(invalid)?);
        }
        ("percent", Some(value)) => {
            let percent = counted(value)?;
            let percent = u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent));
            line.percent = percent.ok_or_else(|| {
                invalid().help("a percentage of the weight is 1 to 100; down takes a server out")
            })?;
        }
        _ => return Err(args.unknown_parameter(i, &PARAMETERS)),
    }
    Ok(())
}
