//! One process: its output line by line, its time, its end.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};
use weir_net::Signal;
use weir_rollout::Span;

/// Between SIGTERM and SIGKILL of a process that takes too long.
const MERCY: Duration = Duration::from_secs(5);

/// So long the output of a process that ended may stay open: something that it started holds it.
const LINGER: Duration = Duration::from_secs(1);

/// So many lines stand in an error.
const LAST: usize = 20;

/// A line that is longer is broken, in bytes.
const LINE: usize = 4096;

/// What is run. It has no input, and is the leader of a group of its own: Ctrl-C does not reach it, and what it starts lives on.
pub(crate) struct Process<'a> {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: &'a [(&'static str, String)],
    /// Its `PATH`, where it is not that of this process.
    pub(crate) path: Option<&'a OsStr>,
    pub(crate) timeout: Duration,
    /// This word and a number in the output say how the command ended, though the process itself still runs.
    pub(crate) mark: Option<String>,
}

/// How it went.
pub(crate) struct Ran {
    pub(crate) end: End,
    /// Its last lines.
    pub(crate) last: Vec<String>,
    /// Something that it started still holds its output.
    pub(crate) held: bool,
}

pub(crate) enum End {
    Exit(ExitStatus),
    /// The number behind the mark.
    Marked(i32),
    /// It was ended, with this signal.
    Late(Signal),
}

impl Ran {
    /// For an error.
    pub(crate) fn last_lines(&self) -> String {
        if self.last.is_empty() {
            return "it printed nothing".to_owned();
        }
        format!("its last lines:\n  {}", self.last.join("\n  "))
    }
}

/// What the process is allowed now, and until when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Run,
    /// It got SIGTERM.
    Terminated,
    Killed,
}

impl Process<'_> {
    /// Until it ended. `tell` gets each line. A future that is dropped leaves the process running.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn run(self, tell: impl Fn(&str)) -> io::Result<Ran> {
        let (reader, writer) = io::pipe()?;
        let mut output = Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let mut child = self.spawn(writer)?;
        let pid = child.id();
        let mut lines = Lines::new(self.mark.as_deref());
        let mut bytes = Vec::with_capacity(LINE);
        let (mut open, mut exit, mut phase) = (true, None, Phase::Run);
        let mut limit = Instant::now() + self.timeout;
        loop {
            tokio::select! {
                read = output.read_buf(&mut bytes), if open => {
                    open = read.is_ok_and(|count| count > 0);
                    lines.take(&mut bytes, !open, &tell);
                    if exit.is_none() && let Some(code) = lines.code {
                        exit = Some(End::Marked(code));
                        limit = Instant::now() + LINGER;
                    }
                }
                status = child.wait(), if exit.is_none() => {
                    exit = Some(End::Exit(status?));
                    if phase == Phase::Run {
                        limit = Instant::now() + LINGER;
                    }
                }
                () = sleep_until(limit) => {
                    let next = match phase {
                        _ if exit.is_some() && phase != Phase::Terminated => break,
                        Phase::Run => (Phase::Terminated, Signal::Term),
                        Phase::Terminated => (Phase::Killed, Signal::Kill),
                        Phase::Killed => break,
                    };
                    phase = next.0;
                    limit = Instant::now() + if phase == Phase::Killed { LINGER } else { MERCY };
                    signal(pid, next.1);
                }
            }
            let over = matches!(exit, Some(End::Exit(_))) || (exit.is_some() && phase == Phase::Run);
            if over && !open {
                break;
            }
        }
        lines.take(&mut bytes, true, &tell);
        if matches!(exit, Some(End::Marked(_))) && child.try_wait()?.is_none() {
            signal(pid, Signal::Term);
        }
        let end = match (phase, exit) {
            (Phase::Terminated, _) => End::Late(Signal::Term),
            (Phase::Killed, _) | (Phase::Run, None) => End::Late(Signal::Kill),
            // The mark may be read after the end of the process was seen.
            (Phase::Run, Some(end)) => lines.code.map_or(end, End::Marked),
        };
        Ok(Ran { end, last: lines.last.into(), held: open })
    }

    fn spawn(&self, writer: io::PipeWriter) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stderr(writer.try_clone()?)
            .stdout(writer)
            .process_group(0);
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        command.spawn()
    }
}

/// To the process and all that it started; a group that is gone is no mistake.
fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid {
        let _ = weir_net::signal_group(pid, signal);
    }
}

/// Bytes that become lines, of which the last are kept.
struct Lines<'a> {
    mark: Option<&'a str>,
    code: Option<i32>,
    last: VecDeque<String>,
}

impl<'a> Lines<'a> {
    fn new(mark: Option<&'a str>) -> Self {
        Self { mark, code: None, last: VecDeque::new() }
    }

    /// Whole lines are taken out of `bytes`; at the end the rest as well.
    fn take(&mut self, bytes: &mut Vec<u8>, end: bool, tell: &impl Fn(&str)) {
        while let Some(found) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=found).collect();
            self.line(&line, tell);
        }
        if bytes.len() >= LINE || (end && !bytes.is_empty()) {
            let line = std::mem::take(bytes);
            self.line(&line, tell);
        }
    }

    fn line(&mut self, line: &[u8], tell: &impl Fn(&str)) {
        let text = String::from_utf8_lossy(line);
        let mut text = text.as_ref();
        if let Some(mark) = self.mark
            && let Some((before, code)) = text.split_once(mark)
            && let Ok(code) = code.trim().parse()
        {
            self.code = Some(code);
            if before.is_empty() {
                return;
            }
            text = before;
        }
        // What steers a terminal would do it in the middle of a table.
        let text: String = text.trim_end().chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        tell(&text);
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }
}

/// Where a program is, by a `PATH`; absent: this process' own.
pub(crate) fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let own = std::env::var_os("PATH");
    let path = path.or(own.as_deref())?;
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

/// `5m`, for people.
pub(crate) fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn bytes_become_lines() {
        let told = Mutex::new(Vec::new());
        let tell = |line: &str| told.lock().expect("not poisoned").push(line.to_owned());
        let mut lines = Lines::new(Some("end-7:"));
        let mut bytes = b"one\r\ntwo\x1b[31m\nthr".to_vec();
        lines.take(&mut bytes, false, &tell);
        assert_eq!(bytes, b"thr");
        bytes.extend_from_slice(b"ee end-7:3\n\xff");
        lines.take(&mut bytes, true, &tell);
        assert_eq!(*told.lock().expect("not poisoned"), ["one", "two[31m", "three", "\u{fffd}"]);
        assert_eq!(lines.code, Some(3));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut lines = Lines::new(None);
        let mut bytes: Vec<u8> = (0..50).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        lines.take(&mut bytes, true, &|_| {});
        assert_eq!(lines.last.front().map(String::as_str), Some("30"));
        assert_eq!(lines.last.len(), LAST);
        let mut long = vec![b'x'; LINE + 1];
        lines.take(&mut long, false, &|_| {});
        assert!(long.is_empty(), "a line without an end does not grow");
    }
}
