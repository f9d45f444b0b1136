//! `match` blocks, compiled.

use std::sync::Arc;

use weir_model::check::{HeaderExpectation, HeaderTest, Match, StatusTest};
use weir_model::{Builtin, Part, Regex, Template, Variable};
use weir_pattern::Pattern;

use crate::http::values;
use crate::plan::PlanError;
use crate::reason::{Reason, Verdict};

/// What a response to `health_check` has to be.
#[derive(Debug)]
pub(crate) struct Expected {
    status: Option<StatusTest>,
    headers: Vec<HeaderLine>,
    body: Option<BodyLine>,
    require: Vec<Required>,
}

#[derive(Debug)]
struct HeaderLine {
    name: String,
    test: Test,
    failed: Arc<str>,
}

#[derive(Debug)]
enum Test {
    Present,
    Absent,
    Equals(String),
    Differs(String),
    Matches(Pattern),
    DoesNotMatch(Pattern),
}

#[derive(Debug)]
struct BodyLine {
    pattern: Pattern,
    has_to: bool,
    failed: Arc<str>,
}

#[derive(Debug)]
struct Required {
    parts: Vec<Piece>,
    failed: Arc<str>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Status,
    /// Name with `_` in place of `-`.
    Header(String),
}

impl Expected {
    /// Without a `match` block every 2xx and 3xx passes
    /// (<https://nginx.org/en/docs/http/ngx_http_upstream_hc_module.html>).
    pub(crate) fn new(block: Option<&Match>) -> Result<Self, PlanError> {
        let any = StatusTest { ranges: vec![(200, 399)], negated: false };
        let Some(block) = block else {
            return Ok(Self { status: Some(any), headers: Vec::new(), body: None, require: Vec::new() });
        };
        let body = block.body.as_ref().map(|(regex, has_to)| {
            let verb = if *has_to { "does not match" } else { "matches" };
            let failed = format!("body {verb} \"{}\"", regex.source).into();
            compile(regex).map(|pattern| BodyLine { pattern, has_to: *has_to, failed })
        });
        Ok(Self {
            status: block.status.clone(),
            headers: block.headers.iter().map(HeaderLine::new).collect::<Result<_, _>>()?,
            body: body.transpose()?,
            require: block.require.iter().map(Required::new).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn wants_body(&self) -> bool {
        self.body.is_some()
    }

    /// The first line that does not hold, of those that need no body.
    pub(crate) fn judge_head(&self, status: u16, headers: &[httparse::Header<'_>]) -> Option<Reason> {
        if self.status.as_ref().is_some_and(|test| !holds(test, status)) {
            return Some(Reason::Status(status));
        }
        let failed = self.headers.iter().find(|line| !line.holds(headers)).map(|line| &line.failed);
        let lacking =
            || self.require.iter().find(|line| !line.holds(status, headers)).map(|line| &line.failed);
        failed.or_else(lacking).map(|line| Reason::Mismatch(Arc::clone(line)))
    }

    pub(crate) fn judge_body(&self, status: u16, body: &[u8]) -> Verdict {
        match &self.body {
            Some(line) if line.pattern.is_match(body) != line.has_to => {
                Verdict::fail(Reason::Mismatch(Arc::clone(&line.failed)))
            }
            _ => Verdict::pass(Reason::Status(status)),
        }
    }
}

fn holds(test: &StatusTest, status: u16) -> bool {
    test.ranges.iter().any(|(first, last)| (*first..=*last).contains(&status)) != test.negated
}

fn compile(regex: &Regex) -> Result<Pattern, PlanError> {
    Ok(Pattern::new(&regex.source, regex.caseless)?)
}

impl HeaderLine {
    fn new(line: &HeaderTest) -> Result<Self, PlanError> {
        let name = &line.name;
        let (test, failed) = match &line.test {
            HeaderExpectation::Present => (Test::Present, format!("header {name} is missing")),
            HeaderExpectation::Absent => (Test::Absent, format!("header {name} is there")),
            HeaderExpectation::Equals(value) => {
                (Test::Equals(value.clone()), format!("header {name} is not \"{value}\""))
            }
            HeaderExpectation::Differs(value) => {
                (Test::Differs(value.clone()), format!("header {name} is \"{value}\""))
            }
            HeaderExpectation::Matches(regex) => {
                (Test::Matches(compile(regex)?), format!("header {name} does not match \"{}\"", regex.source))
            }
            HeaderExpectation::DoesNotMatch(regex) => {
                (Test::DoesNotMatch(compile(regex)?), format!("header {name} matches \"{}\"", regex.source))
            }
        };
        Ok(Self { name: name.clone(), test, failed: failed.into() })
    }

    /// Of a header that comes more than once, one is enough for what has to be, and one is too many for what must not.
    fn holds(&self, headers: &[httparse::Header<'_>]) -> bool {
        let mut found = values(headers, &self.name);
        match &self.test {
            Test::Present => found.next().is_some(),
            Test::Absent => found.next().is_none(),
            Test::Equals(value) => found.any(|found| found == value.as_bytes()),
            Test::Differs(value) => found.all(|found| found != value.as_bytes()),
            Test::Matches(pattern) => found.any(|found| pattern.is_match(found)),
            Test::DoesNotMatch(pattern) => found.all(|found| !pattern.is_match(found)),
        }
    }
}

impl Required {
    fn new(template: &Template) -> Result<Self, PlanError> {
        let parts: Vec<Piece> = template.0.iter().map(Piece::new).collect::<Result<_, _>>()?;
        let text: String = parts.iter().map(Piece::source).collect();
        Ok(Self { parts, failed: format!("{text} is empty or 0").into() })
    }

    fn holds(&self, status: u16, headers: &[httparse::Header<'_>]) -> bool {
        let mut value = Vec::new();
        for part in &self.parts {
            match part {
                Piece::Text(text) => value.extend_from_slice(text.as_bytes()),
                Piece::Status => value.extend_from_slice(status.to_string().as_bytes()),
                Piece::Header(name) => {
                    let named = headers.iter().find(|header| is_named(header.name, name));
                    value.extend_from_slice(named.map_or(&[][..], |header| header.value));
                }
            }
        }
        !value.is_empty() && value != b"0"
    }
}

/// Whether a header is the one of a variable's name.
fn is_named(header: &str, variable: &str) -> bool {
    let lower = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    header.bytes().map(lower).eq(variable.bytes())
}

impl Piece {
    /// The variables that a response to a probe has.
    fn new(part: &Part) -> Result<Self, PlanError> {
        match part {
            Part::Text(text) => Ok(Self::Text(text.clone())),
            Part::Variable(Variable::UpstreamHttp(name) | Variable::SentHttp(name)) => {
                Ok(Self::Header(name.clone()))
            }
            Part::Variable(Variable::Builtin(Builtin::Status | Builtin::UpstreamStatus)) => Ok(Self::Status),
            Part::Variable(Variable::Builtin(other)) => Err(PlanError::Variable(other.name().to_owned())),
            Part::Variable(other) => Err(PlanError::Variable(format!("{other:?}"))),
            Part::Capture(number) => Err(PlanError::Variable(number.to_string())),
        }
    }

    fn source(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Status => "$status".to_owned(),
            Self::Header(name) => format!("$upstream_http_{name}"),
        }
    }
}
