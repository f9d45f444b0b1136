//! Questions about nodes, services and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::rows::{
    AgentCheck, AgentHealth, AgentService, CatalogService, Check, Member, Node, NodeServices, Service,
    ServiceHealth, Status,
};
use crate::state::{Reply, State};
use crate::topic::Topic;

/// The service that Consul shows of each server.
pub(crate) const CONSUL: &str = "consul";

impl State {
    /// `catalog/services`: the names, each with the tags of all instances.
    #[must_use]
    pub fn services(&self) -> Reply<BTreeMap<String, Vec<String>>> {
        let mut names: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for service in self.named.values() {
            let tags = names.entry(service.name.clone()).or_default();
            tags.extend(service.tags.iter().map(String::as_str));
        }
        let data = names
            .into_iter()
            .map(|(name, tags)| (name, tags.into_iter().map(str::to_owned).collect()))
            .collect();
        self.reply(&Topic::Services, data)
    }

    /// `catalog/service/NAME`: the instances that have all of the tags, by node and id.
    #[must_use]
    pub fn service(&self, name: &str, tags: &[&str]) -> Reply<Vec<CatalogService>> {
        let data = self
            .instances(name, tags)
            .filter_map(|service| {
                let node = Arc::clone(self.nodes.get(&service.node.to_lowercase())?);
                Some(CatalogService { node, service: Arc::clone(service) })
            })
            .collect();
        self.reply(&Topic::service(name), data)
    }

    /// `health/service/NAME`; with `passing` only those of which every check passes.
    #[must_use]
    pub fn health(&self, name: &str, tags: &[&str], passing: bool) -> Reply<Vec<ServiceHealth>> {
        let data = self
            .instances(name, tags)
            .filter_map(|service| self.service_health(service))
            .filter(|health| !passing || health.status() == Status::Passing)
            .collect();
        self.reply(&Topic::service(name), data)
    }

    fn service_health(&self, service: &Arc<Service>) -> Option<ServiceHealth> {
        let node_key = service.node.to_lowercase();
        let node = Arc::clone(self.nodes.get(&node_key)?);
        let mut checks: Vec<_> = self.checks_of(&node_key, "").cloned().collect();
        checks.extend(self.checks_of(&node_key, &service.id).cloned());
        Some(ServiceHealth { node, service: Arc::clone(service), checks })
    }

