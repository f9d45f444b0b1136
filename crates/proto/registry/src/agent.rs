//! Services and maintenance of the own node, as a client of the agent registers them.

use crate::catalog::{check_row, service_row, tagged_addresses};
use crate::command::{CheckDefinition, CheckKind, ServiceDefinition};
use crate::health::CONSUL;
use crate::refusal::Refusal;
use crate::rows::{Check, Status};
use crate::state::{Change, State};

const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// Whether a check is one that maintenance mode has put there.
pub(crate) fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE_MAINTENANCE || check_id.starts_with(SERVICE_MAINTENANCE)
}

impl State {
    pub(crate) fn agent_service_register(
        &mut self,
        change: &mut Change,
        mut service: ServiceDefinition,
        checks: Vec<CheckDefinition>,
        replace_checks: bool,
    ) -> Result<(), Refusal> {
        if service.name.is_empty() {
            return Err(Refusal::NoName);
        }
        if service.tagged_addresses.is_empty() {
            service.tagged_addresses = tagged_addresses(&service.address, service.port);
        }
        let service = service_row(&self.identity.node, service);
        let (id, name) = (service.id.clone(), service.name.clone());
        self.put_service(change, service);
        let several = checks.len() > 1;
        let mut kept = Vec::new();
        for (at, mut check) in checks.into_iter().enumerate() {
            check.service_id.clone_from(&id);
            if check.check_id.is_empty() {
                check.check_id =
                    if several { format!("service:{id}:{}", at + 1) } else { format!("service:{id}") };
            }
            if check.name.is_empty() {
                check.name = format!("Service '{name}' check");
            }
            // A client that registers again does not make the check forget what it saw.
            if let Some(old) = self.check_on(&self.own(), &check.check_id) {
                check.status = Some(old.status);
                check.output.clone_from(&old.output);
            }
            kept.push(check.check_id.clone());
            self.agent_check_register(change, check)?;
        }
        if replace_checks {
            self.drop_checks(change, &id, &kept);
        }
        Ok(())
    }

    fn drop_checks(&mut self, change: &mut Change, service: &str, kept: &[String]) {
        let own = self.own();
        let gone: Vec<String> = self
            .checks_of(&own, service)
            .map(|check| check.check_id.clone())
            .filter(|id| !kept.contains(id) && !is_maintenance(id))
            .collect();
        for id in gone {
            self.remove_check(change, &own, &id);
        }
    }

    pub(crate) fn agent_service_deregister(&mut self, change: &mut Change, id: &str) {
        if id != CONSUL {
            let own = self.own();
            self.remove_service(change, &own, id);
        }
    }

    pub(crate) fn service_maintenance(
        &mut self,
        change: &mut Change,
        id: &str,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        if self.own_service(id).is_none() {
            return Err(Refusal::UnknownService(id.to_owned()));
        }
        let check_id = format!("{SERVICE_MAINTENANCE}{id}");
        self.maintenance(change, check_id, id, "service", "Service Maintenance Mode", reason);
        Ok(())
    }

    pub(crate) fn node_maintenance(&mut self, change: &mut Change, reason: Option<String>) {
        let check_id = NODE_MAINTENANCE.to_owned();
        self.maintenance(change, check_id, "", "node", "Node Maintenance Mode", reason);
    }

    /// On when there is a reason (an empty one is replaced), off when not; nothing if it is so already.
    fn maintenance(
        &mut self,
        change: &mut Change,
        check_id: String,
        service_id: &str,
        what: &str,
        name: &str,
        reason: Option<String>,
    ) {
        let own = self.own();
        let Some(reason) = reason else {
            self.remove_check(change, &own, &check_id);
            return;
        };
        if self.check_on(&own, &check_id).is_some() {
            return;
        }
        let notes = if reason.is_empty() {
            format!(
                "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
            )
        } else {
            reason
        };
        let check = check_row(
            &self.identity.node,
            CheckDefinition {
                check_id,
                name: name.to_owned(),
                notes,
                service_id: service_id.to_owned(),
                status: Some(Status::Critical),
                kind: CheckKind::Maintenance,
                ..CheckDefinition::default()
            },
        );
        if let Some(check) = self.join_service(check) {
            self.put_check(change, check);
        }
    }

    /// The own node, its health, and the service that Consul shows of each server.
    pub(crate) fn register_self(&mut self, change: &mut Change) {
        let identity = std::sync::Arc::clone(&self.identity);
        let address = identity.address.clone();
        let family = if address.contains(':') { "ipv6" } else { "ipv4" };
        let names = ["lan".to_owned(), format!("lan_{family}"), "wan".to_owned(), format!("wan_{family}")];
        self.put_node(
            change,
            crate::rows::Node {
                id: identity.node_id.clone(),
                node: identity.node.clone(),
                address: address.clone(),
                datacenter: identity.datacenter.clone(),
                tagged_addresses: names.map(|name| (name, address.clone())).into(),
                meta: [("consul-network-segment".to_owned(), String::new())].into(),
                create_index: 0,
                modify_index: 0,
            },
        );
        let meta = [
            ("non_voter", "false"),
            ("raft_version", "3"),
            ("serf_protocol_current", "2"),
            ("serf_protocol_max", "5"),
            ("serf_protocol_min", "1"),
            ("version", "1.8.7"),
        ];
        self.put_service(
            change,
            service_row(
                &identity.node,
                ServiceDefinition {
                    id: CONSUL.to_owned(),
                    name: CONSUL.to_owned(),
                    port: 8300,
                    meta: meta.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                    ..ServiceDefinition::default()
                },
            ),
        );
        let serf: Check = check_row(
            &identity.node,
            CheckDefinition {
                check_id: crate::catalog::SERF.to_owned(),
                name: "Serf Health Status".to_owned(),
                status: Some(Status::Passing),
                output: "Agent alive and reachable".to_owned(),
                ..CheckDefinition::default()
            },
        );
        self.put_check(change, serf);
    }
}
