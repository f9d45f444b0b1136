//! What runs in the worker beside the traffic: sources of peers, active checks, states of peers, the control API and the
//! registry, on one thread of their own.

mod api;
mod hub;
mod memory;
pub(crate) mod names;
pub(crate) mod registry;

use std::cell::Cell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use weir_balance::Member;
use weir_model::{Config, Level, Upstream};
use weir_serve_discovery::{Discovery, Names, Options, Substitute, Update, What};
use weir_serve_health::Health;
use weir_serve_http::Publisher;

use crate::message::{Role, Standing};
use api::Api;
use hub::Hub;
use memory::MemoryFile;
use names::Questions;
use registry::Registry;

/// Lines for the error log.
pub(crate) type Log = Arc<dyn Fn(Level, String) + Send + Sync>;

/// How long a configuration waits at most for first results of checks: what a check itself may take, up to this.
const FIRST_CHECKS: Duration = Duration::from_secs(5);
/// How long it waits for the first list of an upstream that has nothing else.
const FIRST_LISTS: Duration = Duration::from_secs(1);
/// The same where the file says that nothing is served without one.
const STRONG: Duration = Duration::from_secs(10);

/// How much the control thread and the registry give way to data threads.
const NICE: i32 = 5;
/// How long the last lists may take to be written when the process ends.
const END: Duration = Duration::from_millis(200);

/// What a configuration starts with.
pub(crate) struct Members {
    pub(crate) change: u64,
    /// Of each upstream of the model.
    pub(crate) members: Vec<Vec<Member>>,
}

/// The worker's end of the control thread.
pub(crate) struct Control {
    orders: UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
    standing: Arc<Mutex<Vec<Standing>>>,
    dumps: Arc<Mutex<HashMap<PathBuf, Vec<u8>>>>,
}

enum Order {
    Configure {
        config: Arc<Config>,
        watched: Vec<String>,
        sockets: Vec<(Role, OwnedFd)>,
        reply: std::sync::mpsc::Sender<Result<Members, String>>,
    },
    /// The data threads took the configuration, or did not.
    Settle {
        change: Option<u64>,
    },
    /// The process ends when its requests have: another may have the registry and the sockets.
    Retire,
    End,
}

impl Control {
    /// Starts the thread.
    pub(crate) fn start(
        publisher: Publisher,
        folder: PathBuf,
        questions: Questions,
        log: Log,
    ) -> std::io::Result<Control> {
        let (orders, received) = unbounded_channel();
        let standing = Arc::new(Mutex::new(Vec::new()));
        let (reports, reported) = unbounded_channel();
        let health = Health::start(
            move |report| {
                // The thread that took reports has ended, and so does this process.
                let _ = reports.send(report);
            },
            Arc::clone(&log),
        )?;
        let file = MemoryFile::in_folder(&folder);
        let memory = file.read().unwrap_or_else(|text| {
            log(Level::Error, text);
            weir_directory::Memory::default()
        });
        let hub = Arc::new(Hub::new(memory, publisher, health, Arc::clone(&log)));
        let told = Arc::clone(&standing);
        let dumps: Arc<Mutex<HashMap<PathBuf, Vec<u8>>>> = Arc::default();
        let waiting = Arc::clone(&dumps);
        let substitute: Substitute = Arc::new(move |path: &Path, content: Vec<u8>| {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), content);
        });
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            // Requests come first: this thread, and those that are started from it, wait for them where processors are
            // short. Should it fail, it only costs them a little.
            let _ = rustix::process::nice(NICE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a thread can make an event loop");
            let tasks = tokio::task::LocalSet::new();
            tasks.spawn_local(Arc::clone(&hub).follow_threads());
            tasks.spawn_local(Arc::clone(&hub).keep_memory(file));
            tasks.spawn_local(take_reports(Arc::clone(&hub), reported));
            tasks.block_on(&runtime, async move {
                let (updates, updated) = unbounded_channel();
                let names = Names::new();
                tokio::task::spawn_local(questions.answer(names));
                let large = Rc::new(Cell::new(false));
                tokio::task::spawn_local(take_updates(Arc::clone(&hub), updated, Rc::clone(&large)));
                tokio::task::spawn_local(tidy(large));
                let api = Api::new(Arc::clone(&hub), Arc::clone(&log));
                let body = Body {
                    registry: Registry::new(Arc::clone(&log), api.mount()),
                    api,
                    discovery: None,
                    hub,
                    folder,
                    updates,
                    log,
                    config: None,
                    watched: Vec::new(),
                    before: None,
                    standing: told,
                    substitute,
                };
                body.obey(received).await;
            });
            // Files that are being written are written.
            drop(tasks);
            runtime.shutdown_timeout(Duration::from_millis(200));
        })?;
        Ok(Control { orders, thread: Some(thread), standing, dumps })
    }

    /// Takes a configuration: follows its sources, begins its checks, opens its API. Returns when it can be served.
    pub(crate) fn configure(
        &self,
        config: Arc<Config>,
        watched: Vec<String>,
        sockets: Vec<(Role, OwnedFd)>,
    ) -> Result<Members, String> {
        let (reply, replied) = std::sync::mpsc::channel();
        let gone = || "the control thread has ended".to_owned();
        self.orders.send(Order::Configure { config, watched, sockets, reply }).map_err(|_| gone())?;
        replied.recv().map_err(|_| gone())?
    }

    /// The data threads serve the configuration since `change`; `None`: they refused it, and what was before goes on.
    pub(crate) fn settle(&self, change: Option<u64>) {
        let _ = self.orders.send(Order::Settle { change });
    }

    /// Lets go of what a successor needs.
    pub(crate) fn retire(&self) {
        let _ = self.orders.send(Order::Retire);
    }

    /// Files that the keeper has to write, because this user may not; of each the last content.
    pub(crate) fn take_dumps(&self) -> HashMap<PathBuf, Vec<u8>> {
        std::mem::take(&mut self.dumps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the upstreams stand that virtual routers look at, if it is known.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            // A panic there has been told by the process' hook.
            let _ = thread.join();
        }
    }
}

