//! The records of the domain `consul`, made from the registry's state for each question.

use std::collections::HashSet;
use std::net::IpAddr;

use hickory_proto::rr::rdata::{CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use weir_registry::{Node, ServiceHealth, State, Status};

use super::question::{Subject, hex};

/// No answer can hold more records: an address takes 16 bytes of at most 64 KiB.
const MOST: usize = 4096;

/// What the configuration says about answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) datacenter: String,
    /// Leave out services with a warning as well.
    pub(crate) only_passing: bool,
    /// Seconds.
    pub(crate) ttl: u32,
}

/// A record, and what belongs to it in the additional section.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) answer: Record,
    pub(crate) extra: Vec<Record>,
}

/// What there is for a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Never empty; any of them may be left out to make it fit.
    Answers(Vec<Entry>),
    /// The name exists without such a record: no error and the SOA (RFC 2308, 2.2).
    NoData,
    /// NXDOMAIN and the SOA (RFC 2308, 2.1).
    NoName,
    /// Not of this domain.
    Refused,
}

impl Found {
    fn of(answers: Vec<Record>) -> Self {
        Self::entries(answers.into_iter().map(|answer| Entry { answer, extra: Vec::new() }).collect())
    }

    fn entries(entries: Vec<Entry>) -> Self {
        if entries.is_empty() { Self::NoData } else { Self::Answers(entries) }
    }
}

/// The start of authority: as Consul has it, with `serial` for its number (RFC 1035, 3.3.13).
pub(crate) fn soa(settings: &Settings, serial: u32) -> Option<Record> {
    let data =
        SOA::new(name("ns.consul")?, name("hostmaster.consul")?, serial, 3600, 600, 86400, settings.ttl);
    Some(Record::from_rdata(name("consul")?, settings.ttl, RData::SOA(data)))
}

/// Answers one question.
pub(crate) fn find(state: &State, settings: &Settings, serial: u32, owner: &Name, kind: RecordType) -> Found {
    let lookup = Lookup { state, settings, owner, kind };
    match Subject::of(owner, &settings.datacenter.to_lowercase()) {
        Subject::Apex => lookup.apex(serial),
        Subject::Between => Found::NoData,
        Subject::Service { name, tag } => lookup.service(&name, tag.as_deref()),
        Subject::Node(node) => lookup.node(&node),
        Subject::Address(address) => lookup.address(address),
        Subject::Reverse(address) => lookup.reverse(address),
        Subject::Unknown => Found::NoName,
        Subject::Foreign => Found::Refused,
    }
}

/// One question and where its answer comes from.
struct Lookup<'a> {
    state: &'a State,
    settings: &'a Settings,
    /// As it was asked: its case is kept.
    owner: &'a Name,
    kind: RecordType,
}

