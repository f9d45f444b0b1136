//! The durable engine: one thread that changes the state and writes it to disk, any number that read it.
//!
//! A change is applied to a copy of the state, written in one transaction with an fsync together with all changes that
//! waited meanwhile (group commit), and only then does the copy become what readers see, waiters are woken, and the
//! writer's answer leaves. The state's maps are persistent (a copy shares all that is not changed), so that readers never
//! wait for a disk, and a transaction that fails leaves nothing behind.

mod disk;
mod error;
mod snapshot;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;
use weir_registry::{Command, Outcome, State, Time, Topic};

pub use error::{OpenError, WriteError};
pub use watch::Watch;
pub use weir_registry::Identity;

use disk::Disk;
use watch::Watches;
use writer::{Job, Writer};

/// Where lines for people go.
type Log = Arc<dyn Fn(weir_model::Level, String) + Send + Sync>;

/// A registry on disk. Clones are the same registry; the last one closes it.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer's thread and the readers have in common.
struct Shared {
    state: RwLock<Arc<State>>,
    watches: Arc<Watches>,
    started: Instant,
}

impl Shared {
    fn now(&self) -> Time {
        Time(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, state: Arc<State>) {
        let old = std::mem::replace(&mut *self.state.write().unwrap_or_else(PoisonError::into_inner), state);
        // Not under the lock: it may free much.
        drop(old);
    }
}

impl Engine {
    /// Opens the database `registry.redb` of a folder, which is made if it is missing. An empty `node_id` is replaced by
    /// the one of last time, or a new one.
    ///
    /// # Errors
    /// Somebody else has it open; it is damaged (then a copy lies beside it); the disk refuses.
    pub fn open(folder: &Path, identity: Identity, log: Log) -> Result<Self, OpenError> {
        let (disk, records) = Disk::open(folder)?;
        Self::with(disk, records, identity, log)
    }

    fn with(
        mut disk: Disk,
        records: Vec<weir_registry::Record>,
        identity: Identity,
        log: Log,
    ) -> Result<Self, OpenError> {
        let started = Instant::now();
        let mut state = State::restore(identity, records, Time(0))
            .map_err(|corrupt| disk.corrupted(corrupt.to_string()))?;
        if state.identity().node_id.is_empty() {
            state.name_node(crate::uuid::random().map_err(OpenError::Random)?);
        }
        let applied = state.start(Time(0));
        disk.begin(&applied.records)?;
        let shared = Arc::new(Shared {
            state: RwLock::new(Arc::new(state)),
            watches: Arc::new(Watches::default()),
            started,
        });
        let (jobs, inbox) = channel();
        let writer = Writer::new(Arc::clone(&shared), disk, log);
        let thread = std::thread::Builder::new()
            .name("registry-write".to_owned())
            .spawn(move || writer.run(&inbox))
            .map_err(OpenError::Thread)?;
        Ok(Self { inner: Arc::new(Inner { shared, jobs, thread: Mutex::new(Some(thread)) }) })
    }

    /// Changes something; returns when it is on disk and visible. Dropping the future does not take the command back.
    ///
    /// # Errors
    /// The command was refused, or the disk does not take it now; nothing has changed.
    pub async fn write(&self, command: Command) -> Result<Outcome, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.inner.jobs.send(Job::Command(Box::new(command), reply)).map_err(|_| WriteError::Closed)?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// The same for who does not wait for the answer.
    pub(crate) fn order(&self, command: Command) {
        let (reply, _) = oneshot::channel();
        // A closed registry has nothing more to change.
        drop(self.inner.jobs.send(Job::Command(Box::new(command), reply)));
    }

    /// Reads from the state as it is on disk; never waits for one.
    pub fn read<R>(&self, question: impl FnOnce(&State) -> R) -> R {
        question(&self.inner.shared.state())
    }

    /// Waits for changes of a topic from now on. Watch first, read then: so no change is missed.
    #[must_use]
    pub fn watch(&self, topic: &Topic) -> Watch {
        self.inner.shared.watches.watch(topic)
    }

    /// Everything in one piece, with a checksum, and the index of it.
    #[must_use]
    pub fn snapshot(&self) -> (Vec<u8>, u64) {
        let shared = &self.inner.shared;
        let state = shared.state();
        (snapshot::write(&state.records(shared.now())), state.index())
    }

    /// Puts a snapshot in place of everything; all watches are woken, and the index goes on upwards.
    ///
    /// # Errors
    /// It is no snapshot or a damaged one, or the disk does not take it now; nothing has changed.
    pub async fn restore_snapshot(&self, bytes: Vec<u8>) -> Result<(), WriteError> {
        let records = snapshot::read(&bytes).map_err(WriteError::Snapshot)?;
        let (reply, answer) = oneshot::channel();
        self.inner.jobs.send(Job::Replace(records, reply)).map_err(|_| WriteError::Closed)?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Finishes the writes that were given and closes the database; reads go on, writes are refused from then on.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        drop(self.jobs.send(Job::Close));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was reported where it happened.
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
