//! From what a block says to an instance: defaults, and what does not go together.
//! The order is that of keepalived, because one rule clears what a later one looks at.

use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{Authentication, Delivery, Family, Instance, Lease, TrackProxy, Unicast, Version};

use crate::draft::{AuthType, Draft};
use crate::line::seconds;
use crate::scope::Scope;
use crate::{strict, uses};

/// Finishes an instance; false when it cannot run, which has been noted as an error.
pub(crate) fn complete(draft: &mut Draft, scope: &mut Scope<'_>) -> bool {
    let usable = identity(draft, scope);
    draft.instance.strict = draft.strict.unwrap_or(scope.defaults.strict);
    version(draft, scope);
    state(draft, scope);
    strict::before(draft, scope);
    authentication(draft, scope);
    delivery(draft, scope);
    vmac(draft, scope);
    let has_address = addresses(draft, scope);
    preemption(draft, scope);
    strict::after(draft, scope);
    messages(draft, scope);
    interval(draft, scope);
    lease(draft, scope);
    trackers(draft, scope);
    usable && has_address
}

fn identity(draft: &mut Draft, scope: &mut Scope<'_>) -> bool {
    let name = &draft.instance.name;
    let vrid = draft.vrid;
    if vrid.is_none() {
        let message = format!("vrrp_instance {name} has no virtual_router_id");
        scope.error(draft.span, message, "give it a number from 1 to 255 that all its nodes have");
    }
    let interface = draft.interface.clone().or_else(|| scope.defaults.default_interface.clone());
    if interface.is_none() {
        let message = format!("vrrp_instance {name} has no interface");
        scope.error(draft.span, message, "name the one on which its addresses are: interface NAME");
    }
    let usable = vrid.is_some() && interface.is_some();
    draft.instance.vrid = vrid.unwrap_or_default();
    draft.instance.interface = interface.unwrap_or_default();
    usable
}

fn version(draft: &mut Draft, scope: &mut Scope<'_>) {
    let family = draft.family.unwrap_or(Family::V4);
    draft.instance.family = family;
    draft.instance.version = match (family, draft.version) {
        (Family::V4, version) => version.unwrap_or(scope.defaults.version),
        (Family::V6, Some(Version::V2)) => {
            // RFC 3768 knows IPv4 alone; IPv6 came with RFC 5798.
            scope.warn(draft.at("version"), "version 2 has no IPv6; version 3 is used");
            Version::V3
        }
        (Family::V6, _) => Version::V3,
    };
}

fn state(draft: &mut Draft, scope: &mut Scope<'_>) {
    let wants = draft.wants_master;
    if draft.priority.is_none() && wants == Some(true) {
        let message = "state MASTER without priority makes an owner of addresses: priority 255 is used";
        let help = "an owner is master from the start and ignores trackers and nopreempt; write priority N";
        scope.advise(draft.at("state"), message, help);
    }
    let usual = if wants == Some(true) { Instance::OWNER } else { 100 };
    let instance = &mut draft.instance;
    instance.priority = draft.priority.unwrap_or(usual);
    instance.wants_master = wants.unwrap_or(instance.is_owner());
}

fn authentication(draft: &mut Draft, scope: &mut Scope<'_>) {
    let Some(kind) = draft.auth_type else {
        if draft.auth_pass.is_some() {
            let message = "a password without auth_type is not used; there is no authentication";
            scope.advise(draft.at("authentication"), message, "write auth_type PASS");
        }
        return;
    };
    let at = draft.at("auth_type");
    let instance = &mut draft.instance;
    if instance.version == Version::V3 {
        scope.warn(at, "version 3 has no authentication; it is ignored");
        return;
    }
    let Some(password) = draft.auth_pass.clone().filter(|password| !password.is_empty()) else {
        scope.warn(at, "authentication has no password; it is ignored");
        return;
    };
    if kind == AuthType::Ah && instance.wants_master && !instance.is_owner() {
        let message =
            "state MASTER does not go with AH, whose sequence number has to be heard first; BACKUP is used";
        scope.warn(at, message);
        instance.wants_master = false;
    }
    instance.authentication = kind.with(password);
}

