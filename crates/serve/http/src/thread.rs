//! A data thread: one runtime, its listeners, its connections and its share of every pool.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use weir_log::{AccessOptions, AccessSink, Errno, clock};
use weir_model::{Level, ListenAddress, LogTarget, Upstream, UpstreamKey};

use crate::buffers::Buffers;
use crate::connection::{self, Client};
use crate::deadline;
use crate::live::{Live, Prepared};
use crate::log_files::LogFiles;
use crate::membership::Membership;
use crate::orders::{Order, Orders};
use crate::resolve::Resolve;
use crate::stream::Stream;
use crate::upstream::UpstreamLive;

/// Counters of one thread; only it writes them, everybody may read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) handled: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) active: AtomicU64,
    pub(crate) reading: AtomicU64,
    pub(crate) writing: AtomicU64,
    pub(crate) waiting: AtomicU64,
    /// Timers of the event loop that fired: a loop that is stuck, and only that, stands still here.
    pub(crate) beats: AtomicU64,
    /// The highest change that the thread serves.
    pub(crate) served: AtomicU64,
    /// Connections that still run a request of an older generation.
    pub(crate) outdated: AtomicU64,
    /// Set once the thread has ended.
    pub(crate) finished: std::sync::atomic::AtomicBool,
}

/// What all threads of a worker share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) serial: AtomicU64,
    pub(crate) counters: std::sync::RwLock<Vec<Arc<Counters>>>,
    pub(crate) hostname: String,
    /// For `proxy_pass` to a host that a variable names.
    pub(crate) resolve: Option<Arc<dyn Resolve>>,
    /// Rung when a thread serves a higher change.
    pub(crate) progress: Notify,
}

type SinkKey = (LogTarget, Option<usize>, Option<u64>, Option<u8>);

/// State of a data thread.
pub(crate) struct Thread {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) buffers: Buffers,
    pub(crate) log_files: RefCell<LogFiles>,
    live: RefCell<Option<Rc<Live>>>,
    sinks: RefCell<HashMap<SinkKey, Rc<AccessSink>>>,
    /// Those of the present generation.
    upstreams: RefCell<HashMap<UpstreamKey, Rc<UpstreamLive>>>,
    /// Where the next request to a resolved name begins among its addresses.
    pub(crate) turn: Cell<usize>,
    listeners: RefCell<Vec<AbortHandle>>,
    pub(crate) quitting: Cell<bool>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free_wakers: RefCell<Vec<usize>>,
    pub(crate) drained: Notify,
    flush: FlushList,
}

/// Sinks that the park hook flushes; shared with it because it must be `Send`, used on this thread alone.
type FlushList = Rc<RefCell<Vec<Rc<AccessSink>>>>;

thread_local! {
    static FLUSH: FlushList = Rc::default();
    static CLOSING: RefCell<Vec<Client>> = RefCell::default();
}

/// So many connections wait at most for the log before they are closed.
const CLOSING_MAX: usize = 64;

/// Writes the log lines that are due, and then closes the connections whose end they tell of.
fn flush() {
    FLUSH.with(|sinks| sinks.borrow().iter().for_each(|sink| sink.flush()));
    drop(CLOSING.take());
}

/// Closes a connection once the log line of its last request was written: whoever sees the end of the connection
/// finds the line, and lines are still written many at a time.
pub(crate) fn close(client: Client) {
    let waiting = FLUSH.with(|sinks| sinks.borrow().iter().any(|sink| sink.pending() > 0));
    if !waiting {
        return;
    }
    let full = CLOSING.with_borrow_mut(|closing| {
        closing.push(client);
        closing.len() >= CLOSING_MAX
    });
    if full {
        flush();
    }
}

impl Thread {
    fn new(index: usize, shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        Self {
            index,
            shared,
            counters,
            buffers: Buffers::default(),
            log_files: RefCell::default(),
            live: RefCell::new(None),
            sinks: RefCell::default(),
            upstreams: RefCell::default(),
            turn: Cell::new(index),
            listeners: RefCell::default(),
            quitting: Cell::new(false),
            wakers: RefCell::default(),
            free_wakers: RefCell::default(),
            drained: Notify::new(),
            flush: FLUSH.with(Rc::clone),
        }
    }

