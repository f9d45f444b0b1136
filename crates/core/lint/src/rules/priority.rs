//! Who wins an election, and whether trackers can change that.

use weir_model::vrrp::Instance;
use weir_syntax::Severity::{Error, Warning};

use crate::Rule;
use crate::place::Place;
use crate::report::Report;
use crate::router::{Member, Router, find, lines_of, root};
use crate::scene::Scene;
use crate::weight::{Reach, Weight};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "vrrp-owners",
        severity: Error,
        doc: "Several nodes own the addresses (priority 255): each is master whatever the others say.",
        find: owners,
    },
    Rule {
        id: "vrrp-priority-equal",
        severity: Warning,
        doc: "Nodes of one virtual router have the same priority, so that their addresses decide.",
        find: equal,
    },
    Rule {
        id: "vrrp-weight",
        severity: Warning,
        doc: "All weights of a node's trackers together cannot move the addresses to another node.",
        find: weights,
    },
];

/// The members after the first that have the priority of an earlier one, each with the first such.
fn twins<'r, 'a>(router: &'r Router<'a>) -> Vec<(&'r Member<'a>, &'r Member<'a>)> {
    let all = if router.collision { &[] } else { router.members.as_slice() };
    let later = all.iter().enumerate().filter_map(|(i, member)| {
        let priority = member.instance.priority;
        Some((all.iter().take(i).find(|earlier| earlier.instance.priority == priority)?, member))
    });
    later.collect()
}

/// `priority`, or the `state MASTER` from which 255 follows.
fn at_priority<'a>(member: &Member<'a>) -> Place<'a> {
    if member.says("priority") { member.at("priority") } else { member.at("state") }
}

fn owners<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    let twins = scene.routers.iter().flat_map(twins);
    for (one, other) in twins.filter(|(one, _)| one.instance.is_owner()) {
        let message = format!(
            "{} has priority 255 on {} and {}: both hold the addresses at once",
            other.name(),
            other.node.name,
            one.node.name
        );
        report
            .add(&[other.node, one.node], at_priority(other), message)
            .see(at_priority(one), format!("priority 255 of {}", one.node.name))
            .help("write priority 150 on the node that shall have them and 100 on the other one");
    }
}

/// RFC 9568 section 6.4.3: of two masters with one priority the higher primary address stays.
fn equal<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in &scene.routers {
        for (one, other) in twins(router).into_iter().filter(|(one, _)| !one.instance.is_owner()) {
            let priority = one.instance.priority;
            let winner = match (one.instance.source, other.instance.source) {
                (Some(a), Some(b)) if a > b => format!(" ({})", one.node.name),
                (Some(a), Some(b)) if a < b => format!(" ({})", other.node.name),
                _ => String::new(),
            };
            let message = format!(
                "{} has priority {priority} on {} and {}: when both start at once, both become master for a \
                 moment, and the one with the higher source address{winner} stays",
                other.name(),
                other.node.name,
                one.node.name
            );
            let free = free_priority(router, priority);
            report
                .add(&[other.node, one.node], at_priority(other), message)
                .see(at_priority(one), format!("priority {priority} of {}", one.node.name))
                .help(format!("give {} another one, such as {free}", other.node.name));
        }
    }
}

/// The next lower priority that no member has, or the next higher one.
fn free_priority(router: &Router<'_>, priority: u8) -> u8 {
    let taken = |other: &u8| router.members.iter().any(|member| member.instance.priority == *other);
    let mut candidates = (1..priority).rev().chain(priority..Instance::OWNER);
    candidates.find(|other| !taken(other)).unwrap_or(priority)
}

/// Where the weight of a tracker is written: with its use, else with its definition.
pub(super) fn at_weight<'a>(member: &Member<'a>, weight: &Weight) -> Place<'a> {
    let block = match weight.group {
        false => root(member.loaded, "vrrp_instance", Some(member.name())),
        true => {
            let mut groups = member.loaded.vrrp.groups.iter();
            let group = groups.find(|group| group.members.contains(&member.instance.name));
            group.and_then(|group| root(member.loaded, "vrrp_sync_group", Some(&group.name)))
        }
    };
    let list = find(lines_of(block), weight.list);
    let item = find(lines_of(list), &weight.name);
    let definition = match weight.list {
        "track_script" => root(member.loaded, "vrrp_script", Some(&weight.name)),
        "track_process" => root(member.loaded, "vrrp_track_process", Some(&weight.name)),
        _ => None,
    };
    let defined =
        find(lines_of(definition), "weight").filter(|_| item.is_none_or(|item| item.args.is_empty()));
    let line = defined.or(item).or(list).or(block);
    Place { files: &member.loaded.tree.files, span: line.map(|line| line.span) }
}

fn weights<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for (one, others) in scene.routers.iter().flat_map(Router::rivals) {
        let reach = one.reach();
        let rivals: Vec<(&Member<'a>, Reach)> =
            others.into_iter().map(|other| (other, other.reach())).collect();
        let open = reach.open || rivals.iter().any(|(_, reach)| reach.open);
        let Some((rival, best)) = rivals.into_iter().max_by_key(|(_, reach)| reach.best) else { continue };
        let Some(first) = reach.weights.iter().max_by_key(|weight| weight.weight.abs()) else { continue };
        if open || reach.worst < best.best {
            continue;
        }
        let (left, above) = (reach.worst, best.best);
        let still = if left == above { "not below" } else { "still above" };
        let all = match reach.weights.as_slice() {
            [only] => format!("weight {} of {only} leaves", only.weight),
            several => format!("the weights of all {} trackers together leave", several.len()),
        };
        let message = format!(
            "{all} {} priority {left} on {}, {still} {above} of {}: a failure never moves the addresses",
            one.name(),
            one.node.name,
            rival.node.name
        );
        report
            .add(&[one.node, rival.node], at_weight(one, first), message)
            .see(at_priority(rival), format!("priority {} of {}", rival.instance.priority, rival.node.name))
            .help(remedy(&reach, &best));
    }
}

/// A backup takes over from a master that is below it, not from an equal one.
fn remedy(reach: &Reach, rival: &Reach) -> String {
    let needed = reach.best - rival.best + 1;
    let lower = reach.weights.iter().all(|weight| weight.weight < 0);
    if needed > 253 {
        return "bring the priorities of the nodes closer together: a weight is at most 253".to_owned();
    }
    match (reach.weights.as_slice(), lower) {
        ([_], true) => format!("use at least -{needed}, or weight 0, with which a failure is a fault"),
        (_, true) => format!("make them at least -{needed} together, or use weight 0 for what is a fault"),
        _ => {
            let needed = (reach.worst - rival.worst + 1).max(1);
            format!(
                "use a negative weight of at least -{needed}, or weight 0, with which a failure is a fault"
            )
        }
    }
}
