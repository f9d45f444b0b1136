//! The thread that does slow writing for others: log lines and dumps.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread;

use weir_log::Level;

use super::Journal;
use super::dump::Dump;

/// Lines that wait; more are lost and counted.
const WAITING: usize = 4096;

enum Page {
    Line(Level, String),
    Dump(Box<Dump>),
}

/// Where lines go that must not wait for a disk. Cheap to clone.
#[derive(Clone)]
pub(super) struct Log {
    pages: SyncSender<Page>,
    lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread; it ends, and drops `alive`, when the last clone is dropped.
    pub(super) fn start(journal: Journal, alive: Sender<()>) -> io::Result<Self> {
        let (pages, inbox) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let shared = lost.clone();
        thread::Builder::new().name("weir-writer".into()).spawn(move || {
            write(&inbox, &shared, &journal);
            drop(alive);
        })?;
        Ok(Self { pages, lost })
    }

    /// Writes one line; never waits.
    pub(super) fn say(&self, level: Level, text: String) {
        if self.pages.try_send(Page::Line(level, text)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a dump; never waits.
    pub(super) fn dump(&self, dump: Dump) {
        if self.pages.try_send(Page::Dump(Box::new(dump))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(inbox: &Receiver<Page>, lost: &AtomicU64, journal: &Journal) {
    while let Ok(page) = inbox.recv() {
        match page {
            Page::Line(level, text) => journal(level, text),
            Page::Dump(dump) => {
                let path = dump.path();
                if let Err(e) = replace(Path::new(&path), dump.text().as_bytes()) {
                    journal(Level::Error, format!("{path} cannot be written: {}", weir_net::errno_text(&e)));
                }
            }
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            journal(Level::Warn, format!("{lost} log lines or dumps were lost: the log is too slow"));
        }
    }
}

/// Puts a file in the place of another one in one step; readable by its owner only. Readers see the old or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
