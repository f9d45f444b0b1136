//! The clients that ask: those that keep their pace, and those that wait for slow answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::app::set;
use super::client::{Answer, Connection};
use super::tally::Counts;
use super::{Mix, websocket};

/// An answer that takes longer has failed.
pub const LIMIT: Duration = Duration::from_secs(30);
/// A client that could not connect waits so long, and does not fill the table of failures at once.
pub const AGAIN: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Work {
    pub proxy: SocketAddr,
    pub mix: Mix,
    pub counts: Arc<Counts>,
    pub stopping: watch::Receiver<bool>,
}

/// All of the traffic, on this thread, until it is to stop.
pub fn run(work: Work) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        let started = Instant::now();
        if work.mix.requests_per_second > 0 {
            for number in 0..work.mix.connections {
                clients.spawn(Client::new(&work, started, number).keep_pace());
            }
        }
        for number in 0..work.mix.slow {
            clients.spawn(Client::new(&work, started, 10_000 + number).wait_for_slow());
        }
        for number in 0..work.mix.websockets {
            clients.spawn(websocket::client(work.clone(), started, number));
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no client panics");
        }
    });
}

struct Client {
    work: Work,
    started: Instant,
    number: usize,
    connection: Option<Connection>,
    /// Of requests.
    count: u64,
}

impl Client {
    fn new(work: &Work, started: Instant, number: usize) -> Client {
        Client { work: work.clone(), started, number, connection: None, count: 0 }
    }

    async fn keep_pace(mut self) {
        let Mix { requests_per_second, connections, posts, post_bytes, .. } = self.work.mix;
        let connections = u32::try_from(connections).expect("a few");
        let own = u32::try_from(self.number).expect("a few");
        let step = Duration::from_secs(1) / requests_per_second;
        let mut ticks = interval_at(self.started + step * own, step * connections);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut stopping = self.work.stopping.clone();
        let mut due = 0.0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = set(&mut stopping) => return,
                (properly, text) = idle_end(&mut self.connection) => {
                    self.idle_ended(properly, &text);
                    continue;
                }
            }
            due += posts;
            let length = if due >= 1.0 { post_bytes } else { 0 };
            due -= due.floor();
            self.ask("/", length, false).await;
        }
    }

    async fn wait_for_slow(mut self) {
        let target = format!("/slow?ms={}", self.work.mix.slow_ms);
        while !*self.work.stopping.borrow() {
            if !self.ask(&target, 0, true).await {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    fn idle_ended(&mut self, properly: bool, text: &str) {
        self.connection = None;
        if properly {
            self.work.counts.with(|tally| tally.idle_closed += 1);
        } else {
            self.failed("nothing", text);
        }
    }

    fn failed(&self, what: &str, text: &str) {
        let at = self.started.elapsed().as_secs_f64();
        self.work.counts.failed(format!("at {at:.3} s client {} sent {what}: {text}", self.number));
    }

    /// One request; a failed one costs the connection.
    async fn ask(&mut self, target: &str, length: usize, slow: bool) -> bool {
        self.count += 1;
        let name = format!("{}-{}", self.number, self.count);
        let body = body(length, self.count);
        let begun = Instant::now();
        let exchange = exchange(&mut self.connection, &self.work, target, &name, &body);
        let answer = timeout(LIMIT, exchange).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
        match answer.and_then(|answer| check(answer, &name, &body)) {
            Ok((server, version, last)) => {
                self.work.counts.right(&server, &version, begun.elapsed(), slow);
                if last {
                    self.connection = None;
                }
                true
            }
            Err(text) => {
                let method = if body.is_empty() { "GET" } else { "POST" };
                self.failed(&format!("{method} {target} ({name})"), &text);
                self.connection = None;
                false
            }
        }
    }
}

async fn idle_end(connection: &mut Option<Connection>) -> (bool, String) {
    match connection {
        Some(connection) => connection.idle_end().await,
        None => std::future::pending().await,
    }
}

async fn exchange(
    kept: &mut Option<Connection>,
    work: &Work,
    target: &str,
    name: &str,
    body: &[u8],
) -> Result<Answer, String> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(work.proxy).await?),
    };
    let host = work.mix.host;
    let mut request = if body.is_empty() {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Request: {name}\r\n\r\n").into_bytes()
    } else {
        let length = body.len();
        format!(
            "POST {target} HTTP/1.1\r\nHost: {host}\r\nX-Request: {name}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes()
    };
    request.extend(body);
    connection.send(&request).await?;
    connection.answer().await
}

/// Bytes that are other ones in each request.
fn body(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Server, version, and whether the connection ends, of an answer that is what the application says to this request.
fn check(answer: Answer, name: &str, body: &[u8]) -> Result<(String, String, bool), String> {
    let text = String::from_utf8_lossy(&answer.body);
    let server = answer.header("x-server").unwrap_or("none").to_owned();
    let version = answer.header("x-version").unwrap_or("none").to_owned();
    if answer.status != 200 {
        let text: String = text.chars().take(120).collect();
        return Err(format!("status {} of server {server}: {text:?}", answer.status));
    }
    let mut expected = format!("{server} {version} {name}");
    if !body.is_empty() {
        expected.push_str(&format!(" {:08x} {}", crc32fast::hash(body), body.len()));
    }
    expected.push('\n');
    if text == expected {
        return Ok((server, version, answer.is_last()));
    }
    Err(format!("body {text:?}; expected {expected:?}"))
}
