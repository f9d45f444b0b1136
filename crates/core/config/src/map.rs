//! The `map` block.

use std::collections::HashSet;

use weir_model::{Map, MapKey, Template, VariableSource};
use weir_syntax::Directive as Node;

use crate::args::Args;
use crate::directive::Problem;
use crate::names::{is_invalid, wildcard};
use crate::scope::Scope;

/// Lowers one block; its variable is known from here on.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node) -> Result<(), Problem> {
    let args = Args::new(node);
    let input = scope.template(args.word(0))?;
    let index = scope.http.maps.len();
    scope.variables.define(args.word(1), VariableSource::Map(index))?;
    let mut map =
        Map { input, entries: Vec::new(), default: Template::default(), volatile: false, hostnames: false };
    let mut state = State::default();
    for node in args.body() {
        scope.current = Some(node.span);
        if let Err(problem) = line(&mut map, &mut state, node, scope) {
            scope.error(node, problem);
        }
    }
    scope.http.maps.push(map);
    Ok(())
}

#[derive(Default)]
struct State {
    default: bool,
    /// Keys in lower case with their wildcards.
    keys: HashSet<String>,
}

fn line(map: &mut Map, state: &mut State, node: &Node, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if node.block.is_some() {
        return Err(Problem::new(r#"unexpected "{""#));
    }
    let (key, args) = (node.name.text.as_str(), Args::new(node));
    match (key, args.len()) {
        ("hostnames", 0) => {
            map.hostnames = true;
            return Ok(());
        }
        ("volatile", 0) => {
            map.volatile = true;
            return Ok(());
        }
        (_, 1) => {}
        _ => {
            return Err(Problem::new("invalid number of the map parameters")
                .help("a line is KEY VALUE; words with spaces need quotes"));
        }
    }
    let value = scope.template(args.word(0))?;
    if key == "default" {
        if state.default {
            return Err(Problem::new("duplicate default map parameter"));
        }
        state.default = true;
        map.default = value;
        return Ok(());
    }
    let key = match key.strip_prefix('~') {
        Some(source) => {
            let (source, caseless) = source.strip_prefix('*').map_or((source, false), |rest| (rest, true));
            MapKey::Regex(scope.regex(source, caseless, node.name.span)?)
        }
        None => {
            let text = key.strip_prefix('\\').unwrap_or(key);
            fresh(&mut state.keys, text)?;
            match map.hostnames {
                false => MapKey::Exact(text.to_ascii_lowercase()),
                true => match wildcard(text) {
                    MapKey::Exact(name) if is_invalid(&name) => {
                        return Err(Problem::new(format!(r#"invalid hostname or wildcard "{text}""#)));
                    }
                    key => key,
                },
            }
        }
    };
    map.entries.push((key, value));
    Ok(())
}

fn fresh(keys: &mut HashSet<String>, text: &str) -> Result<(), Problem> {
    if keys.insert(text.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(Problem::new(format!(r#"conflicting parameter "{text}""#)).help("keys are compared without case"))
}
