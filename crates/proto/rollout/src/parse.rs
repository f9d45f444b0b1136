//! Reads a plan and says what is wrong with it.

use std::fmt;

use crate::amount::Amount;
use crate::plan::{Check, Driver, OnFailure, Plan};

/// What is wrong with a plan, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// From 1; absent where a value came from a flag, or only several values together are wrong.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The line itself.
    pub text: Option<String>,
    pub message: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", self.message)?,
            _ => f.write_str(&self.message)?,
        }
        match &self.text {
            Some(text) => write!(f, "\n  {}", text.trim_end()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// Reads a plan in TOML. It need not be complete, because flags may add to it: see [`Plan::check`].
    ///
    /// # Errors
    /// The first thing that is no TOML, is unknown or has a wrong value.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        toml::from_str(text).map_err(|error| located(text, &error))
    }

    /// Whether a plan in TOML says what is done at a server; without that somebody else does it.
    #[must_use]
    pub fn names_driver(text: &str) -> bool {
        toml::from_str::<toml::Table>(text).is_ok_and(|table| table.contains_key("driver"))
    }

    /// Whether the plan is complete and its values go together.
    ///
    /// # Errors
    /// The first value that is wrong, by its name in the file.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.upstream.is_empty() {
            return Err(wrong(
                "no upstream is named; expected upstream = \"NAME\" in the plan or a name after weir rollout",
            ));
        }
        if self.batch.max_unavailable == Amount::Count(0) {
            return Err(wrong("batch.max_unavailable is 0; expected at least 1, or a part like 25%"));
        }
        self.check_gate()?;
        self.check_driver()?;
        if let Some(warm) = &self.warm
            && !warm.path.starts_with('/')
        {
            return Err(wrong(format!("warm.path is \"{}\"; expected one that begins with /", warm.path)));
        }
        let Some(watch) = &self.watch else { return Ok(()) };
        if !(watch.max_error_ratio >= 0.0 && watch.max_error_ratio <= 1.0) {
            return Err(wrong(format!(
                "watch.max_error_ratio is {}; expected 0.0 to 1.0",
                watch.max_error_ratio
            )));
        }
        match watch.latency_factor {
            Some(factor) if !(factor >= 1.0 && factor.is_finite()) => {
                Err(wrong(format!("watch.latency_factor is {factor}; expected 1.0 or more")))
            }
            _ => Ok(()),
        }
    }

    fn check_gate(&self) -> Result<(), PlanError> {
        let gate = &self.gate;
        if gate.rise == 0 {
            return Err(wrong("gate.rise is 0; expected 1 or more"));
        }
        for (name, span) in
            [("interval", gate.interval), ("timeout", gate.timeout), ("deadline", gate.deadline)]
        {
            if span.is_zero() {
                return Err(wrong(format!("gate.{name} is 0; expected a time like 1s")));
            }
        }
        let judged = !gate.expect_header.is_empty() || gate.expect_body.is_some();
        if judged && !matches!(gate.check, Check::Http(_)) {
            return Err(wrong(format!(
                "gate.expect_header and gate.expect_body need an HTTP check, but gate.check is \"{}\"; expected a path like /health",
                gate.check
            )));
        }
        let named = |text: &str| text.contains("{version}");
        let values = gate.expect_header.iter().filter_map(|header| header.value.as_deref());
        if self.version.new.is_none() && values.chain(gate.expect_body.as_deref()).any(named) {
            return Err(wrong(
                "the check expects {version}, but no version is named; expected version.new in the plan, or --new-version",
            ));
        }
        if gate.method.is_empty() || !gate.method.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(wrong(format!("gate.method is \"{}\"; expected one like GET or HEAD", gate.method)));
        }
        match &gate.through_proxy {
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => Err(wrong(format!(
                "gate.through_proxy is \"{url}\"; expected a URL that begins with http:// or https://"
            ))),
            _ => Ok(()),
        }
    }

    fn check_driver(&self) -> Result<(), PlanError> {
        let missing = match &self.driver {
            Driver::Shell(shell) if shell.start.is_none() => {
                Some("driver.shell has no start; expected a command")
            }
            Driver::Systemd(systemd) if systemd.unit.is_empty() => {
                Some("driver.systemd has no unit; expected one like app.service")
            }
            Driver::Docker(docker) if docker.container.is_empty() => {
                Some("driver.docker has no container; expected its name")
            }
            Driver::Docker(docker) if docker.image.is_empty() => {
                Some("driver.docker has no image; expected the new one")
            }
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(wrong(missing));
        }
        if self.on_failure == OnFailure::Rollback && !self.driver.can_roll_back() {
            let name = self.driver.name();
            let remedy = match self.driver {
                Driver::External(_) => "choose another driver, or on_failure = \"leave\"".to_owned(),
                _ => format!("expected driver.{name}.rollback, or on_failure = \"leave\""),
            };
            return Err(wrong(format!(
                "on_failure is \"rollback\", but the {name} driver has no rollback command; {remedy}"
            )));
        }
        Ok(())
    }
}

fn wrong(message: impl Into<String>) -> PlanError {
    PlanError { line: None, column: None, text: None, message: message.into() }
}

fn located(text: &str, error: &toml::de::Error) -> PlanError {
    let message = proposed(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return wrong(message);
    };
    let line = before.matches('\n').count();
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    PlanError {
        line: Some(line + 1),
        column: Some(column),
        text: text.lines().nth(line).map(str::to_owned),
        message,
    }
}

/// serde names an unknown key and every known one; people want the one that they meant.
fn proposed(message: &str) -> String {
    let kind = match message {
        message if message.starts_with("unknown field ") => "key",
        message if message.starts_with("unknown variant ") => "value",
        message => return message.lines().collect::<Vec<_>>().join(" "),
    };
    let mut names = message.split('`').skip(1).step_by(2);
    let found = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    match known.iter().min_by_key(|name| strsim::osa_distance(found, name)) {
        Some(nearest) if known.len() > 1 => {
            format!("unknown {kind} \"{found}\"; nearest is \"{nearest}\", known are {}", known.join(", "))
        }
        Some(nearest) => format!("unknown {kind} \"{found}\"; expected \"{nearest}\""),
        None => format!("unknown {kind} \"{found}\"; expected none here"),
    }
}