impl Lookup<'_> {
    fn wants(&self, kind: RecordType) -> bool {
        self.kind == kind || self.kind == RecordType::ANY
    }

    fn own(&self, data: RData) -> Record {
        self.record(self.owner.clone(), data)
    }

    fn record(&self, owner: Name, data: RData) -> Record {
        Record::from_rdata(owner, self.settings.ttl, data)
    }

    fn apex(&self, serial: u32) -> Found {
        let mut entries = Vec::new();
        if self.wants(RecordType::SOA) {
            let soa = soa(self.settings, serial);
            entries.extend(soa.map(|answer| Entry { answer, extra: Vec::new() }));
        }
        if self.wants(RecordType::NS) {
            let identity = self.state.identity();
            if let Some(server) = self.node_name(&identity.node) {
                let address = identity.address.parse::<IpAddr>().ok();
                let extra = address.map(|address| self.record(server.clone(), RData::from(address)));
                entries.push(Entry {
                    answer: self.own(RData::NS(NS(server))),
                    extra: extra.into_iter().collect(),
                });
            }
        }
        Found::entries(entries)
    }

    fn service(&self, service: &str, tag: Option<&str>) -> Found {
        let tags: Vec<&str> = tag.into_iter().collect();
        let mut live = self.state.health(service, &tags, self.settings.only_passing).data;
        live.retain(|instance| instance.status() != Status::Critical);
        if live.is_empty() {
            return Found::NoName;
        }
        let mut live = shuffle(live);
        live.truncate(MOST);
        if self.kind == RecordType::SRV {
            return Found::entries(live.iter().filter_map(|instance| self.srv(instance)).collect());
        }
        let hosts = live.iter().map(|instance| match instance.service.address.as_str() {
            "" => instance.node.address.as_str(),
            address => address,
        });
        self.hosts(hosts)
    }

    /// Addresses of hosts, each once; the first host that is a name as an alias where there is no address at all, since
    /// an alias has no other records beside it (RFC 1034, 3.6.2).
    fn hosts<'h>(&self, hosts: impl Iterator<Item = &'h str>) -> Found {
        let mut seen = HashSet::new();
        let mut alias = None;
        let mut records = Vec::new();
        for host in hosts {
            match host.parse::<IpAddr>() {
                Ok(address) if seen.insert(address) => records.extend(self.own_address(address)),
                Ok(_) => {}
                Err(_) => alias = alias.or_else(|| name(host)),
            }
        }
        let host_wanted =
            [RecordType::A, RecordType::AAAA, RecordType::CNAME].iter().any(|kind| self.wants(*kind));
        match alias {
            Some(alias) if seen.is_empty() && host_wanted => {
                Found::of(vec![self.own(RData::CNAME(CNAME(alias)))])
            }
            _ => Found::of(records),
        }
    }

    fn own_address(&self, address: IpAddr) -> Option<Record> {
        let kind = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        self.wants(kind).then(|| self.own(RData::from(address)))
    }

    fn srv(&self, instance: &ServiceHealth) -> Option<Entry> {
        let (node, service) = (&instance.node, &instance.service);
        let weight = if instance.status() == Status::Passing {
            service.weights.passing
        } else {
            service.weights.warning
        };
        let host = if service.address.is_empty() { &node.address } else { &service.address };
        let (target, extra) = match host.parse::<IpAddr>() {
            Ok(address) => {
                let of_node = service.address.is_empty().then(|| self.node_name(&node.node)).flatten();
                let target = match of_node {
                    Some(target) => target,
                    None => name(&format!("{}.addr.{}.consul", hex(address), self.settings.datacenter))?,
                };
                (target.clone(), vec![self.record(target, RData::from(address))])
            }
            Err(_) => (name(host)?, Vec::new()),
        };
        let weight = u16::try_from(weight).unwrap_or(u16::MAX);
        let data = SRV::new(1, weight, service.port, target);
        Some(Entry { answer: self.own(RData::SRV(data)), extra })
    }

    fn node(&self, node: &str) -> Found {
        let Some(found) = self.state.node(node).data else { return Found::NoName };
        let meta = self.meta(&found.node);
        match self.hosts(std::iter::once(found.node.address.as_str())) {
            Found::Answers(mut entries) => {
                let meta = meta.into_iter().map(|answer| Entry { answer, extra: Vec::new() });
                if self.wants(RecordType::TXT) {
                    entries.extend(meta);
                } else if let Some(first) = entries.first_mut() {
                    first.extra.extend(meta.map(|entry| entry.answer));
                }
                Found::Answers(entries)
            }
            _ if self.wants(RecordType::TXT) => Found::of(meta),
            _ => Found::NoData,
        }
    }

    /// The node's metadata as `key=value` (RFC 1464); the value alone where the key begins with `rfc1035-`.
    fn meta(&self, node: &Node) -> Vec<Record> {
        let text = |(key, value): (&String, &String)| match key.starts_with("rfc1035-") {
            true => value.clone(),
            false => format!("{key}={value}"),
        };
        // A string of a TXT record has 255 bytes at most (RFC 1035, 3.3.14).
        let strings = |text: String| text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let record = |text| {
            let strings = strings(text);
            let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            self.own(RData::TXT(TXT::from_bytes(strings)))
        };
        node.meta.iter().map(text).filter(|text| !text.is_empty()).map(record).collect()
    }

    fn address(&self, address: IpAddr) -> Found {
        Found::of(self.own_address(address).into_iter().collect())
    }

    /// The nodes that have the address; if there is none, the services.
    fn reverse(&self, address: IpAddr) -> Found {
        let same = |text: &str| text.parse() == Ok(address);
        let nodes = self.state.nodes().data;
        let nodes =
            nodes.iter().filter(|node| same(&node.address)).filter_map(|node| self.node_name(&node.node));
        let mut names: Vec<Name> = nodes.collect();
        if names.is_empty() {
            let services = self.state.services().data;
            let here = services.keys().filter(|service| {
                self.state.service(service, &[]).data.iter().any(|instance| same(&instance.service.address))
            });
            let datacenter = &self.settings.datacenter;
            names.extend(here.filter_map(|service| name(&format!("{service}.service.{datacenter}.consul"))));
        }
        if names.is_empty() {
            // Addresses are not this server's domain: somebody else may know.
            return Found::Refused;
        }
        if !self.wants(RecordType::PTR) {
            return Found::NoData;
        }
        Found::of(names.into_iter().map(|name| self.own(RData::PTR(PTR(name)))).collect())
    }

    fn node_name(&self, node: &str) -> Option<Name> {
        name(&format!("{node}.node.{}.consul", self.settings.datacenter))
    }
}

/// An absolute name; none where the text cannot be one.
fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok().filter(|name| !name.is_root())?;
    name.set_fqdn(true);
    Some(name)
}

/// In an order by chance, so that clients who take the first one share the load.
fn shuffle<T>(items: Vec<T>) -> Vec<T> {
    let mut keys = vec![0; items.len() * 4];
    if getrandom::fill(&mut keys).is_err() {
        return items;
    }
    let mut keyed: Vec<(&[u8], T)> = keys.chunks(4).zip(items).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, item)| item).collect()
}
