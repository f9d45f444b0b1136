//! One host: a node, the kernel that holds its addresses, and what the shell between them does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_model::vrrp::{Mac, Vrrp};
use weir_vrrp::{Arrival, Assets, Finding, Link, Node, Protocol, State, Time, Tracker};

pub(crate) const INTERFACE: u32 = 7;
pub(crate) const NAME: &str = "lan0";

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) protocol: Protocol,
    pub(crate) bytes: Vec<u8>,
}

/// What waits for a process that does not run.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    Packet(Packet),
    Gone(IpAddr),
    Finding(Finding),
}

pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) config: Arc<Vrrp>,
    pub(crate) address: IpAddr,
    pub(crate) link_up: bool,
    pub(crate) script_up: bool,
    pub(crate) stalled_until: Option<Time>,
    pub(crate) stalled_at: Time,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Addresses on the interface, and when the kernel takes them away.
    pub(crate) kernel: BTreeMap<IpAddr, Option<Time>>,
    /// What the node was told to hold for each instance.
    pub(crate) holds: BTreeMap<u32, BTreeSet<IpAddr>>,
    /// Addresses of a predecessor that were told to the node.
    pub(crate) adopted: BTreeSet<u32>,
    /// What the node said of each instance.
    pub(crate) states: Vec<State>,
}

impl Host {
    pub(crate) fn new(config: Arc<Vrrp>, address: IpAddr) -> Self {
        Self {
            node: None,
            config,
            address,
            link_up: true,
            script_up: true,
            stalled_until: None,
            stalled_at: Time::ZERO,
            waiting: VecDeque::new(),
            kernel: BTreeMap::new(),
            holds: BTreeMap::new(),
            adopted: BTreeSet::new(),
            states: Vec::new(),
        }
    }

    /// The process runs, and gets time.
    pub(crate) fn runs(&self) -> bool {
        self.node.is_some() && self.stalled_until.is_none()
    }

    pub(crate) fn start(&mut self, now: Time) {
        let mut node = Node::new(Arc::clone(&self.config), now);
        self.adopted.clear();
        for (id, instance) in (0..).zip(&self.config.instances) {
            if instance.addresses.iter().any(|line| self.kernel.contains_key(&line.address)) {
                node.adopt(&instance.name);
                self.adopted.insert(id);
            }
        }
        self.states = vec![State::Init; self.config.instances.len()];
        self.holds.clear();
        self.waiting.clear();
        self.stalled_until = None;
        node.handle_link(now, self.link());
        self.node = Some(node);
    }

    pub(crate) fn link(&self) -> Link {
        let last = match self.address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        Link {
            index: INTERFACE,
            name: NAME.to_owned(),
            up: self.link_up,
            mac: Some(Mac([2, 0, 0, 0, 0, last])),
            mtu: 1500,
            addresses: vec![self.address],
        }
    }

    pub(crate) fn is_master(&self, instance: usize) -> bool {
        self.node.is_some() && self.states.get(instance) == Some(&State::Master)
    }

    /// It was master and did not run for longer than the fastest peer waits.
    pub(crate) fn overslept(&self, now: Time) -> bool {
        let Some(instance) = self.config.instances.first() else { return false };
        let interval = instance.advert_interval.duration();
        let skew = interval.max(Duration::from_secs(1)) / 128;
        self.is_master(0) && now.saturating_sub(self.stalled_at) > interval * 3 + skew
    }

    /// It could be master, as far as it can know.
    pub(crate) fn is_eligible(&self) -> bool {
        self.runs() && self.link_up && self.script_up
    }

    pub(crate) fn note_state(&mut self, name: &str, state: State) {
        let place = self.config.instances.iter().position(|instance| instance.name == name);
        if let Some(slot) = place.and_then(|place| self.states.get_mut(place)) {
            *slot = state;
        }
    }

    pub(crate) fn deliver(&mut self, now: Time, what: Waiting) {
        if self.stalled_until.is_some() {
            // A socket's buffer is bounded.
            if self.waiting.len() < 64 {
                self.waiting.push_back(what);
            }
            return;
        }
        let Some(node) = &mut self.node else { return };
        match what {
            Waiting::Packet(packet) => {
                let arrival = Arrival {
                    interface: INTERFACE,
                    source: packet.source,
                    destination: packet.destination,
                    hop_limit: packet.hop_limit,
                    bytes: &packet.bytes,
                };
                node.handle_packet(now, arrival, packet.protocol);
            }
            Waiting::Gone(address) => node.handle_address_gone(now, NAME, address, None),
            Waiting::Finding(finding) => {
                node.handle_tracker(now, &Tracker::Script("chk".to_owned()), finding)
            }
        }
    }

    /// Puts addresses on the interface. `late` is how much later than its end a lease is found to be over.
    pub(crate) fn hold(&mut self, now: Time, assets: &Assets, late: Duration) {
        for line in &assets.addresses {
            let end = assets.lease.map(|lease| now + Duration::from_secs(lease.seconds.into()) + late);
            self.kernel.insert(line.address, end);
        }
    }

    pub(crate) fn release(&mut self, assets: &Assets, clings: bool) {
        for line in &assets.addresses {
            if self.kernel.remove(&line.address).is_some() && clings {
                self.kernel.insert(line.address, None);
            }
        }
    }

    /// Leases that are over by now.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<IpAddr> {
        let over: Vec<IpAddr> = self
            .kernel
            .iter()
            .filter(|(_, end)| end.is_some_and(|end| end <= now))
            .map(|(address, _)| *address)
            .collect();
        for address in &over {
            self.kernel.remove(address);
        }
        over
    }

    pub(crate) fn next(&self) -> Option<Time> {
        let lease = self.kernel.values().flatten().min().copied();
        let node = match (&self.node, self.stalled_until) {
            (Some(_), Some(until)) => Some(until),
            (Some(node), None) => node.poll_timeout(),
            (None, _) => None,
        };
        lease.into_iter().chain(node).min()
    }
}