fn delivery(draft: &mut Draft, scope: &mut Scope<'_>) {
    let usual = match draft.instance.family {
        Family::V4 => IpAddr::V4(scope.defaults.group4),
        Family::V6 => IpAddr::V6(scope.defaults.group6),
    };
    if draft.peers.is_empty() {
        if draft.unicast_ttl.is_some() {
            scope.warn(draft.at("unicast_ttl"), "unicast_ttl has no effect without unicast_peer");
        }
        if !draft.fault_without_peer {
            if draft.unicast {
                let message =
                    "there are keywords of unicast and no unicast_peer: the multicast group is used";
                let help = "name the other nodes: unicast_peer { ADDRESS }";
                scope.advise(first_unicast(draft), message, help);
            }
            draft.instance.delivery = Delivery::Multicast(draft.group_address.unwrap_or(usual));
            return;
        }
        let message = "there is no unicast_peer: the instance stays in FAULT, as unicast_fault_no_peer says";
        scope.warn(draft.at("unicast_fault_no_peer"), message);
    }
    if draft.group_address.is_some() {
        scope.warn(draft.at("mcast_dst_ip"), "mcast_dst_ip has no effect with unicast_peer");
    }
    draft.instance.delivery = Delivery::Unicast(Unicast {
        peers: std::mem::take(&mut draft.peers),
        ttl: draft.unicast_ttl.unwrap_or(255),
        check_source: draft.check_unicast_source,
        fault_without_peer: draft.fault_without_peer,
    });
}

fn first_unicast(draft: &Draft) -> weir_syntax::Span {
    let keywords = ["unicast_src_ip", "unicast_peer", "check_unicast_src"];
    keywords.into_iter().find(|keyword| draft.has(keyword)).map_or(draft.span, |keyword| draft.at(keyword))
}

fn vmac(draft: &mut Draft, scope: &mut Scope<'_>) {
    let (at, vrid) = (draft.at("use_vmac"), draft.instance.vrid);
    let Some(vmac) = &mut draft.instance.vmac else {
        if draft.xmit_base {
            scope.warn(draft.at("vmac_xmit_base"), "vmac_xmit_base has no effect without use_vmac");
        }
        return;
    };
    vmac.xmit_base = draft.xmit_base;
    if draft.mac_ends_with_vrid
        && let Some(mac) = &mut vmac.mac
        && let [.., last] = &mut mac.0
    {
        *last = vrid;
    }
    if draft.unicast && !vmac.xmit_base {
        scope.warn(at, "unicast with use_vmac needs vmac_xmit_base; it is used");
        vmac.xmit_base = true;
    }
}

/// The addresses that an advertisement has room for: an Ethernet frame's 1500 octets, counted as keepalived counts
/// them, and a count of 8 bits.
fn room(instance: &Instance) -> usize {
    const FRAME: usize = 1500;
    const ETHERNET: usize = 14;
    const HEADER: usize = 8;
    let (headers, address) = match instance.family {
        Family::V4 => {
            let data = if instance.version == Version::V2 { 8 } else { 0 };
            let ah = if matches!(instance.authentication, Authentication::Ah(_)) { 24 } else { 0 };
            (ETHERNET + 20 + HEADER + data + ah, 4)
        }
        Family::V6 => (ETHERNET + 40 + HEADER, 16),
    };
    ((FRAME - headers) / address).min(255)
}

/// False when there is none where one is required.
fn addresses(draft: &mut Draft, scope: &mut Scope<'_>) -> bool {
    let (span, block) = (draft.span, draft.at("virtual_ipaddress"));
    let instance = &mut draft.instance;
    let room = room(instance);
    let count = instance.addresses.len();
    if count > room {
        let message = format!("{count} addresses do not fit into an advertisement; {room} do");
        scope.advise(block, message, "the rest is held and not advertised, as in virtual_ipaddress_excluded");
        instance.excluded.extend(instance.addresses.drain(room..));
    }
    if let Delivery::Multicast(_) = instance.delivery
        && let Some(IpAddr::V6(first)) = instance.addresses.first().map(|first| first.address)
        && first.segments().first().is_some_and(|segment| segment & 0xffc0 != 0xfe80)
    {
        // RFC 9568 section 5.2.9.
        let message = format!("the first address of IPv6 is to be link-local, and {first} is not");
        scope.advise(block, message, "put an address of fe80::/64 first, on every node the same");
    }
    if count > 0 || draft.without_address {
        return true;
    }
    if instance.version == Version::V3 || instance.strict {
        let message =
            format!("vrrp_instance {} has no virtual_ipaddress; at least one is required", instance.name);
        scope.error(span, message, "name its addresses, or write no_virtual_ipaddress");
        return false;
    }
    let message =
        format!("vrrp_instance {} has no virtual_ipaddress; at least one makes sense", instance.name);
    scope.advise(span, message, "name its addresses, or write no_virtual_ipaddress");
    true
}

