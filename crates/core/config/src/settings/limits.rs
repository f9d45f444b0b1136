//! Limits of requests and of connections, and their zones.

use weir_model::http::LimitZone;
use weir_model::location::{LimitConn, LimitReq};
use weir_model::{Level, Settings};

use super::{bounded, choice};
use crate::args::{Args, number, size};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const REQ: Directive =
    Directive { module: "ngx_http_limit_req_module", contexts: Contexts::HSL, ..Directive::NEW };
const CONN: Directive = Directive { module: "ngx_http_limit_conn_module", ..REQ };
const LEVELS: [&str; 4] = ["info", "notice", "warn", "error"];
/// nginx takes no zone below eight pages.
const SMALLEST: u64 = 8 * 4096;

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "limit_req_zone",
        contexts: Contexts::HTTP,
        arguments: Arity::Exactly(3),
        repeat: true,
        syntax: "KEY zone=NAME:SIZE rate=RATE",
        doc: "A zone that counts requests by a key.",
        action: Action::Http(|args, scope| {
            let zone = zone(args, scope, true)?;
            scope.define_limit_req_zone(zone, args.span())
        }),
        ..REQ
    },
    Directive {
        name: "limit_conn_zone",
        contexts: Contexts::HTTP,
        arguments: Arity::Exactly(2),
        repeat: true,
        syntax: "KEY zone=NAME:SIZE",
        doc: "A zone that counts requests under way by a key.",
        action: Action::Http(|args, scope| {
            let zone = zone(args, scope, false)?;
            scope.define_limit_conn_zone(zone, args.span())
        }),
        ..CONN
    },
    Directive {
        name: "limit_req",
        arguments: Arity::Between(1, 3),
        repeat: true,
        syntax: "zone=NAME [burst=NUMBER] [nodelay | delay=NUMBER]",
        doc: "How many requests above the rate of a zone wait before others are refused.",
        action: Action::Setting(limit_req),
        ..REQ
    },
    Directive {
        name: "limit_req_status",
        syntax: "CODE",
        default: "503",
        doc: "The status of a request that is refused by its rate.",
        action: Action::Setting(|settings, args, _| {
            settings.access.limit_req_status = bounded(args, 400, 599)?;
            Ok(())
        }),
        ..REQ
    },
    Directive {
        name: "limit_req_log_level",
        syntax: "info | notice | warn | error",
        default: "error",
        doc: "The level of log lines about refused requests; delayed ones are one level below.",
        action: Action::Setting(|settings, args, _| {
            settings.access.limit_req_log_level = Some(level(args)?);
            Ok(())
        }),
        ..REQ
    },
    Directive {
        name: "limit_req_dry_run",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether requests are counted and none is refused.",
        action: set!(access.limit_req_dry_run, flag),
        ..REQ
    },
    Directive {
        name: "limit_conn",
        arguments: Arity::Exactly(2),
        repeat: true,
        syntax: "ZONE NUMBER",
        doc: "How many requests with one key may be under way.",
        action: Action::Setting(limit_conn),
        ..CONN
    },
    Directive {
        name: "limit_conn_status",
        syntax: "CODE",
        default: "503",
        doc: "The status of a request that is refused by the number of others.",
        action: Action::Setting(|settings, args, _| {
            settings.access.limit_conn_status = bounded(args, 400, 599)?;
            Ok(())
        }),
        ..CONN
    },
    Directive {
        name: "limit_conn_log_level",
        syntax: "info | notice | warn | error",
        default: "error",
        doc: "The level of log lines about refused requests.",
        action: Action::Setting(|settings, args, _| {
            settings.access.limit_conn_log_level = Some(level(args)?);
            Ok(())
        }),
        ..CONN
    },
    Directive {
        name: "limit_conn_dry_run",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether requests are counted and none is refused.",
        action: set!(access.limit_conn_dry_run, flag),
        ..CONN
    },
];

fn level(args: &Args<'_>) -> Result<Level, Problem> {
    Ok([Level::Info, Level::Notice, Level::Warn, Level::Error][choice(args, 0, &LEVELS)?])
}

