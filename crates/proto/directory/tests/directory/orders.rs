//! Orders of operators: what they do, when they are refused, how long they live.

use weir_balance::Bars;
use weir_directory::{AdminState, Change, Memory, Order, Remembered, SetError, State};
use weir_model::Peer;

use crate::support::{Rig, START, check, list, name, order, peer, source, upstream, weigh};

const DAY: u64 = 24 * 60 * 60 * 1000;

fn two() -> Rig {
    Rig::of(&[upstream("web", vec![peer(1), peer(2)]), upstream("api", vec![peer(1)])])
}

#[test]
fn a_drain_is_in_force_and_remembered_with_who_why_and_since() {
    let mut rig = two();
    rig.serve();
    let change = rig.order(1, AdminState::Drain);
    assert_eq!(change, rig.directory.changes().1, "a bar waits for nothing new");
    assert_eq!((rig.bars("web", 1), rig.bars("api", 1)), (Bars::DRAINING, Bars::NONE));
    let remembered = Remembered {
        upstream: "web".to_owned(),
        peer: name(1),
        state: AdminState::Drain,
        weight: None,
        percent: None,
        who: "ann@desk".to_owned(),
        reason: "release 42".to_owned(),
        since: START,
        expires: None,
        absent: None,
    };
    assert_eq!(rig.remembered, Memory { orders: vec![remembered] });
    assert_eq!(
        rig.transitions.pop().expect("a transition").to_string(),
        "upstream web: peer 10.0.0.1:80 is draining, was up, by ann@desk: release 42"
    );
    rig.pass(1000);
    rig.order(1, AdminState::Drain);
    assert_eq!(rig.peer(1).since, Some(START), "saying it twice does not make it younger");
    rig.set(Change { reason: "done".to_owned(), ..order(1, AdminState::Up) }).expect("obeyed");
    assert_eq!((rig.state(1), rig.bars("web", 1)), (State::Up, Bars::NONE));
    assert_eq!(rig.remembered, Memory::default());
    assert_eq!(rig.transitions.pop().expect("a transition").reason, "done");
}

