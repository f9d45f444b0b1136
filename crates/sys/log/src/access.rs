//! Access logs: lines gathered by each data thread and written many at a time.

use std::cell::{Cell, RefCell};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::{Syslog, clock};

/// Gathered bytes that are written without waiting for [`AccessSink::flush`].
const GATHER: usize = 64 << 10;
/// A reader that is slow (a pipe, a terminal) may let this much wait; lines beyond are dropped.
const PENDING_MAX: usize = 1 << 20;
/// POSIX: a pipe that is ready for writing takes this much at once, and never mixes it with other writers'.
const PIPE_BUF: usize = 4096;

/// `access_log ... buffer= flush= gzip=`; nothing set: lines leave when the event loop is about to sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccessOptions {
    /// bytes that are gathered before a write
    pub buffer: Option<usize>,
    /// milliseconds after which gathered lines are written all the same
    pub flush_ms: Option<u64>,
    /// compression level 1 to 9; every write is a gzip member of its own
    pub gzip: Option<u8>,
}

/// What could not be written since it was last asked for.
#[derive(Debug)]
pub struct Loss {
    /// dropped lines
    pub lines: u64,
    /// why, as far as the system said
    pub error: Option<io::Error>,
}

/// One access log of one data thread.
#[derive(Debug)]
pub struct AccessSink {
    target: Target,
    lost: Cell<u64>,
    error: RefCell<Option<io::Error>>,
}

#[derive(Debug)]
enum Target {
    File(FileTarget),
    Syslog(Arc<Syslog>),
}

#[derive(Debug)]
struct FileTarget {
    fd: RefCell<Arc<OwnedFd>>,
    /// a regular file takes everything at once; pipes and terminals are asked first
    regular: Cell<bool>,
    options: AccessOptions,
    buffer: RefCell<Vec<u8>>,
    /// when gathered lines are due, on the monotonic clock
    deadline: Cell<Option<u64>>,
}

impl AccessSink {
    /// A file that was opened for appending; several sinks may share it.
    pub fn file(fd: impl Into<Arc<OwnedFd>>, options: AccessOptions) -> AccessSink {
        let fd = fd.into();
        let regular = Cell::new(is_regular(fd.as_fd()));
        AccessSink::new(Target::File(FileTarget {
            fd: RefCell::new(fd),
            regular,
            options,
            buffer: RefCell::default(),
            deadline: Cell::new(None),
        }))
    }

    /// A syslog server: every line is a datagram, at once.
    pub fn syslog(syslog: Arc<Syslog>) -> AccessSink {
        AccessSink::new(Target::Syslog(syslog))
    }

    fn new(target: Target) -> AccessSink {
        AccessSink { target, lost: Cell::new(0), error: RefCell::new(None) }
    }

    /// Takes one line; its LF is added here.
    pub fn push(&self, line: &[u8]) {
        match &self.target {
            Target::Syslog(syslog) => syslog.send(line),
            Target::File(file) => self.gather(file, line),
        }
    }

