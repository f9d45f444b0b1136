//! What a directive may ask and tell while it is lowered: names, variables, regexes, paths, addresses.

use std::collections::HashSet;
use std::net::IpAddr;

use weir_model::{Http, Regex, Template, Variable};
use weir_pattern::Pattern;
use weir_syntax::{Diagnostic, Directive, Severity, Span, Word};

use crate::directive::Problem;
use crate::variables::Variables;
use crate::zones::Zones;
use crate::{Environment, Options};

/// The state of one lowering.
pub struct Scope<'e> {
    pub(crate) env: &'e dyn Environment,
    pub(crate) options: &'e Options,
    /// What has been lowered of the http block.
    pub(crate) http: Http,
    pub(crate) variables: Variables,
    pub(crate) zones: Zones,
    pub(crate) listens: crate::listen::Listens,
    /// Of the `upstream` block that is open.
    pub(crate) balancing: crate::upstream::Balancing,
    /// Of the `upstream` block that is open, as are the next two.
    pub(crate) upsync: crate::source::upsync::Lines,
    pub(crate) check: crate::health::check::Lines,
    pub(crate) resolvers: crate::resolver::Resolvers,
    /// The first line that names the registry inside.
    pub(crate) embedded: Option<Span>,
    /// All `match` blocks.
    pub(crate) matches: Vec<weir_model::check::Match>,
    /// The `health_check` lines of the location that is open.
    pub(crate) health_checks: Vec<crate::health::request::Asked>,
    pub(crate) notes: Vec<Noted>,
    /// The end of the http block, when the files have one.
    pub(crate) http_close: Option<Span>,
    /// The directive that is being lowered: where nginx's parser would stand.
    pub(crate) current: Option<Span>,
    levels: Vec<Level>,
}

/// Something to tell the operator.
pub(crate) struct Noted {
    pub(crate) diagnostic: Diagnostic,
    /// Where nginx's parser would have stood; absent when it would have been at the end of everything.
    pub(crate) order: Option<Span>,
}

/// One open block.
#[derive(Default)]
struct Level {
    /// Names that [`Scope::first`] was asked about.
    firsts: HashSet<&'static str>,
    /// Names of the simple directives that were met.
    met: HashSet<&'static str>,
}

impl<'e> Scope<'e> {
    pub(crate) fn new(env: &'e dyn Environment, options: &'e Options) -> Self {
        Self {
            env,
            options,
            http: Http::default(),
            variables: Variables::default(),
            zones: Zones::default(),
            listens: crate::listen::Listens::default(),
            balancing: crate::upstream::Balancing::default(),
            upsync: crate::source::upsync::Lines::default(),
            check: crate::health::check::Lines::default(),
            resolvers: crate::resolver::Resolvers::default(),
            embedded: None,
            matches: Vec::new(),
            health_checks: Vec::new(),
            notes: Vec::new(),
            http_close: None,
            current: None,
            levels: Vec::new(),
        }
    }

    /// Opens a level; [`Self::leave`] closes it.
    pub(crate) fn enter(&mut self) {
        self.levels.push(Level::default());
    }

    pub(crate) fn leave(&mut self) {
        self.levels.pop();
    }

    /// True when this name (of a directive, or of several that share a list, such as `allow` and `deny`)
    /// was not asked about on this level before. The inherited list is dropped then.
    pub(crate) fn first(&mut self, name: &'static str) -> bool {
        self.levels.last_mut().is_none_or(|level| level.firsts.insert(name))
    }

    /// True when the directive was already met on this level.
    pub(crate) fn met(&self, name: &str) -> bool {
        self.levels.last().is_some_and(|level| level.met.contains(name))
    }

    /// Remembers a directive; false when it was there already.
    pub(crate) fn meet(&mut self, name: &'static str) -> bool {
        self.levels.last_mut().is_none_or(|level| level.met.insert(name))
    }

    /// Notes a warning in the directive that is being lowered.
    pub(crate) fn warn(&mut self, problem: Problem) {
        let stood = self.current;
        self.note(Severity::Warning, problem, stood, stood);
    }

    /// Notes a warning in a directive that was lowered before.
    pub(crate) fn warn_at(&mut self, directive: Span, problem: Problem) {
        self.note(Severity::Warning, problem, Some(directive), Some(directive));
    }

    /// Notes an error in a directive.
    pub(crate) fn error(&mut self, directive: &Directive, problem: Problem) {
        let span = problem.span.unwrap_or_else(|| line(directive));
        self.note(Severity::Error, problem.at(span), Some(directive.span), Some(directive.span));
    }

    /// Notes an error that is found when a block ends.
    pub(crate) fn error_at_end(&mut self, block: &Directive, problem: Problem) {
        let span = problem.span.unwrap_or(block.name.span);
        let stood = block.close.unwrap_or(block.span);
        self.note(Severity::Error, problem.at(span), Some(stood), Some(stood));
    }

    /// Notes an error in what a level has inherited and set. nginx finds it, and names the line, when http
    /// ends.
    pub(crate) fn merge_error(&mut self, level: &Directive, problem: Problem) {
        if let Some(close) = self.http_close {
            let span = problem.span.unwrap_or(level.name.span);
            self.note(Severity::Error, problem.at(span), Some(close), Some(close));
        }
    }

