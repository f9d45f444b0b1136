//! Access logs whose path has variables: opened for each line, or kept open by `open_log_file_cache`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use weir_model::location::LogFileCache;

/// Open logs of one thread.
#[derive(Debug, Default)]
pub(crate) struct LogFiles {
    known: HashMap<Vec<u8>, Known>,
    /// Lines so far: many come in one millisecond, and the order of use counts.
    turn: u64,
}

#[derive(Debug)]
struct Known {
    /// Absent until the log was used often enough.
    file: Option<OwnedFd>,
    uses: u64,
    /// Monotonic milliseconds of the last use, and of the last time that `file` was what stands at the path.
    used: u64,
    checked: u64,
    /// The line that it was last used for.
    turn: u64,
}

impl LogFiles {
    /// Appends a line to the log at `path`. `now` is in monotonic milliseconds.
    pub(crate) fn append(
        &mut self,
        path: &[u8],
        line: &[u8],
        cache: Option<&LogFileCache>,
        now: u64,
    ) -> io::Result<()> {
        let Some(cache) = cache else { return write(&open(path)?, line) };
        self.turn += 1;
        self.known.retain(|_, known| now.saturating_sub(known.used) <= cache.inactive.0);
        if let Some(known) = self.known.get_mut(path) {
            (known.used, known.turn) = (now, self.turn);
            known.uses += 1;
            if now.saturating_sub(known.checked) > cache.valid.0 {
                known.file = known.file.take().filter(|file| stands_at(path, file));
                known.checked = now;
            }
            if let Some(file) = &known.file {
                return write(file, line);
            }
        }
        let file = open(path)?;
        write(&file, line)?;
        if !self.known.contains_key(path) {
            self.make_room(cache.max);
        }
        let fresh = Known { file: None, uses: 1, used: now, checked: now, turn: self.turn };
        let known = self.known.entry(path.to_vec()).or_insert(fresh);
        known.checked = now;
        if known.uses >= cache.min_uses {
            known.file = Some(file);
        }
        Ok(())
    }

    /// Logs were moved away: all are opened again.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    /// The log that was not used for the longest time makes room for another.
    fn make_room(&mut self, max: u64) {
        while self.known.len() as u64 >= max.max(1) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.turn).map(|(path, _)| path.clone());
            let Some(oldest) = oldest else { return };
            self.known.remove(&oldest);
        }
    }
}

fn open(path: &[u8]) -> io::Result<OwnedFd> {
    weir_log::open_append(Path::new(OsStr::from_bytes(path)))
}

fn write(file: &OwnedFd, line: &[u8]) -> io::Result<()> {
    rustix::io::write(file, line)?;
    Ok(())
}

fn stands_at(path: &[u8], file: &OwnedFd) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(file)) {
        (Ok(there), Ok(open)) => (there.st_dev, there.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use weir_model::Millis;

    use super::*;

    const CACHE: LogFileCache =
        LogFileCache { max: 2, inactive: Millis(10_000), valid: Millis(60_000), min_uses: 2 };

    struct Logs {
        folder: tempfile::TempDir,
        files: LogFiles,
    }

    impl Logs {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            fs::create_dir(folder.path().join("logs")).expect("so can a folder in it");
            Self { folder, files: LogFiles::default() }
        }

        fn line(&mut self, name: &str, cache: Option<&LogFileCache>, now: u64) -> bool {
            let path = self.folder.path().join("logs").join(name);
            self.files.append(path.as_os_str().as_bytes(), b"line\n", cache, now).is_ok()
        }

        fn move_away(&self) {
            fs::rename(self.folder.path().join("logs"), self.folder.path().join("moved"))
                .expect("it can be moved");
        }

        fn lines(&self, name: &str) -> usize {
            let text =
                fs::read_to_string(self.folder.path().join("moved").join(name)).expect("the log is there");
            text.lines().count()
        }
    }

    #[test]
    fn a_log_is_kept_open_once_it_was_used_often_enough() {
        let mut logs = Logs::new();
        for name in ["kept", "kept", "once"] {
            assert!(logs.line(name, Some(&CACHE), 1));
        }
        logs.move_away();
        assert!(logs.line("kept", Some(&CACHE), 2));
        assert!(!logs.line("once", Some(&CACHE), 2));
        assert_eq!((logs.lines("kept"), logs.lines("once")), (3, 1));
        logs.files.clear();
        assert!(!logs.line("kept", Some(&CACHE), 3));
    }

    #[test]
    fn the_log_unused_for_longest_goes_first() {
        let mut logs = Logs::new();
        for name in ["first", "first", "second", "second", "third", "third"] {
            assert!(logs.line(name, Some(&CACHE), 7));
        }
        logs.move_away();
        assert!(logs.line("third", Some(&CACHE), 7));
        assert!(logs.line("second", Some(&CACHE), 7));
        assert!(!logs.line("first", Some(&CACHE), 7));
    }

    #[test]
    fn idle_logs_are_closed_and_moved_ones_are_noticed() {
        let mut logs = Logs::new();
        for _ in 0..2 {
            assert!(logs.line("idle", Some(&CACHE), 0));
        }
        let short = LogFileCache { valid: Millis(5), ..CACHE };
        for _ in 0..2 {
            assert!(logs.line("moved", Some(&short), 10_000));
        }
        logs.move_away();
        assert!(!logs.line("idle", Some(&CACHE), 10_001));
        assert!(logs.line("moved", Some(&short), 10_005));
        assert!(!logs.line("moved", Some(&short), 10_006));
    }

    #[test]
    fn without_a_cache_each_line_opens_the_log() {
        let mut logs = Logs::new();
        assert!(logs.line("a", None, 0));
        logs.move_away();
        assert!(!logs.line("a", None, 0));
        assert_eq!(logs.lines("a"), 1);
    }
}
