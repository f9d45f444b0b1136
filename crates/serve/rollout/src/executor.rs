//! Carries out the commands of a release, side by side, and tells it what came of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use weir_rollout::{Action, Command, Event, Moment, Note, NoteLevel, Outcome, Rollout, Share, Span};

use crate::clock::Clock;
use crate::display::Display;
use crate::lock::{Holder, Lock};
use crate::machine::{Machine, Output};
use crate::order::{self, Order};
use crate::proxies::Proxies;
use crate::store::{Store, StoreError, StoreEvent, Tell};

/// How long the end of a release clears up at its servers.
const CLEANING: Duration = Duration::from_secs(60);

/// How long the end of a release waits for a store that is away.
const FAREWELL: Duration = Duration::from_secs(10);

/// So many printed lines wait to be shown; a command that prints faster would fill the memory.
const LINES: usize = 10_000;

/// What reaches a release from outside.
enum Told {
    Event(Event),
    Store(StoreEvent),
    Order(Order),
    Output {
        server: String,
        line: String,
    },
    /// Something may be to be shown.
    Look,
}

/// Where a release is told things.
#[derive(Clone)]
pub struct Mouth(UnboundedSender<Told>, Arc<Hearing>);

/// What it was told and has not taken in yet.
pub struct Ear(UnboundedReceiver<Told>, Arc<Hearing>);

/// What both ends know.
#[derive(Default)]
struct Hearing {
    open: AtomicBool,
    interrupted: Notify,
    /// Printed lines that were not taken in yet.
    lines: AtomicUsize,
}

/// Both ends; the store and the machine of a release get what they tell through from the first one.
#[must_use]
pub fn channel() -> (Mouth, Ear) {
    let (sender, receiver) = unbounded_channel();
    let hearing = Arc::new(Hearing::default());
    (Mouth(sender, Arc::clone(&hearing)), Ear(receiver, hearing))
}

impl Ear {
    /// From now on what is said waits for the release.
    pub fn open(&self) {
        self.1.open.store(true, Ordering::Relaxed);
    }

    /// Until the first interruption, for whoever does something before the release runs.
    pub async fn interrupted(&self) {
        self.1.interrupted.notified().await;
    }
}

impl Mouth {
    /// For the store.
    #[must_use]
    pub fn tell(&self) -> Tell {
        let mouth = self.clone();
        Arc::new(move |event| mouth.say(Told::Store(event)))
    }

    /// For the machine.
    #[must_use]
    pub fn output(&self) -> Output {
        let mouth = self.clone();
        Arc::new(move |server, line| {
            let waiting = mouth.1.lines.fetch_add(1, Ordering::Relaxed);
            if waiting > LINES {
                mouth.1.lines.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let line = if waiting == LINES { "weir: lines are left out, they come too fast" } else { line };
            mouth.say(Told::Output { server: server.to_owned(), line: line.to_owned() });
        })
    }

    /// Ctrl-C: the first time the batch is finished, the second time the release stops at once.
    pub fn interrupt(&self) {
        self.1.interrupted.notify_one();
        self.event(Event::Interrupt);
    }

    /// Whether there is a release that takes in what is said, or will soon be.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.1.open.load(Ordering::Relaxed)
    }

    fn event(&self, event: Event) {
        self.say(Told::Event(event));
    }

    fn say(&self, told: Told) {
        // Nobody hears it where the release is over.
        let _ = self.0.send(told);
    }
}

/// A release with everything that it needs.
pub struct Release {
    pub rollout: Rollout,
    pub store: Store,
    pub proxies: Arc<Proxies>,
    pub machine: Machine,
    pub clock: Clock,
    /// `user@host`, for the history.
    pub who: String,
}

