//! Packets that keepalived 2.2.7 sent, byte for byte in both directions.

use weir_model::vrrp::{Checksum, Version};

use super::super::{Advertisement, Decoded, peek};
use super::*;

fn check(case: &Case, protocol: Protocol, golden: &str, form: Option<Checksum>) {
    let golden = hex(golden);
    assert_eq!(case.packet(), (protocol, golden.clone()));
    let instance = &case.instance;
    let advertisement = Advertisement {
        version: instance.version,
        vrid: instance.vrid,
        priority: 100,
        interval: instance.advert_interval,
        addresses: addresses(instance),
    };
    let ah_sequence = (protocol == Protocol::Ah).then_some(1);
    assert_eq!(
        case.decode(protocol, &golden),
        Ok(Decoded { advertisement, checksum_form: form, ah_sequence })
    );
    let peeked = peek(&arrival(&case.envelope, &golden), protocol).expect("it is long enough");
    let version = if instance.version == Version::V2 { 2 } else { 3 };
    assert_eq!((peeked.version, peeked.vrid), (version, instance.vrid));
}

#[test]
fn version_2_without_authentication() {
    let golden =
        "45c0002c00010000ff70d0840a090001e0000012 210b6402 0001 6665 0a09000b 0a09006f 0000000000000000";
    check(&v2_none(), Protocol::Vrrp, golden, None);
}

#[test]
fn version_2_with_a_password() {
    let golden = "45c0002800010000ff70d0880a090001e0000012 210c6401 0101 025e 0a09000c 7365637265743132";
    check(&v2_pass(), Protocol::Vrrp, golden, None);
}

#[test]
fn version_2_with_an_authentication_header() {
    let golden =
        "45c0004000010000ff33d0ad0a090001e0000012 70040000 0a090001 00000001 06e73a2c2932412cdb077df9
        210d6401 0201 6eda 0a09000d 0000000000000000";
    check(&v2_ah(), Protocol::Ah, golden, None);
}

#[test]
fn version_2_to_one_peer() {
    let golden = "45c0002800010000ff70a6900a0900010a090002 21116401 0001 70d2 0a090011 0000000000000000";
    check(&v2_unicast(), Protocol::Vrrp, golden, None);
}

#[test]
fn version_3_over_ipv4() {
    let golden = "45c0002000010000ff70d0900a090001e0000012 310e6401 0032 760e 0a09000e";
    check(&v3_ipv4(), Protocol::Vrrp, golden, Some(Checksum::PseudoHeader));
}

#[test]
fn version_3_over_ipv4_with_the_checksum_of_rfc_9568() {
    let golden = "45c0002000010000ff70d0900a090001e0000012 310e6401 0032 60a7 0a09000e";
    check(&v3_plain(), Protocol::Vrrp, golden, Some(Checksum::Plain));
}

#[test]
fn version_3_to_one_peer() {
    let golden = "45c0002000010000ff70a6980a0900010a090002 31126401 0064 4bdc 0a090012";
    check(&v3_unicast(), Protocol::Vrrp, golden, Some(Checksum::PseudoHeader));
}

#[test]
fn version_3_over_ipv6() {
    let golden = "31106402 0032 71de fe800000000000000000000000000016 fd000000000000000000000000000016";
    check(&v3_ipv6(), Protocol::Vrrp, golden, None);
}

#[test]
fn both_forms_of_the_checksum_are_accepted_whichever_is_sent() {
    for (sender, receiver, form) in
        [(v3_ipv4(), v3_plain(), Checksum::PseudoHeader), (v3_plain(), v3_ipv4(), Checksum::Plain)]
    {
        let (protocol, bytes) = sender.packet();
        let decoded = receiver.decode(protocol, &bytes).expect("both forms are right");
        assert_eq!(decoded.checksum_form, Some(form));
    }
}
