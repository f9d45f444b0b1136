//! What a node opens, joins and leaves behind on its interfaces.

mod common;
mod routers;

use std::fmt::Write as _;

use common::until;
use routers::{ADDRESS, FAST, Net, PATIENCE, instance, shell, weir};
use weir_lab::Signal;

const PASSWORD: &str = "authentication {\n auth_type PASS\n auth_pass secret12\n }";
const CONF: &str = "/etc/keepalived/keepalived.conf";

/// 224.0.0.18 as /proc/net/igmp shows it; behind it the number of sockets.
const MEMBERS: &str = "awk '$1 == \"120000E0\" { print $2 }' /proc/net/igmp";

#[test]
fn a_reload_opens_what_is_missing_and_no_more() {
    let net = Net::new();
    let first = instance(150, PASSWORD);
    let node = weir(&net.a, &first);
    node.wait_state("master");
    let sockets = || shell(&net.a, "tail -n +2 /proc/net/raw | wc -l").trim().to_owned();
    assert_eq!((sockets().as_str(), shell(&net.a, MEMBERS).trim()), ("1", "1"));
    // Advertisements in an authentication header come by a socket of their own, which has to be told of the group.
    let second = first.replace("V {", "W {").replace("_id 9", "_id 10").replace(ADDRESS, "10.9.0.101");
    let both = format!("{first}{}", second.replace("PASS", "AH"));
    for round in 0..3 {
        let more = both.replace("priority 150", &format!("priority {}", 151 + round));
        net.a.write(CONF, &more).expect("its file");
        node.program.signal(Signal::HUP).expect("it runs");
        node.wait_log(&format!("reload: vrrp_instance V: priority {} -> {}", 150 + round, 151 + round));
        until("both are joined, once", || {
            (sockets() == "2" && shell(&net.a, MEMBERS).trim() == "2").then_some(())
        });
    }
}

/// The kernel lets a socket join 20 groups unless it is told otherwise; a router that is not joined hears no master.
#[test]
fn more_interfaces_than_a_socket_may_join() {
    let net = Net::new();
    let mut conf = String::new();
    for number in 1..=24 {
        net.a.ip(&format!("link add port{number} type veth peer name end{number}")).expect("an interface");
        net.a.ip(&format!("link set end{number} up")).expect("it is up");
        net.a.ip(&format!("address add 10.8.{number}.1/24 dev port{number}")).expect("it has an address");
        net.a.ip(&format!("link set port{number} up")).expect("it is up");
        let one = instance(100, FAST).replace("V {", &format!("V{number} {{"));
        let one = one.replace("interface eth0", &format!("interface port{number}"));
        let _ = write!(conf, "{}", one.replace(ADDRESS, &format!("10.8.{number}.100")));
    }
    let node = weir(&net.a, &conf);
    until("all are joined", || (shell(&net.a, MEMBERS).lines().count() == 24).then_some(()));
    assert!(!node.log().contains("hears no other router"), "{}", node.log());
}

/// An interface that is renamed keeps its addresses, and without a lease nobody else takes them away.
#[test]
fn a_renamed_interface_does_not_keep_the_address() {
    let net = Net::new();
    net.a.ip("link add port1 type veth peer name end1").expect("an interface");
    net.a.ip("link set end1 up").expect("it is up");
    net.a.ip("address add 10.8.1.1/24 dev port1").expect("it has an address");
    net.a.ip("link set port1 up").expect("it is up");
    let body = format!("{FAST}\n address_lease off\n track_interface {{\n eth0\n }}");
    let conf = instance(150, &body).replace("interface eth0", "interface port1");
    let node = weir(&net.a, &conf);
    let watch = net.watch(ADDRESS);
    watch.wait_holders(&["a"], PATIENCE).expect("it is master");
    net.a
        .ip("link set port1 name port2")
        .or_else(|_| {
            // Older kernels rename only what is down, where the address stays as well.
            net.a.ip("link set port1 down")?;
            net.a.ip("link set port1 name port2")
        })
        .expect("another name");
    watch.wait_holders(&[], PATIENCE).expect("its name has gone, and so has the address");
    node.wait_state("fault");
}
