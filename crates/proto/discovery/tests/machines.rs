//! Index, pauses, the last good list, answers of name servers, dumped lines.

use std::time::Duration;

use proptest::prelude::*;
use weir_discovery::{
    Answer, Backoff, Index, Known, Pace, Refusal, Verdict, consul, dns, dump, etcd2, etcd3, folder,
};
use weir_model::source::DnsQuery;
use weir_model::{ListenAddress, Millis, Peer, PeerList, Resolver};

fn peer(address: &str) -> Peer {
    Peer::new(ListenAddress::Inet(address.parse().expect("an address")), address)
}

#[test]
fn the_index_follows_the_rules_of_blocking_queries() {
    let mut index = Index::default();
    assert_eq!(index.question(), 0);
    for (answered, means, question) in [
        (Some(7), Answer::Moved, 7),
        (Some(7), Answer::Same, 7),
        (Some(9), Answer::Moved, 9),
        (Some(3), Answer::Lower, 0),
        (Some(3), Answer::Moved, 3),
        (Some(0), Answer::Lower, 0),
        (Some(0), Answer::Moved, 1),
        (None, Answer::Absent, 0),
    ] {
        assert_eq!((index.answered(answered), index.question()), (means, question), "{answered:?}");
    }
    index.answered(Some(5));
    index.restart();
    assert_eq!(index.question(), 0);
}

proptest! {
    /// A question above what the store has said last would block although something changed.
    #[test]
    fn no_question_is_above_the_last_answer(answers in prop::collection::vec(prop::option::of(0u64..20), 1..50)) {
        let mut index = Index::default();
        for answered in answers {
            let before = index.question();
            let means = index.answered(answered);
            let shown = answered.map_or(0, |index| index.max(1));
            prop_assert!(index.question() == 0 || index.question() == shown);
            prop_assert_eq!(means == Answer::Lower, answered.is_some() && shown < before);
            prop_assert_eq!(means == Answer::Same, answered.is_some() && shown == before);
        }
    }

    #[test]
    fn pauses_grow_to_their_ceiling(ceiling in 1u64..20_000, chances in prop::collection::vec(any::<u64>(), 1..80)) {
        let ceiling = Duration::from_millis(ceiling);
        let mut backoff = Backoff::new(ceiling);
        for (n, chance) in chances.into_iter().enumerate() {
            let step = Backoff::FIRST.saturating_mul(1 << n.min(20)).min(ceiling);
            let pause = backoff.failed(chance);
            prop_assert!(pause >= step / 2 && pause <= step, "{n}: {pause:?}");
        }
        backoff.succeeded();
        prop_assert!(backoff.failed(0) <= Backoff::FIRST);
    }

    /// Nothing that a store sends may bring the reader down.
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let template = peer("192.0.2.1:80");
        let _ = (consul::keys(&bytes, &template), consul::services(&bytes, &template), consul::health(&bytes, &template));
        let _ = (etcd2::list(&bytes, &template), etcd2::event(&bytes));
        let _ = (etcd3::Keys::list(&bytes), etcd3::Keys::default().apply(&bytes), etcd3::token(&bytes));
        let _ = folder::file("a", &bytes, &template);
    }

    /// Every key is a peer or is rejected by its name, unless it is a folder.
    #[test]
    fn no_key_is_lost(names in prop::collection::vec("[ -.0-~]{0,20}", 1..20)) {
        let keys: Vec<_> = names.iter().map(|name| serde_json::json!({ "Key": format!("a/{name}"), "Value": null })).collect();
        let body = serde_json::to_vec(&keys).expect("JSON");
        let document = consul::keys(&body, &peer("192.0.2.1:80")).expect("a list");
        let folders = names.iter().filter(|name| name.is_empty()).count();
        prop_assert_eq!(document.entries.len() + document.rejected.len() + folders, names.len());
    }
}

#[test]
fn a_source_that_wakes_without_end_is_read_at_an_even_pace() {
    let mut pace = Pace::default();
    let (mut now, mut readings) = (Duration::ZERO, 0);
    while now < Duration::from_secs(10) {
        now += pace.pause(now, Duration::ZERO) + Duration::from_micros(1);
        readings += 1;
    }
    assert!((1000..=1110).contains(&readings), "{readings}");
    assert_eq!(Pace::default().pause(Duration::ZERO, Duration::from_millis(30)), Duration::from_millis(60));
    assert_eq!(Pace::default().pause(Duration::ZERO, Duration::from_millis(1)), Duration::ZERO);
}