    /// The current generation.
    pub(crate) fn live(&self) -> Rc<Live> {
        self.live.borrow().as_ref().map(Rc::clone).expect("a thread accepts only once it has a generation")
    }

    /// Alerts about lines that access logs could not take; false when there were none.
    fn tell_losses(&self) -> bool {
        let mut any = false;
        for ((target, ..), sink) in self.sinks.borrow().iter() {
            let Some(loss) = sink.take_loss() else { continue };
            any = true;
            let LogTarget::File(path) = target else { continue };
            let lines = loss.lines;
            let why = loss.error.as_ref().map_or_else(String::new, |error| format!(" {}", Errno(error)));
            self.live().shared.main_log.note(
                Level::Alert,
                format_args!("write() to \"{path}\" failed{why}; {lines} lines of the access log are lost"),
            );
        }
        any
    }

    /// Where this thread's selectors start.
    pub(crate) fn seed(&self) -> u64 {
        self.index as u64
    }

    /// An upstream with these peers from now on; the same one as in the generation before.
    pub(crate) fn upstream(&self, upstream: &Upstream, membership: Arc<Membership>) -> Rc<UpstreamLive> {
        let mut upstreams = self.upstreams.borrow_mut();
        let live = match upstreams.entry(upstream.key()) {
            Entry::Occupied(known) => {
                known.get().follow(membership);
                Rc::clone(known.get())
            }
            Entry::Vacant(free) => {
                Rc::clone(free.insert(Rc::new(UpstreamLive::new(upstream, membership, self.seed()))))
            }
        };
        live.set_rules(upstream);
        live
    }

    fn publish(&self, key: &UpstreamKey, membership: Arc<Membership>) {
        if let Some(upstream) = self.upstreams.borrow().get(key) {
            upstream.follow(membership);
        }
    }

    /// Says which change is served from now on.
    fn serves(&self, change: u64) {
        self.counters.served.store(change, Release);
        self.shared.progress.notify_waiters();
    }

    pub(crate) fn sink(
        &self,
        shared: &Prepared,
        target: &LogTarget,
        options: AccessOptions,
    ) -> Option<Rc<AccessSink>> {
        let key = (target.clone(), options.buffer, options.flush_ms, options.gzip);
        if let Some(sink) = self.sinks.borrow().get(&key) {
            return Some(Rc::clone(sink));
        }
        let sink = match target {
            LogTarget::File(_) => {
                let file = shared.files.get(target)?;
                AccessSink::file(file.duplicate().ok()?, options)
            }
            LogTarget::Stderr => {
                let fd = rustix::io::dup(rustix::stdio::stderr()).ok()?;
                AccessSink::file(fd, options)
            }
            LogTarget::Syslog(_) => AccessSink::syslog(Arc::clone(shared.syslogs.get(target)?)),
            LogTarget::Memory => return None,
        };
        let sink = Rc::new(sink);
        self.sinks.borrow_mut().insert(key, Rc::clone(&sink));
        self.flush.borrow_mut().push(Rc::clone(&sink));
        Some(sink)
    }

    /// Registers a connection's waker for [`Self::wake_all`].
    pub(crate) fn enlist(&self, waker: Waker) -> usize {
        let mut wakers = self.wakers.borrow_mut();
        match self.free_wakers.borrow_mut().pop() {
            Some(slot) => {
                if let Some(place) = wakers.get_mut(slot) {
                    *place = Some(waker);
                }
                slot
            }
            None => {
                wakers.push(Some(waker));
                wakers.len() - 1
            }
        }
    }

    pub(crate) fn discharge(&self, slot: usize) {
        if let Some(place) = self.wakers.borrow_mut().get_mut(slot) {
            *place = None;
        }
        self.free_wakers.borrow_mut().push(slot);
    }

    fn wake_all(&self) {
        for waker in self.wakers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }

