//! `nopreempt`: where it does nothing, and where it keeps trackers from doing anything.

use weir_syntax::Severity::Warning;

use crate::Rule;
use crate::report::Report;
use crate::router::{Member, Router};
use crate::scene::Scene;
use crate::weight::Reach;

use super::priority::at_weight;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "vrrp-nopreempt-idle",
        severity: Warning,
        doc: "nopreempt stands only where a node has no lower one from which it could take the addresses.",
        find: idle,
    },
    Rule {
        id: "vrrp-nopreempt-weight",
        severity: Warning,
        doc: "A tracker lowers a priority, and nopreempt keeps every other node from using that.",
        find: weighted,
    },
];

type Reached<'r, 'a> = (&'r Member<'a>, Reach);

fn reached<'r, 'a>(router: &'r Router<'a>) -> Vec<Reached<'r, 'a>> {
    let members = if router.collision { &[] } else { router.members.as_slice() };
    members.iter().map(|member| (member, member.reach())).collect()
}

/// Whether one can be above another one at some time.
fn can_pass((one, best): &Reached<'_, '_>, (other, worst): &Reached<'_, '_>) -> bool {
    !std::ptr::eq(*one, *other) && (best.open || worst.open || best.best > worst.worst)
}

fn idle<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in &scene.routers {
        let members = reached(router);
        let quiet: Vec<&Reached<'_, '_>> =
            members.iter().filter(|(member, _)| member.instance.nopreempt).collect();
        let useful = quiet.iter().any(|one| members.iter().any(|other| can_pass(one, other)));
        let Some((one, _)) = quiet.first().filter(|_| !useful) else { continue };
        let top = members.iter().map(|(member, _)| *member).max_by_key(|member| member.instance.priority);
        let Some(top) = top.filter(|top| top.instance.priority > one.instance.priority) else { continue };
        let (own, highest) = (one.instance.priority, top.instance.priority);
        let message = format!(
            "nopreempt of {} does nothing on {}: no node is below its priority {own}, from which it could take the \
             addresses",
            one.name(),
            one.node.name
        );
        let place = if top.says("nopreempt") { top.at("nopreempt") } else { top.at("priority") };
        let says = format!("{} with priority {highest} takes them back when it returns", top.node.name);
        report.add(&[one.node, top.node], one.at("nopreempt"), message).see(place, says).help(format!(
            "write state BACKUP and nopreempt on {}{}",
            top.node.name,
            if top.instance.is_owner() { ", with a priority below 255" } else { "" }
        ));
    }
}

/// A backup with nopreempt accepts advertisements of any priority (keepalived.conf(5), nopreempt).
fn weighted<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in &scene.routers {
        let members = reached(router);
        let mut hindered = members.iter().filter_map(|one| {
            let weight = one.1.weights.first()?;
            let mut above = members.iter().filter(|other| can_pass(other, one)).peekable();
            above.peek()?;
            let open = one.1.open;
            (!open && above.all(|(other, _)| other.instance.nopreempt)).then_some((one.0, weight))
        });
        let Some((one, weight)) = hindered.next() else { continue };
        let quiet = members.iter().map(|(member, _)| *member);
        let Some(quiet) =
            quiet.filter(|member| member.instance.nopreempt).find(|other| !std::ptr::eq(*other, one))
        else {
            continue;
        };
        let message = format!(
            "weight {} of {weight} never moves the addresses of {} away from {}: {} has nopreempt and leaves a lower \
             master alone",
            weight.weight,
            one.name(),
            one.node.name,
            quiet.node.name
        );
        let finding = report.add(&[one.node, quiet.node], at_weight(one, weight), message);
        finding.see(quiet.at("nopreempt"), format!("nopreempt of {}", quiet.node.name));
        for (other, weight) in hindered {
            finding.see(at_weight(other, weight), format!("the same on {}", other.node.name));
        }
        finding.help("use weight 0, with which a failure is a fault and the other node takes over");
    }
}
