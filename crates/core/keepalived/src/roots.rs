//! The keywords of the root: its blocks, and the lists that are held whatever the elections say.

use weir_model::Micros;
use weir_model::vrrp::{GarpGroup, LinkDelay, StaticGroup, Vrrp};
use weir_syntax::Word;

use crate::keyword::Action::{Block, GarpGroup as Garp, Root, StaticGroup as Static, WithoutEffect};
use crate::keyword::{Blocks, Keyword};
use crate::line::{self, IGNORED, Line};
use crate::scope::{Kind, Scope};
use crate::{address, route, rule};

const R: Blocks = Blocks::ROOT;
const G: Blocks = Blocks::GARP_GROUP;
const S: Blocks = Blocks::STATIC_GROUP;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::block("global_defs", R, (0, 0), Blocks::GLOBAL, "", "What holds for everything.", Block),
    Keyword::block(
        "vrrp_instance",
        R,
        (1, 1),
        Blocks::INSTANCE,
        "NAME",
        "A virtual router on one interface.",
        Block,
    ),
    Keyword::block(
        "vrrp_sync_group",
        R,
        (1, 1),
        Blocks::GROUP,
        "NAME",
        "Instances that change together.",
        Block,
    ),
    Keyword::block("vrrp_script", R, (1, 1), Blocks::SCRIPT, "NAME", "A check that instances track.", Block),
    Keyword::block(
        "vrrp_track_process",
        R,
        (1, 1),
        Blocks::PROCESS,
        "NAME",
        "A process that instances track.",
        Block,
    ),
    Keyword::block(
        "track_file",
        R,
        (1, 1),
        Blocks::FILE,
        "NAME",
        "A number in a file that instances track.",
        Block,
    ),
    Keyword::block("vrrp_track_file", R, (1, 1), Blocks::FILE, "NAME", "The old name of track_file.", Block),
    Keyword::block("garp_group", R, (0, 0), G, "", "Interfaces that share a pace of gratuitous ARP.", Block),
    Keyword::line(
        "garp_interval",
        G,
        (1, 1),
        "SECONDS",
        "Least time between two gratuitous ARPs.",
        Garp(garp_interval),
    )
    .default("0"),
    Keyword::line(
        "gna_interval",
        G,
        (1, 1),
        "SECONDS",
        "Least time between two unsolicited neighbour advertisements.",
        Garp(gna_interval),
    )
    .default("0"),
    Keyword::line("interface", G, (1, 1), "INTERFACE", "An interface of the group.", Garp(interface)),
    Keyword::list("interfaces", G, "INTERFACE ...", "The interfaces of the group.", Garp(interfaces)),
    Keyword::block(
        "track_group",
        R,
        (1, 1),
        S,
        "NAME",
        "Instances that fail when something static is gone.",
        Block,
    ),
    Keyword::list("group", S, "INSTANCE ...", "The instances.", Static(members)),
    Keyword::list(
        "static_ipaddress",
        R,
        "ADDRESS[/LENGTH] [dev IF] ...",
        "Addresses that are held while Weir runs.",
        Root(addresses),
    ),
    Keyword::list(
        "static_routes",
        R,
        "[to] PREFIX | default [via A] [dev IF] ...",
        "Routes that are there while Weir runs.",
        Root(routes),
    ),
    Keyword::list(
        "static_rules",
        R,
        "[from P] [to P] table T ...",
        "Rules that are there while Weir runs.",
        Root(rules),
    ),
    Keyword::list(
        "interface_up_down_delays",
        R,
        "INTERFACE DOWN [UP]",
        "How long a link has to be down or up before that counts.",
        Root(delays),
    )
    .since("2.2.3"),
    Keyword::line(
        "net_namespace",
        R,
        (1, 1),
        "NAME",
        "The network namespace in which everything runs.",
        Root(net_namespace),
    ),
    Keyword::line(
        "namespace_with_ipsets",
        R,
        (0, 1),
        "[on | off]",
        "Sets of addresses in a namespace.",
        WithoutEffect("Weir uses nftables, whose sets are part of a namespace"),
    ),
    Keyword::line(
        "instance",
        R,
        (1, 1),
        "NAME",
        "Which of several keepalived processes this is.",
        WithoutEffect("files have the names that they are given"),
    ),
    Keyword::line(
        "use_pid_dir",
        R,
        (0, 1),
        "[on | off]",
        "Pid files go to /run/keepalived.",
        WithoutEffect("pid files have the names that they are given"),
    ),
    Keyword::line(
        "child_wait_time",
        R,
        (1, 1),
        "SECONDS",
        "How long processes have to end.",
        WithoutEffect("Weir has no such processes"),
    ),
    Keyword::line(
        "linkbeat_use_polling",
        R,
        (0, 1),
        "[on | off]",
        "Links are asked for their state.",
        WithoutEffect("the kernel tells Weir about links"),
    ),
    Keyword::list(
        "linkbeat_interfaces",
        R,
        "INTERFACE [MII | ETHTOOL | IOCTL]",
        "Links that are asked for their state.",
        WithoutEffect("the kernel tells Weir about links"),
    ),
];

