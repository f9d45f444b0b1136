//! SIGHUP: another configuration for the living worker, or nothing at all.

use weir_net::Signal;

use super::{Keeper, Serving, Stage, start};
use crate::load;

impl Keeper {
    /// Loads the configuration again and serves it. Whatever fails is told, and all stays as it was.
    pub(super) fn reload(&mut self) {
        if self.stage == Stage::Resting {
            // The way back from a new binary that is not wanted: nginx starts workers, and reads nothing.
            self.stage = Stage::Serving;
            self.start_worker();
            return;
        }
        self.journal.notice("reconfiguring");
        let Some(next) = self.prepare() else {
            return;
        };
        let current = self.workers.iter().rposition(|worker| !worker.leaving);
        match current {
            Some(at) if self.workers[at].identity == next.identity => {
                if let Err(failure) = start::apply(&self.workers[at], &next, &self.journal) {
                    self.journal.emerg(format_args!("reload failed: {}", failure.reason()));
                    if failure.is_broken() {
                        self.workers[at].signal(Signal::Kill);
                    }
                    return;
                }
            }
            // What a process has become cannot be undone: another user needs another process.
            _ => match start::spawn(&next, &self.journal) {
                Ok(worker) => {
                    self.dismiss_workers();
                    self.workers.push(worker);
                }
                Err(reason) => {
                    self.journal.emerg(format_args!("reload failed: {reason}"));
                    return;
                }
            },
        }
        self.serving.sockets.remove_files(&next.sockets, &self.journal);
        self.serving = next;
        self.switch_log();
    }

    fn prepare(&self) -> Option<Serving> {
        let loaded = load::load(&self.invocation.options, &self.journal)?;
        let generation = self.serving.generation + 1;
        start::prepare(loaded.config, generation, &self.serving.sockets, &self.journal)
    }
}
