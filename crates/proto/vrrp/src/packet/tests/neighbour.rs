use std::net::{Ipv4Addr, Ipv6Addr};

use weir_model::vrrp::Mac;

use super::super::{
    Claim, arp_probe, gratuitous_arp, neighbour_advertisement, neighbour_solicitation, read_arp, read_na,
    solicited_node,
};
use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("an IPv6 address")
}

fn message<'a>(source: &str, destination: &str, bytes: &'a [u8]) -> Arrival<'a> {
    arrival(&envelope(source, destination), bytes)
}

#[test]
fn a_gratuitous_arp_is_keepaliveds() {
    let golden = hex(
        "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a09000b ffffffffffff 0a09000b",
    );
    assert_eq!(gratuitous_arp(MAC, VIP).to_vec(), golden);
    assert_eq!(read_arp(&golden), Some(Claim { address: VIP.into(), mac: MAC }));
}

#[test]
fn an_arp_probe_claims_nothing() {
    let golden = hex(
        "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 0a09000b",
    );
    assert_eq!(arp_probe(MAC, VIP).to_vec(), golden);
    assert_eq!(read_arp(&golden), None);
}

#[test]
fn an_arp_reply_claims_its_senders_address() {
    let mut reply = hex(
        "020000000009 020000000001 0806 0001 0800 06 04 0002 020000000001 0a09000b 020000000009 0a090009",
    );
    let claim = Some(Claim { address: VIP.into(), mac: MAC });
    assert_eq!(read_arp(&reply), claim);
    reply.resize(60, 0);
    assert_eq!(read_arp(&reply), claim, "padded");
    assert_eq!(read_arp(&reply[..41]), None, "cut");
    for (at, what) in
        [(13, "ethertype"), (15, "hardware"), (17, "protocol"), (18, "length"), (21, "operation")]
    {
        let mut wrong = reply.clone();
        wrong[at] = 9;
        assert_eq!(read_arp(&wrong), None, "{what}");
    }
}

#[test]
fn a_neighbour_advertisement_is_keepaliveds() {
    let target = v6("fd00::16");
    let bytes = neighbour_advertisement(target, target, MAC, false);
    let golden = hex("8800 5a71 20000000 fd000000000000000000000000000016 0201 020000000001");
    assert_eq!(bytes, golden);
    let claim = Some(Claim { address: target.into(), mac: MAC });
    assert_eq!(read_na(&message("fd00::16", "ff02::1", &bytes)), claim);
    let router = neighbour_advertisement(v6("fe80::1"), target, MAC, true);
    assert_eq!(router[4], 0xa0);
    assert_eq!(read_na(&message("fe80::1", "ff02::1", &router)), claim);
}

#[test]
fn a_wrong_neighbour_advertisement_claims_nothing() {
    let bytes = neighbour_advertisement(v6("fe80::1"), v6("fd00::16"), MAC, false);
    let read = |bytes: &[u8]| read_na(&message("fe80::1", "ff02::1", bytes));
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), None, "{end} bytes");
    }
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 4;
        assert_eq!(read(&wrong), None, "byte {at}");
    }
    let mut forwarded = message("fe80::1", "ff02::1", &bytes);
    forwarded.hop_limit = 254;
    assert_eq!(read_na(&forwarded), None);
    let group = neighbour_advertisement(v6("fe80::1"), v6("ff02::16"), MAC, false);
    assert_eq!(read(&group), None, "a group is nobody's");
    let solicitation = neighbour_solicitation(v6("fe80::1"), v6("fd00::16"), MAC);
    assert_eq!(read_na(&message("fe80::1", "ff02::1:ff00:16", &solicitation)), None);
}

#[test]
fn options_of_a_neighbour_advertisement_are_walked() {
    let source = v6("fe80::1");
    let with = |options: &str| {
        let mut bytes = neighbour_advertisement(source, v6("fd00::16"), MAC, false);
        bytes.truncate(24);
        bytes.extend(hex(options));
        bytes[2..4].fill(0);
        let sum =
            super::super::checksum::Sum::pseudo(source.into(), ip("ff02::1"), 58, bytes.len()).add(&bytes);
        bytes[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        read_na(&message("fe80::1", "ff02::1", &bytes)).map(|claim| claim.mac)
    };
    assert_eq!(with("0e01 aabbccddeeff 0201 020000000001"), Some(MAC), "another option before");
    assert_eq!(with(""), None, "no option");
    assert_eq!(with("0e01 aabbccddeeff"), None, "no hardware address");
    assert_eq!(with("0200 020000000001"), None, "length zero");
    assert_eq!(with("0202 020000000001"), None, "longer than the message");
    assert_eq!(with("0202 020000000001 0000000000000000"), None, "not Ethernet's");
    assert_eq!(with("0201 020000000001 01"), None, "a rest");
}

#[test]
fn a_solicitation_asks_the_group_of_its_target() {
    let target = v6("fd00::12:3456");
    assert_eq!(solicited_node(target), v6("ff02::1:ff12:3456"));
    let bytes = neighbour_solicitation(v6("fe80::1"), target, MAC);
    assert_eq!(
        (bytes[..2].to_vec(), bytes[4..].to_vec()),
        (hex("8700"), hex("00000000 fd000000000000000000000000123456 0101 020000000001"))
    );
    let sum = super::super::checksum::Sum::pseudo(ip("fe80::1"), ip("ff02::1:ff12:3456"), 58, bytes.len());
    assert_eq!(sum.add(&bytes).checksum(), 0);
    let probe = neighbour_solicitation(Ipv6Addr::UNSPECIFIED, target, MAC);
    assert_eq!(probe.len(), 24, "RFC 4861 section 4.3: no source link-layer address from ::");
}
