//! Which instances of several nodes are one virtual router.

use std::net::IpAddr;

use weir_keepalived::Loaded;
use weir_model::vrrp::{Delivery, Family, Instance};
use weir_syntax::keepalived::Statement;

use crate::weight::Reach;
use crate::{Node, Place};

/// An instance and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) node: &'a Node<'a>,
    pub(crate) loaded: &'a Loaded,
    pub(crate) instance: &'a Instance,
}

impl<'a> Member<'a> {
    pub(crate) fn name(&self) -> &'a str {
        &self.instance.name
    }

    /// The first line with a keyword; the head of the block where it does not stand.
    pub(crate) fn at(&self, keyword: &str) -> Place<'a> {
        self.place(self.line(keyword).or(self.head()).map(|line| line.span))
    }

    /// The head of the block.
    pub(crate) fn block(&self) -> Place<'a> {
        self.place(self.head().map(|line| line.span))
    }

    /// The first line with a keyword, looking among the global defaults before it falls back to the head of the block.
    pub(crate) fn at_or_global(&self, keyword: &str, global: &str) -> Place<'a> {
        let everywhere = || find(lines_of(root(self.loaded, "global_defs", None)), global);
        self.place(self.line(keyword).or_else(everywhere).or(self.head()).map(|line| line.span))
    }

    /// The item of a list that starts with a word; the list's own line where there is none.
    pub(crate) fn item(&self, list: &str, word: &str) -> Place<'a> {
        let line = self.line(list);
        let item = find(line.and_then(|line| line.block.as_deref()).unwrap_or_default(), word);
        item.map_or_else(|| self.at(list), |item| self.place(Some(item.name.span)))
    }

    /// Whether a keyword stands in the block.
    pub(crate) fn says(&self, keyword: &str) -> bool {
        self.line(keyword).is_some()
    }

    /// What it advertises or holds besides.
    pub(crate) fn holds(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        self.instance.addresses.iter().chain(&self.instance.excluded).map(|one| one.address)
    }

    pub(crate) fn reach(&self) -> Reach {
        Reach::of(self.instance, &self.loaded.vrrp)
    }

    fn place(&self, span: Option<weir_syntax::Span>) -> Place<'a> {
        Place { files: &self.loaded.tree.files, span }
    }

    fn head(&self) -> Option<&'a Statement> {
        root(self.loaded, "vrrp_instance", Some(self.name()))
    }

    fn line(&self, keyword: &str) -> Option<&'a Statement> {
        find(lines_of(self.head()), keyword)
    }
}

/// The first block of the top level with a keyword and, if one is given, a name.
pub(crate) fn root<'a>(loaded: &'a Loaded, keyword: &str, name: Option<&str>) -> Option<&'a Statement> {
    loaded.tree.items.iter().find(|statement| {
        statement.name.text == keyword
            && name.is_none_or(|name| statement.args.first().is_some_and(|word| word.text == name))
    })
}

/// The lines of a block.
pub(crate) fn lines_of(block: Option<&Statement>) -> &[Statement] {
    block.and_then(|block| block.block.as_deref()).unwrap_or_default()
}

/// The first line with a keyword.
pub(crate) fn find<'a>(lines: &'a [Statement], keyword: &str) -> Option<&'a Statement> {
    lines.iter().find(|line| line.name.text == keyword)
}

/// A virtual router: at most one instance of each node.
#[derive(Debug)]
pub(crate) struct Router<'a> {
    /// In the order of the nodes; never empty.
    pub(crate) members: Vec<Member<'a>>,
    /// One number for things that have nothing else in common: comparing them further says nothing.
    pub(crate) collision: bool,
}

