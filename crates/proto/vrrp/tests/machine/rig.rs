//! One node under test.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_model::Micros;
use weir_model::vrrp::{Address, Delivery, Family, Instance, Mac, Script, Track, TrackScript, Vrrp};
use weir_vrrp::{
    Arrival, Command, Envelope, Filter, Finding, InstanceStatus, Link, Node, Protocol, State, Subject, Time,
    Tracker, decode, encode,
};

pub(super) const OWN: &str = "10.0.0.2";
pub(super) const LOWER: &str = "10.0.0.1";
pub(super) const HIGHER: &str = "10.0.0.3";
pub(super) const VIP: &str = "10.0.0.9";

pub(super) struct Rig {
    pub(super) node: Node,
    pub(super) now: Time,
    pub(super) config: Vrrp,
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

pub(super) fn link(index: u32, name: &str, up: bool, addresses: &[&str]) -> Link {
    let last = u8::try_from(index).expect("small");
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Link { index, name: name.to_owned(), up, mac: Some(mac(last)), mtu: 1500, addresses }
}

/// `web` on eth0 with priority 100 and one address, version 2, one second.
pub(super) fn web() -> Instance {
    let mut instance = Instance::new("web", "eth0", 51);
    instance.addresses.push(Address::new(ip(VIP)));
    instance
}

pub(super) fn one(instance: Instance) -> Vrrp {
    Vrrp { instances: vec![instance], ..Vrrp::default() }
}

pub(super) fn track(name: &str, weight: i32) -> Track {
    Track { name: name.to_owned(), weight, reverse: false }
}

pub(super) fn script(path: &str) -> Script {
    Script { argv: vec![path.to_owned()], user: None }
}

pub(super) fn track_script(name: &str) -> TrackScript {
    TrackScript {
        name: name.to_owned(),
        script: script("/usr/bin/check"),
        interval: Micros::from_secs(1),
        timeout: Micros::from_secs(1),
        weight: 0,
        reverse: false,
        rise: 1,
        fall: 1,
        init_fail: false,
    }
}

pub(super) fn down() -> Finding {
    Finding::Down("exited with code 1".to_owned())
}

/// A node with that configuration, ten seconds after the start of the machine, that knows no interface yet.
pub(super) fn bare(config: Vrrp) -> Rig {
    let now = Duration::from_secs(10);
    Rig { node: Node::new(Arc::new(config.clone()), now), now, config }
}

/// The same with eth0 up; what it did so far is forgotten.
pub(super) fn rig(config: Vrrp) -> Rig {
    let mut rig = bare(config);
    rig.link(true);
    rig.took();
    rig
}

/// The same as master since a moment, with no timer of the change but the advertisements' and the leases'.
pub(super) fn master(config: Vrrp) -> Rig {
    let mut rig = rig(config);
    rig.wait(ms(6000));
    rig.took();
    assert_eq!(rig.state(), State::Master);
    rig
}

impl Rig {
    pub(super) fn link(&mut self, up: bool) {
        self.node.handle_link(self.now, link(2, "eth0", up, &[OWN, "fe80::2"]));
    }

    pub(super) fn status(&self) -> InstanceStatus {
        self.node.status(self.now).instances.remove(0)
    }

    pub(super) fn state(&self) -> State {
        self.status().state
    }

    /// Lets time pass, with every timeout at its moment.
    pub(super) fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.node.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// The process does not run for so long, and then its timers are due.
    pub(super) fn stall(&mut self, span: Duration) {
        self.now += span;
        self.node.handle_timeout(self.now);
    }

    pub(super) fn script(&mut self, name: &str, finding: Finding) {
        self.node.handle_tracker(self.now, &Tracker::Script(name.to_owned()), finding);
    }

    /// A peer with the configuration of the first instance advertises.
    pub(super) fn hear(&mut self, source: &str, priority: u8) {
        let instance = self.config.instances[0].clone();
        self.hear_as(&instance, source, priority);
    }

    pub(super) fn hear_as(&mut self, peer: &Instance, source: &str, priority: u8) {
        let list: Vec<IpAddr> = peer.addresses.iter().map(|line| line.address).collect();
        let destination = match &peer.delivery {
            Delivery::Multicast(group) => *group,
            Delivery::Unicast(_) => ip(OWN),
        };
        let source = ip(source);
        let envelope = Envelope { source, destination, hop_limit: 255, ip_id: 1, ah_sequence: 1 };
        let (protocol, bytes) = encode(peer, priority, &list, &envelope);
        self.arrive(2, source, destination, &bytes, protocol);
    }

