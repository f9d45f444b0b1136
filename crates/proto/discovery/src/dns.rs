//! Answers of name servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_model::source::DnsQuery;
use weir_model::{ListenAddress, Millis, Peer};

use crate::entry::{Document, Entry, Target};

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// A host name; `.` says that the service is not offered.
    pub target: String,
}

/// The name whose records are asked for: the query's own, or `_SERVICE._tcp.NAME`.
#[must_use]
pub fn question(query: &DnsQuery) -> String {
    match &query.service {
        None => query.name.clone(),
        Some(service) if service.contains('.') => format!("{service}.{}", query.name),
        Some(service) => format!("_{service}._tcp.{}", query.name),
    }
}

/// The peers of A and AAAA records, in the order of their addresses: name servers turn theirs round and round.
#[must_use]
pub fn addresses(query: &DnsQuery, addresses: &[IpAddr], template: &Peer) -> Document {
    let mut addresses = addresses.to_vec();
    addresses.sort_unstable();
    addresses.dedup();
    let entries = addresses.into_iter().map(|ip| {
        let address = ListenAddress::Inet(SocketAddr::new(ip, query.port));
        Entry::new(Target::Address(address), server(query, template), template)
    });
    Document { entries: entries.collect(), rejected: Vec::new() }
}

/// The peers of SRV records: those of the lowest priority are primary, the others backup; weight 0 counts as 1.
#[must_use]
pub fn services(query: &DnsQuery, services: &[Service], template: &Peer) -> Document {
    let mut services = services.to_vec();
    services.sort_unstable();
    services.dedup();
    let lowest = services.first().map_or(0, |first| first.priority);
    let mut document = Document::default();
    for service in services {
        let host = service.target.strip_suffix('.').unwrap_or(&service.target);
        let name = format!("{host}:{}", service.port);
        if host.is_empty() || service.port == 0 {
            document.reject(&name, "the record says that the service is not offered");
            continue;
        }
        match Target::host(host, service.port) {
            Err(why) => document.reject(&name, why),
            Ok(target) => {
                let mut entry = Entry::new(target, server(query, template), template);
                entry.peer.weight = u32::from(service.weight.max(1));
                entry.peer.backup |= service.priority > lowest;
                document.entries.push(entry);
            }
        }
    }
    document
}

fn server(query: &DnsQuery, template: &Peer) -> String {
    if template.server.is_empty() { query.name.clone() } else { template.server.clone() }
}

/// How long an answer holds: its records' shortest time to live within one second and one hour, or what the
/// configuration says (`valid=`).
#[must_use]
pub fn lifetime(valid: Option<Millis>, seconds: u32) -> Duration {
    match valid {
        Some(valid) => valid.duration().max(Duration::from_millis(1)),
        None => Duration::from_secs(u64::from(seconds.clamp(1, 3600))),
    }
}