    /// Notes what nginx finds when http ends without naming that line: the problem's own span is named.
    pub(crate) fn note_when_http_ends(&mut self, severity: Severity, problem: Problem) {
        if let Some(close) = self.http_close {
            self.note(severity, problem, None, Some(close));
        }
    }

    /// Notes an error that nginx finds when it has read everything, without naming a line.
    pub(crate) fn error_when_all_ends(&mut self, problem: Problem) {
        self.note(Severity::Error, problem, None, None);
    }

    fn note(&mut self, severity: Severity, problem: Problem, stood: Option<Span>, order: Option<Span>) {
        let Problem { message, span, notes, help } = problem;
        let diagnostic = Diagnostic { severity, message, span: span.or(stood), stood, notes, help };
        self.notes.push(Noted { diagnostic, order });
    }

    /// The number of errors so far.
    pub(crate) fn errors(&self) -> usize {
        self.notes.iter().filter(|noted| noted.diagnostic.severity == Severity::Error).count()
    }

    /// Text with variables. Captures `$1` to `$9` are allowed.
    pub(crate) fn template(&mut self, word: &Word) -> Result<Template, Problem> {
        self.template_of(&word.text, word.span)
    }

    /// Text that is a part of a word, such as what follows `if=`.
    pub(crate) fn template_of(&mut self, text: &str, span: Span) -> Result<Template, Problem> {
        crate::template::compile(text, span, &mut self.variables)
    }

    /// The variable of a word that must be `$name`.
    pub(crate) fn variable(&mut self, word: &Word) -> Result<Variable, Problem> {
        match word.text.strip_prefix('$') {
            Some(name) => Ok(self.variables.used(name, word.span)),
            None => Err(Problem::new(format!(r#"invalid variable name "{}""#, word.text)).at(word.span)),
        }
    }

    /// Checks a regular expression and makes variables of its named groups.
    pub(crate) fn regex(&mut self, source: &str, caseless: bool, span: Span) -> Result<Regex, Problem> {
        let pattern =
            Pattern::new(source, caseless).map_err(|error| Problem::new(error.to_string()).at(span))?;
        let mut names = Vec::new();
        for (group, name) in pattern.names() {
            names.push((group, self.variables.define_name(name, weir_model::VariableSource::Set, span)?));
        }
        Ok(Regex { source: source.to_owned(), caseless, names })
    }

    /// A path of the operator below the prefix; absolute ones stay.
    pub(crate) fn path(&self, path: &str) -> String {
        self.options.below_prefix(path)
    }

    /// A path of the operator below the folder of the configuration file; absolute ones stay.
    pub(crate) fn conf_path(&self, path: &str) -> String {
        self.options.below_conf(path)
    }

    /// The addresses of a name, or of the text of an address. Fails with nginx's
    /// `host not found in "x"`-like words, to which the caller adds nothing.
    pub(crate) fn resolve(&self, host: &str, what: &str, span: Span) -> Result<Vec<IpAddr>, Problem> {
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(vec![address]);
        }
        match self.env.resolve(host) {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            Ok(_) => Err(Problem::new(format!("host not found in {what}")).at(span)),
            Err(error) => {
                Err(Problem::new(format!("host not found in {what}")).at(span).note(error.to_string()))
            }
        }
    }

    /// Index of a `log_format`; it must have been read before it is used.
    pub(crate) fn log_format(&self, name: &str, span: Span) -> Result<usize, Problem> {
        self.http.log_formats.iter().position(|format| format.name == name).ok_or_else(|| {
            Problem::new(format!(r#"unknown log format "{name}""#))
                .at(span)
                .help("a log_format of this name must stand before it is used")
        })
    }

    /// Index of a `limit_req_zone` that may come later in the file; checked when http ends.
    pub(crate) fn limit_req_zone(&mut self, name: &str, span: Span) -> usize {
        self.zones.limit_req.used(name, span)
    }

    /// Index of a `limit_conn_zone` that may come later in the file; checked when http ends.
    pub(crate) fn limit_conn_zone(&mut self, name: &str, span: Span) -> usize {
        self.zones.limit_conn.used(name, span)
    }

    /// Adds a `limit_req_zone`.
    pub(crate) fn define_limit_req_zone(
        &mut self,
        zone: weir_model::http::LimitZone,
        span: Span,
    ) -> Result<(), Problem> {
        if let Some(earlier) = self.zones.limit_req.defined(&zone.name) {
            return Err(bound("limit_req_zone", &zone.name, &self.variables.text(&earlier.key), span));
        }
        self.zones.limit_req.define(zone);
        Ok(())
    }

    /// Adds a `limit_conn_zone`.
    pub(crate) fn define_limit_conn_zone(
        &mut self,
        zone: weir_model::http::LimitZone,
        span: Span,
    ) -> Result<(), Problem> {
        if let Some(earlier) = self.zones.limit_conn.defined(&zone.name) {
            return Err(bound("limit_conn_zone", &zone.name, &self.variables.text(&earlier.key), span));
        }
        self.zones.limit_conn.define(zone);
        Ok(())
    }
}

fn bound(directive: &str, name: &str, key: &str, span: Span) -> Problem {
    Problem::new(format!(r#"{directive} "{name}" is already bound to key "{key}""#)).at(span)
}

/// The name and the arguments of a directive.
pub(crate) fn line(directive: &Directive) -> Span {
    let name = directive.name.span;
    name.to(directive.args.last().map_or(name, |word| word.span))
}
