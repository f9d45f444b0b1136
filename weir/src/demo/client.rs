//! A gentle load: a few connections, some hundred requests a second, and an account of every answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happened to all requests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) by_app: [u64; 3],
    /// Why the first one failed.
    pub(super) reason: Option<String>,
}

impl Tally {
    /// The later of two.
    pub(super) fn max(self, other: Tally) -> Tally {
        if other.answered + other.failed >= self.answered + self.failed { other } else { self }
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    tally: Mutex<Tally>,
}

pub(super) struct Client {
    shared: Arc<Shared>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

const CONNECTIONS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

impl Client {
    pub(super) fn start(port: u16) -> Client {
        let shared = Arc::new(Shared::default());
        let threads = (0..CONNECTIONS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || ask_on(port, &shared))
            })
            .collect();
        Client { shared, threads: Mutex::new(threads) }
    }

    pub(super) fn tally(&self) -> Tally {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks no more, and waits for the answers that are due.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

/// Asks again and again; a new connection after each failure.
fn ask_on(port: u16, shared: &Shared) {
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let outcome = ask(port, &mut connection);
        let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(app) => {
                tally.answered += 1;
                if let Some(count) = app.checked_sub(1).and_then(|app| tally.by_app.get_mut(app)) {
                    *count += 1;
                }
            }
            Err(error) => {
                connection = None;
                tally.failed += 1;
                tally.reason.get_or_insert_with(|| error.to_string());
            }
        }
        drop(tally);
        std::thread::sleep(PAUSE);
    }
}

/// One request; answers the number of the application that served it.
fn ask(port: u16, connection: &mut Option<BufReader<TcpStream>>) -> io::Result<usize> {
    let reader = match connection {
        Some(reader) => reader,
        None => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            connection.insert(BufReader::new(stream))
        }
    };
    reader.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(io::Error::other(format!("the proxy answered {:?}", line.trim_end())));
    }
    let (mut app, mut length, mut close) = (0, 0, false);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "x-application" => app = value.parse().unwrap_or(0),
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "connection" => close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    if close {
        *connection = None;
    }
    Ok(app)
}
