//! The state machine. Events and the time go in, commands come out.

mod answer;
mod begin;
mod halt;
mod observe;
mod phase;
mod resume;

use std::collections::VecDeque;

use crate::command::{Action, Command, Event, Note, NoteLevel, Outcome};
use crate::history::History;
use crate::metrics::Metrics;
use crate::moment::Moment;
use crate::plan::Plan;
use crate::progress::{Phase, Progress, SCHEMA};
use crate::queue::Queue;
use crate::refusal::Refusal;
use crate::server::{Fate, Role, Row, ServerProgress, State};
use crate::step::{Course, Step};
use crate::view::PeerView;

/// One release. Feed it events, carry out its commands:
///
/// ```text
/// loop { while let Some(command) = poll_command() { carry it out, in parallel }
///        wait for an answer, a signal, or the moment of poll_timeout; handle(event, now) }
/// ```
pub struct Rollout {
    plan: Plan,
    started: Moment,
    now: Moment,
    phase: Phase,
    minimum: usize,
    servers: Vec<Server>,
    view: Vec<PeerView>,
    failure: Option<String>,
    undo_failed: bool,
    outcome: Option<Outcome>,
    halt: Halt,
    /// The store does not answer.
    store_lost: bool,
    /// Nothing may be written any more: the lock is lost, or the store is away and nobody waits for it.
    mute: bool,
    lock_lost: bool,
    /// The document cannot be written, so the release ends without it.
    unsaved: bool,
    /// Servers of the upstream that came after the release began.
    joined: Vec<String>,
    /// An operator gave it up.
    aborted: bool,
    /// Behind the upstream's name in what people are told to type.
    words: String,
    /// The hook of the whole plan that runs.
    hook: Option<u64>,
    next_id: u64,
    outbox: VecDeque<Command>,
    cancels: VecDeque<u64>,
    saving: Option<u64>,
    dirty: bool,
    notes: VecDeque<Note>,
    /// The last command was given.
    finished: bool,
}

/// What was asked of the release from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Halt {
    No,
    AfterBatch,
    Now,
}

struct Server {
    kept: ServerProgress,
    /// It is counted as not serving, from the moment of the decision to take it out.
    claimed: bool,
    task: Option<Task>,
}

/// What is known of a server only while it is on its way.
#[derive(Default)]
struct Task {
    waiting: Option<u64>,
    wake: Option<Moment>,
    /// Of the step; its meaning is the step's.
    until: Option<Moment>,
    /// Passes, or failures, in a row.
    streak: u32,
    streak_since: Moment,
    index: u64,
    baseline: Option<Metrics>,
    /// Steps that are done once more before `kept.step` is begun: the server has to be out.
    prelude: Option<Step>,
    /// Make sure that it is out before the next step.
    recheck: bool,
    /// The release goes no further, but a change of this server is being written: turn round when it is.
    recalled: bool,
    /// The pause of the canary is over.
    promoted: bool,
    /// The proxies have seen it up since it was put back.
    seen_up: bool,
    detail: String,
}

impl Rollout {
    /// A new release, or one that goes on.
    ///
    /// # Errors
    /// Why it is not begun; nothing was changed.
    pub fn new(
        plan: Plan,
        view: &[PeerView],
        resume: Option<Progress>,
        now: Moment,
    ) -> Result<Self, Refusal> {
        let mut rollout = Self::empty(plan, view, now)?;
        match resume {
            Some(progress) => rollout.take_up(progress)?,
            None => rollout.line_up(&[])?,
        }
        rollout.enter_phase();
        rollout.proceed();
        Ok(rollout)
    }

    /// A new release after one that did not succeed and is not gone on with: servers that `last` took out and left drained are
    /// its own, so it releases them and puts them back, and they count as servers that ought to serve. With [`Rollout::new`] they
    /// are servers that somebody else took out.
    ///
    /// # Errors
    /// Why it is not begun; nothing was changed.
    pub fn after(plan: Plan, view: &[PeerView], last: &Progress, now: Moment) -> Result<Self, Refusal> {
        let mut rollout = Self::empty(plan, view, now)?;
        if last.plan.upstream != rollout.plan.upstream {
            let expected = rollout.plan.upstream.clone();
            return Err(Refusal::OtherUpstream { found: last.plan.upstream.clone(), expected });
        }
        let left = |kept: &&ServerProgress| kept.out && kept.role != Role::Spare;
        let left: Vec<ServerProgress> = last.servers.iter().filter(left).cloned().collect();
        rollout.line_up(&left)?;
        rollout.enter_phase();
        rollout.proceed();
        Ok(rollout)
    }

