//! Why a packet is not listened to.

use std::net::{IpAddr, Ipv4Addr};

use thiserror::Error;
use weir_model::Micros;
use weir_model::vrrp::Family;

use crate::Stats;

/// One check of RFC 9568 section 7.1, RFC 3768 section 7.1 or keepalived each, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Defect {
    #[error("the packet is not {}: give both routers addresses of one family", family(.expected))]
    Family { expected: Family },
    #[error(
        "its source {0} is this host's own address: look for a bridge that reflects packets or a second host that has it"
    )]
    OwnAddress(IpAddr),
    #[error("an authentication header {}: give both routers the same auth_type", presence(*.found))]
    AhHeader { found: bool },
    #[error(
        "behind the authentication header is protocol {0}, expected 112 (VRRP): look for what else sends it"
    )]
    AhNextHeader(u8),
    /// In bytes. `expected` is the least where the packet ends before it says how long it has to be.
    #[error("{found} bytes long, expected {expected}: look for what cuts or fills packets on the way")]
    Length { found: usize, expected: usize },
    #[error("virtual router id {found}, expected {expected}")]
    Vrid { found: u8, expected: u8 },
    #[error("hop limit {found}, expected {}: it was forwarded or its sender is not the router it seems", range(*.least, *.most))]
    HopLimit { found: u8, least: u8, most: u8 },
    #[error("version {found}, expected {expected}: give both routers the same vrrp_version")]
    Version { found: u8, expected: u8 },
    #[error("authentication type {0} does not exist, expected 0, 1 (PASS) or 2 (AH)")]
    AuthType(u8),
    #[error("authentication type {found}, expected {expected}: give both routers the same auth_type")]
    AuthMismatch { found: u8, expected: u8 },
    #[error("another password: give both routers the same auth_pass")]
    Password,
    #[error("the authentication header does not fit the packet: give both routers the same auth_pass")]
    AhIcv,
    /// RFC 4302 leaves the number to the parties; for VRRP it is the source address.
    #[error("security parameters index {found}, expected the source address {expected}")]
    AhSpi { found: Ipv4Addr, expected: IpAddr },
    #[error(
        "sequence number {found} after {last}, expected a greater one: the packet is a copy or its sender began anew"
    )]
    AhReplay { found: u32, last: u32 },
    /// Version 2 only: version 3 takes the master's interval over.
    #[error("advertisement interval {:?}, expected {:?}: give both routers the same advert_int", .found.duration(), .expected.duration())]
    Interval { found: Micros, expected: Micros },
    /// Version 3 (RFC 9568 erratum 8301).
    #[error("advertisement interval 0, expected at least 10 ms")]
    ZeroInterval,
    #[error("packet type {0}, expected 1 (advertisement)")]
    Type(u8),
    #[error("wrong checksum: the packet was damaged, or changed on the way as address translation does")]
    Checksum,
    #[error("sent to {}: give both routers unicast peers or neither", delivery(*.multicast))]
    Delivery { multicast: bool },
    /// Version 3 (RFC 9568 section 5.2.5), unless the receiver has no addresses either.
    #[error("no address in it, expected {expected}: give both routers the same virtual_ipaddress")]
    NoAddresses { expected: usize },
    #[error("its source {0} is not among the unicast peers: add it or turn check_unicast_src off")]
    NotUnicastPeer(IpAddr),
}

impl Defect {
    /// Adds one to the counter that the check has.
    pub const fn count(&self, stats: &mut Stats) {
        let counter = match self {
            Self::Family { .. } | Self::Vrid { .. } => &mut stats.vrid_err,
            Self::OwnAddress(_) => &mut stats.own_address,
            Self::AhHeader { .. } | Self::AuthMismatch { .. } => &mut stats.authtype_mismatch,
            Self::Length { .. } => &mut stats.packet_len_err,
            Self::HopLimit { .. } => &mut stats.ip_ttl_err,
            Self::Version { .. } => &mut stats.version_err,
            Self::AuthType(_) => &mut stats.invalid_authtype,
            Self::AhNextHeader(_)
            | Self::Password
            | Self::AhIcv
            | Self::AhSpi { .. }
            | Self::AhReplay { .. } => &mut stats.auth_failure,
            Self::Interval { .. } | Self::ZeroInterval => &mut stats.advert_interval_err,
            Self::Type(_) => &mut stats.invalid_type_rcvd,
            Self::Checksum => &mut stats.checksum_err,
            Self::NoAddresses { .. } => &mut stats.addr_list_err,
            Self::Delivery { .. } | Self::NotUnicastPeer(_) => &mut stats.source_err,
        };
        *counter += 1;
    }
}

const fn family(family: &Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

const fn presence(found: bool) -> &'static str {
    if found { "is there, expected none" } else { "is missing" }
}

fn range(least: u8, most: u8) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

const fn delivery(multicast: bool) -> &'static str {
    if multicast { "a multicast group, expected unicast" } else { "one host, expected multicast" }
}
