//! Gratuitous ARP, neighbour advertisements and probes: when, how often, and how fast.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::{Address, Family, Mac};

use crate::limiter::{Key, Kind};
use crate::node::Node;
use crate::router::Router;
use crate::timers::Timer;
use crate::{Command, Event, InstanceId, Time};

/// The first probe follows the change to master after this, the others each other.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const PROBE_PERIOD: Duration = Duration::from_secs(60);
/// Probes that leave within a second.
const PROBES_A_SECOND: usize = 16;
/// Claims of one address are answered no more often.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);

/// What shares a pace: an interface, or a `garp_group` of them; of one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Interface(u32, Family),
    Group(usize, Family),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    instance: InstanceId,
    interface: u32,
    address: IpAddr,
}

/// Announcements that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    lanes: HashMap<Lane, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    pace: Duration,
    /// The earliest moment of the next one.
    next: Time,
    items: VecDeque<Item>,
    waiting: HashMap<(InstanceId, IpAddr), u32>,
}

impl Announcer {
    /// Queues one announcement, unless `most` of the same wait already. Without a pace it leaves at once.
    fn push(&mut self, now: Time, lane: Lane, pace: Duration, item: Item, most: u32) -> Option<Command> {
        if pace.is_zero() {
            return Some(item.command());
        }
        let queue = self.lanes.entry(lane).or_default();
        queue.pace = pace;
        if queue.items.is_empty() && queue.next <= now {
            queue.next = now + pace;
            return Some(item.command());
        }
        let waiting = queue.waiting.entry((item.instance, item.address)).or_default();
        if *waiting < most {
            *waiting += 1;
            queue.items.push_back(item);
        }
        None
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.lanes.values().filter(|queue| !queue.items.is_empty()).map(|queue| queue.next).min()
    }

    /// What is due by now, at most one for each lane.
    pub(crate) fn drain(&mut self, now: Time) -> Vec<Command> {
        self.lanes.values_mut().filter(|queue| queue.next <= now).filter_map(|queue| queue.pop(now)).collect()
    }

    pub(crate) fn forget(&mut self, instance: InstanceId) {
        for queue in self.lanes.values_mut() {
            queue.items.retain(|item| item.instance != instance);
            queue.waiting.retain(|(of, _), _| *of != instance);
        }
    }
}

impl Queue {
    fn pop(&mut self, now: Time) -> Option<Command> {
        let item = self.items.pop_front()?;
        self.next = now + self.pace;
        let key = (item.instance, item.address);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&key);
            }
        }
        Some(item.command())
    }
}

impl Item {
    fn command(self) -> Command {
        Command::Announce { instance: self.instance, interface: self.interface, address: self.address }
    }
}

/// Probes that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    items: VecDeque<Item>,
    known: HashSet<(InstanceId, IpAddr)>,
    /// The running second and what left in it.
    second: Time,
    sent: usize,
}

impl Prober {
    fn push(&mut self, item: Item) {
        if self.known.insert((item.instance, item.address)) {
            self.items.push_back(item);
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let full = self.sent >= PROBES_A_SECOND;
        (!self.items.is_empty()).then_some(if full {
            self.second + Duration::from_secs(1)
        } else {
            self.second
        })
    }

    pub(crate) fn drain(&mut self, now: Time) -> Vec<Command> {
        if self.items.is_empty() {
            return Vec::new();
        }
        if now >= self.second + Duration::from_secs(1) {
            self.second = now;
            self.sent = 0;
        }
        let room = PROBES_A_SECOND.saturating_sub(self.sent).min(self.items.len());
        self.sent += room;
        let due: Vec<Item> = self.items.drain(..room).collect();
        for item in &due {
            self.known.remove(&(item.instance, item.address));
        }
        let probe = |item: Item| Command::Probe {
            instance: item.instance,
            interface: item.interface,
            address: item.address,
        };
        due.into_iter().map(probe).collect()
    }

    pub(crate) fn forget(&mut self, instance: InstanceId) {
        self.items.retain(|item| item.instance != instance);
        self.known.retain(|(of, _)| *of != instance);
    }
}

/// The master before answers for the address until it has heard of its successor: no conflict. One that lasts answers the
/// probe that follows.
const SETTLING: Duration = Duration::from_secs(1);

impl Node {
    /// The first burst of a new master, and the times of all that follow.
    pub(crate) fn start_announcing(&mut self, now: Time, i: usize) {
        let garp = self.routers[i].config.garp;
        self.burst(now, i, garp.master_repeat);
        let timers = &mut self.routers[i].timers;
        let (delay, refresh) = (garp.master_delay.duration(), garp.refresh.duration());
        if !delay.is_zero() {
            timers.arm(Timer::SecondBurst, now + delay);
        }
        if !refresh.is_zero() {
            timers.arm(Timer::Refresh, now + refresh);
        }
        timers.arm(Timer::Probe, now + FIRST_PROBE);
    }

    pub(crate) fn second_burst_due(&mut self, now: Time, i: usize) {
        let repeat = self.routers[i].config.garp.master_repeat;
        self.burst(now, i, repeat);
    }

