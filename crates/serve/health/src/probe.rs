//! One target: its connection, and the probe that runs on it.

use std::io;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use weir_health::{Exchange, Plan, Progress, Reason, Rhythm, Tally, Target, Verdict};

use crate::socket::{Connection, Count, Registered, Remote, is_lack};

/// What all probes use together.
pub(crate) struct Means<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) buffer: &'a mut [u8],
    /// Of [`weir_health::Attention`].
    pub(crate) attended: u64,
    pub(crate) count: &'a Count,
    /// Connections that may be open.
    pub(crate) limit: usize,
    /// Connections are few at present: none is kept.
    pub(crate) scarce: bool,
}

/// How far a probe came.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An event will tell, or the deadline.
    Wait,
    Ended(Verdict),
    /// We have no descriptor for it: nothing is known of the peer.
    Lack(io::Error),
}

/// A target that is checked.
pub(crate) struct Probe {
    pub(crate) target: Target,
    pub(crate) tally: Tally,
    pub(crate) rhythm: Rhythm,
    pub(crate) turn: Turn,
    remote: Remote,
    plan: Arc<Plan>,
    exchange: Exchange,
    connection: Option<Connection>,
    token: Token,
    /// When the running probe began, in attended time.
    started: u64,
    /// It runs on the connection of the last one.
    reused: bool,
}

/// What a target waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Rest,
    /// A place among the first probes.
    Queue,
    /// A descriptor.
    Retry,
    /// The end of the probe that runs.
    Run {
        /// It has a place among the first probes.
        first: bool,
    },
}

impl Probe {
    pub(crate) fn new(
        target: Target,
        plan: Arc<Plan>,
        remote: Remote,
        rhythm: Rhythm,
        token: Token,
    ) -> Probe {
        Probe {
            tally: Tally::new(target.known, target.state.rise(), target.state.fall()),
            target,
            rhythm,
            turn: Turn::Rest,
            remote,
            plan,
            exchange: Exchange::default(),
            connection: None,
            token,
            started: 0,
            reused: false,
        }
    }

    /// The same target over a reload: the owner of peers says anew what is known of it.
    pub(crate) fn renew(&mut self, target: Target, plan: Arc<Plan>) {
        self.tally = Tally::new(target.known, self.tally.rise(), self.tally.fall());
        (self.target, self.plan) = (target, plan);
    }

    /// Whether traffic waits for the first result.
    pub(crate) fn awaits_first(&self) -> bool {
        self.tally.awaits_first(&self.target.check)
    }

    /// Starts a probe.
    pub(crate) fn start(&mut self, means: &mut Means<'_>) -> Outcome {
        self.started = means.attended;
        self.reused = self.connection.is_some();
        if self.reused && self.plan.connects_only() {
            if let Some(Ok(true)) = self.connection.as_ref().map(Connection::peek) {
                return self.end(Verdict { passed: true, reason: Reason::Connected }, true, means);
            }
            self.abandon();
        }
        if self.connection.is_none() {
            return self.open(means);
        }
        self.exchange.begin(&self.plan, false);
        self.proceed(means, false)
    }

    /// The event queue told of the connection. `closed`: the peer will send no more than what is there.
    pub(crate) fn ready(&mut self, means: &mut Means<'_>, closed: bool) -> Outcome {
        if matches!(self.turn, Turn::Run { .. }) {
            return self.talk(means, closed);
        }
        // Whatever a peer says unasked ends an idle connection; the next probe opens another.
        let talks = |idle: &Connection| idle.receive(&mut [0; 1]) != Err(Errno::AGAIN);
        if self.connection.as_ref().is_some_and(talks) {
            self.abandon();
        }
        Outcome::Wait
    }

    /// Milliseconds that the running probe has left.
    pub(crate) fn remaining(&self, attended: u64) -> u64 {
        self.started.saturating_add(self.target.check.timeout.0.max(1)).saturating_sub(attended)
    }

