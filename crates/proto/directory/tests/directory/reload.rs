//! What lives through a new configuration.

use std::sync::Arc;

use weir_balance::{Bars, PeerState};
use weir_directory::{AdminState, Applied, State};
use weir_model::{Origin, Peer, Upstream};

use crate::support::{Rig, START, check, key, list, name, peer, source, upstream};

fn states(rig: &Rig, upstream: &str) -> Vec<Arc<PeerState>> {
    rig.groups[&key(upstream)].iter().map(|(_, state)| Arc::clone(state)).collect()
}

fn same(one: &[Arc<PeerState>], other: &[Arc<PeerState>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

fn full() -> Upstream {
    let mut web = upstream("web", vec![peer(9)]);
    web.sources = vec![source("web", true)];
    web.checks = vec![check(true)];
    web
}

#[test]
fn lists_verdicts_orders_and_states_go_on() {
    let mut rig = Rig::of(&[full()]);
    rig.list("web", 0, list(3, vec![peer(1), peer(2), peer(3)]));
    rig.check("web", 1, true, "connected");
    rig.check("web", 2, false, "connection refused");
    rig.check("web", 3, true, "connected");
    rig.order(3, AdminState::Drain);
    rig.serve();
    let (before, watched, shown) = (states(&rig, "web"), rig.watched.clone(), rig.status("web"));
    rig.pass(60_000);
    rig.configure(&[upstream("api", vec![peer(7)]), full()]);
    assert!(same(&before, &states(&rig, "web")));
    assert_eq!(rig.watched, watched, "checks that are the same go on");
    let mut again = rig.status("web");
    assert_eq!(again.sources[0].age_ms, Some(60_000));
    again.sources[0].age_ms = Some(0);
    again.change = shown.change;
    assert_eq!(again, shown);
    assert_eq!([1, 2, 3].map(|n| rig.peer(n).since), [Some(START); 3]);
    assert_eq!(rig.directory.applied_index("web"), Some(Applied { index: 3, served: 3 }));
}

#[test]
fn the_list_of_a_source_stays_while_it_asks_for_the_same() {
    let mut rig = Rig::of(&[full()]);
    rig.list("web", 0, list(3, vec![peer(1)]));
    let mut moved = full();
    if let Origin::ConsulKv { store, .. } = &mut moved.sources[0].origin {
        store.endpoints.clear();
    }
    moved.sources.insert(0, source("other", false));
    rig.configure(&[moved]);
    assert_eq!(rig.names("web"), [name(1)]);
    assert_eq!(rig.status("web").sources[1].index, Some(3));
    let mut another = full();
    another.sources = vec![source("another", true)];
    rig.configure(&[another]);
    assert_eq!(rig.names("web"), [name(9)], "the list of something else is none of this");
}

#[test]
fn a_check_that_asks_something_else_asks_the_failed_ones_first() {
    let mut rig = Rig::of(&[full()]);
    rig.list("web", 0, list(3, vec![peer(1), peer(2)]));
    rig.check("web", 1, true, "connected");
    rig.check("web", 2, false, "connection refused");
    let mut other = full();
    other.checks[0].port = 8080;
    rig.configure(std::slice::from_ref(&other));
    let known = |rig: &Rig, n: u16| rig.watched[&(key("web"), 0, name(n))];
    assert_eq!((known(&rig, 1), known(&rig, 2)), (Some(true), None));
    assert_eq!((rig.state(1), rig.peer(2).reason.as_str()), (State::Up, "no result yet"));

    rig.check("web", 2, false, "connection refused");
    other.checks[0].fall = 9;
    rig.configure(std::slice::from_ref(&other));
    assert_eq!(known(&rig, 2), Some(false), "how often it is asked is another matter");
    other.checks[0].port = 8081;
    other.checks[0].persistent = true;
    rig.configure(&[other]);
    assert_eq!(known(&rig, 2), Some(false));
    let mut unchecked = full();
    unchecked.checks.clear();
    rig.configure(&[unchecked]);
    assert_eq!((rig.bars("web", 2), rig.watched.len()), (Bars::NONE, 0));
}

#[test]
fn an_upstream_that_is_gone_is_forgotten_but_for_orders() {
    let mut rig = Rig::of(&[full()]);
    rig.list("web", 0, list(3, vec![peer(1), peer(2)]));
    rig.check("web", 1, true, "connected");
    rig.check("web", 2, true, "connected");
    rig.order(1, AdminState::Maintenance);
    let before = states(&rig, "web");
    rig.configure(&[]);
    assert!(rig.watched.is_empty());
    assert_eq!(before[1].bars(), Bars::NONE, "old connections may still need it");
    rig.serve();
    assert!(before.iter().all(|state| state.bars().has(Bars::REMOVED)));
    assert_eq!(rig.remembered.orders[0].absent, Some(START));
    rig.configure(&[full()]);
    assert_eq!(rig.names("web"), [name(9)]);
    rig.list("web", 0, list(3, vec![peer(1), peer(2)]));
    assert_eq!(rig.state(1), State::Maintenance);
    assert!(!same(&before, &states(&rig, "web")));
}

#[test]
fn a_configuration_that_is_taken_back_before_it_was_served_leaves_no_trace() {
    let mut rig = Rig::of(&[full()]);
    rig.list("web", 0, list(3, vec![peer(1), peer(2)]));
    rig.check("web", 1, true, "connected");
    rig.serve();
    let (before, shown) = (states(&rig, "web"), rig.status("web"));
    rig.configure(&[]);
    rig.configure(&[full()]);
    assert!(same(&before, &states(&rig, "web")));
    let again = rig.status("web");
    assert_eq!((again.peers, again.panic), (shown.peers, shown.panic));
    assert_eq!(rig.watched[&(key("web"), 0, name(1))], Some(true));
    rig.serve();
    assert!(before.iter().all(|state| !state.bars().has(Bars::REMOVED)));
}

#[test]
fn publications_under_way_are_part_of_the_new_configuration() {
    let mut rig = Rig::of(&[full()]);
    rig.directory.handle_list(rig.now, &key("web"), 0, list(3, vec![peer(1)]));
    let configured = rig.configure(&[full()]);
    assert_eq!((rig.publications, configured.members[0].len()), (0, 1));
    assert_eq!(rig.names("web"), [name(1)]);
}

#[test]
fn members_come_in_the_order_of_the_configuration() {
    let mut rig = Rig::of(&[upstream("b", vec![peer(1)]), upstream("a", vec![peer(2), peer(3)])]);
    let configured = rig.configure(&[upstream("a", vec![peer(3)]), upstream("b", vec![peer(1)])]);
    let names: Vec<Vec<&str>> = configured
        .members
        .iter()
        .map(|members| members.iter().map(|(spec, _)| spec.name.as_str()).collect())
        .collect();
    assert_eq!(names, [["10.0.0.3:80"], ["10.0.0.1:80"]]);
    let shown: Vec<String> =
        rig.directory.status(rig.now).into_iter().map(|upstream| upstream.name).collect();
    assert_eq!(shown, ["a", "b"]);
}

#[test]
fn lines_of_the_file_change_in_place() {
    let mut rig = Rig::of(&[upstream("web", vec![peer(1), peer(2)])]);
    let before = states(&rig, "web");
    rig.configure(&[upstream("web", vec![Peer { down: true, weight: 4, ..peer(1) }, peer(2)])]);
    assert!(same(&before, &states(&rig, "web")));
    assert_eq!((rig.state(1), rig.peer(1).weight), (State::Down, 4));
    assert_eq!(rig.bars("web", 1), Bars::NONE, "`down` is part of the group");
}
