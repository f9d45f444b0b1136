//! What a name in the domain `consul` asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::Name;

/// The thing that a question's name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `consul` itself: SOA and NS.
    Apex,
    /// A name with others below it and nothing of its own, as `service.consul`.
    Between,
    Service {
        name: String,
        tag: Option<String>,
    },
    Node(String),
    /// `0a010001.addr.dc1.consul`: the address is in the name.
    Address(IpAddr),
    /// Of `in-addr.arpa` or `ip6.arpa`.
    Reverse(IpAddr),
    /// In the domain, and there is no such name.
    Unknown,
    /// Of another domain.
    Foreign,
}

/// Which kind of name a label announces.
#[derive(Clone, Copy)]
enum Kind {
    Service,
    Node,
    Address,
}

impl Kind {
    fn of(label: &str) -> Option<Self> {
        match label {
            "service" => Some(Self::Service),
            "node" => Some(Self::Node),
            "addr" => Some(Self::Address),
            _ => None,
        }
    }
}

impl Subject {
    /// Reads a name; names are compared without case. `datacenter` is the own one, in lower case.
    pub(crate) fn of(name: &Name, datacenter: &str) -> Self {
        let labels: Option<Vec<String>> =
            name.iter().map(|label| std::str::from_utf8(label).ok().map(str::to_lowercase)).collect();
        let Some(labels) = labels else { return Self::Foreign };
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [rest @ .., "consul"] => Self::inside(rest, datacenter),
            [.., "in-addr" | "ip6", "arpa"] => reverse(name).map_or(Self::Foreign, Self::Reverse),
            _ => Self::Foreign,
        }
    }

    fn inside(labels: &[&str], datacenter: &str) -> Self {
        let labels = match labels {
            [] => return Self::Apex,
            [only] if *only == datacenter => return Self::Between,
            [rest @ .., last] if *last == datacenter && rest.last().is_some_and(|kind| announces(kind)) => {
                rest
            }
            // The address is in the name: it is the same in every datacenter.
            [rest @ .., "addr", _] => return Self::described(rest, Kind::Address),
            labels => labels,
        };
        match labels {
            [rest @ .., kind] => match Kind::of(kind) {
                Some(kind) => Self::described(rest, kind),
                // RFC 2782 names may leave `service` out.
                None if kind.starts_with('_') => Self::described(labels, Kind::Service),
                None => Self::Unknown,
            },
            [] => Self::Unknown,
        }
    }

    /// `labels`: what stands before `service`, `node` or `addr`.
    fn described(labels: &[&str], kind: Kind) -> Self {
        match (kind, labels) {
            (_, []) => Self::Between,
            (Kind::Node, labels) => Self::Node(labels.join(".")),
            (Kind::Address, [hex]) => address(hex).map_or(Self::Unknown, Self::Address),
            (Kind::Address, _) => Self::Unknown,
            (Kind::Service, labels) => service(labels),
        }
    }
}

fn announces(label: &str) -> bool {
    Kind::of(label).is_some() || label.starts_with('_')
}

/// `NAME`, `TAG.NAME` (a tag may have dots) or, by RFC 2782, `_NAME._TAG`, where the tag `tcp` is none.
fn service(labels: &[&str]) -> Subject {
    if let [name, tag] = labels
        && let (Some(name), Some(tag)) = (name.strip_prefix('_'), tag.strip_prefix('_'))
    {
        let tag = Some(tag).filter(|tag| *tag != "tcp").map(str::to_owned);
        return Subject::Service { name: name.to_owned(), tag };
    }
    match labels {
        [name] => Subject::Service { name: (*name).to_owned(), tag: None },
        [tag @ .., name] => Subject::Service { name: (*name).to_owned(), tag: Some(tag.join(".")) },
        [] => Subject::Between,
    }
}

/// The name of an address below `addr`: its bytes in hexadecimal digits.
pub(crate) fn hex(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08x}", u32::from(address)),
        IpAddr::V6(address) => format!("{:032x}", u128::from(address)),
    }
}

fn address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from(u128::from_str_radix(hex, 16).ok()?).into()),
        _ => None,
    }
}

/// The address of a name below `in-addr.arpa` (RFC 1035, 3.5) or `ip6.arpa` (RFC 3596, 2.5); none for a whole network.
fn reverse(name: &Name) -> Option<IpAddr> {
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str) -> Subject {
        Subject::of(&Name::from_ascii(name).expect("a name"), "dc1")
    }

    fn service(name: &str, tag: Option<&str>) -> Subject {
        Subject::Service { name: name.to_owned(), tag: tag.map(str::to_owned) }
    }

    #[test]
    fn names_of_services_and_nodes() {
        assert_eq!(subject("web.service.consul."), service("web", None));
        assert_eq!(subject("WEB.Service.DC1.Consul."), service("web", None));
        assert_eq!(subject("v1.web.service.consul."), service("web", Some("v1")));
        assert_eq!(subject("v1.2.web.service.dc1.consul."), service("web", Some("v1.2")));
        assert_eq!(subject("_web._tcp.service.consul."), service("web", None));
        assert_eq!(subject("_web._v1.service.dc1.consul."), service("web", Some("v1")));
        assert_eq!(subject("_web._tcp.consul."), service("web", None));
        assert_eq!(subject("_web._tcp.dc1.consul."), service("web", None));
        assert_eq!(subject("a.node.consul."), Subject::Node("a".to_owned()));
        assert_eq!(subject("a.b.node.dc1.consul."), Subject::Node("a.b".to_owned()));
    }

    #[test]
    fn names_that_carry_their_address() {
        let v4 = Subject::Address(IpAddr::from([10, 1, 0, 1]));
        assert_eq!(subject("0a010001.addr.dc1.consul."), v4);
        assert_eq!(subject("0A010001.addr.consul."), v4);
        assert_eq!(subject("0a010001.addr.dc9.consul."), v4);
        let v6: IpAddr = "fd00::1".parse().expect("an address");
        assert_eq!(subject(&format!("{}.addr.dc1.consul.", hex(v6))), Subject::Address(v6));
        for wrong in
            ["zz.addr.consul.", "0a01000.addr.consul.", "0a01000g.addr.consul.", "x.0a010001.addr.consul."]
        {
            assert_eq!(subject(wrong), Subject::Unknown, "{wrong}");
        }
    }

    #[test]
    fn what_is_between_unknown_or_elsewhere() {
        assert_eq!(subject("consul."), Subject::Apex);
        for between in
            ["service.consul.", "node.consul.", "dc1.consul.", "service.dc1.consul.", "addr.dc1.consul."]
        {
            assert_eq!(subject(between), Subject::Between, "{between}");
        }
        for unknown in
            ["web.consul.", "web.service.dc9.consul.", "web.service.x.dc1.consul.", "web.query.consul."]
        {
            assert_eq!(subject(unknown), Subject::Unknown, "{unknown}");
        }
        for foreign in
            ["example.com.", "web.service.consul.example.", ".", "10.in-addr.arpa.", "x.in-addr.arpa."]
        {
            assert_eq!(subject(foreign), Subject::Foreign, "{foreign}");
        }
    }

    #[test]
    fn reverse_names_give_their_address() {
        assert_eq!(subject("1.0.1.10.in-addr.arpa."), Subject::Reverse(IpAddr::from([10, 1, 0, 1])));
        let v6: IpAddr = "fd00::1".parse().expect("an address");
        let name = Name::from(v6);
        assert_eq!(Subject::of(&name, "dc1"), Subject::Reverse(v6));
    }
}
