//! Probes: requests in a steady rhythm, each of them accounted for.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::ask;
use crate::error::{Error, Result};
use crate::host::Host;

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A connection that is made and closed.
    Tcp,
    /// A request for a path, with a `Host` header; the answer is wrong unless its status is 200.
    Http { path: String, host: String },
    /// An ICMP echo.
    Ping,
}

/// A probe that has not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbePlan {
    pub kind: Kind,
    /// The port means nothing to a ping.
    pub to: SocketAddr,
    pub every: Duration,
    /// A request that takes longer has failed, at the time when it was sent.
    pub timeout: Duration,
}

impl ProbePlan {
    /// Reads `http://10.0.0.9:80/path`, `tcp://10.0.0.9:80` or `ping://10.0.0.9`. It asks every millisecond and waits
    /// 400 ms for an answer: less than the second after which TCP repeats a lost SYN, so that a request tells of the
    /// time when it was sent.
    pub fn to(url: &str) -> Result<ProbePlan> {
        let wrong = || {
            Error::wrong(format!(
                "\"{url}\" cannot be probed; expected http://10.0.0.9:80/path, tcp://10.0.0.9:80 or ping://10.0.0.9"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let bare = place.trim_start_matches('[').trim_end_matches(']');
        let to =
            place.parse().or_else(|_| bare.parse().map(|ip| SocketAddr::new(ip, 80))).map_err(|_| wrong())?;
        let kind = match scheme {
            "http" => Kind::Http { path: path.to_owned(), host: place.to_owned() },
            "tcp" => Kind::Tcp,
            "ping" => Kind::Ping,
            _ => return Err(wrong()),
        };
        Ok(ProbePlan { kind, to, every: Duration::from_millis(1), timeout: Duration::from_millis(400) })
    }

    #[must_use]
    pub fn every(self, every: Duration) -> ProbePlan {
        ProbePlan { every: every.max(Duration::from_millis(1)), ..self }
    }

    #[must_use]
    pub fn timeout(self, timeout: Duration) -> ProbePlan {
        ProbePlan { timeout, ..self }
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Answered,
    /// A reset in answer to the SYN.
    Refused,
    TimedOut,
    /// The connection was made and broke before the answer was complete.
    Reset,
    /// No way to the address.
    Unreachable,
    /// An answer that is not the one hoped for.
    Wrong(String),
    /// Too many were on their way: nothing was sent.
    Unsent,
}

/// One request. Times count from the begin of the laboratory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    pub sent: Duration,
    pub done: Duration,
    pub outcome: Outcome,
    /// The application that answered: the first line of the answer's body.
    pub by: Option<String>,
    /// The node that answered: the answer's header `X-Node`.
    pub node: Option<String>,
}

/// A running probe; it ends with the last handle to it.
pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    requests: Mutex<Vec<Request>>,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sum of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub sent: u64,
    pub answered: u64,
    pub refused: u64,
    pub timed_out: u64,
    pub reset: u64,
    pub unreachable: u64,
    pub wrong: u64,
    pub unsent: u64,
    /// The longest time in which no answer came.
    pub gap: Duration,
    /// The slowest answer.
    pub slowest: Duration,
    /// Answers by application.
    pub by: BTreeMap<String, u64>,
    /// Answers by node.
    pub nodes: BTreeMap<String, u64>,
    /// Why the first wrong one was wrong.
    pub reason: Option<String>,
}

impl Tally {
    pub fn failed(&self) -> u64 {
        self.sent - self.answered
    }
}

/// So many requests may be on their way at once.
const IN_FLIGHT: usize = 4096;

impl Host {
    /// Begins to ask from this host.
    pub fn probe(&self, plan: ProbePlan) -> Result<Probe> {
        allow_files();
        let shared = Arc::new(Shared::default());
        let (inside, door, epoch) = (Arc::clone(&shared), self.space().door()?, self.lab().inner.epoch);
        let thread = std::thread::spawn(move || {
            let begun = door.enter().and_then(|()| ask::runtime());
            if let Ok(runtime) = begun {
                runtime.block_on(rhythm(plan, epoch, inside));
            }
        });
        Ok(Probe { shared, thread: Some(thread) })
    }
}

impl Probe {
    /// What is known so far, in the order in which requests ended.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().clone()
    }

    /// Asks no more, waits for the answers that are due, and gives the account of everything.
    pub fn stop(&mut self) -> Vec<Request> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.requests()
    }

