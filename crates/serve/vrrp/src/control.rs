//! The socket that answers `weir vip`: whoever connects gets the state as one JSON document.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use weir_net::Waker;

use crate::attendant::History;
use crate::report;
use crate::service::Remote;

/// A client that does not read is left after this.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a process with virtual routers answers at a status socket.
#[must_use]
pub fn answers(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

/// The thread that answers; it ends when this is dropped.
pub(crate) struct Control {
    end: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Control {
    /// An error if somebody answers there: two processes with the same addresses would fight.
    pub(crate) fn refuse_second(path: &Path) -> Result<(), String> {
        if !answers(path) {
            return Ok(());
        }
        let path = path.display();
        Err(format!(
            "another process holds virtual addresses here: it answers at {path}; stop it first, or give this one a \
             status_socket of its own in global_defs"
        ))
    }

    /// Opens the socket for this user only.
    pub(crate) fn start(path: &Path, remote: Remote, history: Arc<Mutex<History>>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            // The mode is said: who may write there could answer in the place of the node.
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        // What is left of a process that was killed.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let end = Arc::new(Waker::new()?);
        let answering = Answering { listener, remote, history, end: Arc::clone(&end), path: path.to_owned() };
        let thread = std::thread::Builder::new().name("vrrp-status".to_owned());
        let thread = Some(thread.spawn(move || answering.run())?);
        Ok(Self { end, thread, path: path.to_owned() })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // First: a successor makes its own file as soon as nobody answers. One that is left is answered by nobody.
        let _ = std::fs::remove_file(&self.path);
        // The thread waits for nothing else, so a failure would leave it; it holds nothing that matters.
        let _ = self.end.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by the process' hook.
            let _ = thread.join();
        }
    }
}

struct Answering {
    listener: UnixListener,
    remote: Remote,
    history: Arc<Mutex<History>>,
    end: Arc<Waker>,
    path: PathBuf,
}

impl Answering {
    fn run(self) {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            let polled = rustix::event::poll(&mut fds, None);
            if polled.is_ok() && !fds[0].revents().is_empty() {
                return;
            }
            // An interrupted poll has found nobody, and accept would wait for somebody.
            if polled.is_ok()
                && let Ok((stream, _)) = self.listener.accept()
            {
                // A client that has gone, or does not read, is no concern of the node.
                let _ = self.answer(stream);
            }
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let status = self.remote.status()?;
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let document = report::document(&status, &history, &self.path);
        let mut text = serde_json::to_vec(&document)?;
        text.push(b'\n');
        stream.write_all(&text)
    }
}
