//! The rewrite program of a server or location (nginx document "ngx_http_rewrite_module").

use weir_model::rewrite::AfterRewrite;
use weir_model::{Builtin, Condition, Level, LocationId, Part, RewriteFlag, Template, Variable};

use crate::evaluate::{Scope, size};
use crate::request::{Request, UriState};
use crate::site::{Matcher, Place, Step, Test};
use crate::wire::uri::{Escape, Unescape, escape, unescape};

/// What a rewrite program decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on where the request is.
    Continue,
    /// The URI changed: find its location again.
    Search,
    /// Answer at once. `text` is a body, or the target of a redirect.
    Return { status: u16, text: Option<Vec<u8>> },
    /// `return 444`: close without an answer.
    Close,
}

/// Runs the program of a place. A true `if` with settings of its own moves the request there.
pub fn run(request: &mut Request, scope: Scope<'_>, place: &Place) -> Verdict {
    let mut run = Run { request, scope, changed: false, logged: place.settings.rewrite_log };
    match run.steps(&place.rewrite) {
        Flow::Done(verdict) => verdict,
        Flow::Next | Flow::Stop if run.changed => Verdict::Search,
        Flow::Next | Flow::Stop => Verdict::Continue,
    }
}

enum Flow {
    Next,
    Stop,
    Done(Verdict),
}

struct Run<'a, 's> {
    request: &'a mut Request,
    scope: Scope<'s>,
    /// A `rewrite` without a last word changed the URI.
    changed: bool,
    /// `rewrite_log`.
    logged: bool,
}

impl Run<'_, '_> {
    fn steps(&mut self, steps: &[Step]) -> Flow {
        for step in steps {
            let flow = self.step(step);
            if !matches!(flow, Flow::Next) {
                return flow;
            }
        }
        Flow::Next
    }

    fn step(&mut self, step: &Step) -> Flow {
        match step {
            Step::Set { variable, value } => {
                let value = self.request.expanded(self.scope, value);
                self.assign(variable, value);
                Flow::Next
            }
            Step::Break => {
                self.request.valid_location = self.request.valid_location && !self.changed;
                self.changed = false;
                Flow::Stop
            }
            Step::Return { status: 444, .. } => Flow::Done(Verdict::Close),
            Step::Return { status, text } => {
                let text = text.as_ref().map(|text| {
                    // The text may show it.
                    self.request.answer.status = *status;
                    self.request.expanded(self.scope, text)
                });
                Flow::Done(Verdict::Return { status: *status, text })
            }
            Step::If { condition, then, location } => self.branch(condition, then, *location),
            Step::Rewrite { matcher, replacement, flag } => self.rewrite(matcher, replacement, *flag),
        }
    }

    fn assign(&mut self, variable: &Variable, value: Vec<u8>) {
        match variable {
            Variable::User(index) => self.request.set(*index, value),
            Variable::Builtin(Builtin::Args) => {
                self.request.args = value;
                self.request.uri_state = UriState::Changed;
            }
            Variable::Builtin(Builtin::LimitRate) => match size(&value) {
                Some(rate) => self.request.limit_rate = Some(rate),
                None => {
                    let line = format!("invalid $limit_rate \"{}\"", String::from_utf8_lossy(&value));
                    self.scope.world.note(Level::Error, line);
                }
            },
            _ => {}
        }
    }

    fn branch(&mut self, condition: &Test, then: &[Step], location: Option<LocationId>) -> Flow {
        if !self.test(condition) {
            return Flow::Next;
        }
        if let Some(id) = location {
            self.request.location = id;
        }
        self.steps(then)
    }

    fn log_match(&self, matcher: &Matcher, subject: &[u8], hit: bool) {
        self.log_line(|| {
            let verb = if hit { "matches" } else { "does not match" };
            format!("\"{}\" {verb} \"{}\"", matcher.pattern.source(), String::from_utf8_lossy(subject))
        });
    }

    fn log_line(&self, line: impl FnOnce() -> String) {
        if self.logged {
            self.scope.world.note(Level::Notice, line());
        }
    }

    fn value(&mut self, variable: &Variable) -> Vec<u8> {
        let mut value = Vec::new();
        self.request.variable(self.scope, variable, &mut value);
        value
    }

