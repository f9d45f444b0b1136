//! What a reload changes, for people.

use weir_model::vrrp::{Address, Authentication, Instance, Vrrp};

/// One line for each thing that differs. `same` tells whether two instances are one.
pub(crate) fn differences(
    old: &Vrrp,
    new: &Vrrp,
    same: impl Fn(&Instance, &Instance) -> bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for instance in &old.instances {
        match new.instances.iter().find(|other| same(instance, other)) {
            None => lines.push(format!("vrrp_instance {}: leaves", instance.name)),
            Some(other) => lines.extend(instance_line(instance, other)),
        }
    }
    for instance in &new.instances {
        if !old.instances.iter().any(|other| same(other, instance)) {
            lines.push(format!("vrrp_instance {}: is new", instance.name));
        }
    }
    named(&mut lines, "vrrp_sync_group", &old.groups, &new.groups, |one| &one.name);
    named(&mut lines, "vrrp_script", &old.scripts, &new.scripts, |one| &one.name);
    named(&mut lines, "vrrp_track_process", &old.processes, &new.processes, |one| &one.name);
    named(&mut lines, "track_file", &old.files, &new.files, |one| &one.name);
    for (what, differs) in [
        ("global_defs", old.globals != new.globals),
        ("static_ipaddress", old.static_addresses != new.static_addresses),
        ("static_routes", old.static_routes != new.static_routes),
        ("static_rules", old.static_rules != new.static_rules),
        ("garp_group", old.garp_groups != new.garp_groups),
        ("interface_up_down_delays", old.link_delays != new.link_delays),
    ] {
        if differs {
            lines.push(format!("{what}: changes"));
        }
    }
    lines
}

fn named<T: PartialEq>(
    lines: &mut Vec<String>,
    what: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
) {
    let find = |list: &[T], of: &T| list.iter().position(|one| name(one) == name(of));
    for one in old {
        match find(new, one).and_then(|place| new.get(place)) {
            None => lines.push(format!("{what} {}: leaves", name(one))),
            Some(other) if other != one => lines.push(format!("{what} {}: changes", name(one))),
            Some(_) => {}
        }
    }
    for one in new {
        if find(old, one).is_none() {
            lines.push(format!("{what} {}: is new", name(one)));
        }
    }
}

fn instance_line(old: &Instance, new: &Instance) -> Option<String> {
    let mut changes = Vec::new();
    if old.name != new.name {
        changes.push(format!("is called {}", new.name));
    }
    if old.priority != new.priority {
        changes.push(format!("priority {} -> {}", old.priority, new.priority));
    }
    if old.advert_interval != new.advert_interval {
        let (from, to) =
            (old.advert_interval.duration().as_secs_f64(), new.advert_interval.duration().as_secs_f64());
        changes.push(format!("advert_int {from} -> {to}"));
    }
    if old.authentication != new.authentication {
        changes.push(authentication(&old.authentication, &new.authentication).to_owned());
    }
    addresses(&mut changes, &old.addresses, &new.addresses, "");
    addresses(&mut changes, &old.excluded, &new.excluded, " (excluded)");
    settings(&mut changes, old, new);
    (!changes.is_empty()).then(|| format!("vrrp_instance {}: {}", old.name, changes.join("; ")))
}

fn authentication(old: &Authentication, new: &Authentication) -> &'static str {
    match (old, new) {
        (Authentication::None, _) => "authentication is new",
        (_, Authentication::None) => "authentication leaves",
        _ => "authentication changes",
    }
}

fn addresses(changes: &mut Vec<String>, old: &[Address], new: &[Address], note: &str) {
    for line in old {
        match new.iter().find(|other| other.address == line.address) {
            None => changes.push(format!("{}{note} leaves", line.address)),
            Some(other) if other != line => changes.push(format!("{}{note} changes", line.address)),
            Some(_) => {}
        }
    }
    for line in new {
        if !old.iter().any(|other| other.address == line.address) {
            changes.push(format!("{}{note} joins", line.address));
        }
    }
}

/// All that is said by its name alone.
fn settings(changes: &mut Vec<String>, old: &Instance, new: &Instance) {
    macro_rules! compare {
        ($($field:ident as $name:literal),* $(,)?) => {
            $(if old.$field != new.$field {
                changes.push(concat!($name, " changes").to_owned());
            })*
        };
    }
    compare! {
        wants_master as "state", version as "version", delivery as "unicast_peer", source as "mcast_src_ip",
        track_source as "track_src_ip", routes as "virtual_routes", rules as "virtual_rules", vmac as "use_vmac",
        ignore_own_interface as "dont_track_primary", track_interfaces as "track_interface",
        track_scripts as "track_script", track_processes as "track_process", track_files as "track_file",
        track_proxy as "track_proxy", track_upstreams as "track_upstream", nopreempt as "nopreempt",
        preempt_delay as "preempt_delay", garp as "garp", lower_prio_no_advert as "lower_prio_no_advert",
        higher_prio_send_advert as "higher_prio_send_advert", owner_ignore_adverts as "owner_ignore_adverts",
        skip_check_adv_addr as "skip_check_adv_addr", strict as "strict_mode", accept as "accept",
        down_timer_adverts as "down_timer_adverts", timer_expired_backup as "timer_expired_backup",
        checksum as "v3_checksum_as_v2", promote_secondaries as "promote_secondaries", notify as "notify",
        smtp_alert as "smtp_alert", notify_priority_changes as "notify_priority_changes", lease as "lease",
    }
}
