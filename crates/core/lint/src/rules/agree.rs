//! What all nodes of a virtual router have to say alike.

use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Delivery, Instance, Version};
use weir_syntax::Severity::{Error, Warning};

use crate::Rule;
use crate::report::Report;
use crate::router::{Member, Router};
use crate::scene::Scene;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "vrrp-vrid",
        severity: Error,
        doc: "An address is held under different virtual router ids, so that every node becomes master.",
        find: number,
    },
    Rule {
        id: "vrrp-collision",
        severity: Error,
        doc: "Two virtual routers with nothing in common have one id on one interface.",
        find: collision,
    },
    Rule {
        id: "vrrp-version",
        severity: Error,
        doc: "Nodes of one virtual router speak different versions and do not hear each other.",
        find: version,
    },
    Rule {
        id: "vrrp-interval",
        severity: Error,
        doc: "Nodes that speak version 2 advertise at different intervals and drop each other's advertisements.",
        find: interval,
    },
    Rule {
        id: "vrrp-interval-adopted",
        severity: Warning,
        doc: "Nodes that speak version 3 advertise at different intervals; backups take over that of the master.",
        find: adopted,
    },
    Rule {
        id: "vrrp-authentication",
        severity: Error,
        doc: "Password or kind of authentication differ, so that nodes drop each other's advertisements.",
        find: authentication,
    },
    Rule {
        id: "vrrp-addresses",
        severity: Error,
        doc: "Nodes of one virtual router advertise different addresses.",
        find: addresses,
    },
    Rule {
        id: "vrrp-delivery",
        severity: Error,
        doc: "One node speaks to peers and another to a multicast group, or they have different groups.",
        find: delivery,
    },
];

const ALIKE: &str = "both become master and hold the addresses";

/// Whether two hear each other as far as number and version go: what follows from those is not said again.
fn speak_alike(one: &Instance, other: &Instance) -> bool {
    (one.vrid, one.version) == (other.vrid, other.version)
}

fn number<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let (a, b) = (one.instance.vrid, other.instance.vrid);
        if a == b {
            continue;
        }
        let shared = one.holds().find(|address| other.holds().any(|also| also == *address));
        let address = shared.map_or_else(|| "the address".to_owned(), |address| address.to_string());
        let message = format!(
            "{address} is held under virtual_router_id {b} on {} and {a} on {}: {ALIKE}",
            other.node.name, one.node.name
        );
        report
            .add(&[other.node, one.node], other.at("virtual_router_id"), message)
            .see(one.at("virtual_router_id"), format!("virtual_router_id {a} of {}", one.node.name))
            .help(format!("write virtual_router_id {a} on all nodes"));
    }
}

fn collision<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in scene.routers.iter().filter(|router| router.collision) {
        let one = router.first();
        for other in router.members.iter().skip(1).filter(|other| !shares(one, other)) {
            let (vrid, interface) = (one.instance.vrid, &one.instance.interface);
            let message = format!(
                "{} of {} and {} of {} both use virtual_router_id {vrid} on {interface} for different addresses: each \
                 takes the advertisements of the other one for its own",
                other.name(),
                other.node.name,
                one.name(),
                one.node.name
            );
            let free = free_number(scene, one);
            report
                .add(&[other.node, one.node], other.at("virtual_router_id"), message)
                .see(one.at("virtual_router_id"), format!("{} of {}", one.name(), one.node.name))
                .note(
                    "keepalived from 2.3.3 on and Weir leave the lower priority a backup, so that its addresses are \
                     held by nobody; keepalived before it drops every advertisement of the other one",
                )
                .help(format!("give one of them a number that no other has on this network, such as {free}"));
        }
    }
}

fn shares(one: &Member<'_>, other: &Member<'_>) -> bool {
    one.name() == other.name() || one.holds().any(|address| other.holds().any(|also| also == address))
}

/// The number after the one of a member that no file uses.
fn free_number(scene: &Scene<'_>, member: &Member<'_>) -> u8 {
    let used: Vec<u8> = scene.members().map(|member| member.instance.vrid).collect();
    let after = (member.instance.vrid..=u8::MAX).chain(1..=u8::MAX);
    after.into_iter().find(|number| !used.contains(number)).unwrap_or(u8::MAX)
}

const fn digit(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// RFC 9568 section 7.1: a packet of another version is discarded.
fn version<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let (a, b) = (digit(one.instance.version), digit(other.instance.version));
        if a == b {
            continue;
        }
        let message = format!(
            "{} speaks version {b} on {} and version {a} on {}: {ALIKE}",
            other.name(),
            other.node.name,
            one.node.name
        );
        report
            .add(&[other.node, one.node], other.at_or_global("version", "vrrp_version"), message)
            .see(one.at_or_global("version", "vrrp_version"), format!("version {a} of {}", one.node.name))
            .help("write the same version on all nodes; without one IPv4 has version 2");
    }
}