    /// The time is over.
    pub(crate) fn expire(&mut self) -> Verdict {
        let limit = self.target.check.timeout;
        let late = if self.connection.as_ref().is_some_and(|connection| connection.connected) {
            Reason::NoAnswer(limit)
        } else {
            Reason::NotConnected(limit)
        };
        let verdict = self.exchange.settled().unwrap_or(Verdict::fail(late));
        self.abandon();
        self.exchange.shrink();
        verdict
    }

    /// Whether the same peer is checked in the same way.
    pub(crate) fn is_like(&self, target: &Target, remote: &Remote) -> bool {
        self.target.check == target.check && self.remote == *remote
    }

    pub(crate) fn abandon(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.reset();
        }
    }

    fn open(&mut self, means: &mut Means<'_>) -> Outcome {
        self.reused = false;
        self.started = means.attended;
        if means.count.get() >= means.limit {
            return Outcome::Lack(io::Error::from(Errno::MFILE));
        }
        match Connection::open(&self.remote, means.count) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) if is_lack(error) => return Outcome::Lack(error.into()),
            Err(error) => return Outcome::Ended(failed("connect", error)),
        }
        self.exchange.begin(&self.plan, true);
        self.proceed(means, false)
    }

    fn talk(&mut self, means: &mut Means<'_>, closed: bool) -> Outcome {
        match self.proceed(means, true) {
            // What the peer left before it closed was read in one piece; its end tells.
            Outcome::Wait if closed => self.read(means, true),
            outcome => outcome,
        }
    }

    /// Goes on as far as it can without waiting. Nothing is read before there was an event: an answer takes its time.
    fn proceed(&mut self, means: &mut Means<'_>, read: bool) -> Outcome {
        let Some(connection) = &mut self.connection else { return Outcome::Wait };
        // Where there is something to send, that tells as well.
        if self.exchange.unsent(&self.plan).is_empty() {
            match connection.is_established() {
                Ok(true) => {}
                Ok(false) => return self.register(means, Registered::ReadsAndWrites),
                Err(error) => return self.end(failed("connect", error), false, means),
            }
        }
        if self.plan.connects_only() {
            let verdict = match connection.peek() {
                Ok(true) => Verdict { passed: true, reason: Reason::Connected },
                Ok(false) => Verdict::fail(Reason::ClosedUnanswered),
                Err(error) => failed("recv", error),
            };
            let passed = verdict.passed;
            return self.end(verdict, passed, means);
        }
        while !self.exchange.unsent(&self.plan).is_empty() {
            match connection.send(self.exchange.unsent(&self.plan)) {
                Ok(taken) => {
                    connection.connected = true;
                    self.exchange.sent(taken);
                }
                Err(Errno::AGAIN) => {
                    let read = read && connection.connected;
                    let outcome = self.register(means, Registered::ReadsAndWrites);
                    return if read { self.read(means, false) } else { outcome };
                }
                Err(Errno::INTR) => {}
                Err(error) if !connection.connected => {
                    return self.end(failed("connect", error), false, means);
                }
                Err(error) => return self.break_off("send", error, means),
            }
        }
        if read { self.read(means, false) } else { self.register(means, Registered::Reads) }
    }

    fn read(&mut self, means: &mut Means<'_>, closed: bool) -> Outcome {
        loop {
            let Some(connection) = &self.connection else { return Outcome::Wait };
            let taken = match connection.receive(means.buffer) {
                Ok(0) => return self.closed(means),
                Ok(taken) => taken,
                Err(Errno::AGAIN) => return Outcome::Wait,
                Err(Errno::INTR) => continue,
                Err(error) => return self.break_off("recv", error, means),
            };
            let bytes = means.buffer.get(..taken).unwrap_or_default();
            match self.exchange.receive(&self.plan, bytes) {
                Progress::Done { verdict, reusable } => return self.judge(verdict, reusable, means),
                Progress::More if !self.exchange.unsent(&self.plan).is_empty() => {
                    return self.proceed(means, taken == means.buffer.len() || closed);
                }
                // Less than there was room for: the rest makes an event of its own.
                Progress::More if taken < means.buffer.len() && !closed => return Outcome::Wait,
                Progress::More => {}
            }
        }
    }

    fn judge(&mut self, verdict: Verdict, reusable: bool, means: &mut Means<'_>) -> Outcome {
        // A server may end an old connection at any time, also while the call is on its way.
        if self.reused && matches!(verdict.reason, Reason::Reset(_)) {
            self.abandon();
            return self.open(means);
        }
        self.end(verdict, reusable, means)
    }

    fn closed(&mut self, means: &mut Means<'_>) -> Outcome {
        if self.is_stale() {
            self.connection = None;
            return self.open(means);
        }
        let verdict = self.exchange.close(&self.plan);
        self.end(verdict, false, means)
    }

    /// The connection failed. A peer that answers and closes without having read the request makes the send fail, so what
    /// came is looked at first.
    fn break_off(&mut self, call: &'static str, error: Errno, means: &mut Means<'_>) -> Outcome {
        if self.is_stale() {
            self.abandon();
            return self.open(means);
        }
        if call == "send" {
            let taken = self.connection.as_ref().map(|connection| connection.receive(means.buffer));
            if let Some(Ok(taken @ 1..)) = taken {
                let bytes = means.buffer.get(..taken).unwrap_or_default();
                if let Progress::Done { verdict, .. } = self.exchange.receive(&self.plan, bytes) {
                    return self.end(verdict, false, means);
                }
            }
        }
        let verdict = self.exchange.settled().unwrap_or(failed(call, error));
        self.end(verdict, false, means)
    }

    /// The connection was kept from the last probe and died before this one: no fault.
    fn is_stale(&self) -> bool {
        self.reused && !self.exchange.answered()
    }

    fn end(&mut self, verdict: Verdict, reusable: bool, means: &Means<'_>) -> Outcome {
        self.exchange.shrink();
        let Some(mut connection) = self.connection.take() else { return Outcome::Ended(verdict) };
        connection.probes = connection.probes.saturating_add(1);
        let more = connection.probes < self.target.check.keepalive_requests;
        if reusable && more && !means.scarce && self.plan.reuses() && self.may_idle(&connection) {
            // Acknowledgements that the last bytes asked for; what does not go out now leads the next probe.
            let owed = self.exchange.unsent(&self.plan);
            if !owed.is_empty()
                && let Ok(taken) = connection.send(owed)
            {
                self.exchange.sent(taken);
            }
            self.connection = Some(connection);
        } else if self.plan.connects_only() || !verdict.passed {
            connection.reset();
        } else {
            connection.end();
        }
        Outcome::Ended(verdict)
    }

    fn may_idle(&self, connection: &Connection) -> bool {
        if connection.probes > 1 || !self.plan.connects_only() {
            return true;
        }
        connection.watch_host(self.target.check.timeout.duration()).is_ok()
    }

    fn register(&mut self, means: &Means<'_>, wanted: Registered) -> Outcome {
        let Some(connection) = &mut self.connection else { return Outcome::Wait };
        if connection.registered >= wanted {
            return Outcome::Wait;
        }
        let interest = match wanted {
            Registered::ReadsAndWrites => Interest::READABLE | Interest::WRITABLE,
            Registered::Nothing | Registered::Reads => Interest::READABLE,
        };
        let fd = connection.raw();
        let result = if connection.registered == Registered::Nothing {
            means.registry.register(&mut SourceFd(&fd), self.token, interest)
        } else {
            means.registry.reregister(&mut SourceFd(&fd), self.token, interest)
        };
        match result {
            Ok(()) => {
                connection.registered = wanted;
                Outcome::Wait
            }
            Err(error) => {
                self.abandon();
                Outcome::Lack(error)
            }
        }
    }
}

fn failed(call: &'static str, error: Errno) -> Verdict {
    Verdict::fail(Reason::System(call, error.raw_os_error()))
}
