//! Advertisements as they are sent.

use std::net::{IpAddr, Ipv4Addr};

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Checksum, Family, Instance, Version};

use super::checksum::Sum;
use super::{
    ADVERTISEMENT, AH, AUTH_LEN, Envelope, HEADER_LEN, VRRP, ah, auth_type, authentication, secret,
    version_number,
};
use crate::Protocol;

/// Without options, in bytes.
const IP_LEN: usize = 20;
/// Internetwork control (RFC 2474 class selector 6).
const TOS: u8 = 0xc0;

/// An advertisement of the instance. IPv4: the whole packet with its IP header; IPv6: the payload with its checksum.
///
/// Addresses of another family than the source's are left out, and so are those after the 255th, as the count is one
/// byte (RFC 9568 section 5.2.5).
#[must_use]
pub fn encode(
    instance: &Instance,
    priority: u8,
    addresses: &[IpAddr],
    envelope: &Envelope,
) -> (Protocol, Vec<u8>) {
    let payload = payload(instance, priority, addresses, envelope);
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (envelope.source, envelope.destination) else {
        return (Protocol::Vrrp, payload);
    };
    match authentication(instance) {
        Authentication::Ah(password) => {
            let body = [&ah::Header::unsigned(source, envelope.ah_sequence)[..], &payload].concat();
            let mut packet = ip_packet(source, destination, AH, envelope, &body);
            ah::sign(&mut packet, IP_LEN, password, destination.is_multicast());
            (Protocol::Ah, packet)
        }
        _ => (Protocol::Vrrp, ip_packet(source, destination, VRRP, envelope, &payload)),
    }
}

/// The fixed header, the addresses and the authentication data (RFC 9568 section 5.2, RFC 3768 section 5.3).
fn payload(instance: &Instance, priority: u8, addresses: &[IpAddr], envelope: &Envelope) -> Vec<u8> {
    let family = Family::of(&envelope.source);
    let list = || addresses.iter().filter(|address| Family::of(address) == family).take(usize::from(u8::MAX));
    let count = u8::try_from(list().count()).expect("the list has at most 255");
    let kind = version_number(instance.version) << 4 | ADVERTISEMENT;
    let [high, low] = interval(instance);
    let mut payload = vec![kind, instance.vrid, priority, count, high, low, 0, 0];
    for address in list() {
        match address {
            IpAddr::V4(address) => payload.extend(address.octets()),
            IpAddr::V6(address) => payload.extend(address.octets()),
        }
    }
    if (instance.version, family) == (Version::V2, Family::V4) {
        payload.extend(match authentication(instance) {
            Authentication::Pass(password) => secret(password),
            _ => [0; AUTH_LEN],
        });
    }
    let sum = start(instance, family, envelope, payload.len()).add(&payload);
    payload[HEADER_LEN - 2..HEADER_LEN].copy_from_slice(&sum.checksum().to_be_bytes());
    payload
}

/// Authentication type and seconds in version 2, centiseconds below four reserved bits in version 3.
fn interval(instance: &Instance) -> [u8; 2] {
    let Micros(micros) = instance.advert_interval;
    match instance.version {
        Version::V2 => {
            let seconds = u8::try_from(micros / 1_000_000).unwrap_or(u8::MAX);
            [auth_type(authentication(instance)), seconds]
        }
        Version::V3 => u16::try_from(micros / 10_000).unwrap_or(u16::MAX).min(0x0fff).to_be_bytes(),
    }
}

/// The sum that the payload's is added to: the pseudo header where there is one.
fn start(instance: &Instance, family: Family, envelope: &Envelope, length: usize) -> Sum {
    match (family, instance.version, instance.checksum) {
        (Family::V4, Version::V2, _) | (Family::V4, Version::V3, Checksum::Plain) => Sum::default(),
        _ => Sum::pseudo(envelope.source, envelope.destination, VRRP, length),
    }
}

/// Puts an IP header in front (RFC 791 section 3.1).
fn ip_packet(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    envelope: &Envelope,
    body: &[u8],
) -> Vec<u8> {
    let total = u16::try_from(IP_LEN + body.len()).expect("255 addresses fit in an IP packet");
    let mut packet = Vec::with_capacity(usize::from(total));
    packet.extend([0x45, TOS]);
    packet.extend(total.to_be_bytes());
    packet.extend(envelope.ip_id.to_be_bytes());
    packet.extend([0, 0, envelope.hop_limit, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let checksum = Sum::default().add(&packet).checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(body);
    packet
}