/// A time as the file writes it.
pub(super) fn seconds(time: Micros) -> String {
    let text = format!("{}.{:06}", time.0 / 1_000_000, time.0 % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// RFC 3768 section 7.1: an interval other than the own one is a reason to discard.
fn interval<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    intervals(scene, report, Version::V2, &format!("nodes of version 2 drop such advertisements, {ALIKE}"));
}

/// RFC 9568 section 6.4.2: a backup sets its Active_Adver_Interval to that of the advertisement.
fn adopted<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    intervals(scene, report, Version::V3, "how long a takeover lasts depends on which node was master");
}

fn intervals<'a>(scene: &Scene<'a>, report: &mut Report<'a>, version: Version, effect: &str) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let (a, b) = (one.instance.advert_interval, other.instance.advert_interval);
        if a == b || one.instance.version != version || !speak_alike(one.instance, other.instance) {
            continue;
        }
        let (a, b) = (seconds(a), seconds(b));
        let message = format!(
            "{} advertises every {b} s on {} and every {a} s on {}: {effect}",
            other.name(),
            other.node.name,
            one.node.name
        );
        report
            .add(&[other.node, one.node], other.at("advert_int"), message)
            .see(one.at("advert_int"), format!("every {a} s on {}", one.node.name))
            .help("write the same advert_int on all nodes");
    }
}

/// Never with the password.
fn kind(authentication: &Authentication) -> &'static str {
    match authentication {
        Authentication::None => "no authentication",
        Authentication::Pass(_) => "auth_type PASS",
        Authentication::Ah(_) => "auth_type AH",
    }
}

fn authentication<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let (a, b) = (&one.instance.authentication, &other.instance.authentication);
        if a == b || !speak_alike(one.instance, other.instance) {
            continue;
        }
        let differ = match (kind(a), kind(b)) {
            (a, b) if a == b => {
                format!("has different passwords on {} and {}", other.node.name, one.node.name)
            }
            (a, b) => format!("has {b} on {} and {a} on {}", other.node.name, one.node.name),
        };
        let message = format!("{} {differ}: they drop each other's advertisements, {ALIKE}", other.name());
        let finding = report.add(&[other.node, one.node], other.at("authentication"), message);
        finding.see(one.at("authentication"), format!("{} on {}", kind(a), one.node.name));
        for member in [one, other] {
            if member.instance.strict && member.says("authentication") {
                let at = member.at_or_global("strict_mode", "vrrp_strict");
                finding.see(at, format!("strict mode clears the authentication of {}", member.node.name));
            }
        }
        finding.help(match one.instance.strict == other.instance.strict {
            true => "write the same authentication on all nodes",
            false => "use strict mode on all nodes or on none, and the same authentication",
        });
    }
}

pub(super) fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// The advertised addresses of one that another one does not advertise.
fn beyond(one: &Instance, other: &Instance) -> Vec<IpAddr> {
    let has = |address: IpAddr| other.addresses.iter().any(|other| other.address == address);
    one.addresses.iter().map(|one| one.address).filter(|address| !has(*address)).collect()
}

/// keepalived drops such an advertisement up to 2.3.2, and only counts it from 2.3.3 on (RFC 9568 section 7.1 leaves
/// the choice).
fn addresses<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let missing = beyond(one.instance, other.instance);
        let further = beyond(other.instance, one.instance);
        if missing.is_empty() && further.is_empty() {
            continue;
        }
        let mut parts = Vec::new();
        if !missing.is_empty() {
            parts.push(format!("{} is on {} only", listed(&missing), one.node.name));
        }
        if !further.is_empty() {
            parts.push(format!("{} is on {} only", listed(&further), other.node.name));
        }
        let message = format!(
            "{} advertises different addresses on {} and {}: {}",
            other.name(),
            other.node.name,
            one.node.name,
            parts.join(", ")
        );
        let first = further.first().map(IpAddr::to_string).unwrap_or_default();
        report
            .add(&[other.node, one.node], other.item("virtual_ipaddress", &first), message)
            .see(one.at("virtual_ipaddress"), format!("the list of {}", one.node.name))
            .note(
                "keepalived before 2.3.3 drops the other's advertisements, and both stay master for ever; \
                 later ones and Weir only count and log it",
            )
            .help("write the same virtual_ipaddress on all nodes; order does not matter");
    }
}

fn way(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Multicast(group) => format!("the multicast group {group}"),
        Delivery::Unicast(_) => "unicast_peer".to_owned(),
    }
}

fn delivery<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, other) in scene.routers.iter().flat_map(Router::pairs) {
        let (a, b) = (way(&one.instance.delivery), way(&other.instance.delivery));
        if a == b {
            continue;
        }
        let at = |member: &Member<'a>| match (&member.instance.delivery, member.instance.family) {
            (Delivery::Unicast(_), _) => member.at("unicast_peer"),
            (_, weir_model::vrrp::Family::V4) => member.at_or_global("mcast_dst_ip", "vrrp_mcast_group4"),
            _ => member.at_or_global("mcast_dst_ip", "vrrp_mcast_group6"),
        };
        let message = format!(
            "{} speaks to {b} on {} and to {a} on {}: they do not hear each other, {ALIKE}",
            other.name(),
            other.node.name,
            one.node.name
        );
        report
            .add(&[other.node, one.node], at(other), message)
            .see(at(one), format!("{} speaks to {a}", one.node.name))
            .help("use unicast_peer on all nodes, or the same multicast group on all");
    }
}
