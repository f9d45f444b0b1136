//! What is kept and what is shown: each row serialises exactly as Consul's JSON of it, fields in its order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::command::CheckKind;

/// One key of the store. The key serialises as text (bytes that are no UTF-8 as U+FFFD, as Go does), the value as
/// base64 or `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KvEntry {
    /// How often the lock was taken.
    pub lock_index: u64,
    #[serde(serialize_with = "text")]
    pub key: Vec<u8>,
    pub flags: u64,
    #[serde(serialize_with = "base64_or_null")]
    pub value: Vec<u8>,
    /// Who holds the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub create_index: u64,
    pub modify_index: u64,
}

fn text<S: Serializer>(key: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&String::from_utf8_lossy(key))
}

fn base64_or_null<S: Serializer>(value: &[u8], to: S) -> Result<S::Ok, S::Error> {
    if value.is_empty() { to.serialize_none() } else { to.serialize_str(&STANDARD.encode(value)) }
}

/// What becomes of a session's locks when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// The keys stay, the locks go.
    #[default]
    Release,
    /// The keys go too.
    Delete,
}

/// A check of a service that a session depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceCheck {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(default)]
    pub namespace: String,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Session {
    #[serde(rename = "ID")]
    pub id: String,
    pub name: String,
    pub node: String,
    /// Shown in nanoseconds.
    #[serde(with = "nanoseconds")]
    pub lock_delay: Duration,
    pub behavior: Behavior,
    /// As it was written; empty: none.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Of the TTL; not shown.
    #[serde(skip)]
    pub ttl_length: Option<Duration>,
    pub node_checks: Vec<String>,
    /// Shown as `null` when there are none.
    #[serde(with = "null_or_list")]
    pub service_checks: Vec<ServiceCheck>,
    pub create_index: u64,
    pub modify_index: u64,
}

mod nanoseconds {
    use super::{Deserialize, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}

mod null_or_list {
    use super::{Deserialize, Serialize, Serializer, ServiceCheck};

    pub(super) fn serialize<S: Serializer>(checks: &[ServiceCheck], to: S) -> Result<S::Ok, S::Error> {
        if checks.is_empty() { to.serialize_none() } else { checks.serialize(to) }
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<ServiceCheck>, D::Error> {
        Option::<Vec<ServiceCheck>>::deserialize(from).map(Option::unwrap_or_default)
    }
}

/// State of a check; the later, the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Passing,
    Warning,
    #[default]
    Critical,
}

impl Status {
    /// The word of the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The status of a word of the API.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Passing, Self::Warning, Self::Critical].into_iter().find(|s| s.name() == word)
    }
}

/// A node; serialises as a row of `catalog/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID")]
    pub id: String,
    pub node: String,
    pub address: String,
    pub datacenter: String,
    pub tagged_addresses: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    pub create_index: u64,
    pub modify_index: u64,
}

/// An address for a kind of client (`lan_ipv4`, `wan_ipv4` ...).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaggedAddress {
    pub address: String,
    pub port: u16,
}

/// How much of the traffic an instance wants, by its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    pub passing: u32,
    pub warning: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// An instance of a service on a node, as it is kept. What is shown: [`CatalogService`], [`ServiceHealth`],
/// [`NodeServices`], [`AgentService`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub node: String,
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    /// Empty: the node's.
    pub address: String,
    pub port: u16,
    pub meta: BTreeMap<String, String>,
    pub weights: Weights,
    pub enable_tag_override: bool,
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    pub kind: String,
    pub proxy: Option<Value>,
    pub connect: Option<Value>,
    pub create_index: u64,
    pub modify_index: u64,
}

impl Service {
    fn proxy_shown(&self) -> Shown<'_> {
        let none = Shown::Proxy { mesh_gateway: Empty {}, expose: Empty {} };
        self.proxy.as_ref().map_or(none, Shown::Given)
    }

    fn connect_shown(&self) -> Shown<'_> {
        self.connect.as_ref().map_or(Shown::Empty {}, Shown::Given)
    }
}

/// An object that a client gave, or what Consul shows in its place.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Given(&'a Value),
    Empty {},
    #[serde(rename_all = "PascalCase")]
    Proxy {
        mesh_gateway: Empty,
        expose: Empty,
    },
    /// The definition of a check, in one endpoint only.
    Zeros(Zeros),
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Zeros {
    interval: &'static str,
    timeout: &'static str,
    deregister_critical_service_after: &'static str,
    #[serde(rename = "HTTP")]
    http: &'static str,
    header: Option<Empty>,
    method: &'static str,
    body: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
}

