//! What was found wrong, each thing once and not without end.

use crate::Diagnostic;

/// Diagnostics that are listed; a sequence could repeat a mistake a million times.
const MOST: usize = 1000;

/// A line is looked at again after each expansion and may have several mistakes.
const LATEST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Reports {
    list: Vec<Diagnostic>,
}

impl Reports {
    /// Keeps a diagnostic, unless it was just reported for the same place or too many are listed.
    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        let mut latest = self.list.iter().rev().take(LATEST);
        if self.list.len() < MOST && latest.all(|known| *known != diagnostic) {
            self.list.push(diagnostic);
            if self.list.len() == MOST {
                let end = format!("the first {MOST} problems are listed, further ones are not");
                self.list.push(Diagnostic::error(end).help("mend these and check again"));
            }
        }
    }

    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }
}
