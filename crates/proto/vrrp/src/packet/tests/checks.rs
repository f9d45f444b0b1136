//! Each field wrong, and the defect that it is.

use std::net::Ipv4Addr;

use super::super::{checksum, peek};
use super::*;
use crate::Stats;

/// Bytes of an IPv4 packet without options or authentication header: the advertisement starts at 20.
const VRRP_AT: usize = 20;

/// Changes bytes and makes the advertisement's checksum right again.
fn changed(case: &Case, change: impl FnOnce(&mut Vec<u8>)) -> (Protocol, Vec<u8>) {
    let (protocol, mut bytes) = case.packet();
    change(&mut bytes);
    let (family, plain) = (case.instance.family, case.instance.version == Version::V2);
    let at = if family == Family::V4 { VRRP_AT } else { 0 };
    bytes[at + 6..at + 8].fill(0);
    let body = &bytes[at..];
    let start = if plain && family == Family::V4 {
        checksum::Sum::default()
    } else {
        checksum::Sum::pseudo(case.envelope.source, case.envelope.destination, 112, body.len())
    };
    let sum = start.add(body).checksum().to_be_bytes();
    bytes[at + 6..at + 8].copy_from_slice(&sum);
    (protocol, bytes)
}

fn defect(case: &Case, change: impl FnOnce(&mut Vec<u8>)) -> Result<Decoded, Defect> {
    let (protocol, bytes) = changed(case, change);
    case.decode(protocol, &bytes)
}

#[test]
fn each_field_has_its_check() {
    let table: [(&str, Case, usize, u8, Defect); 12] = [
        ("version", v2_none(), VRRP_AT, 0x31, Defect::Length { found: 44, expected: 36 }),
        ("version", v3_ipv4(), VRRP_AT, 0x41, Defect::Version { found: 4, expected: 3 }),
        ("version", v3_ipv6(), 0, 0x21, Defect::Version { found: 2, expected: 3 }),
        ("type", v2_none(), VRRP_AT, 0x22, Defect::Type(2)),
        ("type", v3_ipv6(), 0, 0x30, Defect::Type(0)),
        ("vrid", v2_none(), VRRP_AT + 1, 99, Defect::Vrid { found: 99, expected: 11 }),
        ("count", v2_none(), VRRP_AT + 3, 3, Defect::Length { found: 44, expected: 48 }),
        ("count", v3_ipv6(), 3, 1, Defect::Length { found: 40, expected: 24 }),
        ("auth type", v2_none(), VRRP_AT + 4, 3, Defect::AuthType(3)),
        ("auth type", v2_none(), VRRP_AT + 4, 1, Defect::AuthMismatch { found: 1, expected: 0 }),
        ("auth type", v2_pass(), VRRP_AT + 4, 0, Defect::AuthMismatch { found: 0, expected: 1 }),
        ("password", v2_pass(), VRRP_AT + 19, b'x', Defect::Password),
    ];
    for (field, case, at, value, expected) in table {
        assert_eq!(defect(&case, |bytes| bytes[at] = value), Err(expected), "{field}");
    }
}

#[test]
fn the_interval_of_version_2_has_to_be_ones_own() {
    let expected = Defect::Interval { found: Micros::from_secs(2), expected: Micros::from_secs(1) };
    assert_eq!(defect(&v2_none(), |bytes| bytes[VRRP_AT + 5] = 2), Err(expected));
    let zero = Defect::Interval { found: Micros(0), expected: Micros::from_secs(1) };
    assert_eq!(defect(&v2_none(), |bytes| bytes[VRRP_AT + 5] = 0), Err(zero));
}

#[test]
fn the_interval_of_version_3_is_taken_over_without_its_reserved_bits() {
    let decoded = defect(&v3_ipv4(), |bytes| bytes[VRRP_AT + 4..VRRP_AT + 6].copy_from_slice(&[0xf1, 0x00]));
    assert_eq!(decoded.expect("any interval is fine").advertisement.interval, Micros(2_560_000));
}

#[test]
fn version_3_knows_no_interval_of_zero() {
    let zero = |bytes: &mut Vec<u8>| bytes[VRRP_AT + 4..VRRP_AT + 6].copy_from_slice(&[0xf0, 0]);
    assert_eq!(defect(&v3_ipv4(), zero), Err(Defect::ZeroInterval));
}

