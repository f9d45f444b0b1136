//! Waiting for a store that is away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_discovery::Backoff;

use super::error::StoreError;

/// The longest pause between two attempts.
const CEILING: Duration = Duration::from_secs(2);

/// What happens to a store while it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// It does not answer; whoever asks it something waits.
    Lost { problem: String },
    /// It answers again.
    Back,
    /// Somebody else may release now; nothing is written any more.
    LockLost { why: String },
}

/// Who is told; it must not block.
pub type Tell = Arc<dyn Fn(StoreEvent) + Send + Sync>;

pub(crate) struct Link {
    tell: Tell,
    away: AtomicBool,
}

impl Link {
    pub(super) fn new(tell: Tell) -> Self {
        Self { tell, away: AtomicBool::new(false) }
    }

    pub(crate) fn tell(&self, event: StoreEvent) {
        (self.tell)(event);
    }

    /// Tells of a change between there and away, once.
    pub(crate) fn heard(&self, problem: Option<String>) {
        if self.away.swap(problem.is_some(), Ordering::Relaxed) == problem.is_some() {
            return;
        }
        self.tell(problem.map_or(StoreEvent::Back, |problem| StoreEvent::Lost { problem }));
    }

    /// Tries until it answers, whatever that is.
    pub(crate) async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = Backoff::new(CEILING);
        loop {
            match attempt().await {
                Err(error) if error.passes() => {
                    self.heard(Some(error.to_string()));
                    tokio::time::sleep(backoff.failed(fastrand::u64(..))).await;
                }
                answer => {
                    self.heard(None);
                    return answer;
                }
            }
        }
    }
}
