//! `notify_fifo`: named pipes with a line for each change, and the scripts that read them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use weir_log::Level;
use weir_model::vrrp::{Fifo, Globals};
use weir_vrrp::{NoticeState, Subject};

use super::queue::subject_words;
use super::security::{self, Identity, Program};

/// The first pause before a pipe's script that has ended is started again; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Which pipe, counted from the first one ever opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeId(u32);

struct Pipe {
    id: PipeId,
    path: String,
    file: File,
    /// Made by this process, so it is removed by it.
    made: bool,
    /// lines that did not fit since the last one that did
    lost: u64,
    reader: Option<Reader>,
}

/// The script that reads a pipe.
struct Reader {
    program: Program,
    /// When it is to be started; `None`: it runs.
    due: Option<Instant>,
    started: Instant,
    pause: Duration,
}

/// All pipes.
#[derive(Default)]
pub(super) struct Pipes {
    pipes: Vec<Pipe>,
    next_id: u32,
}

/// A line for the log.
pub(super) type Line = (Level, String);

impl Pipes {
    /// Closes all pipes and opens those of the configuration (keepalived.conf(5): a reload reopens them). Their old
    /// scripts have to be ended by the caller.
    pub(super) fn open(&mut self, globals: &Globals, now: Instant, log: &mut Vec<Line>) {
        self.close();
        for fifo in &globals.fifos {
            match self.open_one(fifo, globals, now, log) {
                Ok(pipe) => self.pipes.push(pipe),
                Err(e) => log.push((Level::Error, format!("notify pipe {}: {e}", fifo.path))),
            }
        }
    }

    fn open_one(
        &mut self,
        fifo: &Fifo,
        globals: &Globals,
        now: Instant,
        log: &mut Vec<Line>,
    ) -> Result<Pipe, String> {
        let text = |e: &io::Error| weir_net::errno_text(e);
        let made = make(&fifo.path).map_err(|e| format!("cannot be made: {}", text(&e)))?;
        let file = open_pipe(&fifo.path).map_err(|e| format!("cannot be opened: {}", text(&e)))?;
        let reader = fifo.script.as_ref().and_then(|script| match security::resolve(script, globals) {
            Ok(program) => Some(Reader { program, due: Some(now), started: now, pause: PAUSE }),
            Err(refusal) => {
                log.push((
                    Level::Error,
                    format!("script of notify pipe {} cannot be run: {refusal}", fifo.path),
                ));
                None
            }
        });
        let owner = security::identity(fifo.user.as_ref(), globals);
        if let (true, Ok(Identity { uid, gid, other: true })) = (made, owner) {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::fchown(&file, owner.0, owner.1)
                .map_err(|e| format!("cannot be given to uid {uid}: {e}"))?;
        }
        self.next_id += 1;
        Ok(Pipe { id: PipeId(self.next_id), path: fifo.path.clone(), file, made, lost: 0, reader })
    }

    /// Writes one line to each pipe; never waits. What a full pipe does not take is lost and counted.
    pub(super) fn write(&mut self, subject: &Subject, state: NoticeState, priority: u8, log: &mut Vec<Line>) {
        let (kind, name) = subject_words(subject);
        let line = format!("{kind} \"{name}\" {} {priority}\n", state.word());
        for pipe in &mut self.pipes {
            pipe.write(line.as_bytes(), log);
        }
    }

    /// The scripts to start now, with the pipe's path as last argument.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(PipeId, Program, String)> {
        let mut due = Vec::new();
        for pipe in &mut self.pipes {
            let Some(reader) = pipe.reader.as_mut().filter(|r| r.due.is_some_and(|at| at <= now)) else {
                continue;
            };
            reader.due = None;
            reader.started = now;
            due.push((pipe.id, reader.program.clone(), pipe.path.clone()));
        }
        due
    }

    /// A pipe's script has ended, for `why`: it is started again, ever later if it ends at once.
    pub(super) fn ended(&mut self, id: PipeId, why: &str, now: Instant, log: &mut Vec<Line>) {
        let Some(pipe) = self.pipes.iter_mut().find(|p| p.id == id) else { return };
        let Some(reader) = &mut pipe.reader else { return };
        if now.duration_since(reader.started) > LONGEST_PAUSE {
            reader.pause = PAUSE;
        }
        reader.due = Some(now + reader.pause);
        let text = format!("script of notify pipe {} {why}; started again in {:?}", pipe.path, reader.pause);
        reader.pause = (reader.pause * 2).min(LONGEST_PAUSE);
        log.push((Level::Warn, text));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.pipes.iter().filter_map(|p| p.reader.as_ref()?.due).min()
    }

    /// Closes all pipes, and leaves their files to another process.
    pub(super) fn leave(&mut self) {
        self.pipes.clear();
    }

    /// Closes all pipes and removes those that this process made.
    pub(super) fn close(&mut self) {
        for pipe in self.pipes.drain(..) {
            if pipe.made {
                // Removed first: a script that opens it again in a loop finds its end.
                _ = fs::remove_file(&pipe.path);
            }
        }
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        self.close();
    }
}

