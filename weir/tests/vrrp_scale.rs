//! Many virtual routers, and many addresses of one: they change hands as one.

mod common;
mod routers;

use common::{text, until};
use routers::{FAST, Net, Node, holds, weir};
use weir_lab::{Host, Signal};

/// IPv4 addresses of a host's network, its own included.
fn count(host: &Host) -> usize {
    let list = host.run("ip", &["-o", "-4", "address"]).expect("it runs");
    text(&list.stdout).matches(" inet 10.9.").count()
}

fn counts(net: &Net, a: usize, b: usize) {
    until(&format!("{a} addresses on a, {b} on b"), || {
        ((count(&net.a), count(&net.b)) == (a, b)).then_some(())
    });
}

/// A thousand addresses change hands as one.
#[test]
fn a_thousand_addresses() {
    let net = Net::new();
    let more = (0..1000).map(|n| format!("  10.9.{}.{}\n", 1 + n / 250, 1 + n % 250)).collect::<String>();
    let routers = net.start(&format!("{FAST}\n virtual_ipaddress_excluded {{\n{more} }}"));
    let last = net.watch("10.9.4.250");
    holds(&last, &["a"], &[&routers.a, &routers.b]);
    counts(&net, 1002, 1);
    routers.a.program.signal(Signal::TERM).expect("it is told to end");
    holds(&last, &["b"], &[&routers.a, &routers.b]);
    counts(&net, 1, 1002);
    net.b.signal_all(Signal::KILL).expect("all its processes die");
    // The kernel takes every address back.
    counts(&net, 1, 1);
}

/// As many virtual routers as one network can have, on both nodes.
#[test]
fn all_virtual_routers_of_a_network() {
    let net = Net::new();
    let file = |priority: u8| {
        let one = |n: u8| {
            format!(
                "vrrp_instance V{n} {{\n state BACKUP\n interface eth0\n virtual_router_id {n}\n priority \
                 {priority}\n {FAST}\n virtual_ipaddress {{\n 10.9.7.{n}\n }}\n}}\n"
            )
        };
        (1..=255).map(one).collect::<String>()
    };
    let a = weir(&net.a, &file(150));
    counts(&net, 256, 1);
    let b = weir(&net.b, &file(100));
    until("the backup hears the master", || (!b.status_of("V255")["master"].is_null()).then_some(()));
    a.program.signal(Signal::TERM).expect("it is told to end");
    counts(&net, 1, 256);
    let again = Node::again(&net.a);
    counts(&net, 256, 1);
    net.a.signal_all(Signal::KILL).expect("all its processes die");
    counts(&net, 1, 256);
    // One socket heard all of them, and nothing was taken for something else.
    let last = b.status_of("V255");
    assert_eq!(last["state"], "master", "{}", b.log());
    assert_eq!(last["stats"]["become_master"], 2, "{last:#}");
    assert_eq!(last["stats"]["release_master"], 1, "{last:#}");
    for log in [b.log(), again.log()] {
        assert!(
            ["dropped", "is master too", "answers for"].iter().all(|words| !log.contains(words)),
            "{log}"
        );
    }
}
