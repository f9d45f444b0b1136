mod checks;
mod golden;
mod neighbour;
mod properties;

use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{
    Address, Authentication, Checksum, Delivery, Family, Instance, Unicast, UnicastPeer, Version,
};

use super::{Decoded, Defect, Envelope, Filter, decode, encode};
use crate::{Arrival, Protocol};

/// Spaces are for the eye.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn addresses(instance: &Instance) -> Vec<IpAddr> {
    instance.addresses.iter().map(|line| line.address).collect()
}

fn instance(vrid: u8, version: Version, list: &[&str]) -> Instance {
    let mut instance = Instance::new("web", "eth0", vrid);
    instance.version = version;
    instance.addresses = list.iter().map(|address| Address::new(ip(address))).collect();
    if list.iter().any(|address| address.contains(':')) {
        instance.family = Family::V6;
        instance.delivery = Delivery::Multicast(ip("ff02::12"));
    }
    instance
}

fn unicast(mut instance: Instance, peer: &str) -> Instance {
    let peers = vec![UnicastPeer { address: ip(peer), min_ttl: 0, max_ttl: 255 }];
    instance.delivery =
        Delivery::Unicast(Unicast { peers, ttl: 255, check_source: false, fault_without_peer: false });
    instance
}

fn envelope(source: &str, destination: &str) -> Envelope {
    Envelope { source: ip(source), destination: ip(destination), hop_limit: 255, ip_id: 1, ah_sequence: 1 }
}

fn arrival<'a>(envelope: &Envelope, bytes: &'a [u8]) -> Arrival<'a> {
    Arrival {
        interface: 2,
        source: envelope.source,
        destination: envelope.destination,
        hop_limit: envelope.hop_limit,
        bytes,
    }
}

fn filter(instance: &Instance) -> Filter<'_> {
    Filter { instance, own_addresses: &[], ah_sequence: None }
}

/// One virtual router and the way of its packets.
struct Case {
    instance: Instance,
    envelope: Envelope,
}

impl Case {
    fn packet(&self) -> (Protocol, Vec<u8>) {
        encode(&self.instance, self.instance.priority, &addresses(&self.instance), &self.envelope)
    }

    fn decode(&self, protocol: Protocol, bytes: &[u8]) -> Result<Decoded, Defect> {
        decode(&arrival(&self.envelope, bytes), protocol, &filter(&self.instance))
    }
}

const GROUP: &str = "224.0.0.18";
const SOURCE: &str = "10.9.0.1";

fn v2_none() -> Case {
    Case {
        instance: instance(11, Version::V2, &["10.9.0.11", "10.9.0.111"]),
        envelope: envelope(SOURCE, GROUP),
    }
}

fn v2_pass() -> Case {
    let mut instance = instance(12, Version::V2, &["10.9.0.12"]);
    instance.authentication = Authentication::Pass("secret12".to_owned());
    Case { instance, envelope: envelope(SOURCE, GROUP) }
}

fn v2_ah() -> Case {
    let mut instance = instance(13, Version::V2, &["10.9.0.13"]);
    instance.authentication = Authentication::Ah("secret12".to_owned());
    Case { instance, envelope: envelope(SOURCE, GROUP) }
}

fn v2_unicast() -> Case {
    let instance = unicast(instance(17, Version::V2, &["10.9.0.17"]), SOURCE);
    Case { instance, envelope: envelope(SOURCE, "10.9.0.2") }
}

fn v3_ipv4() -> Case {
    let mut instance = instance(14, Version::V3, &["10.9.0.14"]);
    instance.advert_interval = Micros(500_000);
    Case { instance, envelope: envelope(SOURCE, GROUP) }
}

fn v3_plain() -> Case {
    let mut case = v3_ipv4();
    case.instance.checksum = Checksum::Plain;
    case
}

fn v3_unicast() -> Case {
    let instance = unicast(instance(18, Version::V3, &["10.9.0.18"]), SOURCE);
    Case { instance, envelope: envelope(SOURCE, "10.9.0.2") }
}

fn v3_ipv6() -> Case {
    let mut instance = instance(16, Version::V3, &["fe80::16", "fd00::16"]);
    instance.advert_interval = Micros(500_000);
    Case { instance, envelope: envelope("fe80::ff:fe00:1", "ff02::12") }
}
