//! The thread that changes the state and writes it to disk.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;
use weir_model::Level;
use weir_registry::{Applied, Command, Outcome, Record, State, Time, Topic};

use super::disk::Disk;
use super::error::WriteError;
use super::{Log, Shared};

/// The most commands in one transaction.
const BATCH: usize = 1024;
/// The pause before what is due is tried again on a disk that refuses.
const RETRY: Duration = Duration::from_secs(1);
/// Nothing is due: the thread wakes all the same, rarely.
const IDLE: Duration = Duration::from_secs(3600);

type Answer = Result<Outcome, WriteError>;

/// What the thread is asked.
pub(super) enum Job {
    Command(Box<Command>, oneshot::Sender<Answer>),
    /// Records in place of all.
    Replace(Vec<Record>, oneshot::Sender<Result<(), WriteError>>),
    Close,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    disk: Disk,
    log: Log,
    /// Why the disk refuses, while it does.
    refusing: Option<String>,
}

/// What is due, and commands in the order in which they came.
#[derive(Default)]
struct Batch {
    commands: Vec<(Command, oneshot::Sender<Answer>)>,
}

/// A state that is not on disk yet.
struct Draft {
    state: State,
    records: Vec<Record>,
    topics: BTreeSet<Topic>,
}

impl Draft {
    fn of(state: &State) -> Self {
        Self { state: state.clone(), records: Vec::new(), topics: BTreeSet::new() }
    }

    fn apply(&mut self, now: Time, command: Command) -> Answer {
        let applied = self.state.apply(now, command);
        self.take(applied)
    }

    fn expire(&mut self, now: Time) {
        if self.state.poll_timeout().is_some_and(|due| due <= now) {
            let applied = self.state.handle_timeout(now);
            // Nobody asked, and nothing is refused.
            drop(self.take(applied));
        }
    }

    fn take(&mut self, applied: Applied) -> Answer {
        self.records.extend(applied.records);
        self.topics.extend(applied.topics);
        applied.outcome.map_err(WriteError::Refused)
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, disk: Disk, log: Log) -> Self {
        Self { shared, disk, log, refusing: None }
    }

    pub(super) fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            let job = match inbox.recv_timeout(self.pause()) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Batch::default();
            let mut next = job;
            let last = loop {
                match next {
                    Some(Job::Command(command, reply)) => batch.commands.push((*command, reply)),
                    other => break other,
                }
                next = if batch.commands.len() < BATCH { inbox.try_recv().ok() } else { None };
            };
            self.obey(batch);
            match last {
                Some(Job::Replace(records, reply)) => drop(reply.send(self.replace(records))),
                Some(Job::Close) => return,
                Some(Job::Command(..)) | None => {}
            }
        }
    }

    /// How long nothing has to be done if nobody asks.
    fn pause(&self) -> Duration {
        let Some(due) = self.shared.state().poll_timeout() else { return IDLE };
        let pause = Duration::from_millis(due.0.saturating_sub(self.shared.now().0));
        if self.refusing.is_some() { pause.max(RETRY) } else { pause.min(IDLE) }
    }

    fn obey(&mut self, batch: Batch) {
        if let Err(reason) = self.recover() {
            self.refuse(batch, &reason);
            return;
        }
        let mut draft = Draft::of(&self.shared.state());
        let now = self.shared.now();
        draft.expire(now);
        let answers: Vec<Answer> =
            batch.commands.iter().map(|(command, _)| draft.apply(now, command.clone())).collect();
        match self.commit(draft) {
            Ok(()) => {
                for ((_, reply), answer) in batch.commands.into_iter().zip(answers) {
                    // Who asked may be gone.
                    drop(reply.send(answer));
                }
            }
            Err(reason) => self.refuse(batch, &reason),
        }
    }

    /// Makes a draft durable, then visible, then known.
    fn commit(&mut self, draft: Draft) -> Result<(), String> {
        if !draft.records.is_empty() {
            self.disk.write(&last_of_each(&draft.records)).inspect_err(|e| self.refusing(e))?;
            self.accepting();
        }
        self.publish(draft);
        Ok(())
    }

    fn publish(&self, draft: Draft) {
        let index = draft.state.index();
        self.shared.publish(Arc::new(draft.state));
        self.shared.watches.wake(draft.topics.iter(), index);
    }

    /// The disk does not take writes: what changes nothing on it (a renewed session, a TTL check that still passes) is
    /// obeyed all the same.
    fn refuse(&mut self, batch: Batch, reason: &str) {
        for (command, reply) in batch.commands {
            let mut draft = Draft::of(&self.shared.state());
            let answer = draft.apply(self.shared.now(), command);
            let answer = if draft.records.is_empty() {
                self.publish(draft);
                answer
            } else {
                Err(WriteError::ReadOnly { reason: reason.to_owned() })
            };
            drop(reply.send(answer));
        }
    }

    /// After a failed write: opens the database again. It may have the refused changes after all; then they are in force.
    fn recover(&mut self) -> Result<(), String> {
        if !self.disk.is_broken() {
            return Ok(());
        }
        let records = self.disk.recover().inspect_err(|e| self.refusing(e))?;
        let state = self.shared.state();
        let now = self.shared.now();
        let found =
            State::restore(state.identity().clone(), records, now).map_err(|corrupt| corrupt.to_string())?;
        match found.index().cmp(&state.index()) {
            Ordering::Equal => {}
            Ordering::Greater => {
                let topics = BTreeSet::from([Topic::All]);
                self.publish(Draft { state: found, records: Vec::new(), topics });
            }
            // The disk has lost what it had confirmed; here it is still known.
            Ordering::Less => {
                let written = self.disk.replace(&state.records(now));
                written.inspect_err(|e| self.refusing(e))?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, records: Vec<Record>) -> Result<(), WriteError> {
        let read_only = |reason| WriteError::ReadOnly { reason };
        self.recover().map_err(read_only)?;
        let now = self.shared.now();
        let state = self
            .shared
            .state()
            .replaced(records, now)
            .map_err(|corrupt| WriteError::Snapshot(corrupt.to_string()))?;
        let written = self.disk.replace(&state.records(now));
        written.inspect_err(|e| self.refusing(e)).map_err(read_only)?;
        self.accepting();
        self.publish(Draft { state, records: Vec::new(), topics: BTreeSet::from([Topic::All]) });
        Ok(())
    }

    fn refusing(&mut self, reason: &str) {
        if self.refusing.as_deref() != Some(reason) {
            (self.log)(
                Level::Error,
                format!("registry: the disk does not take writes, they are refused: {reason}"),
            );
            self.refusing = Some(reason.to_owned());
        }
    }

    fn accepting(&mut self) {
        if self.refusing.take().is_some() {
            (self.log)(Level::Notice, "registry: the disk takes writes again".to_owned());
        }
    }
}

/// The last record of each row, in the rows' order, which is the cheapest one to write.
fn last_of_each(records: &[Record]) -> Vec<Record> {
    let rows: BTreeMap<_, _> =
        records.iter().map(|record| ((record.table, record.key.as_slice()), record)).collect();
    rows.into_values().cloned().collect()
}
