//! A small application to try releases with: it says who it is and in which version, and ends without losing a request.
//!
//! | | |
//! |---|---|
//! | `GET /...` | 200, one line: its id, its version, and the `X-Request` of the request |
//! | `POST /...` | the same, and the CRC-32 and the length of the body |
//! | `GET /slow?ms=N` | the same after N milliseconds |
//! | `GET /health` | 200, or 503 while it is not well |
//! | `GET /ws` | a WebSocket that sends back what comes |
//!
//! Each answer has `X-Server` and `X-Version`. SIGTERM and SIGINT end it: it accepts nothing more, closes idle
//! connections, finishes the requests that run, and closes WebSockets with a frame that says so. If `NOTIFY_SOCKET` is set
//! it says there that it is ready, and that it stops.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// More than any head or frame here has.
const MOST: usize = 16 * 1024 * 1024;

/// A small application to try releases with
#[derive(Parser, Clone, Debug)]
pub struct App {
    /// Where it listens, on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// What it says its version is
    #[arg(long, default_value = "1")]
    version: String,
    /// What it says it is; without it its port
    #[arg(long)]
    id: Option<String>,
    /// It listens at once, but answers 503 for so long, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ready: u64,
    /// It listens, and answers 503 for ever
    #[arg(long)]
    never_ready: bool,
    /// It dies after so long, with exit code 1
    #[arg(long, value_name = "MS")]
    crash_after: Option<u64>,
    /// It answers 500 after so long, /health excepted
    #[arg(long, value_name = "MS")]
    fail_after: Option<u64>,
    /// Its /health is 503 after so long
    #[arg(long, value_name = "MS")]
    sick_after: Option<u64>,
    /// It goes on running for so long when it has finished
    #[arg(long, value_name = "MS", default_value_t = 0)]
    slow_stop: u64,
    /// When it started.
    #[arg(skip = Instant::now())]
    started: Instant,
}

fn main() {
    process::exit(run(std::env::args()));
}

/// Runs it with words as of a command line, the first of which is its name. Answers its exit code.
pub fn run(words: impl Iterator<Item = String>) -> i32 {
    let app = App::parse_from(words);
    let port = app.port;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(app.serve())) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("app: port {port}: {error}");
            1
        }
    }
}

impl App {
    async fn serve(self) -> io::Result<()> {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let start = |stream, tasks: &mut JoinSet<_>| {
            tasks.spawn(connection(stream, self.clone(), stopping.clone()));
        };
        let ready = self.started + Duration::from_millis(self.delay_ready);
        let mut waits = !self.never_ready;
        let crash = self.started + Duration::from_millis(self.crash_after.unwrap_or(0));
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => start(stream, &mut tasks),
                Some(_) = tasks.join_next() => {}
                () = sleep_until(crash), if self.crash_after.is_some() => process::exit(1),
                () = sleep_until(ready), if waits => {
                    waits = false;
                    notify("READY=1")?;
                }
                _ = term.recv() => break,
                _ = int.recv() => break,
            }
        }
        notify("STOPPING=1")?;
        // Whoever connected before has a right to an answer.
        while let Ok(Ok((stream, _))) = timeout(Duration::ZERO, listener.accept()).await {
            start(stream, &mut tasks);
        }
        drop(listener);
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
        sleep(Duration::from_millis(self.slow_stop)).await;
        Ok(())
    }

    fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.port.to_string())
    }

    fn status(&self, path: &str) -> &'static str {
        let age = self.started.elapsed();
        let over = |limit: Option<u64>| limit.is_some_and(|limit| age >= Duration::from_millis(limit));
        let unwell = self.never_ready || !over(Some(self.delay_ready));
        match path {
            "/health" if unwell || over(self.sick_after) => "503 Service Unavailable",
            "/health" => "200 OK",
            "/redirect" => "302 Found",
            _ if unwell => "503 Service Unavailable",
            _ if over(self.fail_after) => "500 Internal Server Error",
            _ => "200 OK",
        }
    }
}

/// As sd_notify(3) does, for a socket that has a path.
fn notify(state: &str) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(path) => UnixDatagram::unbound()?.send_to(state.as_bytes(), path).map(drop),
        None => Ok(()),
    }
}

/// Waits until a flag is true, or nobody can set it any more.
pub async fn set(flag: &mut watch::Receiver<bool>) {
    drop(flag.wait_for(|set| *set).await);
}

/// What was asked.
struct Request {
    line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("/")
    }
}

