//! nginx_upstream_check_module's directives. Times are plain numbers of milliseconds.

use weir_model::check::{Bytes, StatusClasses};
use weir_model::{Check, CheckStatusFormat, Handler, Location, Millis, Probe, Upstream};

use crate::address::port_number;
use crate::args::{Args, number};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const MODULE: Directive =
    Directive { module: "nginx_upstream_check_module", contexts: Contexts::UPSTREAM, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "check",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "[interval=MILLISECONDS] [fall=NUMBER] [rise=NUMBER] [timeout=MILLISECONDS] [default_down=true|false] [type=tcp|http|ssl_hello|mysql|ajp|fastcgi] [port=NUMBER]",
        default: "interval=30000 fall=5 rise=2 timeout=1000 default_down=true type=tcp",
        doc: "Probes every server of the group; without it nothing is probed.",
        action: Action::Upstream(check),
        ..MODULE
    },
    Directive {
        name: "check_http_send",
        repeat: true,
        syntax: "TEXT",
        default: r#""GET / HTTP/1.0\r\n\r\n""#,
        doc: "What check type=http sends, as it is.",
        action: Action::Upstream(|_, args, scope| {
            scope.check.send = Some(weir_syntax::encode(args.text(0)).into_owned());
            Ok(())
        }),
        ..MODULE
    },
    Directive {
        name: "check_http_expect_alive",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "http_2xx | http_3xx | http_4xx | http_5xx ...",
        default: "http_2xx http_3xx",
        doc: "The classes of status with which check type=http and type=fastcgi take a server for alive.",
        action: Action::Upstream(expect_alive),
        ..MODULE
    },
    Directive {
        name: "check_keepalive_requests",
        repeat: true,
        syntax: "NUMBER",
        default: "1",
        doc: "The probes that one connection carries.",
        action: Action::Upstream(|_, args, scope| {
            let requests = number(args.text(0)).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
            scope.check.keepalive =
                Some(requests.ok_or_else(|| {
                    args.slot(0, "invalid value").help("a number of at least 1 is expected")
                })?);
            Ok(())
        }),
        ..MODULE
    },
    Directive {
        name: "check_fastcgi_param",
        arguments: Arity::Exactly(2),
        repeat: true,
        syntax: "NAME VALUE",
        default: "REQUEST_METHOD GET, REQUEST_URI /, SCRIPT_FILENAME index.php",
        doc: "A parameter that check type=fastcgi sends; the first one drops the default ones.",
        action: Action::Upstream(|_, args, scope| {
            scope.check.params.push((args.text(0).to_owned(), args.text(1).to_owned()));
            Ok(())
        }),
        ..MODULE
    },
    Directive {
        name: "check_panic",
        module: "weir",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether all servers serve when checks failed every one of them; off answers 502 then.",
        action: Action::Upstream(|upstream, args, _| {
            upstream.check_panic = args.flag(0)?;
            Ok(())
        }),
        ..MODULE
    },
    Directive {
        name: "check_shm_size",
        contexts: Contexts::HTTP,
        syntax: "SIZE",
        default: "1M",
        doc: "The memory for the module's results; here there is no limit.",
        action: Action::Http(|args, _| args.size(0).map(|_| ())),
        ..MODULE
    },
    Directive {
        name: "check_status",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arguments: Arity::Between(0, 1),
        repeat: true,
        syntax: "[html | csv | json]",
        default: "html",
        doc: "Answers with the results of the checks; ?format= and ?status=up|down choose.",
        action: Action::Location(status),
        ..MODULE
    },
];

/// The lines of one `upstream` block.
#[derive(Default)]
pub(crate) struct Lines {
    check: Option<Check>,
    send: Option<Vec<u8>>,
    expect: Option<StatusClasses>,
    keepalive: Option<u32>,
    params: Vec<(String, String)>,
}

const PARAMETERS: [&str; 7] = ["interval=", "fall=", "rise=", "timeout=", "default_down=", "type=", "port="];

const TYPES: [&str; 6] = ["tcp", "http", "ssl_hello", "mysql", "ajp", "fastcgi"];

fn check(_: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let mut check = Check {
        probe: Probe::Tcp,
        interval: Millis(30_000),
        jitter: Millis(0),
        timeout: Millis(1_000),
        rise: 2,
        fall: 5,
        default_down: true,
        persistent: false,
        port: 0,
        keepalive_requests: 1,
    };
    for i in 0..args.len() {
        parameter(&mut check, args, i)?;
    }
    scope.check.check = Some(check);
    Ok(())
}

