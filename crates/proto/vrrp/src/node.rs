//! All virtual routers of one host: events and `now` go in by `handle_*`, commands and the next deadline come out by
//! `poll_*`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_model::vrrp::{Family, Mac, Vrrp};

use crate::garp::{Announcer, Prober};
use crate::group::Group;
use crate::limiter::Limiter;
use crate::links::Links;
use crate::router::Router;
use crate::timers::Timer;
use crate::tracking::Trackers;
use crate::{
    Arrival, Command, Event, Finding, InstanceId, Link, NoticeState, Protocol, State, Status, Time, Tracker,
};

/// How long after the start an interface may be told of for the first time; then it does not exist.
const LINK_GRACE: Duration = Duration::from_secs(1);

/// All virtual routers of one host. It has neither clock nor sockets: after each call do what
/// [`poll_command`](Self::poll_command) says, and call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) is over. Packets that wait should be handled before a timeout.
pub struct Node {
    pub(crate) config: Arc<Vrrp>,
    pub(crate) started: Time,
    /// `vrrp_startup_delay`, `vrrp_delay_after_boot`: until then nothing is listened to and nobody is master.
    pub(crate) ready_at: Time,
    pub(crate) routers: Vec<Router>,
    pub(crate) groups: Vec<Group>,
    pub(crate) next_id: u32,
    /// Places of routers by interface, family and identifier; unicast routers may share these.
    pub(crate) by_vrid: HashMap<(u32, Family, u8), Vec<usize>>,
    pub(crate) links: Links,
    pub(crate) trackers: Trackers,
    pub(crate) announcer: Announcer,
    pub(crate) prober: Prober,
    pub(crate) limiter: Limiter,
    pub(crate) commands: VecDeque<Command>,
    links_complete_at: Option<Time>,
    ended: bool,
}

impl Node {
    /// All instances start in INIT. They begin to listen as soon as their interface is known to be up and every script,
    /// process and file whose failure is a fault has reported once.
    #[must_use]
    pub fn new(config: Arc<Vrrp>, now: Time) -> Self {
        let ready_at =
            (now + config.globals.startup_delay.duration()).max(config.globals.delay_after_boot.duration());
        let mut node = Self {
            config: Arc::default(),
            started: now,
            ready_at,
            routers: Vec::new(),
            groups: Vec::new(),
            next_id: 0,
            by_vrid: HashMap::new(),
            links: Links::default(),
            trackers: Trackers::default(),
            announcer: Announcer::default(),
            prober: Prober::default(),
            limiter: Limiter::default(),
            commands: VecDeque::new(),
            links_complete_at: Some(now + LINK_GRACE),
            ended: false,
        };
        node.configure(now, config);
        node
    }

    /// An interface appeared or changed. Tell of all of them at the start: one that is not known after a second does not
    /// exist.
    pub fn handle_link(&mut self, now: Time, link: Link) {
        if !self.begin(now) {
            return;
        }
        let name = link.name.clone();
        let fresh = self.links.update(now, link, &self.config.link_delays);
        if fresh && self.links_complete_at.is_none() && self.uses_link(&name) {
            self.say(Event::InterfaceBack { interface: name });
        }
        self.settle_all(now);
    }

    /// An interface vanished.
    pub fn handle_link_gone(&mut self, now: Time, index: u32) {
        if !self.begin(now) {
            return;
        }
        let Some(name) = self.links.remove(index) else { return };
        if self.uses_link(&name) {
            self.say(Event::InterfaceGone { interface: name });
        }
        self.settle_all(now);
    }

    /// A packet of protocol 112 or 51 came. Whatever is in it, it has no effect unless it passes every check.
    pub fn handle_packet(&mut self, now: Time, arrival: Arrival<'_>, protocol: Protocol) {
        if self.begin(now) && now >= self.ready_at {
            self.receive(now, &arrival, protocol);
        }
    }

    /// A tracker finished once more.
    pub fn handle_tracker(&mut self, now: Time, tracker: &Tracker, finding: Finding) {
        if self.begin(now) && self.trackers.update(tracker, finding.clone()) {
            self.say(Event::TrackerChanged { tracker: tracker.clone(), finding });
            self.settle_all(now);
        }
    }

    /// Somebody deleted an address; `by` is the netlink port of who did it, if that is known. A master puts it back at
    /// once, others do not care. Addresses that the shell itself removed need not be told of.
    pub fn handle_address_gone(&mut self, now: Time, interface: &str, address: IpAddr, by: Option<u32>) {
        if self.begin(now) {
            self.restore(now, interface, address, by);
        }
    }

    /// Somebody else says that it has an address: by an ARP request or reply, or a neighbour advertisement.
    pub fn handle_claim(&mut self, now: Time, interface: u32, address: IpAddr, mac: Mac) {
        if self.begin(now) {
            self.claim(now, interface, address, mac);
        }
    }

