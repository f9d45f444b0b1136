//! Machines whose output is kept, folders of programs that play others, and small servers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use weir_rollout::Plan;
use weir_serve_rollout::Machine;

/// Far above what anything takes here; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is awaited comes, or the test fails with its name.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

/// Until it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// What a machine told: the server and the line.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<(String, String)>>>);

impl Told {
    pub(crate) fn lines(&self) -> Vec<String> {
        let told = self.0.lock().expect("not poisoned");
        told.iter().map(|(server, line)| format!("{server}|{line}")).collect()
    }

    /// Of the line that begins so, the rest.
    pub(crate) fn after(&self, beginning: &str) -> String {
        let told = self.0.lock().expect("not poisoned");
        let found = told.iter().find_map(|(_, line)| line.strip_prefix(beginning));
        found.unwrap_or_else(|| panic!("no line {beginning}: {told:?}")).to_owned()
    }
}

/// A machine of this plan, and what it tells.
pub(crate) fn machine(plan: &str) -> (Machine, Told) {
    let plan = Plan::parse(plan).unwrap_or_else(|error| panic!("{error}"));
    let told = Told::default();
    let keep = Arc::clone(&told.0);
    let output = Arc::new(move |server: &str, line: &str| {
        keep.lock().expect("not poisoned").push((server.to_owned(), line.to_owned()));
    });
    (Machine::new(&plan, output), told)
}

/// A folder with programs that come before the system's.
pub(crate) struct Programs {
    folder: tempfile::TempDir,
}

impl Programs {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn add(&self, name: &str, text: &str) {
        let path = self.file(name);
        // The system refuses to run a file that somebody still writes, as a child that was just made of another test may.
        let text = format!("#!/bin/sh\nhere={}\n{text}\n", self.folder.path().display());
        let status = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$2\" > \"$1\"", "sh"])
            .arg(&path)
            .arg(&text)
            .status()
            .expect("sh");
        assert!(status.success());
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it can be run");
    }

    /// For [`Machine::with_path`].
    pub(crate) fn path(&self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.folder.path().display())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }
}

/// Whether a process runs: it is there, and no zombie.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Ends a process that a command of a test started.
pub(crate) struct Ends(pub(crate) String);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = Command::new("/bin/kill").args(["-9", &self.0]).stderr(Stdio::null()).status();
    }
}

/// busybox's httpd, which serves a folder.
pub(crate) struct Httpd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: tempfile::TempDir,
}

impl Httpd {
    /// `/version` says this.
    pub(crate) async fn start(version: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("version"), version).expect("a file");
        let port = free_port().await;
        let child = Command::new("busybox")
            .args(["httpd", "-f", "-p", &format!("127.0.0.1:{port}"), "-h"])
            .arg(folder.path())
            .spawn()
            .expect("busybox; the package busybox-static has it");
        let httpd = Self { child, port, folder };
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("httpd", listens).await;
        httpd
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A server that gives every connection these bytes once it has read a request's head, and keeps the heads.
pub(crate) struct Canned {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Canned {
    pub(crate) async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (keep, answer) = (Arc::clone(&keep), answer.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    // A handshake of TLS begins with 22, and is no head.
                    while !head.ends_with(b"\r\n\r\n") && head.first() != Some(&22) {
                        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    keep.lock().expect("not poisoned").push(String::from_utf8_lossy(&head).into_owned());
                    let _ = stream.write_all(&answer).await;
                });
            }
        });
        Self { port, heads, task }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("not poisoned").clone()
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}
