//! Log files that can be exchanged while they are written to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Opens a log for appending, and creates it with mode 0644 less the umask.
pub fn open_append(path: &Path) -> io::Result<OwnedFd> {
    Ok(std::fs::OpenOptions::new().append(true).create(true).mode(0o644).open(path)?.into())
}

/// An open log that many threads write whole lines to.
#[derive(Debug)]
pub struct LogFile {
    fd: RwLock<OwnedFd>,
}

impl LogFile {
    /// Writes to what the caller opened for appending.
    pub fn new(fd: OwnedFd) -> LogFile {
        LogFile { fd: RwLock::new(fd) }
    }

    /// A second descriptor of the same open file.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.read().unwrap_or_else(PoisonError::into_inner).try_clone()
    }

    /// From now on writes go to `fd` (log rotation); the old one is closed.
    pub fn replace(&self, fd: OwnedFd) {
        *self.fd.write().unwrap_or_else(PoisonError::into_inner) = fd;
    }

    /// Writes a line with one write(2), so that lines of several threads and processes do not mix.
    /// What the file takes no room for is lost: a log never stops the server.
    pub fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let fd = self.fd.read().unwrap_or_else(PoisonError::into_inner);
        loop {
            match rustix::io::write(fd.as_fd(), line) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