fn pace(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    line.timer(0, 0..=2_147_483_647, IGNORED, scope)
}

fn garp_interval(group: &mut GarpGroup, line: &Line<'_>, scope: &mut Scope<'_>) {
    group.interval = pace(line, scope).unwrap_or(group.interval);
}

fn gna_interval(group: &mut GarpGroup, line: &Line<'_>, scope: &mut Scope<'_>) {
    group.gna_interval = pace(line, scope).unwrap_or(group.gna_interval);
}

fn interface(group: &mut GarpGroup, line: &Line<'_>, scope: &mut Scope<'_>) {
    group.interfaces.extend(line.interface(0, scope));
}

fn interfaces(group: &mut GarpGroup, line: &Line<'_>, scope: &mut Scope<'_>) {
    for word in line.item_words() {
        group.interfaces.extend(line::interface(word, scope));
    }
}

fn members(group: &mut StaticGroup, line: &Line<'_>, scope: &mut Scope<'_>) {
    if group.members.is_empty() {
        group.members = line.item_words().map(|word| word.text.clone()).collect();
    } else {
        scope.warn(line.span(), format!("the group named its members before; {IGNORED}"));
    }
}

/// The group that a static entry names, with a note when it is defined nowhere or too late for keepalived.
fn group<'v>(
    groups: &'v mut [StaticGroup],
    word: Option<&Word>,
    scope: &mut Scope<'_>,
) -> Option<&'v mut StaticGroup> {
    let word = word?;
    let Some(tracker) = scope.trackers.get(&(Kind::StaticGroup, word.text.clone())).copied() else {
        scope.error(
            word.span,
            format!("track_group {:?} is defined nowhere", word.text),
            format!("add track_group {} {{ group {{ INSTANCE }} }}, or take the word out", word.text),
        );
        return None;
    };
    if tracker.position > scope.position {
        let message =
            format!("keepalived would ignore {:?}: it is defined after its use; Weir uses it", word.text);
        scope.advise(word.span, message, format!("move track_group {} up", word.text));
    }
    groups.iter_mut().find(|group| group.name == word.text)
}

fn addresses(vrrp: &mut Vrrp, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(mut read) = address::read(item, true, scope) else { continue };
        if read.address.interface.is_none() {
            let usual = scope.defaults.default_interface.clone();
            read.address.interface = Some(usual.unwrap_or_else(|| "eth0".to_owned()));
        }
        let index = vrrp.static_addresses.len();
        if let Some(group) = group(&mut vrrp.static_groups, read.track_group, scope) {
            group.addresses.push(index);
        }
        vrrp.static_addresses.push(read.address);
    }
}

fn routes(vrrp: &mut Vrrp, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(read) = route::read(item, true, scope) else { continue };
        let index = vrrp.static_routes.len();
        if let Some(group) = group(&mut vrrp.static_groups, read.track_group, scope) {
            group.routes.push(index);
        }
        vrrp.static_routes.push(read.route);
    }
}

fn rules(vrrp: &mut Vrrp, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(read) = rule::read(item, true, scope) else { continue };
        let index = vrrp.static_rules.len();
        if let Some(group) = group(&mut vrrp.static_groups, read.track_group, scope) {
            group.rules.push(index);
        }
        vrrp.static_rules.push(read.rule);
    }
}

fn delays(vrrp: &mut Vrrp, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(interface) = line::interface(&item.name, scope) else { continue };
        let words = Line::new(item);
        if item.args.is_empty() {
            scope.warn(item.span, format!("{interface} has no delay; {IGNORED}"));
            continue;
        }
        let Some(down) = words.timer(0, 0..=255_000_000, IGNORED, scope) else { continue };
        let up = if item.args.len() > 1 {
            words.timer(1, 0..=255_000_000, IGNORED, scope)
        } else {
            Some(Micros(0))
        };
        if let Some(up) = up {
            vrrp.link_delays.push(LinkDelay { interface, down, up });
        }
    }
}

fn net_namespace(_: &mut Vrrp, line: &Line<'_>, scope: &mut Scope<'_>) {
    scope.defaults.globals.net_namespace = line.text(0).map(str::to_owned);
}
