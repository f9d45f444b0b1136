//! The real-time thread: elections over sockets and addresses. It touches no file and waits for nobody but the kernel.

mod hold;
mod links;
mod sockets;

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use weir_log::Level;
use weir_model::vrrp::Vrrp;
use weir_net::Waker;
use weir_netlink::{Monitor, Netlink};

use weir_vrrp::{Command, Event, Finding, InstanceId, Node, Severity, Status, Time, Tracker};

use crate::attendant::{Attendant, History};
use links::Links;
pub(crate) use sockets::Sockets;

/// What the other threads want of this one.
pub(crate) enum Order {
    Finding(Tracker, Finding),
    Reload(Arc<Vrrp>, Box<Sockets>),
    /// What a reload would change.
    Plan(Arc<Vrrp>, SyncSender<Vec<String>>),
    Status(SyncSender<Status>),
    ClearStats,
    /// Give everything up and end.
    Stop,
    /// End without a word; a successor on this host goes on with the addresses.
    HandOver,
}

/// The thread's state.
pub(crate) struct Shell {
    node: Node,
    links: Links,
    sockets: Sockets,
    netlink: Netlink,
    monitor: Monitor,
    orders: Receiver<Order>,
    waker: Arc<Waker>,
    attendant: Arc<Attendant>,
    history: Arc<Mutex<History>>,
    /// What the history has not got yet, because somebody reads it.
    unwritten: Vec<(Option<String>, SystemTime, String)>,
    /// The last failure told of each instance, so that a lasting one does not fill the log.
    failures: Vec<(InstanceId, String, Time)>,
    /// Which routers hear nobody, as it was told.
    deaf: Vec<String>,
    released: hold::Released,
    /// Addresses of an owner that the machine had before.
    staying: HashSet<IpAddr>,
    buffer: Vec<u8>,
    ended: bool,
}

/// What [`Shell::new`] is given.
pub(crate) struct Parts {
    pub(crate) config: Arc<Vrrp>,
    pub(crate) sockets: Sockets,
    pub(crate) orders: Receiver<Order>,
    pub(crate) waker: Arc<Waker>,
    pub(crate) attendant: Arc<Attendant>,
    pub(crate) history: Arc<Mutex<History>>,
    /// A predecessor has just let go.
    pub(crate) handed_over: bool,
}

/// So many advertisements of a socket are read before timers are looked at again, so that a flood does not delay them.
/// All virtual routers of a network fit twice.
const ADVERTS: usize = 512;
/// The same for what says that it has an address.
const CLAIMS: usize = 64;
/// A failure that lasts is told again after this.
const AGAIN: Duration = Duration::from_secs(60);

impl Shell {
    /// Looks at the machine, and takes over what a predecessor of this very node left a moment ago.
    pub(crate) fn new(parts: Parts) -> std::io::Result<Self> {
        let Parts { config, sockets, orders, waker, attendant, history, handed_over } = parts;
        // Before the dump, so that nothing changes unseen between the two.
        let monitor = Monitor::open()?;
        let netlink = Netlink::open()?;
        let now = weir_net::boottime();
        let node = Node::new(Arc::clone(&config), now);
        let links = Links::new(&config);
        let mut shell = Self {
            node,
            links,
            sockets,
            netlink,
            monitor,
            orders,
            waker,
            attendant,
            history,
            unwritten: Vec::new(),
            failures: Vec::new(),
            deaf: Vec::new(),
            released: hold::Released::default(),
            staying: HashSet::new(),
            buffer: vec![0; 65_536],
            ended: false,
        };
        shell.adopt(&config, handed_over)?;
        shell.look()?;
        Ok(shell)
    }

    /// Works until it is told to stop.
    pub(crate) fn run(mut self) {
        self.work();
        while !self.ended {
            self.sleep();
            self.turn();
        }
    }

