//! Any bytes as an advertisement, an ARP frame or a neighbour advertisement: no panic, and an advertisement that is
//! accepted says the same when it is encoded again. The first byte chooses the receiver.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use weir_model::vrrp::{Authentication, Checksum, Delivery, Family, Instance, Version};
use weir_vrrp::{
    Arrival, Decoded, Envelope, Filter, Protocol, decode, encode, gratuitous_arp, peek, read_arp, read_na,
};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let mut instance = receiver(choice);
    let protocol = if choice & 0x80 == 0 { Protocol::Vrrp } else { Protocol::Ah };
    let (source, destination) = match instance.family {
        Family::V4 => ([10, 9, 0, 1].into(), [224, 0, 0, 18].into()),
        Family::V6 => {
            (IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]), IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12]))
        }
    };
    let arrival = Arrival { interface: 1, source, destination, hop_limit: 255, bytes };
    let peeked = peek(&arrival, protocol);
    instance.vrid = peeked.map_or(1, |peek| peek.vrid);
    let filter = Filter { instance: &instance, own_addresses: &[], ah_sequence: None };
    if let Ok(decoded) = decode(&arrival, protocol, &filter) {
        assert_eq!(peeked.map(|peek| peek.vrid), Ok(decoded.advertisement.vrid));
        again(&instance, &arrival, protocol, decoded);
    }
    let _ = read_na(&arrival);
    if let Some(claim) = read_arp(bytes) {
        let IpAddr::V4(address) = claim.address else { panic!("ARP has IPv4 addresses") };
        assert_eq!(read_arp(&gratuitous_arp(claim.mac, address)), Some(claim));
    }
});

fn receiver(choice: u8) -> Instance {
    let mut instance = Instance::new("fuzz", "eth0", 1);
    if choice & 1 != 0 {
        instance.version = Version::V3;
    }
    if choice & 2 != 0 {
        instance.family = Family::V6;
        instance.delivery = Delivery::Multicast(IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12]));
    }
    if choice & 4 != 0 {
        instance.checksum = Checksum::Plain;
    }
    instance.authentication = match choice >> 3 & 3 {
        1 => Authentication::Pass("secret".to_owned()),
        2 => Authentication::Ah("secret".to_owned()),
        _ => Authentication::None,
    };
    instance
}

/// Encodes what was read as its sender would have, and reads that.
fn again(instance: &Instance, arrival: &Arrival<'_>, protocol: Protocol, decoded: Decoded) {
    let mut sender = instance.clone();
    sender.advert_interval = decoded.advertisement.interval;
    sender.checksum = decoded.checksum_form.unwrap_or(instance.checksum);
    let envelope = Envelope {
        source: arrival.source,
        destination: arrival.destination,
        hop_limit: arrival.hop_limit,
        ip_id: 1,
        ah_sequence: decoded.ah_sequence.unwrap_or_default(),
    };
    let advertisement = &decoded.advertisement;
    let (way, packet) = encode(&sender, advertisement.priority, &advertisement.addresses, &envelope);
    assert_eq!(way, protocol);
    let filter = Filter { instance: &sender, own_addresses: &[], ah_sequence: None };
    assert_eq!(decode(&Arrival { bytes: &packet, ..*arrival }, protocol, &filter), Ok(decoded));
}
