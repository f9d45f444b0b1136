//! The thread that runs scripts, writes pipes and follows files and processes.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use weir_log::Level;
use weir_model::vrrp::{Globals, Hook, Script, Vrrp};
use weir_net::Waker;
use weir_vrrp::{Notice, NoticeState, Status, Subject};

use super::Findings;
use super::checks::{self, CheckId, Checks, Outcome};
use super::children::{Children, Ended, Tie};
use super::dump::{Dump, Kind, Trackers};
use super::fifo::{PipeId, Pipes};
use super::files::Files;
use super::mail::Mailer;
use super::processes::Processes;
use super::queue::{self, QueueId, Queues};
use super::security;
use super::writer::Log;

/// What the runner is told to do.
pub(super) enum Order {
    Notice(Notice),
    /// For the pipes alone.
    States(Vec<(Subject, NoticeState, u8)>),
    Reload(Arc<Vrrp>),
    Dump(Kind, Box<Status>),
    /// Another process goes on with the node.
    Leave,
    /// Be done at this moment.
    Stop(Instant),
}

/// Whose script it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Check(CheckId),
    Queue(QueueId),
    Pipe(PipeId),
    Hook,
}

/// How far the end has come.
enum Stage {
    Running,
    /// Notify scripts run out, until that moment.
    Draining(Instant),
    /// The shutdown script runs, until that moment.
    Hook(Instant),
    Done,
}

pub(super) struct Runner {
    pub(super) orders: Receiver<Order>,
    pub(super) waker: Waker,
    pub(super) log: Log,
    pub(super) findings: Findings,
    pub(super) mailer: Mailer,
    pub(super) router_id: String,
    config: Arc<Vrrp>,
    children: Children<Owner>,
    checks: Checks,
    queues: Queues,
    pipes: Pipes,
    files: Files,
    processes: Processes,
    stage: Stage,
    /// Another process has the trackers, the pipes and the shutdown script.
    left: bool,
}

