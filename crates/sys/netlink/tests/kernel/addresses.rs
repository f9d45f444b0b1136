use std::net::IpAddr;

use weir_model::vrrp::{Address, Broadcast};
use weir_netlink::{ADDRESS_PROTOCOL, AddressInfo, Event, Netlink};

use crate::support::{News, address, cable, in_namespace, index, ip, put, wish};

fn info(netlink: &mut Netlink, address: &str) -> AddressInfo {
    let address: IpAddr = address.parse().expect("a literal address");
    let addresses = netlink.addresses().expect("addresses can be read");
    addresses.into_iter().find(|info| info.address == address).expect("the address was put")
}

#[test]
fn options_have_effect() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let plain = address("198.51.100.1", 24);
        let ones =
            Address { broadcast: Broadcast::Ones, label: Some("east:vip".to_owned()), ..plain.clone() };
        let zeros = Address { broadcast: Broadcast::Zeros, scope: 253, ..address("198.51.101.1", 24) };
        let given = IpAddr::from([203, 0, 113, 9]);
        let given =
            Address { broadcast: Broadcast::Given(given), noprefixroute: true, ..address("203.0.113.1", 29) };
        let peer = Address { peer: Some((IpAddr::from([192, 0, 2, 8]), 30)), ..address("192.0.2.1", 32) };
        let early = Address { preferred: Some(7000), ..address("192.0.2.77", 32) };
        let home = Address {
            home: true,
            mngtmpaddr: true,
            nodad: false,
            preferred: None,
            ..address("2001:db8::1", 64)
        };
        let joined = Address { autojoin: true, ..address("ff05::77", 128) };
        let host = address("2001:db8::128", 128);
        let wanted = Address { preferred: Some(5000), ..address("2001:db8::129", 128) };
        let all = [&ones, &zeros, &given, &peer, &home, &joined, &host];
        let mut wishes = all.map(|address| wish(address, a, None)).to_vec();
        wishes.extend([wish(&early, a, Some(9000)), wish(&wanted, a, Some(3000))]);
        put(&mut netlink, &wishes);

        let shown = ip("-o -d addr show dev east");
        let line = |address: &str| {
            let found = shown.lines().find(|line| line.contains(address)).expect("ip shows the address");
            found.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        for (address, words) in [
            (
                "198.51.100.1/24",
                "brd 198.51.100.255 scope global east:vip\\ valid_lft forever preferred_lft forever",
            ),
            ("198.51.101.1/24", "brd 198.51.101.0 scope link"),
            ("203.0.113.1/29", "brd 203.0.113.9 scope global noprefixroute"),
            ("192.0.2.1 ", "peer 192.0.2.8/30"),
            ("192.0.2.77/32", "valid_lft 9000sec preferred_lft 7000sec"),
            ("2001:db8::1/64", "home tentative mngtmpaddr"),
            ("ff05::77/128", "nodad deprecated autojoin"),
            ("2001:db8::128/128", "nodad deprecated"),
            ("2001:db8::129/128", "valid_lft 3000sec preferred_lft 3000sec"),
        ] {
            assert!(line(address).contains(words), "{address}: {} lacks {words}", line(address));
        }
        assert!(!line("2001:db8::1/64").contains("nodad"));
        assert!(!ip("route show").contains("203.0.113"), "noprefixroute");
        assert_eq!(info(&mut netlink, "192.0.2.1").prefix_len, 30, "the prefix is that of the peer");
    });
}

#[test]
fn what_is_read_is_what_was_put() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let (first, second) = (address("198.51.100.1", 24), address("198.51.100.2", 24));
        put(&mut netlink, &[wish(&first, a, Some(600)), wish(&second, a, None)]);
        let leased = info(&mut netlink, "198.51.100.1");
        assert!(matches!(leased.valid, Some(590..=600)), "{leased:?}");
        let expected = AddressInfo {
            interface: a,
            address: second.address,
            prefix_len: 24,
            scope: 0,
            valid: None,
            preferred: None,
            tentative: false,
            failed: false,
            secondary: true,
            protocol: info(&mut netlink, "198.51.100.2").protocol,
        };
        assert_eq!(info(&mut netlink, "198.51.100.2"), expected);
        assert!([None, Some(ADDRESS_PROTOCOL)].contains(&expected.protocol), "no number before Linux 5.18");
    });
}

#[test]
fn leases_are_renewed_and_end_by_themselves() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let addresses = [address("198.51.100.1", 24), address("192.0.2.1", 32), address("2001:db8::1", 128)];
        put(
            &mut netlink,
            &[2, 300].map(|lease| addresses.each_ref().map(|held| wish(held, a, Some(lease)))).concat(),
        );
        for held in ["198.51.100.1", "192.0.2.1", "2001:db8::1"] {
            let valid = info(&mut netlink, held).valid;
            assert!(matches!(valid, Some(290..=300)), "{held}: {valid:?}");
        }
        put(&mut netlink, &addresses.each_ref().map(|held| wish(held, a, None)));
        assert_eq!(info(&mut netlink, "192.0.2.1").valid, None);

        let mut news = News::open();
        put(&mut netlink, &addresses.each_ref().map(|held| wish(held, a, Some(1))));
        let mut left: Vec<IpAddr> = addresses.iter().map(|held| held.address).collect();
        news.first(|event| {
            if let Event::AddressGone { info, by } = event {
                assert_eq!(by, None, "the kernel took it");
                left.retain(|address| *address != info.address);
            }
            left.is_empty().then_some(())
        });
        let shown = ip("-o addr show dev east");
        assert!(!shown.contains("198.51.100.1") && !shown.contains("2001:db8::1"), "{shown}");
    });
}