    pub(super) fn arrive(
        &mut self,
        interface: u32,
        source: IpAddr,
        destination: IpAddr,
        bytes: &[u8],
        protocol: Protocol,
    ) {
        let arrival = Arrival { interface, source, destination, hop_limit: 255, bytes };
        self.node.handle_packet(self.now, arrival, protocol);
    }

    /// What it did since the last time, one line for each command; announcements of one address in a row are one line.
    pub(super) fn took(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut row = 0;
        while let Some(command) = self.node.poll_command() {
            let line = self.line(&command);
            let base = line.clone();
            match lines.last_mut() {
                Some(last) if base.starts_with("announce") && last.starts_with(&base) => {
                    row += 1;
                    *last = format!("{base} x{row}");
                }
                _ => {
                    row = 1;
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Only the lines that begin so.
    pub(super) fn took_only(&mut self, start: &str) -> Vec<String> {
        self.took().into_iter().filter(|line| line.starts_with(start)).collect()
    }

    fn line(&self, command: &Command) -> String {
        let list = |assets: &weir_vrrp::Assets| {
            assets.addresses.iter().map(|line| line.address.to_string()).collect::<Vec<_>>().join(" ")
        };
        match command {
            Command::Send { instance, interface, source, destination, hop_limit, protocol, packet } => {
                let arrival = Arrival {
                    interface: *interface,
                    source: *source,
                    destination: *destination,
                    hop_limit: *hop_limit,
                    bytes: packet,
                };
                self.advert(instance.0, &arrival, *protocol)
            }
            Command::Hold { assets, .. } => format!("hold {}", list(assets)),
            Command::Renew { assets, .. } => format!("renew {}", list(assets)),
            Command::Release { assets, .. } => format!("release {}", list(assets)),
            Command::Announce { interface, address, .. } => format!("announce {address} on {interface}"),
            Command::Probe { address, .. } => format!("probe {address}"),
            Command::Notify(notice) => {
                let (kind, name) = match &notice.subject {
                    Subject::Instance(name) => ("instance", name),
                    Subject::Group(name) => ("group", name),
                };
                format!("notify {kind} {name} {} {}", notice.state.word(), notice.priority)
            }
            Command::Event(event) => format!("event {event}"),
        }
    }

    /// An advertisement as its receiver reads it.
    fn advert(&self, instance: u32, arrival: &Arrival<'_>, protocol: Protocol) -> String {
        let status = self.node.status(self.now);
        let config = status.instances.iter().find(|one| one.id.0 == instance).map(|one| one.config.clone());
        let mut config = (*config.expect("a configured instance")).clone();
        if let Delivery::Unicast(unicast) = &mut config.delivery {
            unicast.check_source = false;
        }
        let filter = Filter { instance: &config, own_addresses: &[], ah_sequence: None };
        let advert = decode(arrival, protocol, &filter).expect("what it sends is valid").advertisement;
        let own: Vec<IpAddr> = config.addresses.iter().map(|line| line.address).collect();
        let mut line = format!("advert {} {}", config.name, advert.priority);
        if let Delivery::Unicast(_) = config.delivery {
            line += &format!(" to {}", arrival.destination);
        }
        if advert.addresses != own {
            let list: Vec<String> = advert.addresses.iter().map(IpAddr::to_string).collect();
            line += &format!(" with {}", list.join(" "));
        }
        if arrival.interface != 2 {
            line += &format!(" by {}", arrival.interface);
        }
        line
    }
}

pub(super) fn v3(mut instance: Instance, interval: Duration) -> Instance {
    instance.version = weir_model::vrrp::Version::V3;
    instance.advert_interval = Micros(u64::try_from(interval.as_micros()).expect("short"));
    instance
}

pub(super) fn v6(mut instance: Instance) -> Instance {
    instance.family = Family::V6;
    instance.delivery = Delivery::Multicast(ip("ff02::12"));
    instance.addresses = vec![Address::new(ip("fe80::9"))];
    v3(instance, ms(1000))
}
