//! nginx Plus's `health_check`: lowered onto the group that the location's proxy_pass names.

use weir_model::check::{Bytes, Match};
use weir_model::{Check, Handler, Location, Millis, Probe, ProxyPass, ProxyTarget, Template};
use weir_syntax::{Severity, Span};

use crate::address::port_number;
use crate::args::{Args, Unit, number, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

pub(crate) const DIRECTIVES: &[Directive] = &[Directive {
    name: "health_check",
    module: "ngx_http_upstream_hc_module",
    contexts: Contexts::LOCATION,
    arguments: Arity::Any,
    repeat: true,
    syntax: "[interval=TIME] [jitter=TIME] [fails=NUMBER] [passes=NUMBER] [uri=URI] [mandatory [persistent]] [match=NAME] [port=NUMBER] [type=grpc [grpc_service=NAME] [grpc_status=NUMBER]] [keepalive_time=TIME] [timeout=TIME]",
    default: "interval=5s jitter=0s fails=1 passes=1 uri=/",
    doc: "Asks every server of the group behind proxy_pass again and again whether it is well.",
    action: Action::Location(health_check),
    ..Directive::NEW
}];

/// One line, before its location is known to its end.
pub(crate) struct Asked {
    span: Span,
    interval: Millis,
    jitter: Millis,
    fails: u32,
    passes: u32,
    uri: Option<String>,
    mandatory: bool,
    persistent: bool,
    /// Name and word.
    judge: Option<(String, Span)>,
    port: u16,
    grpc: bool,
    grpc_service: Option<String>,
    grpc_status: Option<u32>,
    keepalive_time: Option<Millis>,
    timeout: Option<Millis>,
}

fn health_check(_: &mut Location, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let mut asked = Asked {
        span: args.span(),
        interval: Millis(5_000),
        jitter: Millis(0),
        fails: 1,
        passes: 1,
        uri: None,
        mandatory: false,
        persistent: false,
        judge: None,
        port: 0,
        grpc: false,
        grpc_service: None,
        grpc_status: None,
        keepalive_time: None,
        timeout: None,
    };
    for i in 0..args.len() {
        parameter(&mut asked, args, i)?;
    }
    agree(&asked)?;
    scope.health_checks.push(asked);
    Ok(())
}

const PARAMETERS: [&str; 14] = [
    "interval=",
    "jitter=",
    "fails=",
    "passes=",
    "uri=",
    "mandatory",
    "persistent",
    "match=",
    "port=",
    "type=",
    "grpc_service=",
    "grpc_status=",
    "keepalive_time=",
    "timeout=",
];

fn parameter(asked: &mut Asked, args: &Args<'_>, i: usize) -> Result<(), Problem> {
    let word = args.text(i);
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    let invalid = || args.invalid_parameter(i);
    let millis = |value| time(value, Unit::Millis).map(Millis).ok_or_else(invalid);
    let some = |value| match millis(value)? {
        Millis(0) => Err(invalid().help("a time above zero is expected")),
        millis => Ok(millis),
    };
    let count = |value| {
        let count = number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        count.ok_or_else(|| invalid().help("a number above zero is expected"))
    };
    match (key, value) {
        ("interval", Some(value)) => asked.interval = some(value)?,
        ("jitter", Some(value)) => asked.jitter = millis(value)?,
        ("keepalive_time", Some(value)) => asked.keepalive_time = Some(some(value)?),
        ("timeout", Some(value)) => asked.timeout = Some(some(value)?),
        ("fails", Some(value)) => asked.fails = count(value)?,
        ("passes", Some(value)) => asked.passes = count(value)?,
        ("port", Some(value)) => asked.port = port_number(value).ok_or_else(invalid)?,
        ("uri", Some(value)) => {
            if !value.starts_with('/') || value.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
                return Err(invalid().help("a path that starts with / is expected, with %20 for a space"));
            }
            asked.uri = Some(value.to_owned());
        }
        ("match", Some(value)) => asked.judge = Some((value.to_owned(), args.word(i).span)),
        ("mandatory", None) => asked.mandatory = true,
        ("persistent", None) => asked.persistent = true,
        ("type", Some("grpc")) => asked.grpc = true,
        ("type", Some(_)) => return Err(invalid().help("grpc is the only type")),
        ("grpc_service", Some(value)) => asked.grpc_service = Some(value.to_owned()),
        ("grpc_status", Some(value)) => {
            let status = number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 16);
            asked.grpc_status = Some(status.ok_or_else(|| invalid().help("gRPC's codes are 0 to 16"))?);
        }
        _ => return Err(args.unknown_parameter(i, &PARAMETERS)),
    }
    Ok(())
}

