//! Addresses, routes and rules of a master: put, renewed, taken away.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::{Address, Instance, Vrrp};
use weir_netlink::{AddressInfo, AddressWish, Netlink};
use weir_vrrp::Assets;

use super::links::Links;

/// What could not be held.
pub(crate) struct NotHeld {
    pub(crate) reason: String,
    /// No address at all: being master is pointless. A line that the kernel refuses takes nothing from the others.
    pub(crate) nothing: bool,
}

/// Puts everything; what fails is named, and the rest is put all the same.
pub(crate) fn put(netlink: &mut Netlink, links: &Links, assets: &Assets) -> Result<(), NotHeld> {
    let mut failures = Failures::default();
    put_addresses(netlink, links, assets, &mut failures);
    let nothing = !assets.addresses.is_empty() && failures.count() >= assets.addresses.len();
    let resolve = |name: &str| links.index(name);
    let device = links.index(&assets.interface);
    for route in &assets.routes {
        failures.note(netlink.put_route(route, device, &resolve));
    }
    for rule in &assets.rules {
        failures.note(netlink.put_rule(rule));
    }
    failures.result().map_err(|reason| NotHeld { reason, nothing })
}

/// Renews leases. Without a lease there is nothing to renew.
pub(crate) fn renew(netlink: &mut Netlink, links: &Links, assets: &Assets) -> Result<(), NotHeld> {
    let mut failures = Failures::default();
    if assets.lease.is_some() {
        put_addresses(netlink, links, assets, &mut failures);
    }
    let nothing = !assets.addresses.is_empty() && failures.count() >= assets.addresses.len();
    failures.result().map_err(|reason| NotHeld { reason, nothing })
}

/// Takes everything away, in the reverse order, but for the addresses that are to stay.
pub(crate) fn remove(
    netlink: &mut Netlink,
    links: &Links,
    assets: &Assets,
    staying: &HashSet<IpAddr>,
) -> Result<(), String> {
    let mut failures = Failures::default();
    for rule in &assets.rules {
        failures.note(netlink.remove_rule(rule));
    }
    let resolve = |name: &str| links.index(name);
    let device = links.index(&assets.interface);
    for route in &assets.routes {
        failures.note(netlink.remove_route(route, device, &resolve));
    }
    // An interface that has gone took its addresses along.
    let wishes = wishes(links, assets).filter_map(|(wish, _)| wish);
    let wishes: Vec<_> = wishes.filter(|wish| !staying.contains(&wish.address.address)).collect();
    match netlink.remove_addresses(&wishes) {
        Ok(results) => results.into_iter().for_each(|result| failures.note(result)),
        Err(error) => failures.add(error.to_string()),
    }
    failures.result()
}

fn put_addresses(netlink: &mut Netlink, links: &Links, assets: &Assets, failures: &mut Failures) {
    let mut found = Vec::with_capacity(assets.addresses.len());
    for (wish, interface) in wishes(links, assets) {
        match wish {
            Some(wish) => found.push(wish),
            None => failures.add(format!("there is no interface {interface}")),
        }
    }
    match netlink.put_addresses(&found) {
        Ok(results) => results.into_iter().for_each(|result| failures.note(result)),
        Err(error) => failures.add(error.to_string()),
    }
}

/// Each address with its interface, if that exists, and the interface's name.
fn wishes<'a>(links: &Links, assets: &'a Assets) -> impl Iterator<Item = (Option<AddressWish<'a>>, &'a str)> {
    let lease = assets.lease.map(|lease| lease.seconds);
    assets.addresses.iter().map(move |address| {
        let name = interface(address, assets);
        let wish = links.index(name).map(|interface| AddressWish { address, interface, lease });
        (wish, name)
    })
}

fn interface<'a>(address: &'a Address, assets: &'a Assets) -> &'a str {
    address.interface.as_deref().unwrap_or(&assets.interface)
}

/// IPv6 addresses that were taken away: the kernel does not say who removed one, and this thread has to know its own
/// doing from that of others.
#[derive(Default)]
pub(crate) struct Released {
    addresses: Vec<(IpAddr, Duration)>,
}

