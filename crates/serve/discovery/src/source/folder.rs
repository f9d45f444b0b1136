//! A folder of files with `server` lines, watched by inotify.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use weir_discovery::{Document, folder};
use weir_model::Peer;

use super::Pauses;
use crate::follower::Follower;

/// Files are read when nothing happened to the folder for so long: whoever writes one is then done with it.
const SETTLE: Duration = Duration::from_millis(50);

/// A folder that changes without end is read after this in any case.
const LATEST: Duration = Duration::from_secs(1);

/// A larger file is not believed to be one, in bytes.
const LARGEST: u64 = 16 << 20;

pub(crate) async fn follow(follower: &mut Follower, path: &str) {
    let mut pauses = Pauses::of(follower);
    let mut files = Files::default();
    loop {
        let error = match watch(path) {
            Ok(watch) => follow_folder(follower, path, &watch, &mut files, &mut pauses).await,
            Err(error) => error,
        };
        let error = format!("cannot read the folder {path}: {error}; it has to exist and be readable");
        pauses.failed(follower, &error, path.to_owned()).await;
    }
}

/// Until the folder itself is gone.
async fn follow_folder(
    follower: &mut Follower,
    path: &str,
    watch: &AsyncFd<OwnedFd>,
    files: &mut Files,
    pauses: &mut Pauses,
) -> io::Error {
    loop {
        // What changes while it is read is an event that waits.
        let document = match files.read(path, &follower.source.template) {
            Ok(document) => document,
            Err(error) => return error,
        };
        follower.adopt(0, path.to_owned(), document).await;
        pauses.succeeded();
        if let Err(error) = follower.meanwhile(settled(watch)).await {
            return error;
        }
    }
}

/// Waits for a change, and until the changes are over.
async fn settled(watch: &AsyncFd<OwnedFd>) -> io::Result<()> {
    changed(watch).await?;
    let latest = tokio::time::Instant::now() + LATEST;
    loop {
        let quiet = (tokio::time::Instant::now() + SETTLE).min(latest);
        match tokio::time::timeout_at(quiet, changed(watch)).await {
            Ok(result) => result?,
            Err(_) => return Ok(()),
        }
    }
}

fn watch(path: &str) -> io::Result<AsyncFd<OwnedFd>> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let events = WatchFlags::CREATE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&watch, path, events)?;
    #[expect(
        deprecated,
        reason = "an owned descriptor stays what it is, which is all that the other one asks for"
    )]
    AsyncFd::new(watch)
}

/// Reads all events that wait. An error is the end of the folder.
async fn changed(watch: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = watch.readable().await?;
        let drained = ready.try_io(|watch| drain(watch.get_ref()));
        if let Ok(result) = drained {
            return result;
        }
    }
}

fn drain(watch: &OwnedFd) -> io::Result<()> {
    let mut buffer = [const { MaybeUninit::uninit() }; 4096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut any = false;
    loop {
        match reader.next() {
            Ok(event) => {
                let gone =
                    ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
                if event.events().intersects(gone) {
                    return Err(io::Error::new(io::ErrorKind::NotFound, "it was removed or renamed"));
                }
                any = true;
            }
            Err(rustix::io::Errno::AGAIN) if any => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What every file said last.
#[derive(Default)]
struct Files(BTreeMap<String, File>);

struct File {
    /// Time and size, as they were when it was read.
    seen: (Option<SystemTime>, u64),
    good: Document,
    /// Why its present content is not believed.
    wrong: Option<String>,
}

impl Files {
    /// All files in the order of their names. One that cannot be read says what it said last.
    fn read(&mut self, path: &str, template: &Peer) -> io::Result<Document> {
        let mut before = std::mem::take(&mut self.0);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Follows links, as those that Kubernetes puts into a folder.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if !folder::is_read(&name) || !metadata.is_file() {
                continue;
            }
            let seen = (metadata.modified().ok(), metadata.len());
            let mut file = before.remove(&name).unwrap_or(File {
                seen: (None, 0),
                good: Document::default(),
                wrong: None,
            });
            if file.seen != seen || file.wrong.is_some() {
                file.seen = seen;
                match content(&entry.path(), metadata.len())
                    .and_then(|bytes| folder::file(&name, &bytes, template))
                {
                    Ok(document) => (file.good, file.wrong) = (document, None),
                    Err(error) => file.wrong = Some(format!("{name}: {error}; what it said before stays")),
                }
            }
            self.0.insert(name, file);
        }
        let mut whole = Document::default();
        for file in self.0.values() {
            whole.entries.extend(file.good.entries.iter().cloned());
            whole.rejected.extend(file.wrong.iter().chain(&file.good.rejected).cloned());
        }
        Ok(whole)
    }
}

fn content(path: &std::path::Path, length: u64) -> Result<Vec<u8>, String> {
    if length > LARGEST {
        return Err(format!("it has {length} bytes, expected at most {LARGEST}"));
    }
    fs::read(path).map_err(|error| error.to_string())
}
