//! The virtual routers of one node, seen from the keeper.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use weir_log::Level;
use weir_model::vrrp::Vrrp;
use weir_net::Waker;
use weir_vrrp::{Finding, NoticeState, State, Status, Subject, Tracker};

use crate::attendant::{self, Attendant, History, Journal};
use crate::control::Control;
use crate::setup;
use crate::shell::{Order, Parts, Shell, Sockets};

/// The priority of the real-time thread unless `vrrp_rt_priority` says another.
const RT_PRIORITY: u8 = 50;
/// How long stop notices' scripts may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the real-time thread may take to answer a question.
const ANSWER: Duration = Duration::from_secs(2);

/// What the service is given besides the configuration.
pub struct Context {
    /// The name of the host, for mail and dumps where `router_id` is not set.
    pub host: String,
    pub journal: Journal,
    /// Where `weir vip` asks, unless `status_socket` says another place.
    pub status_socket: PathBuf,
    /// Another keeper of this host has just let go by [`Service::hand_over`].
    pub handed_over: bool,
}

/// What is dumped on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    Data,
    Stats,
    /// The same, and the counters start again.
    StatsAndClear,
    Json,
}

/// A way to the real-time thread for other threads.
#[derive(Clone)]
pub struct Remote {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

impl Remote {
    fn send(&self, order: Order) {
        // It fails when the thread has ended, which its owner sees.
        let _ = self.orders.send(order);
        // A thread that cannot be woken has ended.
        let _ = self.waker.wake();
    }

    /// What a tracker outside of the service found.
    pub fn finding(&self, tracker: Tracker, finding: Finding) {
        self.send(Order::Finding(tracker, finding));
    }

    fn ask<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> io::Result<T> {
        let (answer, wait) = sync_channel(1);
        self.send(order(answer));
        wait.recv_timeout(ANSWER)
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the real-time thread gives no answer"))
    }

    /// The state of all instances.
    ///
    /// # Errors
    /// The thread has ended or is stuck.
    pub fn status(&self) -> io::Result<Status> {
        self.ask(Order::Status)
    }
}

/// Runs the virtual routers of one configuration until it is stopped.
pub struct Service {
    remote: Remote,
    thread: JoinHandle<()>,
    attendant: Arc<Attendant>,
    journal: Journal,
    config: Arc<Vrrp>,
    history: Arc<Mutex<History>>,
    control: Option<Control>,
}

impl Service {
    /// Starts the elections.
    ///
    /// # Errors
    /// Everything that is missing, one text each.
    pub fn start(config: Vrrp, context: Context) -> Result<Self, Vec<String>> {
        let one = |error: String| vec![error];
        let Context { host, journal, status_socket, handed_over } = context;
        let socket_path = path_of_socket(&config, &status_socket);
        Control::refuse_second(&socket_path).map_err(one)?;
        for warning in setup::check(&config, None)? {
            journal(Level::Warn, warning);
        }
        let sockets = Sockets::default().missing(&config).map_err(|error| one(error.to_string()))?;
        let tell = |text: String| journal(Level::Error, text);
        setup::make(&config, &tell);
        let config = Arc::new(config);
        let context =
            Context { host, journal: Arc::clone(&journal), status_socket: socket_path, handed_over };
        Self::begin(Arc::clone(&config), sockets, context).map_err(|error| {
            setup::clear(&config, &Vrrp::default(), &tell);
            one(error)
        })
    }

    /// Starts the threads.
    fn begin(config: Arc<Vrrp>, sockets: Sockets, context: Context) -> Result<Self, String> {
        let Context { host, journal, status_socket: socket_path, handed_over } = context;
        let (orders, inbox) = channel();
        let waker = Arc::new(Waker::new().map_err(|error| error.to_string())?);
        let remote = Remote { orders, waker: Arc::clone(&waker) };
        let findings = remote.clone();
        let context = attendant::Context {
            router_id: config.globals.router_id.clone().unwrap_or_else(|| host.clone()),
            host,
            journal: Arc::clone(&journal),
            running: handed_over,
        };
        let findings: attendant::Findings =
            Arc::new(move |tracker, finding| findings.finding(tracker, finding));
        let attendant = Attendant::start(Arc::clone(&config), context, findings);
        let attendant = Arc::new(attendant.map_err(|error| format!("scripts cannot be run: {error}"))?);
        let history = Arc::new(Mutex::new(History::default()));
        let parts = Parts {
            config: Arc::clone(&config),
            sockets,
            orders: inbox,
            waker,
            attendant: Arc::clone(&attendant),
            history: Arc::clone(&history),
            handed_over,
        };
        let thread = start_thread(parts, &config, &journal)?;
        let control = Control::start(&socket_path, remote.clone(), Arc::clone(&history));
        let control = control
            .map_err(|error| {
                let path = socket_path.display();
                journal(Level::Error, format!("`weir vip` cannot ask here: {path}: {error}"));
            })
            .ok();
        Ok(Self { remote, thread, attendant, journal, config, history, control })
    }

    /// A way to tell findings from other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Whether the elections run. They end by themselves only by a defect.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Looks whether another configuration could be served, and says what it would change. Nothing is changed.
    ///
    /// # Errors
    /// Everything that is missing, one text each.
    pub fn plan(&self, config: &Vrrp) -> Result<Vec<String>, Vec<String>> {
        for warning in setup::check(config, Some(&self.config))? {
            (self.journal)(Level::Warn, warning);
        }
        Sockets::default().missing(config).map_err(|error| vec![error.to_string()])?;
        let config = Arc::new(config.clone());
        self.remote.ask(|answer| Order::Plan(config, answer)).map_err(|error| vec![error.to_string()])
    }