fn preemption(draft: &mut Draft, scope: &mut Scope<'_>) {
    let (nopreempt, delay) = (draft.at("nopreempt"), draft.at("preempt_delay"));
    let instance = &mut draft.instance;
    let waits = instance.preempt_delay > Micros(0);
    if instance.nopreempt && instance.is_owner() {
        scope.warn(nopreempt, "nopreempt does not go with priority 255; it is ignored");
        instance.nopreempt = false;
    }
    if instance.wants_master {
        if instance.nopreempt {
            let help = "write state BACKUP on all nodes";
            scope.advise(nopreempt, "nopreempt does not go with state MASTER; it is ignored", help);
            instance.nopreempt = false;
        }
        if waits {
            let help = "write state BACKUP";
            scope.advise(delay, "preempt_delay does not go with state MASTER; it is ignored", help);
            instance.preempt_delay = Micros(0);
        }
    }
    if instance.nopreempt && instance.preempt_delay > Micros(0) {
        scope.warn(delay, "preempt_delay does not go with nopreempt; it is ignored");
        instance.preempt_delay = Micros(0);
    }
}

/// What follows from global defaults alone.
fn messages(draft: &mut Draft, scope: &mut Scope<'_>) {
    let defaults = &scope.defaults;
    let instance = &mut draft.instance;
    instance.smtp_alert = draft.smtp_alert.unwrap_or(defaults.alerts());
    let everywhere = defaults.globals.notify_priority_changes;
    instance.notify_priority_changes = draft.notify_priority_changes.unwrap_or(everywhere);
}

fn interval(draft: &mut Draft, scope: &mut Scope<'_>) {
    let said = draft.advert_interval.unwrap_or(Micros::from_secs(1));
    let (unit, most) = match draft.instance.version {
        Version::V2 => (1_000_000, 255),
        // RFC 9568 section 5.2.7: 12 bits of centiseconds.
        Version::V3 => (10_000, 4095),
    };
    let rounded = Micros(((said.0 + unit / 2) / unit).clamp(1, most) * unit);
    if rounded != said {
        let (version, steps) = match draft.instance.version {
            Version::V2 => (2, "whole seconds up to 255"),
            Version::V3 => (3, "steps of 10 ms up to 40.95 s"),
        };
        let message = format!(
            "advert_int {} does not fit version {version}, which has {steps}; {} is used",
            seconds(said),
            seconds(rounded)
        );
        scope.warn(draft.at("advert_int"), message);
    }
    draft.instance.advert_interval = rounded;
}

fn lease(draft: &mut Draft, scope: &mut Scope<'_>) {
    // An owner's addresses may be those of the machine itself, so its own block alone can put them on a lease.
    let owner = draft.instance.is_owner();
    let said = if owner { draft.lease } else { draft.lease.or(scope.defaults.lease) };
    // The kernel takes up to 0.35 s more, and a peer may be master after this time without the skew.
    let down = Micros(draft.instance.advert_interval.0 * u64::from(draft.instance.down_timer_adverts));
    // With short intervals the kernel's shortest lease comes closest to the time after which a peer takes over.
    let short = Micros::from_secs(3) > down;
    let usual = if short { Lease::SHORTEST } else { Lease::default() };
    draft.instance.lease = said.unwrap_or(if owner { None } else { Some(usual) });
    let Some(lease) = draft.instance.lease.filter(|_| said.is_some()) else { return };
    if Micros::from_secs(u64::from(lease.seconds) + 1) > down {
        let message = format!(
            "an address_lease of {} s outlives the {} s after which a peer takes over: both can have the addresses",
            lease.seconds,
            seconds(down)
        );
        scope.advise(draft.at("address_lease"), message, "make the lease shorter or advert_int longer");
    }
}

/// The priority of an owner never moves, so what would move it is left out.
fn trackers(draft: &mut Draft, scope: &mut Scope<'_>) {
    draft.instance.track_proxy = draft.track_proxy.unwrap_or(scope.defaults.track_proxy);
    if !draft.instance.is_owner() {
        return;
    }
    let reason = "the priority of an owner of addresses (255) does not move";
    let at =
        ["track_interface", "track_script", "track_process", "track_upstream"].map(|word| draft.at(word));
    let (files, proxy) = (draft.at("track_file"), draft.at("track_proxy"));
    let instance = &mut draft.instance;
    let lists = [
        &mut instance.track_interfaces,
        &mut instance.track_scripts,
        &mut instance.track_processes,
        &mut instance.track_upstreams,
    ];
    for (tracks, at) in lists.into_iter().zip(at) {
        uses::drop_weighted(tracks, at, reason, scope);
    }
    uses::drop_weighted_files(&mut instance.track_files, files, reason, scope);
    if let TrackProxy::Weight(weight) = instance.track_proxy {
        scope.warn(proxy, format!("track_proxy weight {weight} is ignored: {reason}"));
        instance.track_proxy = TrackProxy::Off;
    }
}
