use std::net::IpAddr;

use weir_model::vrrp::Address;
use weir_netlink::{Event, Netlink};

use crate::support::{News, cable, in_namespace, put, wish};

#[test]
fn overrun_is_an_event_and_the_monitor_lives_on() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let a = cable(&mut netlink);
        let addresses: Vec<Address> = (0..1000_u16)
            .map(|n| Address::new(IpAddr::from([10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]])))
            .collect();
        let wishes: Vec<_> = addresses.iter().map(|address| wish(address, a, Some(600))).collect();
        let mut news = News::open();
        for _ in 0..20 {
            put(&mut netlink, &wishes);
        }
        let events = news.read();
        assert!(events.contains(&Event::Overrun), "{} events", events.len());
        assert!(events.iter().filter(|event| matches!(event, Event::Address(_))).count() > 1000);

        netlink.set_up(a).expect("it is up");
        netlink.remove_addresses(&wishes[..1]).expect("the kernel answers");
        let gone = news.first(|event| match event {
            Event::AddressGone { info, by } => Some((info.address, by)),
            _ => None,
        });
        assert_eq!(gone, (addresses[0].address, Some(netlink.port())));
    });
}

#[test]
fn reading_without_news_does_not_block() {
    in_namespace(|| {
        let mut news = News::open();
        assert_eq!(news.read(), []);
    });
}