#[test]
fn a_changed_byte_breaks_the_checksum() {
    for case in [v2_none(), v3_ipv4(), v3_plain(), v3_unicast(), v3_ipv6()] {
        let (protocol, mut bytes) = case.packet();
        let at = if case.instance.family == Family::V4 { VRRP_AT } else { 0 };
        bytes[at + 2] ^= 0x40;
        assert_eq!(case.decode(protocol, &bytes), Err(Defect::Checksum));
    }
}

#[test]
fn the_pseudo_header_has_the_addresses_in_it() {
    let (protocol, bytes) = v3_ipv6().packet();
    let case = Case { envelope: envelope("fe80::ff:fe00:2", "ff02::12"), ..v3_ipv6() };
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Checksum));
}

#[test]
fn multicast_comes_with_the_full_hop_limit() {
    for mut case in [v2_none(), v3_ipv4(), v3_ipv6()] {
        let (protocol, bytes) = case.packet();
        case.envelope.hop_limit = 254;
        let expected = Defect::HopLimit { found: 254, least: 255, most: 255 };
        assert_eq!(case.decode(protocol, &bytes), Err(expected));
    }
}

#[test]
fn unicast_has_the_hop_limits_of_its_peer_if_sources_are_checked() {
    let mut case = v2_unicast();
    case.envelope.hop_limit = 60;
    let (protocol, bytes) = case.packet();
    assert!(case.decode(protocol, &bytes).is_ok());
    let Delivery::Unicast(unicast) = &mut case.instance.delivery else { panic!("it is unicast") };
    unicast.check_source = true;
    unicast.peers[0].min_ttl = 61;
    let expected = Defect::HopLimit { found: 60, least: 61, most: 255 };
    assert_eq!(case.decode(protocol, &bytes), Err(expected));
    let Delivery::Unicast(unicast) = &mut case.instance.delivery else { panic!("it is unicast") };
    (unicast.peers[0].min_ttl, unicast.peers[0].max_ttl) = (1, 60);
    assert!(case.decode(protocol, &bytes).is_ok());
}

#[test]
fn a_source_that_is_no_peer_counts_only_if_sources_are_checked() {
    let mut case = v3_unicast();
    case.instance = unicast(case.instance, "10.9.0.77");
    let (protocol, bytes) = case.packet();
    assert!(case.decode(protocol, &bytes).is_ok());
    let Delivery::Unicast(unicast) = &mut case.instance.delivery else { panic!("it is unicast") };
    unicast.check_source = true;
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::NotUnicastPeer(ip(SOURCE))));
}

#[test]
fn the_delivery_has_to_be_the_configured_one() {
    let (protocol, bytes) = v2_none().packet();
    let mut case = v2_none();
    case.instance = unicast(case.instance, SOURCE);
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Delivery { multicast: true }));
    let mut case = v2_unicast();
    let (protocol, bytes) = case.packet();
    case.instance.delivery = Delivery::Multicast(ip(GROUP));
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Delivery { multicast: false }));
}

#[test]
fn packets_from_oneself_are_not_heard() {
    let case = v2_none();
    let (protocol, bytes) = case.packet();
    let own = [ip("10.9.0.7"), ip(SOURCE)];
    let filter = Filter { own_addresses: &own, ..filter(&case.instance) };
    let result = decode(&arrival(&case.envelope, &bytes), protocol, &filter);
    assert_eq!(result, Err(Defect::OwnAddress(ip(SOURCE))));
}

#[test]
fn the_other_family_is_not_heard() {
    let (protocol, bytes) = v3_ipv6().packet();
    let case = Case { instance: v3_ipv4().instance, envelope: v3_ipv6().envelope };
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Family { expected: Family::V4 }));
    let mixed = Case { instance: v3_ipv4().instance, envelope: envelope(SOURCE, "ff02::12") };
    let (protocol, bytes) = v3_ipv4().packet();
    assert_eq!(mixed.decode(protocol, &bytes), Err(Defect::Family { expected: Family::V4 }));
    let mut wrong = bytes;
    wrong[0] = 0x65;
    assert_eq!(v3_ipv4().decode(protocol, &wrong), Err(Defect::Family { expected: Family::V4 }));
}

#[test]
fn every_shorter_packet_is_a_length_error() {
    for case in [v2_none(), v2_pass(), v2_ah(), v3_ipv4(), v3_ipv6()] {
        let (protocol, bytes) = case.packet();
        for end in 0..bytes.len() {
            let result = case.decode(protocol, &bytes[..end]);
            assert!(
                matches!(result, Err(Defect::Length { found, expected }) if found == end && expected > end),
                "{end} of {}: {result:?}",
                bytes.len()
            );
        }
    }
}

