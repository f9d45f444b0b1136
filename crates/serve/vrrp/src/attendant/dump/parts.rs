//! Addresses, routes and rules as keepalived prints them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use weir_model::vrrp::{Address, Broadcast, Family, Instance, NextHop, Route, RouteKind, Rule, RuleAction};

/// The protocol number that keepalived's routes and rules carry (linux/rtnetlink.h, RTPROT_KEEPALIVED).
const PROTOCOL: u8 = 18;
/// The kernel's main table, which is not printed.
const MAIN: u32 = 254;

/// Where an instance's addresses are: on its own interface, or on its virtual one.
pub(super) fn device(instance: &Instance) -> String {
    let Some(vmac) = &instance.vmac else { return instance.interface.clone() };
    let name = vmac.name.clone().unwrap_or_else(|| vmac_name(instance));
    format!("{name}@{}", instance.interface)
}

/// The name of the virtual interface, without what it is on.
pub(super) fn vmac_name(instance: &Instance) -> String {
    let Some(vmac) = &instance.vmac else { return String::new() };
    vmac.name.clone().unwrap_or_else(|| format!("vrrp.{}", instance.vrid))
}

/// `10.0.0.9/24 dev eth0 scope global set`
pub(super) fn address(address: &Address, instance: &Instance, held: bool) -> String {
    let mut text = prefixed(address.address, address.prefix_len);
    if let Some(broadcast) = broadcast(address) {
        _ = write!(text, " brd {broadcast}");
    }
    let device = address.interface.clone().unwrap_or_else(|| device(instance));
    _ = write!(text, " dev {device} scope {}", scope(address.scope));
    if let Some(label) = &address.label {
        _ = write!(text, " label {label}");
    }
    if let Some((peer, len)) = address.peer {
        _ = write!(text, " peer {peer}/{len}");
    }
    let v6 = Family::of(&address.address) == Family::V6;
    let flags = [
        (address.home, " home"),
        (address.mngtmpaddr, " mngtmpaddr"),
        (address.noprefixroute, " noprefixroute"),
        (address.autojoin, " autojoin"),
        (!address.track, " no_track"),
    ];
    flags.iter().filter(|(set, _)| *set).for_each(|(_, word)| text.push_str(word));
    if v6 {
        match address.preferred {
            Some(0) => text.push_str(" deprecated"),
            None | Some(u32::MAX) => text.push_str(" preferred_lft forever"),
            Some(seconds) => _ = write!(text, " preferred_lft {seconds}"),
        }
    }
    if held {
        text.push_str(" set");
    }
    text
}

/// The prefix length is left out for a whole address.
fn prefixed(address: IpAddr, len: u8) -> String {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    if len == whole { address.to_string() } else { format!("{address}/{len}") }
}

fn broadcast(address: &Address) -> Option<IpAddr> {
    let IpAddr::V4(v4) = address.address else { return None };
    let host = u32::MAX.checked_shr(address.prefix_len.into()).unwrap_or(0);
    match address.broadcast {
        Broadcast::None => None,
        Broadcast::Ones => Some(Ipv4Addr::from(v4.to_bits() | host).into()),
        Broadcast::Zeros => Some(Ipv4Addr::from(v4.to_bits() & !host).into()),
        Broadcast::Given(given) => Some(given),
    }
}

/// The kernel's names (iproute2's rt_scopes).
fn scope(scope: u8) -> String {
    match scope {
        0 => "global".into(),
        200 => "site".into(),
        253 => "link".into(),
        254 => "host".into(),
        255 => "nowhere".into(),
        other => other.to_string(),
    }
}