impl Runner {
    pub(super) fn new(
        orders: Receiver<Order>,
        waker: Waker,
        log: Log,
        findings: Findings,
        mailer: Mailer,
        router_id: String,
        config: Arc<Vrrp>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            orders,
            waker,
            log,
            findings,
            mailer,
            router_id,
            config,
            children: Children::new(),
            checks: Checks::default(),
            queues: Queues::default(),
            pipes: Pipes::default(),
            files: Files::new()?,
            processes: Processes::new(),
            stage: Stage::Running,
            left: false,
        })
    }

    pub(super) fn run(mut self) {
        self.load();
        while !matches!(self.stage, Stage::Done) {
            let ready = self.wait();
            // An end that has come counts before a limit that passed meanwhile.
            self.reap(&ready);
            self.follow();
            self.obey();
            self.tick();
        }
        self.children.kill(|owner| matches!(owner, Owner::Check(_) | Owner::Pipe(_)));
        self.pipes.close();
    }

    /// Takes over the configuration.
    fn load(&mut self) {
        let now = Instant::now();
        self.warn();
        let mut out = Vec::new();
        let gone = self.checks.reload(&self.config, now, &mut out);
        self.children.end(now, |owner| match owner {
            Owner::Check(id) => gone.contains(id),
            Owner::Pipe(_) => true,
            Owner::Queue(_) | Owner::Hook => false,
        });
        self.files.reload(&self.config, now, &mut out);
        self.processes.reload(&self.config, now, &mut out);
        let mut lines = Vec::new();
        self.pipes.open(&self.config.globals, now, &mut lines);
        out.extend(lines.into_iter().map(|(level, text)| Outcome::Log(level, text)));
        self.tell(out);
    }

    /// Says what of the notify scripts will not run, before it is needed.
    fn warn(&self) {
        let globals = &self.config.globals;
        let scripts: Vec<(&str, &Script)> = notify_scripts(&self.config).collect();
        let any = !scripts.is_empty() || !self.config.scripts.is_empty();
        if any && security::root_by_default(globals) {
            let text =
                "scripts run as root; name a user by script_user, or make one called keepalived_script";
            self.log.say(Level::Warn, text.into());
        }
        for (whose, script) in scripts {
            match security::resolve(script, globals) {
                Err(refusal) => {
                    self.log.say(Level::Error, format!("notify script of {whose} will not run: {refusal}"));
                }
                Ok(program) => {
                    if let Some(exposure) = program.exposure {
                        let text = format!("notify script of {whose} runs as root, and {exposure}");
                        self.log.say(Level::Warn, text);
                    }
                }
            }
        }
    }

    /// Waits for news; returns which children have ended.
    fn wait(&mut self) -> Vec<usize> {
        let now = Instant::now();
        let timeout = self.next(now).map(until);
        let (indexes, children): (Vec<usize>, Vec<PollFd<'_>>) = self.children.poll_fds().unzip();
        let mut fds = children;
        fds.push(PollFd::new(&self.waker, PollFlags::IN));
        fds.push(PollFd::from_borrowed_fd(self.files.as_fd(), PollFlags::IN));
        if let Some(news) = self.processes.news() {
            fds.push(PollFd::from_borrowed_fd(news, PollFlags::IN));
        }
        // An error is an interruption: nothing is ready then.
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = indexes.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        ready.map(|(index, _)| *index).collect()
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        let end = match self.stage {
            Stage::Draining(end) | Stage::Hook(end) => Some(end),
            Stage::Running | Stage::Done => None,
        };
        let trackers = [self.checks.next(), self.files.next(), self.processes.next(), self.pipes.next()];
        let trackers = trackers.into_iter().flatten().filter(|_| self.is_tracking());
        trackers.chain(self.children.next(now)).chain(end).min()
    }

    fn reap(&mut self, ready: &[usize]) {
        let now = Instant::now();
        let mut out = Vec::new();
        for ended in self.children.reap(ready) {
            match ended.owner {
                Owner::Check(id) => self.checks.ended(id, &ended, &mut out),
                Owner::Queue(id) => self.finish(id, &ended),
                Owner::Pipe(id) => {
                    let why = checks::reason(ended.status, None).unwrap_or_else(|| "ended".into());
                    let mut lines = Vec::new();
                    self.pipes.ended(id, &why, now, &mut lines);
                    out.extend(lines.into_iter().map(|(level, text)| Outcome::Log(level, text)));
                }
                Owner::Hook => self.hook_ended(&ended),
            }
        }
        self.tell(out);
    }

    /// A notify script has ended: the next one of its queue may start.
    fn finish(&mut self, id: QueueId, ended: &Ended<Owner>) {
        let limit = ended.ended_by_us.then_some(ended.limit).flatten();
        if let Some(why) = checks::reason(ended.status, limit) {
            let text = format!("notify script of {} {why}", self.queues.name(id));
            self.log.say(Level::Warn, text);
        }
        self.queues.ended(id);
    }

    fn hook_ended(&mut self, ended: &Ended<Owner>) {
        let limit = ended.ended_by_us.then_some(ended.limit).flatten();
        if let Some(why) = checks::reason(ended.status, limit) {
            self.log.say(Level::Warn, format!("shutdown_script {why}"));
        }
        self.stage = Stage::Done;
    }

    fn follow(&mut self) {
        let mut out = Vec::new();
        self.files.read(Instant::now(), &mut out);
        self.processes.read(Instant::now(), &mut out);
        self.tell(out);
    }

    fn obey(&mut self) {
        // Whatever comes after the look into the channel wakes again.
        _ = self.waker.clear();
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.do_order(order),
                Err(TryRecvError::Empty) => return,
                // The attendant was dropped without a word.
                Err(TryRecvError::Disconnected) => {
                    self.stage = Stage::Done;
                    return;
                }
            }
        }
    }

    fn do_order(&mut self, order: Order) {
        match order {
            Order::Notice(notice) => self.announce(&notice),
            Order::States(states) => {
                for (subject, state, priority) in states {
                    self.write_pipes(&subject, state, priority);
                }
            }
            Order::Reload(config) => {
                self.config = config;
                self.mailer.reload(&self.config);
                self.load();
            }
            Order::Dump(kind, status) => self.log.dump(Dump {
                kind,
                status: *status,
                trackers: self.trackers(),
                config: self.config.clone(),
                router_id: self.router_id.clone(),
            }),
            Order::Leave => self.leave(),
            Order::Stop(end) => self.stop(end),
        }
    }

    fn announce(&mut self, notice: &Notice) {
        self.write_pipes(&notice.subject, notice.state, notice.priority);
        self.queues.push(notice);
        self.mailer.push(notice);
    }

    fn write_pipes(&mut self, subject: &Subject, state: NoticeState, priority: u8) {
        let mut lines = Vec::new();
        self.pipes.write(subject, state, priority, &mut lines);
        for (level, text) in lines {
            self.log.say(level, text);
        }
    }

    fn is_tracking(&self) -> bool {
        matches!(self.stage, Stage::Running) && !self.left
    }

    fn leave(&mut self) {
        self.left = true;
        // First: a script that reads a pipe would take lines from that of the other process.
        self.children.end(Instant::now(), |owner| matches!(owner, Owner::Check(_) | Owner::Pipe(_)));
        self.pipes.leave();
    }

    fn stop(&mut self, end: Instant) {
        self.stage = Stage::Draining(end);
        self.children.end(Instant::now(), |owner| matches!(owner, Owner::Check(_)));
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let overran = self.children.expire(now);
        for owner in overran {
            if let Owner::Queue(id) = owner {
                let text = format!("notify script of {} hangs; it is ended", self.queues.name(id));
                self.log.say(Level::Warn, text);
            }
        }
        self.start_notify(now);
        match self.stage {
            Stage::Running if self.is_tracking() => self.track(now),
            Stage::Draining(end) if now >= end || self.queues.is_idle() => self.start_shutdown(now, end),
            Stage::Hook(end) if now >= end => self.stage = Stage::Done,
            Stage::Running | Stage::Draining(_) | Stage::Hook(_) | Stage::Done => {}
        }
    }

    /// Runs the checks and readers that are due.
    fn track(&mut self, now: Instant) {
        let mut out = Vec::new();
        let children = &self.children;
        let due = self.checks.due(now, |id| children.phase(&Owner::Check(id)), &mut out);
        for (id, program, timeout) in due {
            let owner = Owner::Check(id);
            if let Err(e) = self.children.start(owner, &program, &[], Tie::Bound, Some(timeout), now) {
                self.checks.not_started(id, &e, &mut out);
            }
        }
        for (id, program, path) in self.pipes.due(now) {
            if let Err(e) = self.children.start(Owner::Pipe(id), &program, &[path], Tie::Bound, None, now) {
                let mut lines = Vec::new();
                let why = format!("cannot be started: {}", weir_net::errno_text(&e));
                self.pipes.ended(id, &why, now, &mut lines);
                out.extend(lines.into_iter().map(|(level, text)| Outcome::Log(level, text)));
            }
        }
        self.files.tick(now, &mut out);
        self.processes.tick(now, &mut out);
        self.tell(out);
    }

    /// Starts the next script of each queue that is free. One that cannot be started makes way for the next.
    fn start_notify(&mut self, now: Instant) {
        loop {
            let jobs = self.queues.take();
            if jobs.is_empty() {
                return;
            }
            for (id, job) in jobs {
                let started = self.start(Owner::Queue(id), &job.script, &job.words, queue::LIMIT, now);
                if let Err(why) = started {
                    let text = format!("notify script of {} did not run: {why}", self.queues.name(id));
                    self.log.say(Level::Error, text);
                    self.queues.ended(id);
                }
            }
        }
    }

    fn start_shutdown(&mut self, now: Instant, end: Instant) {
        let waiting = self.queues.waiting();
        if waiting > 0 {
            self.log.say(Level::Warn, format!("{waiting} notify scripts did not run before the end"));
        }
        self.stage = Stage::Done;
        if self.left {
            return;
        }
        let config = self.config.clone();
        let Some(Hook { script, timeout }) = &config.globals.shutdown_script else { return };
        match self.start(Owner::Hook, script, &[], timeout.duration(), now) {
            // It has its own time even when the notify scripts have used up theirs.
            Ok(()) => self.stage = Stage::Hook(end.max(now + timeout.duration())),
            Err(why) => self.log.say(Level::Error, format!("shutdown_script did not run: {why}")),
        }
    }

    fn start(
        &mut self,
        owner: Owner,
        script: &Script,
        words: &[String],
        limit: Duration,
        now: Instant,
    ) -> Result<(), String> {
        let program =
            security::resolve(script, &self.config.globals).map_err(|refusal| refusal.to_string())?;
        let started = self.children.start(owner, &program, words, Tie::Free, Some(limit), now);
        started.map_err(|e| weir_net::errno_text(&e))
    }

    fn tell(&self, out: Vec<Outcome>) {
        for outcome in out {
            match outcome {
                Outcome::Log(level, text) => self.log.say(level, text),
                Outcome::Report(tracker, finding) => (self.findings)(tracker, finding),
            }
        }
    }

    fn trackers(&self) -> Trackers {
        let phase = |id| self.children.phase(&Owner::Check(id));
        Trackers {
            checks: self.checks.view(phase),
            files: self.files.view(),
            processes: self.processes.view(),
        }
    }
}

