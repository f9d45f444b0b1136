//! What a configuration needs of the machine before its elections start: rights, interfaces, firewall, static
//! addresses. All that touches files or may wait is done here, and not in the real-time thread.

use std::collections::HashSet;
use std::io;
use std::net::Ipv6Addr;

use rustix::thread::CapabilitySet;
use weir_model::vrrp::{Address, Delivery, Family, Instance, Mac, Vmac, Vrrp};
use weir_netlink::{AddressWish, LinkInfo, Netlink};

use crate::firewall;

/// Why the elections cannot run: one line each.
pub(crate) type Problems = Vec<String>;

/// Looks whether all that is needed is there. Nothing is changed.
pub(crate) fn check(config: &Vrrp, before: Option<&Vrrp>) -> Result<Vec<String>, Problems> {
    let links = links().map_err(|error| vec![error.to_string()])?;
    let mut problems = missing_rights();
    let mut warnings = Vec::new();
    for instance in &config.instances {
        let exists = links.iter().any(|link| link.name == instance.interface);
        if exists || config.globals.dynamic_interfaces {
            continue;
        }
        let (name, interface) = (&instance.name, &instance.interface);
        let text = format!("vrrp_instance {name}: there is no interface {interface}");
        // A reload that names a new interface is a slip of the pen; one that lost its interface has to go on.
        let known = before.is_none_or(|old| old.instances.iter().any(|one| one.interface == *interface));
        if known {
            warnings.push(format!("{text}; the instance is in FAULT until it appears"));
        } else {
            problems.push(format!(
                "{text}; correct the name, or set dynamic_interfaces in global_defs if it comes later"
            ));
        }
    }
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

/// What the process may not do and has to.
fn missing_rights() -> Problems {
    let Ok(sets) = rustix::thread::capabilities(None) else { return Vec::new() };
    let needed = [
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "put addresses on interfaces"),
        (CapabilitySet::NET_RAW, "CAP_NET_RAW", "send advertisements"),
    ];
    let missing = needed.into_iter().filter(|(bit, _, _)| !sets.effective.contains(*bit));
    missing
        .map(|(_, name, what)| {
            let bit = name.to_lowercase();
            format!(
                "{name} is missing, without which nobody may {what}; run as root, or grant it: `setcap \
                 {bit}+ep` on the binary, or AmbientCapabilities={name} in the unit"
            )
        })
        .collect()
}

fn links() -> io::Result<Vec<LinkInfo>> {
    Netlink::open()?.links()
}

/// Makes virtual interfaces, firewall rules and static addresses. What fails is told and does not stop the rest: an
/// election without it is better than none.
pub(crate) fn make(config: &Vrrp, tell: &dyn Fn(String)) {
    let links = match links() {
        Ok(links) => links,
        Err(error) => return tell(format!("the interfaces cannot be read: {error}")),
    };
    for instance in &config.instances {
        if let Some(vmac) = &instance.vmac
            && let Err(error) = make_vmac(config, instance, vmac, &links)
        {
            tell(format!("vrrp_instance {}: use_vmac: {error}", instance.name));
        }
        if instance.promote_secondaries {
            let name = format!("net/ipv4/conf/{}/promote_secondaries", instance.interface);
            set(&name, "1", tell);
        }
    }
    allow_memberships(config, tell);
    if let Err(error) = firewall::put(config) {
        tell(error);
    }
    statics(config, &links, true, tell);
}

/// Takes away what [`make`] made for `old` and `new` does not need.
pub(crate) fn clear(old: &Vrrp, new: &Vrrp, tell: &dyn Fn(String)) {
    let Ok(links) = links() else { return };
    let kept = vmac_names(new);
    for name in vmac_names(old).into_iter().filter(|name| !kept.contains(name)) {
        let Some(link) = links.iter().find(|link| link.name == *name) else { continue };
        let removed = Netlink::open().map(|mut netlink| netlink.delete_link(link.index));
        if let Ok(Err(error)) = removed {
            tell(format!("interface {name}: {error}"));
        }
    }
    if !firewall::is_kept(old, new)
        && let Err(error) = firewall::remove(old)
    {
        tell(error);
    }
    let gone = Vrrp {
        static_addresses: without(&old.static_addresses, &new.static_addresses),
        static_routes: without(&old.static_routes, &new.static_routes),
        static_rules: without(&old.static_rules, &new.static_rules),
        ..Vrrp::default()
    };
    statics(&gone, &links, false, tell);
}

fn without<T: Clone + PartialEq>(old: &[T], new: &[T]) -> Vec<T> {
    old.iter().filter(|one| !new.contains(one)).cloned().collect()
}

/// The virtual interfaces of all instances that have one.
fn vmac_names(config: &Vrrp) -> Vec<String> {
    let own = config.instances.iter().filter(|instance| instance.vmac.is_some());
    own.map(|instance| weir_vrrp::assets(config, instance).interface).collect()
}

