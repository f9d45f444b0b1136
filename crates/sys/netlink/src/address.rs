//! Addresses as leases.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rustix::io::Errno;
use weir_model::vrrp::{Address, Broadcast};

use crate::decode::FOREVER;
use crate::family::{address_family, check_prefix, family_of};
use crate::link::check_name;
use crate::socket::{Outcome, Request};
use crate::{Error, Netlink};

/// Marks Weir's addresses (`IFA_PROTO`, Linux 5.18; older kernels pass over it). Kernel and user space have not
/// given the number to anybody else.
pub const ADDRESS_PROTOCOL: u8 = 87;

/// An address of an interface, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressInfo {
    /// index
    pub interface: u32,
    /// This host's; never that of the peer.
    pub address: IpAddr,
    pub prefix_len: u8,
    /// The kernel's number: 0 is global, 253 link, 254 host.
    pub scope: u8,
    /// Seconds until the kernel removes it; `None`: never.
    pub valid: Option<u32>,
    /// Seconds until it is no longer chosen as a source; `None`: for ever.
    pub preferred: Option<u32>,
    /// Duplicate address detection is under way (RFC 4862 section 5.4).
    pub tentative: bool,
    /// Duplicate address detection has failed: the address is unusable.
    pub failed: bool,
    /// IPv4: goes with its primary, unless the interface has `promote_secondaries`.
    pub secondary: bool,
    /// Who made it; [`ADDRESS_PROTOCOL`] for Weir. `None` before Linux 5.18 or if nobody said.
    pub protocol: Option<u8>,
}

/// An address that shall be on an interface.
#[derive(Clone, Copy, Debug)]
pub struct AddressWish<'a> {
    pub address: &'a Address,
    /// index
    pub interface: u32,
    /// Seconds after which the kernel takes the address back unless it is put again; at least 1. `None`: never.
    /// Without effect on a removal.
    pub lease: Option<u32>,
}