async fn take_reports(hub: Arc<Hub>, mut reported: UnboundedReceiver<weir_health::Report>) {
    while let Some(report) = reported.recv().await {
        hub.checked(report);
    }
}

/// Lists that came while others were worked on: only the last of each source counts.
async fn take_updates(hub: Arc<Hub>, mut updated: UnboundedReceiver<Update>, large: Rc<Cell<bool>>) {
    let mut all = Vec::new();
    while updated.recv_many(&mut all, 1024).await > 0 {
        let mut last: Vec<Update> = Vec::new();
        for update in all.drain(..) {
            last.retain(|one| one.key != update.key || one.source != update.source);
            last.push(update);
        }
        large.set(large.get() || last.iter().any(is_large));
        last.into_iter().for_each(|update| hub.update(update));
    }
}

/// So many peers in one list are worth looking after the memory that reading them took.
const LARGE: usize = 1000;
/// How often that is done.
const TIDY: Duration = Duration::from_secs(1);

fn is_large(update: &Update) -> bool {
    matches!(&update.what, What::List(list) if list.peers.len() >= LARGE)
}

/// Gives back what large lists took while they were read.
async fn tidy(large: Rc<Cell<bool>>) {
    loop {
        tokio::time::sleep(TIDY).await;
        if large.take() {
            weir_net::give_back_memory();
        }
    }
}

/// The thread's own things.
struct Body {
    hub: Arc<Hub>,
    api: Api,
    registry: Registry,
    discovery: Option<Discovery>,
    folder: PathBuf,
    updates: UnboundedSender<Update>,
    log: Log,
    config: Option<Arc<Config>>,
    /// Upstreams that virtual routers look at.
    watched: Vec<String>,
    /// The configuration before the one that is not settled yet.
    before: Option<Arc<Config>>,
    standing: Arc<Mutex<Vec<Standing>>>,
    substitute: Substitute,
}