    /// The instances of a service that have all of the tags; names and tags without case.
    pub(crate) fn instances<'a>(
        &'a self,
        name: &str,
        tags: &'a [&'a str],
    ) -> impl Iterator<Item = &'a Arc<Service>> {
        let name = name.to_lowercase();
        let first = (name.clone(), String::new(), String::new());
        self.named
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |((found, _, _), _)| *found == name)
            .map(|(_, service)| service)
            .filter(|service| {
                tags.iter().all(|tag| service.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)))
            })
    }

    /// The checks of a service of a node (in lower case), or with an empty id of the node itself; by id.
    pub(crate) fn checks_of(
        &self,
        node: &str,
        service_id: &str,
    ) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        let (node, service_id) = (node.to_owned(), service_id.to_owned());
        let first = (node.clone(), service_id.clone(), String::new());
        self.checks
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |((n, s, _), _)| *n == node && *s == service_id)
            .map(|(_, check)| check)
    }

    /// All checks of a node (in lower case).
    pub(crate) fn checks_on(&self, node: &str) -> impl Iterator<Item = &Arc<Check>> + use<'_> {
        let node = node.to_owned();
        let first = (node.clone(), String::new(), String::new());
        self.checks
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |((n, _, _), _)| *n == node)
            .map(|(_, check)| check)
    }

    /// All services of a node (in lower case), by id.
    pub(crate) fn services_on(&self, node: &str) -> impl Iterator<Item = &Arc<Service>> + use<'_> {
        let node = node.to_owned();
        let first = (node.clone(), String::new());
        self.services
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |((n, _), _)| *n == node)
            .map(|(_, service)| service)
    }

    /// `catalog/nodes`, by name.
    #[must_use]
    pub fn nodes(&self) -> Reply<Vec<Arc<Node>>> {
        self.reply(&Topic::Nodes, self.nodes.values().cloned().collect())
    }

    /// `catalog/node/NAME`.
    #[must_use]
    pub fn node(&self, name: &str) -> Reply<Option<NodeServices>> {
        let key = name.to_lowercase();
        let data = self.nodes.get(&key).map(|node| NodeServices {
            node: Arc::clone(node),
            services: self.services_on(&key).cloned().collect(),
        });
        self.reply(&Topic::node(name), data)
    }

    /// `health/node/NAME`.
    #[must_use]
    pub fn node_checks(&self, name: &str) -> Reply<Vec<Arc<Check>>> {
        let mut data: Vec<_> = self.checks_on(&name.to_lowercase()).cloned().collect();
        data.sort_by(|a, b| a.check_id.cmp(&b.check_id));
        self.reply(&Topic::node(name), data)
    }

    /// `health/checks/NAME`: the checks of all instances of a service, without those of their nodes.
    #[must_use]
    pub fn service_checks(&self, name: &str) -> Reply<Vec<Arc<Check>>> {
        let data = self
            .instances(name, &[])
            .flat_map(|service| self.checks_of(&service.node.to_lowercase(), &service.id))
            .cloned()
            .collect();
        self.reply(&Topic::service(name), data)
    }

    /// `health/state/STATE`; `None`: any.
    #[must_use]
    pub fn checks(&self, status: Option<Status>) -> Reply<Vec<Arc<Check>>> {
        let wanted = |check: &&Arc<Check>| status.is_none_or(|status| check.status == status);
        let mut data: Vec<_> = self.checks.values().filter(wanted).cloned().collect();
        data.sort_by(|a, b| (&a.node, &a.check_id).cmp(&(&b.node, &b.check_id)));
        self.reply(&Topic::Checks, data)
    }

    /// `agent/services`, by id.
    #[must_use]
    pub fn agent_services(&self) -> BTreeMap<String, AgentService> {
        self.services_on(&self.own())
            .filter(|service| service.id != CONSUL)
            .map(|service| (service.id.clone(), AgentService { service: Arc::clone(service), hash: None }))
            .collect()
    }

    /// `agent/service/ID`, with its hash.
    #[must_use]
    pub fn agent_service(&self, id: &str) -> Option<AgentService> {
        let service = self.own_service(id)?;
        let shown = AgentService { service: Arc::clone(service), hash: None };
        let text = serde_json::to_vec(&shown).expect("rows of the registry are valid JSON");
        Some(AgentService { hash: Some(format!("{:016x}", fnv1a(&text))), ..shown })
    }

    pub(crate) fn own_service(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.get(&(self.own(), id.to_owned())).filter(|_| id != CONSUL)
    }

    /// `agent/checks`, by id.
    #[must_use]
    pub fn agent_checks(&self) -> BTreeMap<String, AgentCheck> {
        self.own_checks().map(|check| (check.check_id.clone(), AgentCheck(Arc::clone(check)))).collect()
    }

    /// Checks of the own node that somebody has to run: [`crate::CheckKind::probes`]. They follow [`Topic::Agent`].
    #[must_use]
    pub fn agent_probes(&self) -> Reply<Vec<Arc<Check>>> {
        let data = self.own_checks().filter(|check| check.kind.probes()).cloned().collect();
        self.reply(&Topic::Agent, data)
    }

    fn own_checks(&self) -> impl Iterator<Item = &Arc<Check>> {
        self.checks_on(&self.own()).filter(|check| check.check_id != crate::catalog::SERF)
    }

    /// `agent/health/service/id/ID`.
    #[must_use]
    pub fn agent_health(&self, id: &str) -> Option<AgentHealth> {
        let service = self.own_service(id)?;
        let own = self.own();
        let mut checks: Vec<_> = self.checks_of(&own, &service.id).cloned().collect();
        let of_node = self.checks_of(&own, "").filter(|c| c.check_id != crate::catalog::SERF);
        checks.extend(of_node.cloned());
        let service = AgentService { service: Arc::clone(service), hash: None };
        Some(AgentHealth { status: aggregate(&checks), service, checks })
    }

    /// `agent/health/service/name/NAME`; empty if there is no such service.
    #[must_use]
    pub fn agent_health_named(&self, name: &str) -> Vec<AgentHealth> {
        let own = self.own();
        self.instances(name, &[])
            .filter(|service| service.node.to_lowercase() == own)
            .filter_map(|service| self.agent_health(&service.id))
            .collect()
    }

    /// `agent/members`: the own node.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let identity = self.identity();
        let tags = [
            ("acls", "0"),
            ("build", "1.8.7:"),
            ("dc", &identity.datacenter),
            ("ft_fs", "1"),
            ("id", &identity.node_id),
            ("port", "8300"),
            ("raft_vsn", "3"),
            ("role", "consul"),
            ("segment", ""),
            ("vsn", "2"),
            ("vsn_max", "3"),
            ("vsn_min", "2"),
            ("wan_join_port", "8302"),
        ];
        vec![Member {
            name: identity.node.clone(),
            addr: identity.address.clone(),
            port: 8301,
            tags: tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            status: 1,
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }]
    }
}

/// The worst state; maintenance is worse than critical.
fn aggregate(checks: &[Arc<Check>]) -> &'static str {
    if checks.iter().any(|check| crate::agent::is_maintenance(&check.check_id)) {
        return "maintenance";
    }
    checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing).name()
}

/// The 64-bit FNV-1a hash (RFC 9923), which need not resist anybody here.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