impl Netlink {
    /// Adds addresses or renews their leases; results in the order of the wishes. Up to 128 of them leave in one
    /// write. Of an IPv4 address that exists the kernel changes the lifetimes only, not label or broadcast.
    ///
    /// # Errors
    /// Outer: those of the socket, `TimedOut` without an answer; part of the wishes may then be fulfilled, and
    /// putting all again is right. Inner: why one wish was refused.
    pub fn put_addresses(&mut self, wishes: &[AddressWish<'_>]) -> io::Result<Vec<Result<(), Error>>> {
        self.change_addresses(wishes, "add", put, |_| false)
    }

    /// Removes addresses; one that is absent, or whose interface is, counts as removed.
    ///
    /// # Errors
    /// As those of [`Self::put_addresses`].
    pub fn remove_addresses(&mut self, wishes: &[AddressWish<'_>]) -> io::Result<Vec<Result<(), Error>>> {
        self.change_addresses(wishes, "remove", remove, |errno| {
            [Errno::ADDRNOTAVAIL, Errno::NODEV].contains(&errno)
        })
    }

    fn change_addresses(
        &mut self,
        wishes: &[AddressWish<'_>],
        verb: &str,
        request: fn(&AddressWish<'_>) -> Request,
        welcome: fn(Errno) -> bool,
    ) -> io::Result<Vec<Result<(), Error>>> {
        let checks: Vec<Result<(), String>> = wishes.iter().map(check).collect();
        let sound = wishes.iter().zip(&checks).filter(|(_, check)| check.is_ok());
        let requests = sound.map(|(wish, _)| request(wish)).collect();
        let mut outcomes = self.connection.requests(requests)?.into_iter();
        let results = wishes.iter().zip(checks).map(|(wish, check)| match check {
            Err(reason) => Err(Error::Invalid { request: format!("{verb} {wish}"), reason }),
            Ok(()) => {
                result(outcomes.next().expect("the kernel has answered every request"), wish, verb, welcome)
            }
        });
        Ok(results.collect())
    }
}

fn result(
    outcome: Outcome,
    wish: &AddressWish<'_>,
    verb: &str,
    welcome: fn(Errno) -> bool,
) -> Result<(), Error> {
    match outcome {
        Err(refusal) if !welcome(Errno::from_raw_os_error(refusal.errno)) => {
            Err(Error::refused(format!("{verb} {wish}"), Some(wish.interface), refusal))
        }
        _ => Ok(()),
    }
}

impl fmt::Display for AddressWish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}/{}", self.address.address, self.address.prefix_len)?;
        match &self.address.interface {
            Some(name) => write!(f, " on {name} (index {})", self.interface),
            None => write!(f, " on the interface with index {}", self.interface),
        }
    }
}

/// What the kernel would misread or refuse without a word.
fn check(wish: &AddressWish<'_>) -> Result<(), String> {
    let Address { address, prefix_len, broadcast, peer, label, .. } = wish.address;
    let family = family_of(*address);
    check_prefix(family, "address", "address", (*address, *prefix_len))?;
    if let Some(peer) = peer {
        check_prefix(family, "address", "peer", *peer)?;
    }
    if let Broadcast::Given(broadcast) = broadcast
        && (broadcast.is_ipv6() || address.is_ipv6())
    {
        return Err(format!("the broadcast address {broadcast}: only IPv4 has such, for an IPv4 address"));
    }
    if let Some(label) = label {
        check_name("label", label)?;
    }
    if wish.lease == Some(0) {
        return Err("a lease of 0 seconds, expected at least 1".to_owned());
    }
    Ok(())
}

fn put(wish: &AddressWish<'_>) -> Request {
    let address = wish.address;
    let mut message = identity(wish);
    message.header.scope = address.scope.into();
    let attributes = &mut message.attributes;
    if let Some(broadcast) = broadcast(address) {
        attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let Some(label) = &address.label
        && address.address.is_ipv4()
    {
        attributes.push(AddressAttribute::Label(label.clone()));
    }
    attributes.push(AddressAttribute::Flags(flags(address)));
    attributes.push(AddressAttribute::CacheInfo(lifetimes(wish)));
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ADDRESS_PROTOCOL)));
    Request { message: RouteNetlinkMessage::NewAddress(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

fn remove(wish: &AddressWish<'_>) -> Request {
    Request { message: RouteNetlinkMessage::DelAddress(identity(wish)), flags: 0 }
}

/// What tells an address from others: interface, address, prefix and peer.
fn identity(wish: &AddressWish<'_>) -> AddressMessage {
    let Address { address, prefix_len, peer, .. } = *wish.address;
    let (prefix, prefix_len) = peer.unwrap_or((address, prefix_len));
    let mut message = AddressMessage::default();
    message.header.family = address_family(family_of(address));
    message.header.prefix_len = prefix_len;
    message.header.index = wish.interface;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(prefix));
    message
}

/// IPv6 knows no broadcast.
fn broadcast(address: &Address) -> Option<Ipv4Addr> {
    let IpAddr::V4(ip) = address.address else { return None };
    let hosts = u32::MAX.checked_shr(address.prefix_len.into()).unwrap_or(0);
    match address.broadcast {
        Broadcast::None | Broadcast::Given(IpAddr::V6(_)) => None,
        Broadcast::Ones => Some(Ipv4Addr::from_bits(ip.to_bits() | hosts)),
        Broadcast::Zeros => Some(Ipv4Addr::from_bits(ip.to_bits() & !hosts)),
        Broadcast::Given(IpAddr::V4(given)) => Some(given),
    }
}

/// Home, nodad and mngtmpaddr mean something for IPv6 only (ip-address(8)).
fn flags(address: &Address) -> AddressFlags {
    let v6 = address.address.is_ipv6();
    [
        (address.home && v6, AddressFlags::Homeaddress),
        (address.nodad && v6, AddressFlags::Nodad),
        (address.mngtmpaddr && v6, AddressFlags::Managetempaddr),
        (address.noprefixroute, AddressFlags::Noprefixroute),
        (address.autojoin, AddressFlags::Mcautojoin),
    ]
    .into_iter()
    .filter_map(|(wanted, flag)| wanted.then_some(flag))
    .collect()
}

/// Preferred never exceeds valid, which the kernel would refuse.
fn lifetimes(wish: &AddressWish<'_>) -> CacheInfo {
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_valid = wish.lease.unwrap_or(FOREVER);
    lifetimes.ifa_preferred = wish.address.preferred.unwrap_or(FOREVER).min(lifetimes.ifa_valid);
    lifetimes
}
