//! ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861): who has an address, said and heard.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_model::vrrp::Mac;

use super::Claim;
use super::checksum::Sum;
use crate::Arrival;

/// Of an Ethernet frame with an ARP packet, in bytes.
const ARP_LEN: usize = 42;
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet's hardware type, IPv4's protocol type and the lengths of their addresses.
const ARP_KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];

/// IP protocol number of ICMPv6.
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const ROUTER: u8 = 0x80;
/// Type, code, checksum, flags and target, in bytes.
const ND_LEN: usize = 24;
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
/// Options come in units of eight bytes.
const UNIT: usize = 8;
/// ff02::1
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An Ethernet frame that makes all neighbours learn that the address is at the hardware address: an ARP request for
/// itself, the form that RFC 9568 section 8.1.2 wants. Its target hardware address is broadcast, as keepalived's.
#[must_use]
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> [u8; ARP_LEN] {
    arp_request(mac, address, BROADCAST, address)
}

/// An Ethernet frame that asks whether somebody has the address, without a claim to it (RFC 5227 section 2.1.1).
#[must_use]
pub fn arp_probe(mac: Mac, address: Ipv4Addr) -> [u8; ARP_LEN] {
    arp_request(mac, Ipv4Addr::UNSPECIFIED, [0; 6], address)
}

fn arp_request(mac: Mac, sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> [u8; ARP_LEN] {
    let Mac(mac) = mac;
    let mut frame = [0; ARP_LEN];
    let (sender, target) = (sender.octets(), target.octets());
    let parts: [&[u8]; 9] =
        [&BROADCAST, &mac, &ETHERTYPE_ARP, &ARP_KIND, &REQUEST, &mac, &sender, &target_mac, &target];
    for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    frame
}

/// What the sender of an ARP request or reply says about itself; gratuitous ones are among them. A probe says nothing.
///
/// The frame starts with the Ethernet header. `None` for everything else.
#[must_use]
pub fn read_arp(frame: &[u8]) -> Option<Claim> {
    let packet = frame.get(12..)?.strip_prefix(&ETHERTYPE_ARP)?.strip_prefix(&ARP_KIND)?;
    let sender = packet.strip_prefix(&REQUEST).or_else(|| packet.strip_prefix(&REPLY))?;
    let [m0, m1, m2, m3, m4, m5, a, b, c, d, ..] = *sender.first_chunk::<20>()?;
    let address = Ipv4Addr::new(a, b, c, d);
    (!address.is_unspecified())
        .then_some(Claim { address: IpAddr::V4(address), mac: Mac([m0, m1, m2, m3, m4, m5]) })
}

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6), as ICMPv6 payload with its checksum. It goes to
/// ff02::1 with hop limit 255.
#[must_use]
pub fn neighbour_advertisement(source: Ipv6Addr, target: Ipv6Addr, mac: Mac, router: bool) -> Vec<u8> {
    let flags = if router { OVERRIDE | ROUTER } else { OVERRIDE };
    discovery(ADVERTISEMENT, flags, source, ALL_NODES, target, Some((TARGET_LINK, mac)))
}

/// A neighbour solicitation (RFC 4861 section 4.3), as ICMPv6 payload with its checksum. It goes to
/// [`solicited_node`] with hop limit 255. From `::` it is a probe, whose answer goes to all nodes, and names no hardware
/// address.
#[must_use]
pub fn neighbour_solicitation(source: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let option = (!source.is_unspecified()).then_some((SOURCE_LINK, mac));
    discovery(SOLICITATION, 0, source, solicited_node(target), target, option)
}

/// The group that whoever has the address listens to (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0x00ff, low)
}

fn discovery(
    kind: u8,
    flags: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    link: Option<(u8, Mac)>,
) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    if let Some((option, Mac(mac))) = link {
        message.extend([option, 1]);
        message.extend(mac);
    }
    let sum = Sum::pseudo(source.into(), destination.into(), ICMPV6, message.len()).add(&message);
    message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    message
}

/// Which address a neighbour advertisement says is where. `None` for everything else, for what RFC 4861 section 7.1.2
/// has dropped, and for one without a hardware address.
#[must_use]
pub fn read_na(arrival: &Arrival<'_>) -> Option<Claim> {
    let message = arrival.bytes;
    let sum = Sum::pseudo(arrival.source, arrival.destination, ICMPV6, message.len()).add(message);
    let (head, options) = message.split_first_chunk::<ND_LEN>()?;
    let [kind, code, _, _, _, _, _, _, octets @ ..] = *head;
    let target = Ipv6Addr::from(octets);
    let valid = arrival.hop_limit == u8::MAX
        && (kind, code) == (ADVERTISEMENT, 0)
        && sum.checksum() == 0
        && !target.is_multicast();
    let mac = target_link(options)?;
    valid.then_some(Claim { address: IpAddr::V6(target), mac })
}

/// `None` as well if any option is malformed: then the whole message counts for nothing.
fn target_link(mut options: &[u8]) -> Option<Mac> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * UNIT;
        if len == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(len)?;
        if let (TARGET_LINK, [_, _, mac @ ..]) = (kind, option) {
            found = mac.try_into().ok().map(Mac).or(found);
        }
        options = rest;
    }
    options.is_empty().then_some(found)?
}
