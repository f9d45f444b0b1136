//! Raw sockets, ARP and neighbour discovery between hosts in network namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use crate::hosts::{Host, alone, readable};
use weir_net::{ArpSocket, NdSocket, RawArrival, RawProtocol, RawSocket};

const VRRP_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VRRP_GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// VRRP version 2, router 7, priority 120, one address, no authentication.
const ADVERTISEMENT: [u8; 20] = [0x21, 7, 120, 1, 0, 1, 0x5b, 0x22, 192, 0, 2, 33, 0, 0, 0, 0, 0, 0, 0, 0];

/// An IPv4 packet with length and checksum left to the kernel.
fn packet(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0xc0, 0, 0, 0x12, 0x34, 0, 0, 255, protocol, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// The packet as it must arrive: with its length and the checksum of RFC 791 section 3.1.
fn filled(mut packet: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(packet.len()).expect("a short packet");
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    let sum: u32 = packet[..20].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice");
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The next thing to arrive, and nothing after it.
fn only<'b>(socket: &RawSocket, buffer: &'b mut [u8]) -> RawArrival<'b> {
    readable(socket);
    let arrival = socket.receive(buffer).expect("receive").expect("readable");
    assert_eq!(socket.receive(&mut [0; 100]).expect("receive"), None, "one packet was sent");
    arrival
}

fn vrrp4() -> RawSocket {
    RawSocket::open(RawProtocol::Vrrp4).expect("a raw socket")
}

#[test]
fn a_group_is_heard_on_the_interface_it_was_joined_on() {
    alone("raw::a_group_is_heard_on_the_interface_it_was_joined_on", || {
        let (here, there) = (Host::new(), Host::new());
        let (first, first_there) = here.cable(&there, "first", 0x10);
        let (second, second_there) = here.cable(&there, "second", 0x20);
        let (sender, hearer) = (here.run(vrrp4), there.run(vrrp4));
        let own = here.run(vrrp4);
        own.join(second, VRRP_GROUP.into()).expect("join");
        hearer.join(second_there, VRRP_GROUP.into()).expect("join");

        // Nobody has this source, and no route leads to the group.
        let source = Ipv4Addr::new(192, 0, 2, 200);
        let sent = packet(112, source, VRRP_GROUP, &ADVERTISEMENT);
        for interface in [first, second] {
            sender.send(interface, source.into(), VRRP_GROUP.into(), 0, &sent).expect("send");
        }
        let mut buffer = [0; 2048];
        let expected = RawArrival {
            interface: second_there,
            source: source.into(),
            destination: VRRP_GROUP.into(),
            hop_limit: 255,
            bytes: &filled(sent.clone()),
        };
        assert_eq!(only(&hearer, &mut buffer), expected);
        assert_eq!(own.receive(&mut buffer).expect("receive"), None, "it came back to its own host");

        hearer.join(first_there, VRRP_GROUP.into()).expect("join");
        hearer.leave(second_there, VRRP_GROUP.into()).expect("leave");
        for interface in [second, first] {
            sender.send(interface, source.into(), VRRP_GROUP.into(), 0, &sent).expect("send");
        }
        assert_eq!(only(&hearer, &mut buffer), RawArrival { interface: first_there, ..expected });
    });
}

#[test]
fn unicast_leaves_by_the_interface_that_was_named() {
    alone("raw::unicast_leaves_by_the_interface_that_was_named", || {
        let (here, there) = (Host::new(), Host::new());
        let (first, first_there) = here.cable(&there, "first", 0x10);
        let (second, second_there) = here.cable(&there, "second", 0x20);
        here.ip("addr add 192.0.2.1/24 dev first");
        there.ip("addr add 192.0.2.2/24 dev first");
        let (sender, hearer) = (here.run(vrrp4), there.run(vrrp4));
        let (source, destination) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let sent = packet(112, source, destination, &ADVERTISEMENT);
        let mut buffer = [0; 2048];
        for (interface, arrives_by) in [(second, second_there), (first, first_there), (0, first_there)] {
            sender.send(interface, source.into(), destination.into(), 0, &sent).expect("send");
            let arrival = only(&hearer, &mut buffer);
            assert_eq!((arrival.interface, arrival.destination), (arrives_by, destination.into()));
            assert_eq!(arrival.bytes, filled(sent.clone()));
        }
        let cut = &mut [0; 30];
        sender.send(first, source.into(), destination.into(), 0, &sent).expect("send");
        readable(&hearer);
        let arrival = hearer.receive(cut).expect("receive").expect("readable");
        assert_eq!(arrival.bytes, &filled(sent)[..30]);
    });
}

