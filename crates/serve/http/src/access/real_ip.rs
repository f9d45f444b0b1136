//! The client's address as trusted proxies in front name it.

use std::net::IpAddr;

use weir_http::lookup::forwarded_socket;
use weir_model::location::{Network, RealIp};

use crate::exchange::Exchange;

/// Sets the client's address once a request, from the place that the request is at.
pub(crate) fn real_ip(exchange: &mut Exchange<'_>) {
    let live = &exchange.live;
    let settings = &live.site().place(exchange.request.location).settings.access.real_ip;
    if settings.from.is_empty() || exchange.request.real.is_some() {
        return;
    }
    exchange.request.real = find(exchange, settings);
}

fn find(exchange: &Exchange<'_>, settings: &RealIp) -> Option<(IpAddr, u16)> {
    let request = &exchange.request;
    let peer = request.facts.remote;
    if settings.header == "proxy_protocol" {
        let (address, port) = request.facts.proxied.as_ref()?.source?;
        return is_trusted(&settings.from, peer).then_some((address, port));
    }
    let values = request
        .head
        .fields
        .iter()
        .filter(|field| request.text(field.name).eq_ignore_ascii_case(settings.header.as_bytes()))
        .map(|field| request.text(field.value));
    if settings.header == "x-forwarded-for" {
        let values: Vec<&[u8]> = values.collect();
        forwarded(peer, &values, &settings.from, settings.recursive)
    } else {
        let first: Vec<&[u8]> = values.take(1).collect();
        forwarded(peer, &first, &settings.from, settings.recursive)
    }
}

fn is_trusted(from: &[Network], address: Option<IpAddr>) -> bool {
    from.iter().any(|network| network.holds(address))
}

/// Walks the elements of all lines of a field from the last to the first, as long as the sender of each is
/// trusted; without `recursive` only one step is made. `None` when the peer itself is not trusted or its
/// element is no address.
fn forwarded(
    peer: Option<IpAddr>,
    values: &[&[u8]],
    from: &[Network],
    recursive: bool,
) -> Option<(IpAddr, u16)> {
    let mut sender = peer;
    let mut found = None;
    for value in values.iter().rev() {
        let elements = value.rsplit(|byte| matches!(byte, b',' | b' ')).filter(|element| !element.is_empty());
        for element in elements {
            if !is_trusted(from, sender) {
                return found;
            }
            let Some(next) = forwarded_socket(element) else { return found };
            found = Some(next);
            sender = Some(next.0);
            if !recursive {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str, bits: u8) -> Network {
        Network::Net(text.parse().expect("an address"), bits)
    }

    fn walk(values: &[&str], from: &[Network], recursive: bool) -> Option<String> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let peer = Some("127.0.0.1".parse().expect("an address"));
        forwarded(peer, &values, from, recursive).map(|(address, port)| format!("{address} {port}"))
    }

    #[test]
    fn an_untrusted_peer_names_nobody() {
        assert_eq!(walk(&["192.0.2.1"], &[net("10.0.0.0", 8)], true), None);
    }

    #[test]
    fn one_step_takes_the_last_element() {
        let from = [net("127.0.0.1", 32)];
        assert_eq!(walk(&["10.0.0.1, 192.0.2.1:8080"], &from, false).as_deref(), Some("192.0.2.1 8080"));
        assert_eq!(walk(&["192.0.2.9", "10.0.0.1 ,"], &from, false).as_deref(), Some("10.0.0.1 0"));
    }

    #[test]
    fn the_walk_goes_on_while_the_sender_is_trusted() {
        let from = [net("127.0.0.0", 8), net("10.0.0.0", 8)];
        let lines = ["192.0.2.7, 192.0.2.1", "10.0.0.2,10.0.0.1"];
        assert_eq!(walk(&lines, &from, true).as_deref(), Some("192.0.2.1 0"));
        assert_eq!(walk(&["10.0.0.3"], &from, true).as_deref(), Some("10.0.0.3 0"));
    }

    #[test]
    fn an_element_that_is_no_address_ends_the_walk() {
        let from = [net("127.0.0.0", 8), net("10.0.0.0", 8)];
        assert_eq!(walk(&["unknown, 10.0.0.1"], &from, true).as_deref(), Some("10.0.0.1 0"));
        assert_eq!(walk(&["unknown"], &from, true), None);
        assert_eq!(walk(&[""], &from, true), None);
    }

    #[test]
    fn a_unix_client_is_trusted_by_name() {
        assert!(is_trusted(&[Network::Unix], None));
        assert!(!is_trusted(&[net("127.0.0.1", 32)], None));
    }
}