    fn apply(
        self: &Rc<Self>,
        prepared: Arc<Prepared>,
        memberships: Vec<Arc<Membership>>,
        listeners: Vec<Vec<OwnedFd>>,
    ) {
        let live = Rc::new(Live::new(Arc::clone(&prepared), memberships, self));
        *self.live.borrow_mut() = Some(Rc::clone(&live));
        let keys: HashSet<_> = prepared.site.http().upstreams.iter().map(Upstream::key).collect();
        self.upstreams.borrow_mut().retain(|key, _| keys.contains(key));
        // Accepting is handed to new tasks as a whole: what waits in a socket's queue stays there meanwhile.
        let mut running = self.listeners.borrow_mut();
        running.drain(..).for_each(|task| task.abort());
        for (listener, sockets) in prepared.site.http().listeners.iter().zip(listeners) {
            let address = Rc::new(listener.address.clone());
            for fd in sockets {
                match open(&address, fd) {
                    Ok(open) => {
                        let task = accept(Rc::clone(self), Rc::clone(&address), open);
                        running.push(tokio::task::spawn_local(task).abort_handle());
                    }
                    Err(error) => live
                        .shared
                        .main_log
                        .note(Level::Emerg, format_args!("listening on {address} failed {}", Errno(&error))),
                }
            }
        }
        // Connections that wait between requests belong to the new generation from now on.
        self.counters.outdated.store(0, Relaxed);
    }

    fn obey(self: &Rc<Self>, order: Order) {
        match order {
            Order::Apply { change, prepared, memberships, listeners, done } => {
                self.apply(prepared, memberships, listeners);
                self.serves(change);
                // The worker waits for every thread; one that is gone does not.
                let _ = done.send(());
            }
            Order::Publish { change, key, membership } => {
                self.publish(&key, membership);
                self.serves(change);
            }
            Order::Count { change } => self.serves(change),
            Order::Look => self.upstreams.borrow().values().for_each(|upstream| upstream.wake()),
            Order::Reopen { files } => self.reopen(&files),
            Order::Quit { .. } => self.quit(),
        }
    }

    fn reopen(&self, files: &HashMap<LogTarget, Arc<OwnedFd>>) {
        self.log_files.borrow_mut().clear();
        for (key, sink) in self.sinks.borrow().iter() {
            if let Some(fd) = files.get(&key.0) {
                sink.replace(Arc::clone(fd));
            }
        }
    }

    fn quit(&self) {
        self.quitting.set(true);
        for task in self.listeners.borrow_mut().drain(..) {
            task.abort();
        }
        for upstream in self.upstreams.borrow().values() {
            upstream.clear();
        }
        self.wake_all();
        if self.counters.active.load(Relaxed) == 0 {
            self.drained.notify_one();
        }
    }
}

enum Listening {
    /// A listening socket that is only watched through this type: tokio's own listener tells the event loop about
    /// every connection at once, which one that is answered at once does not need.
    Tcp(TcpStream),
    Unix(UnixListener),
}

fn open(address: &ListenAddress, fd: OwnedFd) -> std::io::Result<Listening> {
    Ok(match address {
        ListenAddress::Inet(_) => {
            let watched = std::net::TcpStream::from(fd);
            watched.set_nonblocking(true)?;
            // Accepted sockets inherit it, so no call is needed for each of them.
            watched.set_nodelay(true)?;
            Listening::Tcp(TcpStream::from_std(watched)?)
        }
        ListenAddress::Unix(_) => {
            let listener = std::os::unix::net::UnixListener::from(fd);
            listener.set_nonblocking(true)?;
            Listening::Unix(UnixListener::from_std(listener)?)
        }
    })
}

/// How long a listener that was shut down from outside is left alone between two looks.
const SHUT: Duration = Duration::from_millis(1);

/// Accepts without telling the event loop about the new connection.
async fn accept_tcp(listener: &TcpStream) -> std::io::Result<(Stream, Option<SocketAddr>)> {
    const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
    loop {
        let mut looks = 0;
        let accepted = listener.async_io(Interest::READABLE, || {
            looks += 1;
            let (socket, peer) = match rustix::net::acceptfrom_with(listener, FLAGS) {
                // Once shut down it counts as ready for ever, also when it listens again and nobody has connected.
                Err(rustix::io::Errno::AGAIN) if looks > 8 => return Ok(None),
                accepted => accepted?,
            };
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            Ok(Some((Stream::accepted(socket), peer)))
        });
        match accepted.await {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => tokio::time::sleep(SHUT).await,
            Err(error) => return Err(error),
        }
    }
}

