//! Lists of sources: who is a member, in which order, and what is published.

use std::sync::Arc;

use weir_balance::Bars;
use weir_directory::{Applied, State};
use weir_model::{Peer, PeerList};

use crate::support::{Rig, key, list, name, peer, source, upstream};

fn sourced(replaces_servers: bool, servers: Vec<Peer>) -> Rig {
    let mut web = upstream("web", servers);
    web.sources = vec![source("web", replaces_servers), source("more", false)];
    Rig::of(&[web])
}

#[test]
fn a_list_stands_in_place_of_the_lines_or_beside_them() {
    let mut rig = sourced(true, vec![peer(9)]);
    assert_eq!(rig.names("web"), [name(9)]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    assert_eq!(rig.names("web"), [name(1), name(2)]);
    rig.list("web", 1, list(1, vec![peer(2), peer(3)]));
    assert_eq!(rig.names("web"), [name(1), name(2), name(3)]);
    assert_eq!(rig.peer(2).sources, ["consul", "consul"]);

    let mut rig = sourced(false, vec![peer(9)]);
    rig.list("web", 0, list(1, vec![peer(1), peer(9)]));
    assert_eq!(rig.names("web"), [name(9), name(1)]);
    assert_eq!(rig.peer(9).sources, ["configuration", "consul"]);
}

#[test]
fn a_list_from_the_disk_replaces_the_lines_but_never_a_newer_list() {
    let remembered = PeerList { remembered: true, ..list(5, vec![peer(1)]) };
    let mut rig = sourced(true, vec![peer(9)]);
    rig.list("web", 0, remembered.clone());
    assert_eq!(rig.names("web"), [name(1)]);
    assert!(rig.status("web").sources[0].remembered);
    rig.list("web", 0, list(6, vec![peer(2)]));
    rig.list("web", 0, remembered);
    assert_eq!(rig.names("web"), [name(2)]);
    assert_eq!(rig.status("web").sources[0].index, Some(6));
}

#[test]
fn peers_keep_their_places_and_states() {
    let mut rig = sourced(true, Vec::new());
    rig.list("web", 0, list(1, vec![peer(1), peer(2), peer(3)]));
    let state = |rig: &Rig, n: usize| Arc::clone(&rig.groups[&key("web")][n].1);
    let (one, three) = (state(&rig, 0), state(&rig, 2));
    rig.list("web", 0, list(2, vec![peer(4), peer(3), peer(1)]));
    assert_eq!(rig.names("web"), [name(1), name(3), name(4)]);
    assert!(Arc::ptr_eq(&one, &state(&rig, 0)) && Arc::ptr_eq(&three, &state(&rig, 1)));
    assert_eq!(
        rig.notes.last().map(String::as_str),
        Some("upstream web: 1 new (10.0.0.4:80), 1 gone (10.0.0.2:80); 3 peers now")
    );
}

#[test]
fn only_what_is_new_is_published() {
    let mut rig = sourced(true, vec![peer(9)]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    assert_eq!(rig.publications, 1);
    rig.list("web", 0, list(2, vec![peer(1), peer(2)]));
    rig.list("web", 0, list(3, vec![peer(2), peer(1)]));
    assert_eq!(rig.publications, 1, "neither the same list nor another order of it is a change");
    rig.list("web", 0, list(4, vec![Peer { weight: 3, ..peer(1) }, peer(2)]));
    assert_eq!((rig.publications, rig.peer(1).weight), (2, 3));
    rig.list("web", 0, list(4, vec![Peer { max_conns: 3, ..peer(1) }, peer(2)]));
    assert_eq!(rig.publications, 3);
}

#[test]
fn who_left_is_barred_when_everybody_knows_it() {
    let mut rig = sourced(true, Vec::new());
    rig.list("web", 0, list(1, vec![peer(1)]));
    let old = Arc::clone(&rig.groups[&key("web")][0].1);
    rig.list("web", 0, list(2, vec![peer(2)]));
    assert_eq!(old.bars(), Bars::NONE, "a thread that has no other peer yet can still use it");
    rig.directory.handle_served(rig.change - 1);
    assert_eq!(old.bars(), Bars::NONE);
    rig.serve();
    assert_eq!(old.bars(), Bars::REMOVED);

    rig.list("web", 0, list(3, vec![peer(1)]));
    assert!(!Arc::ptr_eq(&old, &rig.groups[&key("web")][0].1), "who comes back later begins anew");
    assert_eq!(rig.bars("web", 1), Bars::NONE);
    let second = Arc::clone(&rig.groups[&key("web")][0].1);
    rig.list("web", 0, list(4, vec![peer(2)]));
    rig.list("web", 0, list(5, vec![peer(1)]));
    assert!(Arc::ptr_eq(&second, &rig.groups[&key("web")][0].1), "who was not gone yet goes on");
    rig.serve();
    assert_eq!(second.bars(), Bars::NONE);
}

#[test]
fn a_line_that_is_written_twice_is_two_members() {
    let mut rig = Rig::of(&[upstream("web", vec![peer(1), peer(1), peer(2)])]);
    assert_eq!(rig.names("web"), [name(1), name(1), name(2)]);
    let members = rig.groups[&key("web")].clone();
    assert!(!Arc::ptr_eq(&members[0].1, &members[1].1));
    rig.order(1, weir_directory::AdminState::Maintenance);
    assert!(members[..2].iter().all(|(_, state)| state.bars() == Bars::MAINTENANCE));
    rig.configure(&[upstream("web", vec![peer(1), peer(2)])]);
    assert_eq!(rig.names("web"), [name(1), name(2)]);
    assert_eq!(members[1].1.bars(), Bars::MAINTENANCE);
    rig.serve();
    assert_eq!(members[1].1.bars(), Bars::MAINTENANCE.with(Bars::REMOVED));
    assert_eq!(members[0].1.bars(), Bars::MAINTENANCE);
}

#[test]
fn a_source_that_fails_changes_nothing_but_what_is_shown() {
    let mut rig = sourced(true, vec![peer(9)]);
    rig.list("web", 0, list(4, vec![peer(1)]));
    rig.pass(250);
    let web = key("web");
    let fail = |rig: &mut Rig, text: &str| {
        rig.directory.handle_source_failed(
            rig.now,
            &web,
            0,
            text.to_owned(),
            "http://10.9.9.9:8500".to_owned(),
        );
        rig.run();
    };
    fail(&mut rig, "connection refused");
    let since = rig.now.unix;
    rig.pass(50);
    fail(&mut rig, "status 500");
    assert_eq!((rig.names("web"), rig.publications), (vec![name(1)], 1));
    let shown = rig.status("web").sources.remove(0);
    assert_eq!(shown.error.as_deref(), Some("status 500"));
    assert_eq!((shown.since, shown.age_ms, shown.index), (Some(since), Some(300), Some(4)));
    assert_eq!(shown.endpoint, "http://10.9.9.9:8500");
    rig.list("web", 0, list(5, vec![peer(1)]));
    let shown = rig.status("web").sources.remove(0);
    assert_eq!((shown.error, shown.since, shown.age_ms), (None, None, Some(0)));
}

#[test]
fn the_barrier_waits_for_the_change_that_an_index_came_with() {
    let mut rig = sourced(true, vec![peer(9)]);
    let applied = |rig: &Rig| rig.directory.applied_index("web").expect("a source that counts");
    rig.list("web", 1, list(100, vec![peer(5)]));
    rig.serve();
    assert_eq!(applied(&rig), Applied { index: 0, served: 0 }, "the first source has said nothing");
    rig.list("web", 0, list(7, vec![peer(1)]));
    assert_eq!(applied(&rig), Applied { index: 7, served: 0 });
    rig.list("web", 0, list(8, vec![peer(1), peer(2)]));
    rig.directory.handle_served(rig.change - 1);
    assert_eq!(applied(&rig), Applied { index: 8, served: 7 });
    rig.serve();
    assert_eq!(applied(&rig), Applied { index: 8, served: 8 });
    // Nothing to publish: in force at once.
    rig.list("web", 0, list(9, vec![peer(1), Peer { down: true, ..peer(2) }]));
    assert_eq!(applied(&rig), Applied { index: 9, served: 9 });
    assert_eq!(rig.status("web").sources[0].applied_index, Some(9));
    assert_eq!(rig.directory.applied_index("wbe"), None);
}

#[test]
fn first_lists_are_awaited_where_there_is_nothing_else() {
    let mut rig = sourced(true, vec![peer(9)]);
    assert!(!rig.directory.awaits_first_lists());
    rig = sourced(true, Vec::new());
    assert!(rig.directory.awaits_first_lists());
    rig.list("web", 1, list(1, vec![peer(1)]));
    assert!(!rig.directory.awaits_first_lists());
}

#[test]
fn new_members_are_checked_and_old_ones_no_more() {
    let mut web = upstream("web", Vec::new());
    web.sources = vec![source("web", true)];
    web.checks = vec![crate::support::check(true)];
    let mut rig = Rig::of(&[web]);
    rig.list("web", 0, list(1, vec![peer(1), peer(2)]));
    assert_eq!(rig.watched.len(), 2);
    assert_eq!(rig.state(1), State::Failed);
    rig.check("web", 1, true, "connected");
    rig.list("web", 0, list(2, vec![peer(1), peer(3)]));
    let mut names: Vec<&str> = rig.watched.keys().map(|(_, _, peer)| peer.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [name(1), name(3)]);
    assert_eq!((rig.state(1), rig.state(3)), (State::Up, State::Failed));
    // Late, stray and malformed reports are nobody's.
    rig.check("web", 2, false, "late");
    let gone = key("gone");
    for (key, peer, index) in
        [(&gone, "10.0.0.1:80", 0), (&key("web"), "nonsense", 0), (&key("web"), "10.0.0.1:80", 7)]
    {
        rig.directory.handle_check(rig.now, key, peer, index, false, false, String::new());
    }
    assert_eq!(rig.state(1), State::Up);
}

#[test]
fn weights_of_a_source_are_bounded() {
    let mut rig = sourced(true, Vec::new());
    rig.list("web", 0, list(1, vec![Peer { weight: u32::MAX, ..peer(1) }, Peer { weight: 0, ..peer(2) }]));
    assert_eq!(rig.peer(1).weight, weir_directory::MAX_WEIGHT);
    assert_eq!((rig.peer(2).weight, rig.state(2)), (1, State::Draining));
}
