//! `weir service run`: from the start of an application to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::app::{self, App, Event};
use crate::check::{self, Verdict};
use crate::drain::{self, Proxy};
use crate::lease::{Lease, Wish};
use crate::plan::{Instance, Plan};
use crate::transport::{Log, Transport};

/// An application that did not become ready may take so long to end before it is killed.
const LAST: Duration = Duration::from_secs(10);
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
const FAILED: u8 = 1;

/// What the signals of an operator and the deadline of the start have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The check has not passed yet.
    Starting,
    Serving,
    /// Nobody new is sent here; the signal that asked for it waits until all is quiet.
    Draining(i32),
    /// The application was told to end.
    Ending,
    /// It was not ready in time.
    Late,
}

struct Running {
    plan: Plan,
    app: App,
    stage: Stage,
    wish: watch::Sender<Wish>,
    standing: watch::Receiver<Option<Wish>>,
    lease: Option<(Lease, watch::Sender<Option<Wish>>)>,
    kept: Option<JoinHandle<()>>,
    registry: Arc<dyn Transport>,
    proxies: Vec<Proxy>,
    drained: Option<JoinHandle<()>>,
    deadline: Instant,
    log: Log,
}

/// Runs the application of a plan until it ends; the exit code is its own, or 128 and the number of the signal that ended
/// it, 127 or 126 if it could not be started, and 1 if it was not ready in time.
///
/// Signals may be blocked when this is called; call it on the thread that lives longest, since the application ends with
/// it, and inside a runtime of tokio.
pub async fn run(plan: Plan, registry: Arc<dyn Transport>, proxies: Vec<Proxy>, log: Log) -> u8 {
    let mut events = match app::signals() {
        Ok(events) => events,
        Err(error) => {
            log(format!("cannot wait for signals: {error}"));
            return FAILED;
        }
    };
    let app = match App::start(&plan.command) {
        Ok(app) => app,
        Err((code, text)) => {
            log(text);
            return code;
        }
    };
    let (verdict, mut verdicts) = watch::channel(Verdict::Starting("not asked yet".to_owned()));
    tokio::spawn(check::watch(plan.clone(), verdict));
    let mut running = Running::new(plan, app, registry, proxies, log);
    let code = running.follow(&mut events, &mut verdicts).await;
    running.wish.send_replace(Wish::Leave);
    if let Some(kept) = running.kept.take() {
        // It has a limit of its own; a panic in it was told where it happened.
        drop(kept.await);
    }
    code
}

impl Running {
    fn new(plan: Plan, app: App, registry: Arc<dyn Transport>, proxies: Vec<Proxy>, log: Log) -> Self {
        let (standing_sender, standing) = watch::channel(None);
        let lease = Lease::new(Arc::clone(&registry), plan.clone(), Arc::clone(&log));
        let limit = if plan.start_deadline.is_zero() { FAR } else { plan.start_deadline };
        let (wish, _) = watch::channel(Wish::Serve);
        Self {
            plan,
            app,
            stage: Stage::Starting,
            wish,
            standing,
            lease: Some((lease, standing_sender)),
            kept: None,
            registry,
            proxies,
            drained: None,
            deadline: Instant::now() + limit,
            log,
        }
    }

