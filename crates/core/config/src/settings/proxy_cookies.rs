//! `proxy_cookie_*`: what is changed in the cookies of answers.

use weir_model::Settings;
use weir_model::proxy::CookieFlags;

use super::proxy::{Pair, pattern};
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const COOKIE: Directive = Directive {
    module: "ngx_http_proxy_module",
    contexts: Contexts::HSL,
    arguments: Arity::Between(1, 2),
    repeat: true,
    default: "off",
    ..Directive::NEW
};

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "proxy_cookie_domain",
        syntax: "off | DOMAIN REPLACEMENT",
        doc: "What is put in place of a domain in the cookies of answers.",
        action: Action::Setting(domain),
        ..COOKIE
    },
    Directive {
        name: "proxy_cookie_path",
        syntax: "off | PATH REPLACEMENT",
        doc: "What is put in place of a path in the cookies of answers.",
        action: Action::Setting(path),
        ..COOKIE
    },
    Directive {
        name: "proxy_cookie_flags",
        arguments: Arity::Between(1, 4),
        syntax: "off | COOKIE [FLAG ...]",
        doc: "The flags that cookies of answers get or lose.",
        action: Action::Setting(flags),
        ..COOKIE
    },
];

const FLAGS: [&str; 9] = [
    "secure",
    "nosecure",
    "httponly",
    "nohttponly",
    "samesite",
    "nosamesite",
    "samesite=strict",
    "samesite=lax",
    "samesite=none",
];

/// Starts or goes on with a list that `off` ends: false when this line was that `off`.
pub(super) fn start<T>(
    list: &mut Vec<T>,
    name: &'static str,
    args: &Args<'_>,
    scope: &mut Scope<'_>,
) -> Result<bool, Problem> {
    let off = args.len() == 1 && args.text(0) == "off";
    if scope.first(name) {
        list.clear();
    } else if off || list.is_empty() {
        return Err(args.slot(0, "is duplicate").help(r#""off" stands alone"#));
    }
    if !off && args.len() == 1 {
        return Err(args.invalid_parameter(0).help("off, or two words are expected"));
    }
    Ok(!off)
}

fn domain(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if !start(&mut settings.proxy.cookie_domain, "proxy_cookie_domain", args, scope)? {
        return Ok(());
    }
    let (from, to) = (args.text(0), args.text(1));
    let pair: Pair = match from.strip_prefix('~') {
        Some(source) => (pattern(args, from, Some((source, true)), scope)?, scope.template(args.word(1))?),
        None => {
            let bare = to.strip_prefix('.').unwrap_or(to);
            let from = from.strip_prefix('.').unwrap_or(from);
            (pattern(args, from, None, scope)?, scope.template_of(bare, args.word(1).span)?)
        }
    };
    settings.proxy.cookie_domain.push(pair);
    Ok(())
}

fn path(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if !start(&mut settings.proxy.cookie_path, "proxy_cookie_path", args, scope)? {
        return Ok(());
    }
    let from = args.text(0);
    let regex = match (from.strip_prefix("~*"), from.strip_prefix('~')) {
        (Some(source), _) => Some((source, true)),
        (None, Some(source)) => Some((source, false)),
        (None, None) => None,
    };
    let pair: Pair = (pattern(args, from, regex, scope)?, scope.template(args.word(1))?);
    settings.proxy.cookie_path.push(pair);
    Ok(())
}

fn flags(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if !start(&mut settings.proxy.cookie_flags, "proxy_cookie_flags", args, scope)? {
        return Ok(());
    }
    let name = args.text(0);
    let cookie = pattern(args, name, name.strip_prefix('~').map(|source| (source, true)), scope)?;
    let mut flags = Vec::new();
    for word in &args.words()[1..] {
        if !word.text.contains('$') && !FLAGS.iter().any(|flag| flag.eq_ignore_ascii_case(&word.text)) {
            // nginx takes the word and logs an error at each answer.
            let warning = Problem::new(format!(r#"unknown cookie flag "{}" has no effect"#, word.text));
            scope.warn(warning.at(word.span).help(format!("the flags are {}", FLAGS.join(", "))));
        }
        flags.push(scope.template(word)?);
    }
    settings.proxy.cookie_flags.push(CookieFlags { cookie, flags });
    Ok(())
}