    pub(crate) fn refresh_due(&mut self, now: Time, i: usize) {
        let garp = self.routers[i].config.garp;
        self.burst(now, i, garp.refresh_repeat);
        self.routers[i].timers.arm(Timer::Refresh, now + garp.refresh.duration());
    }

    /// `garp_lower_prio_*`: neighbours may have learnt the lower router's address.
    pub(crate) fn burst_lower_priority(&mut self, now: Time, i: usize) {
        let router = &mut self.routers[i];
        let garp = router.config.garp;
        if garp.lower_prio_repeat == 0 || !router.is_master() {
            return;
        }
        if garp.lower_prio_delay.0 > 0 {
            router.timers.arm(Timer::LowerPriority, now + garp.lower_prio_delay.duration());
        }
        self.burst(now, i, garp.lower_prio_repeat);
    }

    pub(crate) fn lower_priority_due(&mut self, now: Time, i: usize) {
        let repeat = self.routers[i].config.garp.lower_prio_repeat;
        self.burst(now, i, repeat);
    }

    pub(crate) fn probe_due(&mut self, now: Time, i: usize) {
        let router = &mut self.routers[i];
        router.timers.arm(Timer::Probe, now + PROBE_PERIOD);
        let router = &self.routers[i];
        for line in &router.assets.addresses {
            if let Some(item) = self.item(router, line) {
                self.prober.push(item);
            }
        }
    }

    /// Announces every address `repeat` times.
    pub(crate) fn burst(&mut self, now: Time, i: usize, repeat: u32) {
        let assets = self.routers[i].assets.clone();
        self.burst_some(now, i, repeat, &assets.addresses);
    }

    pub(crate) fn burst_some(&mut self, now: Time, i: usize, repeat: u32, lines: &[Address]) {
        let router = &self.routers[i];
        let items: Vec<(Lane, Duration, Item)> = lines
            .iter()
            .filter_map(|line| {
                let item = self.item(router, line)?;
                let (lane, pace) = self.lane(router, &item);
                Some((lane, pace, item))
            })
            .collect();
        for _ in 0..repeat {
            for (lane, pace, item) in &items {
                let command = self.announcer.push(now, *lane, *pace, *item, repeat);
                self.commands.extend(command);
            }
        }
        let count = u64::from(repeat).saturating_mul(items.len().try_into().unwrap_or(u64::MAX));
        self.routers[i].stats.garp_sent += count;
    }

    /// Nothing for an interface that is not there or has no hardware address.
    fn item(&self, router: &Router, line: &Address) -> Option<Item> {
        let name = line.interface.as_deref().unwrap_or(&router.assets.interface);
        let link = self.links.named(name)?;
        link.mac?;
        Some(Item { instance: router.id, interface: link.index, address: line.address })
    }

    fn lane(&self, router: &Router, item: &Item) -> (Lane, Duration) {
        let family = Family::of(&item.address);
        let of_family = |arp: Duration, gna: Duration| match family {
            Family::V4 => arp,
            Family::V6 => gna,
        };
        let name = self.links.link(item.interface).map(|link| link.name.as_str());
        let groups = self.config.garp_groups.iter().enumerate();
        let group =
            groups.into_iter().find(|(_, group)| group.interfaces.iter().any(|of| Some(of.as_str()) == name));
        match group {
            Some((n, group)) => {
                (Lane::Group(n, family), of_family(group.interval.duration(), group.gna_interval.duration()))
            }
            None => {
                let garp = &router.config.garp;
                let pace = of_family(garp.interval.duration(), garp.gna_interval.duration());
                (Lane::Interface(item.interface, family), pace)
            }
        }
    }

    /// Somebody says that it has an address. A master contradicts, and says so.
    pub(crate) fn claim(&mut self, now: Time, interface: u32, address: IpAddr, mac: Mac) {
        if self.links.is_own_mac(mac) {
            return;
        }
        for i in 0..self.routers.len() {
            let router = &self.routers[i];
            if !router.is_master() || now.saturating_sub(router.since) < SETTLING {
                continue;
            }
            let Some(item) = router
                .assets
                .addresses
                .iter()
                .filter(|line| line.address == address)
                .filter_map(|line| self.item(router, line))
                .find(|item| item.interface == interface || router.port.base == Some(interface))
            else {
                continue;
            };
            let router = &mut self.routers[i];
            router.stats.conflicts += 1;
            let answer =
                router.conflict.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= CLAIM_PAUSE);
            if answer {
                router.stats.garp_sent += 1;
                router.conflict = Some((now, format!("{mac} answers for {address}")));
                self.commands.push_back(item.command());
            }
            let (instance, key) = (
                router.name(),
                Key { instance: Some(router.id), kind: Kind::Conflict(address, mac), source: address },
            );
            if let Some(suppressed) = self.limiter.admit(now, key) {
                self.say(Event::Conflict { instance, address, mac, suppressed });
            }
        }
    }
}
