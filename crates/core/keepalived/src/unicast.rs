//! Where advertisements go and come from: unicast peers, source addresses, groups.

use std::net::IpAddr;

use weir_model::vrrp::{Checksum, Family, UnicastPeer, Version};
use weir_syntax::Span;
use weir_syntax::keepalived::Statement;

use crate::draft::Draft;
use crate::keyword::Action::{Instance, WithoutEffect};
use crate::keyword::{Blocks, Keyword};
use crate::line::{self, IGNORED, Line};
use crate::scope::Scope;

const I: Blocks = Blocks::INSTANCE;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::list(
        "unicast_peer",
        I,
        "ADDRESS [min_ttl N] [max_ttl N]",
        "Advertisements go to these instead of to the group.",
        Instance(peers),
    ),
    Keyword::line(
        "unicast_src_ip",
        I,
        (1, 1),
        "ADDRESS",
        "The source of advertisements to peers.",
        Instance(unicast_source),
    )
    .default("the first address of the interface"),
    Keyword::line("mcast_src_ip", I, (1, 1), "ADDRESS", "The source of advertisements.", Instance(source))
        .default("the first address of the interface"),
    Keyword::line("mcast_dst_ip", I, (1, 1), "ADDRESS", "The group.", Instance(group))
        .default("vrrp_mcast_group4, vrrp_mcast_group6")
        .since("2.2.3"),
    Keyword::line(
        "unicast_ttl",
        I,
        (1, 1),
        "0-255",
        "The hop limit of advertisements to peers.",
        Instance(ttl),
    )
    .default("255"),
    Keyword::bare(
        "unicast_fault_no_peer",
        I,
        "Without peers the instance fails instead of using the group.",
        Instance(fault_without_peer),
    )
    .since("2.2.4"),
    Keyword::flag("check_unicast_src", I, "Only the peers are listened to.", Instance(check_source)),
    Keyword::line(
        "old_unicast_checksum",
        I,
        (0, 1),
        "[never]",
        "The checksum of keepalived before 1.3.7.",
        WithoutEffect("advertisements to peers have the checksum of keepalived since 1.3.7"),
    ),
    Keyword::flag(
        "v3_checksum_as_v2",
        I,
        "Version 3 over IPv4 is sent without a pseudo header in its checksum.",
        Instance(checksum),
    )
    .since("2.2.8"),
    Keyword::bare(
        "track_src_ip",
        I,
        "The instance fails while its source address is not there.",
        Instance(track_source),
    ),
    Keyword::bare(
        "native_ipv6",
        I,
        "The instance is an IPv6 one whatever its addresses.",
        Instance(native_ipv6),
    ),
];

/// What is said of an address of the other family.
fn other_family(span: Span, address: IpAddr, family: Option<Family>, scope: &mut Scope<'_>) {
    let name = if family == Some(Family::V6) { "IPv6" } else { "IPv4" };
    let message = format!("{address} is ignored: the instance is an {name} one by what stands before");
    scope.advise(span, message, "an instance speaks one family; write a second one for the other");
}

fn peers(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.unicast = true;
    for item in line.items() {
        if let Some(peer) = peer(draft, item, scope) {
            draft.peers.push(peer);
        }
    }
}

fn peer(draft: &mut Draft, item: &Statement, scope: &mut Scope<'_>) -> Option<UnicastPeer> {
    let address = line::address(&item.name, scope)?;
    if !draft.is_of_family(&address) {
        other_family(item.name.span, address, draft.family, scope);
        return None;
    }
    let mut peer = UnicastPeer { address, min_ttl: 0, max_ttl: 255 };
    let options = Line::new(item);
    let mut at = 0;
    while let Some(word) = item.args.get(at) {
        let limit = match word.text.as_str() {
            "min_ttl" => &mut peer.min_ttl,
            "max_ttl" => &mut peer.max_ttl,
            other => {
                let message = format!("a peer has no option {other:?}; the rest of the line is ignored");
                scope.advise(word.span, message, "it is written: ADDRESS [min_ttl N] [max_ttl N]");
                break;
            }
        };
        if at + 1 >= item.args.len() {
            scope.warn(word.span, format!("{} has no value; it is ignored", word.text));
            break;
        }
        if let Some(hops) = options.number(at + 1, 0..=255, "it is ignored", scope) {
            *limit = hops;
            draft.check_unicast_source = true;
        }
        at += 2;
    }
    if peer.min_ttl > peer.max_ttl {
        let message = format!(
            "min_ttl {} is above max_ttl {}: nothing is accepted from {address}",
            peer.min_ttl, peer.max_ttl
        );
        scope.warn(item.span, message);
    }
    Some(peer)
}

fn unicast_source(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.unicast = true;
    source(draft, line, scope);
}

fn source(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(address) = line.address(0, scope) else { return };
    if draft.is_of_family(&address) {
        draft.instance.source = Some(address);
    } else {
        other_family(line.span_of(0), address, draft.family, scope);
    }
}

fn group(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(address) = line.address(0, scope) else { return };
    if !draft.is_of_family(&address) {
        return other_family(line.span_of(0), address, draft.family, scope);
    }
    let fits = match address {
        IpAddr::V4(group) => group.is_multicast(),
        // RFC 4291 section 2.7: ff02::/16 stays on the link.
        IpAddr::V6(group) => group.segments().first().is_some_and(|first| first & 0xff0f == 0xff02),
    };
    if fits {
        draft.group_address = Some(address);
    } else {
        scope.warn(line.span_of(0), format!("{address} is no multicast group of the link; {IGNORED}"));
    }
}

fn ttl(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(hops) = line.number(0, 0..=255, IGNORED, scope) {
        draft.unicast_ttl = Some(hops);
    }
}

fn fault_without_peer(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.unicast = true;
    draft.fault_without_peer = true;
}

fn check_source(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.unicast = true;
    if let Some(value) = line.unread_flag(scope) {
        draft.check_unicast_source = value;
    }
}

fn checksum(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(plain) = line.unread_flag(scope) {
        draft.instance.checksum = if plain { Checksum::Plain } else { Checksum::PseudoHeader };
    }
}

fn track_source(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.instance.track_source = true;
}

fn native_ipv6(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if draft.family == Some(Family::V4) {
        scope.warn(line.span(), format!("native_ipv6 does not fit the IPv4 addresses before it; {IGNORED}"));
        return;
    }
    draft.family = Some(Family::V6);
    draft.version = Some(Version::V3);
}