#[test]
fn authentication_headers_have_a_socket_of_their_own() {
    alone("raw::authentication_headers_have_a_socket_of_their_own", || {
        let (here, there) = (Host::new(), Host::new());
        let (by, by_there) = here.cable(&there, "wire", 0x10);
        let open = || RawSocket::open(RawProtocol::Ah4).expect("a raw socket");
        let (sender, hearer, other) = (here.run(open), there.run(open), there.run(vrrp4));
        hearer.join(by_there, VRRP_GROUP.into()).expect("join");
        other.join(by_there, VRRP_GROUP.into()).expect("join");
        let source = Ipv4Addr::new(192, 0, 2, 1);
        // RFC 4302 section 2: next header VRRP, length, reserved, SPI, sequence, check value.
        let mut header = vec![112, 4, 0, 0, 192, 0, 2, 1, 0, 0, 0, 1];
        header.extend([0x5a; 12]);
        header.extend(ADVERTISEMENT);
        let sent = packet(51, source, VRRP_GROUP, &header);
        sender.send(by, source.into(), VRRP_GROUP.into(), 0, &sent).expect("send");
        let mut buffer = [0; 2048];
        let arrival = only(&hearer, &mut buffer);
        assert_eq!((arrival.source, arrival.hop_limit), (source.into(), 255));
        assert_eq!(arrival.bytes, filled(sent));
        assert_eq!(other.receive(&mut [0; 100]).expect("receive"), None);
    });
}

#[test]
fn ipv6_packets_carry_the_source_and_hops_they_were_given() {
    alone("raw::ipv6_packets_carry_the_source_and_hops_they_were_given", || {
        let (here, there) = (Host::new(), Host::new());
        let (first, first_there) = here.cable(&there, "first", 0x10);
        let (second, second_there) = here.cable(&there, "second", 0x20);
        let open = || RawSocket::open(RawProtocol::Vrrp6).expect("a raw socket");
        let (sender, hearer) = (here.run(open), there.run(open));
        hearer.join(second_there, VRRP_GROUP_6.into()).expect("join");
        // This address is nobody's; the checksum (bytes 6 and 7) is wrong and must stay so.
        let source: Ipv6Addr = "fe80::77".parse().expect("an address");
        let mut buffer = [0; 2048];
        for hop_limit in [255, 1] {
            for interface in [first, second] {
                sender
                    .send(interface, source.into(), VRRP_GROUP_6.into(), hop_limit, &ADVERTISEMENT)
                    .expect("send");
            }
            let expected = RawArrival {
                interface: second_there,
                source: source.into(),
                destination: VRRP_GROUP_6.into(),
                hop_limit,
                bytes: &ADVERTISEMENT,
            };
            assert_eq!(only(&hearer, &mut buffer), expected);
        }
        // Unicast to a link-local address, which exists on both cables.
        let address: Ipv6Addr = "fe80::99".parse().expect("an address");
        for (name, by, arrives_by) in [("first", first, first_there), ("second", second, second_there)] {
            there.ip(&format!("addr add fe80::99/64 dev {name} nodad"));
            sender.send(by, source.into(), address.into(), 64, &ADVERTISEMENT).expect("send");
            let arrival = only(&hearer, &mut buffer);
            assert_eq!((arrival.interface, arrival.destination), (arrives_by, address.into()));
            assert_eq!(arrival.hop_limit, 64);
        }
    });
}

#[test]
fn what_cannot_be_sent_or_joined_is_said() {
    alone("raw::what_cannot_be_sent_or_joined_is_said", || {
        let socket = vrrp4();
        let (v4, v6) = (IpAddr::from(VRRP_GROUP), IpAddr::from(VRRP_GROUP_6));
        let error = socket.send(1, v4, v6, 255, &[]).expect_err("another family");
        assert_eq!(error.to_string(), "destination ff02::12 is of the other address family than the socket");
        let error = socket.send(1, v6, v4, 255, &[]).expect_err("two families");
        assert_eq!(
            error.to_string(),
            "source ff02::12 and destination 224.0.0.18 are of two address families"
        );
        let packet = packet(112, VRRP_GROUP, VRRP_GROUP, &ADVERTISEMENT);
        let error = socket.send(4711, v4, v4, 255, &packet).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        for interface in [0, 4711] {
            let error = socket.join(interface, v4).expect_err("no such interface");
            assert_eq!(
                error.to_string(),
                format!(
                    "setsockopt(IP_ADD_MEMBERSHIP) for 224.0.0.18 on interface {interface} failed (19: No such device)"
                )
            );
            assert!(!error.is_permission());
        }
    });
}

#[test]
fn the_kernel_holds_a_flood() {
    alone("raw::the_kernel_holds_a_flood", || {
        let size = socket2::SockRef::from(&vrrp4()).recv_buffer_size().expect("SO_RCVBUF");
        let limit: usize = weir_net::read_sysctl("net/core/rmem_max")
            .map_or(0, |text| text.parse().expect("a number of bytes"));
        // The kernel doubles what it is asked for; in a namespace of users it may keep its limit.
        assert!(size == 8 << 20 || size == 2 * limit, "{size}");
    });
}

/// A gratuitous ARP request, as it stands on the wire.
fn gratuitous(mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0xff; 6]);
    frame.extend(address);
    frame
}

