//! Advertisements as they are received, and every check that they have to pass.

use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Checksum, Delivery, Family, Instance, Version};

use super::checksum::Sum;
use super::{
    ADVERTISEMENT, AUTH_AH, AUTH_LEN, AUTH_NONE, AUTH_PASS, Advertisement, Decoded, Defect, Filter,
    HEADER_LEN, Peek, VRRP, ah, auth_type, authentication, secret, version_number,
};
use crate::{Arrival, Protocol};

/// Without options, in bytes.
const IP_LEN: usize = 20;

/// Reads whose packet it is, without a judgement of the rest.
///
/// # Errors
///
/// [`Defect::Length`] if the packet ends before that, [`Defect::AhNextHeader`] if it is no packet of VRRP.
pub fn peek(arrival: &Arrival<'_>, protocol: Protocol) -> Result<Peek, Defect> {
    let header = Frame::open(arrival, protocol)?.header;
    Ok(Peek { version: header.version, vrid: header.vrid })
}

/// Reads an advertisement for the virtual router of the filter. The checks come in keepalived's order; that an address
/// list differs from one's own is none of them.
///
/// # Errors
///
/// The first check that the packet does not pass.
pub fn decode(arrival: &Arrival<'_>, protocol: Protocol, filter: &Filter<'_>) -> Result<Decoded, Defect> {
    let instance = filter.instance;
    check_origin(arrival, protocol, filter)?;
    let frame = Frame::open(arrival, protocol)?;
    let header = &frame.header;
    frame.check_length()?;
    check_header(header, arrival, instance)?;
    let ah_sequence = frame.authenticate(arrival, filter)?;
    let interval = interval(header, instance)?;
    if header.kind != ADVERTISEMENT {
        return Err(Defect::Type(header.kind));
    }
    let checksum_form = frame.check_sum(arrival, instance)?;
    check_delivery(arrival, instance)?;
    if instance.version == Version::V3 && header.count == 0 && !instance.addresses.is_empty() {
        return Err(Defect::NoAddresses { expected: instance.addresses.len() });
    }
    check_peer(arrival, instance)?;
    let advertisement = Advertisement {
        version: instance.version,
        vrid: header.vrid,
        priority: header.priority,
        interval,
        addresses: frame.addresses(),
    };
    Ok(Decoded { advertisement, checksum_form, ah_sequence })
}

/// The fixed fields.
#[derive(Clone, Copy)]
struct Header {
    version: u8,
    kind: u8,
    vrid: u8,
    priority: u8,
    count: u8,
    /// Authentication type and seconds, or centiseconds.
    interval: [u8; 2],
}

impl Header {
    fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let [kind, vrid, priority, count, high, low, _, _] = *bytes;
        Self { version: kind >> 4, kind: kind & 0x0f, vrid, priority, count, interval: [high, low] }
    }
}

