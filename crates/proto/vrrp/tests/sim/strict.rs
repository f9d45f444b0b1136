//! A router as keepalived is up to 2.3.2: it drops advertisements whose addresses are not its own.

use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::Instance;
use weir_vrrp::{Arrival, Envelope, Filter, Protocol, Time, decode, encode};

use super::host::{INTERFACE, Packet};

pub(crate) struct Strict {
    pub(crate) config: Instance,
    pub(crate) address: IpAddr,
    pub(crate) is_master: bool,
    /// When it advertises, or takes over.
    pub(crate) next: Time,
    pub(crate) dropped: u64,
}

impl Strict {
    pub(crate) fn new(now: Time, config: Instance, address: IpAddr) -> Self {
        let mut router = Self { config, address, is_master: false, next: now, dropped: 0 };
        router.listen(now);
        router
    }

    fn listen(&mut self, now: Time) {
        let skew = Duration::from_secs(1) * (256 - u32::from(self.config.priority)) / 256;
        self.is_master = false;
        self.next = now + self.config.advert_interval.duration() * 3 + skew;
    }

    fn list(&self) -> Vec<IpAddr> {
        self.config.addresses.iter().map(|line| line.address).collect()
    }

    pub(crate) fn advertise(&mut self, now: Time) -> Packet {
        let destination = "224.0.0.18".parse().expect("a literal");
        let source = self.address;
        let envelope = Envelope { source, destination, hop_limit: 255, ip_id: 1, ah_sequence: 1 };
        let (protocol, bytes) = encode(&self.config, self.config.priority, &self.list(), &envelope);
        self.is_master = true;
        self.next = now + self.config.advert_interval.duration();
        Packet { source, destination, hop_limit: 255, protocol, bytes }
    }

    /// What it answers.
    pub(crate) fn hear(&mut self, now: Time, packet: &Packet) -> Option<Packet> {
        let arrival = Arrival {
            interface: INTERFACE,
            source: packet.source,
            destination: packet.destination,
            hop_limit: packet.hop_limit,
            bytes: &packet.bytes,
        };
        let filter = Filter { instance: &self.config, own_addresses: &[self.address], ah_sequence: None };
        let advert = decode(&arrival, Protocol::Vrrp, &filter).expect("a valid packet").advertisement;
        if advert.addresses != self.list() {
            self.dropped += 1;
            return None;
        }
        let outranks = (advert.priority, packet.source) > (self.config.priority, self.address);
        match (self.is_master, outranks) {
            (true, true) => self.listen(now),
            (true, false) => return Some(self.advertise(now)),
            (false, _) if advert.priority >= self.config.priority => self.listen(now),
            (false, _) => {}
        }
        None
    }
}
