//! SIGHUP: another configuration for the living worker, or nothing at all.

use weir_log::Level;
use weir_net::Signal;

use super::vrrp::Routers;
use super::{Keeper, Serving, Stage, start};
use crate::load::{self, Moment};

/// A configuration that can be served.
struct Next {
    serving: Serving,
    /// What the elections do differently, one line each.
    changes: Vec<String>,
    /// Elections where there were none.
    begun: Option<Routers>,
}

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
        let Some(Next { serving, changes, begun }) = self.prepare() else {
            self.journal.say(Level::Error, "reload refused, nothing has changed: the errors are above");
            return;
        };
        if let Err(reason) = self.apply(&serving) {
            self.journal.emerg(format_args!("reload failed: {reason}"));
            if let Some(begun) = begun {
                begun.end(false).finish();
            }
            return;
        }
        self.serving.sockets.remove_files(&serving.sockets, &self.journal);
        self.serving.control.streams().remove_files(serving.control.streams(), &self.journal);
        self.serving = serving;
        self.switch_log();
        // Whoever asks at night what a reload has done finds it, even where `error_log` wants less.
        let voice = self.journal.voice();
        changes.into_iter().for_each(|change| voice(Level::Notice, format!("reload: {change}")));
        self.reload_routers(begun);
    }

    /// Has a worker serve it: the one that runs if it can become what it has to be.
    fn apply(&mut self, next: &Serving) -> Result<(), String> {
        if !self.proxy {
            return Ok(());
        }
        let current = self.workers.iter().rfind(|worker| !worker.leaving);
        if let Some(worker) = current.filter(|worker| worker.identity == next.identity) {
            return start::apply(worker, next, &self.journal).map_err(|failure| {
                if failure.is_broken() {
                    worker.signal(Signal::Kill);
                }
                failure.reason().to_owned()
            });
        }
        // What a process has become cannot be undone: another user needs another process.
        let worker = start::spawn(next, &self.journal)?;
        self.dismiss_workers();
        self.workers.push(worker);
        Ok(())
    }

    fn prepare(&self) -> Option<Next> {
        let loaded = load::everything(&self.invocation, Moment::Reload, &self.journal)?;
        let changes = match (&self.routers, &loaded.vrrp) {
            (Some(routers), Some(vrrp)) => routers.plan(vrrp, &self.journal)?,
            _ => Vec::new(),
        };
        let generation = self.serving.generation + 1;
        let serving =
            start::prepare(loaded, generation, &self.serving.sockets, &self.serving.control, &self.journal)?;
        // Last, because it is the only step that others see.
        let begun = match &serving.vrrp {
            Some(vrrp) if self.routers.is_none() && !self.routers_wait() => {
                Some(Routers::start(vrrp.clone(), self.proxy, &self.journal)?)
            }
            _ => None,
        };
        Some(Next { serving, changes, begun })
    }
}
