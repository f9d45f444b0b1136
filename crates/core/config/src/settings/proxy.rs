//! `proxy_*`: how requests are sent to a group and answers are read.

use weir_model::{NextUpstream, Proxy, Settings, Template, proxy};

use super::{choice, number, size};
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const PROXY: Directive =
    Directive { module: "ngx_http_proxy_module", contexts: Contexts::HSL, ..Directive::NEW };
const FLAG: Directive = Directive { arguments: Arity::Flag, syntax: "on | off", ..PROXY };

const EVENTS: [&str; 13] = [
    "error",
    "timeout",
    "invalid_header",
    "non_idempotent",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "updating",
    "off",
];

const IGNORABLE: [&str; 9] = [
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "Expires",
    "Cache-Control",
    "Set-Cookie",
    "Vary",
];

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "proxy_connect_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a connection to a peer may take to be made.",
        action: set!(proxy.connect_timeout, time),
        ..PROXY
    },
    Directive {
        name: "proxy_send_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a peer may take between two reads of the request.",
        action: set!(proxy.send_timeout, time),
        ..PROXY
    },
    Directive {
        name: "proxy_read_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a peer may be silent before its answer is given up.",
        action: set!(proxy.read_timeout, time),
        ..PROXY
    },
    Directive {
        name: "proxy_buffering",
        default: "on",
        doc: "Whether answers are read ahead of what the client takes.",
        action: set!(proxy.buffering, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_request_buffering",
        default: "on",
        doc: "Whether the whole request body is read before a peer is asked.",
        action: set!(proxy.request_buffering, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_ignore_client_abort",
        default: "off",
        doc: "Whether a request goes on when its client has gone.",
        action: set!(proxy.ignore_client_abort, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_intercept_errors",
        default: "off",
        doc: "Whether error_page applies to answers of peers with status 300 and above.",
        action: set!(proxy.intercept_errors, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_pass_request_headers",
        default: "on",
        doc: "Whether the client's header fields are sent on.",
        action: set!(proxy.pass_request_headers, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_pass_request_body",
        default: "on",
        doc: "Whether the client's body is sent on.",
        action: set!(proxy.pass_request_body, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_pass_trailers",
        default: "off",
        doc: "Whether trailer fields of answers are sent on.",
        action: set!(proxy.pass_trailers, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_force_ranges",
        default: "off",
        doc: "Whether byte ranges are cut from answers whose peer does not offer them.",
        action: set!(proxy.force_ranges, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_socket_keepalive",
        default: "off",
        doc: "Whether TCP keepalive probes run on connections to peers.",
        action: set!(proxy.socket_keepalive, flag),
        ..FLAG
    },
    Directive {
        name: "proxy_http_version",
        syntax: "1.0 | 1.1",
        default: "1.1",
        doc: "The protocol version in which peers are asked.",
        action: Action::Setting(http_version),
        ..PROXY
    },
    Directive {
        name: "proxy_buffer_size",
        syntax: "SIZE",
        default: "4k",
        doc: "The buffer into which the head of an answer must fit.",
        action: Action::Setting(|settings, args, scope| {
            let bytes = args.size(0)?;
            resize(&mut settings.proxy, scope, |proxy| proxy.buffer_size = bytes);
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_buffers",
        arguments: Arity::Exactly(2),
        syntax: "NUMBER SIZE",
        default: "8 4k",
        doc: "Number and size of the buffers for the body of an answer.",
        action: Action::Setting(|settings, args, scope| {
            let buffers = args.buffers(0)?;
            resize(&mut settings.proxy, scope, |proxy| proxy.buffers = buffers);
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_busy_buffers_size",
        syntax: "SIZE",
        default: "8k",
        doc: "How much of an answer may wait for the client while more of it is read.",
        action: set!(proxy.busy_buffers_size, size),
        ..PROXY
    },
    Directive {
        name: "proxy_max_temp_file_size",
        syntax: "SIZE",
        default: "1024m",
        doc: "How much of an answer may go to a temporary file; 0 keeps answers in memory.",
        action: set!(proxy.max_temp_file_size, size),
        ..PROXY
    },
    Directive {
        name: "proxy_temp_file_write_size",
        syntax: "SIZE",
        default: "8k",
        doc: "How much is written to a temporary file at once.",
        action: set!(proxy.temp_file_write_size, size),
        ..PROXY
    },
    Directive {
        name: "proxy_temp_path",
        arguments: Arity::Between(1, 4),
        syntax: "FOLDER [LEVEL1 [LEVEL2 [LEVEL3]]]",
        default: "proxy_temp",
        doc: "The folder of temporary files for answers.",
        action: Action::Setting(|settings, args, scope| {
            settings.proxy.temp_path = super::files::temp_path(args, scope)?;
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_limit_rate",
        syntax: "RATE",
        default: "0",
        doc: "Bytes per second that are read from a peer; 0 sets no limit.",
        action: Action::Setting(|settings, args, scope| {
            settings.proxy.limit_rate = size(args, scope)?;
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_bind",
        arguments: Arity::Between(1, 2),
        syntax: "ADDRESS [transparent] | off",
        default: "off",
        doc: "The local address of connections to peers.",
        action: Action::Setting(bind),
        ..PROXY
    },
    Directive {
        name: "proxy_method",
        syntax: "METHOD",
        doc: "The method with which peers are asked in place of the client's.",
        action: Action::Setting(|settings, args, scope| {
            settings.proxy.method = Some(scope.template(args.word(0))?);
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_set_body",
        syntax: "VALUE",
        doc: "The body that is sent in place of the client's.",
        action: Action::Setting(|settings, args, scope| {
            settings.proxy.set_body = Some(scope.template(args.word(0))?);
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_set_header",
        arguments: Arity::Exactly(2),
        repeat: true,
        syntax: "FIELD VALUE",
        default: "Host $proxy_host",
        doc: "A header field of the request to a peer; an empty value leaves it out.",
        action: Action::Setting(|settings, args, scope| {
            let value = scope.template(args.word(1))?;
            if scope.first("proxy_set_header") {
                settings.proxy.set_headers.clear();
            }
            settings.proxy.set_headers.push((args.text(0).to_owned(), value));
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_hide_header",
        repeat: true,
        syntax: "FIELD",
        doc: "A header field of answers that is not sent on.",
        action: Action::Setting(|settings, args, scope| {
            if scope.first("proxy_hide_header") {
                settings.proxy.hide_headers.clear();
            }
            settings.proxy.hide_headers.push(args.text(0).to_ascii_lowercase());
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_pass_header",
        repeat: true,
        syntax: "FIELD",
        doc: "A header field of answers that is sent on although it is hidden by default.",
        action: Action::Setting(|settings, args, scope| {
            if scope.first("proxy_pass_header") {
                settings.proxy.pass_headers.clear();
            }
            settings.proxy.pass_headers.push(args.text(0).to_ascii_lowercase());
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_ignore_headers",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "FIELD ...",
        doc: "Header fields of answers that control nothing here.",
        action: Action::Setting(ignore_headers),
        ..PROXY
    },
    Directive {
        name: "proxy_next_upstream",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "error | timeout | invalid_header | http_STATUS | non_idempotent | off ...",
        default: "error timeout",
        doc: "The events after which a request is sent to the next peer.",
        action: Action::Setting(next_upstream),
        ..PROXY
    },
    Directive {
        name: "proxy_next_upstream_tries",
        syntax: "NUMBER",
        default: "0",
        doc: "How many peers are tried; 0 tries them all.",
        action: Action::Setting(|settings, args, _| {
            settings.proxy.next_upstream_tries = number(args, 0)?;
            Ok(())
        }),
        ..PROXY
    },
    Directive {
        name: "proxy_next_upstream_timeout",
        syntax: "TIME",
        default: "0",
        doc: "How long peers are tried; 0 sets no limit.",
        action: set!(proxy.next_upstream_timeout, time),
        ..PROXY
    },
];

/// The larger of the head's buffer and one of the body's.
fn unit(proxy: &Proxy) -> u64 {
    proxy.buffer_size.max(proxy.buffers.1)
}

/// Changes a buffer. Sizes that nobody set are twice the larger buffer and follow it; an inherited value
/// counts as set when it differs from that.
fn resize(proxy: &mut Proxy, scope: &Scope<'_>, change: impl FnOnce(&mut Proxy)) {
    let before = unit(proxy).saturating_mul(2);
    let busy = proxy.busy_buffers_size == before && !scope.met("proxy_busy_buffers_size");
    let write = proxy.temp_file_write_size == before && !scope.met("proxy_temp_file_write_size");
    change(proxy);
    let after = unit(proxy).saturating_mul(2);
    if busy {
        proxy.busy_buffers_size = after;
    }
    if write {
        proxy.temp_file_write_size = after;
    }
}

/// nginx's relations between the sizes.
pub(super) fn check_buffers(proxy: &Proxy) -> Result<(), Problem> {
    const LARGEST: &str = r#"the maximum of the value of "proxy_buffer_size" and one of the "proxy_buffers""#;
    let (count, each) = proxy.buffers;
    let unit = unit(proxy);
    let busy = proxy.busy_buffers_size;
    let most = u64::from(count.saturating_sub(1)).saturating_mul(each);
    if count < 2 {
        return Err(Problem::new(r#"there must be at least 2 "proxy_buffers""#));
    }
    if busy < unit {
        let message = format!(r#""proxy_busy_buffers_size" must be equal to or greater than {LARGEST}"#);
        return Err(
            Problem::new(message).help(format!("it is {busy}; set it to {unit} at least, {most} at most"))
        );
    }
    if busy > most {
        let message =
            r#""proxy_busy_buffers_size" must be less than the size of all "proxy_buffers" minus one buffer"#;
        let need = busy.div_ceil(each.max(1)) + 1;
        return Err(Problem::new(message).help(format!(
            "it is {busy} (twice the larger of proxy_buffer_size and one buffer when it is not set) and {count} \
             buffers of {each} leave {most}; set proxy_busy_buffers_size to {most}, or proxy_buffers to {need} {each}"
        )));
    }
    if proxy.temp_file_write_size < unit {
        let message = format!(r#""proxy_temp_file_write_size" must be equal to or greater than {LARGEST}"#);
        return Err(Problem::new(message)
            .help(format!("it is {}; set it to {unit} at least", proxy.temp_file_write_size)));
    }
    if proxy.max_temp_file_size != 0 && proxy.max_temp_file_size < unit {
        let message = format!(
            r#""proxy_max_temp_file_size" must be equal to zero to disable temporary files usage or must be equal to or greater than {LARGEST}"#
        );
        return Err(Problem::new(message)
            .help(format!("it is {}; set it to 0, or to {unit} at least", proxy.max_temp_file_size)));
    }
    Ok(())
}

fn http_version(settings: &mut Settings, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    settings.proxy.http_1_0 = match choice(args, 0, &["1.0", "1.1", "2"])? {
        0 => true,
        1 => false,
        _ => {
            let message = r#""proxy_http_version 2" is not supported by this version of Weir"#;
            return Err(Problem::new(message)
                .at(args.word(0).span)
                .help("peers are asked in HTTP/1.0 or HTTP/1.1"));
        }
    };
    Ok(())
}

fn bind(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let text = args.text(0);
    if args.len() == 1 && text == "off" {
        settings.proxy.bind = None;
        return Ok(());
    }
    let address = scope.template(args.word(0))?;
    if address.literal().is_some_and(|text| !is_address(text)) {
        return Err(Problem::new(format!(r#"invalid address "{text}""#))
            .at(args.word(0).span)
            .help("an IP address with an optional port is expected"));
    }
    if args.len() == 2 && args.text(1) != "transparent" {
        return Err(args.invalid_parameter(1).help("only transparent may stand here"));
    }
    settings.proxy.bind = Some(proxy::Bind { address, transparent: args.len() == 2 });
    Ok(())
}

fn is_address(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<std::net::SocketAddr>().is_ok() || bare.parse::<std::net::IpAddr>().is_ok()
}

fn ignore_headers(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.first("proxy_ignore_headers") {
        settings.proxy.ignore_headers.clear();
    }
    for i in 0..args.len() {
        let name = IGNORABLE[choice(args, i, &IGNORABLE)?].to_ascii_lowercase();
        if settings.proxy.ignore_headers.contains(&name) {
            scope.warn(Problem::new(format!(r#"duplicate value "{}""#, args.text(i))).at(args.word(i).span));
        } else {
            settings.proxy.ignore_headers.push(name);
        }
    }
    Ok(())
}

fn next_upstream(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.first("proxy_next_upstream") {
        settings.proxy.next_upstream = NextUpstream::OFF;
    }
    let off = "proxy_next_upstream off";
    for i in 0..args.len() {
        let next = &mut settings.proxy.next_upstream;
        let event = match EVENTS[choice(args, i, &EVENTS)?] {
            "error" => &mut next.error,
            "timeout" => &mut next.timeout,
            "invalid_header" => &mut next.invalid_header,
            "non_idempotent" => &mut next.non_idempotent,
            "http_500" => &mut next.http_500,
            "http_502" => &mut next.http_502,
            "http_503" => &mut next.http_503,
            "http_504" => &mut next.http_504,
            "http_403" => &mut next.http_403,
            "http_404" => &mut next.http_404,
            "http_429" => &mut next.http_429,
            // Only a cache asks about it.
            "updating" => continue,
            _ => {
                scope.meet(off);
                continue;
            }
        };
        if std::mem::replace(event, true) {
            scope.warn(Problem::new(format!(r#"duplicate value "{}""#, args.text(i))).at(args.word(i).span));
        }
    }
    // `off` wins over everything else on its level.
    if scope.met(off) {
        settings.proxy.next_upstream = NextUpstream::OFF;
    }
    Ok(())
}

/// Text with variables, or a regular expression behind a `~`, as the left side of a rewriting directive.
pub(super) fn pattern(
    args: &Args<'_>,
    text: &str,
    regex: Option<(&str, bool)>,
    scope: &mut Scope<'_>,
) -> Result<proxy::CookiePattern, Problem> {
    let span = args.word(0).span;
    Ok(match regex {
        Some((source, caseless)) => proxy::CookiePattern::Regex(scope.regex(source, caseless, span)?),
        None => proxy::CookiePattern::Text(scope.template_of(text, span)?),
    })
}

/// The two sides of a rewriting directive.
pub(super) type Pair = (proxy::CookiePattern, Template);
