//! Entries of a source, from their text to the list of peers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use weir_config::{ServerAddress, server_address};
use weir_model::{ListenAddress, Peer};

/// What one answer of a source lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub entries: Vec<Entry>,
    /// Entries or parts of them that were skipped: which, and why.
    pub rejected: Vec<String>,
}

/// One entry that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub target: Target,
    /// Its address is a placeholder as long as the target is a name.
    pub peer: Peer,
}

/// Where an entry points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Address(ListenAddress),
    /// A host name that has to be resolved, and the port of its addresses.
    Name {
        host: String,
        port: u16,
    },
}

impl Entry {
    /// Reads `host:port`; without a port the default one stands in, if there is one.
    pub(crate) fn parse(text: &str, default_port: Option<u16>, template: &Peer) -> Result<Self, String> {
        let address = server_address(text).map_err(|words| format!("{words}; expected ADDRESS:PORT"))?;
        let target = match address {
            ServerAddress::Unix(path) => Target::Address(ListenAddress::Unix(path)),
            ServerAddress::Inet { host, port } => {
                let port = port.or(default_port).ok_or("no port; expected ADDRESS:PORT")?;
                Target::host(&host, port)?
            }
        };
        Ok(Self::new(target, text.to_owned(), template))
    }

    /// With everything else from the template.
    pub(crate) fn new(target: Target, server: String, template: &Peer) -> Self {
        let address = match &target {
            Target::Address(address) => address.clone(),
            Target::Name { .. } => ListenAddress::Unix(String::new()),
        };
        Self { target, peer: Peer { address, server, ..template.clone() } }
    }
}

impl Target {
    /// An address, or a name that may stand in DNS (letters, digits, `-`, `_` and dots; at most 253 bytes, RFC 1035
    /// section 2.3.4).
    pub(crate) fn host(host: &str, port: u16) -> Result<Self, String> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Address(ListenAddress::Inet(SocketAddr::new(ip, port))));
        }
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let label = |label: &str| !label.is_empty() && label.len() <= 63;
        let name = host.strip_suffix('.').unwrap_or(host);
        // A name of nothing but digits and dots is an address that was mistyped.
        let mistyped = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if mistyped || name.len() > 253 || !name.bytes().all(letters) || !name.split('.').all(label) {
            return Err(format!(
                r#"invalid host "{host}"; expected an IP address (IPv6 in brackets) or a host name"#
            ));
        }
        Ok(Self::Name { host: host.to_owned(), port })
    }
}

impl Document {
    /// The host names that have to be resolved, each once.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.entries.iter().filter_map(|entry| match &entry.target {
            Target::Name { host, .. } => Some(host.clone()),
            Target::Address(_) => None,
        });
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn reject(&mut self, entry: &str, why: impl std::fmt::Display) {
        self.rejected.push(format!("{entry}: {why}"));
    }
}

/// The peers of a document, and what was skipped on the way. `resolve` gives the addresses of a host name or says why
/// it has none.
///
/// An address that is listed more than once is one peer: the one that takes requests goes before one that drains, that
/// one before one that is down, and among equals the first. So the end of one of two registrations is no end of a peer
/// that serves.
pub fn peers(
    document: Document,
    mut resolve: impl FnMut(&str) -> Result<Vec<IpAddr>, String>,
) -> (Vec<Peer>, Vec<String>) {
    let Document { entries, mut rejected } = document;
    let mut peers: Vec<Peer> = Vec::with_capacity(entries.len());
    let mut places: HashMap<ListenAddress, usize> = HashMap::with_capacity(entries.len());
    let mut add = |peer: Peer, rejected: &mut Vec<String>| match places.get(&peer.address).copied() {
        None => {
            places.insert(peer.address.clone(), peers.len());
            peers.push(peer);
        }
        Some(place) => {
            rejected.push(format!("{}: listed more than once; it is one peer", peer.address));
            if let Some(known) = peers.get_mut(place).filter(|known| rank(&peer) < rank(known)) {
                *known = peer;
            }
        }
    };
    for Entry { target, peer } in entries {
        match target {
            Target::Address(_) => add(peer, &mut rejected),
            Target::Name { host, port } => match resolve(&host) {
                Ok(addresses) => {
                    for ip in addresses {
                        let address = ListenAddress::Inet(SocketAddr::new(ip, port));
                        add(Peer { address, ..peer.clone() }, &mut rejected);
                    }
                }
                Err(error) => rejected.push(format!("{}: could not be resolved ({error})", peer.server)),
            },
        }
    }
    (peers, rejected)
}

/// The lower, the rather it takes requests.
fn rank(peer: &Peer) -> u8 {
    if peer.down { 2 } else { u8::from(peer.drain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Peer {
        Peer::new(ListenAddress::Unix(String::new()), "")
    }

    #[test]
    fn hosts_and_ports() {
        let parse = |text: &str| Entry::parse(text, None, &template()).map(|entry| entry.target);
        let address =
            |text: &str| Ok(Target::Address(ListenAddress::Inet(text.parse().expect("an address"))));
        assert_eq!(parse("192.0.2.1:80"), address("192.0.2.1:80"));
        assert_eq!(parse("[2001:db8::1]:8080"), address("[2001:db8::1]:8080"));
        assert_eq!(parse("web-1.lan:80"), Ok(Target::Name { host: "web-1.lan".to_owned(), port: 80 }));
        for (text, error) in [
            ("192.0.2.1", "no port; expected ADDRESS:PORT"),
            ("192.0.2.1:0", "invalid port; expected ADDRESS:PORT"),
            ("192.0.2.1:65536", "invalid port; expected ADDRESS:PORT"),
            ("2001:db8::1:80", "invalid port; expected ADDRESS:PORT"),
            ("", "no host; expected ADDRESS:PORT"),
            (":80", "no host; expected ADDRESS:PORT"),
            (
                "192.0.2.999:80",
                r#"invalid host "192.0.2.999"; expected an IP address (IPv6 in brackets) or a host name"#,
            ),
            ("a b:80", r#"invalid host "a b"; expected an IP address (IPv6 in brackets) or a host name"#),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn one_address_is_one_peer() {
        let entry = |weight, drain| {
            let mut entry = Entry::parse("192.0.2.1:80", None, &template()).expect("an address");
            (entry.peer.weight, entry.peer.drain) = (weight, drain);
            entry
        };
        let document = Document {
            entries: vec![entry(1, true), entry(2, false), entry(3, false)],
            rejected: Vec::new(),
        };
        let (peers, rejected) = peers(document, |_| unreachable!("there are no names"));
        assert_eq!(peers.iter().map(|peer| peer.weight).collect::<Vec<_>>(), [2]);
        assert_eq!(rejected, vec!["192.0.2.1:80: listed more than once; it is one peer"; 2]);
    }

    #[test]
    fn names_become_one_peer_per_address() {
        let entries = vec![
            Entry::parse("web:80", None, &template()).expect("a name"),
            Entry::parse("gone:80", None, &template()).expect("a name"),
        ];
        let document = Document { entries, rejected: Vec::new() };
        assert_eq!(document.names(), ["gone", "web"]);
        let (peers, rejected) = peers(document, |name| match name {
            "web" => Ok(vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()]),
            _ => Err("3: Host not found".to_owned()),
        });
        let addresses: Vec<_> = peers.iter().map(|peer| peer.address.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.1:80", "192.0.2.2:80"]);
        assert!(peers.iter().all(|peer| peer.server == "web:80"));
        assert_eq!(rejected, ["gone:80: could not be resolved (3: Host not found)"]);
    }
}