fn parameter(check: &mut Check, args: &Args<'_>, i: usize) -> Result<(), Problem> {
    let Some((key, value)) = args.text(i).split_once('=') else {
        return Err(args.unknown_parameter(i, &PARAMETERS));
    };
    let count = || {
        number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| {
            args.invalid_parameter(i).help(match key {
                "interval" | "timeout" => "a number of milliseconds above zero is expected, without a unit",
                _ => "a number above zero is expected",
            })
        })
    };
    let millis = || count().map(|n| Millis(n.into()));
    match key {
        "interval" => check.interval = millis()?,
        "timeout" => check.timeout = millis()?,
        "rise" => check.rise = count()?,
        "fall" => check.fall = count()?,
        "port" => {
            check.port = port_number(value)
                .ok_or_else(|| args.invalid_parameter(i).help("a port from 1 to 65535 is expected"))?;
        }
        "default_down" => {
            check.default_down = match value {
                value if value.eq_ignore_ascii_case("true") => true,
                value if value.eq_ignore_ascii_case("false") => false,
                _ => {
                    let word = args.text(i);
                    let text = format!(r#"invalid value "{word}", it must be "true" or "false""#);
                    return Err(Problem::new(text).at(args.word(i).span));
                }
            };
        }
        "type" => {
            let expect = StatusClasses::DEFAULT;
            check.probe = match value {
                "tcp" => Probe::Tcp,
                "http" => Probe::Http { send: Bytes::default(), expect },
                "ssl_hello" => Probe::SslHello,
                "mysql" => Probe::Mysql,
                "ajp" => Probe::Ajp,
                "fastcgi" => Probe::Fastcgi { params: Vec::new(), expect },
                _ => {
                    let known = TYPES.join(", ");
                    return Err(args.invalid_parameter(i).help(format!("one of {known} is expected")));
                }
            };
        }
        _ => return Err(args.unknown_parameter(i, &PARAMETERS)),
    }
    Ok(())
}

const CLASSES: [(&str, u8); 4] = [("http_2xx", 2), ("http_3xx", 3), ("http_4xx", 4), ("http_5xx", 5)];

fn expect_alive(_: &mut Upstream, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let mut bits = scope.check.expect.map_or(0, |classes| classes.bits);
    for word in args.words() {
        let known = CLASSES.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word.text));
        let Some((_, class)) = known else {
            return Err(Problem::new(format!(r#"invalid value "{}""#, word.text))
                .at(word.span)
                .help(format!("one of {} is expected", CLASSES.map(|(name, _)| name).join(", "))));
        };
        if bits & (1 << class) != 0 {
            scope.warn(Problem::new(format!(r#"duplicate value "{}""#, word.text)).at(word.span));
        }
        bits |= 1 << class;
    }
    scope.check.expect = Some(StatusClasses { bits });
    Ok(())
}

/// The end of an `upstream` block.
pub(crate) fn finish(scope: &mut Scope<'_>, upstream: &mut Upstream) {
    let Lines { check, send, expect, keepalive, params } = std::mem::take(&mut scope.check);
    let Some(mut check) = check else { return };
    check.keepalive_requests = keepalive.unwrap_or(1);
    let classes = expect.unwrap_or(StatusClasses::DEFAULT);
    match &mut check.probe {
        Probe::Http { send: bytes, expect } => {
            bytes.0 = send.unwrap_or_else(|| b"GET / HTTP/1.0\r\n\r\n".to_vec());
            *expect = classes;
        }
        Probe::Fastcgi { params: sent, expect } => {
            *sent = if params.is_empty() { fastcgi() } else { params };
            *expect = classes;
        }
        _ => {}
    }
    upstream.checks.push(check);
}

fn fastcgi() -> Vec<(String, String)> {
    let params = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/"), ("SCRIPT_FILENAME", "index.php")];
    params.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn status(location: &mut Location, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    let format = match args.words().first().map(|word| word.text.as_str()) {
        None | Some("html") => CheckStatusFormat::Html,
        Some("csv") => CheckStatusFormat::Csv,
        Some("json") => CheckStatusFormat::Json,
        Some(text) => {
            return Err(Problem::new(format!(r#"invalid check format "{text}""#))
                .at(args.word(0).span)
                .help("html, csv or json is expected"));
        }
    };
    location.handler = Handler::CheckStatus(format);
    Ok(())
}