impl<'a> Router<'a> {
    /// The first member, with which the others are compared.
    pub(crate) fn first(&self) -> &Member<'a> {
        self.members.first().expect("a router is made from a member")
    }

    /// Pairs of the first member and another one, for what has to be equal on all nodes.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Member<'a>, &Member<'a>)> {
        let others = if self.collision { &[] } else { self.members.get(1..).unwrap_or_default() };
        others.iter().map(|other| (self.first(), other))
    }

    /// Every member with all others.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = (&Member<'a>, Vec<&Member<'a>>)> {
        let members = if self.collision { &[][..] } else { &self.members };
        members.iter().enumerate().filter(|_| members.len() > 1).map(move |(i, member)| {
            let others = members.iter().enumerate().filter(move |(j, _)| *j != i);
            (member, others.map(|(_, other)| other).collect())
        })
    }

    fn has(&self, node: &Node<'_>) -> bool {
        self.members.iter().any(|member| std::ptr::eq(member.node, node))
    }
}

/// Instances of one number and family are one virtual router. Where a node has several of them, on several
/// interfaces, names, addresses and interfaces decide. Then those that share an address under two numbers.
pub(crate) fn bring_together<'a>(nodes: &'a [Node<'a>]) -> Vec<Router<'a>> {
    let mut routers: Vec<Router<'a>> = Vec::new();
    for node in nodes {
        let Some(loaded) = node.keepalived else { continue };
        for instance in &loaded.vrrp.instances {
            let member = Member { node, loaded, instance };
            let fitting = routers.iter_mut().filter(|router| !router.has(node));
            let scored = fitting.filter_map(|router| Some((likeness(router.first(), &member)?, router)));
            match scored.max_by_key(|(score, _)| *score) {
                Some((score, router)) => {
                    router.collision |= score == COLLISION;
                    router.members.push(member);
                }
                None => routers.push(Router { members: vec![member], collision: false }),
            }
        }
    }
    renumbered(routers)
}

/// The likeness of two that have the number and the wire in common, and nothing that they are for.
const COLLISION: u8 = 1;

/// How much speaks for one virtual router; absent: the number differs, or they cannot meet.
fn likeness(one: &Member<'_>, other: &Member<'_>) -> Option<u8> {
    let (a, b) = (one.instance, other.instance);
    if (a.vrid, a.family) != (b.vrid, b.family) {
        return None;
    }
    let likeness = u8::from(a.name == b.name) * 4 + u8::from(share(a, b)) * 8;
    let wire = a.interface == b.interface && meet(a, b);
    match (likeness, wire) {
        (0, false) => None,
        (0, true) => Some(COLLISION),
        (likeness, wire) => Some(likeness + u8::from(wire) * 2),
    }
}

fn share(one: &Instance, other: &Instance) -> bool {
    one.addresses.iter().any(|a| other.addresses.iter().any(|b| a.address == b.address))
}

/// Whether advertisements of one can come to the other.
fn meet(one: &Instance, other: &Instance) -> bool {
    let names = |unicast: &weir_model::vrrp::Unicast, source: Option<IpAddr>| {
        source.is_some_and(|source| unicast.peers.iter().any(|peer| peer.address == source))
    };
    match (&one.delivery, &other.delivery) {
        (Delivery::Multicast(a), Delivery::Multicast(b)) => a == b,
        (Delivery::Unicast(a), Delivery::Unicast(b)) => names(a, other.source) || names(b, one.source),
        _ => false,
    }
}

/// Brings instances together that hold one address under two numbers.
fn renumbered(routers: Vec<Router<'_>>) -> Vec<Router<'_>> {
    let mut kept: Vec<Router<'_>> = Vec::new();
    for router in routers {
        let family = |router: &Router<'_>| -> Family { router.first().instance.family };
        let same = kept.iter_mut().find(|earlier| {
            family(earlier) == family(&router)
                && !router.members.iter().any(|member| earlier.has(member.node))
                && share(earlier.first().instance, router.first().instance)
        });
        match same {
            Some(earlier) => earlier.members.extend(router.members),
            None => kept.push(router),
        }
    }
    kept
}
