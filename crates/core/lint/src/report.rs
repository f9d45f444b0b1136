//! Rules, and what they find.

use weir_syntax::{Diagnostic, Severity};

use crate::scene::Scene;
use crate::{Node, Place};

/// One rule of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Lower case words with `-` between them; never changes its meaning.
    pub id: &'static str,
    pub severity: Severity,
    /// One sentence: what it finds.
    pub doc: &'static str,
    pub(crate) find: for<'a> fn(&Scene<'a>, &mut Report<'a>),
}

/// What a rule found.
#[derive(Clone, Debug)]
pub struct Finding<'a> {
    pub rule: &'static Rule,
    /// The names of the nodes that it is about; the first one's files hold the place.
    pub nodes: Vec<String>,
    /// Its span points into the files of [`Self::place`].
    pub diagnostic: Diagnostic,
    pub place: Place<'a>,
    /// Places in other files that the notes speak of, in the order of the notes.
    pub related: Vec<Place<'a>>,
}

impl<'a> Finding<'a> {
    /// Adds what another place says; the note starts with that place.
    pub(crate) fn see(&mut self, place: Place<'a>, says: impl std::fmt::Display) -> &mut Self {
        self.diagnostic.notes.push(format!("{place}: {says}"));
        self.related.push(place);
        self
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) -> &mut Self {
        self.diagnostic.notes.push(note.into());
        self
    }

    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.diagnostic.help.push(help.into());
        self
    }
}

/// Takes what one rule finds.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    rule: &'static Rule,
    found: Vec<Finding<'a>>,
}

impl<'a> Report<'a> {
    pub(crate) fn add(
        &mut self,
        nodes: &[&Node<'_>],
        place: Place<'a>,
        message: impl Into<String>,
    ) -> &mut Finding<'a> {
        let rule = self.rule;
        let diagnostic =
            Diagnostic { severity: rule.severity, span: place.span, ..Diagnostic::error(message) };
        let nodes = nodes.iter().map(|node| node.name.clone()).collect();
        self.found.push(Finding { rule, nodes, diagnostic, place, related: Vec::new() });
        self.found.last_mut().expect("one was added")
    }
}

pub(crate) fn run<'a>(rule: &'static Rule, scene: &Scene<'a>) -> Vec<Finding<'a>> {
    let mut report = Report { rule, found: Vec::new() };
    (rule.find)(scene, &mut report);
    report.found
}