/// Runs `startup_script` and waits for it, at most as long as it may take.
pub(super) fn run_hook(hook: &Hook, globals: &Globals, log: &Log) {
    let program = match security::resolve(&hook.script, globals) {
        Ok(program) => program,
        Err(refusal) => return log.say(Level::Error, format!("startup_script did not run: {refusal}")),
    };
    let (mut children, limit) = (Children::new(), hook.timeout.duration());
    if let Err(e) = children.start((), &program, &[], Tie::Free, Some(limit), Instant::now()) {
        return log.say(Level::Error, format!("startup_script did not run: {}", weir_net::errno_text(&e)));
    }
    while let (Some(_), Some(next)) = (children.phase(&()), children.next(Instant::now())) {
        let mut fds: Vec<PollFd<'_>> = children.poll_fds().map(|(_, fd)| fd).collect();
        _ = rustix::event::poll(&mut fds, Some(&until(next)));
        for ended in children.reap(&[0]) {
            let limit = ended.ended_by_us.then_some(limit);
            if let Some(why) = checks::reason(ended.status, limit) {
                log.say(Level::Warn, format!("startup_script {why}"));
            }
        }
        children.expire(Instant::now());
    }
}

/// The time until a moment, as poll wants it.
fn until(moment: Instant) -> Timespec {
    let span = moment.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

/// All scripts of instances and groups, with whose they are.
fn notify_scripts(config: &Vrrp) -> impl Iterator<Item = (&str, &Script)> {
    let instances = config.instances.iter().map(|i| (i.name.as_str(), &i.notify));
    let groups = config.groups.iter().map(|g| (g.name.as_str(), &g.notify));
    instances.chain(groups).flat_map(|(name, n)| {
        let all = [&n.master, &n.backup, &n.fault, &n.stop, &n.deleted, &n.master_rx_lower_pri, &n.any];
        all.into_iter().flatten().map(move |script| (name, script))
    })
}
