//! `match`: what the answer to a `health_check` has to be.

use weir_model::Part;
use weir_model::check::{HeaderExpectation, HeaderTest, Match, StatusTest};
use weir_syntax::Directive as Node;

use crate::args::{Args, number};
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::lower::{Target, run};
use crate::scope::Scope;

const HTTP: Directive =
    Directive { module: "ngx_http_upstream_hc_module", contexts: Contexts::HTTP, ..Directive::NEW };
const INSIDE: Directive = Directive { contexts: Contexts::MATCH, ..HTTP };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "match",
        block: true,
        repeat: true,
        syntax: "NAME",
        doc: "Tests of an answer, all of which have to hold; health_check match=NAME names them.",
        action: Action::Block(Block::Match),
        ..HTTP
    },
    Directive {
        name: "status",
        arguments: Arity::AtLeast(1),
        syntax: "[!] STATUS | FROM-TO ...",
        doc: "The status is one of these, or with ! none of them.",
        action: Action::Match(status),
        ..INSIDE
    },
    Directive {
        name: "header",
        arguments: Arity::Between(1, 3),
        repeat: true,
        syntax: "FIELD | ! FIELD | FIELD = VALUE | FIELD != VALUE | FIELD ~ REGEX | FIELD !~ REGEX",
        doc: "A field of the answer is there or not, has a value or not, matches or not.",
        action: Action::Match(header),
        ..INSIDE
    },
    Directive {
        name: "body",
        arguments: Arity::Exactly(2),
        syntax: "~ REGEX | !~ REGEX",
        doc: "The start of the body matches or not; its first 256 KiB are looked at.",
        action: Action::Match(body),
        ..INSIDE
    },
    Directive {
        name: "require",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "$VARIABLE ...",
        doc: "The variables are neither empty nor 0.",
        action: Action::Match(|tests, args, scope| {
            for word in args.words() {
                let variable = scope.variable(word)?;
                tests.require.push(weir_model::Template(vec![Part::Variable(variable)]));
            }
            Ok(())
        }),
        ..INSIDE
    },
];

/// Lowers one block.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node) -> Result<(), Problem> {
    let args = Args::new(node);
    let name = args.text(0);
    if scope.matches.iter().any(|other| other.name == name) {
        return Err(Problem::new(format!(r#"duplicate match "{name}""#)).at(args.word(0).span));
    }
    let mut tests = Match { name: name.to_owned(), ..Match::default() };
    scope.enter();
    run(scope, args.body(), Contexts::MATCH, &mut Target::Match(&mut tests));
    scope.leave();
    scope.matches.push(tests);
    Ok(())
}

fn status(tests: &mut Match, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    let negated = args.text(0) == "!";
    let mut ranges = Vec::new();
    for word in args.words().iter().skip(usize::from(negated)) {
        let (from, to) = word.text.split_once('-').unwrap_or((&word.text, &word.text));
        match (code(from), code(to)) {
            (Some(from), Some(to)) if from <= to => ranges.push((from, to)),
            _ => {
                return Err(Problem::new(format!(r#"invalid status "{}""#, word.text))
                    .at(word.span)
                    .help("a status from 100 to 599, or a range such as 200-399, is expected"));
            }
        }
    }
    if ranges.is_empty() {
        return Err(Problem::new(r#"no status follows "!""#).at(args.word(0).span));
    }
    tests.status = Some(StatusTest { ranges, negated });
    Ok(())
}

fn code(text: &str) -> Option<u16> {
    number(text).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..600).contains(code))
}

fn header(tests: &mut Match, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let wrong = |i: usize| {
        Problem::new(format!(r#"invalid header test "{}""#, args.text(i)))
            .at(args.word(i).span)
            .help("it is written: header FIELD; header ! FIELD; or header FIELD =|!=|~|!~ VALUE;")
    };
    let (field, test) = match args.len() {
        1 if args.text(0) != "!" => (args.text(0), HeaderExpectation::Present),
        2 if args.text(0) == "!" => (args.text(1), HeaderExpectation::Absent),
        3 => {
            let value = args.text(2);
            let regex = |scope: &mut Scope<'_>| scope.regex(value, false, args.word(2).span);
            let test = match args.text(1) {
                "=" => HeaderExpectation::Equals(value.to_owned()),
                "!=" => HeaderExpectation::Differs(value.to_owned()),
                "~" => HeaderExpectation::Matches(regex(scope)?),
                "!~" => HeaderExpectation::DoesNotMatch(regex(scope)?),
                _ => return Err(wrong(1)),
            };
            (args.text(0), test)
        }
        _ => return Err(wrong(0)),
    };
    tests.headers.push(HeaderTest { name: field.to_ascii_lowercase(), test });
    Ok(())
}

fn body(tests: &mut Match, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let wanted = match args.text(0) {
        "~" => true,
        "!~" => false,
        text => {
            return Err(Problem::new(format!(r#"invalid body test "{text}""#))
                .at(args.word(0).span)
                .help("it is written: body ~ REGEX; or body !~ REGEX;"));
        }
    };
    tests.body = Some((scope.regex(args.text(1), false, args.word(1).span)?, wanted));
    Ok(())
}
