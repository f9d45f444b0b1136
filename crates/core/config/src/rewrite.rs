//! The rewrite module: `set`, `rewrite`, `return`, `break` and the condition of `if`.

use weir_model::rewrite::AfterRewrite;
use weir_model::{Condition, FileTest, Rewrite, RewriteFlag};
use weir_syntax::Span;

use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::scope::Scope;

const SCRIPT: Directive = Directive {
    module: "ngx_http_rewrite_module",
    contexts: Contexts::SERVER.or(Contexts::SERVER_IF).or(Contexts::LOCATION).or(Contexts::LOCATION_IF),
    repeat: true,
    ..Directive::NEW
};

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "if",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arguments: Arity::AtLeast(1),
        block: true,
        syntax: "(CONDITION)",
        doc: "Steps, and in a location settings, for requests that fulfil a condition.",
        action: Action::Block(Block::If),
        ..SCRIPT
    },
    Directive {
        name: "set",
        arguments: Arity::Exactly(2),
        syntax: "$NAME VALUE",
        doc: "Gives a variable a value.",
        action: Action::Rewrite(|args, scope| {
            let variable = scope.variables.settable(args.word(0))?;
            Ok(Rewrite::Set { variable, value: scope.template(args.word(1))? })
        }),
        ..SCRIPT
    },
    Directive {
        name: "rewrite",
        arguments: Arity::Between(2, 3),
        syntax: "REGEX REPLACEMENT [last | break | redirect | permanent]",
        doc: "Changes the path of requests that match, or redirects them.",
        action: Action::Rewrite(rewrite),
        ..SCRIPT
    },
    Directive {
        name: "return",
        arguments: Arity::Between(1, 2),
        syntax: "CODE [TEXT] | CODE URL | URL",
        doc: "Answers at once.",
        action: Action::Rewrite(answer),
        ..SCRIPT
    },
    Directive {
        name: "break",
        arguments: Arity::None,
        doc: "Ends the steps of this level.",
        action: Action::Rewrite(|_, _| Ok(Rewrite::Break)),
        ..SCRIPT
    },
];

/// A text that makes a redirect of a `rewrite` or a `return`.
fn is_url(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|start| text.starts_with(start))
}

fn rewrite(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Rewrite, Problem> {
    let text = args.text(1);
    if text.is_empty() {
        return Err(Problem::new("empty replacement").at(args.word(1).span));
    }
    let regex = scope.regex(args.text(0), false, args.word(0).span)?;
    let (text, keep_args) = text.strip_suffix('?').map_or((text, true), |text| (text, false));
    let mut then = if is_url(text) { AfterRewrite::Redirect } else { AfterRewrite::Next };
    if args.len() == 3 {
        then = match (args.text(2), then) {
            ("permanent", _) => AfterRewrite::Permanent,
            ("redirect", _) | ("last" | "break", AfterRewrite::Redirect) => AfterRewrite::Redirect,
            ("last", _) => AfterRewrite::Last,
            ("break", _) => AfterRewrite::Break,
            _ => {
                return Err(args.invalid_parameter(2).help("last, break, redirect or permanent is expected"));
            }
        };
    }
    let replacement = scope.template_of(text, args.word(1).span)?;
    Ok(Rewrite::Rewrite { regex, replacement, flag: RewriteFlag { then, keep_args } })
}

fn answer(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Rewrite, Problem> {
    let text = args.text(0);
    let invalid = || {
        Problem::new(format!(r#"invalid return code "{text}""#)).at(args.word(0).span).help(
            "a status of three digits, or a URL that starts with http://, https:// or $scheme, is expected",
        )
    };
    let Some(status) = crate::args::number(text) else {
        return if args.len() == 1 && is_url(text) {
            Ok(Rewrite::Return { status: 302, text: Some(scope.template(args.word(0))?) })
        } else {
            Err(invalid())
        };
    };
    let status = u16::try_from(status).ok().filter(|status| *status <= 999).ok_or_else(invalid)?;
    let text = if args.len() == 2 { Some(scope.template(args.word(1))?) } else { None };
    Ok(Rewrite::Return { status, text })
}

/// The words between the parentheses of `if`, which may stand alone or cling to a word.
fn inside(args: &Args<'_>) -> Result<Vec<(String, Span)>, Problem> {
    let mut words: Vec<_> = args.words().iter().map(|word| (word.text.clone(), word.span)).collect();
    let invalid = |text: &str, span| {
        Problem::new(format!(r#"invalid condition "{text}""#))
            .at(span)
            .help("a condition stands in parentheses: if ($variable = text) { ... }")
    };
    match words.first_mut() {
        Some((text, _)) if text.starts_with('(') => text.replace_range(..1, ""),
        _ => return Err(invalid(args.text(0), args.word(0).span)),
    }
    match words.last_mut() {
        Some((text, _)) if text.ends_with(')') => text.truncate(text.len() - 1),
        Some((text, span)) => return Err(invalid(text, *span)),
        None => return Err(invalid("", args.span())),
    }
    if words.first().is_some_and(|(text, _)| text.is_empty()) {
        words.remove(0);
    }
    if words.len() > 1
        && words.last().is_some_and(|(text, _)| text.is_empty())
        && args.text(args.len() - 1) == ")"
    {
        words.pop();
    }
    Ok(words)
}

/// The condition of an `if`.
pub(crate) fn condition(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<Condition, Problem> {
    let words = inside(args)?;
    let whole = args.words().iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let invalid = |text: &str, span| {
        Problem::new(format!(r#"invalid condition "{text}""#)).at(span).help(format!(
            "{whole} is none of ($variable), ($variable = text), ($variable ~ regex) or (-f file)"
        ))
    };
    match words.as_slice() {
        [(name, span)] if name.len() > 1 && name.starts_with('$') => {
            Ok(Condition::Truthy(scope.variables.used(&name[1..], *span)))
        }
        [(name, span), (operator, at), (value, value_span)] if name.len() > 1 && name.starts_with('$') => {
            let variable = scope.variables.used(&name[1..], *span);
            let negate = operator.starts_with('!');
            match operator.as_str() {
                "=" | "!=" => {
                    let value = scope.template_of(value, *value_span)?;
                    Ok(Condition::Equal { variable, value, negate })
                }
                "~" | "~*" | "!~" | "!~*" => {
                    let regex = scope.regex(value, operator.ends_with('*'), *value_span)?;
                    Ok(Condition::Match { variable, regex, negate })
                }
                _ => Err(Problem::new(format!(r#"unexpected "{operator}" in condition"#))
                    .at(*at)
                    .help("=, !=, ~, ~*, !~ or !~* is expected")),
            }
        }
        [(test, span), (path, path_span)] => {
            let (letter, negate) = test.strip_prefix('!').map_or((test.as_str(), false), |rest| (rest, true));
            let test = match letter {
                "-f" => FileTest::File,
                "-d" => FileTest::Directory,
                "-e" => FileTest::Exists,
                "-x" => FileTest::Executable,
                _ => return Err(invalid(test, *span)),
            };
            Ok(Condition::File { path: scope.template_of(path, *path_span)?, test, negate })
        }
        [(text, span), ..] => Err(invalid(text, *span)),
        [] => Err(invalid("", args.span())),
    }
}
