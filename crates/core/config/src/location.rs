//! The `location`, `if` and `limit_except` blocks, and what belongs to one location alone.

use std::collections::HashMap;

use weir_model::{Handler, Location, LocationId, LocationKind, Part, Rewrite};
use weir_syntax::{Directive as Node, Severity, Span};

use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::lower::{Level, Pending, Target, run};
use crate::scope::{Scope, line};
use crate::server::push;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::LOCATION, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "location",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arguments: Arity::Between(1, 2),
        block: true,
        repeat: true,
        syntax: "[= | ~ | ~* | ^~] URI | @NAME",
        doc: "What is done with the requests whose path matches.",
        action: Action::Block(Block::Location),
        ..CORE
    },
    Directive {
        name: "limit_except",
        arguments: Arity::AtLeast(1),
        block: true,
        syntax: "METHOD ...",
        doc: "Settings for requests with any other method.",
        action: Action::Block(Block::LimitExcept),
        ..CORE
    },
    Directive {
        name: "internal",
        arguments: Arity::None,
        doc: "Makes a location answer 404 to clients; redirects inside the server reach it.",
        action: Action::Location(|location, _, _| {
            location.internal = true;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "stub_status",
        module: "ngx_http_stub_status_module",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arguments: Arity::Between(0, 1),
        repeat: true,
        doc: "Answers with the numbers of connections and requests.",
        action: Action::Location(|location, _, _| {
            location.handler = Handler::StubStatus;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "empty_gif",
        module: "ngx_http_empty_gif_module",
        arguments: Arity::None,
        repeat: true,
        doc: "Answers with a transparent image of one pixel.",
        action: Action::Location(|location, _, _| {
            location.handler = Handler::EmptyGif;
            Ok(())
        }),
        ..CORE
    },
];

/// The methods that `limit_except` knows.
const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
    "CONNECT",
];

/// A location as it stands before its first directive: what is inherited, and nothing else.
pub(crate) fn below(outer: &Location, kind: LocationKind) -> Location {
    let mut settings = outer.settings.clone();
    settings.files.try_files = None;
    Location {
        kind,
        children: Vec::new(),
        rewrite: Vec::new(),
        handler: Handler::Static,
        internal: outer.internal,
        limit_except: None,
        settings,
    }
}

/// The end of a level's own directives. The level is still open.
pub(crate) fn finish(scope: &mut Scope<'_>, node: &Node, location: &mut Location) {
    if let Err(problem) = crate::settings::finish(&mut location.settings, scope) {
        scope.merge_error(node, problem);
    }
}

/// Enters the blocks of a level that has been pushed as `outer`.
pub(crate) fn enter_blocks(
    scope: &mut Scope<'_>,
    outer: LocationId,
    blocks: Vec<Pending<'_>>,
    context: Contexts,
) {
    let mut children = Vec::new();
    let mut names: HashMap<(bool, String), Span> = HashMap::new();
    for pending in blocks {
        let node = pending.directive;
        match pending.block {
            Block::Location => {
                let Some(id) = lower(scope, node, outer) else { continue };
                children.push(id);
                let key = match &scope.http.locations[id.0 as usize].kind {
                    LocationKind::Exact(name) => (true, name.clone()),
                    LocationKind::Prefix(name) | LocationKind::PrefixNoRegex(name) => (false, name.clone()),
                    _ => continue,
                };
                if names.contains_key(&key) {
                    let problem = Problem::new(format!(r#"duplicate location "{}""#, key.1)).at(line(node));
                    scope.note_when_http_ends(Severity::Error, problem);
                }
                names.insert(key, node.span);
            }
            Block::LimitExcept => limit_except(scope, node, outer),
            Block::If => lower_if(scope, node, outer, pending.step, context),
            _ => {}
        }
    }
    scope.http.locations[outer.0 as usize].children = children;
}

fn lower(scope: &mut Scope<'_>, node: &Node, outer: LocationId) -> Option<LocationId> {
    scope.current = Some(node.span);
    let kind = kind(&Args::new(node), scope).and_then(|kind| {
        let parent = &scope.http.locations[outer.0 as usize].kind;
        check_nesting(parent, &kind).map(|()| kind)
    });
    let kind = match kind {
        Ok(kind) => kind,
        Err(problem) => {
            scope.error(node, problem);
            return None;
        }
    };
    let parent = &scope.http.locations[outer.0 as usize];
    let parent_name = parent.kind.name().to_owned();
    let level = Level { location: below(parent, kind), server: crate::server::defaults() };
    let (id, blocks) = level_of(scope, node, level, Contexts::LOCATION, &parent_name);
    enter_blocks(scope, id, blocks, Contexts::LOCATION);
    Some(id)
}

/// Reads a level's own directives and pushes it.
fn level_of<'a>(
    scope: &mut Scope<'_>,
    node: &'a Node,
    mut level: Level,
    context: Contexts,
    parent_name: &str,
) -> (LocationId, Vec<Pending<'a>>) {
    scope.enter();
    let body = node.block.as_deref().unwrap_or_default();
    let blocks = run(scope, body, context, &mut Target::Level(&mut level));
    finish(scope, node, &mut level.location);
    crate::health::request::finish(scope, &level.location);
    if !scope.met("root") && !scope.met("alias") {
        stretch_alias(&mut level.location, parent_name);
    }
    scope.leave();
    (push(scope, level.location), blocks)
}

/// An inherited alias stands in place of the outer location's name; here the part by which this location's
/// name is longer is put behind it, so that it stands in place of the whole name.
fn stretch_alias(location: &mut Location, parent_name: &str) {
    let more = match &location.kind {
        LocationKind::Exact(name) | LocationKind::Prefix(name) | LocationKind::PrefixNoRegex(name) => {
            name.strip_prefix(parent_name).unwrap_or_default()
        }
        _ => "",
    };
    if location.settings.files.alias && !more.is_empty() {
        location.settings.files.root.0.push(Part::Text(more.to_owned()));
    }
}

fn kind(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<LocationKind, Problem> {
    let span = args.word(args.len() - 1).span;
    let (modifier, name) = if args.len() == 2 {
        (args.text(0), args.text(1))
    } else {
        let text = args.text(0);
        let modifier = ["=", "^~", "~*", "~"].into_iter().find(|modifier| text.starts_with(modifier));
        (modifier.unwrap_or_default(), &text[modifier.unwrap_or_default().len()..])
    };
    Ok(match modifier {
        "=" => LocationKind::Exact(name.to_owned()),
        "^~" => LocationKind::PrefixNoRegex(name.to_owned()),
        "~" => LocationKind::Regex(scope.regex(name, false, span)?),
        "~*" => LocationKind::Regex(scope.regex(name, true, span)?),
        "" if args.len() == 1 && name.starts_with('@') => LocationKind::Named(name.to_owned()),
        "" if args.len() == 1 => LocationKind::Prefix(name.to_owned()),
        other => {
            return Err(Problem::new(format!(r#"invalid location modifier "{other}""#))
                .at(args.word(0).span)
                .help("=, ~, ~* or ^~ may stand before the path"));
        }
    })
}

fn check_nesting(parent: &LocationKind, kind: &LocationKind) -> Result<(), Problem> {
    let (name, outer) = (kind.name(), parent.name());
    match parent {
        LocationKind::Server => return Ok(()),
        LocationKind::Exact(_) => {
            return Err(Problem::new(format!(
                r#"location "{name}" cannot be inside the exact location "{outer}""#
            )));
        }
        LocationKind::Named(_) => {
            return Err(Problem::new(format!(
                r#"location "{name}" cannot be inside the named location "{outer}""#
            )));
        }
        _ => {}
    }
    match kind {
        LocationKind::Named(_) => {
            Err(Problem::new(format!(r#"named location "{name}" can be on the server level only"#)))
        }
        LocationKind::Regex(_) => Ok(()),
        // nginx compares the texts even when the outer one is a regex.
        _ if !name.starts_with(outer) => {
            Err(Problem::new(format!(r#"location "{name}" is outside location "{outer}""#))
                .help(format!("a path inside this location starts with {outer}")))
        }
        _ => Ok(()),
    }
}

fn limit_except(scope: &mut Scope<'_>, node: &Node, outer: LocationId) {
    let args = Args::new(node);
    let mut methods = Vec::new();
    for (i, word) in args.words().iter().enumerate() {
        let method = word.text.to_ascii_uppercase();
        if !METHODS.contains(&method.as_str()) {
            let problem = Problem::new(format!(r#"invalid method "{}""#, args.text(i))).at(word.span);
            scope.error(node, problem);
            continue;
        }
        if method == "GET" {
            methods.push("HEAD".to_owned());
        }
        methods.push(method);
    }
    methods.sort();
    methods.dedup();
    let parent = &scope.http.locations[outer.0 as usize];
    let mut location = below(parent, LocationKind::Nameless(parent.kind.name().to_owned()));
    if let Handler::Proxy(pass) = &parent.handler {
        location.handler = Handler::Proxy(pass.clone());
    }
    let level = Level { location, server: crate::server::defaults() };
    let (id, _) = level_of(scope, node, level, Contexts::LIMIT_EXCEPT, "");
    scope.http.locations[outer.0 as usize].limit_except = Some((methods, id));
}

/// The body of an `if`. Its settings start from the final ones of the level around it, and the proxy target
/// is the outer one unless it names another.
fn lower_if(scope: &mut Scope<'_>, node: &Node, outer: LocationId, step: usize, context: Contexts) {
    let parent = &scope.http.locations[outer.0 as usize];
    let mut location = below(parent, LocationKind::Nameless(parent.kind.name().to_owned()));
    location.handler = parent.handler.clone();
    let inner = if context == Contexts::SERVER { Contexts::SERVER_IF } else { Contexts::LOCATION_IF };
    let level = Level { location, server: crate::server::defaults() };
    let (id, _) = level_of(scope, node, level, inner, "");
    let program = std::mem::take(&mut scope.http.locations[id.0 as usize].rewrite);
    if inner == Contexts::SERVER_IF {
        scope.http.locations.pop();
    }
    if let Some(Rewrite::If { then, location, .. }) =
        scope.http.locations[outer.0 as usize].rewrite.get_mut(step)
    {
        *then = program;
        *location = (inner == Contexts::LOCATION_IF).then_some(id);
    }
}
