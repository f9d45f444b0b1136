//! `weir service run`: from the start of an application to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::app::{self, App, Event};
use crate::check::{self, Verdict};
use crate::drain::{self, Proxy};
use crate::lease::{Lease, Wish};
use crate::notify::{Inbox, State, Supervisor};
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
    /// The application ends and has said so; nobody new is sent here meanwhile.
    Leaving,
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
    supervisor: Supervisor,
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
    let inbox = match plan.notify.then(Inbox::open).transpose() {
        Ok(inbox) => inbox,
        Err(error) => {
            log(format!("cannot open a socket for the application (--notify): {error}"));
            return FAILED;
        }
    };
    let app = match App::start(&plan.command, inbox.as_ref().map(Inbox::path).as_deref()) {
        Ok(app) => app,
        Err((code, text)) => {
            log(text);
            return code;
        }
    };
    let (ready, mut stopping) = listen(inbox, &log);
    let (verdict, mut verdicts) = watch::channel(Verdict::Starting("not asked yet".to_owned()));
    tokio::spawn(check::watch(plan.clone(), verdict, ready));
    let mut running = Running::new(plan, app, registry, proxies, log);
    let code = running.follow(&mut events, &mut verdicts, &mut stopping).await;
    running.wish.send_replace(Wish::Leave);
    if let Some(kept) = running.kept.take() {
        // It has a limit of its own; a panic in it was told where it happened.
        drop(kept.await);
    }
    code
}

/// What the application will say: that it is ready, if it is to say so, and that it stops.
fn listen(inbox: Option<Inbox>, log: &Log) -> (Option<oneshot::Receiver<()>>, oneshot::Receiver<()>) {
    let (stop, stopping) = oneshot::channel();
    let Some(inbox) = inbox else { return (None, stopping) };
    let ((ready, is_ready), log) = (oneshot::channel(), Arc::clone(log));
    tokio::spawn(async move {
        if let Err(error) = inbox.read(ready, stop).await {
            log(format!("the application's socket cannot be read: {error}"));
        }
    });
    (Some(is_ready), stopping)
}

impl Running {
    fn new(plan: Plan, app: App, registry: Arc<dyn Transport>, proxies: Vec<Proxy>, log: Log) -> Self {
        let (standing_sender, standing) = watch::channel(None);
        let lease = Lease::new(Arc::clone(&registry), plan.clone(), Arc::clone(&log));
        let limit = if plan.start_deadline.is_zero() { FAR } else { plan.start_deadline };
        let (wish, _) = watch::channel(Wish::Serve);
        let supervisor = Supervisor(plan.supervisor.clone());
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
            supervisor,
            deadline: Instant::now() + limit,
            log,
        }
    }

    /// Until the application has ended.
    async fn follow(
        &mut self,
        events: &mut UnboundedReceiver<Event>,
        verdicts: &mut watch::Receiver<Verdict>,
        stopping: &mut oneshot::Receiver<()>,
    ) -> u8 {
        let mut silent = false;
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
                said = &mut *stopping, if !silent => {
                    silent = true;
                    if said.is_ok() {
                        self.leaves();
                    }
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
                    self.supervisor.tell(State::Stopping, &self.log);
                }
                self.app.send(number);
            }
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        match (verdict, self.stage) {
            (Verdict::Passing, Stage::Starting) => {
                self.stage = Stage::Serving;
                let how = if self.plan.notify { "has said READY=1" } else { "answers its check" };
                self.tell(format!("the application (process {}) {how}", self.app.pid()));
                self.announce();
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

    /// Tells the supervisor once the instance is registered and serves.
    fn announce(&self) {
        let (supervisor, mut standing) = (self.supervisor.clone(), self.standing.clone());
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            if standing.wait_for(|standing| *standing == Some(Wish::Serve)).await.is_ok() {
                supervisor.tell(State::Ready, &log);
            }
        });
    }

    /// The application ends by its own will: nobody new is sent there, and no signal is needed.
    fn leaves(&mut self) {
        if matches!(self.stage, Stage::Starting | Stage::Serving) {
            self.tell("the application has said that it stops (STOPPING=1): it gets no new requests");
            self.stage = Stage::Leaving;
            self.wish.send_replace(Wish::Drain);
            self.supervisor.tell(State::Stopping, &self.log);
        }
    }

    fn drain(&mut self, number: i32) {
        self.stage = Stage::Draining(number);
        self.supervisor.tell(State::Stopping, &self.log);
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
