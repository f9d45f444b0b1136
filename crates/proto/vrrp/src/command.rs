//! What the shell has to do.

use std::net::IpAddr;
use std::sync::Arc;

use weir_model::vrrp::{Address, Lease, Route, Rule, Script};

use crate::InstanceId;
use crate::event::Event;

/// The IP protocol of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 112
    Vrrp,
    /// 51, with the advertisement inside
    Ah,
}

/// What a master holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assets {
    /// Advertised ones first, then the excluded ones.
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    /// Where addresses without an interface of their own go: the instance's interface, or its virtual one.
    pub interface: String,
    /// Absent: addresses stay until they are removed.
    pub lease: Option<Lease>,
    pub promote_secondaries: bool,
}

/// One action. Commands have to be done in their order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send one packet. IPv4: `packet` starts with the IP header, complete but for what the kernel fills in. IPv6: the
    /// payload with its checksum.
    Send {
        instance: InstanceId,
        /// Index of the interface to leave by.
        interface: u32,
        source: IpAddr,
        destination: IpAddr,
        hop_limit: u8,
        protocol: Protocol,
        packet: Vec<u8>,
    },
    /// Put these on the interfaces: addresses, then routes, then rules. What is there already stays and is renewed.
    /// A failure goes to `Node::handle_hold_failed`.
    Hold { instance: InstanceId, assets: Arc<Assets> },
    /// Renew the leases of the addresses. One that is missing is put back.
    Renew { instance: InstanceId, assets: Arc<Assets> },
    /// Take these away: rules, routes, addresses. What is not there is no error.
    Release { instance: InstanceId, assets: Arc<Assets> },
    /// Send one gratuitous ARP request or unsolicited neighbour advertisement for the address.
    Announce { instance: InstanceId, interface: u32, address: IpAddr },
    /// Ask by ARP probe (RFC 5227 section 2.1.1) or neighbour solicitation whether somebody else has the address. An
    /// answer goes to `Node::handle_claim`.
    Probe { instance: InstanceId, interface: u32, address: IpAddr },
    /// Tell scripts, pipes and mail.
    Notify(Notice),
    /// Tell the log and the history.
    Event(Event),
}

/// Whom a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Instance(String),
    Group(String),
}

/// What a notice says: the words of keepalived's `notify` scripts and pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeState {
    Master,
    Backup,
    Fault,
    Stop,
    Deleted,
    MasterRxLowerPri,
    MasterPriority,
    BackupPriority,
}

impl NoticeState {
    /// As it stands in a pipe and in a script's arguments.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
            Self::MasterRxLowerPri => "MASTER_RX_LOWER_PRI",
            Self::MasterPriority => "MASTER_PRIORITY",
            Self::BackupPriority => "BACKUP_PRIORITY",
        }
    }
}

/// A change that others are told of. It has all that is needed, so that it stays right after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub subject: Subject,
    pub state: NoticeState,
    /// Zero for a group.
    pub priority: u8,
    /// `notify_master` and the like: run first, without further arguments.
    pub script: Option<Script>,
    /// `notify`: gets `INSTANCE` or `GROUP`, the name, the state and the priority.
    pub any: Option<Script>,
    pub mail: bool,
}
