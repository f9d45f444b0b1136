//! Where packets go and come from.

use weir_model::vrrp::{Address, Authentication, Delivery, Instance, Unicast, UnicastPeer, Vmac, Vrrp};
use weir_vrrp::{State, vmac_device};

use super::rig::{HIGHER, LOWER, bare, down, ip, link, master, ms, one, rig, track, track_script, v6, web};

fn unicast(peers: &[&str]) -> Instance {
    let mut instance = web();
    let peers =
        peers.iter().map(|peer| UnicastPeer { address: ip(peer), min_ttl: 255, max_ttl: 255 }).collect();
    let unicast = Unicast { peers, ttl: 255, check_source: true, fault_without_peer: true };
    instance.delivery = Delivery::Unicast(unicast);
    instance
}

#[test]
fn unicast_sends_to_each_peer_and_listens_to_peers_only() {
    let mut rig = master(one(unicast(&[LOWER, HIGHER])));
    rig.wait(ms(1000));
    assert_eq!(rig.took_only("advert"), ["advert web 100 to 10.0.0.1", "advert web 100 to 10.0.0.3"]);
    rig.hear("10.0.0.66", 255);
    assert_eq!((rig.state(), rig.status().stats.source_err), (State::Master, 1));
    rig.hear(HIGHER, 255);
    assert_eq!(rig.state(), State::Backup);
}

#[test]
fn an_echo_goes_only_to_the_peer_with_that_list() {
    let mut rig = master(one(unicast(&[LOWER, HIGHER])));
    let mut peer = rig.config.instances[0].clone();
    peer.addresses.push(Address::new(ip("10.0.0.10")));
    rig.hear_as(&peer, LOWER, 50);
    assert_eq!(
        rig.took_only("advert"),
        [
            "advert web 100 to 10.0.0.1",
            "advert web 100 to 10.0.0.3",
            "advert web 100 to 10.0.0.1 with 10.0.0.9 10.0.0.10",
        ]
    );
}

#[test]
fn no_peer_is_a_fault_if_it_should_be() {
    let mut config = one(unicast(&[]));
    assert_eq!(rig(config.clone()).status().cause, "no unicast peer is configured");
    if let Delivery::Unicast(unicast) = &mut config.instances[0].delivery {
        unicast.fault_without_peer = false;
    }
    let mut rig = rig(config);
    rig.wait(ms(3610));
    assert_eq!(rig.took_only("advert"), [""; 0]);
    assert_eq!(rig.state(), State::Master);
}

#[test]
fn a_unicast_router_that_recovers_says_where_it_is() {
    let mut instance = unicast(&[LOWER]);
    instance.track_scripts.push(track("chk", 0));
    let mut config = one(instance);
    config.scripts.push(track_script("chk"));
    let mut rig = rig(config);
    rig.script("chk", down());
    rig.took();
    rig.script("chk", weir_vrrp::Finding::Up);
    assert_eq!(rig.took_only("announce"), ["announce 10.0.0.2 on 2"]);
}

#[test]
fn unicast_routers_may_share_an_identifier() {
    let mut other = unicast(&[HIGHER]);
    other.name = "other".to_owned();
    let config = Vrrp { instances: vec![unicast(&[LOWER]), other.clone()], ..Vrrp::default() };
    let mut rig = rig(config);
    rig.hear_as(&other, HIGHER, 200);
    let status = rig.node.status(rig.now);
    let heard: Vec<u64> = status.instances.iter().map(|one| one.stats.advert_rcvd).collect();
    assert_eq!(heard, [0, 1]);
}

#[test]
fn version_6_comes_from_the_link_local_address() {
    let mut rig = rig(one(v6(web())));
    rig.wait(ms(3610));
    assert_eq!(rig.state(), State::Master);
    assert_eq!(rig.took_only("advert"), ["advert web 100"]);
    let mut rig = bare(one(v6(web())));
    rig.node.handle_link(rig.now, link(2, "eth0", true, &["2001:db8::2"]));
    assert_eq!(rig.status().cause, "interface eth0 has no address to send from");
}