const ZEROS: Zeros = Zeros {
    interval: "0s",
    timeout: "0s",
    deregister_critical_service_after: "0s",
    http: "",
    header: None,
    method: "",
    body: "",
    tls_skip_verify: false,
    tcp: "",
};

/// A check as it is kept; serialises as a row of `health/checks`.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub node: String,
    pub check_id: String,
    pub name: String,
    pub status: Status,
    pub notes: String,
    pub output: String,
    /// Empty: of the node.
    pub service_id: String,
    pub service_name: String,
    pub service_tags: Vec<String>,
    pub kind: CheckKind,
    pub interval: Duration,
    pub timeout: Duration,
    /// Zero: never.
    pub deregister_after: Duration,
    pub success_before_passing: u32,
    pub failures_before_critical: u32,
    /// What `catalog/register` said; null: nothing.
    pub definition: Value,
    pub create_index: u64,
    pub modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckView<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: Status,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Option<&'a [String]>,
    r#type: &'a str,
    definition: Shown<'a>,
    create_index: u64,
    modify_index: u64,
}

impl Check {
    fn view(&self) -> CheckView<'_> {
        CheckView {
            node: &self.node,
            check_id: &self.check_id,
            name: &self.name,
            status: self.status,
            notes: &self.notes,
            output: &self.output,
            service_id: &self.service_id,
            service_name: &self.service_name,
            service_tags: Some(&self.service_tags),
            r#type: self.kind.name(),
            definition: if self.definition.is_null() {
                Shown::Empty {}
            } else {
                Shown::Given(&self.definition)
            },
            create_index: self.create_index,
            modify_index: self.modify_index,
        }
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.view().serialize(to)
    }
}

/// A row of `agent/checks`: a check without indexes.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentCheck(pub Arc<Check>);

impl Serialize for AgentCheck {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        CheckView { create_index: 0, modify_index: 0, ..self.0.view() }.serialize(to)
    }
}

/// A row of `catalog/service/NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogService {
    pub node: Arc<Node>,
    pub service: Arc<Service>,
}

impl Serialize for CatalogService {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (node, service) = (&*self.node, &*self.service);
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("ID", &node.id)?;
        map.serialize_entry("Node", &node.node)?;
        map.serialize_entry("Address", &node.address)?;
        map.serialize_entry("Datacenter", &node.datacenter)?;
        map.serialize_entry("TaggedAddresses", &node.tagged_addresses)?;
        map.serialize_entry("NodeMeta", &node.meta)?;
        map.serialize_entry("ServiceKind", &service.kind)?;
        map.serialize_entry("ServiceID", &service.id)?;
        map.serialize_entry("ServiceName", &service.name)?;
        map.serialize_entry("ServiceTags", &service.tags)?;
        map.serialize_entry("ServiceAddress", &service.address)?;
        if !service.tagged_addresses.is_empty() {
            map.serialize_entry("ServiceTaggedAddresses", &service.tagged_addresses)?;
        }
        map.serialize_entry("ServiceWeights", &service.weights)?;
        map.serialize_entry("ServiceMeta", &service.meta)?;
        map.serialize_entry("ServicePort", &service.port)?;
        map.serialize_entry("ServiceEnableTagOverride", &service.enable_tag_override)?;
        map.serialize_entry("ServiceProxy", &service.proxy_shown())?;
        map.serialize_entry("ServiceConnect", &service.connect_shown())?;
        map.serialize_entry("CreateIndex", &service.create_index)?;
        map.serialize_entry("ModifyIndex", &service.modify_index)?;
        map.end()
    }
}

/// A service as `health/service` and `catalog/node` show it.
struct NodeService<'a>(&'a Service);

impl Serialize for NodeService<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let service = self.0;
        let mut map = to.serialize_map(None)?;
        if !service.kind.is_empty() {
            map.serialize_entry("Kind", &service.kind)?;
        }
        map.serialize_entry("ID", &service.id)?;
        map.serialize_entry("Service", &service.name)?;
        map.serialize_entry("Tags", &service.tags)?;
        map.serialize_entry("Address", &service.address)?;
        if !service.tagged_addresses.is_empty() {
            map.serialize_entry("TaggedAddresses", &service.tagged_addresses)?;
        }
        map.serialize_entry("Meta", &service.meta)?;
        map.serialize_entry("Port", &service.port)?;
        map.serialize_entry("Weights", &service.weights)?;
        map.serialize_entry("EnableTagOverride", &service.enable_tag_override)?;
        map.serialize_entry("Proxy", &service.proxy_shown())?;
        map.serialize_entry("Connect", &service.connect_shown())?;
        map.serialize_entry("CreateIndex", &service.create_index)?;
        map.serialize_entry("ModifyIndex", &service.modify_index)?;
        map.end()
    }
}

