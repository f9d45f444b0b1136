//! Unicast: who sends to whom.

use std::net::IpAddr;

use weir_model::vrrp::{Delivery, Unicast};
use weir_syntax::Severity::Error;

use crate::Rule;
use crate::report::Report;
use crate::router::Member;
use crate::scene::Scene;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "vrrp-peer-missing",
        severity: Error,
        doc: "A node does not name another one of the same virtual router among its peers.",
        find: missing,
    },
    Rule {
        id: "vrrp-peer-self",
        severity: Error,
        doc: "A node names its own address among its peers.",
        find: own,
    },
    Rule {
        id: "vrrp-source-equal",
        severity: Error,
        doc: "Two nodes have one unicast_src_ip, as a copied file has.",
        find: source,
    },
];

fn unicast<'a>(member: &Member<'a>) -> Option<&'a Unicast> {
    match &member.instance.delivery {
        Delivery::Unicast(unicast) => Some(unicast),
        Delivery::Multicast(_) => None,
    }
}

fn names(unicast: &Unicast, address: IpAddr) -> bool {
    unicast.peers.iter().any(|peer| peer.address == address)
}

fn missing<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, others) in scene.routers.iter().flat_map(|router| router.rivals()) {
        let Some(peers) = unicast(one) else { continue };
        for other in others {
            let Some(source) = other.instance.source.filter(|_| unicast(other).is_some()) else { continue };
            if names(peers, source) || one.instance.source == Some(source) {
                continue;
            }
            let message = format!(
                "{} of {} does not send to {source}, which is {}: {} never hears it and is master whenever it runs",
                one.name(),
                one.node.name,
                other.node.name,
                other.node.name
            );
            let finding = report.add(&[one.node, other.node], one.at("unicast_peer"), message);
            finding.see(other.at("unicast_src_ip"), format!("{} sends from {source}", other.node.name));
            let strangers = strangers(scene, one, peers);
            finding.help(match strangers.as_slice() {
                [] => format!("add {source} to unicast_peer of {}", one.node.name),
                [stranger, ..] => {
                    format!("write {source} instead of {stranger}, from which no node sends, or add it")
                }
            });
        }
    }
}

/// Peers that are no node's source, when those of all nodes are known.
fn strangers(scene: &Scene<'_>, member: &Member<'_>, peers: &Unicast) -> Vec<IpAddr> {
    let router = scene.router_of(member.instance).and_then(|index| scene.routers.get(index));
    let members = router.map(|router| router.members.as_slice()).unwrap_or_default();
    let known: Vec<IpAddr> = members.iter().filter_map(|member| member.instance.source).collect();
    if known.len() < members.len() {
        return Vec::new();
    }
    peers.peers.iter().map(|peer| peer.address).filter(|address| !known.contains(address)).collect()
}

fn own<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for member in scene.members() {
        let (Some(peers), Some(source)) = (unicast(member), member.instance.source) else { continue };
        if !names(peers, source) {
            continue;
        }
        let message = format!(
            "{} of {} names its own address {source} among its peers: it sends to itself",
            member.name(),
            member.node.name
        );
        report
            .add(&[member.node], member.item("unicast_peer", &source.to_string()), message)
            .see(member.at("unicast_src_ip"), "its own address")
            .help(format!("take {source} out of unicast_peer and name the other nodes there"));
    }
}

fn source<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in &scene.routers {
        for (i, member) in router.members.iter().enumerate() {
            let Some(source) = member.instance.source else { continue };
            let earlier = router.members.iter().take(i);
            let Some(twin) = earlier.into_iter().find(|earlier| earlier.instance.source == Some(source))
            else {
                continue;
            };
            let message = format!(
                "{} sends from {source} on {} and on {}: an address belongs to one node",
                member.name(),
                member.node.name,
                twin.node.name
            );
            report
                .add(&[member.node, twin.node], member.at("unicast_src_ip"), message)
                .see(twin.at("unicast_src_ip"), format!("{} sends from it too", twin.node.name))
                .help(format!("write the own address of {} or {} there", member.node.name, twin.node.name));
        }
    }
}