    /// Until the application has ended.
    async fn follow(
        &mut self,
        events: &mut UnboundedReceiver<Event>,
        verdicts: &mut watch::Receiver<Verdict>,
    ) -> u8 {
        loop {
            let timed = matches!(self.stage, Stage::Starting | Stage::Late);
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Signal(number)) => self.signal(number),
                    Some(Event::Child) => {
                        if let Some(status) = self.app.reap() {
                            return self.ended(status);
                        }
                    }
                    None => return FAILED,
                },
                Ok(()) = verdicts.changed() => {
                    let verdict = verdicts.borrow_and_update().clone();
                    self.judged(verdict);
                }
                Some(()) = finished(self.drained.as_mut()) => {
                    self.drained = None;
                    self.pass_on();
                }
                () = sleep_until(self.deadline), if timed => self.late(&verdicts.borrow().clone()),
            }
        }
    }

    fn tell(&self, text: impl Into<String>) {
        (self.log)(text.into());
    }

    fn ended(&self, status: std::process::ExitStatus) -> u8 {
        if matches!(self.stage, Stage::Starting | Stage::Serving) {
            self.tell(format!("the application has ended by itself: {status}"));
        }
        if self.stage == Stage::Late { FAILED } else { app::exit_code(status) }
    }

    fn signal(&mut self, number: i32) {
        let ends = matches!(number, app::TERMINATE | app::INTERRUPT);
        match self.stage {
            Stage::Serving if ends => self.drain(number),
            Stage::Draining(_) if ends => {
                self.tell("a second signal: the drain ends here");
                self.stage = Stage::Draining(number);
                self.pass_on();
            }
            _ => {
                if ends && self.stage == Stage::Starting {
                    self.stage = Stage::Ending;
                }
                self.app.send(number);
            }
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        match (verdict, self.stage) {
            (Verdict::Passing, Stage::Starting) => {
                self.stage = Stage::Serving;
                self.tell(format!("the application (process {}) answers its check", self.app.pid()));
                if let Some((lease, standing)) = self.lease.take() {
                    self.kept = Some(tokio::spawn(lease.keep(self.wish.subscribe(), standing)));
                }
            }
            (Verdict::Passing, Stage::Serving) => {
                self.tell("the application's check passes again");
                self.wish.send_replace(Wish::Serve);
            }
            (Verdict::Failing(text), Stage::Serving) => {
                self.tell(format!("the application's check fails, it gets no traffic: {text}"));
                self.wish.send_replace(Wish::Failing(text));
            }
            _ => {}
        }
    }

    fn late(&mut self, verdict: &Verdict) {
        if self.stage == Stage::Late {
            self.tell(format!("it does not end within {LAST:?}: it is killed"));
            self.app.send(app::KILL);
            self.deadline = Instant::now() + FAR;
            return;
        }
        let seen = if let Verdict::Starting(text) = verdict { text } else { "" };
        self.tell(format!(
            "the application was not ready within {:?} (--start-deadline) and is ended; its check: {seen}",
            self.plan.start_deadline
        ));
        self.stage = Stage::Late;
        self.deadline = Instant::now() + LAST;
        self.app.send(app::TERMINATE);
    }

    fn drain(&mut self, number: i32) {
        self.stage = Stage::Draining(number);
        self.wish.send_replace(Wish::Drain);
        let draining = Draining {
            plan: self.plan.clone(),
            standing: self.standing.clone(),
            registry: Arc::clone(&self.registry),
            proxies: self.proxies.clone(),
            log: Arc::clone(&self.log),
        };
        self.drained = Some(tokio::spawn(draining.wait()));
    }

    fn pass_on(&mut self) {
        if let Some(drained) = self.drained.take() {
            drained.abort();
        }
        if let Stage::Draining(number) = self.stage {
            self.stage = Stage::Ending;
            self.app.send(number);
        }
    }
}

async fn finished(task: Option<&mut JoinHandle<()>>) -> Option<()> {
    match task {
        Some(task) => {
            // One that panicked has told so, and nobody waits for it any longer.
            drop(task.await);
            Some(())
        }
        None => std::future::pending().await,
    }
}

/// What a drain needs.
struct Draining {
    plan: Plan,
    standing: watch::Receiver<Option<Wish>>,
    registry: Arc<dyn Transport>,
    proxies: Vec<Proxy>,
    log: Log,
}

impl Draining {
    /// Returns when nobody is served any more, and at the drain timeout at the latest.
    async fn wait(mut self) {
        let limit = self.plan.drain_timeout;
        let deadline = Instant::now() + limit;
        (self.log)(format!("draining for at most {limit:?}; another signal ends the application at once"));
        let told = self.standing.wait_for(|standing| *standing == Some(Wish::Drain));
        if tokio::time::timeout_at(deadline, told).await.is_err() {
            (self.log)("the registry could not be told of the drain".to_owned());
            return;
        }
        if self.proxies.is_empty() && drain::is_proxy(&self.registry, &self.plan.upstream).await {
            self.proxies.push(Arc::clone(&self.registry));
        }
        if self.proxies.is_empty() {
            (self.log)(format!(
                "no proxy can be asked who is still served (--proxy ADDRESS): the whole {limit:?} are waited for"
            ));
            return sleep_until(deadline).await;
        }
        // It was known when the registry was told.
        let Ok(instance) = Instance::of(&self.plan).await else { return sleep_until(deadline).await };
        let peer = instance.address.to_string();
        let text = match drain::quiet(&self.proxies, &self.plan.upstream, &peer, deadline, &self.log).await {
            true => format!("no request is left at {peer}"),
            false => {
                format!("requests still run at {peer} after {limit:?}; the application is ended all the same")
            }
        };
        (self.log)(text);
    }
}
