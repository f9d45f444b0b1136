//! An open-loop load generator: requests fall due at a fixed rate whether or not earlier ones were
//! answered, and latency counts from the moment a request was due, so a stalled proxy cannot hide.
//! How many requests a proxy can answer at most is wrk's part.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use serde::Serialize;
use socket2::{Domain, Socket, Type};

use crate::client::{self, REPLY_TIMEOUT};

const TIMER: u64 = u64::MAX;

/// What to send.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Requests per second.
    pub(crate) rate: u32,
    pub(crate) connections: usize,
    /// Every how many requests one asks the server to close after it; `None` for never.
    pub(crate) close_every: Option<u64>,
    /// Latencies of requests due before this much of the run has passed are dropped.
    pub(crate) warm_up: Duration,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    /// No connection could be opened for it.
    Refused,
    /// The connection ended before the first byte of a reply. With keep-alive this is the race of a
    /// request against the server's close.
    ClosedBeforeReply,
    /// The connection ended inside the reply.
    ClosedInReply,
    /// Another status or length than the backend's.
    WrongReply,
    /// No whole reply in time.
    Timeout,
}

impl Failure {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Refused => "could not connect",
            Self::ClosedBeforeReply => "closed before a reply",
            Self::ClosedInReply => "closed inside a reply",
            Self::WrongReply => "wrong reply",
            Self::Timeout => "no reply in time",
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests that fell due.
    pub(crate) due: u64,
    pub(crate) answered: u64,
    pub(crate) failed: BTreeMap<Failure, u64>,
    /// Microseconds from due to the last byte, unsorted.
    pub(crate) latencies: Vec<f64>,
}

