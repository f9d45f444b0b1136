//! The state of a node as a document for `weir vip` and other programs.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use weir_model::vrrp::{Delivery, Version};
use weir_vrrp::{InstanceStatus, State, Status};

use crate::attendant::{History, HistoryEntry};

/// What the status socket sends. Times are seconds since 1970, with fractions.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    pub pid: u32,
    pub version: &'static str,
    pub socket: String,
    pub now: f64,
    pub instances: Vec<Row<'a>>,
    /// What happened that belongs to no instance.
    pub node: Vec<Entry<'a>>,
}

/// Something that happened.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    pub at: f64,
    pub text: &'a str,
}

fn entry(entry: &HistoryEntry) -> Entry<'_> {
    Entry { at: entry.at.as_duration().as_secs_f64(), text: &entry.text }
}

/// One instance.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    #[serde(flatten)]
    pub status: &'a InstanceStatus,
    /// When it changed to its state.
    pub since_unix: f64,
    /// Whether this node has the addresses.
    pub holds: bool,
    pub interface: &'a str,
    pub vrid: u8,
    pub vrrp_version: u8,
    /// Where advertisements go.
    pub delivery: Vec<String>,
    pub advert_interval: f64,
    pub addresses: Vec<String>,
    pub excluded: Vec<String>,
    pub preempt: bool,
    /// Seconds after which the kernel takes the addresses back when this process is gone.
    pub lease: Option<u32>,
    /// The last changes and their causes, the newest last.
    pub history: Vec<Entry<'a>>,
}

pub(crate) fn document<'a>(status: &'a Status, history: &'a History, socket: &Path) -> Document<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Document {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION"),
        socket: socket.display().to_string(),
        now: now.as_secs_f64(),
        instances: status.instances.iter().map(|one| row(one, status, history, now)).collect(),
        node: history.of(None).map(entry).collect(),
    }
}

fn row<'a>(one: &'a InstanceStatus, status: &Status, history: &'a History, now: Duration) -> Row<'a> {
    let config = &*one.config;
    let ago = status.now.saturating_sub(one.since);
    let text = |list: &[weir_model::vrrp::Address]| -> Vec<String> {
        list.iter().map(|one| format!("{}/{}", one.address, one.prefix_len)).collect()
    };
    Row {
        status: one,
        since_unix: now.saturating_sub(ago).as_secs_f64(),
        holds: one.state == State::Master,
        interface: &config.interface,
        vrid: config.vrid,
        vrrp_version: match config.version {
            Version::V2 => 2,
            Version::V3 => 3,
        },
        delivery: match &config.delivery {
            Delivery::Multicast(group) => vec![group.to_string()],
            Delivery::Unicast(unicast) => unicast.peers.iter().map(|peer| peer.address.to_string()).collect(),
        },
        advert_interval: config.advert_interval.duration().as_secs_f64(),
        addresses: text(&config.addresses),
        excluded: text(&config.excluded),
        preempt: !config.nopreempt,
        lease: config.lease.map(|lease| lease.seconds),
        history: history.of(Some(&one.name)).map(entry).collect(),
    }
}
