//! `proxy_redirect`: what is changed in the Location and Refresh fields of answers.

use weir_model::proxy::{CookiePattern, Redirects};
use weir_model::{Handler, Location, ProxyTarget, Template};

use super::proxy::{Pair, pattern};
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

pub(crate) const DIRECTIVES: &[Directive] = &[Directive {
    name: "proxy_redirect",
    module: "ngx_http_proxy_module",
    contexts: Contexts::HSL,
    arguments: Arity::Between(1, 2),
    repeat: true,
    syntax: "default | off | REDIRECT REPLACEMENT",
    default: "default",
    doc: "What is put in place of the start of Location and Refresh fields of answers.",
    action: Action::Location(redirect),
    ..Directive::NEW
}];

fn redirect(location: &mut Location, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let first = scope.first("proxy_redirect");
    let duplicate = || Err(args.slot(0, "is duplicate").help(r#""off" stands alone"#));
    if !first && location.settings.proxy.redirect == Redirects::Off {
        return duplicate();
    }
    let default = match (args.len(), args.text(0)) {
        (1, "off") if first => {
            location.settings.proxy.redirect = Redirects::Off;
            return Ok(());
        }
        (1, "off") => return duplicate(),
        (1, "default") => true,
        (1, _) => return Err(args.invalid_parameter(0).help("default, off, or two words are expected")),
        _ => false,
    };
    let pair = if default { default_pair(location, args)? } else { written_pair(args, scope)? };
    let redirects = &mut location.settings.proxy.redirect;
    match redirects {
        Redirects::List(list) if !first => list.push(pair),
        _ => *redirects = Redirects::List(vec![pair]),
    }
    Ok(())
}

/// From the URL of `proxy_pass` to the location's name, or to `/` when the URL has no URI part.
fn default_pair(location: &Location, args: &Args<'_>) -> Result<Pair, Problem> {
    let Handler::Proxy(pass) = &location.handler else {
        let message = r#""proxy_redirect default" should be placed after the "proxy_pass" directive"#;
        return Err(Problem::new(message).help("it is the default; the line can be left out"));
    };
    let ProxyTarget::Group { uri, .. } = &pass.target else {
        let message = r#""proxy_redirect default" cannot be used with "proxy_pass" directive with variables"#;
        return Err(Problem::new(message).at(args.span()).help("write both sides: proxy_redirect FROM TO"));
    };
    let (from, to) = match uri {
        Some(_) => (pass.url.clone(), location.kind.name()),
        None => (format!("{}/", pass.url), "/"),
    };
    Ok((CookiePattern::Text(Template::text(&from)), Template::text(to)))
}

fn written_pair(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Pair, Problem> {
    let from = args.text(0);
    let regex = match (from.strip_prefix("~*"), from.strip_prefix('~')) {
        (Some(source), _) => Some((source, true)),
        (None, Some(source)) => Some((source, false)),
        (None, None) => None,
    };
    Ok((pattern(args, from, regex, scope)?, scope.template(args.word(1))?))
}