    /// A [`Command::Hold`] failed: a master that cannot have its addresses goes to FAULT, so that another takes over, and
    /// tries again after 10 seconds.
    pub fn handle_hold_failed(&mut self, now: Time, instance: InstanceId, reason: String) {
        if !self.begin(now) {
            return;
        }
        if let Some(i) = self.routers.iter().position(|router| router.id == instance) {
            self.fail_hold(now, i, reason);
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) said has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if !self.begin(now) {
            return;
        }
        if self.links_complete_at.is_some_and(|at| at <= now) {
            self.links_complete_at = None;
            self.links.complete();
            self.settle_all(now);
        }
        if self.links.expire(now) {
            self.settle_all(now);
        }
        for i in 0..self.routers.len() {
            while let Some((timer, deadline)) = self.routers[i].timers.take_due(now) {
                self.fire(now, i, timer, deadline);
            }
        }
        let announcements = self.announcer.drain(now);
        self.commands.extend(announcements);
        let probes = self.prober.drain(now);
        self.commands.extend(probes);
    }

    /// The addresses of an instance were found on their interface at the start, leased or not: a predecessor died. If its
    /// leases are so short that no peer can have taken over while they last, the instance is master from its first usable
    /// moment on, and does not wait for trackers to report; if not, they are released. Call before the first
    /// [`handle_link`](Self::handle_link).
    pub fn adopt(&mut self, instance_name: &str) {
        let Some(router) = self.routers.iter_mut().find(|router| router.config.name == instance_name) else {
            return;
        };
        router.adoption = true;
        let window = router.adoption_window().unwrap_or_default();
        router.timers.arm(Timer::Adoption, self.started + window);
    }

    /// As [`adopt`](Self::adopt), from a predecessor that has just let go by [`hand_over`](Self::hand_over): leased or not,
    /// no peer can have taken over yet.
    pub fn succeed(&mut self, instance_name: &str) {
        if let Some(router) = self.routers.iter_mut().find(|router| router.config.name == instance_name) {
            router.handed = true;
        }
        self.adopt(instance_name);
    }

    /// What to do next, in this order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When something happens by itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.ended {
            return None;
        }
        let others = [self.links_complete_at, self.links.next(), self.announcer.next(), self.prober.next()];
        others.into_iter().flatten().chain(self.next_router_timeout()).min()
    }

    /// Masters send priority 0, release their addresses, and all say that they stop. Nothing happens afterwards.
    pub fn stop(&mut self, now: Time) {
        if !self.begin(now) {
            return;
        }
        let everyone: Vec<usize> = (0..self.routers.len()).collect();
        self.refuse_adoption(now, &everyone, "the process stops");
        for i in everyone {
            if self.routers[i].is_master() {
                self.advertise(now, i, 0);
                self.leave_master(i);
            }
            if self.routers[i].state != State::Init {
                self.shift(now, i, State::Init, "stopped");
            }
            self.notify(i, NoticeState::Stop);
        }
        for group in std::mem::take(&mut self.groups) {
            self.notify_group(&group.config, NoticeState::Stop);
        }
        self.ended = true;
    }

    /// Leaves without a word and keeps the addresses: a successor on the same host adopts them.
    pub fn hand_over(&mut self, now: Time) {
        if self.begin(now) {
            self.ended = true;
        }
    }

    /// What can be seen.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        Status { now, instances: (0..self.routers.len()).map(|i| self.instance_status(now, i)).collect() }
    }

    /// Sets all counters to zero.
    pub fn clear_stats(&mut self) {
        for router in &mut self.routers {
            router.stats = crate::Stats::default();
        }
    }

    pub(crate) fn say(&mut self, event: Event) {
        self.commands.push_back(Command::Event(event));
    }

    pub(crate) fn next_router_timeout(&self) -> Option<Time> {
        self.routers.iter().filter_map(|router| router.timers.next()).min()
    }

    /// Every event goes through here first, because a process that did not run must not speak as if it had.
    pub(crate) fn begin(&mut self, now: Time) -> bool {
        if !self.ended {
            self.wake(now);
        }
        !self.ended
    }

    fn fire(&mut self, now: Time, i: usize, timer: Timer, deadline: Time) {
        match timer {
            Timer::Down => self.down_due(now, i, deadline),
            Timer::Advert => self.advert_due(now, i),
            Timer::Renew => self.renew(now, i),
            Timer::SecondBurst => self.second_burst_due(now, i),
            Timer::Refresh => self.refresh_due(now, i),
            Timer::LowerPriority => self.lower_priority_due(now, i),
            Timer::Probe => self.probe_due(now, i),
            Timer::HoldRetry => self.retry_hold(now, i),
            Timer::Rogue => self.routers[i].rogue = crate::router::Rogue::None,
            Timer::Adoption => {
                self.refuse_adoption(now, &[i], "it took too long until the router could take part")
            }
        }
    }

    fn uses_link(&self, name: &str) -> bool {
        self.routers.iter().any(|router| {
            let tracks = router.config.track_interfaces.iter().map(|track| &track.name);
            [&router.config.interface, &router.assets.interface]
                .into_iter()
                .chain(tracks)
                .any(|of| of == name)
        })
    }

    /// Makes packets find their router.
    pub(crate) fn index(&mut self) {
        self.by_vrid.clear();
        for (i, router) in self.routers.iter().enumerate() {
            let port = &router.port;
            for index in [port.base, port.vmac].into_iter().flatten() {
                let places =
                    self.by_vrid.entry((index, router.config.family, router.config.vrid)).or_default();
                if !places.contains(&i) {
                    places.push(i);
                }
            }
        }
    }
}
