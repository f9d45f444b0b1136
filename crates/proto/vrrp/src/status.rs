//! What can be seen of a node.

use std::net::IpAddr;

use serde::Serialize;

use crate::{InstanceId, Time};

/// RFC 9568 section 6.4, and keepalived's FAULT: like Initialize, for a reason that has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Init,
    Backup,
    Master,
    Fault,
}

impl State {
    /// keepalived's number in its JSON dump.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Init => 0,
            Self::Backup => 1,
            Self::Master => 2,
            Self::Fault => 3,
        }
    }

    /// keepalived's word in its dump.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "INIT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Fault => "FAULT",
        }
    }
}

/// Counters of one instance; they never go back but by `Node::clear_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub advert_rcvd: u64,
    pub advert_sent: u64,
    pub become_master: u64,
    pub release_master: u64,
    pub packet_len_err: u64,
    pub checksum_err: u64,
    pub version_err: u64,
    pub vrid_err: u64,
    pub advert_interval_err: u64,
    pub ip_ttl_err: u64,
    pub invalid_type_rcvd: u64,
    pub addr_list_err: u64,
    pub invalid_authtype: u64,
    pub authtype_mismatch: u64,
    pub auth_failure: u64,
    /// From an address that is not a peer, or by the other delivery.
    pub source_err: u64,
    /// From one of this node's own addresses.
    pub own_address: u64,
    pub pri_zero_rcvd: u64,
    pub pri_zero_sent: u64,
    pub lower_prio_rcvd: u64,
    pub garp_sent: u64,
    /// Times that an address was put back that somebody else had deleted.
    pub restored: u64,
    /// Another MAC answered for an address, or adverts crossed.
    pub conflicts: u64,
}

/// The master that a backup listens to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MasterSeen {
    pub address: IpAddr,
    pub priority: u8,
    /// seconds since its last advertisement
    pub heard: f64,
}

/// One instance.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceStatus {
    pub id: InstanceId,
    pub name: String,
    pub group: Option<String>,
    pub state: State,
    /// When it changed to this state.
    pub since: Time,
    /// Why, for people.
    pub cause: String,
    pub base_priority: u8,
    pub effective_priority: u8,
    /// What holds the priority down or makes the fault, one line each.
    pub reasons: Vec<String>,
    pub master: Option<MasterSeen>,
    /// The interval that is in force, in microseconds: a version 3 backup takes over its master's.
    pub master_interval: u64,
    /// When the next thing happens by itself.
    pub next: Option<Time>,
    /// Alarms that are in force: differing address lists, conflicts.
    pub alarms: Vec<String>,
    pub stats: Stats,
    #[serde(skip)]
    pub config: std::sync::Arc<weir_model::vrrp::Instance>,
}

/// The node.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub now: Time,
    pub instances: Vec<InstanceStatus>,
}