/// Serves one connection until it ends; at the end of the application, until it has nothing to do.
async fn connection(mut stream: TcpStream, app: App, mut stopping: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        if bytes.is_empty() {
            tokio::select! {
                read = stream.read_buf(&mut bytes) => if read? == 0 { return Ok(()) },
                () = set(&mut stopping) => return Ok(()),
            }
        }
        let head = take_head(&mut stream, &mut bytes).await?;
        let length = head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let body = take(&mut stream, &mut bytes, length).await?;
        if let Some(key) = head.header("sec-websocket-key") {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {}\r\nX-Server: {}\r\nX-Version: {}\r\n\r\n",
                accept(key),
                app.id(),
                app.version
            );
            stream.write_all(head.as_bytes()).await?;
            return echo(&mut stream, &mut bytes, stopping).await;
        }
        if let Some(ms) = head.target().strip_prefix("/slow?ms=").and_then(|ms| ms.parse().ok()) {
            sleep(Duration::from_millis(ms)).await;
        }
        let old = head.line.ends_with("HTTP/1.0");
        let asked = head.header("connection").unwrap_or("").to_ascii_lowercase();
        let close = *stopping.borrow() || asked == "close" || (old && asked != "keep-alive");
        stream.write_all(&answer(&app, &head, &body, close)).await?;
        if close {
            return stream.shutdown().await;
        }
    }
}

fn answer(app: &App, head: &Request, body: &[u8], close: bool) -> Vec<u8> {
    let mut text = format!("{} {} {}", app.id(), app.version, head.header("x-request").unwrap_or("-"));
    if !body.is_empty() {
        text.push_str(&format!(" {:08x} {}", crc32fast::hash(body), body.len()));
    }
    format!(
        "HTTP/1.1 {}\r\nX-Server: {}\r\nX-Version: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{}\r\n{text}\n",
        app.status(head.target()),
        app.id(),
        app.version,
        text.len() + 1,
        match (head.target(), close) {
            ("/redirect", _) => "Location: /login\r\nConnection: close\r\n",
            (_, true) => "Connection: close\r\n",
            _ => "",
        },
    )
    .into_bytes()
}

async fn take_head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Request> {
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, bytes).await?;
    };
    let head: Vec<u8> = bytes.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Ok(Request { line, headers })
}

async fn take(stream: &mut TcpStream, bytes: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while bytes.len() < length {
        more(stream, bytes).await?;
    }
    Ok(bytes.drain(..length).collect())
}

/// Waits for more bytes; loses none when it is given up.
async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if bytes.len() > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match stream.read_buf(bytes).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// RFC 6455, section 7.4.1: the endpoint is going away.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// What a server makes of `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

/// A whole message as one frame (RFC 6455, section 5.2), masked as a client has to. It has less than 64 KiB.
pub fn frame(kind: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | kind];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(masked | length),
        _ => {
            bytes.push(masked | 126);
            let length = u16::try_from(payload.len()).expect("payloads here are short");
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The first frame of what was read: its kind, and its payload without the mask. None: more is needed.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])), 4),
        127 => return Some((CLOSE, Vec::new())),
        length => (usize::from(length), 2),
    };
    let masked = if second & 0x80 == 0 { 0 } else { 4 };
    let mask = bytes.get(at..at + masked)?.to_vec();
    let payload = bytes.get(at + masked..at + masked + length)?;
    let key = if mask.is_empty() { vec![0] } else { mask };
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    bytes.drain(..at + masked + length);
    Some((first & 0x0f, payload))
}

async fn echo(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut ending = None;
    loop {
        while let Some((kind, payload)) = take_frame(bytes) {
            match kind {
                CLOSE => {
                    if ending.is_none() {
                        stream.write_all(&frame(CLOSE, &payload, None)).await?;
                    }
                    return stream.shutdown().await;
                }
                // After a close frame nothing is sent (RFC 6455, section 5.5.1).
                _ if ending.is_some() => {}
                PING => stream.write_all(&frame(PONG, &payload, None)).await?,
                PONG => {}
                kind => stream.write_all(&frame(kind, &payload, None)).await?,
            }
        }
        let end = ending.unwrap_or_else(Instant::now);
        tokio::select! {
            read = more(stream, bytes) => read?,
            () = sleep_until(end), if ending.is_some() => return Ok(()),
            () = set(&mut stopping), if ending.is_none() => {
                stream.write_all(&frame(CLOSE, &GOING_AWAY, None)).await?;
                ending = Some(Instant::now() + Duration::from_secs(2));
            }
        }
    }
}
