//! Changes to a peer's Location, Refresh and Set-Cookie on their way to the client.

use weir_model::proxy::{CookieFlags, CookiePattern, Redirects};
use weir_model::{ProxyTarget, Template};

use crate::evaluate::Scope;
use crate::request::Request;
use crate::site::{Matcher, Place};

/// `proxy_redirect` on a Location value; `None` leaves it as it is.
pub fn location(request: &mut Request, scope: Scope<'_>, place: &Place, value: &[u8]) -> Option<Vec<u8>> {
    match &place.settings.proxy.redirect {
        Redirects::Off => None,
        Redirects::Default => default_redirect(place, value),
        Redirects::List(list) => {
            first_hit(request, scope, list, &place.redirect_matchers, value, Rule::Prefix)
        }
    }
}

/// `proxy_redirect` on a Refresh value: what follows `url=`.
pub fn refresh(request: &mut Request, scope: Scope<'_>, place: &Place, value: &[u8]) -> Option<Vec<u8>> {
    let at = value.windows(4).position(|window| window.eq_ignore_ascii_case(b"url="))? + 4;
    let changed = location(request, scope, place, value.get(at..)?)?;
    let mut out = value.get(..at)?.to_vec();
    out.extend_from_slice(&changed);
    Some(out)
}

fn default_redirect(place: &Place, value: &[u8]) -> Option<Vec<u8>> {
    let weir_model::Handler::Proxy(pass) = &place.handler else { return None };
    let ProxyTarget::Group { uri, .. } = &pass.target else { return None };
    // Without a URI part only the scheme and host go; with one, the location's name takes their place.
    let (from, to): (&[u8], &[u8]) = match uri {
        None => (pass.url.as_bytes(), b"/"),
        Some(_) => (pass.url.as_bytes(), place.kind.name().as_bytes()),
    };
    let rest = strip_prefix_caseless(value, from)?;
    let rest = if uri.is_none() { rest.strip_prefix(b"/")? } else { rest };
    Some([to, rest].concat())
}

fn strip_prefix_caseless<'a>(value: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A text pattern is a prefix; the rest of the value stays.
    Prefix,
    /// A text pattern is a whole domain, with or without a leading dot.
    Domain,
}

fn first_hit(
    request: &mut Request,
    scope: Scope<'_>,
    list: &[(CookiePattern, Template)],
    matchers: &[Option<Matcher>],
    value: &[u8],
    rule: Rule,
) -> Option<Vec<u8>> {
    for (index, (from, to)) in list.iter().enumerate() {
        let rest = match (from, matchers.get(index)) {
            (CookiePattern::Text(template), _) => {
                let pattern = request.expanded(scope, template);
                match rule {
                    Rule::Prefix => match value.strip_prefix(pattern.as_slice()) {
                        Some(rest) => rest.to_vec(),
                        None => continue,
                    },
                    Rule::Domain => {
                        let bare = value.strip_prefix(b".").unwrap_or(value);
                        let pattern = pattern.strip_prefix(b".").unwrap_or(&pattern);
                        if !bare.eq_ignore_ascii_case(pattern) {
                            continue;
                        }
                        // A leading dot stays.
                        let dot = value.get(..value.len() - bare.len()).unwrap_or_default();
                        return Some([dot, &request.expanded(scope, to)].concat());
                    }
                }
            }
            (CookiePattern::Regex(_), Some(Some(matcher))) => {
                if !matcher.pattern.captures(value, &mut request.captures) {
                    continue;
                }
                request.matched(matcher, value);
                Vec::new()
            }
            (CookiePattern::Regex(_), _) => continue,
        };
        let mut out = request.expanded(scope, to);
        out.extend_from_slice(&rest);
        return Some(out);
    }
    None
}

