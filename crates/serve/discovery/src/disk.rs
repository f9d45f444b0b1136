//! Last good lists and dumps on disk, written by a thread of their own: a slow disk stops no source.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use weir_model::{Level, Origin, PeerList, UpstreamKey};

use crate::{Log, Substitute};

/// A file to be replaced.
struct Job {
    path: PathBuf,
    content: Vec<u8>,
}

/// The thread that writes. It ends, with everything written, when it and the last of its [`Disk`]s are gone.
pub(crate) struct Writer {
    disk: Disk,
    thread: Option<JoinHandle<()>>,
}

/// Hands files to the thread.
#[derive(Clone)]
pub(crate) struct Disk(Sender<Job>);

impl Writer {
    pub(crate) fn new(log: Log, substitute: Option<Substitute>) -> Self {
        let (jobs, received) = channel();
        let thread = std::thread::Builder::new().name("peer lists".to_owned());
        let started = thread.spawn({
            let log = log.clone();
            move || run(&received, &log, substitute.as_ref())
        });
        if let Err(error) = &started {
            log(Level::Alert, format!("no thread that writes lists of peers: {error}; none is kept on disk"));
        }
        Self { disk: Disk(jobs), thread: started.ok() }
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// Waits until everything is written; all of its [`Disk`]s have to be gone.
    pub(crate) fn finish(self) {
        drop(self.disk);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

impl Disk {
    pub(crate) fn write(&self, path: PathBuf, content: Vec<u8>) {
        // Without the thread, which has been told, nothing is written.
        let _ = self.0.send(Job { path, content });
    }
}

/// Between two rounds: what changes all the time is written once in so long, and the disk is left to those who wait for it.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the first content of a file at once, and of those that come within a pause the last. When nobody is left to send
/// one, what waits is written, and that is the end.
fn run(jobs: &Receiver<Job>, log: &Log, substitute: Option<&Substitute>) {
    let mut failing: HashSet<PathBuf> = HashSet::new();
    let mut waiting: HashMap<PathBuf, Vec<u8>> = HashMap::new();
    loop {
        if waiting.is_empty() {
            let Ok(first) = jobs.recv() else { return };
            waiting.insert(first.path, first.content);
        }
        waiting.extend(jobs.try_iter().map(|job| (job.path, job.content)));
        for (path, content) in waiting.drain() {
            let written = write(&path, content, substitute);
            tell(&path, written, &mut failing, log);
        }
        let until = Instant::now() + PAUSE;
        while let Ok(job) = jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
            waiting.insert(job.path, job.content);
        }
    }
}

/// One line when a file cannot be written, and one when it can be again.
fn tell(path: &Path, written: io::Result<()>, failing: &mut HashSet<PathBuf>, log: &Log) {
    match written {
        Ok(()) if failing.remove(path) => log(Level::Notice, format!("{} is written again", path.display())),
        Ok(()) => {}
        Err(error) if failing.insert(path.to_owned()) => {
            let path = path.display();
            let text = format!(
                "cannot write {path}: {error}; the folder has to be writable for the user of the worker"
            );
            log(Level::Error, text);
        }
        Err(_) => {}
    }
}

/// Others may read it, as nginx leaves its files. What this user may not write somebody else writes, who tells what fails.
fn write(path: &Path, content: Vec<u8>, substitute: Option<&Substitute>) -> io::Result<()> {
    match (weir_net::replace_file(path, &content, 0o644), substitute) {
        (Err(error), Some(substitute)) if error.kind() == io::ErrorKind::PermissionDenied => {
            substitute(path, content);
            Ok(())
        }
        (result, _) => result,
    }
}

/// A last good list as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What was asked: a list of something else is not taken.
    origin: String,
    list: PeerList,
}

/// What is asked, without who is asked: the endpoints of a store may change.
pub(crate) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::ConsulKv { path, .. } => format!("consul {path}"),
        Origin::ConsulServices { path, .. } => format!("consul_services {path}"),
        Origin::ConsulHealth { path, .. } => format!("consul_health {path}"),
        Origin::Etcd2 { path, .. } => format!("etcd {path}"),
        Origin::Etcd3 { prefix, .. } => format!("etcd3 {prefix}"),
        Origin::Dns(query) => format!("dns {}:{}", weir_discovery::dns::question(query), query.port),
        Origin::Folder { path } => format!("folder {path}"),
    }
}