#[test]
fn an_empty_list_never_empties_an_upstream() {
    let list = |index, addresses: &[&str]| PeerList {
        index,
        peers: addresses.iter().map(|address| peer(address)).collect(),
        ..PeerList::default()
    };
    let mut known = Known::default();
    assert_eq!(known.adopt(list(1, &[])), Err(Refusal { kept: 0, rejected: Vec::new() }));
    assert_eq!(known.adopt(list(1, &["192.0.2.1:80"])), Ok(Verdict::Peers));
    assert_eq!(known.adopt(list(1, &["192.0.2.1:80"])), Ok(Verdict::Nothing));
    assert_eq!(known.adopt(list(2, &["192.0.2.1:80"])), Ok(Verdict::Index));
    let refusal = known.adopt(list(3, &[])).expect_err("an empty list");
    assert_eq!(refusal.to_string(), "it lists no peer; cannot delete all peers");
    let refusal = known.adopt(PeerList { rejected: vec!["x: no port".to_owned()], ..list(3, &[]) });
    assert_eq!(
        refusal.expect_err("nothing usable").to_string(),
        "it lists no usable peer, 1 rejected, the first: x: no port; cannot delete all peers"
    );
    assert_eq!(known.list(), Some(&list(2, &["192.0.2.1:80"])));
}

#[test]
fn a_remembered_list_gives_way_to_the_same_from_the_source() {
    let list = PeerList { index: 4, peers: vec![peer("192.0.2.1:80")], ..PeerList::default() };
    let mut known = Known::remembered(Some(list.clone()));
    assert!(known.list().is_some_and(|list| list.remembered));
    assert_eq!(known.adopt(list), Ok(Verdict::Index));
    assert!(known.list().is_some_and(|list| !list.remembered));
}

#[test]
fn lines_for_nginx() {
    let peers = [
        Peer { max_fails: 2, ..peer("127.0.0.1:8089") },
        Peer { weight: 10, max_fails: 3, drain: true, ..peer("127.0.0.1:8088") },
        Peer { backup: true, fail_timeout: Millis(3000), ..peer("[2001:db8::1]:80") },
    ];
    assert_eq!(
        dump(&peers),
        "server 127.0.0.1:8089 weight=1 max_fails=2 fail_timeout=10s;\n\
         server 127.0.0.1:8088 weight=10 max_fails=3 fail_timeout=10s down;\n\
         server [2001:db8::1]:80 weight=1 max_fails=1 fail_timeout=3s backup;\n"
    );
}

fn query(service: Option<&str>) -> DnsQuery {
    DnsQuery {
        name: "app.lan".to_owned(),
        port: 8080,
        service: service.map(str::to_owned),
        resolver: Resolver::default(),
    }
}

#[test]
fn addresses_have_an_order_of_their_own() {
    let template = Peer { server: "app.lan:8080".to_owned(), weight: 3, ..peer("192.0.2.1:80") };
    let one = dns::addresses(&query(None), &[[192, 0, 2, 2].into(), [192, 0, 2, 1].into()], &template);
    let two = dns::addresses(&query(None), &[[192, 0, 2, 1].into(), [192, 0, 2, 2].into()], &template);
    assert_eq!(one, two);
    let texts: Vec<_> = one.entries.iter().map(|entry| entry.peer.address.to_string()).collect();
    assert_eq!(texts, ["192.0.2.1:8080", "192.0.2.2:8080"]);
    assert!(one.entries.iter().all(|entry| entry.peer.server == "app.lan:8080" && entry.peer.weight == 3));
}

#[test]
fn services_of_the_lowest_priority_are_primary() {
    let service = |priority, weight, port, target: &str| dns::Service {
        priority,
        weight,
        port,
        target: target.to_owned(),
    };
    let services = [
        service(20, 5, 81, "b.lan."),
        service(10, 0, 80, "a.lan."),
        service(10, 7, 80, "c.lan."),
        service(10, 1, 80, "."),
    ];
    let document = dns::services(&query(Some("http")), &services, &peer("192.0.2.1:80"));
    let shown: Vec<_> = document
        .entries
        .iter()
        .map(|entry| (entry.target.clone(), entry.peer.weight, entry.peer.backup))
        .collect();
    let name = |host: &str, port| weir_discovery::Target::Name { host: host.to_owned(), port };
    assert_eq!(
        shown,
        [(name("a.lan", 80), 1, false), (name("c.lan", 80), 7, false), (name("b.lan", 81), 5, true)]
    );
    assert_eq!(document.rejected, [":80: the record says that the service is not offered"]);
    assert_eq!(dns::question(&query(Some("http"))), "_http._tcp.app.lan");
    assert_eq!(dns::question(&query(Some("_x._udp"))), "_x._udp.app.lan");
    assert_eq!(dns::question(&query(None)), "app.lan");
}

#[test]
fn lifetimes_are_bounded() {
    for (valid, ttl, millis) in
        [(None, 0, 1000), (None, 60, 60_000), (None, 1_000_000, 3_600_000), (Some(Millis(200)), 60, 200)]
    {
        assert_eq!(dns::lifetime(valid, ttl), Duration::from_millis(millis), "{valid:?} {ttl}");
    }
}
