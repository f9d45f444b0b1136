//! Definitions of services and checks as clients write them, and as the registry keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::Value;
use weir_registry::{CheckDefinition, CheckKind, ServiceDefinition, Status, TaggedAddress, Weights};

use crate::http::{Answer, duration};

/// Consul's `MaxPairs`, `MaxKeyLength` and `MaxValueLength` of metadata.
const META_PAIRS: usize = 64;
const META_KEY: usize = 128;
const META_VALUE: usize = 512;

/// The body of `agent/service/register`, and `Service` in that of `catalog/register`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ServiceBody {
    kind: String,
    pub(crate) id: String,
    /// `Service` in the catalog.
    #[serde(alias = "Service")]
    pub(crate) name: String,
    tags: Vec<String>,
    address: String,
    #[serde(alias = "tagged_addresses")]
    tagged_addresses: BTreeMap<String, AddressBody>,
    port: u16,
    meta: BTreeMap<String, String>,
    weights: Option<WeightsBody>,
    #[serde(alias = "enable_tag_override")]
    enable_tag_override: bool,
    proxy: Option<Value>,
    connect: Option<Value>,
    check: Option<CheckBody>,
    checks: Vec<CheckBody>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AddressBody {
    address: String,
    port: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct WeightsBody {
    passing: i64,
    warning: i64,
}

/// The body of `agent/check/register`, and `Check` and `Checks` of a service.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct CheckBody {
    id: String,
    #[serde(alias = "check_id")]
    check_id: String,
    pub(crate) name: String,
    notes: String,
    #[serde(alias = "service_id")]
    service_id: String,
    status: String,
    script: Value,
    args: Value,
    script_args: Value,
    #[serde(alias = "docker_container_id")]
    docker_container_id: String,
    http: String,
    method: String,
    header: BTreeMap<String, Vec<String>>,
    body: String,
    #[serde(alias = "tls_skip_verify")]
    tls_skip_verify: bool,
    tcp: String,
    grpc: String,
    #[serde(alias = "grpc_use_tls")]
    grpc_use_tls: bool,
    #[serde(alias = "alias_node")]
    alias_node: String,
    #[serde(alias = "alias_service")]
    alias_service: String,
    interval: Span,
    timeout: Span,
    ttl: Span,
    #[serde(alias = "success_before_passing")]
    success_before_passing: u32,
    #[serde(alias = "failures_before_critical")]
    failures_before_critical: u32,
    #[serde(alias = "deregister_critical_service_after")]
    deregister_critical_service_after: Span,
}

/// A time: `"10s"` in Go's spelling, or nanoseconds. Below zero counts as zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a duration as \"10s\", or nanoseconds")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        if text.is_empty() {
            return Ok(Span::default());
        }
        let nanos = duration::parse(text).ok_or_else(|| {
            E::custom(format_args!("time: invalid duration {text:?}; expected a number with a unit, as 10s"))
        })?;
        Ok(Span(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
    }

    fn visit_u64<E: serde::de::Error>(self, nanos: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_nanos(nanos)))
    }

    fn visit_i64<E: serde::de::Error>(self, nanos: i64) -> Result<Span, E> {
        Ok(Span(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
    }

    fn visit_f64<E: serde::de::Error>(self, nanos: f64) -> Result<Span, E> {
        Ok(Span(Duration::from_nanos(nanos as u64)))
    }
}

/// Why a definition is refused: the status and Consul's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Flaw {
    fn bad(text: impl Into<String>) -> Self {
        Self { status: 400, text: text.into() }
    }

    fn invalid(text: &str) -> Self {
        Self::bad(format!("Invalid check: {text}"))
    }
}

impl ServiceBody {
    /// The service of the own agent, and its checks.
    pub(crate) fn agent(self) -> Result<(ServiceDefinition, Vec<CheckDefinition>), Flaw> {
        if self.name.is_empty() {
            return Err(Flaw::bad("Missing service name"));
        }
        if matches!(self.address.as_str(), "0.0.0.0" | "::" | "[::]") {
            return Err(Flaw::bad("Invalid service address"));
        }
        meta(&self.meta).map_err(|reason| Flaw::bad(format!("Invalid Service Meta: {reason}")))?;
        let mut bodies = self.checks;
        bodies.splice(0..0, self.check);
        let checks = bodies.into_iter().map(CheckBody::of_service).collect::<Result<_, _>>()?;
        let service = ServiceDefinition {
            id: self.id,
            name: self.name,
            tags: self.tags,
            address: self.address,
            port: self.port,
            meta: self.meta,
            weights: weights(self.weights)?,
            enable_tag_override: self.enable_tag_override,
            tagged_addresses: tagged(self.tagged_addresses),
            kind: self.kind,
            proxy: self.proxy.filter(Value::is_object),
            connect: self.connect.filter(Value::is_object),
        };
        Ok((service, checks))
    }

    /// A service of another node; the catalog itself refuses what is missing.
    pub(crate) fn catalog(self) -> Result<ServiceDefinition, Flaw> {
        Ok(ServiceDefinition {
            weights: weights(self.weights)?,
            tagged_addresses: tagged(self.tagged_addresses),
            id: self.id,
            name: self.name,
            tags: self.tags,
            address: self.address,
            port: self.port,
            meta: self.meta,
            enable_tag_override: self.enable_tag_override,
            kind: self.kind,
            proxy: self.proxy.filter(Value::is_object),
            connect: self.connect.filter(Value::is_object),
        })
    }
}