    /// Appends a line piece by piece, which saves a copy: `write` adds the line to the gathered bytes.
    pub fn push_with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        match &self.target {
            // The LF in the buffer is in the way of a datagram, and a configured buffer counts whole lines.
            Target::File(file) if file.options.buffer.is_none() && file.options.gzip.is_none() => {
                let full = {
                    let mut buffer = file.buffer.borrow_mut();
                    write(&mut buffer);
                    buffer.push(b'\n');
                    buffer.len() >= GATHER
                };
                if full {
                    self.write_out(file);
                }
            }
            _ => {
                let mut line = Vec::with_capacity(256);
                write(&mut line);
                self.push(&line);
            }
        }
    }

    fn gather(&self, file: &FileTarget, line: &[u8]) {
        let capacity = file.options.buffer.unwrap_or(GATHER);
        let room = capacity.saturating_sub(file.buffer.borrow().len());
        if line.len() + 1 > room {
            self.write_out(file);
        }
        let mut buffer = file.buffer.borrow_mut();
        if buffer.is_empty()
            && let Some(after) = file.options.flush_ms
        {
            file.deadline.set(Some(clock::mono_ms() + after));
        }
        buffer.extend_from_slice(line);
        buffer.push(b'\n');
        let full = buffer.len() >= capacity;
        drop(buffer);
        if full {
            self.write_out(file);
        }
    }

    /// Called when the event loop is about to sleep: writes what is due. Lines of a log with `buffer=` stay
    /// until it is full or their `flush=` time has come.
    pub fn flush(&self) {
        let Target::File(file) = &self.target else { return };
        let buffered = file.options.buffer.is_some() || file.options.gzip.is_some();
        let due = file.deadline.get().is_some_and(|at| at <= clock::mono_ms());
        if !buffered || due {
            self.write_out(file);
        }
    }

    /// When [`AccessSink::flush`] should be called at the latest: milliseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        match &self.target {
            Target::File(file) => file.deadline.get(),
            Target::Syslog(_) => None,
        }
    }

    /// Bytes that wait to be written.
    pub fn pending(&self) -> usize {
        match &self.target {
            Target::File(file) => file.buffer.borrow().len(),
            Target::Syslog(_) => 0,
        }
    }

    /// Writes everything: before the end, and before the file is exchanged.
    pub fn finish(&self) {
        if let Target::File(file) = &self.target {
            self.write_out(file);
        }
    }

    /// Log rotation: what was gathered goes to the old file, all else to `fd`.
    pub fn replace(&self, fd: impl Into<Arc<OwnedFd>>) {
        let Target::File(file) = &self.target else { return };
        self.write_out(file);
        let fd = fd.into();
        file.regular.set(is_regular(fd.as_fd()));
        *file.fd.borrow_mut() = fd;
    }

    /// What was lost since the last call; `None`: nothing.
    pub fn take_loss(&self) -> Option<Loss> {
        let lines = self.lost.take();
        let error = self.error.take();
        (lines > 0 || error.is_some()).then_some(Loss { lines, error })
    }

    fn write_out(&self, file: &FileTarget) {
        file.deadline.set(None);
        let mut buffer = file.buffer.borrow_mut();
        if buffer.is_empty() {
            return;
        }
        if let Some(level) = file.options.gzip {
            *buffer = compress(&buffer, level);
        }
        let fd = file.fd.borrow();
        let written = if file.regular.get() {
            write_regular(fd.as_fd(), &buffer)
        } else {
            write_patient(fd.as_fd(), &buffer)
        };
        match written {
            Ok(()) => buffer.clear(),
            // The reader is slow: keep what is left, as long as it is bearable. What is compressed already
            // cannot have lines added.
            Err((written, Errno::AGAIN))
                if file.options.gzip.is_none() && buffer.len() - written <= PENDING_MAX =>
            {
                buffer.drain(..written);
            }
            Err((written, error)) => {
                let lines = buffer[written..].iter().filter(|b| **b == b'\n').count();
                self.lost.set(self.lost.get() + lines as u64);
                *self.error.borrow_mut() = Some(error.into());
                buffer.clear();
            }
        }
        if buffer.capacity() > 2 * GATHER && buffer.is_empty() {
            buffer.shrink_to(GATHER);
        }
    }
}

/// What was gathered is written when the owner goes.
impl Drop for AccessSink {
    fn drop(&mut self) {
        self.finish();
    }
}

fn is_regular(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
}

fn compress(bytes: &[u8], level: u8) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level.into()));
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// Writes all, or tells how much was written and what stopped it.
fn write_regular(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::write(fd, &bytes[done..]) {
            Ok(0) => return Err((done, Errno::NOSPC)),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err((done, e)),
        }
    }
    Ok(())
}

/// The same for what may block: whole lines, in pieces that are taken at once.
fn write_patient(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &bytes[done..];
        let window = &rest[..rest.len().min(PIPE_BUF)];
        let piece = memrchr(b'\n', window).map_or(window, |end| &window[..=end]);
        let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
        let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut ready, Some(&no_wait)) {
            Ok(0) => return Err((done, Errno::AGAIN)),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(e) => return Err((done, e)),
        }
        match rustix::io::write(fd, piece) {
            Ok(0) => return Err((done, Errno::PIPE)),
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err((done, e)),
        }
    }
    Ok(())
}

fn memrchr(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|b| *b == byte)
}
