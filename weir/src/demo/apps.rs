//! Sample applications: tiny HTTP servers that say their name, and can be stopped and started.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// One application.
pub(super) struct App {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl App {
    /// Three of them on free ports.
    pub(super) fn start_three() -> io::Result<[App; 3]> {
        Ok([App::new(1)?, App::new(2)?, App::new(3)?])
    }

    fn new(number: u8) -> io::Result<App> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut app = App { name: number.to_string(), address: listener.local_addr()?, running: None };
        app.serve(listener);
        Ok(app)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it again, where it was.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.running.is_none() {
            self.serve(TcpListener::bind(self.address)?);
        }
        Ok(())
    }

    fn serve(&mut self, listener: TcpListener) {
        let shared = Arc::new(Shared::default());
        let (inside, name) = (Arc::clone(&shared), self.name.clone());
        let thread = std::thread::spawn(move || accept(&listener, &name, &inside));
        self.running = Some(Running { shared, thread });
    }

    /// Ends it as a crash would: its port is closed, and so are its connections, wherever they are.
    pub(super) fn stop(&mut self) {
        let Some(Running { shared, thread }) = self.running.take() else { return };
        shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        let _ = thread.join();
        for connection in shared.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, name: &str, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(copy) = stream.try_clone() {
            let mut connections = shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
            connections.retain(|c| c.peer_addr().is_ok());
            connections.push(copy);
        }
        let name = name.to_owned();
        std::thread::spawn(move || {
            // The proxy closing a connection is the usual end.
            let _ = answer(stream, &name);
        });
    }
}

/// Answers every request of one connection with a page.
fn answer(stream: TcpStream, name: &str) -> io::Result<()> {
    let page = format!(
        "<!doctype html><title>application {name}</title>\
         <body style=\"font-family: sans-serif; margin: 4em\">\
         <h1>Application {name}</h1><p>Reload this page: the next answer comes from another application.</p>\n"
    );
    let reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Application: {name}\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end().is_empty() {
            writer.write_all(reply.as_bytes())?;
        }
    }
}
