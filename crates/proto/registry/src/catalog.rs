//! The catalog: nodes, services and checks, whoever registered them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::command::{CheckDefinition, CheckKind, Deregistration, Registration, ServiceDefinition};
use crate::health::CONSUL;
use crate::record::{Table, pair};
use crate::refusal::Refusal;
use crate::rows::{Check, Node, Service, TaggedAddress};
use crate::state::{Change, State};
use crate::topic::Topic;

/// The check that every node of Consul's cluster has.
pub(crate) const SERF: &str = "serfHealth";

impl State {
    pub(crate) fn register(
        &mut self,
        change: &mut Change,
        registration: Registration,
    ) -> Result<(), Refusal> {
        if registration.node.is_empty() {
            return Err(Refusal::NoNode);
        }
        if registration.address.is_empty() && !registration.skip_node_update {
            return Err(Refusal::NoAddress);
        }
        let key = registration.node.to_lowercase();
        let known = self.nodes.contains_key(&key);
        // The own node is what the configuration says.
        if key != self.own() && !(known && registration.skip_node_update) {
            self.put_node(
                change,
                Node {
                    id: registration.node_id,
                    node: registration.node.clone(),
                    address: registration.address,
                    datacenter: self.identity.datacenter.clone(),
                    tagged_addresses: registration.tagged_addresses,
                    meta: registration.node_meta,
                    create_index: 0,
                    modify_index: 0,
                },
            );
        }
        if let Some(service) = registration.service {
            if service.name.is_empty() {
                return Err(Refusal::NoServiceName);
            }
            self.put_service(change, service_row(&registration.node, service));
        }
        for definition in registration.checks {
            let check = self.catalog_check(&registration.node, definition)?;
            self.put_check(change, check);
        }
        Ok(())
    }

    fn catalog_check(&self, node: &str, definition: CheckDefinition) -> Result<Check, Refusal> {
        let mut check = check_row(node, definition);
        if check.check_id.is_empty() {
            check.check_id.clone_from(&check.name);
        }
        if check.check_id.is_empty() {
            return Err(Refusal::NoCheckName);
        }
        self.join_service(check).ok_or(Refusal::MissingService)
    }

    /// Gives a check its service's name and tags; `None` if there is no such service.
    pub(crate) fn join_service(&self, mut check: Check) -> Option<Check> {
        if !check.service_id.is_empty() {
            let key = (check.node.to_lowercase(), check.service_id.clone());
            let service = self.services.get(&key)?;
            check.service_name.clone_from(&service.name);
            check.service_tags.clone_from(&service.tags);
        }
        Some(check)
    }

    pub(crate) fn deregister(&mut self, change: &mut Change, what: &Deregistration) -> Result<(), Refusal> {
        if what.node.is_empty() {
            return Err(Refusal::NoNode);
        }
        let node = what.node.to_lowercase();
        let own = node == self.own();
        if !what.service_id.is_empty() {
            if !(own && what.service_id == CONSUL) {
                self.remove_service(change, &node, &what.service_id);
            }
        } else if !what.check_id.is_empty() {
            if !(own && what.check_id == SERF) {
                self.remove_check(change, &node, &what.check_id);
            }
        } else if !own {
            self.remove_node(change, &node);
        }
        Ok(())
    }

    pub(crate) fn put_node(&mut self, change: &mut Change, mut node: Node) {
        let key = node.node.to_lowercase();
        node.create_index = change.index;
        node.modify_index = change.index;
        if let Some(old) = self.nodes.get(&key) {
            node.create_index = old.create_index;
            node.modify_index = old.modify_index;
            if **old == node {
                return;
            }
            node.modify_index = change.index;
        }
        change.put(Table::Node, key.as_str(), &node);
        self.nodes.insert_mut(key.clone(), Arc::new(node));
        self.touch(change, Topic::Nodes);
        self.touch_node(change, &key);
    }

    pub(crate) fn remove_node(&mut self, change: &mut Change, key: &str) {
        if !self.nodes.contains_key(key) {
            return;
        }
        let services: Vec<String> = self.services_on(key).map(|s| s.id.clone()).collect();
        for id in services {
            self.remove_service(change, key, &id);
        }
        let checks: Vec<String> = self.checks_on(key).map(|c| c.check_id.clone()).collect();
        for id in checks {
            self.remove_check(change, key, &id);
        }
        self.end_sessions_of_node(change, key);
        self.nodes.remove_mut(key);
        change.remove(Table::Node, key);
        self.touch(change, Topic::Nodes);
        self.touch(change, Topic::node(key));
    }

