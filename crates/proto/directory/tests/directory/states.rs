//! States, their order, who, why and since when.

use weir_balance::{Bars, Group, Method, Outcome, Selector, Tried};
use weir_directory::{AdminState, By, State};
use weir_model::Peer;

use crate::support::{Rig, START, check, list, order, peer, source, upstream};

#[test]
fn the_first_reason_of_the_order_is_shown() {
    let down = Peer { down: true, ..peer(2) };
    let mut web = upstream("web", vec![peer(1), down, peer(3), Peer { drain: true, ..peer(4) }, peer(5)]);
    web.checks = vec![check(false)];
    web.sources = vec![source("web", false)];
    let mut rig = Rig::of(&[web]);
    for n in 1..=4 {
        rig.check("web", n, false, "connection refused");
    }
    rig.list("web", 0, list(1, vec![Peer { down: true, ..peer(3) }]));
    assert_eq!([1, 2, 3, 4, 5].map(|n| rig.state(n)), {
        use State::{Down, Draining, Failed, Up};
        [Failed, Down, Draining, Draining, Up]
    });
    assert_eq!(rig.peer(1).by, Some(By::Check { index: 0, kind: "tcp".to_owned() }));
    assert_eq!(rig.peer(2).by, Some(By::Configuration));
    assert_eq!(rig.peer(3).by, Some(By::Source("consul".to_owned())));
    assert_eq!((rig.peer(4).by, rig.peer(4).reason.as_str()), {
        (Some(By::Configuration), "`drain` in its server line")
    });
    assert_eq!(rig.peer(5).by, None);

    rig.pass(5);
    for n in 1..=4 {
        rig.order(n, AdminState::Drain);
    }
    assert_eq!(rig.state(2), State::Down, "the configuration stands above a drain");
    assert_eq!(rig.peer(3).by, Some(By::Operator("ann@desk".to_owned())));
    for n in 1..=4 {
        rig.order(n, AdminState::Maintenance);
        assert_eq!(rig.state(n), State::Maintenance);
        assert_eq!((rig.peer(n).since, rig.peer(n).reason.as_str()), (Some(START + 5), "release 42"));
    }
}

#[test]
fn bars_follow_each_reason_alone() {
    let mut web = upstream("web", vec![peer(1), peer(2)]);
    web.checks = vec![check(false)];
    web.sources = vec![source("web", false)];
    let mut rig = Rig::of(&[web]);
    assert_eq!(rig.bars("web", 1), Bars::NONE);
    rig.check("web", 1, false, "status 503");
    rig.list("web", 0, list(1, vec![Peer { weight: 0, ..peer(1) }]));
    rig.order(1, AdminState::Maintenance);
    assert_eq!(rig.bars("web", 1), Bars::CHECK.with(Bars::DRAINING).with(Bars::MAINTENANCE));
    rig.order(1, AdminState::Up);
    assert_eq!(rig.bars("web", 1), Bars::CHECK.with(Bars::DRAINING));
    rig.list("web", 0, list(2, vec![peer(1)]));
    assert_eq!(rig.bars("web", 1), Bars::CHECK);
    rig.check("web", 1, true, "connected");
    assert_eq!(rig.bars("web", 1), Bars::NONE);
    assert_eq!(rig.publications, 0, "a bar is no change of the group");
}