    /// The sum of the requests that were sent in a window of the laboratory's time.
    pub fn tally(&self, from: Duration, to: Duration) -> Tally {
        tally(&self.shared.requests(), from, to)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thousand requests a second need more descriptors than the usual 1024.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum.map(|most| most.min(65_536)), maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, wanted);
}

async fn rhythm(plan: ProbePlan, epoch: Instant, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut tick = tokio::time::interval(plan.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !shared.stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let sent = epoch.elapsed();
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            let lost = Request { sent, done: sent, outcome: Outcome::Unsent, by: None, node: None };
            shared.requests().push(lost);
            continue;
        };
        let (plan, shared) = (plan.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let answer = tokio::time::timeout(plan.timeout, ask::ask(&plan)).await;
            let (outcome, by, node) = match answer {
                Err(_) => (Outcome::TimedOut, None, None),
                Ok(Err(error)) => (failure(&error), None, None),
                Ok(Ok(answer)) => (answer.outcome, answer.by, answer.node),
            };
            shared.requests().push(Request { sent, done: epoch.elapsed(), outcome, by, node });
            drop(slot);
        });
    }
    // All slots are free again when all requests have ended; each ends by its timeout.
    let all = u32::try_from(IN_FLIGHT).unwrap_or(u32::MAX);
    let _ = slots.acquire_many(all).await;
}

fn failure(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Outcome::Reset
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Outcome::Unreachable,
        io::ErrorKind::TimedOut => Outcome::TimedOut,
        _ => Outcome::Wrong(error.to_string()),
    }
}

pub(crate) fn tally(requests: &[Request], from: Duration, to: Duration) -> Tally {
    let mut tally = Tally::default();
    let mut answers = vec![from, to];
    for request in requests.iter().filter(|r| r.sent >= from && r.sent < to) {
        tally.sent += 1;
        match &request.outcome {
            Outcome::Answered => {
                tally.answered += 1;
                tally.slowest = tally.slowest.max(request.done.saturating_sub(request.sent));
                answers.push(request.done.min(to));
                for (counts, name) in [(&mut tally.by, &request.by), (&mut tally.nodes, &request.node)] {
                    if let Some(name) = name {
                        *counts.entry(name.clone()).or_default() += 1;
                    }
                }
            }
            Outcome::Refused => tally.refused += 1,
            Outcome::TimedOut => tally.timed_out += 1,
            Outcome::Reset => tally.reset += 1,
            Outcome::Unreachable => tally.unreachable += 1,
            Outcome::Wrong(reason) => {
                tally.wrong += 1;
                tally.reason.get_or_insert_with(|| reason.clone());
            }
            Outcome::Unsent => tally.unsent += 1,
        }
    }
    answers.sort_unstable();
    let gaps = answers
        .windows(2)
        .map(|pair| pair.last().copied().unwrap_or_default() - pair.first().copied().unwrap_or_default());
    tally.gap = gaps.max().unwrap_or_default();
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_what_to_ask() {
        let plan = ProbePlan::to("http://10.0.0.9/x").expect("a URL");
        assert_eq!(plan.to, "10.0.0.9:80".parse().expect("an address"));
        assert_eq!(plan.kind, Kind::Http { path: "/x".to_owned(), host: "10.0.0.9".to_owned() });
        let plan = ProbePlan::to("tcp://[fd00::9]:81").expect("a URL");
        assert_eq!(plan.to, "[fd00::9]:81".parse().expect("an address"));
        assert_eq!(ProbePlan::to("ping://fd00::9").expect("a URL").kind, Kind::Ping);
        let error = ProbePlan::to("ftp://10.0.0.9").expect_err("no such probe").to_string();
        assert!(error.contains("expected http://"), "{error}");
    }

    #[test]
    fn a_gap_is_the_longest_time_without_an_answer() {
        let ms = Duration::from_millis;
        let request =
            |sent, outcome| Request { sent: ms(sent), done: ms(sent + 1), outcome, by: None, node: None };
        let all = [
            request(10, Outcome::Answered),
            request(20, Outcome::TimedOut),
            request(30, Outcome::Refused),
            request(60, Outcome::Answered),
        ];
        let tally = tally(&all, ms(0), ms(100));
        assert_eq!((tally.answered, tally.timed_out, tally.refused, tally.failed()), (2, 1, 1, 2));
        assert_eq!(tally.gap, ms(50));
    }
}
