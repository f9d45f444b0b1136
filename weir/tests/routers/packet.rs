//! Advertisements byte by byte, so that each can be made wrong in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// IP protocol number of VRRP.
const VRRP: u8 = 112;

/// A packet, right unless it was made wrong: RFC 3768 section 5 for version 2, RFC 9568 section 5 for version 3.
#[derive(Clone, Debug)]
pub struct Advert {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: u8,
    /// As the packet says; the addresses are what they are.
    pub count: u8,
    pub auth_type: u8,
    /// Seconds in version 2, centiseconds in version 3.
    pub interval: u16,
    pub addresses: Vec<IpAddr>,
    pub password: [u8; 8],
    /// Added to the right checksum.
    pub damage: u16,
    /// Bytes behind the end.
    pub more: Vec<u8>,
}

impl Advert {
    /// Version 2 of virtual router 9 with the password `secret12`, better than everybody.
    pub fn v2(source: Ipv4Addr) -> Advert {
        Advert {
            source: source.into(),
            destination: GROUP.into(),
            ttl: 255,
            version: 2,
            kind: 1,
            vrid: 9,
            priority: 254,
            count: 1,
            auth_type: 1,
            interval: 1,
            addresses: vec![Ipv4Addr::new(10, 9, 0, 100).into()],
            password: *b"secret12",
            damage: 0,
            more: Vec::new(),
        }
    }

    /// Version 3 of virtual router 9, every 200 ms.
    pub fn v3(source: IpAddr, address: IpAddr) -> Advert {
        let destination = if source.is_ipv6() { GROUP6.into() } else { GROUP.into() };
        let addresses = vec![address];
        let plain = Advert::v2(Ipv4Addr::UNSPECIFIED);
        Advert { source, destination, version: 3, auth_type: 0, interval: 20, addresses, ..plain }
    }

    /// The packet with its IP header.
    pub fn bytes(&self) -> Vec<u8> {
        let mut vrrp = self.payload();
        let sum = self.checksum(&vrrp).wrapping_add(self.damage);
        vrrp[6..8].copy_from_slice(&sum.to_be_bytes());
        vrrp.extend(&self.more);
        self.packet(&vrrp)
    }

    /// An IP packet with the envelope of this one.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                // The kernel fills in length and checksum.
                let mut header = vec![0x45, 0xc0, 0, 0, 0, 1, 0, 0, self.ttl, VRRP, 0, 0];
                header.extend(source.octets());
                header.extend(destination.octets());
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
                let mut header = vec![0x60, 0, 0, 0, length[0], length[1], VRRP, self.ttl];
                header.extend(source.octets());
                header.extend(destination.octets());
                header
            }
            _ => panic!("both addresses are of one family"),
        };
        packet.extend(payload);
        packet
    }

    fn payload(&self) -> Vec<u8> {
        let mut bytes = vec![self.version << 4 | self.kind, self.vrid, self.priority, self.count];
        let [high, low] = self.interval.to_be_bytes();
        bytes.extend(if self.version == 3 { [high, low, 0, 0] } else { [self.auth_type, low, 0, 0] });
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        if self.version == 2 {
            bytes.extend(self.password);
        }
        bytes
    }

    /// RFC 1071; version 3 with the pseudo-header (RFC 9568 section 5.2.8).
    fn checksum(&self, payload: &[u8]) -> u16 {
        let mut all = payload.to_vec();
        if self.version == 3 {
            for address in [self.source, self.destination] {
                match address {
                    IpAddr::V4(address) => all.extend(address.octets()),
                    IpAddr::V6(address) => all.extend(address.octets()),
                }
            }
            let length = u16::try_from(payload.len()).expect("short");
            all.extend([0, VRRP]);
            all.extend(length.to_be_bytes());
        }
        let mut sum: u32 = all.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }
}