fn agree(asked: &Asked) -> Result<(), Problem> {
    if asked.persistent && !asked.mandatory {
        return Err(Problem::new(r#""persistent" parameter requires "mandatory" parameter"#));
    }
    if !asked.grpc && (asked.grpc_service.is_some() || asked.grpc_status.is_some()) {
        let name = if asked.grpc_service.is_some() { "grpc_service" } else { "grpc_status" };
        return Err(Problem::new(format!(r#""{name}" parameter requires "type=grpc" parameter"#)));
    }
    if asked.grpc && (asked.uri.is_some() || asked.judge.is_some()) {
        let name = if asked.uri.is_some() { "uri" } else { "match" };
        return Err(Problem::new(format!(r#""{name}" parameter cannot be used with "type=grpc" parameter"#))
            .help("the gRPC health protocol has its own question and answer"));
    }
    Ok(())
}

/// The end of a location's own directives: its checks go to its group.
pub(crate) fn finish(scope: &mut Scope<'_>, location: &Location) {
    for asked in std::mem::take(&mut scope.health_checks) {
        let span = asked.span;
        match lower(scope, location, asked) {
            Ok((upstream, check)) => {
                let checks = &mut scope.http.upstreams[upstream].checks;
                // Several locations of one group often include one file.
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
            Err(problem) => {
                let span = problem.span.unwrap_or(span);
                scope.note_when_http_ends(Severity::Error, problem.at(span));
            }
        }
    }
}

fn lower(scope: &Scope<'_>, location: &Location, asked: Asked) -> Result<(usize, Check), Problem> {
    let target = match &location.handler {
        Handler::Proxy(pass) => Some(pass.as_ref()),
        _ => None,
    };
    let Some(ProxyPass { target: ProxyTarget::Group { upstream, .. }, .. }) = target else {
        return Err(Problem::new(r#""health_check" without "proxy_pass" to an upstream"#)
            .help("put it into the location whose proxy_pass names an upstream block, without variables"));
    };
    let group = &scope.http.upstreams[*upstream];
    if group.implicit {
        return Err(Problem::new(format!(
            r#""health_check" needs an upstream block, "{}" is a host"#,
            group.name
        ))
        .help("write upstream NAME { server ...; } and proxy_pass http://NAME"));
    }
    let judge = asked.judge.as_ref().map(|(name, span)| find(scope, name, *span)).transpose()?;
    let proxy = &location.settings.proxy;
    // A connection that is kept so long carries one probe more than there are pauses.
    let pause = (asked.interval.0 + asked.jitter.0).max(1);
    let kept = asked.keepalive_time.map_or(1, |time| time.0 / pause + 1);
    let probe = if asked.grpc {
        Probe::Grpc { service: asked.grpc_service.clone().unwrap_or_default(), status: asked.grpc_status }
    } else {
        let uri = asked.uri.as_deref().unwrap_or("/");
        Probe::Request { head: Bytes(head(uri, &group.name, location, kept > 1)), expect: judge.cloned() }
    };
    let check = Check {
        probe,
        interval: asked.interval,
        jitter: asked.jitter,
        timeout: asked.timeout.unwrap_or(proxy.read_timeout),
        rise: asked.passes,
        fall: asked.fails,
        default_down: asked.mandatory,
        persistent: asked.persistent,
        port: asked.port,
        keepalive_requests: u32::try_from(kept).unwrap_or(u32::MAX),
    };
    Ok((*upstream, check))
}

fn find<'s>(scope: &'s Scope<'_>, name: &str, span: Span) -> Result<&'s Match, Problem> {
    scope.matches.iter().find(|one| one.name == name).ok_or_else(|| {
        let problem = Problem::new(format!(r#"unknown match "{name}""#)).at(span);
        match crate::nearest(name, scope.matches.iter().map(|one| one.name.as_str())) {
            Some(near) => problem.help(format!(r#"did you mean "{near}"?"#)),
            None => problem.help(format!("write match {name} {{ ... }} in the http block")),
        }
    })
}

/// Fields that belong to the connection or to a body, which a probe has of its own or not at all.
const OWN: [&str; 9] = [
    "host",
    "connection",
    "proxy-connection",
    "keep-alive",
    "upgrade",
    "te",
    "expect",
    "content-length",
    "transfer-encoding",
];

/// The head of the request: what `proxy_set_header` gives every request. Values that depend on one are left out.
fn head(uri: &str, group: &str, location: &Location, kept: bool) -> Vec<u8> {
    let proxy = &location.settings.proxy;
    let value = |template: &Template| template.literal().filter(|value| !value.is_empty()).map(str::to_owned);
    let host = proxy.set_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.and_then(|(_, template)| value(template)).unwrap_or_else(|| group.to_owned());
    let version = if proxy.http_1_0 { "1.0" } else { "1.1" };
    let mut text = format!("GET {uri} HTTP/{version}\r\nHost: {host}\r\n");
    match (kept, proxy.http_1_0) {
        (false, _) => text.push_str("Connection: close\r\n"),
        (true, true) => text.push_str("Connection: keep-alive\r\n"),
        (true, false) => {}
    }
    for (name, template) in &proxy.set_headers {
        if let Some(value) = value(template)
            && !OWN.contains(&name.to_ascii_lowercase().as_str())
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text.push_str("\r\n");
    weir_syntax::encode(&text).into_owned()
}
