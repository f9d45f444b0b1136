use weir_model::vrrp::Mac;
use weir_netlink::{Error, Event, LinkInfo, Netlink};

use crate::support::{News, cable, in_namespace, index, ip};

const VIRTUAL: Mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 0x33]);

fn link(netlink: &mut Netlink, name: &str) -> Option<LinkInfo> {
    netlink.links().expect("links can be read").into_iter().find(|link| link.name == name)
}

#[test]
fn macvlan_is_made_once_and_kept() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        netlink.add_macvlan("vrrp.51", a, VIRTUAL).expect("the kernel makes a macvlan");
        let shown = ip("-d link show vrrp.51");
        for words in ["vrrp.51@east", "macvlan mode private", "00:00:5e:00:01:33", ",UP"] {
            assert!(shown.contains(words), "{shown} lacks {words}");
        }
        let made = link(&mut netlink, "vrrp.51").expect("it is there");
        assert_eq!((made.kind.as_deref(), made.parent, made.mac), (Some("macvlan"), Some(a), Some(VIRTUAL)));

        ip("link set vrrp.51 down");
        netlink.add_macvlan("vrrp.51", a, VIRTUAL).expect("the same once more");
        let again = link(&mut netlink, "vrrp.51").expect("it is there");
        assert_eq!((again.index, again.admin_up), (made.index, true));

        netlink.delete_link(made.index).expect("the kernel deletes it");
        netlink.delete_link(made.index).expect("absent is fine");
        assert_eq!(link(&mut netlink, "vrrp.51"), None);
    });
}

#[test]
fn another_link_of_the_name_is_told() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        ip("link add link east name vrrp.51 address 00:00:5e:00:01:33 type macvlan mode bridge");
        let cases = [
            (
                "vrrp.51",
                format!(
                    "vrrp.51 (macvlan that is not private with {VIRTUAL} on the interface with index {a})"
                ),
            ),
            ("lo", "lo (hardware with 00:00:00:00:00:00)".to_owned()),
        ];
        for (name, words) in cases {
            let error = netlink.add_macvlan(name, a, VIRTUAL).expect_err("the name is taken");
            assert!(matches!(&error, Error::Exists { found, .. } if *found == words), "{error}");
        }
        for name in ["", "name-of-16-bytes"] {
            let error = netlink.add_macvlan(name, a, VIRTUAL).expect_err("no name for an interface");
            assert!(
                matches!(&error, Error::Invalid { reason, .. } if reason.ends_with("expected 1 to 15")),
                "{error}"
            );
        }
        let error = netlink.add_macvlan("vrrp.52", 4711, VIRTUAL).expect_err("there is no base");
        let text = "add macvlan vrrp.52 with 00:00:5e:00:01:33 on the interface with index 4711: there is no interface \
                    with index 4711: create it or correct the name";
        assert_eq!(error.to_string(), text);
    });
}

#[test]
fn carrier_and_administrator_are_told_apart() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let mut news = News::open();
        let mut state = |up, admin_up| {
            news.first(|event| match event {
                Event::Link(link) if link.index == a && (link.up, link.admin_up) == (up, admin_up) => {
                    Some(link)
                }
                _ => None,
            })
        };
        ip("link set west down");
        state(false, true);
        ip("link set west up");
        let up = state(true, true);
        assert_eq!(
            (up.name.as_str(), up.kind.as_deref(), up.loopback, up.mtu),
            ("east", Some("veth"), false, 1500)
        );
        ip("link set east down");
        state(false, false);
        netlink.set_up(a).expect("the kernel sets it up");
        state(true, true);
        let lo = link(&mut netlink, "lo").expect("every namespace has it");
        assert!(lo.loopback && lo.up && lo.parent.is_none(), "{lo:?}");
    });
}

#[test]
fn port_that_leaves_its_bridge_is_not_gone() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let mut news = News::open();
        ip("link add bridge0 type bridge");
        ip("link set east master bridge0");
        ip("link set east nomaster");
        let bridge = index(&mut netlink, "bridge0");
        ip("link del bridge0");
        news.first(|event| match event {
            Event::LinkGone { index, name } => {
                assert_eq!((index, name.as_str()), (bridge, "bridge0"), "{a} stays");
                Some(())
            }
            _ => None,
        });
    });
}
