//! All nodes, with the instances that are one virtual router brought together.

use weir_model::vrrp::Instance;

use crate::router::{Member, Router};
use crate::{Machine, Node, router};

pub(crate) struct Scene<'a> {
    pub(crate) nodes: &'a [Node<'a>],
    pub(crate) routers: Vec<Router<'a>>,
    pub(crate) machine: Option<&'a dyn Machine>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(nodes: &'a [Node<'a>], machine: Option<&'a dyn Machine>) -> Self {
        Self { nodes, routers: router::bring_together(nodes), machine }
    }

    /// Every instance of every node.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member<'a>> {
        self.routers.iter().flat_map(|router| &router.members)
    }

    /// The virtual router of an instance.
    pub(crate) fn router_of(&self, instance: &Instance) -> Option<usize> {
        self.routers
            .iter()
            .position(|router| router.members.iter().any(|member| std::ptr::eq(member.instance, instance)))
    }

    /// The nodes that run virtual routers.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = &'a Node<'a>> {
        self.nodes.iter().filter(|node| node.keepalived.is_some())
    }

    /// The nodes whose files are those of this machine.
    pub(crate) fn local(&self) -> impl Iterator<Item = (&'a Node<'a>, &'a dyn Machine)> {
        let machine = self.machine;
        self.nodes
            .iter()
            .filter_map(move |node| Some((node, machine.filter(|machine| node.is_on(*machine))?)))
    }
}