/// The file of one source.
pub(crate) fn path(state_folder: &Path, key: &UpstreamKey, source: usize) -> PathBuf {
    let mut name = String::from(if key.implicit { "~" } else { "" });
    for byte in key.to_string().bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && !name.is_empty())
        {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    // A file name has 255 bytes at most; what is cut off is told apart by its sum.
    if name.len() > 200 {
        let sum = crc32fast::hash(name.as_bytes());
        name.truncate(190);
        name.push_str(&format!("~{sum:08x}"));
    }
    state_folder.join("peers").join(format!("{name}-{source}.json"))
}

pub(crate) fn encode(asked: &Origin, list: &PeerList) -> Vec<u8> {
    let kept = Kept { origin: origin(asked), list: list.clone() };
    serde_json::to_vec(&kept).expect("a list of peers is plain data")
}

/// The list of an earlier life, if there is one of the same origin.
///
/// # Errors
/// When the file is there and says something else than a list.
pub(crate) fn recall(path: &Path, asked: &Origin) -> Result<Option<PeerList>, String> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the last list in {}: {error}", path.display())),
    };
    match serde_json::from_slice::<Kept>(&content) {
        Ok(kept) if kept.origin == origin(asked) && !kept.list.peers.is_empty() => Ok(Some(kept.list)),
        Ok(_) => Ok(None),
        Err(error) => Err(format!("the last list in {} is damaged: {error}; it is not used", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::{Arc, Mutex};

    use weir_model::{ListenAddress, Peer};

    use super::*;

    fn key(name: &str, port: u16, implicit: bool) -> UpstreamKey {
        UpstreamKey { name: name.to_owned(), port, implicit }
    }

    fn asked(folder: &str) -> Origin {
        Origin::Folder { path: folder.to_owned() }
    }

    #[test]
    fn names_of_files_are_safe_and_differ() {
        let file = |key: &UpstreamKey| path(Path::new("/s"), key, 1).to_string_lossy().into_owned();
        assert_eq!(file(&key("app", 0, false)), "/s/peers/app-1.json");
        assert_eq!(file(&key("../x", 0, false)), "/s/peers/%2E.%2Fx-1.json");
        assert_eq!(file(&key("app", 80, true)), "/s/peers/~app%3A80-1.json");
        assert_eq!(file(&key("app:80", 0, false)), "/s/peers/app%3A80-1.json");
        let long = |last: &str| file(&key(&format!("{}{last}", "x".repeat(300)), 0, false));
        assert!(long("a").len() < 230);
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_list_comes_back_for_its_own_origin_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("app-0.json");
        let list = PeerList {
            index: 3,
            peers: vec![Peer::new(ListenAddress::Unix("/s".to_owned()), "unix:/s")],
            ..PeerList::default()
        };
        assert_eq!(recall(&file, &asked("/a")), Ok(None));
        weir_net::replace_file(&file, &encode(&asked("/a"), &list), 0o644).expect("written");
        assert_eq!(recall(&file, &asked("/a")), Ok(Some(list)));
        assert_eq!(recall(&file, &asked("/b")), Ok(None));
        assert_eq!(file.metadata().expect("the file").permissions().mode() & 0o777, 0o644);
        fs::write(&file, "{\"ori").expect("written");
        let error = recall(&file, &asked("/a")).expect_err("damaged");
        assert!(error.contains("is damaged: EOF while parsing"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = Arc::new(Mutex::new(Vec::new()));
        let log: Log = {
            let told = Arc::clone(&told);
            Arc::new(move |level, line| told.lock().expect("no panic").push((level, line)))
        };
        let writer = Writer::new(log, None);
        let (bad, good) = (folder.path().join("none/a"), folder.path().join("b"));
        for content in ["1", "2"] {
            writer.disk().write(bad.clone(), content.into());
            writer.disk().write(good.clone(), content.into());
        }
        writer.finish();
        assert_eq!(fs::read_to_string(&good).expect("the file"), "2");
        let told = told.lock().expect("no panic");
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, Level::Error);
        assert!(told[0].1.contains("none/a: No such file or directory"), "{told:?}");
    }
}
