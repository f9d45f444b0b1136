//! Error logs, access logs and their formats.

use weir_model::location::LogFileCache;
use weir_model::log::AccessTarget;
use weir_model::{
    AccessLog, ErrorLog, Escape, Level, LogFormat, LogTarget, Millis, Part, Settings, SyslogTarget, Template,
};
use weir_syntax::Span;

use crate::address::Authority;
use crate::args::{Args, Unit, number, size, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;
use crate::template::has_variables;

const LOG: Directive =
    Directive { module: "ngx_http_log_module", contexts: Contexts::HSL, repeat: true, ..Directive::NEW };
const FLAG: Directive = Directive {
    module: "ngx_http_core_module",
    arguments: Arity::Flag,
    repeat: false,
    syntax: "on | off",
    ..LOG
};
const PROGRAM: Directive =
    Directive { module: "ngx_http_rewrite_module", contexts: Contexts::HSLI.or(Contexts::SERVER_IF), ..FLAG };

const COMBINED: [&str; 3] = [
    "$remote_addr - $remote_user [$time_local] ",
    "\"$request\" $status $body_bytes_sent ",
    "\"$http_referer\" \"$http_user_agent\"",
];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "log_format",
        contexts: Contexts::HTTP,
        arguments: Arity::AtLeast(2),
        syntax: "NAME [escape=default | json | none] TEXT ...",
        default: "combined",
        doc: "A format of access log lines.",
        action: Action::Http(log_format),
        ..LOG
    },
    Directive {
        name: "access_log",
        contexts: Contexts::HSLI.or(Contexts::LIMIT_EXCEPT),
        arguments: Arity::AtLeast(1),
        syntax: "FILE | syslog:PARAMETERS | off [FORMAT [buffer=SIZE] [gzip[=LEVEL]] [flush=TIME] [if=CONDITION]]",
        default: "logs/access.log combined",
        doc: "Where a line is written for each request.",
        action: Action::Setting(access_log),
        ..LOG
    },
    Directive {
        name: "open_log_file_cache",
        contexts: Contexts::HSL,
        arguments: Arity::Between(1, 4),
        repeat: false,
        syntax: "off | max=NUMBER [inactive=TIME] [min_uses=NUMBER] [valid=TIME]",
        default: "off",
        doc: "Which logs with variables in their path are kept open.",
        action: Action::Setting(log_file_cache),
        ..LOG
    },
    Directive {
        name: "error_log",
        module: "ngx_http_core_module",
        arguments: Arity::AtLeast(1),
        syntax: "FILE | stderr | syslog:PARAMETERS [LEVEL]",
        default: "logs/error.log error",
        doc: "Where failures are written.",
        action: Action::Setting(|settings, args, scope| {
            let log = parse_error_log(args, scope)?;
            if scope.first("error_log") {
                settings.error_log.clear();
            }
            settings.error_log.push(log);
            Ok(())
        }),
        ..LOG
    },
    Directive {
        name: "error_log",
        module: "ngx_core_module",
        contexts: Contexts::MAIN,
        arguments: Arity::AtLeast(1),
        syntax: "FILE | stderr | syslog:PARAMETERS [LEVEL]",
        default: "logs/error.log error",
        doc: "Where failures are written.",
        action: Action::Process(|process, args, scope| {
            process.error_log.push(parse_error_log(args, scope)?);
            Ok(())
        }),
        ..LOG
    },
    Directive {
        name: "log_not_found",
        default: "on",
        doc: "Whether files that are not there are written to the error log.",
        action: set!(log_not_found, flag),
        ..FLAG
    },
    Directive {
        name: "log_subrequest",
        default: "off",
        doc: "Whether subrequests are written to the access log.",
        action: set!(log_subrequest, flag),
        ..FLAG
    },
    Directive {
        name: "rewrite_log",
        default: "off",
        doc: "Whether the steps of rewrite are written to the error log at level notice.",
        action: set!(rewrite_log, flag),
        ..PROGRAM
    },
    Directive {
        name: "uninitialized_variable_warn",
        default: "on",
        doc: "Whether the use of a variable that was never set is written to the error log.",
        action: set!(uninitialized_variable_warn, flag),
        ..PROGRAM
    },
];

