//! Addresses that a proxy listens on, and those that virtual routers hold.

use std::net::IpAddr;

use weir_model::vrrp::{Delivery, Family, Instance, Version};
use weir_syntax::Severity::{Error, Warning};
use weir_syntax::{Directive, Span};

use crate::report::Report;
use crate::router::Member;
use crate::rules::agree::listed;
use crate::scene::Scene;
use crate::{Node, Place, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "listen-dropped",
        severity: Error,
        doc: "A proxy listens on an address to which the node drops all packets (no_accept, strict mode).",
        find: dropped,
    },
    Rule {
        id: "listen-unannounced",
        severity: Warning,
        doc: "A proxy listens on an address that no virtual router holds and that is no node's own.",
        find: unannounced,
    },
    Rule {
        id: "address-unserved",
        severity: Warning,
        doc: "A node holds virtual addresses, and its proxy listens on others only.",
        find: unserved,
    },
];

/// The first `listen` of a file with an address.
fn place<'a>(loaded: &'a weir_config::Loaded, address: IpAddr) -> Place<'a> {
    Place { files: &loaded.tree.files, span: span(&loaded.tree.items, address) }
}

fn span(directives: &[Directive], address: IpAddr) -> Option<Span> {
    directives.iter().find_map(|directive| {
        let listens = directive.name.text == "listen"
            && directive.args.first().is_some_and(|word| names(&word.text, address));
        match listens {
            true => Some(directive.span),
            false => span(directive.block.as_deref()?, address),
        }
    })
}

/// Whether the first word of `listen` stands for an address.
fn names(word: &str, address: IpAddr) -> bool {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let host =
        word.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(word, |(host, _)| host);
    match bare(word).or_else(|| bare(host)) {
        Some(written) => written == address,
        // A port or `*` alone.
        None => address == IpAddr::from([0, 0, 0, 0]) && (host == "*" || word.parse::<u16>().is_ok()),
    }
}

fn dropped<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    for router in &scene.routers {
        let mut found = router.members.iter().filter_map(|member| {
            if member.instance.accept || member.instance.is_owner() {
                return None;
            }
            let family = member.instance.family;
            let mut listens = member.node.listens();
            let meant = listens.find(|(_, address)| {
                member.holds().any(|held| held == *address)
                    || (address.is_unspecified() && Family::of(address) == family)
            });
            meant.map(|(loaded, address)| (member, place(loaded, address)))
        });
        let Some((member, listen)) = found.next() else { continue };
        let (cause, at) = cause(member);
        let message = format!(
            "{cause} makes {} drop all packets to the addresses of {}: nobody reaches the proxy there",
            member.node.name,
            member.name()
        );
        let finding = report.add(&[member.node], at, message);
        finding.see(listen, "here the proxy listens");
        for (other, _) in found {
            let (cause, at) = self::cause(other);
            finding.see(at, format!("{cause} on {}", other.node.name));
            finding.nodes.push(other.node.name.clone());
        }
        finding.help(match (member.instance.strict, member.instance.version) {
            (false, _) => "take no_accept out",
            (true, Version::V2) => "take strict mode out on all nodes, or use version 3 with accept",
            (true, Version::V3) => "write accept, or take strict mode out on all nodes",
        });
    }
}

fn cause<'a>(member: &Member<'a>) -> (&'static str, Place<'a>) {
    if member.instance.strict && !member.says("no_accept") {
        ("strict mode", member.at_or_global("strict_mode", "vrrp_strict"))
    } else {
        ("no_accept", member.at("no_accept"))
    }
}

/// What a node has besides: where it sends from, to whom, and what it holds all the time.
fn is_known(scene: &Scene<'_>, address: IpAddr) -> bool {
    let named = |instance: &Instance| {
        let peers = match &instance.delivery {
            Delivery::Unicast(unicast) => unicast.peers.iter().any(|peer| peer.address == address),
            Delivery::Multicast(_) => false,
        };
        peers || instance.source == Some(address)
    };
    let held =
        scene.members().any(|member| named(member.instance) || member.holds().any(|held| held == address));
    let statics = scene.speakers().filter_map(|node| node.keepalived);
    let always = statics.flat_map(|loaded| &loaded.vrrp.static_addresses).any(|one| one.address == address);
    let local = scene.local().any(|(_, machine)| machine.has_address(&address));
    held || always || local
}