impl Release {
    /// Runs to its end, and lets the lock go.
    pub async fn run(self, lock: Lock, ear: Ear, mouth: Mouth, display: &mut dyn Display) -> Outcome {
        let listener = listen(self.store.clone(), lock.holder().clone(), mouth.clone());
        let listener = tokio::spawn(listener).abort_handle();
        let work = Work {
            store: self.store,
            proxies: self.proxies,
            machine: self.machine,
            clock: self.clock,
            websockets: self.rollout.plan().drain.websockets,
            mouth,
        };
        let hands = Hands { work, running: HashMap::new() };
        let mut run = Run { rollout: self.rollout, missing: Vec::new(), hands, display };
        let outcome = run.carry_on(ear).await;
        listener.abort();
        run.farewell(&outcome, &self.who, lock).await;
        outcome
    }
}

struct Run<'a> {
    rollout: Rollout,
    /// Proxies that do not answer, as it was told.
    missing: Vec<String>,
    hands: Hands,
    display: &'a mut dyn Display,
}

impl Run<'_> {
    async fn carry_on(&mut self, mut ear: Ear) -> Outcome {
        loop {
            while let Some(command) = self.rollout.poll_command() {
                match command.action {
                    Action::Finish { outcome } => {
                        self.show();
                        return outcome;
                    }
                    Action::Pause { server, percent, until } => self.pause(&server, percent, until),
                    action => self.hands.begin(Command { id: command.id, action }),
                }
            }
            self.show();
            let due = self.rollout.poll_timeout().map(|moment| self.hands.work.clock.instant(moment));
            let told = tokio::select! {
                told = ear.0.recv() => told,
                () = at(due) => Some(Told::Event(Event::Tick)),
            };
            // The executor holds a mouth itself, so there is always somebody who may speak.
            if let Some(told) = told {
                self.take_in(told);
            }
        }
    }

    fn take_in(&mut self, told: Told) {
        let event = match told {
            Told::Event(event) => event,
            Told::Output { server, line } => {
                self.hands.work.mouth.1.lines.fetch_sub(1, Ordering::Relaxed);
                return self.display.output(&server, &line);
            }
            Told::Look => return,
            Told::Store(event) => self.of_store(event),
            Told::Order(order) => match self.of_order(order) {
                Some(event) => event,
                None => return,
            },
        };
        if let Some(id) = event.id() {
            self.hands.running.remove(&id);
        }
        self.rollout.handle(event, self.hands.work.clock.now());
    }

    fn of_store(&mut self, event: StoreEvent) -> Event {
        match event {
            StoreEvent::Lost { problem } => {
                self.note(NoteLevel::Warning, &problem);
                Event::StoreLost
            }
            StoreEvent::Back => Event::StoreBack,
            StoreEvent::LockLost { why } => {
                self.note(NoteLevel::Error, &format!("the lock is lost: {why}"));
                Event::LockLost
            }
        }
    }

    fn of_order(&mut self, order: Order) -> Option<Event> {
        let by = order.by().to_owned();
        match order {
            Order::Promote { .. } => {
                self.note(NoteLevel::Info, &format!("promoted by {by}"));
                Some(Event::Promote)
            }
            Order::Abort { .. } => {
                self.note(NoteLevel::Warning, &format!("given up by {by}"));
                Some(Event::Abort)
            }
            Order::Continue { server, .. } => {
                let name = server.as_deref().unwrap_or("the server");
                self.note(NoteLevel::Info, &format!("{by} says that {name} was replaced"));
                self.hands.work.machine.replaced(server.as_deref());
                None
            }
        }
    }

    fn note(&mut self, level: NoteLevel, text: &str) {
        let at = self.hands.work.clock.now();
        self.display.note(&Note { at, level, server: None, text: text.to_owned() });
    }

    fn pause(&mut self, server: &str, percent: Share, until: Option<Moment>) {
        let upstream = self.rollout.plan().upstream.clone();
        let text = match until {
            Some(until) => {
                format!("{server} stands at {percent} for {}", until - self.hands.work.clock.now())
            }
            None => format!("{server} stands at {percent} until: weir rollout promote {upstream}"),
        };
        self.note(NoteLevel::Info, &text);
    }

    /// Proxies that do not answer.
    fn look_for_missing(&mut self) {
        let proxies = &self.hands.work.proxies;
        let (missing, optional) = (proxies.away(), proxies.is_optional());
        if missing == self.missing {
            return;
        }
        let names = missing.join(", ");
        match missing.as_slice() {
            [] => self.note(NoteLevel::Info, "every proxy answers again"),
            _ if optional => self.note(NoteLevel::Warning, &format!("no answer from {names}: done without")),
            _ => self.note(NoteLevel::Warning, &format!("no answer from {names}: waited for")),
        }
        self.missing = missing;
    }

    fn show(&mut self) {
        self.look_for_missing();
        while let Some(note) = self.rollout.poll_note() {
            self.display.note(&note);
        }
        self.display.rows(&self.rollout, self.hands.work.clock.now());
    }

    /// What is left to do; a store that is away is not waited for without end.
    async fn farewell(&mut self, outcome: &Outcome, who: &str, lock: Lock) {
        if *outcome == Outcome::Done {
            let changed = self.rollout.status().into_iter().filter(|row| row.batch.is_some());
            let servers: Vec<String> = changed.map(|row| row.server).collect();
            let cleaned = tokio::time::timeout(CLEANING, self.hands.work.machine.clean(&servers)).await;
            let late = |_| Err(format!("not done within {} s", CLEANING.as_secs()));
            if let Err(problem) = cleaned.unwrap_or_else(late) {
                self.note(
                    NoteLevel::Warning,
                    &format!("what was kept for a rollback is still there: {problem}"),
                );
            }
        }
        let store = self.hands.work.store.clone();
        let history = self.rollout.history(who);
        let written = tokio::time::timeout(FAREWELL, async {
            if let Some(history) = &history {
                store.append_history(history).await?;
            }
            lock.release().await
        });
        let problem = match written.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the store does not answer".to_owned()),
        };
        if let Some(problem) = problem {
            let text = format!(
                "the end of the release is not in the history, and its lock ends by itself: {problem}"
            );
            self.note(NoteLevel::Warning, &text);
        }
        self.display.end(&self.rollout, outcome);
    }
}