/// One `name=value` of a Set-Cookie header.
struct Attribute {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags` on a Set-Cookie value; `None` leaves
/// it as it is.
pub fn set_cookie(request: &mut Request, scope: Scope<'_>, place: &Place, value: &[u8]) -> Option<Vec<u8>> {
    let proxy = &place.settings.proxy;
    if proxy.cookie_domain.is_empty() && proxy.cookie_path.is_empty() && proxy.cookie_flags.is_empty() {
        return None;
    }
    let mut attributes: Vec<Attribute> = value.split(|&byte| byte == b';').map(attribute).collect();
    attributes.first()?.value.as_ref()?;
    let mut changed = false;
    for attribute in attributes.iter_mut().skip(1) {
        let Some(value) = &attribute.value else { continue };
        let new = if attribute.name.eq_ignore_ascii_case(b"domain") {
            first_hit(
                request,
                scope,
                &proxy.cookie_domain,
                &place.cookie_domain_matchers,
                value,
                Rule::Domain,
            )
        } else if attribute.name.eq_ignore_ascii_case(b"path") {
            first_hit(request, scope, &proxy.cookie_path, &place.cookie_path_matchers, value, Rule::Prefix)
        } else {
            None
        };
        if let Some(new) = new {
            attribute.value = Some(new);
            changed = true;
        }
    }
    changed |= cookie_flags(request, scope, place, &mut attributes);
    changed.then(|| joined(&attributes))
}

fn attribute(text: &[u8]) -> Attribute {
    let trim = |text: &[u8]| -> Vec<u8> {
        let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
        let end = text.iter().rposition(|&byte| byte != b' ').map_or(start, |at| at + 1);
        text.get(start..end).unwrap_or_default().to_vec()
    };
    match memchr::memchr(b'=', text) {
        Some(at) => Attribute { name: trim(&text[..at]), value: Some(trim(&text[at + 1..])) },
        None => Attribute { name: trim(text), value: None },
    }
}

fn joined(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&attribute.name);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

fn cookie_flags(
    request: &mut Request,
    scope: Scope<'_>,
    place: &Place,
    attributes: &mut Vec<Attribute>,
) -> bool {
    let Some(name) = attributes.first().map(|first| first.name.clone()) else { return false };
    let Some(line) = matching_flags(request, scope, place, &name) else { return false };
    let flags: Vec<String> = line
        .flags
        .iter()
        .map(|flag| String::from_utf8_lossy(&request.expanded(scope, flag)).to_ascii_lowercase())
        .collect();
    let mut changed = false;
    for flag in flags {
        let (name, value, remove): (&str, Option<&str>, bool) = match flag.as_str() {
            "secure" => ("Secure", None, false),
            "nosecure" => ("Secure", None, true),
            "httponly" => ("HttpOnly", None, false),
            "nohttponly" => ("HttpOnly", None, true),
            "samesite=strict" => ("SameSite", Some("Strict"), false),
            "samesite=lax" => ("SameSite", Some("Lax"), false),
            "samesite=none" => ("SameSite", Some("None"), false),
            "nosamesite" => ("SameSite", None, true),
            _ => continue,
        };
        changed = true;
        let found = attributes
            .iter()
            .position(|attribute| attribute.name.eq_ignore_ascii_case(name.as_bytes()))
            .filter(|&at| at > 0);
        let value = value.map(|value| value.as_bytes().to_vec());
        match (found, remove) {
            (Some(at), true) => drop(attributes.remove(at)),
            (None, true) => {}
            (Some(at), false) => {
                if let (Some(attribute), Some(new)) = (attributes.get_mut(at), &value)
                    && !attribute.value.as_ref().is_some_and(|old| old.eq_ignore_ascii_case(new))
                {
                    attribute.name = name.as_bytes().to_vec();
                    attribute.value = value;
                }
            }
            (None, false) => attributes.push(Attribute { name: name.as_bytes().to_vec(), value }),
        }
    }
    changed
}

fn matching_flags<'a>(
    request: &mut Request,
    scope: Scope<'_>,
    place: &'a Place,
    cookie: &[u8],
) -> Option<&'a CookieFlags> {
    let lines = &place.settings.proxy.cookie_flags;
    for (index, line) in lines.iter().enumerate() {
        let hit = match (&line.cookie, place.cookie_flag_matchers.get(index)) {
            (CookiePattern::Text(template), _) => {
                request.expanded(scope, template).eq_ignore_ascii_case(cookie)
            }
            (CookiePattern::Regex(_), Some(Some(matcher))) => {
                let hit = matcher.pattern.captures(cookie, &mut request.captures);
                if hit {
                    request.matched(matcher, cookie);
                }
                hit
            }
            (CookiePattern::Regex(_), _) => false,
        };
        if hit {
            return Some(line);
        }
    }
    None
}