    fn test(&mut self, test: &Test) -> bool {
        match test {
            Test::Match { variable, matcher, negate } => {
                let value = self.value(variable);
                let hit = matcher.pattern.captures(&value, &mut self.request.captures);
                self.log_match(matcher, &value, hit);
                if hit {
                    self.request.matched(matcher, &value);
                } else {
                    self.request.captures.clear();
                }
                hit != *negate
            }
            Test::Plain(Condition::Truthy(variable)) => {
                let value = self.value(variable);
                !value.is_empty() && value != b"0"
            }
            Test::Plain(Condition::Equal { variable, value, negate }) => {
                let left = self.value(variable);
                let right = self.request.expanded(self.scope, value);
                (left == right) != *negate
            }
            Test::Plain(Condition::File { path, test, negate }) => {
                let path = self.request.expanded(self.scope, path);
                self.scope.world.file(&path, *test) != *negate
            }
            // Patterns were compiled into `Test::Match`.
            Test::Plain(Condition::Match { .. }) => false,
        }
    }

    fn rewrite(&mut self, matcher: &Matcher, replacement: &Template, flag: RewriteFlag) -> Flow {
        let uri = std::mem::take(&mut self.request.uri);
        let hit = matcher.pattern.captures(&uri, &mut self.request.captures);
        self.log_match(matcher, &uri, hit);
        if hit {
            self.request.matched(matcher, &uri);
        }
        self.request.uri = uri;
        if !hit {
            self.request.captures.clear();
            return Flow::Next;
        }
        let redirect = matches!(flag.then, AfterRewrite::Redirect | AfterRewrite::Permanent);
        let (mut path, args) = self.replacement(replacement, redirect);
        let mut args = args;
        if flag.keep_args && !self.request.args.is_empty() {
            match &mut args {
                Some(args) => {
                    args.push(b'&');
                    args.extend_from_slice(&self.request.args);
                }
                None => args = Some(self.request.args.clone()),
            }
        }
        if redirect {
            if let Some(args) = args {
                path.push(b'?');
                path.extend_from_slice(&args);
            }
            self.log_line(|| format!("rewritten redirect: \"{}\"", String::from_utf8_lossy(&path)));
            let status = if flag.then == AfterRewrite::Permanent { 301 } else { 302 };
            return Flow::Done(Verdict::Return { status, text: Some(path) });
        }
        self.request.uri = path;
        match args {
            Some(args) => self.request.args = args,
            None if !flag.keep_args => self.request.args.clear(),
            None => {}
        }
        let Request { uri, args, .. } = &*self.request;
        if self.logged {
            let (uri, args) = (String::from_utf8_lossy(uri), String::from_utf8_lossy(args));
            self.scope.world.note(Level::Notice, format!("rewritten data: \"{uri}\", args: \"{args}\""));
        }
        if uri.is_empty() {
            self.scope.world.note(Level::Error, "the rewritten URI has a zero length".to_owned());
            return Flow::Done(Verdict::Return { status: 500, text: None });
        }
        self.request.uri_state = UriState::Changed;
        self.request.internal = true;
        match flag.then {
            AfterRewrite::Break => {
                self.request.valid_location = false;
                self.changed = false;
                Flow::Stop
            }
            AfterRewrite::Last => Flow::Done(Verdict::Search),
            _ => {
                self.changed = true;
                Flow::Next
            }
        }
    }

    /// Path and arguments of a replacement. Captures of a URI that was sent encoded are encoded again in
    /// arguments and redirects; an internal path stays decoded.
    fn replacement(&mut self, template: &Template, redirect: bool) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut path = Vec::new();
        let mut args: Option<Vec<u8>> = None;
        for part in &template.0 {
            let mut piece = Vec::new();
            match part {
                Part::Text(text) => {
                    let bytes = text.as_bytes();
                    match (&mut args, memchr::memchr(b'?', bytes)) {
                        (None, Some(at)) => {
                            path.extend_from_slice(&bytes[..at]);
                            args = Some(bytes[at + 1..].to_vec());
                        }
                        (Some(args), _) => args.extend_from_slice(bytes),
                        (None, None) => path.extend_from_slice(bytes),
                    }
                    continue;
                }
                Part::Capture(group) => {
                    let capture = self.request.capture(usize::from(*group));
                    if (args.is_some() || redirect) && self.request.quoted {
                        escape(Escape::Args, capture, &mut piece);
                    } else {
                        piece.extend_from_slice(capture);
                    }
                }
                Part::Variable(variable) => {
                    self.request.variable(self.scope, variable, &mut piece);
                }
            }
            args.as_mut().unwrap_or(&mut path).extend_from_slice(&piece);
        }
        if redirect {
            let mut plain = Vec::with_capacity(path.len());
            unescape(Unescape::Redirect, &path, &mut plain);
            path = plain;
        }
        (path, args)
    }
}
