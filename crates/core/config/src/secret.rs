//! What is kept out of everything that is shown.

use weir_model::{Admin, Config, Registry, Secret};
use weir_syntax::Span;

use crate::directive::Problem;
use crate::scope::Scope;

/// What stands in the place of a secret that is not shown.
const HIDDEN: &str = "(hidden)";

/// Overwrites the tokens of a configuration with `(hidden)`: what is printed is pasted into tickets, and tokens stay in
/// their files, for those who may read them.
pub fn hide_secrets(config: &mut Config) {
    let upstreams = config.http.iter_mut().flat_map(|http| &mut http.upstreams);
    let stores =
        upstreams.flat_map(|upstream| &mut upstream.sources).filter_map(|one| one.origin.store_mut());
    stores.for_each(|store| hide([&mut store.token]));
    if let Some(Registry { write_token, read_token, .. }) = &mut config.process.registry {
        hide([write_token, read_token]);
    }
    let Admin { write_token, read_token, .. } = &mut config.process.admin;
    hide([write_token, read_token]);
}

/// A token that stands in the file itself.
pub(crate) fn token(text: &str, span: Span) -> Result<Secret, Problem> {
    // A quote counts at the start of a word only, so that this one would be part of the token.
    if text.starts_with(['"', '\'']) {
        return Err(Problem::new("invalid token")
            .at(span)
            .help("put the quotes around the whole word: \"token=...\""));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new("invalid token").at(span).help(
            "visible ASCII characters without spaces are expected, because it travels in a header field",
        ));
    }
    Ok(Secret(text.to_owned()))
}

/// A token that is a file's only line. The file is read when the configuration is.
pub(crate) fn token_file(path: &str, span: Span, scope: &Scope<'_>) -> Result<Secret, Problem> {
    let path = scope.conf_path(path);
    let bytes = scope.env.read(&path).map_err(|error| unreadable("token", &path, &error, span))?;
    let text = String::from_utf8_lossy(&bytes);
    token(text.trim_end_matches(['\r', '\n']), span).map_err(|problem| {
        problem.note(format!("{path} holds {} bytes", bytes.len())).help("the file holds one line: the token")
    })
}

/// The path of a file that has to be there; what is in it is checked when it is used.
pub(crate) fn readable(path: String, what: &str, span: Span, scope: &Scope<'_>) -> Result<String, Problem> {
    match scope.env.read(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(unreadable(what, &path, &error, span)),
    }
}

fn unreadable(what: &str, path: &str, error: &std::io::Error, span: Span) -> Problem {
    Problem::new(format!(r#"cannot load {what} "{path}": {error}"#)).at(span)
}

fn hide<const N: usize>(secrets: [&mut Option<Secret>; N]) {
    secrets.into_iter().flatten().for_each(|Secret(word)| HIDDEN.clone_into(word));
}
