//! Hosts on one network, with virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_vrrp::{Command, Event, Finding, Protocol, Time};

use super::check::{Check, Violation};
use super::host::{Host, Packet, Waiting};
use super::rng::Rng;
use super::scene::{Mutation, Scene};

/// How the network is at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) delay: (Duration, Duration),
    /// percent
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// From whom nothing reaches whom.
    pub(crate) blocked: Vec<(usize, usize)>,
}

impl Network {
    pub(crate) fn reliable() -> Self {
        Self {
            delay: (Duration::from_micros(50), Duration::from_millis(3)),
            loss: 0,
            duplicates: 0,
            blocked: Vec::new(),
        }
    }
}

struct Flight {
    to: usize,
    packet: Packet,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) scene: Scene,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) check: Check,
    /// Who may not speak, as a peer may have taken over.
    overslept: Option<usize>,
    /// What happened, if it is wanted.
    pub(crate) trace: Option<Vec<String>>,
    flights: BinaryHeap<Reverse<(Time, u64)>>,
    cargo: std::collections::HashMap<u64, Flight>,
    count: u64,
}

impl World {
    pub(crate) fn new(scene: Scene, rng: Rng, trace: bool) -> Self {
        let hosts: Vec<Host> =
            scene.hosts.iter().map(|(config, address)| Host::new(Arc::clone(config), *address)).collect();
        let check = Check::new(&scene);
        Self {
            // Machines have been up for a while.
            now: Duration::from_secs(1000),
            rng,
            scene,
            hosts,
            network: Network::reliable(),
            check,
            overslept: None,
            trace: trace.then(Vec::new),
            flights: BinaryHeap::new(),
            cargo: std::collections::HashMap::new(),
            count: 0,
        }
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:10.4} {}", self.now.as_secs_f64() - 1000.0, text()));
        }
    }

    pub(crate) fn note_scene(&mut self) {
        for host in 0..self.hosts.len() {
            let (address, config) = (self.hosts[host].address, Arc::clone(&self.hosts[host].config));
            for instance in &config.instances {
                self.note(|| format!("host {host} at {address}: {instance:?}"));
            }
        }
    }

    pub(crate) fn start(&mut self, host: usize) -> Result<(), Violation> {
        self.note(|| format!("host {host} starts"));
        self.hosts[host].start(self.now);
        self.report(host);
        self.settle(host)
    }

    /// The script of a host says how it is.
    pub(crate) fn report(&mut self, host: usize) {
        let finding = if self.hosts[host].script_up {
            Finding::Up
        } else {
            Finding::Down("exited with code 1".to_owned())
        };
        self.hosts[host].deliver(self.now, Waiting::Finding(finding));
    }

    /// Lets time pass, event by event.
    pub(crate) fn run(&mut self, until: Time) -> Result<(), Violation> {
        loop {
            let flight = self.flights.peek().map(|Reverse((at, _))| *at);
            let next = self.hosts.iter().filter_map(Host::next).chain(flight).min();
            let next = next.unwrap_or(Time::MAX).max(self.now);
            self.now = next.min(until);
            self.check.verify(self.now)?;
            if next > until {
                return Ok(());
            }
            self.land()?;
            for host in 0..self.hosts.len() {
                self.tick(host)?;
            }
            self.look();
        }
    }

    /// What counts from now on.
    pub(crate) fn look(&mut self) {
        self.check.look(self.now, &self.hosts);
    }

    fn land(&mut self) -> Result<(), Violation> {
        while let Some(Reverse((_, id))) =
            self.flights.peek().copied().filter(|Reverse((at, _))| *at <= self.now)
        {
            self.flights.pop();
            let Some(Flight { to, packet }) = self.cargo.remove(&id) else { continue };
            if !self.hosts[to].link_up || self.scene.mutation == Mutation::Deaf(to) {
                continue;
            }
            self.hosts[to].deliver(self.now, Waiting::Packet(packet));
            self.settle(to)?;
        }
        Ok(())
    }

    fn tick(&mut self, host: usize) -> Result<(), Violation> {
        let now = self.now;
        if self.hosts[host].next().is_none_or(|next| next > now) {
            return Ok(());
        }
        for address in self.hosts[host].expire(now) {
            self.note(|| format!("host {host}: the kernel ends the lease of {address}"));
            self.hosts[host].deliver(now, Waiting::Gone(address));
            self.settle(host)?;
        }
        if self.hosts[host].stalled_until.is_some_and(|until| until <= now) {
            self.resume(host)?;
        }
        if self.hosts[host].runs()
            && let Some(node) = &mut self.hosts[host].node
            && node.poll_timeout().is_some_and(|at| at <= now)
        {
            node.handle_timeout(now);
            self.settle(host)?;
        }
        Ok(())
    }

    /// A process runs again: its timers and what waits for it come in any order.
    pub(crate) fn resume(&mut self, host: usize) -> Result<(), Violation> {
        self.note(|| format!("host {host} runs again"));
        self.hosts[host].stalled_until = None;
        self.overslept = self.hosts[host].overslept(self.now).then_some(host);
        // What it reads now was sent long ago, and it listens anew.
        self.check.disturb();
        if self.rng.percent(50)
            && let Some(node) = &mut self.hosts[host].node
        {
            node.handle_timeout(self.now);
            self.settle(host)?;
        }
        for what in std::mem::take(&mut self.hosts[host].waiting) {
            self.hosts[host].deliver(self.now, what);
            self.settle(host)?;
        }
        self.overslept = None;
        Ok(())
    }

    /// Does what a node says, and checks that it makes sense.
    pub(crate) fn settle(&mut self, host: usize) -> Result<(), Violation> {
        let mut spoke = Vec::new();
        let mut holds: Vec<u32> = self.hosts[host].holds.keys().copied().collect();
        while let Some(command) = self.hosts[host].node.as_mut().and_then(weir_vrrp::Node::poll_command) {
            match command {
                Command::Send { instance, source, destination, hop_limit, protocol, packet, .. } => {
                    if priority(source, protocol, &packet) > 0 {
                        spoke.push(instance.0);
                    }
                    self.send(host, Packet { source, destination, hop_limit, protocol, bytes: packet });
                }
                Command::Hold { instance, assets } => {
                    let late = self.rng.between(Duration::ZERO, Duration::from_millis(350));
                    self.note(|| format!("host {host}: instance {} holds", instance.0));
                    self.hosts[host].hold(self.now, &assets, late);
                    let held = self.hosts[host].holds.entry(instance.0).or_default();
                    held.extend(assets.addresses.iter().map(|line| line.address));
                    holds.push(instance.0);
                }
                Command::Renew { instance, assets } => {
                    let late = self.rng.between(Duration::ZERO, Duration::from_millis(350));
                    self.known(host, instance.0, "renews")?;
                    self.hosts[host].hold(self.now, &assets, late);
                }
                Command::Release { instance, assets } => self.release(host, instance.0, &assets)?,
                // A host may always say where it is itself.
                Command::Announce { address, .. } if address == self.hosts[host].address => {}
                Command::Announce { instance, .. } | Command::Probe { instance, .. } => {
                    self.known(host, instance.0, "announces")?;
                }
                Command::Event(event) => {
                    if let Event::Transition { instance, to, .. } = &event {
                        self.hosts[host].note_state(instance, *to);
                    }
                    self.note(|| format!("host {host}: {event}"));
                }
                Command::Notify(_) => {}
            }
        }
        if self.overslept == Some(host) && !spoke.is_empty() {
            return Err(Violation::new(
                self.now,
                format!("host {host} speaks before it listens after a stall"),
            ));
        }
        match spoke.iter().find(|instance| !holds.contains(instance)) {
            Some(instance) => Err(Violation::new(
                self.now,
                format!("host {host}: instance {instance} advertises but holds nothing"),
            )),
            None => Ok(()),
        }
    }

    fn known(&self, host: usize, instance: u32, what: &str) -> Result<(), Violation> {
        if self.hosts[host].holds.contains_key(&instance) {
            return Ok(());
        }
        Err(Violation::new(
            self.now,
            format!("host {host}: instance {instance} {what} what it does not hold"),
        ))
    }

    fn release(&mut self, host: usize, instance: u32, assets: &weir_vrrp::Assets) -> Result<(), Violation> {
        if !self.hosts[host].adopted.remove(&instance) {
            self.known(host, instance, "releases")?;
        }
        self.note(|| format!("host {host}: instance {instance} releases"));
        if let Some(held) = self.hosts[host].holds.get_mut(&instance) {
            held.retain(|address| assets.addresses.iter().all(|line| line.address != *address));
            if held.is_empty() {
                self.hosts[host].holds.remove(&instance);
            }
        }
        let clings = self.scene.mutation == Mutation::Clinging;
        self.hosts[host].release(assets, clings);
        Ok(())
    }

    fn send(&mut self, from: usize, packet: Packet) {
        if !self.hosts[from].link_up {
            return;
        }
        for to in 0..self.hosts.len() {
            let meant = packet.destination.is_multicast() || packet.destination == self.hosts[to].address;
            if to == from || !meant || self.network.blocked.contains(&(from, to)) {
                continue;
            }
            let copies = if self.rng.percent(self.network.duplicates) { 2 } else { 1 };
            for _ in 0..copies {
                if self.rng.percent(self.network.loss) {
                    continue;
                }
                let (least, most) = self.network.delay;
                let at = self.now + self.rng.between(least, most);
                self.count += 1;
                self.flights.push(Reverse((at, self.count)));
                self.cargo.insert(self.count, Flight { to, packet: packet.clone() });
            }
        }
    }
}

/// The priority in an advertisement.
pub(crate) fn priority(source: IpAddr, protocol: Protocol, packet: &[u8]) -> u8 {
    let header = match (source, protocol) {
        (IpAddr::V6(_), _) => 0,
        (IpAddr::V4(_), Protocol::Vrrp) => 20,
        (IpAddr::V4(_), Protocol::Ah) => 44,
    };
    packet[header + 2]
}
