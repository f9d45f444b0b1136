//! What of its weight a peer has: percent and slow start.

use weir_directory::{AdminState, Change, Memory, Order, SetError, State};
use weir_model::{Method, Millis, Peer, Upstream};

use crate::support::{Rig, check, key, list, name, order, peer, source, upstream};

fn slow(n: u16) -> Peer {
    Peer { slow_start: Millis(20_000), ..peer(n) }
}

fn partial(n: u16, percent: u8) -> Change {
    let order_of = Order::Set { state: None, weight: None, percent: Some(percent) };
    Change { order: order_of, ..order(n, AdminState::Up) }
}

/// The share with which a peer was published last.
fn share(rig: &Rig, n: u16) -> u8 {
    let members = &rig.groups[&key("web")];
    members.iter().find(|(spec, _)| spec.name == name(n)).expect("a member of this address").0.share
}

/// Runs timers until nothing is due for a while; returns the shares of a peer on the way.
fn grow(rig: &mut Rig, n: u16) -> Vec<u8> {
    let mut shares = vec![share(rig, n)];
    while let Some(due) = rig.directory.poll_timeout().filter(|due| *due < rig.now.mono + 3_000_000) {
        let wait = due.saturating_sub(rig.now.mono);
        rig.pass(wait);
        rig.directory.handle_timeout(rig.now);
        rig.run();
        shares.push(share(rig, n));
    }
    shares
}

fn web(peers: Vec<Peer>) -> Upstream {
    Upstream { checks: vec![check(false)], ..upstream("web", peers) }
}

#[test]
fn who_is_there_from_the_start_has_its_whole_weight() {
    let mut rig = Rig::of(&[web(vec![slow(1), slow(2)])]);
    rig.check("web", 1, true, "");
    assert_eq!((share(&rig, 1), share(&rig, 2), rig.directory.poll_timeout()), (100, 100, None));
    assert_eq!((rig.peer(1).share, rig.peer(1).percent, rig.publications), (None, None, 0));
}

#[test]
fn a_peer_that_was_drained_begins_with_a_twentieth() {
    let mut rig = Rig::of(&[web(vec![slow(1), slow(2)])]);
    let change = rig.order(1, AdminState::Drain);
    assert_eq!(share(&rig, 1), 5, "the first request after the drain already counts the first share");
    assert_eq!(change, rig.change, "the order is in force once that is served");
    assert_eq!((rig.peer(1).share, rig.directory.poll_timeout()), (None, None));
    rig.pass(60_000);
    rig.order(1, AdminState::Up);
    assert_eq!(rig.peer(1).share, Some(5));
    rig.pass(400);
    let shares = grow(&mut rig, 1);
    assert_eq!((shares.len(), &shares[..4], shares[20]), (21, &[5, 9, 14, 19][..], 100));
    assert!(shares.is_sorted(), "{shares:?}");
    assert_eq!((share(&rig, 2), rig.peer(1).share), (100, None));
    assert_eq!(rig.publications, 21, "one as it was drained, and twenty steps");
}

#[test]
fn a_check_that_passes_again_begins_one_too() {
    let mut rig = Rig::of(&[web(vec![slow(1), peer(2)])]);
    rig.check("web", 1, false, "refused");
    rig.check("web", 2, false, "refused");
    assert_eq!((share(&rig, 1), share(&rig, 2)), (5, 100));
    rig.check("web", 2, true, "");
    rig.check("web", 1, true, "");
    assert_eq!((rig.peer(1).share, rig.peer(2).share), (Some(5), None));
    rig.pass(10_000);
    rig.directory.handle_timeout(rig.now);
    rig.run();
    assert_eq!(rig.peer(1).share, Some(52));
    // Out again in the middle: it begins anew.
    rig.check("web", 1, false, "refused");
    rig.check("web", 1, true, "");
    assert_eq!(rig.peer(1).share, Some(5));
}

#[test]
fn newcomers_of_later_lists_begin_slowly() {
    let mut rig = Rig::of(&[Upstream { sources: vec![source("web", true)], ..web(Vec::new()) }]);
    rig.list("web", 0, list(1, vec![slow(1), slow(2)]));
    assert_eq!((share(&rig, 1), share(&rig, 2)), (100, 100), "the first list");
    rig.list("web", 0, list(2, vec![slow(1), slow(2), slow(3)]));
    assert_eq!((share(&rig, 1), share(&rig, 3)), (100, 5));
    // A release drains a server, and gives it back with a slow start of its own.
    rig.list("web", 0, list(3, vec![Peer { down: true, ..peer(1) }, slow(2), slow(3)]));
    rig.list("web", 0, list(4, vec![slow(1), slow(2), slow(3)]));
    assert_eq!((share(&rig, 1), rig.state(1)), (5, State::Up));
    assert_eq!(grow(&mut rig, 1).last(), Some(&100));
    assert_eq!(share(&rig, 3), 100);
}

#[test]
fn a_reload_lets_it_go_on() {
    let conf = || [web(vec![slow(1), slow(2)])];
    let mut rig = Rig::of(&conf());
    rig.order(1, AdminState::Drain);
    rig.order(1, AdminState::Up);
    rig.pass(10_000);
    rig.configure(&conf());
    assert_eq!((share(&rig, 1), share(&rig, 2)), (52, 100));
    rig.configure(&[web(vec![slow(1), slow(2), slow(3)])]);
    assert_eq!((share(&rig, 1), share(&rig, 3)), (52, 5), "a line that is new came later");
    rig.configure(&[web(vec![peer(1), slow(2)])]);
    assert_eq!(share(&rig, 1), 100, "without slow_start it is there at once");
}

