//! Applications: a small HTTP backend that answers its name, served by the laboratory inside a host.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::ask::runtime;
use crate::error::{Error, Result};
use crate::host::Host;

/// How an application behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Every answer takes so long.
    Slow(Duration),
    /// It accepts, reads, and never answers.
    Wedged,
}

/// An application in a host; it ends with this value.
pub struct App {
    host: Host,
    name: String,
    port: u16,
    mood: Arc<Mutex<Mood>>,
    running: Option<Running>,
}

struct Running {
    /// Dropped to end the thread.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Host {
    /// Serves an application that answers `name` on a port of every address.
    pub fn app(&self, name: &str, port: u16) -> Result<App> {
        let mood = Arc::new(Mutex::new(Mood::Well));
        let mut app = App { host: self.clone(), name: name.to_owned(), port, mood, running: None };
        app.start()?;
        Ok(app)
    }
}

impl App {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Starts it again; nothing happens if it runs.
    pub fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let (name, mood, door) = (self.name.clone(), Arc::clone(&self.mood), self.host.space().door()?);
        let port = self.port;
        let (stop, stopped) = oneshot::channel();
        let (begun, begin) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = match door.enter().and_then(|()| runtime()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(begun.send(Err(error))),
            };
            runtime.block_on(async {
                let listener =
                    TcpListener::bind(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)).await;
                match listener.map_err(Error::io(format!("application {name} on port {port}"))) {
                    Ok(listener) => {
                        let _ = begun.send(Ok(()));
                        tokio::select! { () = serve(listener, name, mood) => {}, _ = stopped => {} }
                    }
                    Err(error) => drop(begun.send(Err(error))),
                }
            });
        });
        begin.recv().unwrap_or_else(|_| Err(Error::wrong("an application ended before it began")))?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Ends it as a crash would: its port is closed, and so are its connections.
    pub fn kill(&mut self) {
        if let Some(Running { stop, thread }) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(listener: TcpListener, name: String, mood: Arc<Mutex<Mood>>) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let (name, mood) = (name.clone(), Arc::clone(&mood));
            // A client that closes is the usual end.
            tokio::spawn(async move { answer(stream, &name, &mood).await.ok() });
        }
    }
}

/// Answers every request of one connection.
async fn answer(mut stream: TcpStream, name: &str, mood: &Mutex<Mood>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let (mut line, mut length, mut close) = (String::new(), 0, false);
        loop {
            line.clear();
            if reader.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let text = line.trim_end().to_ascii_lowercase();
            close |= text.ends_with(" http/1.0") || text == "connection: close";
            if let Some(value) = text.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if text.is_empty() {
                break;
            }
        }
        tokio::io::copy(&mut (&mut reader).take(length), &mut tokio::io::sink()).await?;
        let now = *mood.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Mood::Well => {}
            Mood::Slow(time) => tokio::time::sleep(time).await,
            Mood::Wedged => std::future::pending().await,
        }
        let keep = if close { "close" } else { "keep-alive" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Application: {name}\r\nContent-Length: {}\r\n\
             Connection: {keep}\r\n\r\n{name}\n",
            name.len() + 1
        );
        writer.write_all(head.as_bytes()).await?;
        if close {
            return Ok(());
        }
    }
}