#[test]
fn arp_frames_are_seen_by_the_other_end() {
    alone("raw::arp_frames_are_seen_by_the_other_end", || {
        let (here, there) = (Host::new(), Host::new());
        let (first, _) = here.cable(&there, "first", 0x10);
        let (second, second_there) = here.cable(&there, "second", 0x20);
        let open = || ArpSocket::open().expect("a packet socket");
        let (sender, hearer) = (here.run(open), there.run(open));
        let frame = gratuitous([2, 0, 0, 0, 0, 0x20], [192, 0, 2, 33]);
        // Of another network (VLAN 5), and no ARP at all: neither is to be heard.
        let mut tagged = frame.clone();
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        sender.send(first, &tagged).expect("send");
        let mut other = frame.clone();
        other[12..14].copy_from_slice(&[0x88, 0xb5]);
        sender.send(first, &other).expect("send");
        sender.send(second, &frame).expect("send");
        readable(&hearer);
        let mut buffer = [0; 128];
        let (interface, bytes) = hearer.receive(&mut buffer).expect("receive").expect("readable");
        assert_eq!((interface, bytes), (second_there, &frame[..]));
        assert_eq!(hearer.receive(&mut buffer).expect("receive"), None);
        assert_eq!(sender.receive(&mut buffer).expect("receive"), None, "it left this host");

        let error = sender.send(first, &[1, 2, 3]).expect_err("too short");
        assert_eq!(error.to_string(), "a frame of 3 bytes; expected an Ethernet header of 14 first");
        let error = sender.send(4711, &frame).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    });
}

#[test]
fn neighbour_messages_are_seen_by_the_other_end() {
    alone("raw::neighbour_messages_are_seen_by_the_other_end", || {
        let (here, there) = (Host::new(), Host::new());
        let (by, by_there) = here.cable(&there, "wire", 0x10);
        let open = || NdSocket::open().expect("a raw socket");
        let (sender, hearer) = (here.run(open), there.run(open));
        let address: Ipv6Addr = "fe80::33".parse().expect("an address");
        let solicited: Ipv6Addr = "ff02::1:ff00:33".parse().expect("a group");
        hearer.join(by_there, ALL_NODES).expect("join");
        hearer.join(by_there, solicited).expect("join");
        let message = |kind: u8| {
            let mut bytes = vec![kind, 0, 0, 0, 0x20, 0, 0, 0];
            bytes.extend(address.octets());
            bytes.extend([2, 1, 2, 0, 0, 0, 0, 0x10]);
            bytes
        };
        // An echo request is not for this socket.
        sender.send(by, address, ALL_NODES, &message(128)).expect("send");
        for (kind, group) in [(136, ALL_NODES), (135, solicited)] {
            sender.send(by, address, group, &message(kind)).expect("send");
            let mut buffer = [0; 256];
            let (source, bytes) = loop {
                readable(&hearer);
                let arrival = hearer.receive(&mut buffer).expect("receive").expect("readable");
                assert_eq!((arrival.interface, arrival.hop_limit), (by_there, 255));
                // The hosts themselves may announce their addresses as well.
                if arrival.source == IpAddr::from(address) {
                    assert_eq!(arrival.destination, IpAddr::from(group));
                    break (arrival.source, arrival.bytes.to_vec());
                }
            };
            assert_eq!(source, IpAddr::from(address));
            assert_eq!((bytes[0], &bytes[4..]), (kind, &message(kind)[4..]));
            assert_ne!(bytes[2..4], [0, 0], "the kernel made the checksum");
        }
        hearer.leave(by_there, ALL_NODES).expect("leave");
        let error = hearer.leave(by_there, ALL_NODES).expect_err("left already");
        assert_eq!(error.reason.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    });
}

#[test]
fn missing_rights_are_named() {
    const WITHOUT: &str = "WEIR_TEST_WITHOUT_RIGHTS";
    if std::env::var_os(WITHOUT).is_none() {
        let status = Command::new("setpriv")
            .args(["--inh-caps=-all", "--bounding-set=-all"])
            .arg(std::env::current_exe().expect("a test has a file"))
            .args(["--exact", "raw::missing_rights_are_named", "--nocapture"])
            .env(WITHOUT, "1")
            .status();
        assert!(status.expect("setpriv(1) is installed").success());
        return;
    }
    const REMEDY: &str = "failed (1: Operation not permitted): CAP_NET_RAW is missing: run as root, or grant it: \
        setcap cap_net_raw,cap_net_admin+ep BINARY, or AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN in the unit";
    let sockets = [
        (RawSocket::open(RawProtocol::Vrrp4).map(drop), "socket(AF_INET, SOCK_RAW, 112)"),
        (RawSocket::open(RawProtocol::Ah4).map(drop), "socket(AF_INET, SOCK_RAW, 51)"),
        (RawSocket::open(RawProtocol::Vrrp6).map(drop), "socket(AF_INET6, SOCK_RAW, 112)"),
        (NdSocket::open().map(drop), "socket(AF_INET6, SOCK_RAW, 58)"),
        (ArpSocket::open().map(drop), "socket(AF_PACKET, SOCK_RAW, 0)"),
    ];
    for (opened, call) in sockets {
        let error = opened.expect_err("no rights");
        assert!(error.is_permission());
        assert_eq!(error.to_string(), format!("{call} {REMEDY}"));
    }
}