/// The kernel tells of a removal at once; what is told later was somebody else.
const ECHO: Duration = Duration::from_secs(1);

impl Released {
    pub(crate) fn note(&mut self, assets: &Assets) {
        let until = weir_net::boottime() + ECHO;
        let addresses = assets.addresses.iter().map(|one| one.address);
        self.addresses.extend(addresses.filter(IpAddr::is_ipv6).map(|address| (address, until)));
    }

    /// Whether a removal is this thread's own.
    pub(crate) fn is_own(&mut self, info: &AddressInfo, by: Option<u32>, port: u32) -> bool {
        if by.is_some() {
            return by == Some(port);
        }
        let now = weir_net::boottime();
        self.addresses.retain(|(_, until)| *until > now);
        let own = self.addresses.iter().position(|(address, _)| *address == info.address);
        own.map(|at| self.addresses.swap_remove(at)).is_some()
    }
}

/// What a predecessor left on the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// Every address is there, and the kernel still counts its lease down: its holder died less than a lease ago.
    Leased,
    /// Every address is there, and a predecessor of this very node let go a moment ago.
    Handed,
    /// Some are there, and nobody renews or removes them.
    Orphaned,
    /// They are an owner's and were not put there by Weir: the machine's own addresses, which are not to be removed.
    OwnersOwn,
}

/// Looks for the addresses of an instance.
pub(crate) fn left(
    links: &Links,
    addresses: &[AddressInfo],
    config: &Vrrp,
    instance: &Instance,
    handed_over: bool,
) -> Left {
    let assets = weir_vrrp::assets(config, instance);
    let held = |address: &&Address| -> Option<&AddressInfo> {
        let index = links.index(interface(address, &assets))?;
        addresses.iter().find(|one| one.interface == index && one.address == address.address)
    };
    let there: Vec<&AddressInfo> = assets.addresses.iter().filter_map(|address| held(&address)).collect();
    let lease = assets.lease.map(|lease| lease.seconds);
    let fresh = |one: &&AddressInfo| one.valid.is_some_and(|left| Some(left) <= lease);
    let foreign = |one: &&AddressInfo| one.protocol != Some(weir_netlink::ADDRESS_PROTOCOL);
    let all = there.len() == assets.addresses.len();
    if there.is_empty() {
        Left::Nothing
    } else if instance.is_owner() && there.iter().all(foreign) {
        Left::OwnersOwn
    } else if handed_over && all {
        Left::Handed
    } else if all && there.iter().all(fresh) {
        Left::Leased
    } else {
        Left::Orphaned
    }
}

/// The addresses of an instance that are not on their interfaces, with these.
pub(crate) fn absent(
    links: &Links,
    addresses: &[AddressInfo],
    config: &Vrrp,
    instance: &Instance,
) -> Vec<(String, IpAddr)> {
    let assets = weir_vrrp::assets(config, instance);
    let is_there = |name: &str, address: IpAddr| {
        let index = links.index(name);
        addresses.iter().any(|one| Some(one.interface) == index && one.address == address)
    };
    let named = assets.addresses.iter().map(|one| (interface(one, &assets), one.address));
    let absent = named.filter(|(name, address)| links.index(name).is_some() && !is_there(name, *address));
    absent.map(|(name, address)| (name.to_owned(), address)).collect()
}

/// The first failures in one text.
#[derive(Default)]
struct Failures {
    texts: Vec<String>,
    more: usize,
}

impl Failures {
    fn note(&mut self, result: Result<(), weir_netlink::Error>) {
        if let Err(error) = result {
            self.add(error.to_string());
        }
    }

    fn add(&mut self, text: String) {
        if self.texts.len() < 3 {
            self.texts.push(text);
        } else {
            self.more += 1;
        }
    }

    fn count(&self) -> usize {
        self.texts.len() + self.more
    }

    fn result(self) -> Result<(), String> {
        if self.texts.is_empty() {
            return Ok(());
        }
        let more = if self.more > 0 { format!("; and {} more", self.more) } else { String::new() };
        Err(format!("{}{more}", self.texts.join("; ")))
    }
}
