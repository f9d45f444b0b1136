//! Virtual routers: packets, elections, sync groups, tracking (RFC 3768, RFC 5798, RFC 9568, and keepalived's ways).
//! Sockets, addresses, clocks and scripts are left to weir-serve-vrrp: bytes, events and `now` go in, commands come out.

mod access;
mod adverts;
mod command;
mod election;
mod event;
mod garp;
mod group;
mod hold;
mod limiter;
mod links;
mod node;
mod packet;
mod plan;
mod reload;
mod report;
mod router;
mod status;
mod timers;
mod tracking;

pub use access::assets;
pub use command::{Assets, Command, Notice, NoticeState, Protocol, Subject};
pub use event::{Event, Severity};
pub use node::Node;
pub use packet::{
    Advertisement, Claim, Decoded, Defect, Envelope, Filter, Peek, arp_probe, decode, encode, gratuitous_arp,
    neighbour_advertisement, neighbour_solicitation, peek, read_arp, read_na, solicited_node,
};
pub use reload::vmac_device;
pub use status::{InstanceStatus, MasterSeen, State, Stats, Status};

/// A moment: the time since some fixed start, by a clock that never steps and that counts while the machine sleeps
/// (CLOCK_BOOTTIME).
pub type Time = std::time::Duration;

/// One instance for as long as it is configured; a reload does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct InstanceId(pub u32);

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Index of the interface it came in by.
    pub interface: u32,
    pub source: std::net::IpAddr,
    pub destination: std::net::IpAddr,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// IPv4: from the IP header on. IPv6: the payload behind all headers.
    pub bytes: &'a [u8],
}

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Administratively up, and with a carrier.
    pub up: bool,
    /// Absent on interfaces without Ethernet's.
    pub mac: Option<weir_model::vrrp::Mac>,
    pub mtu: u32,
    /// Usable ones (neither tentative nor failed), the primary ones first, without those that virtual routers hold.
    pub addresses: Vec<std::net::IpAddr>,
}

/// What a priority or a fault depends on, besides interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tracker {
    Script(String),
    Process(String),
    File(String),
    /// This node's own proxy.
    Proxy,
    Upstream(String),
}

/// What a tracker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Up,
    /// Why, for people: `exited with code 1`.
    Down(String),
    /// The number in a tracked file.
    Value(i64),
}