#[test]
fn ethernet_may_pad_but_the_packet_may_not_be_longer_than_it_says() {
    let (protocol, mut bytes) = v3_ipv4().packet();
    bytes.resize(46, 0xee);
    assert!(v3_ipv4().decode(protocol, &bytes).is_ok());
    bytes[3] = 46;
    assert_eq!(v3_ipv4().decode(protocol, &bytes), Err(Defect::Length { found: 46, expected: 32 }));
    let (protocol, mut bytes) = v3_ipv6().packet();
    bytes.push(0);
    assert_eq!(v3_ipv6().decode(protocol, &bytes), Err(Defect::Length { found: 41, expected: 40 }));
}

#[test]
fn an_ip_header_has_a_length_of_its_own() {
    let case = v2_none();
    let (protocol, mut bytes) = case.packet();
    bytes[0] = 0x46;
    bytes[3] += 4;
    bytes.splice(20..20, [0x94, 4, 0, 0]);
    assert!(case.decode(protocol, &bytes).is_ok(), "router alert is skipped");
    bytes[0] = 0x44;
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Length { found: 48, expected: 20 }));
    bytes[0] = 0x4f;
    bytes[2..4].copy_from_slice(&[0, 48]);
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::Length { found: 48, expected: 60 }));
}

#[test]
fn an_authentication_header_is_there_if_and_only_if_it_is_configured() {
    let (protocol, bytes) = v2_ah().packet();
    let mut case = v2_ah();
    case.instance.authentication = Authentication::None;
    assert_eq!(case.decode(protocol, &bytes), Err(Defect::AhHeader { found: true }));
    let (protocol, bytes) = case.packet();
    assert_eq!(v2_ah().decode(protocol, &bytes), Err(Defect::AhHeader { found: false }));
}

#[test]
fn an_authentication_header_covers_the_packet() {
    let case = v2_ah();
    let (protocol, bytes) = case.packet();
    for at in (2..bytes.len()).filter(|at| ![6, 7, 10, 11].contains(at)) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        let result = case.decode(protocol, &wrong);
        match at {
            2 | 3 => assert!(matches!(result, Err(Defect::Length { .. })), "{at}: {result:?}"),
            20 => assert_eq!(result, Err(Defect::AhNextHeader(113))),
            44 => assert!(matches!(result, Err(Defect::Version { .. } | Defect::AhIcv)), "{at}: {result:?}"),
            45 => assert!(matches!(result, Err(Defect::Vrid { .. })), "{at}: {result:?}"),
            47 => assert!(matches!(result, Err(Defect::Length { .. })), "{at}: {result:?}"),
            48 => assert_eq!(result, Err(Defect::AuthType(3))),
            _ => assert_eq!(result, Err(Defect::AhIcv), "{at}"),
        }
    }
    let mut other = v2_ah();
    other.instance.authentication = Authentication::Ah("secret13".to_owned());
    assert_eq!(other.decode(protocol, &bytes), Err(Defect::AhIcv));
}

#[test]
fn the_index_of_an_authentication_header_is_the_source() {
    let mut case = v2_ah();
    let (protocol, bytes) = case.packet();
    case.envelope.source = ip("10.9.0.3");
    let expected = Defect::AhSpi { found: Ipv4Addr::new(10, 9, 0, 1), expected: ip("10.9.0.3") };
    assert_eq!(case.decode(protocol, &bytes), Err(expected));
}

#[test]
fn a_sequence_number_comes_once() {
    let mut case = v2_ah();
    case.envelope.ah_sequence = 8;
    let (protocol, bytes) = case.packet();
    let heard = |last| {
        let filter = Filter { ah_sequence: last, ..filter(&case.instance) };
        decode(&arrival(&case.envelope, &bytes), protocol, &filter).map(|decoded| decoded.ah_sequence)
    };
    assert_eq!(heard(None), Ok(Some(8)));
    assert_eq!(heard(Some(7)), Ok(Some(8)));
    assert_eq!(heard(Some(8)), Err(Defect::AhReplay { found: 8, last: 8 }));
    assert_eq!(heard(Some(u32::MAX)), Err(Defect::AhReplay { found: 8, last: u32::MAX }));
}

#[test]
fn an_authentication_header_for_one_peer_may_lose_hops() {
    let mut case = v2_unicast();
    case.instance.authentication = Authentication::Ah("k".to_owned());
    let (protocol, mut bytes) = case.packet();
    bytes[8] -= 3;
    assert!(case.decode(protocol, &bytes).is_ok());
}