async fn at(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Takes orders until it is ended.
async fn listen(store: Store, own: Holder, mouth: Mouth) {
    loop {
        // Where the store refuses, whatever the release itself asks of it says so.
        if let Ok(Some(order)) = store.take_order(&own).await {
            mouth.say(Told::Order(order));
        }
        mouth.say(Told::Look);
        tokio::time::sleep(order::PERIOD).await;
    }
}

/// What does the work.
struct Hands {
    work: Work,
    running: HashMap<u64, AbortHandle>,
}

impl Hands {
    fn begin(&mut self, command: Command) {
        let id = command.id;
        if let Action::Cancel { id } = command.action {
            if let Some(task) = self.running.remove(&id) {
                task.abort();
            }
            return;
        }
        let work = self.work.clone();
        let task = tokio::spawn(async move {
            let mouth = work.mouth.clone();
            mouth.event(work.carry_out(command).await);
        });
        self.running.insert(id, task.abort_handle());
    }
}

/// What a command is carried out with.
#[derive(Clone)]
struct Work {
    store: Store,
    proxies: Arc<Proxies>,
    machine: Machine,
    clock: Clock,
    /// They keep a server from being quiet.
    websockets: bool,
    mouth: Mouth,
}

impl Work {
    async fn carry_out(self, command: Command) -> Event {
        let (id, machine) = (command.id, &self.machine);
        match command.action {
            Action::SetDrain { server } => self.write(id, &server, drain).await,
            Action::SetUp { server, percent, slow_start } => {
                self.write(id, &server, move |attributes| up(attributes, percent, slow_start)).await
            }
            Action::SetPercent { server, percent } => {
                self.write(id, &server, move |attributes| share(attributes, percent)).await
            }
            Action::AwaitApplied { index, until, .. } => {
                match self.proxies.wait_applied(index, self.clock.instant(until)).await {
                    Ok(()) => Event::Reached { id },
                    Err(error) => failed(id, error),
                }
            }
            Action::AwaitQuiet { server, until } => self.quiet(id, server, until).await,
            Action::RunHook { stage, server, batch, result } => {
                let result = machine.hook(stage, server.as_deref(), batch, result.as_deref()).await;
                Event::Ran { id, result }
            }
            Action::Stop { server, batch } => Event::Ran { id, result: machine.stop(&server, batch).await },
            Action::Start { server, batch } => Event::Ran { id, result: machine.start(&server, batch).await },
            Action::Rollback { server, batch } => {
                Event::Ran { id, result: machine.rollback(&server, batch).await }
            }
            Action::Probe { server, through, rollback } => {
                Event::Probed { id, result: machine.probe(&server, through.as_deref(), rollback).await }
            }
            Action::Warm { server } => Event::Ran { id, result: machine.warm(&server).await },
            Action::ReadMetrics { server, others } => match self.proxies.metrics(&server, &others).await {
                Ok(metrics) => Event::Metrics { id, metrics },
                Err(error) => failed(id, error),
            },
            Action::ReadView => match self.proxies.view().await {
                Ok(view) => Event::View { id, view },
                Err(error) => failed(id, error),
            },
            Action::Save { progress } => match self.store.save_progress(&progress).await {
                Ok(()) => Event::Saved { id },
                Err(error) => failed(id, error),
            },
            Action::Pause { .. } | Action::Cancel { .. } | Action::Finish { .. } => {
                unreachable!("it is not answered, so it is carried out by the loop")
            }
        }
    }

    async fn write(
        &self,
        id: u64,
        server: &str,
        alter: impl Fn(&mut Map<String, Value>) + Send + Sync,
    ) -> Event {
        match self.store.change(server, alter).await {
            Ok(index) => Event::Applied { id, index },
            Err(StoreError::LockLost { why }) => {
                // The release is told of it by the store as well, and stops.
                Event::Failed { id, reason: format!("the lock is lost ({why})") }
            }
            Err(error) => failed(id, error),
        }
    }

    async fn quiet(&self, id: u64, server: String, until: Option<Moment>) -> Event {
        let until = until.map(|until| self.clock.instant(until));
        let mouth = &self.mouth;
        let seen = |active| mouth.event(Event::Active { server: server.clone(), active });
        match self.proxies.quiet(&server, until, self.websockets, seen).await {
            Ok(active) => Event::Quiet { id, active },
            Err(error) => failed(id, error),
        }
    }
}

fn failed(id: u64, error: impl ToString) -> Event {
    Event::Failed { id, reason: error.to_string() }
}

fn drain(attributes: &mut Map<String, Value>) {
    attributes.insert("down".to_owned(), json!(1));
}

fn up(attributes: &mut Map<String, Value>, percent: Share, slow_start: Option<Span>) {
    attributes.insert("down".to_owned(), json!(0));
    share(attributes, percent);
    if let Some(span) = slow_start {
        attributes.insert("slow_start".to_owned(), json!(span.to_string()));
    }
}

fn share(attributes: &mut Map<String, Value>, percent: Share) {
    if percent == Share::WHOLE {
        attributes.remove("percent");
    } else {
        attributes.insert("percent".to_owned(), json!(percent.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_too_fast_does_not_fill_the_memory() {
        let (mouth, mut ear) = channel();
        let output = mouth.output();
        for _ in 0..3 * LINES {
            output("", "y");
        }
        assert_eq!(ear.0.len(), LINES + 1);
        let mut last = None;
        while let Ok(told) = ear.0.try_recv() {
            last = Some(told);
        }
        let Some(Told::Output { line, .. }) = last else { panic!("no line") };
        assert_eq!(line, "weir: lines are left out, they come too fast");
    }
}
