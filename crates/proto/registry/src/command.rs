//! What may be asked of the registry that changes something, and what is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rows::{Behavior, KvEntry, ServiceCheck, Session, Status, TaggedAddress, Weights};

/// One change. Everything random or read from a clock (ids of sessions) is in it already.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Answers [`Outcome::Bool`].
    Kv(KvWrite),
    /// All or nothing, one index; answers [`Outcome::Txn`].
    Txn(Vec<TxnOp>),
    /// Answers [`Outcome::Session`].
    SessionCreate(SessionRequest),
    /// Answers [`Outcome::Done`], whether or not it was there.
    SessionDestroy {
        id: String,
    },
    /// Answers [`Outcome::Session`].
    SessionRenew {
        id: String,
    },
    /// `catalog/register`; answers [`Outcome::Done`].
    Register(Registration),
    /// `catalog/deregister`; answers [`Outcome::Done`].
    Deregister(Deregistration),
    /// `agent/service/register`: on the own node. Checks that are not among these go away with `replace_checks`.
    AgentServiceRegister {
        service: ServiceDefinition,
        checks: Vec<CheckDefinition>,
        replace_checks: bool,
    },
    /// Done also when there is no such service.
    AgentServiceDeregister {
        id: String,
    },
    AgentCheckRegister(CheckDefinition),
    /// Done also when there is no such check.
    AgentCheckDeregister {
        id: String,
    },
    /// `agent/check/{pass,warn,fail,update}`: of a TTL check.
    CheckUpdate {
        id: String,
        status: Status,
        output: String,
    },
    /// A TTL check has its whole time again, whatever it says: its service's lease is held.
    CheckRenew {
        id: String,
    },
    /// What a probe (HTTP, TCP, gRPC) of a check on the own node saw; thresholds are applied here. No such check: nothing.
    CheckResult {
        id: String,
        status: Status,
        output: String,
    },
    /// `reason`: on; `None`: off.
    ServiceMaintenance {
        id: String,
        reason: Option<String>,
    },
    /// `reason`: on; `None`: off.
    NodeMaintenance {
        reason: Option<String>,
    },
}

/// One write to the KV store (`/v1/kv/`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvWrite {
    Set {
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u64,
    },
    /// Only if the entry's ModifyIndex is `index`; 0: only if there is none.
    Cas {
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u64,
        index: u64,
    },
    Acquire {
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u64,
        session: String,
    },
    Release {
        key: Vec<u8>,
        value: Vec<u8>,
        flags: u64,
        session: String,
    },
    Delete {
        key: Vec<u8>,
    },
    DeleteCas {
        key: Vec<u8>,
        index: u64,
    },
    DeleteTree {
        prefix: Vec<u8>,
    },
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOp {
    pub verb: TxnVerb,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub flags: u64,
    /// Of `cas`, `delete-cas`, `check-index`.
    pub index: u64,
    /// Of `lock`, `unlock`, `check-session`; empty: none.
    pub session: String,
}

/// Verbs of a transaction's KV operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnVerb {
    Set,
    Cas,
    Lock,
    Unlock,
    Get,
    GetTree,
    CheckIndex,
    CheckSession,
    CheckNotExists,
    Delete,
    DeleteTree,
    DeleteCas,
}

impl TxnVerb {
    /// The verb of a word in the API.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "set" => Self::Set,
            "cas" => Self::Cas,
            "lock" => Self::Lock,
            "unlock" => Self::Unlock,
            "get" => Self::Get,
            "get-tree" => Self::GetTree,
            "check-index" => Self::CheckIndex,
            "check-session" => Self::CheckSession,
            "check-not-exists" => Self::CheckNotExists,
            "delete" => Self::Delete,
            "delete-tree" => Self::DeleteTree,
            "delete-cas" => Self::DeleteCas,
            _ => return None,
        })
    }

    /// Whether it leaves the store as it is.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(
            self,
            Self::Get | Self::GetTree | Self::CheckIndex | Self::CheckSession | Self::CheckNotExists
        )
    }
}

