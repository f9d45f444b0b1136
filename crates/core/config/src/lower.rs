//! From the tree to the model: one level after the other.

use weir_model::check::Match;
use weir_model::{Admin, Config, Location, Process, Registry, Rewrite, Server, Upstream};
use weir_syntax::{Diagnostic, Directive, Severity, Span, Tree};

use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Problem};
use crate::scope::Scope;
use crate::{Environment, Options, catalogue, main_level};

/// A configuration that can be served.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub tree: Tree,
    /// In file order.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration cannot be served.
#[derive(Debug)]
pub struct Failure {
    /// Errors and warnings in the order in which nginx would meet them; nginx stops at the first error.
    pub diagnostics: Vec<Diagnostic>,
    /// What could be read; its files are what the diagnostics' spans point into.
    pub tree: Tree,
}

impl Failure {
    /// The error at which nginx would stop.
    #[must_use]
    pub fn first(&self) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first() {
            Some(error) => f.write_str(&error.nginx_line(&self.tree.files)),
            None => f.write_str("the configuration has no error"),
        }
    }
}

impl std::error::Error for Failure {}

/// Reads the main file with all it includes and lowers it.
///
/// # Errors
/// Everything that is wrong with the files, as far as it can be told in one go.
pub fn load(options: &Options, env: &dyn Environment) -> Result<Loaded, Box<Failure>> {
    let parsed =
        weir_syntax::parse_all(options.globals.as_deref(), &options.conf_file(), &options.conf_prefix(), env);
    let mut scope = Scope::new(env, options);
    let config = main_level::lower(&mut scope, &parsed.tree.items, parsed.flaw.is_none());
    let order = Order::of(&parsed.tree);
    let mut notes = scope.notes;
    notes.sort_by_key(|noted| order.of_span(noted.order));
    let mut diagnostics: Vec<_> = notes.into_iter().map(|noted| noted.diagnostic).collect();
    diagnostics.extend(parsed.flaw.map(|flaw| *flaw));
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(Box::new(Failure { diagnostics, tree: parsed.tree }));
    }
    Ok(Loaded { config, tree: parsed.tree, warnings: diagnostics })
}

/// Where in the reading a directive came.
struct Order(std::collections::HashMap<Span, usize>);

impl Order {
    fn of(tree: &Tree) -> Self {
        let mut order = Self(std::collections::HashMap::new());
        order.walk(&tree.items);
        order
    }

    fn walk(&mut self, items: &[Directive]) {
        for directive in items {
            self.add(directive.span);
            self.walk(directive.block.as_deref().unwrap_or_default());
            if let Some(close) = directive.close {
                self.add(close);
            }
        }
    }

    fn add(&mut self, span: Span) {
        let next = self.0.len();
        self.0.entry(span).or_insert(next);
    }

    /// Levels are not lowered in file order; what is reported shall be.
    fn of_span(&self, span: Option<Span>) -> usize {
        span.and_then(|span| self.0.get(&span)).copied().unwrap_or(usize::MAX)
    }
}