fn zone(args: &Args<'_>, scope: &mut Scope<'_>, rated: bool) -> Result<LimitZone, Problem> {
    let key = scope.template(args.word(0))?;
    let mut zone = LimitZone { name: String::new(), key, size: 0, rate: if rated { 1000 } else { 0 } };
    for i in 1..args.len() {
        let here = |message: String| Problem::new(message).at(args.word(i).span);
        let text = args.text(i);
        if let Some(value) = args.key_value(i, "zone") {
            let bad_size = || {
                here(format!(r#"invalid zone size "{text}""#))
                    .help("write zone=NAME:SIZE, such as zone=a:10m")
            };
            let (name, bytes) = value.split_once(':').ok_or_else(bad_size)?;
            zone.size = size(bytes).ok_or_else(bad_size)?;
            if zone.size < SMALLEST {
                return Err(here(format!(r#"zone "{text}" is too small"#)).help("32k at least is expected"));
            }
            name.clone_into(&mut zone.name);
        } else if let Some(value) = args.key_value(i, "rate").filter(|_| rated) {
            let bad_rate =
                || here(format!(r#"invalid rate "{text}""#)).help("write rate=10r/s or rate=30r/m");
            let (digits, scale) = match (value.strip_suffix("r/s"), value.strip_suffix("r/m")) {
                (Some(digits), _) => (digits, 1),
                (None, Some(digits)) => (digits, 60),
                (None, None) => (value, 1),
            };
            let rate = number(digits).filter(|rate| *rate > 0).and_then(|rate| rate.checked_mul(1000));
            zone.rate = rate.ok_or_else(bad_rate)? / scale;
        } else {
            return Err(args.invalid_parameter(i));
        }
    }
    if zone.name.is_empty() {
        return Err(no_zone(args));
    }
    Ok(zone)
}

fn no_zone(args: &Args<'_>) -> Problem {
    Problem::new(format!(r#""{}" must have "zone" parameter"#, args.name()))
}

fn limit_req(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let (mut zone, mut burst, mut delay) = (None, 0, 0);
    for i in 0..args.len() {
        let positive = |value: &str, what: &str| {
            number(value).filter(|number| *number > 0).ok_or_else(|| {
                let message = format!(r#"invalid {what} value "{}""#, args.text(i));
                Problem::new(message).at(args.word(i).span).help("a number of at least 1 is expected")
            })
        };
        if let Some(name) = args.key_value(i, "zone") {
            zone = Some(scope.limit_req_zone(name, args.word(i).span));
        } else if let Some(value) = args.key_value(i, "burst") {
            burst = positive(value, "burst")?;
        } else if let Some(value) = args.key_value(i, "delay") {
            delay = positive(value, "delay")?;
        } else if args.text(i) == "nodelay" {
            delay = u64::MAX;
        } else {
            return Err(args.invalid_parameter(i));
        }
    }
    let zone = zone.ok_or_else(|| no_zone(args))?;
    let limits = &mut settings.access.limit_req;
    if scope.first("limit_req") {
        limits.clear();
    }
    if limits.iter().any(|limit| limit.zone == zone) {
        return Err(args.slot(0, "is duplicate"));
    }
    limits.push(LimitReq { zone, burst, delay });
    Ok(())
}

fn limit_conn(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let zone = scope.limit_conn_zone(args.text(0), args.word(0).span);
    let limits = &mut settings.access.limit_conn;
    if scope.first("limit_conn") {
        limits.clear();
    }
    if limits.iter().any(|limit| limit.zone == zone) {
        return Err(args.slot(0, "is duplicate"));
    }
    let here = |message: String| Problem::new(message).at(args.word(1).span);
    let connections = number(args.text(1))
        .filter(|number| *number > 0)
        .ok_or_else(|| here(format!(r#"invalid number of connections "{}""#, args.text(1))))?;
    let connections = u32::try_from(connections).ok().filter(|number| *number <= 65_535);
    let connections = connections.ok_or_else(|| here("connection limit must be less 65536".to_owned()))?;
    limits.push(LimitConn { zone, connections });
    Ok(())
}
