//! Addresses and networks as nginx writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network in CIDR notation, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    /// With the bits behind the prefix cleared.
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
    /// Some of the cleared bits were set: nginx warns `low address bits of x are meaningless`.
    pub(crate) meaningless: bool,
}

impl Cidr {
    /// `10.0.0.0/8`, `10.0.0.1`, `2001:db8::/32`; a mask in dots is not taken.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(crate::args::number(bits)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = u8::try_from(bits.unwrap_or(width)).ok().filter(|bits| u64::from(*bits) <= width)?;
        let network = first(address, bits);
        Some(Self { address: network, bits, meaningless: network != address })
    }

    /// First and last address.
    pub(crate) fn range(self) -> (IpAddr, IpAddr) {
        let last = match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() | host))
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() | host))
            }
        };
        (self.address, last)
    }
}

fn first(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !host))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host))
        }
    }
}

/// `host`, `host:port` or `unix:path`, with a URI part where one is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authority<'a> {
    Inet {
        /// An IPv6 address has its brackets.
        host: &'a str,
        port: Option<u16>,
        /// The port as written.
        port_text: &'a str,
        uri: &'a str,
    },
    Unix {
        path: &'a str,
        uri: &'a str,
    },
}

impl<'a> Authority<'a> {
    /// Reads what follows `http://`, or the address of an upstream's server when `uri` is false. The error is
    /// nginx's words without the place.
    pub(crate) fn parse(text: &'a str, uri: bool) -> Result<Self, &'static str> {
        if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("unix:")) {
            return unix(&text[5..], uri);
        }
        let start = if text.starts_with('[') { text.find(']').ok_or("invalid host")? + 1 } else { 0 };
        let end = text[start..].find(if start > 0 { &['/'][..] } else { &['/', '?'] }).map(|at| at + start);
        if end.is_some() && !uri {
            return Err("invalid host");
        }
        let (authority, uri) = text.split_at(end.unwrap_or(text.len()));
        let (host, port) = match authority[start..].find(':') {
            Some(colon) => (&authority[..start + colon], Some(&authority[start + colon + 1..])),
            None => (authority, None),
        };
        if start > 0 && host.len() != start {
            return Err("invalid host");
        }
        let number = port.map(|text| port_number(text).ok_or("invalid port")).transpose()?;
        if host.is_empty() || host == "[]" {
            return Err("no host");
        }
        if start > 0 && host[1..start - 1].parse::<Ipv6Addr>().is_err() {
            return Err("invalid IPv6 address");
        }
        Ok(Self::Inet { host, port: number, port_text: port.unwrap_or_default(), uri })
    }
}

fn unix(text: &str, uri: bool) -> Result<Authority<'_>, &'static str> {
    let (path, uri) = match text.split_once(':') {
        Some(parts) if uri => parts,
        _ => (text, ""),
    };
    if path.is_empty() {
        return Err("no path in the unix domain socket");
    }
    if path.len() > 107 {
        return Err("too long path in the unix domain socket");
    }
    Ok(Authority::Unix { path, uri })
}

/// 1 to 65535, digits only.
pub(crate) fn port_number(text: &str) -> Option<u16> {
    crate::args::number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let cidr = Cidr::parse("10.1.2.3/8").expect("it is a network");
        assert!(cidr.meaningless);
        assert_eq!(cidr.range(), ("10.0.0.0".parse().expect("v4"), "10.255.255.255".parse().expect("v4")));
        assert_eq!(Cidr::parse("0.0.0.0/0").expect("all").range().1, IpAddr::V4(Ipv4Addr::BROADCAST));
        assert_eq!(Cidr::parse("2001:db8::/32").expect("v6").bits, 32);
        for wrong in ["10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/", "x"] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn authorities() {
        let inet = |host, port, port_text, uri| Ok(Authority::Inet { host, port, port_text, uri });
        assert_eq!(Authority::parse("app:81/a?b:c", true), inet("app", Some(81), "81", "/a?b:c"));
        assert_eq!(Authority::parse("app?x", true), inet("app", None, "", "?x"));
        assert_eq!(Authority::parse("[::1]:8080/", true), inet("[::1]", Some(8080), "8080", "/"));
        assert_eq!(
            Authority::parse("unix:/a.sock:/x", true),
            Ok(Authority::Unix { path: "/a.sock", uri: "/x" })
        );
        assert_eq!(Authority::parse("app/", false), Err("invalid host"));
        assert_eq!(Authority::parse("app:0", false), Err("invalid port"));
        assert_eq!(Authority::parse(":80", false), Err("no host"));
        assert_eq!(Authority::parse("[::g]", false), Err("invalid IPv6 address"));
        assert_eq!(Authority::parse("unix:", false), Err("no path in the unix domain socket"));
    }
}
