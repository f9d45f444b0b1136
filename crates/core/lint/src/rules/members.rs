//! Which node takes part in what, and how long a dead one keeps its addresses.

use weir_model::Micros;
use weir_model::vrrp::{SyncGroup, Version};
use weir_syntax::Severity::Warning;

use crate::report::Report;
use crate::router::{Member, Router, find, lines_of, root};
use crate::rules::agree::seconds;
use crate::scene::Scene;
use crate::{Node, Place, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "vrrp-alone",
        severity: Warning,
        doc: "A virtual router exists on one node of the group only: nobody takes its addresses over.",
        find: alone,
    },
    Rule {
        id: "vrrp-sync-group",
        severity: Warning,
        doc: "Instances that change together on one node can be on different nodes, because another one lets them.",
        find: sync_group,
    },
    Rule {
        id: "vrrp-lease",
        severity: Warning,
        doc: "A dead node's addresses stay until after another node has taken them.",
        find: lease,
    },
];

fn alone<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    if scene.speakers().count() < 2 {
        return;
    }
    for member in scene.routers.iter().filter(|router| router.members.len() == 1).map(Router::first) {
        let message = format!(
            "{} (virtual_router_id {}) is on {} only: nobody takes its addresses over",
            member.name(),
            member.instance.vrid,
            member.node.name
        );
        let finding = report.add(&[member.node], member.block(), message);
        let namesake = scene
            .members()
            .find(|other| other.name() == member.name() && !std::ptr::eq(other.node, member.node));
        if let Some(other) = namesake {
            let vrid = other.instance.vrid;
            let says = format!(
                "{} of {} has virtual_router_id {vrid} and other addresses",
                other.name(),
                other.node.name
            );
            finding.see(other.at("virtual_router_id"), says);
        }
        finding.help("add it to another node with the same virtual_router_id and addresses, or take it out");
    }
}

/// The virtual routers of a group's members.
fn routers(scene: &Scene<'_>, node: &Node<'_>, group: &SyncGroup) -> Vec<usize> {
    let instances = node.keepalived.iter().flat_map(|loaded| &loaded.vrrp.instances);
    let members = instances.filter(|one| group.members.contains(&one.name));
    let mut routers: Vec<usize> = members.filter_map(|one| scene.router_of(one)).collect();
    routers.sort_unstable();
    routers
}

fn groups<'a>(node: &'a Node<'a>) -> impl Iterator<Item = (&'a weir_keepalived::Loaded, &'a SyncGroup)> {
    node.keepalived.into_iter().flat_map(|loaded| loaded.vrrp.groups.iter().map(move |group| (loaded, group)))
}

fn sync_group<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (i, node) in scene.speakers().enumerate() {
        for (loaded, group) in groups(node) {
            let bound = routers(scene, node, group);
            for (j, other) in scene.speakers().enumerate().filter(|(j, _)| *j != i) {
                let there: Vec<Vec<usize>> =
                    groups(other).map(|(_, group)| routers(scene, other, group)).collect();
                let shared: Vec<usize> = bound.iter().copied().filter(|one| on(scene, other, *one)).collect();
                let alike = there.iter().any(|theirs| shared.iter().all(|one| theirs.contains(one)));
                // Told from the other side already.
                let told = j < i && there.iter().any(|theirs| theirs.iter().any(|one| bound.contains(one)));
                if shared.len() < 2 || alike || told {
                    continue;
                }
                let names = group.members.join(", ");
                let message = format!(
                    "sync group {} holds {names} together on {}, and {} has no group with all of them: they can be \
                     on different nodes",
                    group.name, node.name, other.name
                );
                let block = root(loaded, "vrrp_sync_group", Some(&group.name));
                let line = find(lines_of(block), "group").or(block);
                let place = Place { files: &loaded.tree.files, span: line.map(|line| line.span) };
                report
                    .add(&[node, other], place, message)
                    .help(format!("write vrrp_sync_group {} with the same members on all nodes", group.name));
            }
        }
    }
}

/// Whether a node takes part in a virtual router.
fn on(scene: &Scene<'_>, node: &Node<'_>, router: usize) -> bool {
    let members = scene.routers.get(router).map(|router| router.members.as_slice()).unwrap_or_default();
    members.iter().any(|member| std::ptr::eq(member.node, node))
}

/// What the kernel takes at most beyond the lifetime of an address until it is gone: measured, it looks in steps.
const LATE: Micros = Micros(350_000);

/// The time after which another node can be master at the earliest: without the skew, which is next to nothing for a
/// high priority. Version 3 counts in the intervals of the dead master (RFC 9568 section 6.1).
fn takeover(dead: &Member<'_>, other: &Member<'_>) -> Micros {
    let interval = match other.instance.version {
        Version::V2 => other.instance.advert_interval,
        Version::V3 => dead.instance.advert_interval,
    };
    Micros(interval.0 * u64::from(other.instance.down_timer_adverts))
}

fn lease<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, others) in scene.routers.iter().flat_map(Router::rivals) {
        let Some(lease) = one.instance.lease else { continue };
        let earliest =
            others.into_iter().map(|other| (takeover(one, other), other)).min_by_key(|(time, _)| *time);
        let Some((time, other)) = earliest else { continue };
        let place = one.at_or_global("address_lease", "address_lease");
        // The file alone shows it as well when it says the lease.
        let told =
            one.loaded.warnings.iter().any(|warning| warning.span.is_some() && warning.span == place.span);
        let left = Micros(Micros::from_secs(u64::from(lease.seconds)).0 + LATE.0);
        if left < time || told {
            continue;
        }
        let message = format!(
            "{} can take over {} after {} s, and when {} dies its lease keeps the addresses for up to {} s: both have \
             them meanwhile",
            other.node.name,
            one.name(),
            seconds(time),
            one.node.name,
            seconds(left)
        );
        let finding = report.add(&[one.node, other.node], place, message);
        finding.see(other.at("advert_int"), format!("the timers of {}", other.node.name));
        let shorter =
            (1..lease.seconds).rev().find(|fit| Micros::from_secs(u64::from(*fit)).0 + LATE.0 < time.0);
        finding.help(match shorter {
            Some(fits) => format!("write address_lease {fits} on {}", one.node.name),
            None => "no lease is shorter than 1 s, the kernel's unit: 0.5 s is the shortest advert_int that one covers"
                .to_owned(),
        });
    }
}
