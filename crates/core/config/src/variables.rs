//! The variables that the configuration defines and uses.

use std::collections::HashMap;

use weir_model::{Builtin, Part, Template, UserVariable, Variable, VariableSource};
use weir_syntax::{Directive, Span, Word};

use crate::directive::Problem;

/// Every user's variable; its index is final from its first mention, wherever it is defined.
#[derive(Default)]
pub(crate) struct Variables {
    entries: Vec<Entry>,
    index: HashMap<String, u32>,
}

struct Entry {
    name: String,
    source: Option<VariableSource>,
    used: Option<Span>,
    /// Some directive would define it; when that one was refused, the refusal is enough to read.
    announced: bool,
}

/// Built-in variables that `set` may change.
const SETTABLE: [Builtin; 2] = [Builtin::Args, Builtin::LimitRate];

impl Variables {
    /// Learns the names that directives of the http block define, so that one of them wins over a prefix
    /// family (`set $arg_page 1`) even where it is used before it is defined.
    pub(crate) fn scan(&mut self, directives: &[Directive]) {
        for directive in directives {
            let word = match (directive.name.text.as_str(), directive.args.len()) {
                ("set" | "auth_request_set", 2) => directive.args.first(),
                ("map" | "split_clients", 2) | ("geo", 1 | 2) => directive.args.last(),
                _ => None,
            };
            if let Some(name) = word.and_then(|word| word.text.strip_prefix('$')) {
                let name = name.to_ascii_lowercase();
                if Builtin::parse(&name).is_none() {
                    let slot = self.slot(&name);
                    self.entries[slot as usize].announced = true;
                }
            }
            if let Some(block) = &directive.block {
                self.scan(block);
            }
        }
    }

    /// The variable of a name without its dollar sign.
    pub(crate) fn used(&mut self, name: &str, span: Span) -> Variable {
        let name = name.to_ascii_lowercase();
        if !self.index.contains_key(&name)
            && let Some(variable) = Variable::parse(&name)
        {
            return variable;
        }
        let slot = self.slot(&name);
        self.entries[slot as usize].used.get_or_insert(span);
        Variable::User(slot)
    }

    /// The variable that a word `$name` defines.
    pub(crate) fn define(&mut self, word: &Word, source: VariableSource) -> Result<u32, Problem> {
        match word.text.strip_prefix('$') {
            Some(name) if !name.is_empty() => self.define_name(name, source, word.span),
            _ => Err(invalid_name(word)),
        }
    }

    /// The variable that a named group or a directive defines. A later `set` leaves the source of a map
    /// in place, as nginx does.
    pub(crate) fn define_name(
        &mut self,
        name: &str,
        source: VariableSource,
        span: Span,
    ) -> Result<u32, Problem> {
        let name = name.to_ascii_lowercase();
        if Builtin::parse(&name).is_some() {
            return Err(Problem::new(format!(r#"the duplicate "{name}" variable"#))
                .at(span)
                .help(format!("${name} is built in; choose another name")));
        }
        let slot = self.slot(&name);
        let entry = &mut self.entries[slot as usize];
        match (&entry.source, &source) {
            (Some(_), VariableSource::Set) => {}
            _ => entry.source = Some(source),
        }
        Ok(slot)
    }

    /// The target of `set`.
    pub(crate) fn settable(&mut self, word: &Word) -> Result<Variable, Problem> {
        let name =
            word.text.strip_prefix('$').filter(|name| !name.is_empty()).ok_or_else(|| invalid_name(word))?;
        if let Some(builtin) = Builtin::parse(&name.to_ascii_lowercase())
            && SETTABLE.contains(&builtin)
        {
            return Ok(Variable::Builtin(builtin));
        }
        self.define(word, VariableSource::Set).map(Variable::User)
    }

    /// A template as it could have been written, for messages.
    pub(crate) fn text(&self, template: &Template) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Capture(group) => format!("${group}"),
            Part::Variable(Variable::User(slot)) => {
                format!("${}", self.entries.get(*slot as usize).map_or("", |entry| &entry.name))
            }
            Part::Variable(variable) => format!("${}", variable_name(variable)),
        };
        template.0.iter().map(part).collect()
    }

    /// The variables in index order, or a problem for each that is used and never defined.
    pub(crate) fn finish(self) -> Result<Vec<UserVariable>, Vec<Problem>> {
        let mut variables = Vec::new();
        let mut problems = Vec::new();
        for Entry { name, source, used, announced } in self.entries {
            match source {
                None if !announced => problems.push(unknown(&name, used)),
                source => {
                    variables.push(UserVariable { name, source: source.unwrap_or(VariableSource::Set) });
                }
            }
        }
        if problems.is_empty() { Ok(variables) } else { Err(problems) }
    }

    fn slot(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.index.get(name) {
            return *slot;
        }
        let slot = u32::try_from(self.entries.len()).expect("fewer than 2^32 variables fit in memory");
        self.entries.push(Entry { name: name.to_owned(), source: None, used: None, announced: false });
        self.index.insert(name.to_owned(), slot);
        slot
    }
}

/// The name of a variable that is no user's.
fn variable_name(variable: &Variable) -> String {
    match variable {
        Variable::Builtin(builtin) => builtin.name().to_owned(),
        Variable::User(slot) => slot.to_string(),
        Variable::Arg(name) => format!("arg_{name}"),
        Variable::Cookie(name) => format!("cookie_{name}"),
        Variable::Http(name) => format!("http_{name}"),
        Variable::SentHttp(name) => format!("sent_http_{name}"),
        Variable::SentTrailer(name) => format!("sent_trailer_{name}"),
        Variable::UpstreamHttp(name) => format!("upstream_http_{name}"),
        Variable::UpstreamTrailer(name) => format!("upstream_trailer_{name}"),
        Variable::UpstreamCookie(name) => format!("upstream_cookie_{name}"),
        Variable::ProxyProtocolTlv(name) => format!("proxy_protocol_tlv_{name}"),
    }
}

fn invalid_name(word: &Word) -> Problem {
    Problem::new(format!(r#"invalid variable name "{}""#, word.text))
        .at(word.span)
        .help("a variable's name starts with $")
}

fn unknown(name: &str, span: Option<Span>) -> Problem {
    let problem = Problem { span, ..Problem::new(format!(r#"unknown "{name}" variable"#)) };
    if name.starts_with("ssl_") {
        return problem.help("TLS is not served by this version of Weir, so its variables are not there yet");
    }
    if name.starts_with("geoip_") {
        return problem.help("the geoip module is not there; a geo or map block can give the variable");
    }
    match crate::nearest(name, Builtin::ALL.iter().map(|builtin| builtin.name())) {
        Some(near) => problem.help(format!("did you mean ${near}?")),
        None => problem.help("nothing defines it: a map, geo, split_clients, set or a named group would"),
    }
}
