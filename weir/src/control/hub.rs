//! The one place where lists, results of checks, orders of people and threads that serve meet the directory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_directory::{Action, Change, Configured, Directory, Memory, Now, SetError, UpstreamStatus};
use weir_health::{Report, Target};
use weir_log::clock;
use weir_model::{Level, Upstream};
use weir_serve_discovery::{Update, What};
use weir_serve_health::Health;
use weir_serve_http::Publisher;

use super::Log;

/// Shared by the tasks of the control thread.
pub(super) struct Hub {
    inner: Mutex<Inner>,
    publisher: Publisher,
    health: Health,
    log: Log,
    /// The last change that was given to the data threads.
    published: watch::Sender<u64>,
    /// The last change that all of them serve.
    served: watch::Sender<u64>,
    /// Grows whenever the memory has changed.
    memory: watch::Sender<u64>,
    /// The change of the memory that is on disk, or that could not be written.
    kept: watch::Sender<u64>,
    /// Grows whenever something has changed that a status shows.
    changes: watch::Sender<u64>,
}

struct Inner {
    directory: Directory,
    /// Set while a configuration is being put in force: what is to be published waits for it.
    held: Option<Vec<Action>>,
}

/// Now, as the directory counts.
pub(super) fn now() -> Now {
    let now = clock::now();
    Now { mono: now.mono_ms, unix: now.unix_ms }
}

impl Hub {
    pub(super) fn new(memory: Memory, publisher: Publisher, health: Health, log: Log) -> Hub {
        Hub {
            inner: Mutex::new(Inner { directory: Directory::new(memory), held: None }),
            publisher,
            health,
            log,
            published: watch::Sender::new(0),
            served: watch::Sender::new(0),
            memory: watch::Sender::new(0),
            kept: watch::Sender::new(0),
            changes: watch::Sender::new(1),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the directory, and then what it asks for.
    fn with<R>(&self, change: impl FnOnce(&mut Directory) -> R) -> R {
        let mut inner = self.inner();
        let result = change(&mut inner.directory);
        let mut remember = false;
        while let Some(action) = inner.directory.poll_action() {
            match action {
                Action::Publish { .. } if inner.held.is_some() => {
                    inner.held.get_or_insert_default().push(action);
                }
                Action::Remember => remember = true,
                action => self.act(action),
            }
        }
        drop(inner);
        self.publisher.look();
        if remember {
            self.memory.send_modify(|count| *count += 1);
        }
        self.changes.send_modify(|count| *count += 1);
        result
    }

    fn act(&self, action: Action) {
        match action {
            Action::Publish { change, key, members } => {
                if self.publisher.publish(change, &key, members) {
                    self.published.send_modify(|last| *last = change.max(*last));
                }
            }
            Action::Watch { key, index, check, peer, address, state, known } => {
                self.health.watch(Target { key, index, check, peer, address, state, known });
            }
            Action::Unwatch { key, index, peer } => self.health.unwatch(&key, index, &peer),
            Action::Note { level, text } => (self.log)(level, text),
            Action::Transition(transition) => (self.log)(Level::Notice, transition.to_string()),
            Action::Remember => {}
        }
    }

    /// Takes a configuration; nothing is published until [`Self::settle`].
    pub(super) fn configure(&self, upstreams: &[Upstream]) -> Configured {
        self.inner().held.get_or_insert_default();
        self.with(|directory| directory.configure(now(), upstreams))
    }

    /// The configuration is in force: what came up meanwhile is published.
    pub(super) fn settle(&self, change: u64) {
        let held = self.inner().held.take().unwrap_or_default();
        for action in held {
            if matches!(&action, Action::Publish { change: later, .. } if *later > change) {
                self.act(action);
            }
        }
        self.published.send_modify(|last| *last = change.max(*last));
    }

    /// A configuration was refused, and the one before holds: what came up meanwhile is published.
    pub(super) fn restore(&self, upstreams: &[Upstream]) {
        let Configured { change, members } = self.configure(upstreams);
        for (upstream, members) in upstreams.iter().zip(members) {
            self.act(Action::Publish { change, key: upstream.key(), members });
        }
        self.settle(change);
    }

    /// Whether peers wait for the first result of a check, or upstreams for their first list.
    pub(super) fn awaits(&self) -> (bool, bool) {
        let inner = self.inner();
        (inner.directory.awaits_first_checks(), inner.directory.awaits_first_lists())
    }

    pub(super) fn update(&self, update: Update) {
        let Update { key, source, what } = update;
        match what {
            What::List(list) => self.with(|directory| directory.handle_list(now(), &key, source, list)),
            What::Failed { error, endpoint } => {
                self.with(|directory| directory.handle_source_failed(now(), &key, source, error, endpoint));
            }
        }
    }

    pub(super) fn checked(&self, report: Report) {
        let Report { key, index, peer, passed, first, reason, .. } = report;
        self.with(|directory| directory.handle_check(now(), &key, &peer, index, passed, first, reason));
    }

    pub(super) fn timeout(&self) {
        self.with(|directory| directory.handle_timeout(now()));
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.inner().directory.poll_timeout()
    }

    /// Sets the state of a peer; returns the change to wait for once it is kept on disk.
    pub(super) async fn set(&self, change: Change) -> Result<u64, SetError> {
        let number = self.with(|directory| directory.set(now(), change))?;
        let memory = *self.memory.borrow();
        // An error means that the thread ends.
        let _ = self.kept.subscribe().wait_for(|kept| *kept >= memory).await;
        Ok(number)
    }

    pub(super) fn status(&self) -> Vec<UpstreamStatus> {
        self.inner().directory.status(now())
    }

    pub(super) fn directory<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.inner().directory)
    }

    /// Grows with whatever a status shows.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns when every data thread serves a change.
    pub(super) async fn served(&self, change: u64) {
        // An error means that the thread ends.
        let _ = self.served.subscribe().wait_for(|served| *served >= change).await;
    }

    /// Follows what the data threads serve; never returns.
    pub(super) async fn follow_threads(self: Arc<Self>) {
        let mut published = self.published.subscribe();
        loop {
            let last = *published.borrow_and_update();
            if last > *self.served.borrow() {
                self.publisher.wait_served(last).await;
                let served = self.publisher.served().max(last);
                self.with(|directory| directory.handle_served(served));
                self.served.send_replace(served);
            } else if published.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes the memory whenever it has changed; never returns.
    pub(super) async fn keep_memory(self: Arc<Self>, file: super::memory::MemoryFile) {
        let mut changed = self.memory.subscribe();
        let mut told = false;
        loop {
            let number = *changed.borrow_and_update();
            if number > *self.kept.borrow() {
                let memory = self.inner().directory.memory();
                let file = file.clone();
                let written = tokio::task::spawn_blocking(move || file.write(&memory)).await;
                let error = match written {
                    Ok(Ok(())) => None,
                    Ok(Err(text)) => Some(text),
                    Err(error) => Some(error.to_string()),
                };
                // A full disk stays full for a while: once is enough.
                if let Some(text) = error.as_ref().filter(|_| !told) {
                    (self.log)(Level::Error, text.clone());
                }
                told = error.is_some();
                self.kept.send_replace(number);
            } else if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
