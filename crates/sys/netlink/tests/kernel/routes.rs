use std::net::IpAddr;

use weir_model::vrrp::{Family, NextHop, Route, RouteKind};
use weir_netlink::{Error, Netlink};

use crate::support::{cable, in_namespace, ip};

fn route(destination: Option<&str>) -> Route {
    let destination = destination.map(|prefix| {
        let (address, length) = prefix.split_once('/').expect("a prefix");
        (address.parse::<IpAddr>().expect("an address"), length.parse().expect("a length"))
    });
    let family =
        if destination.is_some_and(|(address, _)| address.is_ipv6()) { Family::V6 } else { Family::V4 };
    Route {
        kind: RouteKind::Unicast,
        destination,
        family,
        gateway: None,
        source: None,
        interface: None,
        table: 254,
        metric: None,
        scope: None,
        protocol: None,
        onlink: false,
        mtu: None,
        advmss: None,
        track: true,
        next_hops: Vec::new(),
    }
}

fn literal(text: &str) -> Option<IpAddr> {
    Some(text.parse().expect("a literal address"))
}

/// A namespace's cable with networks on it, and its index.
fn networks(netlink: &mut Netlink) -> u32 {
    let a = cable(netlink);
    ip("addr add 192.0.2.1/24 dev east");
    ip("addr add 2001:db8::1/64 dev east nodad");
    a
}

/// Every kind of route that a line of virtual_routes can say, and how ip-route(8) shows it.
fn cases() -> Vec<(Route, &'static str, &'static str)> {
    let hop = |gateway, weight| NextHop { gateway: literal(gateway), interface: None, weight, onlink: false };
    let hops = vec![hop("192.0.2.2", 1), hop("192.0.2.3", 256)];
    let hops6 = vec![hop("2001:db8::2", 2), hop("2001:db8::3", 1)];
    vec![
        (
            Route { gateway: literal("192.0.2.254"), source: literal("192.0.2.1"), ..route(None) },
            "route show",
            "unicast default via 192.0.2.254 dev east proto keepalived scope global src 192.0.2.1",
        ),
        (
            Route { metric: Some(77), ..route(Some("198.51.100.0/24")) },
            "route show",
            "unicast 198.51.100.0/24 dev east proto keepalived scope link metric 77",
        ),
        (
            Route { table: 100, interface: Some("east".to_owned()), ..route(Some("198.51.101.0/24")) },
            "route show table 100",
            "unicast 198.51.101.0/24 dev east proto keepalived scope link",
        ),
        (
            Route {
                table: 70000,
                kind: RouteKind::Blackhole,
                protocol: Some(4),
                ..route(Some("198.51.102.0/24"))
            },
            "route show table 70000",
            "blackhole 198.51.102.0/24 proto static scope global",
        ),
        (
            Route {
                gateway: literal("203.0.113.9"),
                onlink: true,
                mtu: Some(1400),
                advmss: Some(1300),
                ..route(Some("198.51.103.0/24"))
            },
            "route show",
            "198.51.103.0/24 via 203.0.113.9 dev east proto keepalived scope global onlink mtu 1400 advmss 1300",
        ),
        (
            Route { next_hops: hops, ..route(Some("198.51.104.0/24")) },
            "route show",
            "198.51.104.0/24 proto keepalived scope global nexthop via 192.0.2.2 dev east weight 1 nexthop via 192.0.2.3 dev east weight 256",
        ),
        (
            Route { gateway: literal("fe80::9"), ..route(Some("198.51.105.0/24")) },
            "route show",
            "198.51.105.0/24 via inet6 fe80::9 dev east",
        ),
        (
            Route { kind: RouteKind::Throw, table: 101, ..route(Some("198.51.106.0/24")) },
            "route show table 101",
            "throw 198.51.106.0/24",
        ),
        (
            Route { gateway: literal("2001:db8::ff"), metric: Some(5), ..route(Some("2001:db8:1::/48")) },
            "-6 route show",
            "2001:db8:1::/48 via 2001:db8::ff dev east proto keepalived scope global metric 5",
        ),
        (
            Route { gateway: literal("fe80::1"), family: Family::V6, ..route(None) },
            "-6 route show",
            "default via fe80::1 dev east",
        ),
        (
            Route { next_hops: hops6, ..route(Some("2001:db8:2::/48")) },
            "-6 route show",
            "nexthop via 2001:db8::2 dev east weight 2",
        ),
        (
            Route { kind: RouteKind::Prohibit, ..route(Some("2001:db8:3::/48")) },
            "-6 route show",
            "prohibit 2001:db8:3::/48",
        ),
        (
            Route { kind: RouteKind::Unreachable, ..route(Some("198.51.107.0/24")) },
            "route show",
            "unreachable 198.51.107.0/24",
        ),
    ]
}

fn shown(command: &str) -> String {
    let words = ip(&format!("-d {command}"));
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn routes_come_and_go() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = networks(&mut netlink);
        let resolve = |name: &str| (name == "east").then_some(a);
        for (route, command, words) in cases() {
            for _ in 0..2 {
                netlink.put_route(&route, Some(a), &resolve).expect("the kernel takes the route");
            }
            let found = shown(command);
            assert_eq!(found.matches(words).count(), 1, "{found} shows once: {words}");
            for _ in 0..2 {
                netlink.remove_route(&route, Some(a), &resolve).expect("the kernel removes the route");
            }
            // A table that had nothing else is gone as well, which ip(8) calls an error.
            if !command.contains("table") {
                assert!(!shown(command).contains(words), "{words} is gone");
            }
        }
    });
}

#[test]
fn foreign_route_to_the_same_destination_comes_back() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = networks(&mut netlink);
        ip("route add default via 192.0.2.200");
        let ours = Route { gateway: literal("192.0.2.254"), ..route(None) };
        netlink.put_route(&ours, Some(a), &|_| None).expect("the kernel takes the route");
        assert!(ip("route get 9.9.9.9").contains("via 192.0.2.254"));
        netlink.remove_route(&ours, Some(a), &|_| None).expect("the kernel removes the route");
        assert!(ip("route get 9.9.9.9").contains("via 192.0.2.200"));
    });
}

#[test]
fn refused_routes_say_why() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = networks(&mut netlink);
        let mut refused = |route: &Route| {
            netlink.put_route(route, Some(a), &|_| None).expect_err("the route makes no sense")
        };
        let error = refused(&Route { interface: Some("eth9".to_owned()), ..route(Some("198.51.100.0/24")) });
        let text = "add route to 198.51.100.0/24 dev eth9 table 254: there is no interface eth9: create it or correct \
                    the name";
        assert_eq!(error.to_string(), text);
        let error = refused(&Route { gateway: literal("203.0.113.1"), ..route(Some("198.51.100.0/24")) });
        assert_eq!(error.errno(), Some(101));
        assert!(error.to_string().contains("the gateway is on no network of this host"), "{error}");
        let error = refused(&Route { source: literal("2001:db8::1"), ..route(Some("198.51.100.0/24")) });
        assert!(matches!(error, Error::Invalid { .. }), "{error}");

        let gone = Route { interface: Some("eth9".to_owned()), ..route(Some("198.51.100.0/24")) };
        netlink.remove_route(&gone, None, &|_| None).expect("gone with its interface");
    });
}