impl Body {
    async fn obey(mut self, mut orders: UnboundedReceiver<Order>) {
        let mut changes = self.hub.changes();
        loop {
            let due = self.hub.poll_timeout().map(|at| at.saturating_sub(hub::now().mono));
            let timeout = tokio::time::sleep(Duration::from_millis(due.unwrap_or(3_600_000)));
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Configure { config, watched, sockets, reply }) => {
                        self.watched = watched;
                        let _ = reply.send(self.configure(config, sockets).await);
                    }
                    Some(Order::Settle { change }) => self.settle(change),
                    Some(Order::Retire) => self.registry.stop(),
                    Some(Order::End) | None => break,
                },
                _ = changes.changed() => self.tell_standing(),
                () = timeout => self.hub.timeout(),
            }
        }
        if let Some(discovery) = self.discovery.take() {
            // What is known last is on the disk.
            let _ = tokio::time::timeout(END, discovery.end()).await;
        }
        self.registry.stop();
    }

    async fn configure(
        &mut self,
        config: Arc<Config>,
        sockets: Vec<(Role, OwnedFd)>,
    ) -> Result<Members, String> {
        let (admin, registry): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|(role, _)| *role == Role::Admin);
        self.registry.configure(config.process.registry.as_ref(), registry)?;
        self.api.configure(&config.process.admin, admin.into_iter().map(|(_, socket)| socket).collect())?;
        let upstreams = upstreams(&config);
        // Lists that are on their way belong to the sources of the configuration before.
        tokio::task::yield_now().await;
        self.hub.configure(upstreams);
        self.follow(upstreams);
        if let Err(reason) = self.await_first(upstreams).await {
            self.restore();
            return Err(reason);
        }
        let configured = self.hub.configure(upstreams);
        self.before = self.config.replace(config);
        Ok(Members { change: configured.change, members: configured.members })
    }

    fn follow(&mut self, upstreams: &[Upstream]) {
        let (folder, embedded) = (self.folder.clone(), self.registry.connector());
        let (report, log) = (self.updates.clone(), Arc::clone(&self.log));
        let substitute = Some(Arc::clone(&self.substitute));
        let discovery = self.discovery.get_or_insert_with(|| {
            Discovery::new(Options {
                state_folder: Some(folder),
                embedded: Some(embedded),
                report,
                log,
                substitute,
            })
        });
        let sources = upstreams.iter().flat_map(|upstream| {
            let sources = upstream.sources.iter().enumerate();
            sources.map(|(index, source)| (upstream.key(), index, source.clone()))
        });
        discovery.follow(sources.collect());
    }

    /// Waits, within bounds, for what upstreams cannot serve without.
    async fn await_first(&self, upstreams: &[Upstream]) -> Result<(), String> {
        let checks = upstreams.iter().flat_map(|upstream| &upstream.checks);
        let longest = checks.map(|check| check.timeout.duration()).max().unwrap_or_default();
        let strong = upstreams.iter().any(|one| one.sources.iter().any(|source| source.strong_dependency));
        let begun = Instant::now();
        let mut changes = self.hub.changes();
        loop {
            let (checks, lists) = self.hub.awaits();
            let lists_until = if strong { STRONG } else { FIRST_LISTS };
            let until = match (checks, lists) {
                (false, false) => return Ok(()),
                (true, false) => FIRST_CHECKS.min(longest + Duration::from_millis(100)),
                (_, true) => lists_until,
            };
            let left = until.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return self.without_lists(upstreams);
            }
            // Over or changed: it is looked again.
            let _ = tokio::time::timeout(left, changes.changed()).await;
        }
    }

    /// `strong_dependency=on`: no list, no service.
    fn without_lists(&self, upstreams: &[Upstream]) -> Result<(), String> {
        let strong = upstreams.iter().filter(|one| one.sources.iter().any(|source| source.strong_dependency));
        let status = self.hub.status();
        for upstream in strong {
            let name = upstream.key().to_string();
            let found = status.iter().find(|status| status.name == name);
            let missing =
                found.and_then(|status| status.sources.iter().find(|source| source.index.is_none()));
            if let Some(source) = missing {
                let why = source.error.clone().unwrap_or_else(|| "it does not answer".to_owned());
                return Err(format!(
                    "upstream \"{name}\" has strong_dependency=on and no list from {}: {why}; start the source, or \
                     set strong_dependency=off to serve with what was known last",
                    source.endpoint
                ));
            }
        }
        Ok(())
    }

    fn settle(&mut self, change: Option<u64>) {
        let before = self.before.take();
        match change {
            Some(change) => self.hub.settle(change),
            None => {
                self.config = before;
                self.restore();
            }
        }
        self.tell_standing();
    }

    /// Back to what the data threads still serve.
    fn restore(&mut self) {
        let config = self.config.clone();
        let upstreams = config.as_ref().map_or(&[][..], |config| upstreams(config));
        self.follow(upstreams);
        self.hub.restore(upstreams);
    }

    /// For virtual routers that look at upstreams.
    fn tell_standing(&self) {
        if self.watched.is_empty() {
            return;
        }
        let status = self.hub.status();
        let found = self.watched.iter().filter_map(|name| {
            let upstream = status.iter().find(|status| status.name == *name)?;
            let up = upstream.peers.iter().filter(|peer| peer.state.serves()).count();
            Some(Standing { upstream: name.clone(), up: up as u32, peers: upstream.peers.len() as u32 })
        });
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = found.collect();
    }
}

fn upstreams(config: &Config) -> &[Upstream] {
    config.http.as_ref().map_or(&[][..], |http| &http.upstreams)
}