/// Whether an address without an owner in the files cannot be a node's own: two nodes listen on it, or the node is
/// this machine and has it not.
fn is_meant_virtual(scene: &Scene<'_>, address: IpAddr) -> bool {
    let listens = |node: &Node<'_>| node.listens().any(|(_, other)| other == address);
    scene.speakers().filter(|node| listens(node)).count() > 1 || scene.local().any(|(node, _)| listens(node))
}

/// The addresses of a node's proxy that nobody has, each with its file.
fn orphans<'a>(scene: &Scene<'a>, node: &'a Node<'a>) -> Vec<(&'a weir_config::Loaded, IpAddr)> {
    let listens = node.listens().filter(|(_, address)| {
        !address.is_unspecified()
            && !address.is_loopback()
            && !is_known(scene, *address)
            && is_meant_virtual(scene, *address)
    });
    listens.collect()
}

fn announced(scene: &Scene<'_>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = scene.members().flat_map(Member::holds).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn unannounced<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    let held = announced(scene);
    let mut told: Vec<IpAddr> = Vec::new();
    for node in scene.speakers().filter(|_| !held.is_empty()) {
        for (loaded, address) in orphans(scene, node) {
            if told.contains(&address) {
                continue;
            }
            told.push(address);
            let nodes: Vec<&Node<'_>> =
                scene.speakers().filter(|node| node.listens().any(|(_, other)| other == address)).collect();
            let message =
                format!("the proxy listens on {address}, which is in no virtual_ipaddress of any node");
            report.add(&nodes, place(loaded, address), message).help(format!(
                "announced are {}: listen on one of them, or add {address} to the virtual_ipaddress of all nodes",
                listed(&held)
            ));
        }
    }
}

fn unserved<'a>(scene: &Scene<'a>, report: &mut Report<'a>) {
    let mut told: Vec<&weir_config::Loaded> = Vec::new();
    for node in scene.speakers() {
        let Some((loaded, address)) = elsewhere(scene, node) else { continue };
        let Some(member) = members_of(scene, node).next() else { continue };
        if told.iter().any(|file| std::ptr::eq(*file, loaded)) {
            continue;
        }
        told.push(loaded);
        let held: Vec<IpAddr> = members_of(scene, node).flat_map(Member::holds).collect();
        let message = format!(
            "the proxy of {} listens on {address} and on none of its virtual addresses ({}): they are held and not \
             served",
            node.name,
            listed(&held)
        );
        report
            .add(&[node], place(loaded, address), message)
            .see(member.at("virtual_ipaddress"), "they are announced here")
            .help("listen on the virtual address, or on the port alone, which is every address");
    }
}

fn members_of<'r, 'a>(scene: &'r Scene<'a>, node: &Node<'_>) -> impl Iterator<Item = &'r Member<'a>> {
    let members = scene.members().filter(move |member| std::ptr::eq(member.node, node));
    members.filter(|member| member.holds().next().is_some())
}

/// An address of a proxy that listens, and on nothing that its node holds. What only this host reaches, and a node
/// that also balances packets, say nothing.
fn elsewhere<'a>(scene: &Scene<'a>, node: &'a Node<'a>) -> Option<(&'a weir_config::Loaded, IpAddr)> {
    let balances = node.keepalived.is_some_and(|loaded| loaded.has_virtual_servers);
    let serves = node.listens().any(|(_, address)| {
        address.is_unspecified()
            || members_of(scene, node).any(|member| member.holds().any(|held| held == address))
    });
    if balances || serves || !orphans(scene, node).is_empty() {
        return None;
    }
    node.listens().find(|(_, address)| !address.is_loopback())
}
