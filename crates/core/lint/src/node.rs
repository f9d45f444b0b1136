//! One node of a group: its proxy's files and that of its virtual routers.

use std::net::IpAddr;

use weir_model::ListenAddress;

use crate::Machine;

/// The files of one node. Two nodes that share an nginx.conf hold references to the same one.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// Short, unique within the group: what findings call it.
    pub name: String,
    pub nginx: Vec<&'a weir_config::Loaded>,
    pub keepalived: Option<&'a weir_keepalived::Loaded>,
    /// The caller knows that this node is the machine at hand.
    pub here: bool,
}

impl Node<'_> {
    /// Whether the node is this machine: the caller said so, its `router_id` is the host's name, or the machine has
    /// the address from which the node advertises.
    #[must_use]
    pub fn is_on(&self, machine: &dyn Machine) -> bool {
        let Some(loaded) = self.keepalived else { return self.here };
        let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let host = label(machine.host_name());
        let named = loaded.vrrp.globals.router_id.as_deref().is_some_and(|id| label(id) == host);
        self.here || (named && !host.is_empty()) || self.sources().any(|source| machine.has_address(&source))
    }

    /// The addresses from which its virtual routers advertise, where they are said.
    pub(crate) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.keepalived.iter().flat_map(|loaded| &loaded.vrrp.instances).filter_map(|one| one.source)
    }

    /// The IP addresses on which its proxy listens, with the file that says so.
    pub(crate) fn listens(&self) -> impl Iterator<Item = (&weir_config::Loaded, IpAddr)> {
        self.nginx.iter().copied().flat_map(|loaded| {
            let listeners = loaded.config.http.iter().flat_map(|http| &http.listeners);
            listeners.filter_map(move |listener| match &listener.address {
                ListenAddress::Inet(address) => Some((loaded, address.ip())),
                ListenAddress::Unix(_) => None,
            })
        })
    }
}
