//! A server of the binary under test in a folder of its own.

// Each test file uses a part of this.
#![allow(dead_code, unreachable_pub)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use weir_net::{Signal, send_signal};

/// What takes longer has failed, on a busy machine too; nothing waits longer than it has to.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Looks again and again until something is so.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    seek(look).unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// The same, and `None` if it never is.
pub fn seek<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nobody listens on, and that no other test gets.
///
/// It is below those that the kernel gives to outgoing connections, which could take it before it is bound, and tests
/// that run at once, each in a process of its own, begin at different places.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    loop {
        let port = FIRST + begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(port).expect("all of them are ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.env_remove("NGINX").stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with an nginx.conf; `DIR` and `PORT` in the text stand for the folder and a free port.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub port: u16,
}

impl Site {
    pub fn new(conf: &str) -> Site {
        let dir = tempfile::tempdir().expect("a folder");
        // The worker runs as another user.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let site = Site { dir, port: free_port() };
        site.write(conf);
        site
    }

    /// A server that answers everything with a word.
    pub fn saying(word: &str) -> Site {
        Site::new(&one_word(word))
    }

    pub fn write(&self, conf: &str) {
        let conf = conf.replace("DIR", &self.path().display().to_string());
        let conf = conf.replace("PORT", &self.port.to_string());
        fs::write(self.file("nginx.conf"), conf).expect("write");
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The binary with the options that make it use this folder.
    pub fn command(&self) -> Command {
        let mut command = weir();
        command.arg("-p").arg(self.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.command().args(words).output().expect("run")
    }

    pub fn start(self) -> Server {
        let process = self.command().spawn().expect("start");
        let mut server = Server { site: self, process };
        server.wait_for_pid_file();
        server
    }
}

/// The whole of a small configuration; the main level of `more` goes in front.
pub fn one_word_with(word: &str, more: &str) -> String {
    format!(
        "daemon off; pid DIR/nginx.pid; error_log DIR/error.log notice; {more}
         events {{ }}
         http {{
             access_log DIR/access.log;
             server {{ listen 127.0.0.1:PORT; location / {{ return 200 {word}; }} }}
         }}"
    )
}

pub fn one_word(word: &str) -> String {
    one_word_with(word, "")
}

/// A keeper that was started in the foreground; it is stopped with this value.
pub struct Server {
    pub site: Site,
    pub process: Child,
}

impl Server {
    pub fn wait_for_pid_file(&mut self) {
        let Server { site, process } = self;
        until("the pid file", || {
            if let Some(status) = process.try_wait().expect("a child") {
                panic!("it ended with {status}: {}", site.read("error.log"));
            }
            site.read("nginx.pid").ends_with('\n').then_some(())
        });
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(self.pid(), signal).expect("the keeper lives");
    }

    /// The worker that was started last.
    pub fn worker(&self) -> u32 {
        let log = self.site.read("error.log");
        let line = log.lines().rfind(|line| line.contains("start worker process ")).expect("a worker");
        line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("its number")
    }

    /// Waits for words in the error log.
    pub fn wait_for_log(&self, words: &str) {
        until(words, || self.site.read("error.log").contains(words).then_some(()));
    }

    pub fn get(&self) -> io::Result<String> {
        get(self.site.port, "/")
    }

    /// Waits until the answer is a certain word.
    pub fn wait_for_answer(&self, word: &str) {
        until(word, || (self.get().ok()? == word).then_some(()));
    }

    pub fn wait(&mut self) -> ExitStatus {
        let process = &mut self.process;
        until("the end", || process.try_wait().expect("a child"))
    }

    pub fn quit(mut self) -> Site {
        self.signal(Signal::Quit);
        assert!(self.wait().success());
        let dir = tempfile::tempdir().expect("a folder");
        Site { dir: std::mem::replace(&mut self.site.dir, dir), port: self.site.port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = send_signal(self.process.id(), Signal::Term);
            let _ = self.process.wait();
        }
    }
}

/// Ends what runs in the background of a folder when a test fails half-way.
pub struct Background(PathBuf);

impl Background {
    pub fn of(site: &Site) -> Background {
        Background(site.path().to_owned())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for name in ["nginx.pid", "nginx.pid.oldbin"] {
            let pid = fs::read_to_string(self.0.join(name)).ok().and_then(|pid| pid.trim().parse().ok());
            if let Some(pid) = pid {
                let _ = send_signal(pid, Signal::Term);
            }
        }
    }
}

/// Asks on a new connection and answers the body of a 200.
pub fn get(port: u16, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    ask(&stream, path, true)
}

/// Asks on an open connection.
pub fn ask(mut stream: &TcpStream, path: &str, close: bool) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = if close { "close" } else { "keep-alive" };
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = text(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.trim().parse().map_err(io::Error::other)?];
    stream.read_exact(&mut body)?;
    if head.starts_with("http/1.1 200 ") {
        Ok(text(&body))
    } else {
        Err(io::Error::other(format!("no 200: {head}")))
    }
}