impl Pipe {
    fn write(&mut self, line: &[u8], log: &mut Vec<Line>) {
        // Lines are shorter than PIPE_BUF, so they go in whole or not at all (pipe(7)).
        match rustix::io::write(&self.file, line) {
            Ok(_) => {
                let lost = std::mem::take(&mut self.lost);
                if lost > 0 {
                    let text = format!("notify pipe {} takes lines again; {lost} were lost", self.path);
                    log.push((Level::Warn, text));
                }
            }
            Err(error) => {
                self.lost += 1;
                if self.lost == 1 {
                    let why = if error == Errno::AGAIN {
                        "is full: nobody reads it".into()
                    } else {
                        error.to_string()
                    };
                    log.push((Level::Warn, format!("notify pipe {} {why}; lines are lost", self.path)));
                }
            }
        }
    }
}

/// Makes the pipe; `false`: there was one.
fn make(path: &str) -> io::Result<bool> {
    match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) if fs::symlink_metadata(Path::new(path))?.file_type().is_fifo() => Ok(false),
        Err(Errno::EXIST) => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name that is no pipe"))
        }
        Err(e) => Err(e.into()),
    }
}

/// For reading as well, so that opening does not wait for a reader and writing does not fail without one.
fn open_pipe(path: &str) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC).bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn globals(path: &str) -> Globals {
        Globals { fifos: vec![Fifo { path: path.into(), user: None, script: None }], ..Globals::default() }
    }

    #[test]
    fn lines_have_keepalived_s_form() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("pipe").display().to_string();
        let (mut pipes, mut log) = (Pipes::default(), Vec::new());
        pipes.open(&globals(&path), Instant::now(), &mut log);
        pipes.write(&Subject::Instance("VI_1".into()), NoticeState::Master, 100, &mut log);
        pipes.write(&Subject::Group("G1".into()), NoticeState::Backup, 0, &mut log);
        assert_eq!(log, []);
        let mut reader = open_pipe(&path).expect("the pipe is there");
        let mut bytes = [0; 100];
        let n = reader.read(&mut bytes).expect("two lines");
        assert_eq!(&bytes[..n], b"INSTANCE \"VI_1\" MASTER 100\nGROUP \"G1\" BACKUP 0\n");
        pipes.close();
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn a_pipe_that_nobody_reads_loses_lines_and_counts_them() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("pipe").display().to_string();
        let (mut pipes, mut log) = (Pipes::default(), Vec::new());
        pipes.open(&globals(&path), Instant::now(), &mut log);
        let subject = Subject::Instance("edge".repeat(100));
        for _ in 0..1000 {
            pipes.write(&subject, NoticeState::Backup, 1, &mut log);
        }
        let full = format!("notify pipe {path} is full: nobody reads it; lines are lost");
        assert_eq!(log, [(Level::Warn, full)]);
        let mut reader = open_pipe(&path).expect("the pipe is there");
        while reader.read(&mut [0; 65536]).is_ok() {}
        log.clear();
        pipes.write(&subject, NoticeState::Master, 1, &mut log);
        let [(Level::Warn, text)] = log.as_slice() else { panic!("{log:?}") };
        assert!(text.starts_with(&format!("notify pipe {path} takes lines again; ")), "{text}");
    }

    #[test]
    fn a_pipe_of_somebody_else_stays_and_a_plain_file_is_refused() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("pipe").display().to_string();
        assert!(make(&path).expect("a new pipe"));
        let (mut pipes, mut log) = (Pipes::default(), Vec::new());
        pipes.open(&globals(&path), Instant::now(), &mut log);
        pipes.close();
        assert!(Path::new(&path).exists());
        let plain = folder.path().join("plain").display().to_string();
        fs::write(&plain, "").expect("temp folder is writable");
        pipes.open(&globals(&plain), Instant::now(), &mut log);
        let [(Level::Error, text)] = log.as_slice() else { panic!("{log:?}") };
        assert!(text.ends_with("cannot be made: there is a file of that name that is no pipe"), "{text}");
    }
}