fn make_vmac(config: &Vrrp, instance: &Instance, vmac: &Vmac, links: &[LinkInfo]) -> Result<(), String> {
    let base = &instance.interface;
    let base_link = links.iter().find(|link| link.name == *base);
    let base_link = base_link.ok_or_else(|| format!("there is no interface {base}"))?;
    let family = match instance.family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    let mac = vmac.mac.unwrap_or(Mac([0, 0, 0x5e, 0, family, instance.vrid]));
    let name = weir_vrrp::assets(config, instance).interface;
    let mut netlink = Netlink::open().map_err(|error| error.to_string())?;
    netlink.add_macvlan(&name, base_link.index, mac).map_err(|error| error.to_string())?;
    // The kernel must neither answer for the base's addresses here, nor the other way round, nor drop what comes in by
    // one and would leave by the other. What leaves by the base asks for its neighbours with the base's address: asked
    // with the virtual one, they would learn the base's hardware address for it.
    let own = ["arp_ignore=1", "accept_local=1", "rp_filter=0", "promote_secondaries=1"];
    let settings = own.iter().map(|one| (name.as_str(), *one));
    let below = ["arp_ignore=1", "arp_filter=1", "arp_announce=2"];
    let settings = settings.chain(below.iter().map(|one| (base.as_str(), *one)));
    let mut failures = Vec::new();
    for (interface, setting) in settings.chain([("all", "rp_filter=0")]) {
        let (key, value) = setting.split_once('=').unwrap_or((setting, "1"));
        set(&format!("net/ipv4/conf/{interface}/{key}"), value, &mut |text| failures.push(text));
    }
    replace_link_local(&name, &mut |text| failures.push(text));
    if let (Family::V6, Some(mac)) = (instance.family, base_link.mac) {
        put_link_local(&mut netlink, &name, link_local(mac, instance.vrid))?;
    }
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// The kernel makes a link-local address of the hardware address, which is the same at all routers of the VRID: they
/// would take each other's advertisements for their own.
fn replace_link_local(name: &str, tell: &mut dyn FnMut(String)) {
    let setting = |key: &str| format!("net/ipv6/conf/{name}/{key}");
    // Without IPv6 there is nothing to replace.
    let Ok(mode) = weir_net::read_sysctl(&setting("addr_gen_mode")) else { return };
    if mode.trim() == NO_LINK_LOCAL {
        return;
    }
    set(&setting("addr_gen_mode"), NO_LINK_LOCAL, &mut *tell);
    if weir_net::read_sysctl(&setting("disable_ipv6")).is_ok_and(|off| off.trim() == "0") {
        // The kernel takes the address off that it has made already.
        set(&setting("disable_ipv6"), "1", &mut *tell);
        set(&setting("disable_ipv6"), "0", &mut *tell);
    }
}

/// `IN6_ADDR_GEN_MODE_NONE`
const NO_LINK_LOCAL: &str = "1";

/// One of this node and this virtual router alone: as RFC 4291 appendix A makes it of the base's hardware address, with
/// the VRID in the place of the constant.
fn link_local(Mac([a, b, c, d, e, f]): Mac, vrid: u8) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0, vrid, d, e, f])
}

fn put_link_local(netlink: &mut Netlink, name: &str, address: Ipv6Addr) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let link = netlink.links().map_err(text)?.into_iter().find(|link| link.name == name);
    let link = link.ok_or_else(|| format!("interface {name} has vanished"))?;
    let address = Address { prefix_len: 64, preferred: None, ..Address::new(address.into()) };
    let wish = AddressWish { address: &address, interface: link.index, lease: None };
    let results = netlink.put_addresses(&[wish]).map_err(|error| error.to_string())?;
    results.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(error.to_string()))
}

/// One socket hears the groups of all interfaces; the kernel lets it join 20 and no more, unless it is told to.
fn allow_memberships(config: &Vrrp, tell: &dyn Fn(String)) {
    let name = "net/ipv4/igmp_max_memberships";
    let groups = config.instances.iter().filter_map(|one| match one.delivery {
        Delivery::Multicast(group) if group.is_ipv4() => {
            Some((weir_vrrp::assets(config, one).interface, one.interface.as_str(), group))
        }
        _ => None,
    });
    let wanted = groups.collect::<HashSet<_>>().len();
    let allowed = weir_net::read_sysctl(name).ok().and_then(|text| text.parse().ok());
    if allowed.is_some_and(|allowed: usize| allowed < wanted) {
        set(name, &wanted.to_string(), tell);
    }
}

/// Writes a kernel setting, unless it has the value already.
fn set(name: &str, value: &str, mut tell: impl FnMut(String)) {
    if weir_net::read_sysctl(name).is_ok_and(|now| now.trim() == value) {
        return;
    }
    if let Err(error) = weir_net::write_sysctl(name, value) {
        let name = name.replace('/', ".");
        tell(format!("{name} cannot be set to {value}: {error}; set it with sysctl"));
    }
}

/// Static addresses, routes and rules: put, or taken away.
fn statics(config: &Vrrp, links: &[LinkInfo], put: bool, tell: &dyn Fn(String)) {
    let resolve = |name: &str| links.iter().find(|link| link.name == *name).map(|link| link.index);
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => return tell(error.to_string()),
    };
    for address in &config.static_addresses {
        let Some(interface) = address.interface.as_deref().and_then(resolve) else {
            tell(format!("static_ipaddress {}: its interface does not exist", address.address));
            continue;
        };
        let wish = [AddressWish { address, interface, lease: None }];
        let done = if put { netlink.put_addresses(&wish) } else { netlink.remove_addresses(&wish) };
        match done {
            Ok(results) => {
                results.into_iter().filter_map(Result::err).for_each(|error| tell(error.to_string()))
            }
            Err(error) => tell(error.to_string()),
        }
    }
    for route in &config.static_routes {
        let done = if put {
            netlink.put_route(route, None, &resolve)
        } else {
            netlink.remove_route(route, None, &resolve)
        };
        done.unwrap_or_else(|error| tell(error.to_string()));
    }
    for rule in &config.static_rules {
        let done = if put { netlink.put_rule(rule) } else { netlink.remove_rule(rule) };
        done.unwrap_or_else(|error| tell(error.to_string()));
    }
}
