//! The sources that are followed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_model::{Level, PeerList, Source, UpstreamKey};

use crate::client::Connector;
use crate::disk::{self, Writer};
use crate::follower::Follower;
use crate::names::Names;
use crate::source;

/// Where log lines go.
pub type Log = Arc<dyn Fn(Level, String) + Send + Sync>;

/// Writes a file that the user of this process may not write, whole or not at all, and tells what fails.
pub type Substitute = Arc<dyn Fn(&Path, Vec<u8>) + Send + Sync>;

/// What sources need from the process around them.
#[derive(Clone)]
pub struct Options {
    /// Last good lists are kept in its folder `peers`; absent: they are not kept.
    pub state_folder: Option<PathBuf>,
    /// Opens a connection to the registry of this process; absent: there is none.
    pub embedded: Option<Connector>,
    pub report: UnboundedSender<Update>,
    pub log: Log,
    /// For `upsync_dump_path` in folders that belong to others; absent: it is told that they cannot be written.
    pub substitute: Option<Substitute>,
}

/// What one source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub key: UpstreamKey,
    /// Index in [`weir_model::Upstream::sources`].
    pub source: usize,
    pub what: What,
}

/// See [`Update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The complete list. Also sent when only its index moved, or when the source is there again after a failure: the
    /// peers may be the same as before. The index goes back when the store does.
    List(PeerList),
    /// The source cannot be read, or says what is not believed; the last list stays. The text tells its age.
    Failed { error: String, endpoint: String },
}

/// Follows any number of sources, each in a task of the current runtime.
pub struct Discovery {
    options: Options,
    names: Names,
    writer: Writer,
    followed: HashMap<(UpstreamKey, usize), Followed>,
    /// Tasks that were told to end.
    ending: Vec<JoinHandle<Option<PeerList>>>,
}

/// One task. It ends when `stop` is dropped, and leaves its last list.
struct Followed {
    source: Source,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Option<PeerList>>,
}

impl Discovery {
    /// Inside a tokio runtime.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let writer = Writer::new(options.log.clone(), options.substitute.clone());
        if let Some(folder) = options.state_folder.as_ref().map(|folder| folder.join("peers"))
            && let Err(error) = std::fs::create_dir_all(&folder)
        {
            let text = format!("cannot make {}: {error}; last lists of peers are not kept", folder.display());
            (options.log)(Level::Error, text);
        }
        Self { options, names: Names::new(), writer, followed: HashMap::new(), ending: Vec::new() }
    }

    /// From now on exactly these are followed: those that were followed already with the same settings go on
    /// undisturbed, others end, new ones start. One whose settings changed starts anew, with the list that it had if
    /// the same is asked of other endpoints.
    pub fn follow(&mut self, sources: Vec<(UpstreamKey, usize, Source)>) {
        let mut old = std::mem::take(&mut self.followed);
        for (key, index, source) in sources {
            let place = (key.clone(), index);
            let followed = match old.remove(&place) {
                Some(same) if same.source == source && !same.task.is_finished() => same,
                before => self.start(key, index, source, before),
            };
            self.followed.insert(place, followed);
        }
        self.ending.retain(|task| !task.is_finished());
        // Their `stop` goes with them.
        self.ending.extend(old.into_values().map(|gone| gone.task));
    }

    /// Names to addresses, with the cache of the sources behind it.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// Ends all tasks, and waits until what they know is written to disk.
    pub async fn end(self) {
        let Self { writer, followed, mut ending, .. } = self;
        ending.extend(followed.into_values().map(|gone| gone.task));
        for task in ending {
            let _ = task.await;
        }
        let _ = tokio::task::spawn_blocking(|| writer.finish()).await;
    }

    fn start(&self, key: UpstreamKey, index: usize, source: Source, before: Option<Followed>) -> Followed {
        let (stop, stopped) = oneshot::channel();
        let (options, names, disk) = (self.options.clone(), self.names.clone(), self.writer.disk());
        let before =
            before.filter(|before| disk::origin(&before.source.origin) == disk::origin(&source.origin));
        let settings = source.clone();
        let task = tokio::spawn(async move {
            let earlier = match before {
                Some(Followed { stop, task, .. }) => {
                    drop(stop);
                    task.await.ok().flatten()
                }
                None => None,
            };
            let mut follower = Follower::new((key, index, settings), options, names, disk, earlier);
            tokio::select! {
                () = source::follow(&mut follower) => {}
                _ = stopped => {}
            }
            follower.into_list()
        });
        Followed { source, stop, task }
    }
}