/// A packet taken apart.
struct Frame<'a> {
    family: Family,
    /// With the IP header, without what Ethernet put behind; empty for IPv6.
    packet: &'a [u8],
    /// Of the IP header with its options.
    ip_len: usize,
    ah: Option<ah::Header>,
    header: Header,
    /// From the fixed header on.
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn open(arrival: &Arrival<'a>, protocol: Protocol) -> Result<Self, Defect> {
        let family = Family::of(&arrival.source);
        let (packet, ip_len) = match family {
            Family::V4 => ip_packet(arrival.bytes)?,
            Family::V6 => (arrival.bytes, 0),
        };
        let short = |expected| Defect::Length { found: packet.len(), expected };
        let mut at = ip_len;
        let ah = match protocol {
            Protocol::Vrrp => None,
            Protocol::Ah => {
                at += ah::LEN;
                let bytes =
                    packet.get(ip_len..).and_then(<[u8]>::first_chunk).ok_or(short(at + HEADER_LEN))?;
                let header = ah::Header::read(bytes);
                if header.next != VRRP {
                    return Err(Defect::AhNextHeader(header.next));
                }
                Some(header)
            }
        };
        let payload = packet.get(at..).ok_or(short(at + HEADER_LEN))?;
        let header = Header::read(payload.first_chunk().ok_or(short(at + HEADER_LEN))?);
        Ok(Self { family, packet, ip_len, ah, header, payload })
    }

    const fn address_len(&self) -> usize {
        match self.family {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }

    /// The packet has what it says and no more (RFC 9568 section 7.1).
    fn check_length(&self) -> Result<(), Defect> {
        let auth = if (self.header.version, self.family) == (2, Family::V4) { AUTH_LEN } else { 0 };
        let payload = HEADER_LEN + usize::from(self.header.count) * self.address_len() + auth;
        if self.payload.len() == payload {
            return Ok(());
        }
        let around = self.packet.len() - self.payload.len();
        Err(Defect::Length { found: self.packet.len(), expected: around + payload })
    }

    /// Version 2: RFC 2338 section 5.3.6, and the authentication header's replay check (RFC 4302 section 3.4.3). Returns
    /// its sequence number.
    fn authenticate(&self, arrival: &Arrival<'_>, filter: &Filter<'_>) -> Result<Option<u32>, Defect> {
        if filter.instance.version == Version::V3 {
            return Ok(None);
        }
        let [found, _] = self.header.interval;
        if !matches!(found, AUTH_NONE | AUTH_PASS | AUTH_AH) {
            return Err(Defect::AuthType(found));
        }
        let authentication = authentication(filter.instance);
        let expected = auth_type(authentication);
        if found != expected {
            return Err(Defect::AuthMismatch { found, expected });
        }
        match authentication {
            Authentication::None => Ok(None),
            Authentication::Pass(password) if self.payload.ends_with(&secret(password)) => Ok(None),
            Authentication::Pass(_) => Err(Defect::Password),
            Authentication::Ah(password) => self.check_ah(arrival, password, filter.ah_sequence).map(Some),
        }
    }

    fn check_ah(&self, arrival: &Arrival<'_>, password: &str, last: Option<u32>) -> Result<u32, Defect> {
        let ah = self.ah.ok_or(Defect::AhHeader { found: false })?;
        let multicast = arrival.destination.is_multicast();
        if ah.icv != ah::icv(self.packet, self.ip_len, password, multicast) {
            return Err(Defect::AhIcv);
        }
        if IpAddr::V4(ah.spi) != arrival.source {
            return Err(Defect::AhSpi { found: ah.spi, expected: arrival.source });
        }
        match last {
            Some(last) if ah.sequence <= last => Err(Defect::AhReplay { found: ah.sequence, last }),
            _ => Ok(ah.sequence),
        }
    }

    /// Tells which form fits where there are two. The sender's own form is tried first, as for some addresses both fit.
    fn check_sum(&self, arrival: &Arrival<'_>, instance: &Instance) -> Result<Option<Checksum>, Defect> {
        let pseudo = Sum::pseudo(arrival.source, arrival.destination, VRRP, self.payload.len());
        let fits = |sum: Sum| sum.add(self.payload).checksum() == 0;
        let form = match (self.family, instance.version, instance.checksum) {
            (Family::V4, Version::V2, _) => fits(Sum::default()).then_some(None),
            (Family::V6, ..) => fits(pseudo).then_some(None),
            (Family::V4, Version::V3, own) => {
                let other = match own {
                    Checksum::PseudoHeader => Checksum::Plain,
                    Checksum::Plain => Checksum::PseudoHeader,
                };
                let start = |form| match form {
                    Checksum::PseudoHeader => pseudo,
                    Checksum::Plain => Sum::default(),
                };
                [own, other].into_iter().find(|form| fits(start(*form))).map(Some)
            }
        };
        form.ok_or(Defect::Checksum)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let len = usize::from(self.header.count) * self.address_len();
        let bytes = self.payload.get(HEADER_LEN..HEADER_LEN + len).unwrap_or_default();
        match self.family {
            Family::V4 => bytes.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets)).collect(),
            Family::V6 => bytes.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(*octets)).collect(),
        }
    }
}

