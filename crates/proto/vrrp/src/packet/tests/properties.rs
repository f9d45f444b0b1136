//! What holds for every packet.

use proptest::prelude::*;

use super::super::{Advertisement, peek, read_arp, read_na};
use super::*;

fn authentications() -> impl Strategy<Value = Authentication> {
    prop_oneof![
        Just(Authentication::None),
        "[ -~]{1,10}".prop_map(Authentication::Pass),
        "[ -~]{1,10}".prop_map(Authentication::Ah),
    ]
}

prop_compose! {
    fn routers(family: Family)(
        version in prop_oneof![Just(Version::V2), Just(Version::V3)],
        checksum in prop_oneof![Just(Checksum::PseudoHeader), Just(Checksum::Plain)],
        authentication in authentications(),
        vrid in 1..=255_u8,
        ticks in 1..=255_u64,
        unicast in any::<bool>(),
    ) -> Instance {
        let mut instance = Instance::new("web", "eth0", vrid);
        (instance.version, instance.family, instance.checksum) = (version, family, checksum);
        instance.authentication = authentication;
        instance.advert_interval =
            if version == Version::V2 { Micros::from_secs(ticks) } else { Micros(ticks * 160_000) };
        if unicast { super::unicast(instance, "192.0.2.1") } else { instance }
    }
}

fn ips(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
        Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
    }
}

prop_compose! {
    fn ways(family: Family, unicast: bool)(
        source in ips(family),
        peer in ips(family).prop_filter("unicast", |address| !address.is_multicast()),
        ip_id: u16,
        ah_sequence: u32,
    ) -> Envelope {
        let group = match family {
            Family::V4 => ip(GROUP),
            Family::V6 => ip("ff02::12"),
        };
        let destination = if unicast { peer } else { group };
        Envelope { source, destination, hop_limit: 255, ip_id, ah_sequence }
    }
}

fn cases() -> impl Strategy<Value = (Case, u8, Vec<IpAddr>)> {
    let families = prop_oneof![Just(Family::V4), Just(Family::V6)];
    families.prop_flat_map(|family| {
        routers(family).prop_flat_map(move |instance| {
            let unicast = matches!(instance.delivery, Delivery::Unicast(_));
            let lists = proptest::collection::vec(ips(family), 0..=255);
            (ways(family, unicast), any::<u8>(), lists).prop_map(move |(envelope, priority, list)| {
                (Case { instance: instance.clone(), envelope }, priority, list)
            })
        })
    })
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("instance", &self.instance).field("envelope", &self.envelope).finish()
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_what_is_decoded((case, priority, list) in cases()) {
        let (protocol, bytes) = encode(&case.instance, priority, &list, &case.envelope);
        let advertisement = Advertisement {
            version: case.instance.version,
            vrid: case.instance.vrid,
            priority,
            interval: case.instance.advert_interval,
            addresses: list,
        };
        let two_forms = (case.instance.version, case.instance.family) == (Version::V3, Family::V4);
        prop_assert_eq!(case.decode(protocol, &bytes), Ok(Decoded {
            advertisement,
            checksum_form: two_forms.then_some(case.instance.checksum),
            ah_sequence: (protocol == Protocol::Ah).then_some(case.envelope.ah_sequence),
        }));
    }

    #[test]
    fn a_changed_packet_is_never_read_as_another(
        (case, priority, list) in cases(), at: prop::sample::Index, bits in 1..=255_u8,
    ) {
        let (protocol, mut bytes) = encode(&case.instance, priority, &list, &case.envelope);
        let whole = case.decode(protocol, &bytes).expect("it is right");
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(decoded) = case.decode(protocol, &bytes) {
            // Only fields of the IP header that no check covers may differ.
            prop_assert_eq!(case.instance.family, Family::V4);
            prop_assert!(at < 20);
            prop_assert_eq!(decoded, whole);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..96), v6: bool, ah: bool, at in 0..8_usize,
    ) {
        let cases = [
            v2_none(), v2_pass(), v2_ah(), v2_unicast(), v3_ipv4(), v3_plain(), v3_unicast(), v3_ipv6(),
        ];
        let case = &cases[at];
        let protocol = if ah { Protocol::Ah } else { Protocol::Vrrp };
        let envelope = if v6 { v3_ipv6().envelope } else { case.envelope };
        let mut framed = bytes.clone();
        for (to, from) in framed.iter_mut().zip([0x45, 0, 0, bytes.len() as u8]) {
            *to = from;
        }
        for bytes in [&bytes, &framed] {
            let arrival = arrival(&envelope, bytes);
            let peeked = peek(&arrival, protocol);
            let decoded = decode(&arrival, protocol, &filter(&case.instance));
            prop_assert!(peeked.is_ok() || decoded.is_err());
            let _ = (read_na(&arrival), read_arp(bytes));
        }
    }
}
