//! What lowering knows besides the line at hand: the machine, the defaults, the trackers, and what was noted.

use std::collections::HashMap;

use weir_syntax::{Diagnostic, Source, Span};

use crate::global::Defaults;

/// The machine as far as loading asks about it.
pub trait Environment: Source {
    /// The number of a routing table that has a name, as `/etc/iproute2/rt_tables` gives it. `local`, `main` and
    /// `default` are known without.
    fn routing_table(&self, _name: &str) -> Option<u32> {
        None
    }
}

/// The kinds of things that are defined in one place and tracked by name in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Script,
    Process,
    File,
    /// `track_group`, which static addresses, routes and rules name.
    StaticGroup,
}

/// A tracker as its users see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracker {
    pub(crate) weight: i32,
    pub(crate) reverse: bool,
    /// Which statement of the root defines it.
    pub(crate) position: usize,
}

pub struct Scope<'e> {
    pub(crate) env: &'e dyn Environment,
    pub(crate) notes: Vec<Diagnostic>,
    /// Complete as soon as the first block other than `global_defs` is lowered.
    pub(crate) defaults: Defaults,
    pub(crate) trackers: HashMap<(Kind, String), Tracker>,
    /// Which statement of the root is being lowered.
    pub(crate) position: usize,
}

impl<'e> Scope<'e> {
    pub(crate) fn new(env: &'e dyn Environment) -> Self {
        Self { env, notes: Vec::new(), defaults: Defaults::default(), trackers: HashMap::new(), position: 0 }
    }

    /// Notes what keepalived would log and go on after. The text says what happens instead.
    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.note(Diagnostic::warning(message).at(span));
    }

    /// The same with advice.
    pub(crate) fn advise(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.note(Diagnostic::warning(message).at(span).help(help));
    }

    /// Notes what makes the file unusable.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.note(Diagnostic::error(message).at(span).help(help));
    }

    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.notes.push(diagnostic);
    }
}
