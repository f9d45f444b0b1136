//! Clients with a WebSocket each, which talks all the time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::{Instant, sleep, timeout};

use super::app::{CLOSE, TEXT, accept, frame, set, take_frame};
use super::client::Connection;
use super::tally::WebsocketEnd;
use super::traffic::{AGAIN, LIMIT, Work};

const PAUSE: Duration = Duration::from_millis(200);

struct Websocket {
    connection: Connection,
    server: String,
    version: String,
}

enum End {
    /// The load is over.
    Ours,
    /// The server has said so.
    Closed(String),
    Cut(String),
}

/// Opens a WebSocket again and again until the load is over.
pub async fn client(work: Work, started: Instant, number: usize) {
    let mut count = 0_u64;
    while !*work.stopping.borrow() {
        count += 1;
        let opened = std::time::Instant::now();
        let open = timeout(LIMIT, open(&work, number, count)).await;
        let open = open.unwrap_or_else(|_| Err(format!("not open within {LIMIT:?}")));
        let mut websocket = match open {
            Ok(websocket) => websocket,
            Err(text) => {
                let at = started.elapsed().as_secs_f64();
                work.counts.failed(format!("at {at:.3} s websocket {number} sent its handshake: {text}"));
                sleep(AGAIN).await;
                continue;
            }
        };
        work.counts.with(|tally| tally.websockets_opened += 1);
        let end = websocket.talk(&work).await.unwrap_or_else(End::Cut);
        let Websocket { server, version, .. } = websocket;
        let ended = |how| WebsocketEnd { server, version, opened, ended: std::time::Instant::now(), how };
        match end {
            End::Ours => {}
            End::Closed(how) => work.counts.with(|tally| tally.websockets_closed.push(ended(how))),
            End::Cut(how) => work.counts.with(|tally| tally.websockets_cut.push(ended(how))),
        }
    }
}

async fn open(work: &Work, number: usize, count: u64) -> Result<Websocket, String> {
    let mut connection = Connection::open(work.proxy).await?;
    let key = STANDARD.encode(format!("{number:08}{:08}", count % 100_000_000));
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
        work.mix.host
    );
    connection.send(request.as_bytes()).await?;
    let answer = connection.answer().await?;
    let is = |name: &str, value: &str| answer.header(name).is_some_and(|it| it.eq_ignore_ascii_case(value));
    let accepted = answer.header("sec-websocket-accept") == Some(accept(&key).as_str());
    if answer.status != 101 || !accepted || !is("upgrade", "websocket") || !is("connection", "upgrade") {
        return Err(format!("{answer:?}"));
    }
    let name = |name| answer.header(name).unwrap_or("none").to_owned();
    Ok(Websocket { server: name("x-server"), version: name("x-version"), connection })
}

impl Websocket {
    /// Sends words and waits for each to come back; an error is a cut.
    async fn talk(&mut self, work: &Work) -> Result<End, String> {
        let mut stopping = work.stopping.clone();
        for count in 0_u64.. {
            let word = format!("word {count} of {}", self.server);
            self.connection.send(&frame(TEXT, word.as_bytes(), Some([7, 77, 177, 27]))).await?;
            let (kind, payload) = self.frame().await?;
            if kind == CLOSE {
                return self.close(payload).await;
            }
            if kind != TEXT || payload != word.as_bytes() {
                let came = String::from_utf8_lossy(&payload).into_owned();
                return Err(format!("sent {word:?}, and a frame of kind {kind} came: {came:?}"));
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                came = self.frame() => match came? {
                    (CLOSE, payload) => return self.close(payload).await,
                    (kind, _) => return Err(format!("a frame of kind {kind} that nobody asked for")),
                },
                () = set(&mut stopping) => {
                    self.connection.send(&frame(CLOSE, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4]))).await?;
                    let (kind, _) = self.frame().await?;
                    let fine = if kind == CLOSE { Ok(End::Ours) } else { Err("no close for a close".to_owned()) };
                    return fine;
                }
            }
        }
        Ok(End::Ours)
    }

    /// The server closes: it is answered (RFC 6455, section 5.5.1).
    async fn close(&mut self, payload: Vec<u8>) -> Result<End, String> {
        self.connection.send(&frame(CLOSE, &payload, Some([4, 3, 2, 1]))).await?;
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        let (properly, text) = self.connection.idle_end().await;
        if properly { Ok(End::Closed(format!("code {code}"))) } else { Err(text) }
    }

    /// Loses nothing when it is given up.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>), String> {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(frame) = take_frame(&mut self.connection.bytes) {
                return Ok(frame);
            }
            let more = tokio::time::timeout_at(limit, self.connection.more("of a websocket")).await;
            more.unwrap_or_else(|_| Err(format!("no frame within {LIMIT:?}")))?;
        }
    }
}
