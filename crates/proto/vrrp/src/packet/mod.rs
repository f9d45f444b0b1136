//! Packets: advertisements, and what makes neighbours learn or give away who has an address.

mod ah;
mod checksum;
mod decode;
mod defect;
mod encode;
mod neighbour;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Checksum, Family, Instance, Version};

pub use decode::{decode, peek};
pub use defect::Defect;
pub use encode::encode;
pub use neighbour::{
    arp_probe, gratuitous_arp, neighbour_advertisement, neighbour_solicitation, read_arp, read_na,
    solicited_node,
};

/// What an advertisement says (RFC 9568 section 5.2, RFC 3768 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    pub version: Version,
    pub vrid: u8,
    /// Zero: its sender leaves; 255: it owns the addresses.
    pub priority: u8,
    /// Never zero.
    pub interval: Micros,
    /// As they stand in the packet: in its order, and all of its family.
    pub addresses: Vec<IpAddr>,
}

/// Everything that a receiver of one virtual router knows and checks.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    pub instance: &'a Instance,
    /// All of this host's addresses that may be a source of advertisements.
    pub own_addresses: &'a [IpAddr],
    /// The last sequence number of that sender, if it has been heard with an authentication header.
    pub ah_sequence: Option<u32>,
}

/// As much of a packet as tells whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// As it stands in the packet, so it may be none that exists.
    pub version: u8,
    pub vrid: u8,
}

/// An advertisement that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub advertisement: Advertisement,
    /// The form that its sender uses; only of version 3 over IPv4, which has two.
    pub checksum_form: Option<Checksum>,
    /// Only with an authentication header: what [`Filter::ah_sequence`] is for the sender's next packet.
    pub ah_sequence: Option<u32>,
}

/// What a packet needs that is not about the virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub source: IpAddr,
    /// Of the family of the source: the group or one peer.
    pub destination: IpAddr,
    pub hop_limit: u8,
    /// IPv4 only. Zero lets the kernel choose, which no authentication header survives.
    pub ip_id: u16,
    /// Only with an authentication header: greater than every number that was sent or heard before, as keepalived keeps
    /// one counter for all routers of a virtual router.
    pub ah_sequence: u32,
}

/// Who says that it has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub mac: weir_model::vrrp::Mac,
}

/// The numbers of RFC 2338 section 5.3.6 and keepalived.
const AUTH_NONE: u8 = 0;
const AUTH_PASS: u8 = 1;
const AUTH_AH: u8 = 2;

/// Type 1 is the only one (RFC 9568 section 5.2.2).
const ADVERTISEMENT: u8 = 1;
/// The fields before the addresses, in bytes.
const HEADER_LEN: usize = 8;
/// Authentication data behind the addresses, which version 2 over IPv4 always has (RFC 3768 section 5.3.10).
const AUTH_LEN: usize = 8;
/// IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
const VRRP: u8 = 112;
/// IP protocol number of the authentication header (RFC 4302 section 2).
const AH: u8 = 51;

/// The authentication that a packet of the instance has: none but for version 2 over IPv4.
fn authentication(instance: &Instance) -> &Authentication {
    match (instance.version, instance.family) {
        (Version::V2, Family::V4) => &instance.authentication,
        _ => &Authentication::None,
    }
}

fn auth_type(authentication: &Authentication) -> u8 {
    match authentication {
        Authentication::None => AUTH_NONE,
        Authentication::Pass(_) => AUTH_PASS,
        Authentication::Ah(_) => AUTH_AH,
    }
}

const fn version_number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// Eight bytes of a password: what follows does not count, what is missing is zero.
fn secret(password: &str) -> [u8; AUTH_LEN] {
    let mut secret = [0; AUTH_LEN];
    for (to, from) in secret.iter_mut().zip(password.bytes()) {
        *to = from;
    }
    secret
}
