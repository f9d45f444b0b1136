//! Steady traffic through a proxy, every answer of which is checked, and the application behind it.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "../../examples/app.rs"]
pub mod app;
mod client;
pub mod instance;
mod tally;
mod traffic;
mod websocket;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::common::until;

pub use tally::{Tally, WebsocketEnd};

/// How a test binary knows that it is to be the application: its words, one a line.
const WORDS: &str = "WEIR_TEST_APPLICATION";

/// A program that a shell can start: the application of `examples/app.rs`, which this test binary is when it is asked.
/// The file is written into `folder`.
pub fn program(folder: &Path) -> PathBuf {
    let file = folder.join("app");
    let binary = std::env::current_exe().expect("this binary");
    let text = format!(
        "#!/bin/sh\n\
         {WORDS}=$(printf '%s\\n' \"$@\"); export {WORDS}\n\
         exec '{}' load::application --exact --nocapture --test-threads=1 >/dev/null\n",
        binary.display()
    );
    if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
        fs::write(&file, text).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    file
}

/// A proxy with a control API in front of one upstream: `main` stands at the main level, `upstream` in its block.
pub fn proxy(main: &str, upstream: &str) -> String {
    crate::support::conf(&format!(
        "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
         upstream web {{ {upstream} keepalive 32; }}
         server {{
             listen 127.0.0.1:PORT;
             location / {{
                 proxy_pass http://web;
                 proxy_http_version 1.1;
                 proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection $connection_upgrade;
             }}
         }}"
    ))
    .replace(
        "events { }",
        &format!("state_path DIR/state; admin {{ socket DIR/control.sock; }} {main}\nevents {{ }}"),
    )
}

/// Not a test: the application, in the process that [`program`] starts.
#[test]
fn application() {
    if let Ok(words) = std::env::var(WORDS) {
        let words = std::iter::once("app".to_owned()).chain(words.lines().map(str::to_owned));
        std::process::exit(app::run(words));
    }
}

/// What traffic consists of.
#[derive(Clone, Debug)]
pub struct Mix {
    /// In all, over connections that are kept alive.
    pub requests_per_second: u32,
    pub connections: usize,
    /// The share of requests that are POSTs.
    pub posts: f64,
    pub post_bytes: usize,
    /// Open all the time; one that ends is opened again.
    pub websockets: usize,
    /// Clients that ask `/slow?ms=N` one time after the other.
    pub slow: usize,
    pub slow_ms: u64,
    pub host: &'static str,
}

/// Steady traffic through one address, until it is ended.
pub struct Load {
    counts: Arc<tally::Counts>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub fn start(proxy: SocketAddr, mix: Mix) -> Load {
        let counts = Arc::new(tally::Counts::default());
        let (stop, stopping) = watch::channel(false);
        let work = traffic::Work { proxy, mix, counts: Arc::clone(&counts), stopping };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || traffic::run(work));
        Load { counts, stop, thread: Some(thread.expect("a thread")) }
    }

    /// The answers that came, and the failures.
    pub fn sent(&self) -> u64 {
        self.counts.answers.load(Ordering::Relaxed)
    }

    /// Waits until `n` more answers came.
    pub fn await_more(&self, n: u64) {
        let goal = self.sent() + n;
        until("more answers", || (self.sent() >= goal).then_some(()));
    }

    /// What has been counted until now.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.counts.tally.lock().expect("nobody panics with it")
    }

    /// Ends it when the requests that run are answered.
    pub fn finish(mut self) -> Tally {
        self.stop.send_replace(true);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("the load does not panic");
        let mut tally = self.tally();
        tally.conclude();
        tally.clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