/// An IPv4 packet as long as its header says, and the length of that header. More bytes than that are the padding of a
/// short Ethernet frame.
fn ip_packet(bytes: &[u8]) -> Result<(&[u8], usize), Defect> {
    let header: &[u8; IP_LEN] =
        bytes.first_chunk().ok_or(Defect::Length { found: bytes.len(), expected: IP_LEN })?;
    let [first, _, high, low, ..] = *header;
    if first >> 4 != 4 {
        return Err(Defect::Family { expected: Family::V4 });
    }
    let ip_len = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([high, low]));
    if total < ip_len || ip_len < IP_LEN {
        return Err(Defect::Length { found: total, expected: ip_len.max(IP_LEN) });
    }
    let packet = bytes.get(..total).ok_or(Defect::Length { found: bytes.len(), expected: total })?;
    Ok((packet, ip_len))
}

/// What the envelope tells, before any byte of the packet is believed.
fn check_origin(arrival: &Arrival<'_>, protocol: Protocol, filter: &Filter<'_>) -> Result<(), Defect> {
    let expected = filter.instance.family;
    if Family::of(&arrival.source) != expected || Family::of(&arrival.destination) != expected {
        return Err(Defect::Family { expected });
    }
    if filter.own_addresses.contains(&arrival.source) {
        return Err(Defect::OwnAddress(arrival.source));
    }
    let found = protocol == Protocol::Ah;
    if found != matches!(authentication(filter.instance), Authentication::Ah(_)) {
        return Err(Defect::AhHeader { found });
    }
    Ok(())
}

fn check_header(header: &Header, arrival: &Arrival<'_>, instance: &Instance) -> Result<(), Defect> {
    if header.vrid != instance.vrid {
        return Err(Defect::Vrid { found: header.vrid, expected: instance.vrid });
    }
    // RFC 9568 section 7.1. Unicast advertisements may be routed, so their limits are the peer's.
    if matches!(instance.delivery, Delivery::Multicast(_)) && arrival.hop_limit != u8::MAX {
        return Err(Defect::HopLimit { found: arrival.hop_limit, least: u8::MAX, most: u8::MAX });
    }
    let expected = version_number(instance.version);
    if header.version != expected {
        return Err(Defect::Version { found: header.version, expected });
    }
    Ok(())
}

/// Version 2 refuses another interval than its own (RFC 3768 section 7.1), version 3 takes any (RFC 9568 section 6.4.2).
fn interval(header: &Header, instance: &Instance) -> Result<Micros, Defect> {
    let [high, low] = header.interval;
    match instance.version {
        Version::V2 => {
            let (found, expected) = (Micros::from_secs(low.into()), instance.advert_interval);
            if found == expected { Ok(found) } else { Err(Defect::Interval { found, expected }) }
        }
        Version::V3 => match u16::from_be_bytes([high & 0x0f, low]) {
            0 => Err(Defect::ZeroInterval),
            centis => Ok(Micros(u64::from(centis) * 10_000)),
        },
    }
}

fn check_delivery(arrival: &Arrival<'_>, instance: &Instance) -> Result<(), Defect> {
    let multicast = arrival.destination.is_multicast();
    if multicast != matches!(instance.delivery, Delivery::Multicast(_)) {
        return Err(Defect::Delivery { multicast });
    }
    Ok(())
}

fn check_peer(arrival: &Arrival<'_>, instance: &Instance) -> Result<(), Defect> {
    let Delivery::Unicast(unicast) = &instance.delivery else { return Ok(()) };
    if !unicast.check_source {
        return Ok(());
    }
    let peer = unicast.peers.iter().find(|peer| peer.address == arrival.source);
    let peer = peer.ok_or(Defect::NotUnicastPeer(arrival.source))?;
    let (found, least, most) = (arrival.hop_limit, peer.min_ttl, peer.max_ttl);
    if found < least || found > most {
        return Err(Defect::HopLimit { found, least, most });
    }
    Ok(())
}