#[test]
fn packets_of_this_host_and_of_other_interfaces_are_nothing() {
    let mut rig = master(one(web()));
    rig.hear("10.0.0.2", 255);
    assert_eq!((rig.state(), rig.status().stats.own_address), (State::Master, 1));
    rig.node.handle_link(rig.now, link(3, "eth1", true, &["10.1.0.2"]));
    let envelope = weir_vrrp::Envelope {
        source: ip(HIGHER),
        destination: ip("224.0.0.18"),
        hop_limit: 255,
        ip_id: 1,
        ah_sequence: 1,
    };
    let (protocol, bytes) = weir_vrrp::encode(&web(), 255, &[ip("10.0.0.9")], &envelope);
    rig.arrive(3, ip(HIGHER), ip("224.0.0.18"), &bytes, protocol);
    assert_eq!(rig.state(), State::Master, "adverts from another network");
}

fn with_vmac(xmit_base: bool) -> Instance {
    let mut instance = web();
    instance.vmac = Some(Vmac { name: None, mac: None, xmit_base });
    instance
}

#[test]
fn a_virtual_mac_has_an_interface_of_its_own() {
    for (xmit_base, by) in [(false, "advert web 100 by 7"), (true, "advert web 100")] {
        let mut rig = bare(one(with_vmac(xmit_base)));
        rig.link(true);
        assert_eq!(rig.status().reasons, ["interface vrrp.51 has not been seen yet"]);
        rig.node.handle_link(rig.now, link(7, "vrrp.51", true, &[]));
        rig.wait(ms(3610));
        assert_eq!(rig.took_only("a"), [by, "announce 10.0.0.9 on 7 x5"]);
        // Packets come in by either.
        let envelope = weir_vrrp::Envelope {
            source: ip(HIGHER),
            destination: ip("224.0.0.18"),
            hop_limit: 255,
            ip_id: 1,
            ah_sequence: 1,
        };
        let (protocol, bytes) = weir_vrrp::encode(&web(), 255, &[ip("10.0.0.9")], &envelope);
        rig.arrive(7, ip(HIGHER), ip("224.0.0.18"), &bytes, protocol);
        assert_eq!(rig.state(), State::Backup);
    }
}

#[test]
fn virtual_interfaces_have_names_of_their_own() {
    let mut sixth = v6(with_vmac(false));
    sixth.name = "six".to_owned();
    let mut third = with_vmac(false);
    third.name = "third".to_owned();
    third.interface = "eth1".to_owned();
    let mut named = with_vmac(false);
    named.name = "named".to_owned();
    named.vmac = Some(Vmac { name: Some("front".to_owned()), mac: None, xmit_base: false });
    let mut plain = web();
    plain.name = "plain".to_owned();
    let config = Vrrp { instances: vec![with_vmac(false), sixth, third, named, plain], ..Vrrp::default() };
    let device = |name: &str| vmac_device(&config, name);
    assert_eq!(device("web").as_deref(), Some("vrrp.51"));
    assert_eq!(device("six").as_deref(), Some("vrrp6.51"));
    assert_eq!(device("third").as_deref(), Some("vrrp2.51"));
    assert_eq!(device("named").as_deref(), Some("front"));
    assert_eq!(device("plain"), None);
}

#[test]
fn a_replayed_authentication_header_is_dropped() {
    let mut instance = web();
    instance.authentication = Authentication::Ah("sesame".to_owned());
    let mut rig = rig(one(instance));
    rig.hear(LOWER, 200);
    rig.hear(LOWER, 200);
    let stats = rig.status().stats;
    assert_eq!((stats.advert_rcvd, stats.auth_failure), (1, 1));
    // A sender that began anew is listened to before its silence makes another master.
    rig.wait(ms(4000));
    rig.hear(LOWER, 200);
    assert_eq!(rig.status().stats.advert_rcvd, 2);
}