impl Outcome {
    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Sends by `plan` until `stop` is set, then waits for what is still on its way.
pub(crate) fn run(plan: Plan, stop: &AtomicBool) -> Result<Outcome> {
    ensure!(plan.rate > 0, "a rate of 0 requests per second measures nothing");
    let mut generator = Generator::new(plan)?;
    let mut ending: Option<Instant> = None;
    loop {
        generator.turn(ending.is_none())?;
        if ending.is_none() && stop.load(Ordering::Relaxed) {
            ending = Some(Instant::now() + REPLY_TIMEOUT);
        }
        if let Some(deadline) = ending
            && (generator.settled() || Instant::now() > deadline)
        {
            return Ok(generator.finish());
        }
    }
}

enum State {
    /// No socket; opened again at the next tick.
    Closed,
    Connecting,
    Idle,
    Waiting(Exchange),
}

struct Exchange {
    due: Instant,
    close: bool,
    input: Vec<u8>,
    /// Length of the whole reply in bytes, once its head is read.
    expected: Option<usize>,
    server_closes: bool,
}

struct Connection {
    stream: Option<TcpStream>,
    state: State,
}

struct Generator {
    plan: Plan,
    poll: OwnedFd,
    timer: OwnedFd,
    interval: Duration,
    started: Instant,
    ticks: u64,
    requests: [Vec<u8>; 2],
    body_length: usize,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    queue: VecDeque<Instant>,
    sent: u64,
    scratch: Vec<u8>,
    events: Vec<Event>,
    outcome: Outcome,
}

impl Generator {
    fn new(plan: Plan) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&poll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let interval = Duration::from_nanos(1_000_000_000 / u64::from(plan.rate));
        let mut generator = Self {
            plan,
            poll,
            timer,
            interval,
            started: Instant::now(),
            ticks: 0,
            requests: [client::request(plan.path, false), client::request(plan.path, true)],
            body_length: crate::backend::body(plan.path).map_or(0, |body| body.len()),
            connections: Vec::new(),
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            sent: 0,
            scratch: vec![0; 64 * 1024],
            events: Vec::with_capacity(256),
            outcome: Outcome::default(),
        };
        for slot in 0..plan.connections {
            generator.connections.push(Connection { stream: None, state: State::Closed });
            generator.open(slot);
        }
        generator.started = Instant::now();
        let period = Timespec { tv_sec: interval.as_secs() as i64, tv_nsec: interval.subsec_nanos().into() };
        timerfd_settime(
            &generator.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: period, it_value: period },
        )?;
        Ok(generator)
    }

    /// Waits for events once and does what they ask for; new requests fall due while `sending`.
    fn turn(&mut self, sending: bool) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let data = event.data;
            let flags = event.flags;
            if data.u64() == TIMER {
                self.tick(sending)?;
            } else {
                self.ready(data.u64() as usize, flags);
            }
        }
        self.events = events;
        self.dispatch();
        Ok(())
    }

    fn open(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        connection.stream = None;
        connection.state = State::Closed;
        match connect(self.plan.address, &self.poll, slot) {
            Ok(stream) => {
                connection.stream = Some(stream);
                connection.state = State::Connecting;
            }
            Err(_) => fail(&mut self.outcome, &mut self.queue, Failure::Refused),
        }
    }

    /// The requests that fell due since the last tick, and what else needs a clock.
    fn tick(&mut self, sending: bool) -> Result<()> {
        let mut count = [0; 8];
        if rustix::io::read(&self.timer, &mut count).is_err() {
            return Ok(());
        }
        for _ in 0..u64::from_ne_bytes(count) {
            self.ticks += 1;
            if sending {
                let nanos = self.interval.as_nanos() as u64 * self.ticks;
                self.queue.push_back(self.started + Duration::from_nanos(nanos));
                self.outcome.due += 1;
            }
        }
        let now = Instant::now();
        for slot in 0..self.connections.len() {
            match &self.connections[slot].state {
                State::Closed if sending || !self.queue.is_empty() => self.open(slot),
                State::Waiting(exchange) if now.saturating_duration_since(exchange.due) > REPLY_TIMEOUT => {
                    self.count(Failure::Timeout);
                    self.open(slot);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn dispatch(&mut self) {
        while !self.queue.is_empty() {
            let Some(slot) = self.idle.pop_front() else {
                return;
            };
            let connection = &mut self.connections[slot];
            let (State::Idle, Some(stream)) = (&connection.state, &mut connection.stream) else {
                continue;
            };
            let due = self.queue.pop_front().expect("the queue is not empty");
            self.sent += 1;
            let close = self.plan.close_every.is_some_and(|every| self.sent.is_multiple_of(every));
            let request = &self.requests[usize::from(close)];
            if stream.write(request).is_ok_and(|count| count == request.len()) {
                connection.state = State::Waiting(Exchange {
                    due,
                    close,
                    input: Vec::new(),
                    expected: None,
                    server_closes: false,
                });
            } else {
                self.count(Failure::ClosedBeforeReply);
                self.open(slot);
            }
        }
    }

    fn ready(&mut self, slot: usize, flags: EventFlags) {
        let connection = &mut self.connections[slot];
        let Some(stream) = &mut connection.stream else {
            return;
        };
        match &mut connection.state {
            State::Closed => {}
            State::Connecting => {
                if !flags.contains(EventFlags::OUT) && !flags.contains(EventFlags::ERR) {
                    return;
                }
                let interest = EventFlags::IN;
                let data = EventData::new_u64(slot as u64);
                let failed = !matches!(stream.take_error(), Ok(None))
                    || epoll::modify(&self.poll, &*stream, data, interest).is_err();
                if failed {
                    connection.stream = None;
                    connection.state = State::Closed;
                    fail(&mut self.outcome, &mut self.queue, Failure::Refused);
                } else {
                    connection.state = State::Idle;
                    self.idle.push_back(slot);
                }
            }
            // The server closes a connection that waits for its next request: its right, no failure.
            State::Idle => self.open_idle(slot),
            State::Waiting(_) => self.read(slot),
        }
    }

    fn open_idle(&mut self, slot: usize) {
        self.idle.retain(|idle| *idle != slot);
        self.open(slot);
    }

    fn read(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        let (State::Waiting(exchange), Some(stream)) = (&mut connection.state, &mut connection.stream) else {
            return;
        };
        let result = match stream.read(&mut self.scratch) {
            Ok(0) => Err(exchange.broken()),
            Ok(count) => exchange.feed(&self.scratch[..count], self.body_length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => Err(exchange.broken()),
        };
        match result {
            Ok(false) => {}
            Ok(true) => {
                let latency = exchange.due.elapsed();
                let closes = exchange.server_closes || exchange.close;
                if exchange.due.saturating_duration_since(self.started) >= self.plan.warm_up {
                    self.outcome.latencies.push(latency.as_nanos() as f64 / 1000.0);
                }
                self.outcome.answered += 1;
                if closes {
                    self.open(slot);
                } else {
                    connection.state = State::Idle;
                    self.idle.push_back(slot);
                }
            }
            Err(failure) => {
                self.count(failure);
                self.open(slot);
            }
        }
    }

    fn count(&mut self, failure: Failure) {
        *self.outcome.failed.entry(failure).or_default() += 1;
    }

    fn settled(&self) -> bool {
        self.queue.is_empty()
            && !self.connections.iter().any(|connection| matches!(connection.state, State::Waiting(_)))
    }

    fn finish(mut self) -> Outcome {
        let open = self
            .connections
            .iter()
            .filter(|connection| matches!(connection.state, State::Waiting(_)))
            .count()
            + self.queue.len();
        for _ in 0..open {
            self.count(Failure::Timeout);
        }
        self.outcome
    }
}

/// A failure to connect costs the request that waits for a connection, if one does: what fails is
/// never more than what fell due.
fn fail(outcome: &mut Outcome, queue: &mut VecDeque<Instant>, failure: Failure) {
    if queue.pop_front().is_some() {
        *outcome.failed.entry(failure).or_default() += 1;
    }
}

impl Exchange {
    fn broken(&self) -> Failure {
        if self.input.is_empty() && self.expected.is_none() {
            Failure::ClosedBeforeReply
        } else {
            Failure::ClosedInReply
        }
    }

    /// Takes bytes of the reply; true when it is whole.
    fn feed(&mut self, bytes: &[u8], body_length: usize) -> Result<bool, Failure> {
        self.input.extend_from_slice(bytes);
        if self.expected.is_none() {
            let Some(head) = client::parse_head(&self.input).map_err(|_| Failure::WrongReply)? else {
                return Ok(false);
            };
            if head.status != 200 || head.length != Some(body_length) {
                return Err(Failure::WrongReply);
            }
            self.expected = Some(head.end + body_length);
            self.server_closes = head.close;
        }
        match self.expected {
            Some(expected) if self.input.len() > expected => Err(Failure::WrongReply),
            Some(expected) => Ok(self.input.len() == expected),
            None => Ok(false),
        }
    }
}

fn connect(address: SocketAddr, poll: &OwnedFd, slot: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from(socket);
    let data = EventData::new_u64(slot as u64);
    epoll::add(poll, &stream, data, EventFlags::IN | EventFlags::OUT)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_due_request_is_answered_or_counted() {
        let listener = crate::backend::listen().expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        std::thread::spawn(move || crate::backend::serve(listener));
        let plan = Plan {
            address,
            path: "/16k",
            rate: 2000,
            connections: 4,
            close_every: Some(10),
            warm_up: Duration::ZERO,
        };
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let load = scope.spawn(|| run(plan, &stop));
            // The backend answers beside it, so this ends when the load has been running for a while.
            for _ in 0..200 {
                client::check(address, "/1m").expect("the backend answers");
            }
            stop.store(true, Ordering::Relaxed);
            load.join().expect("no panic").expect("a loopback socket")
        });
        assert_eq!(outcome.failed, BTreeMap::new());
        assert_eq!(outcome.answered, outcome.due);
        assert_eq!(outcome.latencies.len() as u64, outcome.answered);
        assert!(outcome.due > 0);
    }

    #[test]
    fn nobody_listens() {
        let listener = crate::backend::listen().expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        drop(listener);
        let plan = Plan {
            address,
            path: "/small",
            rate: 1000,
            connections: 1,
            close_every: None,
            warm_up: Duration::ZERO,
        };
        let mut generator = Generator::new(plan).expect("a loopback socket");
        while generator.outcome.due == 0 {
            generator.turn(true).expect("epoll works");
        }
        while !generator.settled() {
            generator.turn(false).expect("epoll works");
        }
        let outcome = generator.finish();
        assert_eq!(outcome.failed, BTreeMap::from([(Failure::Refused, outcome.due)]));
    }

    #[test]
    fn a_reply_that_ends_early_is_told_from_one_that_never_began() {
        let mut exchange = Exchange {
            due: Instant::now(),
            close: false,
            input: Vec::new(),
            expected: None,
            server_closes: false,
        };
        assert_eq!(exchange.broken(), Failure::ClosedBeforeReply);
        assert_eq!(exchange.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", 3), Ok(false));
        assert_eq!(exchange.broken(), Failure::ClosedInReply);
        assert_eq!(exchange.feed(b"bcd", 3), Err(Failure::WrongReply));
    }
}
