//! One timer a connection: armed rarely, checked often.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

thread_local! {
    static TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Called at the start of each turn of a thread's event loop: the time that its deadlines count from.
pub(crate) fn tick() {
    TURN.set(Some(Instant::now()));
}

/// The time of the current turn.
pub(crate) fn now() -> Instant {
    TURN.get().unwrap_or_else(Instant::now)
}

/// Lets the other tasks that are ready in this turn of the loop run first.
///
/// Writes of one turn then follow each other without reads between them: the receiver is woken once for many
/// of them instead of once for each, and waking costs more than everything else that a proxy does per request.
pub(crate) async fn after_others() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The time at which the running operation of a connection is given up.
///
/// Most deadlines move into the future before they are reached, so the timer is left armed where it is and
/// looked at again when it fires.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The deadline passed before the operation was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Deadline {
    /// Ready once `at` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }

    /// Runs an operation until `limit` from now.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        mut operation: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Elapsed> {
        // The clock is read only when the operation has to wait.
        let mut at = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = operation(cx) {
                return Poll::Ready(Ok(value));
            }
            let at = *at.get_or_insert_with(|| now() + limit);
            self.poll(cx, at).map(|()| Err(Elapsed))
        })
        .await
    }
}