#[test]
fn a_weight_is_published_and_outlives_what_the_source_says() {
    let mut web = upstream("web", Vec::new());
    web.sources = vec![source("web", true)];
    let mut rig = Rig::of(&[web]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    let change = rig.set(weigh(1, 7)).expect("obeyed");
    assert_eq!((rig.peer(1).weight, rig.peer(1).own_weight), (7, Some(1)));
    assert_eq!((change, rig.publications), (rig.change, 2));
    rig.list("web", 0, list(2, vec![Peer { weight: 3, ..peer(1) }, peer(2)]));
    assert_eq!((rig.peer(1).weight, rig.publications), (7, 2));
    rig.order(1, AdminState::Drain);
    rig.order(1, AdminState::Up);
    assert_eq!(rig.peer(1).weight, 7, "the state alone was taken back");
    rig.set(Change { order: Order::Forget, ..order(1, AdminState::Up) }).expect("obeyed");
    assert_eq!((rig.peer(1).weight, rig.peer(1).own_weight), (3, None));
    assert_eq!(rig.remembered, Memory::default());
    for weight in [0, 65_536] {
        assert_eq!(rig.set(weigh(1, weight)), Err(SetError::Weight(weight)));
    }
}

#[test]
fn names_that_do_not_exist_bring_the_ones_that_do() {
    let mut rig = two();
    let error = rig.set(Change { upstream: "wbe".to_owned(), ..order(1, AdminState::Drain) });
    let error = error.expect_err("no such upstream");
    assert_eq!(error.to_string(), "there is no upstream wbe; there are: web, api");
    let error = rig.set(Change { peer: "10.0.0.11:80".to_owned(), ..order(1, AdminState::Drain) });
    let error = error.expect_err("no such peer");
    assert_eq!(
        error.to_string(),
        "upstream web has no peer 10.0.0.11:80; there are: 10.0.0.1:80, 10.0.0.2:80"
    );
    assert_eq!(rig.remembered, Memory::default());
    let long = Change { peer: "x".repeat(100_000), ..order(1, AdminState::Drain) };
    assert!(matches!(rig.set(long), Err(SetError::UnknownPeer { .. })));
}

#[test]
fn the_text_of_a_line_names_its_peer_if_it_has_one() {
    let server = |n: u16, text: &str| Peer { server: text.to_owned(), ..peer(n) };
    let peers = vec![server(1, "one.test:80"), server(2, "two.test:80"), server(3, "two.test:80")];
    let mut rig = Rig::of(&[upstream("web", peers)]);
    let named = |text: &str| Change { peer: text.to_owned(), ..order(1, AdminState::Drain) };
    rig.set(named("one.test:80")).expect("obeyed");
    assert_eq!(rig.state(1), State::Draining);
    let error = rig.set(named("two.test:80")).expect_err("two peers");
    assert_eq!(
        error.to_string(),
        "two.test:80 stands for 2 peers of upstream web; expected one of 10.0.0.2:80, 10.0.0.3:80"
    );
}

#[test]
fn the_last_peer_that_serves_stays_unless_it_is_forced() {
    let mut web = upstream("web", vec![peer(1), peer(2), peer(3)]);
    web.checks = vec![check(false)];
    let mut rig = Rig::of(&[web]);
    rig.order(1, AdminState::Drain);
    rig.check("web", 2, false, "status 503");
    for state in [AdminState::Drain, AdminState::Maintenance] {
        let error = rig.set(order(3, state)).expect_err("the last");
        assert_eq!(
            error,
            SetError::LastPeer { upstream: "web".to_owned(), peer: name(3), failed: 1 },
            "{error}"
        );
    }
    rig.order(2, AdminState::Maintenance);
    rig.order(1, AdminState::Maintenance);
    rig.set(weigh(3, 2)).expect("a weight takes nobody out");
    rig.set(Change { force: true, ..order(3, AdminState::Drain) }).expect("forced");
    assert_eq!(rig.state(3), State::Draining);
}

#[test]
fn where_every_check_fails_the_last_that_nobody_took_out_stays() {
    let mut web = upstream("web", vec![peer(1), peer(2)]);
    web.checks = vec![check(false)];
    let mut rig = Rig::of(&[web]);
    rig.check("web", 1, false, "status 503");
    rig.check("web", 2, false, "status 503");
    rig.order(1, AdminState::Drain);
    let error = rig.set(order(2, AdminState::Drain)).expect_err("the last");
    assert!(matches!(error, SetError::LastPeer { failed: 0, .. }), "{error}");
}

#[test]
fn an_order_ends_when_its_time_is_over() {
    let mut rig = two();
    assert_eq!(rig.directory.poll_timeout(), None);
    rig.set(Change { expires_ms: Some(600_000), ..order(1, AdminState::Drain) }).expect("obeyed");
    assert_eq!(rig.directory.poll_timeout(), Some(rig.now.mono + 600_000));
    assert_eq!(rig.peer(1).expires, Some(START + 600_000));
    rig.pass(599_999);
    rig.directory.handle_timeout(rig.now);
    rig.run();
    assert_eq!(rig.state(1), State::Draining);
    assert_eq!(rig.directory.poll_timeout(), Some(rig.now.mono + 1));
    rig.pass(1);
    rig.directory.handle_timeout(rig.now);
    rig.run();
    assert_eq!((rig.state(1), rig.bars("web", 1)), (State::Up, Bars::NONE));
    assert_eq!((rig.remembered.clone(), rig.directory.poll_timeout()), (Memory::default(), None));
    assert_eq!(rig.notes, ["upstream web: the order of ann@desk for peer 10.0.0.1:80 has expired"]);
    assert_eq!(rig.transitions.last().map(|last| last.reason.as_str()), Some("the order has expired"));
}

#[test]
fn an_order_waits_a_day_for_a_peer_that_left() {
    let mut web = upstream("web", Vec::new());
    web.sources = vec![source("web", true)];
    let mut rig = Rig::of(&[web]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    rig.order(1, AdminState::Maintenance);
    rig.list("web", 0, list(2, vec![peer(2)]));
    rig.serve();
    assert_eq!(rig.remembered.orders[0].absent, Some(START));
    rig.pass(DAY - 1);
    rig.directory.handle_timeout(rig.now);
    rig.list("web", 0, list(3, vec![peer(1), peer(2)]));
    assert_eq!((rig.state(1), rig.bars("web", 1)), (State::Maintenance, Bars::MAINTENANCE));
    assert_eq!(rig.remembered.orders[0].absent, None);

    rig.list("web", 0, list(4, vec![peer(2)]));
    rig.pass(DAY);
    rig.directory.handle_timeout(rig.now);
    rig.run();
    assert_eq!(rig.remembered, Memory::default());
    assert!(rig.notes.last().is_some_and(|note| note.ends_with("there was no such peer for a day")));
    rig.list("web", 0, list(5, vec![peer(1), peer(2)]));
    assert_eq!(rig.state(1), State::Up);
}

#[test]
fn an_order_for_somebody_who_left_can_be_taken_back() {
    let mut web = upstream("web", Vec::new());
    web.sources = vec![source("web", true)];
    let mut rig = Rig::of(&[web]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    rig.order(1, AdminState::Drain);
    rig.list("web", 0, list(2, vec![peer(2)]));
    assert!(matches!(rig.set(order(1, AdminState::Drain)), Err(SetError::UnknownPeer { .. })));
    rig.order(1, AdminState::Up);
    assert_eq!(rig.remembered, Memory::default());
}

#[test]
fn orders_live_through_a_restart_and_unknown_ones_are_left_out() {
    let mut rig = two();
    rig.order(1, AdminState::Drain);
    rig.set(weigh(2, 9)).expect("obeyed");
    let mut document = serde_json::to_value(&rig.remembered).expect("a document");
    document["orders"][0]["colour"] = "red".into();
    let orders = document["orders"].as_array_mut().expect("orders");
    orders.push(serde_json::json!({"upstream": "web", "peer": name(2), "state": "asleep"}));
    orders.push(serde_json::json!("nonsense"));
    let memory: Memory = serde_json::from_value(document).expect("a memory");
    assert_eq!(memory, rig.remembered);

    let mut again = Rig::new(memory);
    again.pass(5000);
    again.configure(&[upstream("web", vec![peer(1), peer(2)])]);
    assert_eq!((again.state(1), again.bars("web", 1)), (State::Draining, Bars::DRAINING));
    assert_eq!((again.peer(1).since, again.peer(2).weight), (Some(START), 9));
    assert!(again.transitions.is_empty(), "nothing has changed");
    assert_eq!(again.directory.memory(), rig.remembered);
}