/// What a level changes.
pub(crate) enum Target<'t> {
    Main(&'t mut Process),
    Level(&'t mut Level),
    Upstream(&'t mut Upstream),
    Match(&'t mut Match),
    Registry(&'t mut Registry),
    Admin(&'t mut Admin),
}

/// An http, server or location level, or a nameless one.
#[derive(Clone)]
pub(crate) struct Level {
    pub(crate) location: Location,
    /// On the http level: what servers inherit.
    pub(crate) server: Server,
}

/// A block that is entered when its level's own directives have been read.
pub(crate) struct Pending<'a> {
    pub(crate) directive: &'a Directive,
    pub(crate) block: Block,
    /// Of `if`: its place in the level's rewrite program.
    pub(crate) step: usize,
}

/// Applies the directives of one level in file order and hands back its blocks. What is wrong is noted in
/// the scope.
pub(crate) fn run<'a>(
    scope: &mut Scope<'_>,
    items: &'a [Directive],
    context: Contexts,
    target: &mut Target<'_>,
) -> Vec<Pending<'a>> {
    let mut pending = Vec::new();
    for directive in items {
        scope.current = Some(directive.span);
        match step(scope, directive, context, target) {
            Ok(Some(block)) => pending.push(block),
            Ok(None) => {}
            Err(problem) => scope.error(directive, problem),
        }
    }
    pending
}

fn step<'a>(
    scope: &mut Scope<'_>,
    directive: &'a Directive,
    context: Contexts,
    target: &mut Target<'_>,
) -> Result<Option<Pending<'a>>, Problem> {
    let name = directive.name.text.as_str();
    let known = catalogue::find(name, context).map_err(|problem| problem.at(directive.name.span))?;
    check_shape(directive, known)?;
    if !known.repeat && !scope.meet(known.name) {
        return Err(Problem::new(format!(r#""{name}" directive is duplicate"#)));
    }
    let args = Args::new(directive);
    let pend = |block, step| Ok(Some(Pending { directive, block, step }));
    match (known.action, target) {
        (Action::Accepted(_), _) => {
            if known.arguments == Arity::Flag {
                args.flag(0)?;
            }
        }
        (Action::Process(apply), Target::Main(process)) => apply(process, &args, scope)?,
        (Action::Upstream(apply), Target::Upstream(upstream)) => apply(upstream, &args, scope)?,
        (Action::Match(apply), Target::Match(tests)) => apply(tests, &args, scope)?,
        (Action::Registry(apply), Target::Registry(registry)) => apply(registry, &args, scope)?,
        (Action::Admin(apply), Target::Admin(admin)) => apply(admin, &args, scope)?,
        (Action::Http(apply), _) => apply(&args, scope)?,
        (Action::Setting(apply) | Action::Block(Block::Setting(apply)), Target::Level(level)) => {
            apply(&mut level.location.settings, &args, scope)?;
        }
        (Action::Server(apply), Target::Level(level)) => apply(&mut level.server, &args, scope)?,
        (Action::Location(apply), Target::Level(level)) => apply(&mut level.location, &args, scope)?,
        (Action::Rewrite(compile), Target::Level(level)) => {
            let step = compile(&args, scope)?;
            level.location.rewrite.push(step);
        }
        (Action::Block(Block::If), Target::Level(level)) => {
            let condition = crate::rewrite::condition(&args, scope)?;
            let program = &mut level.location.rewrite;
            program.push(Rewrite::If { condition, then: Vec::new(), location: None });
            return pend(Block::If, program.len() - 1);
        }
        (Action::Block(block), _) => return pend(block, 0),
        // A table says a context that its action does not fit: the catalogue's test finds it.
        (_, _) => return Err(Problem::new(format!(r#""{name}" directive is not allowed here"#))),
    }
    Ok(None)
}

/// A word behind the first that is the name of a directive: most likely the end of the line before was forgotten.
fn swallowed(directive: &Directive) -> Option<&str> {
    let later = directive.args.iter().skip(1).filter(|word| !word.quoted);
    later.map(|word| word.text.as_str()).find(|text| crate::directives().any(|known| known.name == *text))
}

fn check_shape(directive: &Directive, known: &crate::Directive) -> Result<(), Problem> {
    let name = known.name;
    if !known.block && directive.block.is_some() {
        return Err(Problem::new(format!(r#"directive "{name}" is not terminated by ";""#)));
    }
    if known.block && directive.block.is_none() {
        return Err(Problem::new(format!(r#"directive "{name}" has no opening "{{""#)));
    }
    if !known.arguments.takes(directive.args.len()) {
        let problem = Problem::new(format!(r#"invalid number of arguments in "{name}" directive"#));
        if let Some(next) = swallowed(directive) {
            return Err(problem.help(format!(r#"is a ";" missing in front of "{next}"?"#)));
        }
        return Err(match known.syntax {
            "" if known.block => problem.help(format!("it is written: {name} {{ ... }}")),
            "" => problem.help(format!("it is written: {name};")),
            syntax if known.block => problem.help(format!("it is written: {name} {syntax} {{ ... }}")),
            syntax => problem.help(format!("it is written: {name} {syntax};")),
        });
    }
    Ok(())
}