    /// The node, and every service on it.
    fn touch_node(&mut self, change: &mut Change, key: &str) {
        let names: Vec<Topic> = self.services_on(key).map(|service| Topic::service(&service.name)).collect();
        for topic in names {
            self.touch(change, topic);
        }
        self.touch(change, Topic::node(key));
    }

    pub(crate) fn put_service(&mut self, change: &mut Change, mut service: Service) {
        let node = service.node.to_lowercase();
        let key = (node.clone(), service.id.clone());
        service.create_index = change.index;
        service.modify_index = change.index;
        let old = self.services.get(&key).cloned();
        if let Some(old) = &old {
            service.create_index = old.create_index;
            service.modify_index = old.modify_index;
            if **old == service {
                return;
            }
            service.modify_index = change.index;
            self.named.remove_mut(&named_key(old));
        }
        let service = Arc::new(service);
        change.put(Table::Service, pair(&node, &service.id), &*service);
        self.services.insert_mut(key, Arc::clone(&service));
        self.named.insert_mut(named_key(&service), Arc::clone(&service));
        self.touch_service(change, &service);
        let same_names =
            old.as_ref().is_some_and(|old| (&old.name, &old.tags) == (&service.name, &service.tags));
        if !same_names {
            self.touch(change, Topic::Services);
            if let Some(old) = old {
                self.touch(change, Topic::service(&old.name));
                self.rename_checks(change, &service);
            }
        }
    }

    /// The checks of a service show its name and tags.
    fn rename_checks(&mut self, change: &mut Change, service: &Service) {
        let checks: Vec<Arc<Check>> =
            self.checks_of(&service.node.to_lowercase(), &service.id).cloned().collect();
        for check in checks {
            if let Some(check) = self.join_service(Check::clone(&check)) {
                self.put_check(change, check);
            }
        }
    }

    fn touch_service(&mut self, change: &mut Change, service: &Service) {
        let node = service.node.to_lowercase();
        self.touch(change, Topic::service(&service.name));
        if node == self.own() {
            self.touch(change, Topic::Agent);
        }
        self.touch(change, Topic::Node(node));
    }

    /// `node` in lower case.
    pub(crate) fn remove_service(&mut self, change: &mut Change, node: &str, id: &str) {
        let key = (node.to_owned(), id.to_owned());
        let Some(service) = self.services.get(&key).cloned() else { return };
        let checks: Vec<String> = self.checks_of(node, id).map(|c| c.check_id.clone()).collect();
        for check in checks {
            self.remove_check(change, node, &check);
        }
        self.services.remove_mut(&key);
        self.named.remove_mut(&named_key(&service));
        change.remove(Table::Service, pair(node, id));
        change.health = true;
        self.touch_service(change, &service);
        self.touch(change, Topic::Services);
    }

    /// A check of a node (in lower case).
    pub(crate) fn check_on(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        let owner = self.check_owner.get(&(node.to_owned(), id.to_owned()))?;
        self.checks.get(&(node.to_owned(), owner.clone(), id.to_owned()))
    }

    /// Writes a check, unless it is there already just so; answers whether it was written.
    pub(crate) fn put_check(&mut self, change: &mut Change, mut check: Check) {
        let node = check.node.to_lowercase();
        check.create_index = change.index;
        check.modify_index = change.index;
        let old = self.check_on(&node, &check.check_id).cloned();
        if let Some(old) = &old {
            check.create_index = old.create_index;
            check.modify_index = old.modify_index;
            if **old == check {
                return;
            }
            check.modify_index = change.index;
            self.unlink_check(&node, old);
            if old.service_id != check.service_id {
                self.touch_check(change, old);
            }
        }
        let check = Arc::new(check);
        change.records.push(crate::record::Record::check(&check));
        self.link_check(&node, &check);
        self.touch_check(change, &check);
        if node == self.own() {
            self.arm_reap(change.now, &check);
            if old.is_none_or(|old| {
                old.kind != check.kind || old.interval != check.interval || old.timeout != check.timeout
            }) {
                self.touch(change, Topic::Agent);
            }
        }
        if check.status == crate::rows::Status::Critical {
            self.end_sessions_of_check(change, &check);
        }
    }