#[test]
fn a_source_that_says_down_weight_zero_or_drain_cuts_nobody_off() {
    for (withdrawn, why) in [
        (Peer { down: true, ..peer(1) }, "down"),
        (Peer { weight: 0, ..peer(1) }, "weight 0"),
        (Peer { drain: true, ..peer(1) }, "drain"),
    ] {
        let mut web = upstream("web", Vec::new());
        web.sources = vec![source("web", true)];
        let mut rig = Rig::of(&[web]);
        rig.list("web", 0, list(7, vec![Peer { weight: 5, ..peer(1) }, peer(2)]));
        let published = rig.publications;
        let weighted = if withdrawn.weight == 0 { withdrawn } else { Peer { weight: 5, ..withdrawn } };
        rig.list("web", 0, list(8, vec![weighted, peer(2)]));
        assert_eq!((rig.state(1), rig.peer(1).reason.as_str()), (State::Draining, why));
        assert_eq!(rig.bars("web", 1), Bars::DRAINING);
        assert_eq!(rig.publications, published, "{why}");
        assert_eq!(rig.peer(1).weight, 5, "its weight is what it comes back with");
        let transition = rig.transitions.last().expect("a transition");
        assert_eq!(
            transition.to_string(),
            format!("upstream web: peer 10.0.0.1:80 is draining, was up, by source consul: {why}")
        );
    }
}

#[test]
fn the_first_result_comes_before_the_first_request_where_the_check_says_so() {
    let mut web = upstream("web", vec![peer(1), peer(2)]);
    web.checks = vec![check(true)];
    let mut rig = Rig::of(&[web]);
    assert!(rig.directory.awaits_first_checks());
    assert_eq!(rig.bars("web", 1), Bars::CHECK);
    assert_eq!((rig.state(1), rig.peer(1).reason.as_str()), (State::Failed, "no result yet"));
    rig.check("web", 1, true, "connected");
    assert_eq!((rig.state(1), rig.bars("web", 1)), (State::Up, Bars::NONE));
    assert!(rig.transitions.is_empty(), "that a peer passed from the start is no news");
    let web = crate::support::key("web");
    let why = "connection refused".to_owned();
    rig.directory.handle_check(rig.now, &web, "10.0.0.2:80", 0, false, true, why);
    rig.run();
    assert!(!rig.directory.awaits_first_checks());
    assert_eq!(
        rig.transitions.pop().expect("a transition").to_string(),
        "upstream web: peer 10.0.0.2:80 is failed, was up, by check 0 (tcp): first result: connection refused"
    );
    rig.pass(10);
    rig.check("web", 2, true, "connected");
    let back = rig.transitions.pop().expect("a transition");
    assert_eq!((back.from, back.to, back.at), (State::Failed, State::Up, START + 10));
}

#[test]
fn every_peer_failed_is_a_panic_unless_it_is_turned_off() {
    for check_panic in [true, false] {
        let mut web = upstream("web", vec![peer(1), peer(2), peer(3)]);
        (web.checks, web.check_panic) = (vec![check(false)], check_panic);
        let mut rig = Rig::of(&[web]);
        rig.check("web", 1, false, "status 500");
        rig.check("web", 2, false, "status 500");
        assert!(!rig.status("web").panic);
        rig.order(1, AdminState::Drain);
        rig.check("web", 3, false, "status 500");
        assert_eq!(rig.status("web").panic, check_panic);
    }
}

#[test]
fn a_peer_that_fails_requests_is_shown_as_ejected() {
    let mut rig = Rig::of(&[upstream("web", vec![peer(1), peer(2)])]);
    let members = rig.groups[&crate::support::key("web")].clone();
    let group = std::sync::Arc::new(Group::with_states("web".to_owned(), Method::RoundRobin, members));
    let mut selector = Selector::new(group, 1);
    let mut tried = Tried::default();
    let picked = selector.pick(&mut tried, b"", None, rig.now.mono).expect("a peer");
    let _ = selector.release(picked, Outcome::Failure, rig.now.mono);
    let ejected = if picked == 0 { 1 } else { 2 };
    assert_eq!(rig.state(ejected), State::Ejected);
    assert_eq!(rig.peer(ejected).by, Some(By::Requests));
    assert_eq!((rig.peer(ejected).failures, rig.peer(ejected).requests), (1, 1));
    rig.set(order(ejected, AdminState::Drain)).expect("obeyed");
    assert_eq!(rig.state(ejected), State::Draining, "an order stands above failures");
    rig.order(ejected, AdminState::Up);
    rig.pass(10_001);
    assert_eq!(rig.state(ejected), State::Up);
}