    /// Waits for a packet, an order, a change of the machine or a timer.
    fn sleep(&self) {
        let wait = self.node.poll_timeout().map(|at| at.saturating_sub(weir_net::boottime()));
        let wait = wait.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        });
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.waker.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.monitor.as_fd(), PollFlags::IN),
        ];
        fds.extend(self.sockets.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Its only failures are a signal and a lack of memory; the turn that follows is right in both cases.
        let _ = rustix::event::poll(&mut fds, wait.as_ref());
    }

    fn turn(&mut self) {
        // What has come was sent before a timer that is due now, and may make it pointless. That the node itself was
        // stalled it sees at whatever comes first.
        self.hear();
        self.watch();
        self.obey();
        self.timers();
        self.write_history();
    }

    fn timers(&mut self) {
        let now = weir_net::boottime();
        if self.node.poll_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        self.work();
    }

    fn obey(&mut self) {
        // A failure is a wake-up more than needed.
        let _ = self.waker.clear();
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => break,
                // Whoever started it has gone without a word, which is not meant to happen.
                Err(TryRecvError::Disconnected) => Order::Stop,
            };
            self.follow(order);
            self.work();
            if self.ended {
                break;
            }
        }
    }

    fn follow(&mut self, order: Order) {
        let now = weir_net::boottime();
        match order {
            Order::Finding(tracker, finding) => self.node.handle_tracker(now, &tracker, finding),
            Order::Reload(config, sockets) => {
                self.sockets.absorb(*sockets);
                self.links.interest(&config);
                self.node.reload(now, Arc::clone(&config));
                self.work();
                self.join();
                self.tell_links();
            }
            Order::Plan(config, answer) => drop(answer.try_send(self.node.plan(&config))),
            Order::Status(answer) => drop(answer.try_send(self.node.status(now))),
            Order::ClearStats => self.node.clear_stats(),
            Order::Stop => {
                self.node.stop(now);
                self.ended = true;
            }
            Order::HandOver => {
                self.node.hand_over(now);
                self.ended = true;
            }
        }
    }

    /// Takes what changed on this machine.
    fn watch(&mut self) {
        let mut events = Vec::new();
        if let Err(error) = self.monitor.read(&mut events) {
            self.log(Level::Alert, format!("changes of the network are not seen: {error}"));
            return;
        }
        for event in events {
            self.change(event);
            self.work();
        }
    }

    fn change(&mut self, event: weir_netlink::Event) {
        let now = weir_net::boottime();
        match event {
            weir_netlink::Event::Link(info) => {
                let index = info.index;
                if self.links.name(index).is_some_and(|old| old != info.name) {
                    // Its addresses are found by the old name, which is known until the new one is taken.
                    self.node.handle_link_gone(now, index);
                    self.work();
                }
                self.links.put(info);
                self.join();
                self.tell_link(index);
            }
            weir_netlink::Event::LinkGone { index, .. } => {
                self.links.remove(index);
                self.sockets.forget(index);
                self.node.handle_link_gone(now, index);
            }
            weir_netlink::Event::Address(info) => {
                let index = info.interface;
                if self.links.put_address(&info) {
                    self.tell_link(index);
                }
            }
            weir_netlink::Event::AddressGone { info, by } => {
                let index = info.interface;
                if self.released.is_own(&info, by, self.netlink.port()) {
                    return;
                }
                if self.links.is_virtual(&info.address) {
                    if let Some(name) = self.links.name(index) {
                        self.node.handle_address_gone(now, &name, info.address, by);
                    }
                } else if self.links.remove_address(&info) {
                    self.tell_link(index);
                }
            }
            weir_netlink::Event::Overrun => {
                if let Err(error) = self.look() {
                    self.log(Level::Alert, format!("the network's state cannot be read: {error}"));
                }
            }
        }
    }

    /// Reads the whole state of the machine's interfaces.
    fn look(&mut self) -> std::io::Result<()> {
        let (links, addresses) = (self.netlink.links()?, self.netlink.addresses()?);
        let gone = self.links.replace(links, &addresses);
        let now = weir_net::boottime();
        for index in gone {
            self.sockets.forget(index);
            self.node.handle_link_gone(now, index);
        }
        self.join();
        self.miss(&addresses);
        self.tell_links();
        Ok(())
    }

    /// Addresses of masters whose removal went unseen.
    fn miss(&mut self, addresses: &[weir_netlink::AddressInfo]) {
        let now = weir_net::boottime();
        let config = self.node.config();
        let absent =
            config.instances.iter().flat_map(|one| hold::absent(&self.links, addresses, config, one));
        for (interface, address) in absent.collect::<Vec<_>>() {
            self.node.handle_address_gone(now, &interface, address, None);
        }
    }

    /// Joins what is not joined yet; what fails is told when it is new.
    fn join(&mut self) {
        let deaf = self.sockets.join(self.node.config(), &self.links);
        for text in deaf.iter().filter(|text| !self.deaf.contains(text)) {
            self.log(Level::Alert, text.clone());
        }
        self.deaf = deaf;
    }

    fn tell_links(&mut self) {
        for index in self.links.indexes() {
            self.tell_link(index);
        }
    }

    fn tell_link(&mut self, index: u32) {
        if let Some(link) = self.links.link(index) {
            self.node.handle_link(weir_net::boottime(), link);
        }
    }

    /// Reads a bounded number of packets of each socket.
    fn hear(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // A new master advertises before it announces. Claims are read first and judged last, so that none is judged
        // before the advertisement that explains it.
        let claims = self.sockets.claims(CLAIMS, &mut buffer);
        self.hear_adverts(&mut buffer);
        self.hear_claims(claims);
        self.buffer = buffer;
        self.work();
    }

    fn hear_adverts(&mut self, buffer: &mut [u8]) {
        let now = weir_net::boottime();
        for socket in self.sockets.adverts() {
            for _ in 0..ADVERTS {
                // What cannot be read now is read at the next turn; a broken socket shows itself in `Send`.
                let Ok(Some(arrival)) = socket.raw.receive(buffer) else { break };
                self.node.handle_packet(now, sockets::arrival_of(&arrival), socket.protocol);
            }
        }
    }

    /// Other machines that say they have one of the addresses.
    fn hear_claims(&mut self, claims: Vec<Claimed>) {
        let now = weir_net::boottime();
        for (interface, address, mac) in claims {
            if self.links.is_virtual(&address) && !self.links.is_own(mac) {
                self.node.handle_claim(now, interface, address, mac);
            }
        }
    }

    /// Does all that the elections decided.
    fn work(&mut self) {
        while let Some(command) = self.node.poll_command() {
            self.execute(command);
        }
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Send { instance, interface, source, destination, hop_limit, protocol, packet } => {
                let sent = self.sockets.send(protocol, interface, source, destination, hop_limit, &packet);
                if let Err(error) = sent {
                    let text = format!("an advertisement to {destination} was not sent: {error}");
                    self.tell_failure(instance, text);
                }
            }
            Command::Hold { instance, assets } => {
                if let Err(error) = hold::put(&mut self.netlink, &self.links, &assets) {
                    self.tell_not_held(instance, error);
                }
            }
            Command::Renew { instance, assets } => {
                if let Err(error) = hold::renew(&mut self.netlink, &self.links, &assets) {
                    self.tell_not_held(instance, error);
                }
            }
            Command::Release { instance, assets } => {
                self.released.note(&assets);
                if let Err(reason) = hold::remove(&mut self.netlink, &self.links, &assets, &self.staying) {
                    self.tell_failure(instance, reason);
                }
            }
            Command::Announce { instance, interface, address } => {
                if let Err(error) = self.sockets.announce(&self.links, interface, address) {
                    self.tell_failure(instance, format!("{address} was not announced: {error}"));
                }
            }
            Command::Probe { instance, interface, address } => {
                if let Err(error) = self.sockets.probe(&self.links, interface, address) {
                    self.tell_failure(instance, format!("{address} was not asked for: {error}"));
                }
            }
            Command::Notify(notice) => self.attendant.notify(notice),
            Command::Event(event) => {
                let text = event.to_string();
                // In the history of an instance its name is said already.
                let name = event.instance().map(|name| format!("{name}: "));
                let own = name.and_then(|name| text.strip_prefix(&name)).unwrap_or(&text);
                // A stranger's packets, one line a minute and sender, would push every change out of the history.
                if !matches!(event, Event::Dropped { .. } | Event::UnknownVrid { .. }) {
                    self.remember(event.instance(), own);
                }
                // Who asked for a reload has its differences from the plan, and tells them.
                if !matches!(event, Event::Reload { .. }) {
                    self.log(level(event.severity()), text);
                }
            }
        }
    }

    fn remember(&mut self, instance: Option<&str>, text: &str) {
        self.unwritten.push((instance.map(str::to_owned), SystemTime::now(), text.to_owned()));
        self.write_history();
    }

    /// Whoever reads the history runs without priority, so it is not waited for.
    fn write_history(&mut self) {
        let mut history = match self.history.try_lock() {
            Ok(history) => history,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for (instance, at, text) in self.unwritten.drain(..) {
            history.push(instance.as_deref(), at, text);
        }
    }

    fn log(&self, level: Level, text: String) {
        self.attendant.log(level, text);
    }

    fn tell_not_held(&mut self, instance: InstanceId, error: hold::NotHeld) {
        if error.nothing {
            self.node.handle_hold_failed(weir_net::boottime(), instance, error.reason);
        } else {
            self.tell_failure(instance, format!("the other addresses are held: {}", error.reason));
        }
    }

    /// A line about something that failed; the same again is told once a minute.
    fn tell_failure(&mut self, instance: InstanceId, text: String) {
        let now = weir_net::boottime();
        self.failures.retain(|(_, _, at)| now.saturating_sub(*at) < AGAIN);
        if self.failures.iter().any(|(id, told, _)| *id == instance && *told == text) {
            return;
        }
        let status = self.node.name(instance);
        self.log(Level::Error, format!("vrrp_instance {}: {text}", status.unwrap_or("(gone)")));
        self.failures.push((instance, text, now));
    }

    /// Addresses of a predecessor that let go or died: those that are still leased are taken over without a gap, others are
    /// removed, because nobody looks after them.
    fn adopt(&mut self, config: &Vrrp, handed_over: bool) -> std::io::Result<()> {
        let (links, addresses) = (self.netlink.links()?, self.netlink.addresses()?);
        self.links.replace(links, &addresses);
        for instance in &config.instances {
            match hold::left(&self.links, &addresses, config, instance, handed_over) {
                hold::Left::Nothing => {}
                hold::Left::Leased => self.node.adopt(&instance.name),
                hold::Left::Handed => self.node.succeed(&instance.name),
                hold::Left::OwnersOwn => {
                    self.staying.extend(instance.addresses.iter().map(|one| one.address));
                }
                hold::Left::Orphaned => {
                    let assets = weir_vrrp::assets(config, instance);
                    self.log(
                        Level::Warn,
                        format!(
                            "vrrp_instance {}: addresses that nobody looked after are removed",
                            instance.name
                        ),
                    );
                    if let Err(reason) = hold::remove(&mut self.netlink, &self.links, &assets, &self.staying)
                    {
                        self.log(Level::Error, format!("vrrp_instance {}: {reason}", instance.name));
                    }
                }
            }
        }
        Ok(())
    }
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Info => Level::Info,
        Severity::Notice => Level::Notice,
        Severity::Warning => Level::Warn,
        Severity::Alarm => Level::Alert,
    }
}

/// A claim that was heard: the interface, the address, and who says so.
pub(crate) type Claimed = (u32, IpAddr, weir_model::vrrp::Mac);