#[test]
fn who_removed_an_address_is_told() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let held = address("192.0.2.1", 32);
        let six = address("2001:db8::1", 128);
        let mut news = News::open();
        let mut gone = |address: IpAddr| {
            news.first(|event| match event {
                Event::AddressGone { info, by } if info.address == address => Some(by),
                _ => None,
            })
        };

        put(&mut netlink, &[wish(&held, a, Some(60)), wish(&six, a, Some(60))]);
        let results =
            netlink.remove_addresses(&[wish(&held, a, None), wish(&six, a, None)]).expect("answers");
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(gone(held.address), Some(netlink.port()));
        assert_eq!(gone(six.address), None, "the kernel does not tell for IPv6");

        put(&mut netlink, &[wish(&held, a, Some(60))]);
        ip("addr del 192.0.2.1/32 dev east");
        let by = gone(held.address).expect("somebody asked for it");
        assert_ne!(by, netlink.port());

        put(&mut netlink, &[wish(&held, a, Some(60))]);
        ip("link del east");
        assert_eq!(gone(held.address), None);
    });
}

#[test]
fn putting_and_removing_twice_is_fine() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let labelled = Address { label: Some("east:1".to_owned()), ..address("192.0.2.1", 32) };
        let peer = Address { peer: Some((IpAddr::from([192, 0, 2, 8]), 30)), ..address("192.0.2.9", 32) };
        let six = address("2001:db8::1", 64);
        let wishes = [&labelled, &peer, &six].map(|address| wish(address, a, None));
        for _ in 0..2 {
            put(&mut netlink, &wishes);
        }
        assert_eq!(
            ip("-o addr show dev east").matches("192.0.2.").count(),
            3,
            "an address, an address with a peer"
        );
        for _ in 0..2 {
            let results = netlink.remove_addresses(&wishes).expect("the kernel answers");
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
        let shown = ip("-o addr show dev east");
        assert!(!shown.contains("192.0.2.") && !shown.contains("2001:db8"), "{shown}");
    });
}

#[test]
fn thousand_addresses_in_one_call() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let four = (0..500_u16).map(|n| IpAddr::from([10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
        let six = (0..500_u16).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n + 1]));
        let addresses: Vec<Address> = four.chain(six).map(Address::new).collect();
        let wishes: Vec<_> = addresses.iter().map(|address| wish(address, a, Some(600))).collect();
        put(&mut netlink, &wishes);
        put(&mut netlink, &wishes);
        let shown = ip("-o addr show dev east");
        assert_eq!((shown.matches(" 10.9.").count(), shown.matches(" fd00::").count()), (500, 500));
        assert!(netlink.addresses().expect("addresses can be read").len() >= 1000);
        let results = netlink.remove_addresses(&wishes).expect("the kernel answers");
        assert!(results.len() == 1000 && results.iter().all(Result::is_ok));
        assert!(!ip("-o addr show dev east").contains(" 10.9."));
    });
}

#[test]
fn results_stand_in_the_order_of_the_wishes() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let (a, b) = (cable(&mut netlink), index(&mut netlink, "west"));
        let addresses: Vec<Address> = (0..300_u16)
            .map(|n| Address::new(IpAddr::from([10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]])))
            .collect();
        // Every third is to be on an interface that has never been, every fifth makes no sense.
        let odd = address("192.0.2.1", 33);
        let wishes = addresses.iter().zip(0..).map(|(address, n)| match n {
            n if n % 5 == 0 => wish(&odd, a, None),
            n if n % 3 == 0 => wish(address, 4711, None),
            n => wish(address, if n % 2 == 0 { a } else { b }, None),
        });
        let wishes: Vec<_> = wishes.collect();
        let results = netlink.put_addresses(&wishes).expect("the kernel answers");
        for (n, (result, wish)) in results.iter().zip(&wishes).enumerate() {
            let text = result.as_ref().err().map(ToString::to_string);
            let expected = match n {
                n if n % 5 == 0 => Some(format!(
                    "add address 192.0.2.1/33 on the interface with index {a}: the address has a prefix length of 33, expected at \
                     most 32"
                )),
                n if n % 3 == 0 => Some(format!(
                    "add address {}/32 on the interface with index 4711: there is no interface with index 4711: \
                     create it or correct the name",
                    wish.address.address
                )),
                _ => None,
            };
            assert_eq!(text, expected, "wish {n}");
        }
    });
}
