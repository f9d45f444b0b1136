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
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) errors: Vec<Diagnostic>,
    /// Errors that nginx finds when http ends, and reports where their directive stands.
    pub(crate) late: Vec<Diagnostic>,
    /// The end of the http block, when the files have one.
    pub(crate) http_close: Option<Span>,
    /// The directive that is being lowered: where nginx's parser would stand.
    pub(crate) current: Option<Span>,
    levels: Vec<Level>,
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
            warnings: Vec::new(),
            errors: Vec::new(),
            late: Vec::new(),
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

    pub(crate) fn warn(&mut self, problem: Problem) {
        let stood = self.current;
        self.warnings.push(diagnostic(Severity::Warning, problem, stood, stood));
    }

    /// Notes an error in a directive.
    pub(crate) fn error(&mut self, directive: &Directive, problem: Problem) {
        self.errors.push(in_directive(directive, problem));
    }

    /// Notes an error in a directive that nginx finds when http ends.
    pub(crate) fn late_error(&mut self, directive: &Directive, problem: Problem) {
        self.late.push(in_directive(directive, problem));
    }

    /// Notes an error in what a level has inherited and set, which nginx finds when http ends.
    pub(crate) fn merge_error(&mut self, level: &Directive, problem: Problem) {
        if let Some(close) = self.http_close {
            self.errors.push(diagnostic(Severity::Error, problem, Some(level.name.span), Some(close)));
        }
    }

    /// Notes an error that is found when a block ends.
    pub(crate) fn error_at_end(&mut self, block: &Directive, problem: Problem) {
        let stood = block.close.unwrap_or(block.span);
        self.errors.push(diagnostic(Severity::Error, problem, Some(block.name.span), Some(stood)));
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

    /// The user's variable that a directive such as `auth_request_set` fills: index into
    /// `Http::variables`. The word is `$name`.
    pub(crate) fn define(&mut self, word: &Word) -> Result<u32, Problem> {
        self.variables.define(word, weir_model::VariableSource::Set)
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

fn in_directive(directive: &Directive, problem: Problem) -> Diagnostic {
    let name = directive.name.span;
    let last = directive.args.last().map_or(name, |word| word.span);
    diagnostic(Severity::Error, problem, Some(name.to(last)), Some(directive.span))
}

fn diagnostic(severity: Severity, problem: Problem, span: Option<Span>, stood: Option<Span>) -> Diagnostic {
    let Problem { message, span: own, notes, help } = problem;
    Diagnostic { severity, message, span: own.or(span), stood, notes, help }
}