    fn empty(plan: Plan, view: &[PeerView], now: Moment) -> Result<Self, Refusal> {
        plan.check()?;
        Ok(Self {
            started: now,
            now,
            phase: Phase::Opening,
            minimum: 0,
            servers: Vec::new(),
            view: view.to_vec(),
            failure: None,
            undo_failed: false,
            outcome: None,
            halt: Halt::No,
            store_lost: false,
            mute: false,
            lock_lost: false,
            unsaved: false,
            joined: Vec::new(),
            aborted: false,
            words: String::new(),
            hook: None,
            next_id: 1,
            outbox: VecDeque::new(),
            cancels: VecDeque::new(),
            saving: None,
            dirty: true,
            notes: VecDeque::new(),
            finished: false,
            plan,
        })
    }

    fn line_up(&mut self, left: &[ServerProgress]) -> Result<(), Refusal> {
        let queue = Queue::new(&self.plan, &self.view, left, self.now)?;
        self.minimum = queue.minimum;
        self.servers = queue.servers.into_iter().map(Server::new).collect();
        Ok(())
    }

    /// What people have to type behind the upstream's name to reach this release again, as in ` --plan rollout.toml`.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Self {
        words.clone_into(&mut self.words);
        self
    }

    /// Takes in what happened. `now` never goes back.
    pub fn handle(&mut self, event: Event, now: Moment) {
        self.now = self.now.max(now);
        if self.finished {
            return;
        }
        match event {
            Event::Saved { id } => self.saved(id),
            Event::Failed { id, ref reason } if self.saving == Some(id) => self.save_failed(reason),
            Event::Interrupt => self.interrupt(),
            Event::StoreLost => self.lose_store(),
            Event::StoreBack => self.find_store(),
            Event::LockLost => self.lose_lock(),
            Event::Promote => self.promote(),
            Event::Abort => {
                self.aborted = true;
                self.give_up("an operator gave the release up");
            }
            Event::Active { server, active } => self.count(&server, active),
            Event::Tick => {}
            answer => self.answer(answer),
        }
        self.wake();
        self.proceed();
    }

    /// The next thing to do. Ask until there is none.
    pub fn poll_command(&mut self) -> Option<Command> {
        if let Some(id) = self.cancels.pop_front() {
            let cancel = Action::Cancel { id };
            return Some(self.command(cancel));
        }
        if self.finished {
            return None;
        }
        if self.mute {
            self.outbox.retain(|command| matches!(command.action, Action::Finish { .. }));
        } else if self.store_lost || self.saving.is_some() {
            return None;
        } else if self.dirty && !self.unsaved {
            self.dirty = false;
            let save = Action::Save { progress: Box::new(self.progress()) };
            let command = self.command(save);
            self.saving = Some(command.id);
            return Some(command);
        }
        let command = self.outbox.pop_front()?;
        self.finished = matches!(command.action, Action::Finish { .. });
        Some(command)
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        if self.finished {
            return None;
        }
        self.servers.iter().filter_map(|server| server.task.as_ref()?.wake).min()
    }

    /// The next line for people.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Every server as it stands, in the order of the release.
    #[must_use]
    pub fn status(&self) -> Vec<Row> {
        let row = |server: &Server| server.kept.row(self.detail(server));
        self.servers.iter().map(row).collect()
    }

    /// The document from which the release can go on.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            schema: SCHEMA,
            plan: self.plan.clone(),
            started: self.started,
            updated: self.now,
            phase: self.phase,
            min_healthy: self.minimum,
            servers: self.servers.iter().map(|server| server.kept.clone()).collect(),
            failure: self.failure.clone(),
            undo_failed: self.undo_failed,
            outcome: self.outcome.clone(),
        }
    }

    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn words(&self) -> &str {
        &self.words
    }

    /// An operator gave it up.
    pub(crate) const fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// So many others serve whenever a server is taken out.
    #[must_use]
    pub const fn min_healthy(&self) -> usize {
        self.minimum
    }

    /// How it ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Somebody else may release this upstream now.
    pub(crate) const fn has_lost_lock(&self) -> bool {
        self.lock_lost
    }

    /// The line for the history, once it ended.
    #[must_use]
    pub fn history(&self, who: &str) -> Option<History> {
        Some(History {
            upstream: self.plan.upstream.clone(),
            who: who.to_owned(),
            version: self.plan.version.clone(),
            started: self.started,
            ended: self.now,
            outcome: self.outcome.clone()?,
            servers: self.servers.iter().map(|s| (s.kept.address.clone(), s.kept.state())).collect(),
        })
    }

    fn detail(&self, server: &Server) -> String {
        server.task.as_ref().map_or_else(|| server.kept.detail(), |task| task.detail.clone())
    }

    fn saved(&mut self, id: u64) {
        if self.saving == Some(id) {
            self.saving = None;
        }
    }

    /// Without the document an interruption could not be mended, so the release goes no further.
    fn save_failed(&mut self, reason: &str) {
        self.saving = None;
        self.unsaved = true;
        self.give_up(&format!("the progress cannot be written: {reason}"));
    }

    /// Runs what is due.
    fn wake(&mut self) {
        for i in 0..self.servers.len() {
            let now = self.now;
            let Some(task) = self.task(i) else { continue };
            if task.wake.is_some_and(|wake| wake <= now) {
                task.wake = None;
                self.due(i);
            }
        }
    }

    fn task(&mut self, i: usize) -> Option<&mut Task> {
        self.servers[i].task.as_mut()
    }

    /// The step that the server is really at.
    fn cursor(&self, i: usize) -> Step {
        let server = &self.servers[i];
        server.task.as_ref().and_then(|task| task.prelude).unwrap_or(server.kept.step)
    }

    fn address(&self, i: usize) -> String {
        self.servers[i].kept.address.clone()
    }

    fn command(&mut self, action: Action) -> Command {
        let id = self.next_id;
        self.next_id += 1;
        Command { id, action }
    }

    fn emit(&mut self, action: Action) -> u64 {
        let command = self.command(action);
        let id = command.id;
        self.outbox.push_back(command);
        id
    }

    /// Emits a command whose answer the server waits for.
    fn ask(&mut self, i: usize, action: Action) {
        let id = self.emit(action);
        if let Some(task) = self.task(i) {
            task.waiting = Some(id);
        }
    }

    fn note(&mut self, level: NoteLevel, i: Option<usize>, text: impl Into<String>) {
        let server = i.map(|i| self.address(i));
        self.notes.push_back(Note { at: self.now, level, server, text: text.into() });
    }

    /// Changes what is written down of a server, and tells people when that changes its state.
    fn change(&mut self, i: usize, change: impl FnOnce(&mut ServerProgress)) {
        let now = self.now;
        let kept = &mut self.servers[i].kept;
        let before = kept.state();
        change(kept);
        let after = kept.state();
        self.dirty = true;
        if before != after {
            kept.since = now;
            let text = match kept.reason.as_str() {
                reason if !reason.is_empty() && after == State::Failed => format!("{after}: {reason}"),
                _ => after.to_string(),
            };
            let level = if after == State::Failed { NoteLevel::Error } else { NoteLevel::Info };
            self.note(level, Some(i), text);
        }
    }

    /// The server's way ends here.
    fn settle(&mut self, i: usize, fate: Fate) {
        self.servers[i].task = None;
        self.take_back_pause(i);
        self.change(i, |kept| kept.fate = fate);
    }

    /// The server stops where it is; the release may go on from here later.
    fn park(&mut self, i: usize) {
        if let Some(task) = self.servers[i].task.take() {
            self.cancel(task.waiting);
        }
        self.take_back_pause(i);
        self.dirty = true;
    }

    /// A pause that nobody was told of yet is over.
    fn take_back_pause(&mut self, i: usize) {
        let me = &self.servers[i].kept.address;
        self.outbox
            .retain(|command| !matches!(&command.action, Action::Pause { server, .. } if server == me));
    }

    fn cancel(&mut self, id: Option<u64>) {
        let Some(id) = id else { return };
        let queued = self.outbox.len();
        self.outbox.retain(|command| command.id != id);
        if self.outbox.len() == queued {
            self.cancels.push_back(id);
        }
    }

    /// A command that was given out already.
    fn is_in_flight(&self, i: usize) -> bool {
        let waiting = self.servers[i].task.as_ref().and_then(|task| task.waiting);
        waiting.is_some_and(|id| self.outbox.iter().all(|command| command.id != id))
    }

    fn is_running(&self) -> bool {
        self.servers.iter().any(|server| server.task.is_some())
    }

    /// Sends a server on its way.
    fn start(&mut self, i: usize, course: Course) {
        self.start_at(i, course, course.first());
    }

    fn start_at(&mut self, i: usize, course: Course, step: Step) {
        self.servers[i].task = Some(Task::default());
        self.change(i, |kept| {
            kept.fate = Fate::Running;
            kept.course = course;
            kept.step = step;
        });
        self.begin(i);
    }

    /// By the last look every proxy sends requests to it.
    fn is_serving(&self, i: usize) -> bool {
        let me = &self.servers[i].kept.address;
        self.view.iter().any(|peer| peer.address == *me && peer.serving)
    }
}

impl Server {
    fn new(kept: ServerProgress) -> Self {
        Self { claimed: kept.out, task: None, kept }
    }
}
