//! The machine's interfaces, as the elections have to see them.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};

use weir_model::vrrp::{Mac, Vrrp};
use weir_netlink::{AddressInfo, LinkInfo};
use weir_vrrp::Link;

/// One interface and its usable addresses.
struct Interface {
    info: LinkInfo,
    addresses: Vec<Usable>,
}

struct Usable {
    address: IpAddr,
    secondary: bool,
}

/// All interfaces, and which addresses are virtual routers' and not the machine's own.
#[derive(Default)]
pub(crate) struct Links {
    by_index: BTreeMap<u32, Interface>,
    virtuals: HashSet<IpAddr>,
}

impl Links {
    pub(crate) fn new(config: &Vrrp) -> Self {
        let mut links = Self::default();
        links.interest(config);
        links
    }

    /// The virtual addresses of a configuration. Those of the one before stay known: they may still be around.
    pub(crate) fn interest(&mut self, config: &Vrrp) {
        let lists = config.instances.iter().flat_map(|one| one.addresses.iter().chain(&one.excluded));
        self.virtuals.extend(lists.map(|one| one.address));
        for interface in self.by_index.values_mut() {
            interface.addresses.retain(|one| !self.virtuals.contains(&one.address));
        }
    }

    /// Whether a virtual router may hold the address.
    pub(crate) fn is_virtual(&self, address: &IpAddr) -> bool {
        self.virtuals.contains(address)
    }

    /// Whether an interface of this machine has the hardware address.
    pub(crate) fn is_own(&self, mac: Mac) -> bool {
        self.by_index.values().any(|one| one.info.mac == Some(mac))
    }

    pub(crate) fn put(&mut self, info: LinkInfo) {
        match self.by_index.get_mut(&info.index) {
            Some(interface) => interface.info = info,
            None => drop(self.by_index.insert(info.index, Interface { info, addresses: Vec::new() })),
        }
    }

    pub(crate) fn remove(&mut self, index: u32) {
        self.by_index.remove(&index);
    }

    /// Takes an address; answers whether the elections see a difference.
    pub(crate) fn put_address(&mut self, info: &AddressInfo) -> bool {
        if self.virtuals.contains(&info.address) {
            return false;
        }
        if info.tentative || info.failed {
            return self.remove_address(info);
        }
        let Some(interface) = self.by_index.get_mut(&info.interface) else { return false };
        let known = interface.addresses.iter_mut().find(|one| one.address == info.address);
        match known {
            Some(one) if one.secondary == info.secondary => return false,
            Some(one) => one.secondary = info.secondary,
            None => {
                interface.addresses.push(Usable { address: info.address, secondary: info.secondary });
            }
        }
        // Stable, so that among equals the kernel's order stays.
        interface.addresses.sort_by_key(|one| one.secondary);
        true
    }

    pub(crate) fn remove_address(&mut self, info: &AddressInfo) -> bool {
        let Some(interface) = self.by_index.get_mut(&info.interface) else { return false };
        let before = interface.addresses.len();
        interface.addresses.retain(|one| one.address != info.address);
        interface.addresses.len() != before
    }

    /// Everything anew; answers the interfaces that are gone.
    pub(crate) fn replace(&mut self, links: Vec<LinkInfo>, addresses: &[AddressInfo]) -> Vec<u32> {
        let old = std::mem::take(&mut self.by_index);
        for info in links {
            self.put(info);
        }
        for info in addresses {
            self.put_address(info);
        }
        old.into_keys().filter(|index| !self.by_index.contains_key(index)).collect()
    }

    pub(crate) fn indexes(&self) -> Vec<u32> {
        self.by_index.keys().copied().collect()
    }

    pub(crate) fn name(&self, index: u32) -> Option<String> {
        Some(self.by_index.get(&index)?.info.name.clone())
    }

    pub(crate) fn index(&self, name: &str) -> Option<u32> {
        self.by_index.values().find(|one| one.info.name == name).map(|one| one.info.index)
    }

    pub(crate) fn mac(&self, index: u32) -> Option<Mac> {
        self.by_index.get(&index)?.info.mac
    }

    /// Whether packets can come in by it.
    pub(crate) fn is_up(&self, index: u32) -> bool {
        self.by_index.get(&index).is_some_and(|one| one.info.up)
    }

    /// The link-local address that neighbour advertisements come from.
    pub(crate) fn link_local(&self, index: u32) -> Option<Ipv6Addr> {
        self.by_index.get(&index)?.addresses.iter().find_map(|one| match one.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        })
    }

    /// An interface as the elections want it.
    pub(crate) fn link(&self, index: u32) -> Option<Link> {
        let interface = self.by_index.get(&index)?;
        let info = &interface.info;
        Some(Link {
            index,
            name: info.name.clone(),
            up: info.up,
            mac: info.mac,
            mtu: info.mtu,
            addresses: interface.addresses.iter().map(|one| one.address).collect(),
        })
    }
}