/// Index of the predefined format, which is added when it is not there.
pub(super) fn combined(scope: &mut Scope<'_>) -> usize {
    let formats = &scope.http.log_formats;
    if let Some(index) = formats.iter().position(|format| format.name == "combined") {
        return index;
    }
    let template = scope
        .template_of(&COMBINED.concat(), Span::default())
        .expect("the predefined format has known variables");
    let format = LogFormat { name: "combined".to_owned(), escape: Escape::Default, template };
    scope.http.log_formats.push(format);
    scope.http.log_formats.len() - 1
}

fn log_format(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let name = args.text(0);
    if scope.http.log_formats.iter().any(|format| format.name == name) {
        let message = format!(r#"duplicate "log_format" name "{name}""#);
        return Err(Problem::new(message)
            .at(args.word(0).span)
            .help("choose another name; combined is predefined"));
    }
    let (escape, first) = match args.key_value(1, "escape") {
        None => (Escape::Default, 1),
        Some("default") => (Escape::Default, 2),
        Some("json") => (Escape::Json, 2),
        Some("none") => (Escape::None, 2),
        Some(other) => {
            return Err(Problem::new(format!(r#"unknown log format escaping "{other}""#))
                .at(args.word(1).span)
                .help("one of default, json, none is expected"));
        }
    };
    let mut parts: Vec<Part> = Vec::new();
    for word in &args.words()[first..] {
        for part in scope.template(word)?.0 {
            match (parts.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
                (_, part) => parts.push(part),
            }
        }
    }
    let format = LogFormat { name: name.to_owned(), escape, template: Template(parts) };
    scope.http.log_formats.push(format);
    Ok(())
}

fn access_log(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let off = "access_log off";
    if scope.first("access_log") {
        settings.access_log.clear();
    }
    if args.text(0) == "off" {
        if args.len() > 1 {
            return Err(args.invalid_parameter(1).help("nothing follows off"));
        }
        scope.meet(off);
        settings.access_log.clear();
        return Ok(());
    }
    let text = args.text(0);
    let target = if let Some(parameters) = text.strip_prefix("syslog:") {
        AccessTarget::Log(LogTarget::Syslog(syslog(parameters, args, scope)?))
    } else if has_variables(text) {
        let full = scope.path(text);
        AccessTarget::Template(scope.template_of(&full, args.word(0).span)?)
    } else {
        AccessTarget::Log(LogTarget::File(scope.path(text)))
    };
    let name = if args.len() > 1 { args.text(1) } else { "combined" };
    let span = args.word(args.len().min(2) - 1).span;
    let format = scope.log_format(name, span)?;
    let log = AccessLog { target, format, buffer: None, flush: None, gzip: None, condition: None };
    let log = access_parameters(log, args, scope)?;
    // `off` wins over everything else on its level.
    if !scope.met(off) {
        settings.access_log.push(log);
    }
    Ok(())
}

fn log_file_cache(settings: &mut Settings, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    const KNOWN: &str = "max=NUMBER, inactive=TIME, min_uses=NUMBER and valid=TIME are known";
    settings.log_file_cache = None;
    if args.text(0) == "off" && args.len() == 1 {
        return Ok(());
    }
    let mut cache = LogFileCache { max: 0, inactive: Millis(10_000), valid: Millis(60_000), min_uses: 1 };
    for i in 0..args.len() {
        let seconds = |text| time(text, Unit::Seconds).map(|seconds| Millis(seconds * 1000));
        let bad = || {
            let message = format!(r#"invalid "open_log_file_cache" parameter "{}""#, args.text(i));
            Problem::new(message).at(args.word(i).span).help(KNOWN)
        };
        let slot = |taken: Option<()>| taken.ok_or_else(bad);
        if let Some(value) = args.key_value(i, "max") {
            slot(number(value).filter(|max| *max > 0).map(|max| cache.max = max))?;
        } else if let Some(value) = args.key_value(i, "inactive") {
            slot(seconds(value).map(|time| cache.inactive = time))?;
        } else if let Some(value) = args.key_value(i, "min_uses") {
            slot(number(value).filter(|uses| *uses > 0).map(|uses| cache.min_uses = uses))?;
        } else if let Some(value) = args.key_value(i, "valid") {
            slot(seconds(value).map(|time| cache.valid = time))?;
        } else {
            return Err(bad());
        }
    }
    if cache.max == 0 {
        let problem =
            Problem::new(r#""open_log_file_cache" must have "max" parameter"#.to_owned()).at(args.span());
        return Err(problem.help("max=NUMBER says how many logs are kept open"));
    }
    settings.log_file_cache = Some(cache);
    Ok(())
}

fn access_parameters(
    mut log: AccessLog,
    args: &Args<'_>,
    scope: &mut Scope<'_>,
) -> Result<AccessLog, Problem> {
    for i in 2..args.len() {
        let span = args.word(i).span;
        let bad = |what: &str, value: &str| Problem::new(format!(r#"invalid {what} "{value}""#)).at(span);
        if let Some(value) = args.key_value(i, "buffer") {
            log.buffer = Some(size(value).filter(|size| *size > 0).ok_or_else(|| bad("buffer size", value))?);
        } else if let Some(value) = args.key_value(i, "flush") {
            let flush = time(value, Unit::Millis).filter(|time| *time > 0);
            log.flush = Some(Millis(flush.ok_or_else(|| bad("flush time", value))?));
        } else if args.text(i) == "gzip" || args.text(i).starts_with("gzip=") {
            let value = args.key_value(i, "gzip").unwrap_or("1");
            let level = number(value).and_then(|level| u8::try_from(level).ok());
            let level = level.filter(|level| (1..=9).contains(level));
            log.gzip = Some(level.ok_or_else(|| bad("compression level", value))?);
            log.buffer = log.buffer.or(Some(64 * 1024));
        } else if let Some(value) = args.key_value(i, "if") {
            log.condition = Some(scope.template_of(value, span)?);
        } else {
            return Err(args.invalid_parameter(i).help("buffer=, gzip, flush= or if= is expected"));
        }
    }
    let refuse = |message: String| Err(Problem::new(message).at(args.word(0).span));
    if log.flush.is_some() && log.buffer.is_none() {
        return refuse(format!(r#"no buffer is defined for access_log "{}""#, args.text(0)));
    }
    match &log.target {
        _ if log.buffer.is_none() => Ok(log),
        AccessTarget::Template(_) => refuse("buffered logs cannot have variables in name".to_owned()),
        AccessTarget::Log(LogTarget::Syslog(_)) => refuse("logs to syslog cannot be buffered".to_owned()),
        AccessTarget::Log(_) => Ok(log),
    }
}

/// An `error_log` line of any level.
fn parse_error_log(args: &Args<'_>, scope: &Scope<'_>) -> Result<ErrorLog, Problem> {
    let text = args.text(0);
    let target = match text.split_once(':') {
        Some(("syslog", parameters)) => LogTarget::Syslog(syslog(parameters, args, scope)?),
        Some(("memory", bytes)) if size(bytes).is_none() => {
            return Err(Problem::new(format!(r#"invalid buffer size "{bytes}""#)).at(args.word(0).span));
        }
        Some(("memory", _)) => LogTarget::Memory,
        _ if text == "stderr" => LogTarget::Stderr,
        _ => LogTarget::File(scope.path(text)),
    };
    let mut level = None;
    for word in &args.words()[1..] {
        let name = word.text.as_str();
        let at = |what: &str| Problem::new(format!(r#"{what} log level "{name}""#)).at(word.span);
        let Some(found) = Level::parse(name) else {
            return Err(at("invalid").help(format!("one of {} is expected", SEVERITIES.join(", "))));
        };
        match level {
            None => level = Some(found),
            // Several `debug_*` masks may stand together.
            Some(Level::Debug) if name.starts_with("debug_") => {}
            Some(_) => return Err(at("duplicate").help("one level is enough; it includes those above it")),
        }
    }
    Ok(ErrorLog { target, level: level.unwrap_or(Level::Error) })
}

/// The parameters behind `syslog:`.
fn syslog(parameters: &str, args: &Args<'_>, scope: &Scope<'_>) -> Result<SyslogTarget, Problem> {
    let span = args.word(0).span;
    let refuse = |message: String| Problem::new(message).at(span);
    let (mut address, mut facility, mut severity, mut tag, mut hostname) = (None, None, None, None, true);
    for parameter in parameters.split(',') {
        let twice = |key: &str| Err(refuse(format!(r#"duplicate syslog "{key}""#)));
        match parameter.split_once('=') {
            Some(("server", _)) if address.is_some() => return twice("server"),
            Some(("server", server)) => address = Some(syslog_address(server, span, scope)?),
            Some(("facility", _)) if facility.is_some() => return twice("facility"),
            Some(("facility", name)) => {
                let index = FACILITIES.iter().position(|known| *known == name);
                facility = Some(index.ok_or_else(|| refuse(format!(r#"unknown syslog facility "{name}""#)))?);
            }
            Some(("severity", _)) if severity.is_some() => return twice("severity"),
            Some(("severity", name)) => {
                let index = SEVERITIES.iter().position(|known| *known == name);
                severity = Some(index.ok_or_else(|| refuse(format!(r#"unknown syslog severity "{name}""#)))?);
            }
            Some(("tag", _)) if tag.is_some() => return twice("tag"),
            Some(("tag", name)) => tag = Some(syslog_tag(name, span)?),
            _ if parameter == "nohostname" => hostname = false,
            _ => return Err(refuse(format!(r#"unknown syslog parameter "{parameter}""#))),
        }
    }
    let address = address
        .ok_or_else(|| refuse("no syslog server specified".to_owned()).help("write syslog:server=ADDRESS"))?;
    // local7 and info; both tables are shorter than 256.
    Ok(SyslogTarget {
        address,
        facility: facility.unwrap_or(23) as u8,
        severity: severity.unwrap_or(6) as u8,
        tag: tag.unwrap_or_else(|| "nginx".to_owned()),
        hostname,
    })
}

fn syslog_tag(name: &str, span: Span) -> Result<String, Problem> {
    if name.len() > 32 {
        return Err(Problem::new("syslog tag length exceeds 32").at(span));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let message = r#"syslog "tag" only allows alphanumeric characters and underscore"#;
        return Err(Problem::new(message).at(span));
    }
    Ok(name.to_owned())
}

/// `host[:port]` resolved, or `unix:/path`.
fn syslog_address(server: &str, span: Span, scope: &Scope<'_>) -> Result<String, Problem> {
    let what = format!(r#"syslog server "{server}""#);
    let authority = Authority::parse(server, false);
    match authority.map_err(|reason| Problem::new(format!("{reason} in {what}")).at(span))? {
        Authority::Unix { path, .. } => Ok(format!("unix:{path}")),
        Authority::Inet { host, port, .. } => {
            let addresses = scope.resolve(host, &what, span)?;
            let address =
                addresses.first().ok_or_else(|| Problem::new(format!("host not found in {what}")))?;
            Ok(std::net::SocketAddr::new(*address, port.unwrap_or(514)).to_string())
        }
    }
}