/// Why one operation stopped a transaction; serialised as Consul prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnError {
    pub op_index: usize,
    pub what: String,
}

/// `session/create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// A random UUID that the caller made.
    pub id: String,
    pub name: String,
    /// Empty: the own node.
    pub node: String,
    /// More than 60 s counts as 60 s when it is applied.
    pub lock_delay: Duration,
    pub behavior: Behavior,
    /// `None`: no TTL.
    pub ttl: Option<Duration>,
    /// The TTL as it was written: it is shown again.
    pub ttl_text: String,
    pub node_checks: Vec<String>,
    pub service_checks: Vec<ServiceCheck>,
}

/// `catalog/register`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    pub node: String,
    /// The node's UUID; empty: none.
    pub node_id: String,
    pub address: String,
    pub tagged_addresses: BTreeMap<String, String>,
    pub node_meta: BTreeMap<String, String>,
    /// The node is left as it is, if it is there.
    pub skip_node_update: bool,
    pub service: Option<ServiceDefinition>,
    /// Kept and shown, never run.
    pub checks: Vec<CheckDefinition>,
}

/// `catalog/deregister`: a service, a check, or, with both empty, the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deregistration {
    pub node: String,
    pub service_id: String,
    pub check_id: String,
}

/// A service as a client describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceDefinition {
    /// Empty: the name.
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    pub address: String,
    pub port: u16,
    pub meta: BTreeMap<String, String>,
    /// `None`: 1 and 1.
    pub weights: Option<Weights>,
    pub enable_tag_override: bool,
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Kept and shown, of no effect.
    pub kind: String,
    /// Kept and shown, of no effect; `None`: Consul's empty form.
    pub proxy: Option<Value>,
    /// Kept and shown, of no effect; `None`: Consul's empty form.
    pub connect: Option<Value>,
}

/// A check as a client describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckDefinition {
    /// Empty: made from the service (`service:ID`, `service:ID:2`), or the name.
    pub check_id: String,
    /// Empty: `Service 'NAME' check` for one that comes with a service.
    pub name: String,
    pub notes: String,
    /// Empty: a check of the node.
    pub service_id: String,
    /// `None`: critical.
    pub status: Option<Status>,
    pub output: String,
    pub kind: CheckKind,
    pub interval: Duration,
    /// Zero: 10 s.
    pub timeout: Duration,
    /// Zero: never. Values below one second count as one second.
    pub deregister_after: Duration,
    pub success_before_passing: u32,
    pub failures_before_critical: u32,
    /// Of catalog checks: the `Definition` object, shown as it came; null otherwise.
    pub definition: Value,
}

/// What a check does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckKind {
    /// Somebody else's: its status is what was registered.
    #[default]
    Foreign,
    /// Critical unless it is told otherwise within the time.
    Ttl { ttl: Duration },
    Http {
        url: String,
        /// Empty: GET.
        method: String,
        header: BTreeMap<String, Vec<String>>,
        body: String,
        tls_skip_verify: bool,
    },
    /// `host:port`.
    Tcp { address: String },
    /// `host:port[/service]`, `grpc.health.v1.Health/Check`.
    Grpc { target: String, tls: bool, tls_skip_verify: bool },
    /// The worst of the checks of a service, or of a node if `service` is empty. Empty node: the own.
    Alias { node: String, service: String },
    /// Put there by maintenance mode.
    Maintenance,
}

impl CheckKind {
    /// Consul's `Type` of it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Foreign => "",
            Self::Ttl { .. } => "ttl",
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc { .. } => "grpc",
            Self::Alias { .. } => "alias",
            Self::Maintenance => "maintenance",
        }
    }

    /// Whether somebody has to run it at an interval.
    #[must_use]
    pub const fn probes(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Tcp { .. } | Self::Grpc { .. })
    }
}

/// What a command that was obeyed answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// `true` or `false`: a CAS, a lock.
    Bool(bool),
    /// Created, or renewed.
    Session(Arc<Session>),
    /// In the operations' order; values only of `get` and, without them too, never of writes.
    Txn(Vec<Arc<KvEntry>>),
}