#[test]
fn what_is_behind_eight_bytes_of_a_password_does_not_count() {
    for (sender, receiver) in [("secret12345", "secret12"), ("a", "a\0")] {
        let (mut from, mut to) = (v2_pass(), v2_pass());
        from.instance.authentication = Authentication::Pass(sender.to_owned());
        to.instance.authentication = Authentication::Pass(receiver.to_owned());
        let (protocol, bytes) = from.packet();
        assert!(to.decode(protocol, &bytes).is_ok(), "{sender}");
    }
}

#[test]
fn a_differing_address_list_is_no_defect() {
    let sender =
        Case { instance: instance(11, Version::V2, &["10.9.0.5"]), envelope: envelope(SOURCE, GROUP) };
    let (protocol, bytes) = sender.packet();
    let decoded = v2_none().decode(protocol, &bytes).expect("the lists are the election's matter");
    assert_eq!(decoded.advertisement.addresses, [ip("10.9.0.5")]);
}

#[test]
fn version_3_without_an_address_is_heard_only_by_those_without_one() {
    for mut case in [v3_ipv4(), v3_ipv6()] {
        let (protocol, bytes) = encode(&case.instance, 100, &[], &case.envelope);
        let expected = case.instance.addresses.len();
        assert_eq!(case.decode(protocol, &bytes), Err(Defect::NoAddresses { expected }));
        case.instance.addresses.clear();
        let decoded = case.decode(protocol, &bytes).expect("it has none either");
        assert!(decoded.advertisement.addresses.is_empty());
    }
}

#[test]
fn peek_reads_whose_it_is_and_judges_nothing_else() {
    let case = v3_ipv4();
    let (protocol, bytes) = changed(&case, |bytes| bytes[VRRP_AT..VRRP_AT + 2].copy_from_slice(&[0x9f, 200]));
    let peeked = peek(&arrival(&case.envelope, &bytes), protocol).expect("it is long enough");
    assert_eq!((peeked.version, peeked.vrid), (9, 200));
    let short = peek(&arrival(&case.envelope, &bytes[..27]), protocol);
    assert_eq!(short, Err(Defect::Length { found: 27, expected: 32 }));
    let short = peek(&arrival(&v3_ipv6().envelope, &bytes[..7]), protocol);
    assert_eq!(short, Err(Defect::Length { found: 7, expected: 8 }));
}

#[test]
fn a_defect_counts_once_and_says_what_to_do() {
    let own = ip(SOURCE);
    let table: [(Defect, fn(&Stats) -> u64, &str); 12] = [
        (Defect::OwnAddress(own), |stats| stats.own_address, "10.9.0.1 is this host's own address"),
        (Defect::AhHeader { found: true }, |stats| stats.authtype_mismatch, "is there, expected none"),
        (Defect::Length { found: 3, expected: 8 }, |stats| stats.packet_len_err, "3 bytes long, expected 8"),
        (Defect::HopLimit { found: 1, least: 2, most: 9 }, |stats| stats.ip_ttl_err, "1, expected 2 to 9"),
        (Defect::Version { found: 2, expected: 3 }, |stats| stats.version_err, "version 2, expected 3"),
        (Defect::AuthType(7), |stats| stats.invalid_authtype, "authentication type 7 does not exist"),
        (
            Defect::AhReplay { found: 1, last: 2 },
            |stats| stats.auth_failure,
            "1 after 2, expected a greater one",
        ),
        (
            Defect::Interval { found: Micros(500_000), expected: Micros::from_secs(1) },
            |stats| stats.advert_interval_err,
            "interval 500ms, expected 1s",
        ),
        (Defect::Type(2), |stats| stats.invalid_type_rcvd, "packet type 2, expected 1"),
        (Defect::Checksum, |stats| stats.checksum_err, "wrong checksum"),
        (Defect::NoAddresses { expected: 2 }, |stats| stats.addr_list_err, "no address in it, expected 2"),
        (Defect::NotUnicastPeer(own), |stats| stats.source_err, "10.9.0.1 is not among the unicast peers"),
    ];
    for (defect, counter, message) in table {
        let mut stats = Stats::default();
        defect.count(&mut stats);
        assert_eq!(counter(&stats), 1, "{defect:?}");
        assert!(defect.to_string().contains(message), "{defect}");
    }
}
