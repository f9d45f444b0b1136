//! The sockets of elections: advertisements, gratuitous ARP and neighbour advertisements.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use weir_model::vrrp::{Authentication, Delivery, Family, Vrrp};
use weir_net::{ArpSocket, NdSocket, RawArrival, RawError, RawProtocol, RawSocket};
use weir_vrrp::{Arrival, Protocol};

use super::Claimed;
use super::links::Links;

/// A socket for advertisements and what its packets are.
pub(crate) struct Adverts {
    pub(crate) raw: RawSocket,
    pub(crate) protocol: Protocol,
    family: Family,
}

/// A packet as the elections take it.
pub(crate) fn arrival_of<'b>(raw: &RawArrival<'b>) -> Arrival<'b> {
    Arrival {
        interface: raw.interface,
        source: raw.source,
        destination: raw.destination,
        hop_limit: raw.hop_limit,
        bytes: raw.bytes,
    }
}

/// All of them; only those that a configuration needs are open.
#[derive(Default)]
pub(crate) struct Sockets {
    adverts: Vec<Adverts>,
    arp: Option<ArpSocket>,
    nd: Option<NdSocket>,
    joined: HashSet<(u32, IpAddr)>,
}

/// A socket that has joined already says so by an error.
fn is_joined(result: &Result<(), RawError>) -> bool {
    result.as_ref().map_or_else(|error| error.reason.kind() == io::ErrorKind::AddrInUse, |()| true)
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

impl Sockets {
    /// Opens what a configuration needs and `self` does not have.
    pub(crate) fn missing(&self, config: &Vrrp) -> Result<Self, RawError> {
        let mut more = Self::default();
        let has_ah = |one: &weir_model::vrrp::Instance| matches!(one.authentication, Authentication::Ah(_));
        let addresses = || config.instances.iter().flat_map(|one| one.addresses.iter().chain(&one.excluded));
        let kinds = [
            (
                RawProtocol::Vrrp4,
                Protocol::Vrrp,
                Family::V4,
                config.instances.iter().any(|one| one.family == Family::V4),
            ),
            (RawProtocol::Ah4, Protocol::Ah, Family::V4, config.instances.iter().any(has_ah)),
            (
                RawProtocol::Vrrp6,
                Protocol::Vrrp,
                Family::V6,
                config.instances.iter().any(|one| one.family == Family::V6),
            ),
        ];
        for (kind, protocol, family, wanted) in kinds {
            if wanted && self.find(protocol, family).is_none() {
                more.adverts.push(Adverts { raw: RawSocket::open(kind)?, protocol, family });
            }
        }
        if self.arp.is_none() && addresses().any(|one| one.address.is_ipv4()) {
            more.arp = Some(ArpSocket::open()?);
        }
        if self.nd.is_none() && addresses().any(|one| one.address.is_ipv6()) {
            more.nd = Some(NdSocket::open()?);
        }
        Ok(more)
    }

    /// Takes of what [`Self::missing`] opened what is not there: a second socket would hear everything once more.
    pub(crate) fn absorb(&mut self, more: Self) {
        for one in more.adverts {
            if self.find(one.protocol, one.family).is_none() {
                self.adverts.push(one);
                // It hears nothing of the groups that the others have joined.
                self.joined.clear();
            }
        }
        self.arp = self.arp.take().or(more.arp);
        self.nd = self.nd.take().or(more.nd);
    }

    fn find(&self, protocol: Protocol, family: Family) -> Option<&RawSocket> {
        let found = self.adverts.iter().find(|one| one.protocol == protocol && one.family == family);
        found.map(|one| &one.raw)
    }

    pub(crate) fn adverts(&self) -> impl Iterator<Item = &Adverts> {
        self.adverts.iter()
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let adverts = self.adverts.iter().map(|one| one.raw.as_fd());
        adverts.chain(self.arp.iter().map(AsFd::as_fd)).chain(self.nd.iter().map(AsFd::as_fd))
    }

    /// Joins the groups of all instances on the interfaces that exist. Answers why a router hears nobody on an interface
    /// that is up: it would be master beside another one.
    pub(crate) fn join(&mut self, config: &Vrrp, links: &Links) -> Vec<String> {
        let mut deaf = Vec::new();
        for instance in &config.instances {
            // Of a frame from the standard's hardware address the kernel gives a copy to the virtual interface that
            // has the same address, and none to the interface below.
            let device = weir_vrrp::vmac_device(config, &instance.name);
            let device = device.as_ref().unwrap_or(&instance.interface);
            let Some(index) = links.index(device) else { continue };
            if let (Family::V6, Some(nd)) = (instance.family, &self.nd)
                && !self.joined.contains(&(index, ALL_NODES.into()))
                && is_joined(&nd.join(index, ALL_NODES))
            {
                self.joined.insert((index, ALL_NODES.into()));
            }
            let Delivery::Multicast(group) = instance.delivery else { continue };
            if self.joined.contains(&(index, group)) {
                continue;
            }
            let mine = self.adverts.iter().filter(|one| one.family == Family::of(&group));
            let failures: Vec<RawError> = mine
                .map(|one| one.raw.join(index, group))
                .filter(|one| !is_joined(one))
                .filter_map(Result::err)
                .collect();
            // An interface that cannot be joined now, being down, is joined at its next change.
            match failures.first() {
                None => drop(self.joined.insert((index, group))),
                Some(error) if links.is_up(index) => {
                    deaf.push(format!(
                        "vrrp_instance {}: it hears no other router on {device}: {error}",
                        instance.name
                    ));
                }
                Some(_) => {}
            }
        }
        deaf
    }

    /// The interface has gone, and its memberships with it.
    pub(crate) fn forget(&mut self, index: u32) {
        self.joined.retain(|(interface, _)| *interface != index);
    }

    pub(crate) fn send(
        &self,
        protocol: Protocol,
        interface: u32,
        source: IpAddr,
        destination: IpAddr,
        hop_limit: u8,
        bytes: &[u8],
    ) -> io::Result<()> {
        match self.find(protocol, Family::of(&destination)) {
            Some(raw) => raw.send(interface, source, destination, hop_limit, bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// One gratuitous ARP request, or one unsolicited neighbour advertisement.
    pub(crate) fn announce(&self, links: &Links, interface: u32, address: IpAddr) -> io::Result<()> {
        let mac = links.mac(interface).ok_or(io::ErrorKind::AddrNotAvailable)?;
        match (address, &self.arp, &self.nd) {
            (IpAddr::V4(address), Some(arp), _) => {
                arp.send(interface, &weir_vrrp::gratuitous_arp(mac, address))
            }
            (IpAddr::V6(address), _, Some(nd)) => {
                let source = links.link_local(interface).unwrap_or(address);
                let advertisement = weir_vrrp::neighbour_advertisement(source, address, mac, false);
                nd.send(interface, source, ALL_NODES, &advertisement)
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Asks who has an address. Only IPv4: the kernel itself answers for its own IPv6 address, and other holders are
    /// heard by their advertisements.
    pub(crate) fn probe(&self, links: &Links, interface: u32, address: IpAddr) -> io::Result<()> {
        let (IpAddr::V4(address), Some(arp)) = (address, &self.arp) else { return Ok(()) };
        let mac = links.mac(interface).ok_or(io::ErrorKind::AddrNotAvailable)?;
        arp.send(interface, &weir_vrrp::arp_probe(mac, address))
    }

    /// Who says to have an address: at most `limit` packets of each kind are read.
    pub(crate) fn claims(&self, limit: usize, buffer: &mut [u8]) -> Vec<Claimed> {
        let mut claims = Vec::new();
        for _ in 0..limit {
            let Some(Ok(Some((interface, frame)))) = self.arp.as_ref().map(|arp| arp.receive(buffer)) else {
                break;
            };
            if let Some(claim) = weir_vrrp::read_arp(frame) {
                claims.push((interface, claim.address, claim.mac));
            }
        }
        for _ in 0..limit {
            let Some(Ok(Some(arrival))) = self.nd.as_ref().map(|nd| nd.receive(buffer)) else { break };
            if let Some(claim) = weir_vrrp::read_na(&arrival_of(&arrival)) {
                claims.push((arrival.interface, claim.address, claim.mac));
            }
        }
        claims
    }
}