fn tagged(given: BTreeMap<String, AddressBody>) -> BTreeMap<String, TaggedAddress> {
    given.into_iter().map(|(name, at)| (name, TaggedAddress { address: at.address, port: at.port })).collect()
}

fn weights(given: Option<WeightsBody>) -> Result<Option<Weights>, Flaw> {
    let Some(given) = given else { return Ok(None) };
    let fits = |weight: i64| u16::try_from(weight).ok();
    let text = match (given.passing, given.warning) {
        (..=0, _) => "Passing must be greater than 0",
        (_, ..=-1) => "Warning must be greater or equal than 0",
        (passing, warning) => match (fits(passing), fits(warning)) {
            (Some(passing), Some(warning)) => {
                return Ok(Some(Weights { passing: passing.into(), warning: warning.into() }));
            }
            _ => "DNS Weight must be between 0 and 65535",
        },
    };
    Err(Flaw::bad(format!("Invalid Weights: {text}")))
}

/// Consul's rules for metadata.
fn meta(pairs: &BTreeMap<String, String>) -> Result<(), String> {
    if pairs.len() > META_PAIRS {
        return Err(format!("Node metadata cannot contain more than {META_PAIRS} key/value pairs"));
    }
    for (key, value) in pairs {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let flaw = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.bytes().all(word) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY {
            format!("Key is too long (limit: {META_KEY} characters)")
        } else if key.starts_with("consul-") {
            "Key prefix 'consul-' is reserved for internal use".to_owned()
        } else if value.len() > META_VALUE {
            format!("Value is too long (limit: {META_VALUE} characters)")
        } else {
            continue;
        };
        return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {flaw}"));
    }
    Ok(())
}

impl CheckBody {
    /// A check by itself: `agent/check/register`.
    pub(crate) fn alone(self) -> Result<CheckDefinition, Flaw> {
        let status = status(&self.status).map_err(|()| Flaw::bad("Bad check status"))?;
        if self.name.is_empty() {
            return Err(Flaw::bad("Missing check name"));
        }
        self.definition(status)
    }

    /// A check that comes with its service.
    fn of_service(self) -> Result<CheckDefinition, Flaw> {
        let status = status(&self.status)
            .map_err(|()| Flaw::bad("Status for checks must 'passing', 'warning', 'critical'"))?;
        self.definition(status)
    }

    fn definition(self, status: Option<Status>) -> Result<CheckDefinition, Flaw> {
        let kind = self.kind()?;
        Ok(CheckDefinition {
            check_id: if self.check_id.is_empty() { self.id } else { self.check_id },
            name: self.name,
            notes: self.notes,
            service_id: self.service_id,
            status,
            output: String::new(),
            kind,
            interval: self.interval.0,
            timeout: self.timeout.0,
            deregister_after: self.deregister_critical_service_after.0,
            success_before_passing: self.success_before_passing,
            failures_before_critical: self.failures_before_critical,
            definition: Value::Null,
        })
    }

    /// Which check it is; what fits to none, or to several, is refused in Consul's words.
    fn kind(&self) -> Result<CheckKind, Flaw> {
        let given = |value: &Value| !matches!(value, Value::Null) && value != &Value::Array(Vec::new());
        let script = given(&self.args) || given(&self.script) || given(&self.script_args);
        let script = script || !self.docker_container_id.is_empty();
        let probes = script || !(self.http.is_empty() && self.tcp.is_empty() && self.grpc.is_empty());
        let alias = !(self.alias_node.is_empty() && self.alias_service.is_empty());
        let (interval, ttl) = (!self.interval.0.is_zero(), !self.ttl.0.is_zero());
        match () {
            () if interval && ttl => Err(Flaw::invalid("Interval and TTL cannot both be specified")),
            () if probes && !interval => {
                Err(Flaw::invalid("Interval must be > 0 for Script, HTTP, or TCP checks"))
            }
            () if probes && alias => Err(Flaw::invalid("Interval cannot be set for Alias checks")),
            () if alias && ttl => Err(Flaw::invalid("TTL must be not be set for Alias checks")),
            () if !probes && !alias && !ttl => Err(Flaw::invalid("TTL must be > 0 for TTL checks")),
            () if script => Err(Flaw {
                status: 500,
                text: "Scripts are disabled on this agent from remote calls; use an HTTP, TCP, gRPC or TTL check".to_owned(),
            }),
            () => Ok(self.of_kind(ttl)),
        }
    }

    fn of_kind(&self, ttl: bool) -> CheckKind {
        if ttl {
            CheckKind::Ttl { ttl: self.ttl.0 }
        } else if !self.http.is_empty() {
            CheckKind::Http {
                url: self.http.clone(),
                method: self.method.clone(),
                header: self.header.clone(),
                body: self.body.clone(),
                tls_skip_verify: self.tls_skip_verify,
            }
        } else if !self.tcp.is_empty() {
            CheckKind::Tcp { address: self.tcp.clone() }
        } else if !self.grpc.is_empty() {
            CheckKind::Grpc {
                target: self.grpc.clone(),
                tls: self.grpc_use_tls,
                tls_skip_verify: self.tls_skip_verify,
            }
        } else {
            CheckKind::Alias { node: self.alias_node.clone(), service: self.alias_service.clone() }
        }
    }
}

/// A status word; empty: none given.
fn status(word: &str) -> Result<Option<Status>, ()> {
    if word.is_empty() { Ok(None) } else { Status::parse(word).map(Some).ok_or(()) }
}

impl From<Flaw> for Answer {
    fn from(flaw: Flaw) -> Self {
        let status = StatusCode::from_u16(flaw.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::text(status, flaw.text)
    }
}