    /// Serves another configuration; masters stay masters.
    ///
    /// # Errors
    /// As [`Self::plan`], which is asked first; then nothing has changed.
    pub fn reload(&mut self, config: Vrrp) -> Result<(), Vec<String>> {
        let sockets = Sockets::default().missing(&config).map_err(|error| vec![error.to_string()])?;
        let journal = Arc::clone(&self.journal);
        let tell = |text: String| journal(Level::Error, text);
        setup::make(&config, &tell);
        let config = Arc::new(config);
        // Trackers first: a finding of a tracker that the elections do not know yet is kept by them.
        self.remote.send(Order::Reload(Arc::clone(&config), Box::new(sockets)));
        self.attendant.reload(Arc::clone(&config));
        if config.globals.fifo_write_states_on_reload {
            self.write_states(&config);
        }
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.retain(|name| config.instances.iter().any(|one| one.name == name));
        drop(history);
        // An answer is given behind the reload: what is cleared has been left by then.
        let _ = self.remote.status();
        setup::clear(&self.config, &config, &tell);
        self.config = config;
        Ok(())
    }

    /// `fifo_write_vrrp_states_on_reload`
    fn write_states(&self, config: &Vrrp) {
        let Ok(status) = self.remote.status() else { return };
        let word = |state| match state {
            State::Master => NoticeState::Master,
            State::Backup | State::Init => NoticeState::Backup,
            State::Fault => NoticeState::Fault,
        };
        let of = |name: &str| status.instances.iter().find(|one| one.name == name);
        let groups = config.groups.iter().filter_map(|group| {
            let member = group.members.iter().find_map(|name| of(name))?;
            Some((Subject::Group(group.name.clone()), word(member.state), 0))
        });
        let instances = status.instances.iter();
        let instances = instances
            .map(|one| (Subject::Instance(one.name.clone()), word(one.state), one.effective_priority));
        self.attendant.write_states(instances.chain(groups).collect());
    }

    /// Writes one of keepalived's files about the state.
    pub fn dump(&self, dump: Dump) {
        match self.remote.status() {
            Ok(status) => match dump {
                Dump::Data => self.attendant.dump_data(status),
                Dump::Json => self.attendant.dump_json(status),
                Dump::Stats => self.attendant.dump_stats(status),
                Dump::StatsAndClear => {
                    self.attendant.dump_stats(status);
                    self.remote.send(Order::ClearStats);
                }
            },
            Err(error) => (self.journal)(Level::Error, format!("the state cannot be dumped: {error}")),
        }
    }

    /// Gives all addresses up: peers take over at once.
    #[must_use]
    pub fn release(self) -> Released {
        self.end(Order::Stop)
    }

    /// Ends without a word: a successor on this host goes on with the addresses before their leases end.
    #[must_use]
    pub fn hand_over(self) -> Released {
        self.end(Order::HandOver)
    }

    fn end(self, order: Order) -> Released {
        let stays = matches!(order, Order::HandOver);
        self.remote.send(order);
        if self.thread.join().is_err() {
            (self.journal)(Level::Alert, "the real-time thread ended by a defect".to_owned());
        }
        if stays {
            self.attendant.leave();
        } else {
            let tell = |text: String| (self.journal)(Level::Error, text);
            setup::clear(&self.config, &Vrrp::default(), &tell);
        }
        // Last, because a successor that finds nobody here begins.
        drop(self.control);
        Released { attendant: self.attendant }
    }
}

/// Elections that have ended, and scripts that may still run.
pub struct Released {
    attendant: Arc<Attendant>,
}

impl Released {
    /// Waits for the stop notices' scripts, but not for ever.
    pub fn finish(self) {
        if let Some(attendant) = Arc::into_inner(self.attendant) {
            attendant.stop(PATIENCE);
        }
    }
}

fn path_of_socket(config: &Vrrp, default: &Path) -> PathBuf {
    config.globals.status_socket.as_ref().map_or_else(|| default.to_owned(), PathBuf::from)
}

/// Starts the real-time thread and waits until it has looked at the machine.
fn start_thread(parts: Parts, config: &Vrrp, journal: &Journal) -> Result<JoinHandle<()>, String> {
    if let Err(error) = weir_net::lock_memory() {
        let advice = "CAP_IPC_LOCK or a higher RLIMIT_MEMLOCK allows it";
        journal(
            Level::Warn,
            format!("memory is not locked: {error}; under pressure the node may stall; {advice}"),
        );
    }
    let (priority, cpus) =
        (config.globals.rt_priority.unwrap_or(RT_PRIORITY), config.globals.cpu_affinity.clone());
    let journal = Arc::clone(journal);
    let (ready, wait) = sync_channel(1);
    let body = move || {
        if let Err(error) = weir_net::real_time(priority) {
            let advice = "CAP_SYS_NICE or a higher RLIMIT_RTPRIO allows it";
            journal(
                Level::Warn,
                format!("no real-time priority: {error}; under load the node may stall; {advice}"),
            );
        }
        if !cpus.is_empty()
            && let Err(error) = weir_net::pin(&cpus)
        {
            journal(Level::Warn, format!("vrrp_cpu_affinity is without effect: {error}"));
        }
        match Shell::new(parts) {
            Ok(shell) => {
                let _ = ready.send(Ok(()));
                drop(ready);
                shell.run();
            }
            Err(error) => drop(ready.send(Err(error.to_string()))),
        }
    };
    let thread = std::thread::Builder::new().name("vrrp".to_owned()).spawn(body);
    let thread = thread.map_err(|error| format!("the real-time thread does not start: {error}"))?;
    match wait.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err("the real-time thread ended at its start".to_owned()),
    }
}
