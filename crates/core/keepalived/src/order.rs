//! The order of reading: levels are not lowered in it; what is reported shall be.

use std::collections::BTreeMap;

use weir_syntax::Diagnostic;
use weir_syntax::keepalived::{Statement, Tree};

/// Where each line came in the reading, by file and offset.
pub(crate) struct Order(BTreeMap<(u32, u32), usize>);

impl Order {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut order = Self(BTreeMap::new());
        order.walk(&tree.items);
        order
    }

    fn walk(&mut self, items: &[Statement]) {
        for statement in items {
            let next = self.0.len();
            let span = statement.name.span;
            self.0.entry((span.file, span.start)).or_insert(next);
            self.walk(statement.block.as_deref().unwrap_or_default());
        }
    }

    /// Sorts by place; what has none comes last.
    pub(crate) fn sort(&self, diagnostics: &mut [Diagnostic]) {
        diagnostics.sort_by_key(|diagnostic| {
            let Some(span) = diagnostic.span else { return (usize::MAX, 0) };
            let line = self.0.range((span.file, 0)..=(span.file, span.start)).next_back();
            (line.map_or(0, |(_, order)| *order), span.start)
        });
    }
}