async fn accept(thread: Rc<Thread>, address: Rc<ListenAddress>, listening: Listening) {
    loop {
        let accepted = match &listening {
            Listening::Tcp(listener) => accept_tcp(listener).await,
            Listening::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), None))
            }
        };
        match accepted {
            Ok((stream, peer)) => connection::spawn(&thread, Rc::clone(&address), stream, peer),
            Err(error) => {
                let full = matches!(error.raw_os_error(), Some(23 | 24));
                let level = if full { Level::Crit } else { Level::Alert };
                thread.live().shared.main_log.note(level, format_args!("accept4() failed {}", Errno(&error)));
                // With no descriptor left every accept fails at once: wait for some to be closed.
                tokio::time::sleep(Duration::from_millis(if full { 100 } else { 1 })).await;
            }
        }
    }
}

/// Runs a data thread until it has quit.
pub(crate) fn run(index: usize, shared: Arc<Shared>, counters: Arc<Counters>, orders: Arc<Orders>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(flush)
        .on_thread_unpark(|| {
            clock::tick();
            deadline::tick();
        })
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a thread can make an event loop");
    let done =
        Done { counters: Arc::clone(&counters), orders: Arc::clone(&orders), shared: Arc::clone(&shared) };
    runtime.block_on(control(Rc::new(Thread::new(index, shared, counters)), &orders));
    drop(runtime);
    FLUSH.with(|sinks| sinks.borrow_mut().drain(..).for_each(|sink| sink.finish()));
    drop(CLOSING.take());
    drop(done);
}

/// Tells at its end, however it comes, that nobody need wait for the thread.
struct Done {
    counters: Arc<Counters>,
    orders: Arc<Orders>,
    shared: Arc<Shared>,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.counters.finished.store(true, Relaxed);
        self.orders.close();
        self.shared.progress.notify_waiters();
    }
}

async fn control(thread: Rc<Thread>, orders: &Orders) {
    let beat = tokio::task::spawn_local(heartbeat(Rc::clone(&thread)));
    let mut end: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    loop {
        let ended = poll_fn(|cx| end.as_mut().map_or(Poll::Pending, |end| end.as_mut().poll(cx)));
        let order = tokio::select! {
            order = orders.next() => order,
            () = ended => break,
        };
        match order {
            Order::Quit { limit } => {
                thread.quit();
                end = Some(Box::pin(drained(Rc::clone(&thread), limit)));
            }
            order => thread.obey(order),
        }
    }
    beat.abort();
}

/// Waits until the last connection is gone, `limit` at most.
async fn drained(thread: Rc<Thread>, limit: Option<Duration>) {
    let drained = thread.drained.notified();
    match limit {
        Some(limit) => drop(tokio::time::timeout(limit, drained).await),
        None => drained.await,
    }
}

/// Milliseconds between two alerts about access logs that cannot be written: a full disk stays full for a while.
const LOSSES_MS: u64 = 60_000;
/// How often a thread proves that its loop turns and its timers fire.
const BEAT: Duration = Duration::from_millis(100);
/// Beats between two looks at what idled too long.
const SWEEP: u64 = 10;

/// Beats even when nothing happens, and closes what idled too long.
async fn heartbeat(thread: Rc<Thread>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut quiet_until = 0;
    for beat in 0_u64.. {
        ticks.tick().await;
        thread.counters.beats.fetch_add(1, Relaxed);
        if !beat.is_multiple_of(SWEEP) {
            continue;
        }
        let now = clock::tick().mono_ms;
        for upstream in thread.upstreams.borrow().values() {
            if let Some(text) = upstream.sweep(now) {
                thread.live().shared.main_log.note(Level::Error, format_args!("{text}"));
            }
        }
        if now >= quiet_until && thread.tell_losses() {
            quiet_until = now + LOSSES_MS;
        }
    }
}