/// `prepend 192.0.2.0/24 via inet 10.0.0.1 dev eth0 proto 18`
pub(super) fn route(route: &Route) -> String {
    let mut text = "prepend ".to_owned();
    text.push_str(match route.kind {
        RouteKind::Unicast => "",
        RouteKind::Blackhole => "blackhole ",
        RouteKind::Unreachable => "unreachable ",
        RouteKind::Prohibit => "prohibit ",
        RouteKind::Throw => "throw ",
    });
    match route.destination {
        Some((address, len)) => text.push_str(&prefixed(address, len)),
        None => text.push_str("default"),
    }
    if let Some(source) = route.source {
        _ = write!(text, " src {source}");
    }
    if let Some(gateway) = route.gateway {
        _ = write!(text, " via {}", via(gateway));
    }
    if let Some(interface) = &route.interface {
        _ = write!(text, " dev {interface}");
    }
    if route.table != MAIN {
        _ = write!(text, " table {}", route.table);
    }
    _ = write!(text, " proto {}", route.protocol.unwrap_or(PROTOCOL));
    let numbers = [("scope", route.scope.map(u32::from)), ("metric", route.metric)];
    put_numbers(&mut text, numbers);
    if route.onlink && route.family == Family::V4 {
        text.push_str(" onlink");
    }
    put_numbers(&mut text, [("mtu", route.mtu), ("advmss", route.advmss)]);
    route.next_hops.iter().for_each(|hop| next_hop(&mut text, hop));
    if !route.track {
        text.push_str(" no_track");
    }
    text
}

fn put_numbers(text: &mut String, numbers: [(&str, Option<u32>); 2]) {
    for (name, value) in numbers {
        if let Some(value) = value {
            _ = write!(text, " {name} {value}");
        }
    }
}

fn next_hop(text: &mut String, hop: &NextHop) {
    text.push_str(" nexthop");
    if let Some(gateway) = hop.gateway {
        _ = write!(text, " via {}", via(gateway));
    }
    if let Some(interface) = &hop.interface {
        _ = write!(text, " dev {interface}");
    }
    if hop.weight != 1 {
        _ = write!(text, " weight {}", hop.weight);
    }
    if hop.onlink {
        text.push_str(" onlink");
    }
}

fn via(gateway: IpAddr) -> String {
    format!("{} {gateway}", if gateway.is_ipv4() { "inet" } else { "inet6" })
}

/// `from 10.0.0.9 priority 300 tos 0x0 protocol 18 lookup 200`
pub(super) fn rule(rule: &Rule) -> String {
    let mut text = String::new();
    if rule.from.is_none() && rule.to.is_none() && rule.family == Family::V6 {
        text.push_str("inet6 ");
    }
    if rule.invert {
        text.push_str("not ");
    }
    match rule.from {
        Some((address, len)) => _ = write!(text, "from {}", prefixed(address, len)),
        None => text.push_str("from all"),
    }
    if let Some((address, len)) = rule.to {
        _ = write!(text, " to {}", prefixed(address, len));
    }
    if let Some(priority) = rule.priority {
        _ = write!(text, " priority {priority}");
    }
    _ = write!(text, " tos 0x{:x}", rule.tos.unwrap_or(0));
    if let Some((value, mask)) = rule.mark {
        _ = write!(text, " fwmark 0x{value:x}");
        if mask != u32::MAX {
            _ = write!(text, "/0x{mask:x}");
        }
    }
    for (name, interface) in [("iif", &rule.input_interface), ("oif", &rule.output_interface)] {
        if let Some(interface) = interface {
            _ = write!(text, " {name} {interface}");
        }
    }
    if let Some(len) = rule.suppress_prefix_len {
        _ = write!(text, " suppress_prefixlen {len}");
    }
    _ = write!(text, " protocol {PROTOCOL}");
    _ = match rule.action {
        RuleAction::Table => write!(text, " lookup {}", rule.table.unwrap_or(MAIN)),
        RuleAction::Goto(target) => write!(text, " goto {target}"),
        RuleAction::Nop => write!(text, " nop"),
        RuleAction::Blackhole => write!(text, " type blackhole"),
        RuleAction::Unreachable => write!(text, " type unreachable"),
        RuleAction::Prohibit => write!(text, " type prohibit"),
    };
    if !rule.track {
        text.push_str(" no_track");
    }
    text
}
