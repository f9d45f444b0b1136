//! `vrrp_sync_group`, and what it does to its members.

use weir_model::vrrp::{SyncGroup, TrackProxy};
use weir_syntax::{Span, Word};

use crate::draft::Draft;
use crate::keyword::Action::{Group, WithoutEffect};
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, Line};
use crate::scope::Scope;
use crate::{instance, script, uses};

/// A group before its members are known to exist.
#[derive(Debug)]
pub struct GroupDraft {
    pub(crate) group: SyncGroup,
    pub(crate) span: Span,
    members: Vec<Word>,
    smtp_alert: Option<bool>,
    notify_priority_changes: Option<bool>,
}

impl GroupDraft {
    pub(crate) fn new(name: &str, span: Span) -> Self {
        let group = SyncGroup { name: name.to_owned(), ..SyncGroup::default() };
        Self { group, span, members: Vec::new(), smtp_alert: None, notify_priority_changes: None }
    }
}

const B: Blocks = Blocks::GROUP;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::list("group", B, "INSTANCE ...", "Its members, which change together.", Group(members)),
    Keyword::command("notify_master", B, "Runs when the group becomes master.", Group(notify)),
    Keyword::command("notify_backup", B, "Runs when the group becomes backup.", Group(notify)),
    Keyword::command("notify_fault", B, "Runs when the group fails.", Group(notify)),
    Keyword::command("notify_stop", B, "Runs when VRRP stops.", Group(notify)),
    Keyword::command(
        "notify",
        B,
        "Runs at every change with GROUP, name, state and priority as further arguments.",
        Group(notify),
    ),
    Keyword::flag("smtp_alert", B, "Changes are told by mail.", Group(smtp_alert))
        .default("smtp_alert_vrrp, smtp_alert"),
    Keyword::bare(
        "sync_group_tracking_weight",
        B,
        "Members keep trackers with weights.",
        Group(keep_weights),
    ),
    Keyword::bare("global_tracking", B, "The old name of sync_group_tracking_weight.", Group(keep_weights)),
    Keyword::flag(
        "notify_priority_changes",
        B,
        "Changes of the priority are told as well.",
        Group(priority_changes),
    ),
    Keyword::line(
        "debug",
        B,
        (0, 1),
        "[LEVEL]",
        "More is logged.",
        WithoutEffect("the level of the log is set for the whole of Weir"),
    ),
];

fn members(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if draft.members.is_empty() {
        draft.members = line.item_words().cloned().collect();
    } else {
        scope.warn(line.span(), format!("the group named its members before; {IGNORED}"));
    }
}

fn notify(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(slot) = instance::slot(&mut draft.group.notify, line.name()) {
        script::once(slot, line, scope);
    }
}

fn smtp_alert(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.smtp_alert = line.flag(scope).or(draft.smtp_alert);
}

fn priority_changes(draft: &mut GroupDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.notify_priority_changes = line.flag(scope).or(draft.notify_priority_changes);
}

fn keep_weights(draft: &mut GroupDraft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.group.keep_weights = true;
}

/// The groups whose members exist, and what they change in them.
pub(crate) fn complete(
    drafts: Vec<GroupDraft>,
    instances: &mut [Draft],
    scope: &mut Scope<'_>,
) -> Vec<SyncGroup> {
    let mut groups = Vec::new();
    for draft in drafts {
        let members = existing(&draft, &groups, instances, scope);
        let GroupDraft { mut group, span, smtp_alert, notify_priority_changes, .. } = draft;
        group.members = members;
        group.smtp_alert = smtp_alert.unwrap_or(scope.defaults.alerts());
        let everywhere = scope.defaults.globals.notify_priority_changes;
        group.notify_priority_changes = notify_priority_changes.unwrap_or(everywhere);
        if group.members.is_empty() {
            let message = format!("sync group {} has no members; it is ignored", group.name);
            scope.advise(span, message, "name its instances: group { NAME ... }");
            continue;
        }
        if group.members.len() == 1 {
            let message =
                format!("sync group {} has one member, which has nothing to change with", group.name);
            scope.warn(span, message);
        }
        owners(&mut group, span, instances, scope);
        for member in instances.iter_mut().filter(|one| group.members.contains(&one.instance.name)) {
            if member.notify_priority_changes.is_none() {
                member.instance.notify_priority_changes = group.notify_priority_changes;
            }
            if !group.keep_weights {
                even_out(member, &group.name, scope);
            }
        }
        groups.push(group);
    }
    groups
}

fn existing(
    draft: &GroupDraft,
    groups: &[SyncGroup],
    instances: &[Draft],
    scope: &mut Scope<'_>,
) -> Vec<String> {
    let mut members: Vec<String> = Vec::new();
    for word in &draft.members {
        let name = &word.text;
        if !instances.iter().any(|one| one.instance.name == *name) {
            let known: Vec<_> = instances.iter().map(|one| one.instance.name.as_str()).collect();
            let help = format!("instances are {}", known.join(", "));
            scope.advise(word.span, format!("no instance has the name {name:?}; it is ignored"), help);
        } else if groups.iter().any(|group| group.members.contains(name)) {
            scope.warn(word.span, format!("{name} is a member of another sync group; it is ignored here"));
        } else if members.contains(name) {
            scope.warn(word.span, format!("{name} is a member before; it is ignored here"));
        } else {
            members.push(name.clone());
        }
    }
    members
}

/// An owner ignores priorities, so a group of owners and others can never agree.
fn owners(group: &mut SyncGroup, span: Span, instances: &[Draft], scope: &mut Scope<'_>) {
    let owners = instances
        .iter()
        .filter(|one| group.members.contains(&one.instance.name) && one.instance.is_owner())
        .count();
    if owners == 0 {
        return;
    }
    if owners < group.members.len() {
        let message = format!("sync group {} has owners of addresses (priority 255) and others", group.name);
        scope.advise(span, message, "they cannot change together: give all members priorities below 255");
    }
    let SyncGroup { track_interfaces, track_scripts, track_processes, track_files, .. } = group;
    for tracks in [track_interfaces, track_scripts, track_processes, track_files] {
        for track in tracks.iter_mut().filter(|track| track.weight != 0) {
            scope.warn(
                span,
                format!("the weight of {:?} is ignored: a member owns its addresses", track.name),
            );
            track.weight = 0;
        }
    }
}

/// What a group takes from a member: trackers that would move one priority alone.
fn even_out(member: &mut Draft, group: &str, scope: &mut Scope<'_>) {
    let reason = format!(
        "members of sync group {group} keep their priorities (sync_group_tracking_weight lets them move)"
    );
    let at = |keyword| member.at(keyword);
    let [interfaces, scripts, processes] = ["track_interface", "track_script", "track_process"].map(at);
    let [files, upstreams, proxy] = ["track_file", "track_upstream", "track_proxy"].map(at);
    let instance = &mut member.instance;
    for track in instance.track_interfaces.iter_mut().filter(|track| track.weight != 0) {
        scope.warn(interfaces, format!("the weight of {:?} is ignored: {reason}", track.name));
        track.weight = 0;
    }
    uses::drop_weighted(&mut instance.track_scripts, scripts, &reason, scope);
    uses::drop_weighted(&mut instance.track_processes, processes, &reason, scope);
    uses::drop_weighted(&mut instance.track_upstreams, upstreams, &reason, scope);
    uses::drop_weighted_files(&mut instance.track_files, files, &reason, scope);
    if let TrackProxy::Weight(weight) = instance.track_proxy {
        scope.warn(proxy, format!("track_proxy weight {weight} is ignored: {reason}"));
        instance.track_proxy = TrackProxy::Off;
    }
}
