//! What is added to and changed in answers, and copies of requests.

use weir_model::Settings;
use weir_model::location::{AddHeader, Expires};

use super::{add_mime_types, choice};
use crate::args::{Args, Unit, time};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HSL, ..Directive::NEW };
const FLAG: Directive = Directive { arguments: Arity::Flag, syntax: "on | off", ..CORE };
const HEADERS: Directive =
    Directive { module: "ngx_http_headers_module", contexts: Contexts::HSLI, repeat: true, ..CORE };
const GZIP: Directive = Directive { module: "ngx_http_gzip_filter_module", ..CORE };
const MIRROR: Directive = Directive { module: "ngx_http_mirror_module", ..CORE };

const PROXIED: [&str; 9] =
    ["off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any"];

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "add_header",
        arguments: Arity::Between(2, 3),
        syntax: "FIELD VALUE [always]",
        doc: "A header field of answers; those with an error get it only with always.",
        action: Action::Setting(|settings, args, scope| {
            let header = added(args, scope)?;
            if scope.first("add_header") {
                settings.response.add_headers.clear();
            }
            settings.response.add_headers.push(header);
            Ok(())
        }),
        ..HEADERS
    },
    Directive {
        name: "add_trailer",
        arguments: Arity::Between(2, 3),
        syntax: "FIELD VALUE [always]",
        doc: "A trailer field of answers in chunks.",
        action: Action::Setting(|settings, args, scope| {
            let header = added(args, scope)?;
            if scope.first("add_trailer") {
                settings.response.add_trailers.clear();
            }
            settings.response.add_trailers.push(header);
            Ok(())
        }),
        ..HEADERS
    },
    Directive {
        name: "expires",
        arguments: Arity::Between(1, 2),
        repeat: false,
        syntax: "[modified] TIME | epoch | max | off",
        default: "off",
        doc: "How long an answer is fresh: its Expires and Cache-Control fields.",
        action: Action::Setting(expires),
        ..HEADERS
    },
    Directive {
        name: "server_tokens",
        syntax: "on | off | build",
        default: "on",
        doc: "Whether the Server field and error pages name a version.",
        action: Action::Setting(|settings, args, _| {
            settings.response.server_tokens = choice(args, 0, &["off", "on", "build"])? != 0;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "absolute_redirect",
        default: "on",
        doc: "Whether redirects that are made here name scheme and host.",
        action: set!(response.absolute_redirect, flag),
        ..FLAG
    },
    Directive {
        name: "server_name_in_redirect",
        default: "off",
        doc: "Whether redirects name the first server_name in place of the request's host.",
        action: set!(response.server_name_in_redirect, flag),
        ..FLAG
    },
    Directive {
        name: "port_in_redirect",
        default: "on",
        doc: "Whether redirects name the port.",
        action: set!(response.port_in_redirect, flag),
        ..FLAG
    },
    Directive {
        name: "msie_padding",
        default: "on",
        doc: "Whether error pages are made long enough for old browsers to show.",
        action: set!(response.msie_padding, flag),
        ..FLAG
    },
    Directive {
        name: "chunked_transfer_encoding",
        default: "on",
        doc: "Whether answers of unknown length are sent in chunks.",
        action: set!(response.chunked_transfer_encoding, flag),
        ..FLAG
    },
    Directive {
        name: "gzip",
        contexts: Contexts::HSLI,
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether answers are compressed.",
        action: set!(response.gzip.on, flag),
        ..GZIP
    },
    Directive {
        name: "gzip_comp_level",
        syntax: "LEVEL",
        default: "1",
        doc: "How hard answers are compressed, from 1 to 9.",
        action: Action::Setting(|settings, args, _| {
            settings.response.gzip.level = super::bounded(args, 1, 9)? as u8;
            Ok(())
        }),
        ..GZIP
    },
    Directive {
        name: "gzip_min_length",
        syntax: "LENGTH",
        default: "20",
        doc: "The length below which answers are not compressed.",
        action: set!(response.gzip.min_length, size),
        ..GZIP
    },
    Directive {
        name: "gzip_types",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "TYPE ...",
        default: "text/html",
        doc: "The types that are compressed; text/html always is.",
        action: Action::Setting(|settings, args, scope| {
            let types = &mut settings.response.gzip.types;
            if scope.first("gzip_types") {
                *types = vec!["text/html".to_owned()];
            }
            add_mime_types(types, args, scope);
            Ok(())
        }),
        ..GZIP
    },
    Directive {
        name: "gzip_http_version",
        module: "ngx_http_core_module",
        syntax: "1.0 | 1.1",
        default: "1.1",
        doc: "The lowest version of requests whose answers are compressed.",
        action: Action::Setting(|settings, args, _| {
            settings.response.gzip.http_1_0 = choice(args, 0, &["1.0", "1.1"])? == 0;
            Ok(())
        }),
        ..GZIP
    },
    Directive {
        name: "gzip_proxied",
        module: "ngx_http_core_module",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "off | expired | no-cache | no-store | private | no_last_modified | no_etag | auth | any ...",
        default: "off",
        doc: "When answers to requests of proxies are compressed.",
        action: Action::Setting(gzip_proxied),
        ..GZIP
    },
    Directive {
        name: "gzip_vary",
        module: "ngx_http_core_module",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether answers that may be compressed say so in the Vary field.",
        action: set!(response.gzip.vary, flag),
        ..GZIP
    },
    Directive {
        name: "gzip_disable",
        module: "ngx_http_core_module",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "REGEX ... | msie6",
        doc: "The browsers for which answers are not compressed.",
        action: Action::Setting(gzip_disable),
        ..GZIP
    },
    Directive {
        name: "charset",
        module: "ngx_http_charset_filter_module",
        contexts: Contexts::HSLI,
        syntax: "CHARSET | off",
        default: "off",
        doc: "The charset that the Content-Type field names.",
        action: Action::Setting(|settings, args, scope| {
            let charset = scope.template(args.word(0))?;
            settings.response.charset = Some(charset).filter(|_| args.text(0) != "off");
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "mirror",
        repeat: true,
        syntax: "URI | off",
        default: "off",
        doc: "The URI to which a copy of each request goes; its answer is dropped.",
        action: Action::Setting(mirror),
        ..MIRROR
    },
    Directive {
        name: "mirror_request_body",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether the copy of a request has its body.",
        action: set!(mirror_request_body, flag),
        ..MIRROR
    },
];

fn added(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<AddHeader, Problem> {
    if args.len() == 3 && args.text(2) != "always" {
        return Err(args.invalid_parameter(2).help("only always may stand here; quote a value with blanks"));
    }
    let value = scope.template(args.word(1))?;
    Ok(AddHeader { name: args.text(0).to_owned(), value, always: args.len() == 3 })
}

fn expires(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let last = args.len() - 1;
    let modified = last == 1;
    if modified && args.text(0) != "modified" {
        return Err(args.slot(0, "invalid value").help("only modified may stand before the time"));
    }
    let value = scope.template(args.word(last))?;
    match value.literal() {
        Some("off") if !modified => {
            settings.response.expires = None;
            return Ok(());
        }
        Some("epoch" | "max") if !modified => {}
        Some(text) => check_expires(text, modified, args)?,
        None => {}
    }
    settings.response.expires = Some(Expires { modified, time: value });
    Ok(())
}

fn check_expires(text: &str, modified: bool, args: &Args<'_>) -> Result<(), Problem> {
    let last = args.len() - 1;
    let daily = text.starts_with('@');
    if daily && modified {
        return Err(args.slot(last, r#"daily time cannot be used with "modified" parameter"#));
    }
    let bare = text.strip_prefix(['@', '+', '-']).unwrap_or(text);
    let seconds = time(bare, Unit::Seconds).ok_or_else(|| {
        args.slot(last, "invalid value")
            .help("a time with an optional sign, @TIME, epoch, max or off is expected")
    })?;
    if daily && seconds > 24 * 60 * 60 {
        return Err(args.slot(last, "daily time value must be less than 24 hours"));
    }
    Ok(())
}

fn gzip_proxied(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let off = "gzip_proxied off";
    let proxied = &mut settings.response.gzip.proxied;
    if scope.first("gzip_proxied") {
        proxied.clear();
    }
    for i in 0..args.len() {
        let word = PROXIED[choice(args, i, &PROXIED)?].to_owned();
        if word == "off" {
            scope.meet(off);
        } else if proxied.contains(&word) {
            scope.warn(Problem::new(format!(r#"duplicate value "{}""#, args.text(i))).at(args.word(i).span));
        } else {
            proxied.push(word);
        }
    }
    if scope.met(off) {
        proxied.clear();
    }
    Ok(())
}

fn gzip_disable(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let gzip = &mut settings.response.gzip;
    if scope.first("gzip_disable") {
        gzip.disable.clear();
        gzip.disable_msie6 = false;
    }
    for word in args.words() {
        if word.text == "msie6" {
            gzip.disable_msie6 = true;
        } else {
            gzip.disable.push(scope.regex(&word.text, true, word.span)?);
        }
    }
    Ok(())
}

fn mirror(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let off = args.text(0) == "off";
    if scope.first("mirror") {
        settings.mirror.clear();
    } else if off || settings.mirror.is_empty() {
        return Err(args.slot(0, "is duplicate").help(r#""off" stands alone"#));
    }
    if !off {
        settings.mirror.push(args.text(0).to_owned());
    }
    Ok(())
}
