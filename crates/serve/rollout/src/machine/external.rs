//! Somebody else replaces the server: what tells that it was done.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use weir_rollout::Span;

/// The servers that are out, and whether an operator said that they were replaced.
pub(crate) struct External {
    out: watch::Sender<BTreeMap<String, bool>>,
}

impl Default for External {
    fn default() -> Self {
        Self { out: watch::Sender::new(BTreeMap::new()) }
    }
}

impl External {
    /// From now on a word of the operator counts for this server.
    pub(crate) fn stop(&self, server: &str) {
        self.out.send_modify(|out| {
            out.insert(server.to_owned(), false);
        });
    }

    /// Absent: all that are out.
    pub(crate) fn replaced(&self, server: Option<&str>) {
        self.out.send_modify(|out| {
            for (name, said) in out.iter_mut() {
                *said |= server.is_none_or(|server| server == name);
            }
        });
    }

    /// Until the server was replaced: `probe` failed once and then passes, or the operator said so.
    ///
    /// # Errors
    /// It was not within the time.
    pub(crate) async fn start<F: Future<Output = Result<(), String>>>(
        &self,
        server: &str,
        timeout: Span,
        interval: Span,
        probe: Option<impl Fn() -> F>,
    ) -> Result<(), String> {
        self.out.send_if_modified(|out| {
            out.entry(server.to_owned()).or_insert(false);
            false
        });
        let mut said = self.out.subscribe();
        let replaced = async {
            tokio::select! {
                _ = said.wait_for(|out| out.get(server).copied().unwrap_or(false)) => {}
                () = seen(interval, probe) => {}
            }
        };
        let done = timeout_at(Instant::now() + timeout.duration(), replaced).await;
        self.out.send_modify(|out| {
            out.remove(server);
        });
        done.map_err(|_| {
            format!(
                "{server} was not replaced within {timeout}: its check did not fail and pass again, and nobody said weir rollout continue; \
                 replace it, or raise driver.external.timeout"
            )
        })
    }
}

/// Until a probe failed and another passed; never without one.
async fn seen<F: Future<Output = Result<(), String>>>(interval: Span, probe: Option<impl Fn() -> F>) {
    let Some(probe) = probe else { return std::future::pending().await };
    let mut failed = false;
    loop {
        let next = Instant::now() + interval.duration();
        match probe().await {
            Ok(()) if failed => return,
            Ok(()) => {}
            Err(_) => failed = true,
        }
        sleep_until(next).await;
    }
}
