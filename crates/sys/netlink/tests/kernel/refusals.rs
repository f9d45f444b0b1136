use std::net::IpAddr;

use weir_model::vrrp::{Address, Broadcast, Mac};
use weir_netlink::{Error, Netlink};

use crate::support::{address, cable, in_namespace, index, ip, put, wish, without_capability};

#[test]
fn missing_capability_is_named() {
    without_capability(|| {
        let mut netlink = Netlink::open().expect("a socket needs no privilege");
        let held = address("192.0.2.1", 32);
        let mut results = netlink.put_addresses(&[wish(&held, 1, Some(2))]).expect("the kernel answers");
        let error = results.pop().expect("one result").expect_err("not without the capability");
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
        let remedy = "CAP_NET_ADMIN is missing: run as root or grant it with `setcap cap_net_admin+ep` or systemd's \
                      AmbientCapabilities=CAP_NET_ADMIN";
        assert_eq!(
            error.to_string(),
            format!("add address 192.0.2.1/32 on the interface with index 1: {remedy}")
        );
        let error = netlink.add_macvlan("vrrp.1", 1, Mac([0; 6])).expect_err("not without the capability");
        assert!(error.to_string().ends_with(remedy), "{error}");
        assert_eq!(netlink.links().expect("everybody may read").len(), 1);
    });
}

#[test]
fn vanished_interface_fails_its_own_addresses_only() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        ip("link add c type veth peer name d");
        let c = index(&mut netlink, "c");
        let (stays, goes) = (address("192.0.2.1", 32), address("192.0.2.2", 32));
        let wishes = [wish(&goes, c, Some(60)), wish(&stays, a, Some(60))];
        put(&mut netlink, &wishes);
        ip("link del c");
        let results = netlink.put_addresses(&wishes).expect("the kernel answers");
        assert!(
            matches!(results.as_slice(), [Err(Error::NoInterface { interface, .. }), Ok(())]
                if *interface == format!("with index {c}")),
            "{results:?}"
        );
        let results = netlink.remove_addresses(&wishes).expect("the kernel answers");
        assert!(results.iter().all(Result::is_ok), "gone with its interface: {results:?}");
        let error = netlink.set_up(c).expect_err("there is no such link");
        assert!(matches!(error, Error::NoInterface { .. }), "{error:?}");
    });
}

#[test]
fn interface_may_vanish_while_addresses_are_put() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let east = cable(&mut netlink);
        let addresses: Vec<Address> =
            (1..=200).map(|n| Address::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]))).collect();
        let wishes: Vec<_> = addresses.iter().map(|address| wish(address, east, Some(60))).collect();
        let vanishing = std::thread::spawn(|| ip("link del east"));
        loop {
            let results = netlink.put_addresses(&wishes).expect("the kernel answers");
            assert_eq!(results.len(), wishes.len());
            let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
            // A link that is being deleted is down before it is gone.
            let known = |error: &Error| matches!(error.errno(), Some(13 | 19 | 100));
            assert!(errors.iter().all(known), "{errors:?}");
            if matches!(errors.as_slice(), [first, ..] if matches!(first, Error::NoInterface { .. })) {
                break;
            }
        }
        vanishing.join().expect("ip(8) deletes the link");
    });
}

#[test]
fn contradictions_are_not_sent() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let four = address("192.0.2.1", 24);
        let six = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let cases = [
            (
                Address { peer: Some((six, 128)), ..four.clone() },
                None,
                "the peer 2001:db8::1 is of another family",
            ),
            (
                Address { broadcast: Broadcast::Given(six), ..four.clone() },
                None,
                "the broadcast address 2001:db8::1",
            ),
            (
                address("2001:db8::1", 129),
                None,
                "the address has a prefix length of 129, expected at most 128",
            ),
            (
                Address { label: Some("x".repeat(70_000)), ..four.clone() },
                None,
                "the label has 70000 bytes, expected 1 to 15",
            ),
            (four, Some(0), "a lease of 0 seconds, expected at least 1"),
        ];
        for (address, lease, words) in cases {
            let mut results = netlink.put_addresses(&[wish(&address, 1, lease)]).expect("nothing is sent");
            let error = results.pop().expect("one result").expect_err("it makes no sense");
            assert!(matches!(&error, Error::Invalid { reason, .. } if reason.starts_with(words)), "{error}");
        }
    });
}

#[test]
fn kernel_words_are_passed_on() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        // Managed temporary addresses exist for /64 prefixes only.
        let odd = Address { mngtmpaddr: true, ..address("2001:db8::1", 80) };
        let mut results = netlink.put_addresses(&[wish(&odd, a, None)]).expect("the kernel answers");
        let error = results.pop().expect("one result").expect_err("the kernel refuses it");
        assert_eq!(error.errno(), Some(22));
        assert!(error.to_string().contains("the kernel calls it contradictory (EINVAL)"), "{error}");
    });
}