#[test]
fn one_peer_alone_and_hashed_ones_have_all_at_once() {
    let hashed = Upstream { method: Method::IpHash, ..web(vec![slow(1), slow(2)]) };
    for conf in [web(vec![slow(1)]), hashed] {
        let mut rig = Rig::of(&[conf]);
        let forced = |state| Change { force: true, ..order(1, state) };
        rig.set(forced(AdminState::Drain)).expect("a drain");
        rig.set(forced(AdminState::Up)).expect("its end");
        assert_eq!((share(&rig, 1), rig.publications), (100, 0));
    }
}

#[test]
fn percent_of_the_list_and_of_the_operator() {
    let mut rig = Rig::of(&[Upstream { sources: vec![source("web", true)], ..web(Vec::new()) }]);
    rig.list("web", 0, list(1, vec![peer(1), Peer { percent: 10, ..slow(2) }]));
    assert_eq!((share(&rig, 1), share(&rig, 2)), (100, 10));
    assert_eq!((rig.peer(2).percent, rig.peer(2).share, rig.peer(2).weight), (Some(10), Some(10), 1));
    rig.order(2, AdminState::Drain);
    rig.order(2, AdminState::Up);
    assert_eq!(share(&rig, 2), 1, "a part of its part, and never nothing");
    assert_eq!(grow(&mut rig, 2).last(), Some(&10));
    rig.set(partial(2, 30)).expect("an order");
    rig.set(partial(1, 50)).expect("an order");
    assert_eq!((share(&rig, 1), share(&rig, 2)), (50, 30));
    // The whole takes the one back, and stands against what the list says for the other.
    rig.set(partial(1, 100)).expect("an order");
    rig.set(partial(2, 100)).expect("an order");
    assert_eq!((share(&rig, 1), share(&rig, 2), rig.peer(2).percent), (100, 100, None));
    let remembered: Vec<_> =
        rig.remembered.orders.iter().map(|order| (order.peer.clone(), order.percent)).collect();
    assert_eq!(remembered, [(name(2), Some(100))]);
    for wrong in [0, 101] {
        assert_eq!(rig.set(partial(1, wrong)), Err(SetError::Percent(wrong)));
    }
}

#[test]
fn percent_lives_through_a_restart() {
    let mut rig = Rig::of(&[web(vec![peer(1), peer(2)])]);
    rig.set(partial(1, 20)).expect("an order");
    let text = serde_json::to_string(&rig.remembered).expect("JSON");
    let memory: Memory = serde_json::from_str(&text).expect("the same");
    let mut again = Rig::new(memory);
    again.configure(&[web(vec![peer(1), peer(2)])]);
    assert_eq!((share(&again, 1), share(&again, 2)), (20, 100));
}

#[test]
fn answers_and_times_are_shown() {
    let mut rig = Rig::of(&[web(vec![peer(1), peer(2)])]);
    assert_eq!(rig.peer(1).latency, None);
    let state = rig.groups[&key("web")][0].1.clone();
    for (status, ms) in [(200, 1), (200, 1), (503, 40)] {
        state.count_answer(status, std::time::Duration::from_millis(ms));
    }
    state.count_timeout();
    state.count_connect_error();
    let upgraded = state.clone().upgrade();
    let shown = serde_json::to_value(rig.peer(1)).expect("JSON");
    assert_eq!(shown["answers"], serde_json::json!({"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 0, "5xx": 1}));
    assert_eq!((&shown["timeouts"], &shown["connect_errors"]), (&1.into(), &1.into()));
    let buckets = serde_json::json!([{"up_to_us": 1024, "count": 2}, {"up_to_us": 40_960, "count": 1}]);
    assert_eq!((&shown["latency"]["buckets"], &shown["latency"]["p50_us"]), (&buckets, &1024.into()));
    assert_eq!((&shown["latency"]["p99_us"], &shown["upgraded"]), (&40_960.into(), &1.into()));
    drop(upgraded);
    rig.configure(&[web(vec![peer(1), peer(2)])]);
    assert_eq!((rig.peer(1).upgraded, rig.peer(1).answers.successful), (0, 2), "a reload forgets nothing");
    assert!(shown.get("percent").is_none() && shown.get("share").is_none(), "{shown}");
}

#[test]
fn a_source_says_where_its_keys_are() {
    use weir_model::{Origin, Store};
    let path = |origin| {
        let mut web = web(Vec::new());
        web.sources = vec![weir_model::Source { origin, ..source("web", true) }];
        Rig::of(&[web]).status("web").sources.remove(0).path
    };
    let store = Store::default;
    let text = str::to_owned;
    let kv = path(Origin::ConsulKv { store: store(), path: text("/v1/kv/upstreams/web/?dc=east") });
    assert_eq!(kv.as_deref(), Some("upstreams/web/"));
    let etcd = path(Origin::Etcd2 { store: store(), path: text("/v2/keys/web") });
    assert_eq!(etcd.as_deref(), Some("web"));
    let etcd = path(Origin::Etcd3 { store: store(), prefix: text("/app/") });
    assert_eq!(etcd.as_deref(), Some("/app/"));
    assert_eq!(path(Origin::ConsulServices { store: store(), path: text("/v1/catalog/service/web") }), None);
    assert_eq!(path(Origin::Folder { path: text("/etc/peers") }), None);
}