    pub(crate) fn link_check(&mut self, node: &str, check: &Arc<Check>) {
        let (service, id) = (check.service_id.clone(), check.check_id.clone());
        if matches!(check.kind, CheckKind::Alias { .. }) {
            self.aliases.insert_mut((node.to_owned(), id.clone()));
        }
        self.check_owner.insert_mut((node.to_owned(), id.clone()), service.clone());
        self.checks.insert_mut((node.to_owned(), service, id), Arc::clone(check));
    }

    fn unlink_check(&mut self, node: &str, check: &Check) {
        let (service, id) = (check.service_id.clone(), check.check_id.clone());
        self.aliases.remove_mut(&(node.to_owned(), id.clone()));
        self.check_owner.remove_mut(&(node.to_owned(), id.clone()));
        self.checks.remove_mut(&(node.to_owned(), service, id));
    }

    /// The check's service, or with a check of the node all services on it.
    fn touch_check(&mut self, change: &mut Change, check: &Check) {
        let node = check.node.to_lowercase();
        change.health = true;
        self.touch(change, Topic::Checks);
        if check.service_id.is_empty() {
            self.touch_node(change, &node);
        } else {
            self.touch(change, Topic::service(&check.service_name));
            self.touch(change, Topic::Node(node));
        }
    }

    /// `node` in lower case.
    pub(crate) fn remove_check(&mut self, change: &mut Change, node: &str, id: &str) {
        let Some(check) = self.check_on(node, id).cloned() else { return };
        self.unlink_check(node, &check);
        change.remove(Table::Check, pair(node, id));
        self.touch_check(change, &check);
        if node == self.own() {
            self.disarm_check(id);
            self.touch(change, Topic::Agent);
        }
        self.end_sessions_of_check(change, &check);
    }
}

pub(crate) fn named_key(service: &Service) -> (String, String, String) {
    (service.name.to_lowercase(), service.node.to_lowercase(), service.id.clone())
}

/// A service as it is kept; the indexes come when it is put in.
pub(crate) fn service_row(node: &str, definition: ServiceDefinition) -> Service {
    let id = if definition.id.is_empty() { definition.name.clone() } else { definition.id };
    Service {
        node: node.to_owned(),
        id,
        name: definition.name,
        tags: definition.tags,
        address: definition.address,
        port: definition.port,
        meta: definition.meta,
        weights: definition.weights.unwrap_or_default(),
        enable_tag_override: definition.enable_tag_override,
        tagged_addresses: definition.tagged_addresses,
        kind: definition.kind,
        proxy: definition.proxy,
        connect: definition.connect,
        create_index: 0,
        modify_index: 0,
    }
}

/// A check as it is kept; service name, tags and indexes come when it is put in.
pub(crate) fn check_row(node: &str, definition: CheckDefinition) -> Check {
    Check {
        node: node.to_owned(),
        check_id: definition.check_id,
        name: definition.name,
        status: definition.status.unwrap_or_default(),
        notes: definition.notes,
        output: definition.output,
        service_id: definition.service_id,
        service_name: String::new(),
        service_tags: Vec::new(),
        kind: definition.kind,
        interval: definition.interval,
        timeout: definition.timeout,
        deregister_after: definition.deregister_after,
        success_before_passing: definition.success_before_passing,
        failures_before_critical: definition.failures_before_critical,
        definition: definition.definition,
        create_index: 0,
        modify_index: 0,
    }
}

/// What Consul's agent adds for an address: how it is reached from inside and from outside.
pub(crate) fn tagged_addresses(address: &str, port: u16) -> BTreeMap<String, TaggedAddress> {
    let Ok(ip) = address.parse::<IpAddr>() else { return BTreeMap::new() };
    let names = if ip.is_ipv4() { ["lan_ipv4", "wan_ipv4"] } else { ["lan_ipv6", "wan_ipv6"] };
    let tagged = TaggedAddress { address: address.to_owned(), port };
    names.map(|name| (name.to_owned(), tagged.clone())).into()
}
