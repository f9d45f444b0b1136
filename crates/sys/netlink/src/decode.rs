//! What is read of the kernel's messages. Only the attributes that count are looked at, so that a newer kernel,
//! whose further attributes the library does not know, hides no link and no address.

use std::net::IpAddr;

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};
use netlink_packet_route::address::AddressFlags;
use netlink_packet_route::link::LinkFlags;
use weir_model::vrrp::Mac;

use crate::{AddressInfo, LinkInfo};

/// The kernel's number for a lifetime without end (`INFINITY_LIFE_TIME`).
pub(crate) const FOREVER: u32 = u32::MAX;

const AF_UNSPEC: u8 = 0;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_WIRELESS: u16 = 11;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;

/// Kind and value of each attribute, up to the first that is malformed.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let end = usize::from(attribute.length());
        (attribute.kind(), attribute.into_inner().get(NLA_HEADER_SIZE..end).unwrap_or_default())
    })
}

/// The first four bytes as a number in the host's order.
pub(crate) fn u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

/// A string that may end with NUL; names need not be UTF-8.
pub(crate) fn string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        16 => bytes.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}

/// Payload of `RTM_NEWLINK` or `RTM_DELLINK`. `None` for messages about something else in the same clothes: ports of
/// a bridge (`AF_BRIDGE`), events of wireless drivers, the IPv6 part (`AF_INET6`).
pub(crate) fn link(payload: &[u8]) -> Option<LinkInfo> {
    let (header, rest) = payload.split_first_chunk::<LINK_HEADER>()?;
    let [family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    if family != AF_UNSPEC {
        return None;
    }
    let flags = LinkFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3]));
    let mut info = LinkInfo {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        up: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
        admin_up: flags.contains(LinkFlags::Up),
        mac: None,
        mtu: 0,
        kind: None,
        parent: None,
        loopback: flags.contains(LinkFlags::Loopback),
    };
    let mut abroad = false;
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_WIRELESS => return None,
            IFLA_IFNAME => info.name = string(value),
            IFLA_ADDRESS => info.mac = value.try_into().ok().map(Mac),
            IFLA_MTU => info.mtu = u32(value).unwrap_or_default(),
            IFLA_LINK => info.parent = u32(value).filter(|parent| ![0, info.index].contains(parent)),
            IFLA_LINK_NETNSID => abroad = true,
            IFLA_LINKINFO => info.kind = attribute(value, IFLA_INFO_KIND).map(string),
            _ => {}
        }
    }
    if abroad {
        info.parent = None;
    }
    Some(info)
}

/// Mode of a macvlan from the payload of its `RTM_NEWLINK`.
pub(crate) fn macvlan_mode(payload: &[u8]) -> Option<u32> {
    let info = attribute(payload.get(LINK_HEADER..)?, IFLA_LINKINFO)?;
    u32(attribute(attribute(info, IFLA_INFO_DATA)?, IFLA_MACVLAN_MODE)?)
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// Payload of `RTM_NEWADDR` or `RTM_DELADDR`; `None` if it holds no IPv4 or IPv6 address.
pub(crate) fn address(payload: &[u8]) -> Option<AddressInfo> {
    let (header, rest) = payload.split_first_chunk::<ADDRESS_HEADER>()?;
    let [_, prefix_len, flags, scope, i0, i1, i2, i3] = *header;
    let mut flags = u32::from(flags);
    let (mut local, mut prefix, mut protocol) = (None, None, None);
    let (mut preferred, mut valid) = (None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => prefix = ip(value),
            IFA_FLAGS => flags = u32(value).unwrap_or(flags),
            IFA_PROTO => protocol = value.first().copied(),
            IFA_CACHEINFO => {
                preferred = u32(value).filter(|seconds| *seconds != FOREVER);
                valid = value.get(4..).and_then(u32).filter(|seconds| *seconds != FOREVER);
            }
            _ => {}
        }
    }
    let flags = AddressFlags::from_bits_retain(flags);
    Some(AddressInfo {
        interface: u32::from_ne_bytes([i0, i1, i2, i3]),
        // With a peer `IFA_ADDRESS` is the peer's; without one the kernel leaves `IFA_LOCAL` out for IPv6.
        address: local.or(prefix)?,
        prefix_len,
        scope,
        valid,
        preferred,
        tentative: flags.contains(AddressFlags::Tentative),
        failed: flags.contains(AddressFlags::Dadfailed),
        secondary: flags.contains(AddressFlags::Secondary),
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = link(&bytes);
            let _ = address(&bytes);
            let _ = macvlan_mode(&bytes);
        }
    }

    #[test]
    fn ports_of_bridges_are_no_links() {
        let mut payload = [0; LINK_HEADER];
        payload[0] = 7; // AF_BRIDGE
        assert_eq!(link(&payload), None);
        payload[0] = 0;
        assert!(link(&payload).is_some());
    }
}