/// A row of `health/service/NAME`: an instance, its node, and the checks of both.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceHealth {
    pub node: Arc<Node>,
    pub service: Arc<Service>,
    /// The node's own first, then the service's; each by id.
    pub checks: Vec<Arc<Check>>,
}

impl ServiceHealth {
    /// The worst state of its checks; passing without any.
    #[must_use]
    pub fn status(&self) -> Status {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Status::Passing)
    }
}

impl Serialize for ServiceHealth {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("Node", &self.node)?;
        map.serialize_entry("Service", &NodeService(&self.service))?;
        map.serialize_entry("Checks", &self.checks)?;
        map.end()
    }
}

/// `catalog/node/NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeServices {
    pub node: Arc<Node>,
    /// By id.
    pub services: Vec<Arc<Service>>,
}

impl Serialize for NodeServices {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let services: BTreeMap<&str, NodeService<'_>> =
            self.services.iter().map(|service| (service.id.as_str(), NodeService(service))).collect();
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("Node", &self.node)?;
        map.serialize_entry("Services", &services)?;
        map.end()
    }
}

/// A row of `agent/services`; with `hash`, the answer of `agent/service/ID`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentService {
    pub service: Arc<Service>,
    /// Of what is shown: 16 hexadecimal digits; changes when it does.
    pub hash: Option<String>,
}

impl Serialize for AgentService {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let service = &*self.service;
        let mut map = to.serialize_map(None)?;
        if !service.kind.is_empty() {
            map.serialize_entry("Kind", &service.kind)?;
        }
        map.serialize_entry("ID", &service.id)?;
        map.serialize_entry("Service", &service.name)?;
        map.serialize_entry("Tags", &service.tags)?;
        map.serialize_entry("Meta", &service.meta)?;
        map.serialize_entry("Port", &service.port)?;
        map.serialize_entry("Address", &service.address)?;
        if !service.tagged_addresses.is_empty() {
            map.serialize_entry("TaggedAddresses", &service.tagged_addresses)?;
        }
        map.serialize_entry("Weights", &service.weights)?;
        map.serialize_entry("EnableTagOverride", &service.enable_tag_override)?;
        if let Some(proxy) = &service.proxy {
            map.serialize_entry("Proxy", proxy)?;
        }
        if let Some(connect) = &service.connect {
            map.serialize_entry("Connect", connect)?;
        }
        if let Some(hash) = &self.hash {
            map.serialize_entry("ContentHash", hash)?;
        }
        map.end()
    }
}

/// `agent/health/service/id/ID`, and a row of `.../name/NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentHealth {
    /// `passing`, `warning`, `critical` or `maintenance`.
    pub status: &'static str,
    pub service: AgentService,
    pub checks: Vec<Arc<Check>>,
}

impl AgentHealth {
    /// The HTTP status that Consul gives it.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self.status {
            "passing" => 200,
            "warning" => 429,
            _ => 503,
        }
    }
}

/// The checks in the form of this endpoint only: no type, and a definition of zeros.
struct BareChecks<'a>(&'a [Arc<Check>]);

impl Serialize for BareChecks<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.0.len()))?;
        for check in self.0 {
            let service_tags = (!check.service_id.is_empty()).then_some(&*check.service_tags);
            list.serialize_element(&CheckView {
                service_tags,
                r#type: "",
                definition: Shown::Zeros(ZEROS),
                create_index: 0,
                modify_index: 0,
                ..check.view()
            })?;
        }
        list.end()
    }
}

impl Serialize for AgentHealth {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("AggregatedStatus", self.status)?;
        map.serialize_entry("Service", &self.service)?;
        map.serialize_entry("Checks", &BareChecks(&self.checks))?;
        map.end()
    }
}

/// A row of `agent/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    pub name: String,
    pub addr: String,
    pub port: u16,
    pub tags: BTreeMap<String, String>,
    /// 1: alive.
    pub status: u8,
    pub protocol_min: u8,
    pub protocol_max: u8,
    pub protocol_cur: u8,
    pub delegate_min: u8,
    pub delegate_max: u8,
    pub delegate_cur: u8,
}
