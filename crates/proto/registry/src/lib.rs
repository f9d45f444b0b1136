//! The data of a registry as Consul has it: keys, sessions, services, checks, their index and who waits for them.
//! Disk, sockets and clocks are left to weir-serve-registry.

mod agent;
mod alarm;
mod apply;
mod catalog;
mod check;
mod command;
mod filter;
mod health;
mod kv;
mod query;
mod record;
mod refusal;
mod restore;
mod rows;
mod session;
mod state;
mod topic;
mod txn;

pub use command::{
    CheckDefinition, CheckKind, Command, Deregistration, KvWrite, Outcome, Registration, ServiceDefinition,
    SessionRequest, TxnError, TxnOp, TxnVerb,
};
pub use filter::{Filter, FilterError};
pub use record::{Corrupt, Record, Table};
pub use refusal::Refusal;
pub use rows::{
    AgentCheck, AgentHealth, AgentService, Behavior, CatalogService, Check, KvEntry, Member, Node,
    NodeServices, Service, ServiceCheck, ServiceHealth, Session, Status, TaggedAddress, Weights,
};
pub use state::{Applied, Identity, Reply, State, Time};
pub use topic::Topic;
