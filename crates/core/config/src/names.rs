//! `server_name`, and the host names of `map`.

use weir_model::{MapKey, Server, ServerName};

use crate::args::Args;
use crate::directive::Problem;
use crate::scope::Scope;

/// The directive. It may stand several times; the names add up.
pub(crate) fn server_name(
    server: &mut Server,
    args: &Args<'_>,
    scope: &mut Scope<'_>,
) -> Result<(), Problem> {
    for word in args.words() {
        let text = word.text.as_str();
        let invalid = (text.starts_with('*') && (text.len() < 3 || !text.starts_with("*.")))
            || (text.starts_with('.') && text.len() < 2);
        if invalid {
            return Err(Problem::new(format!(r#"server name "{text}" is invalid"#))
                .at(word.span)
                .help("a name is example.com, *.example.com, www.example.*, .example.com or ~REGEX"));
        }
        if text.contains('/') {
            scope.warn(Problem::new(format!(r#"server name "{text}" has suspicious symbols"#)).at(word.span));
        }
        let name = match text.strip_prefix('~') {
            Some("") => {
                return Err(Problem::new(format!(r#"empty regex in server name "{text}""#)).at(word.span));
            }
            Some(source) => {
                // The host is compared in lower case, so a pattern with capitals could never match otherwise.
                let caseless = source.bytes().any(|byte| byte.is_ascii_uppercase());
                ServerName::Regex(scope.regex(source, caseless, word.span)?)
            }
            None if text.eq_ignore_ascii_case("$hostname") => literal(&scope.env.hostname()),
            None => literal(text),
        };
        server.names.push(name);
    }
    Ok(())
}

fn literal(text: &str) -> ServerName {
    match wildcard(text) {
        MapKey::Suffix(name) => ServerName::Suffix(name),
        MapKey::SuffixOrExact(name) => ServerName::SuffixOrExact(name),
        MapKey::Prefix(name) => ServerName::Prefix(name),
        MapKey::Exact(name) => ServerName::Exact(name),
        MapKey::Regex(_) => unreachable!("a wildcard is never read as a regex"),
    }
}

/// The kind of a host name with an optional wildcard, in lower case. A wildcard in a wrong place gives an
/// exact name, for which [`is_invalid`] holds.
pub(crate) fn wildcard(text: &str) -> MapKey {
    let name = text.to_ascii_lowercase();
    let rest = match (name.strip_prefix("*."), name.strip_suffix(".*"), name.strip_prefix('.')) {
        (Some(rest), _, _) => MapKey::Suffix(rest.to_owned()),
        (_, Some(rest), _) => MapKey::Prefix(rest.to_owned()),
        (_, _, Some(rest)) => MapKey::SuffixOrExact(rest.to_owned()),
        _ => return MapKey::Exact(name),
    };
    match &rest {
        MapKey::Suffix(part) | MapKey::Prefix(part) | MapKey::SuffixOrExact(part)
            if part.is_empty() || is_invalid(part) || part.starts_with('.') =>
        {
            MapKey::Exact(name)
        }
        _ => rest,
    }
}

/// A `*` that stands for no whole label at an end, or an empty label.
pub(crate) fn is_invalid(name: &str) -> bool {
    name.contains('*') || name.contains("..") || (name.len() > 1 && name.starts_with('.'))
}
