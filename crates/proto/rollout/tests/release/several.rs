//! Releases one after another, and servers that come and go meanwhile.

use weir_rollout::{Action, Event, Moment, Outcome, Refusal, Rollout, State};

use crate::world::{World, address, plan, states};

const LEAVE: &str = "on_failure = \"leave\"";

/// A release of four servers that leaves the second one drained.
fn failed_release(world: &mut World) -> Rollout {
    world.peer(1).faults.sick = true;
    let mut rollout = world.rollout(&plan(LEAVE)).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(rollout.left_out(), [address(1)]);
    world.peer(1).faults.sick = false;
    rollout
}

#[test]
fn the_next_release_puts_back_what_the_last_one_left_drained() {
    let mut world = World::new(4, 1);
    failed_release(&mut world);
    let last = world.saved.clone().expect("a document");
    let mut next = Rollout::after(plan(LEAVE), &world.view(), &last, Moment(world.now)).expect("a release");
    assert_eq!(next.min_healthy(), 3, "a release that failed lowers no minimum");
    assert_eq!(next.status()[0].server, address(1), "it makes room for the others");
    assert_eq!(next.left_out(), [address(1)], "it is named before anything is done");
    assert_eq!(next.status()[0].state, State::Drained);
    world.outcome = None;
    assert_eq!(world.run(&mut next), Outcome::Done);
    assert!(!world.peer(1).down);
}

#[test]
fn what_the_last_release_left_drained_is_named_where_the_next_one_leaves_it_alone() {
    let mut world = World::new(4, 1);
    failed_release(&mut world);
    let last = world.saved.clone().expect("a document");
    let named = plan("servers = [\"10.0.0.1:8080\"]\n[batch]\nmin_healthy = 2");
    let mut next = Rollout::after(named, &world.view(), &last, Moment(world.now)).expect("a release");
    world.outcome = None;
    assert_eq!(world.run(&mut next), Outcome::Done);
    assert_eq!(
        next.last_line(),
        "done | 10.0.0.1:8080 DONE, 10.0.0.2:8080 MAINT (drained) | \
         release as well: weir rollout web --server 10.0.0.2:8080"
    );
    assert_eq!(
        next.status()[1].detail,
        "an earlier release left it drained, and this one does not name it; left alone"
    );
    let mut other = last.clone();
    other.plan.upstream = "api".to_owned();
    let refusal = Rollout::after(plan(""), &world.view(), &other, Moment(world.now)).err();
    assert!(matches!(refusal, Some(Refusal::OtherUpstream { .. })), "{refusal:?}");
}

#[test]
fn releases_that_fail_one_after_another_never_go_below_the_minimum() {
    let mut world = World::new(5, 1);
    for n in 0..5 {
        world.peer(n).faults.sick = true;
    }
    let mut rollout = world.rollout(&plan(LEAVE)).expect("a release");
    for _ in 0..6 {
        assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
        let serving = world.view().iter().filter(|peer| peer.serving).count();
        assert_eq!((serving, rollout.left_out().len()), (4, 1), "{}", rollout.last_line());
        let last = world.saved.clone().expect("a document");
        rollout = Rollout::after(plan(LEAVE), &world.view(), &last, Moment(world.now)).expect("a release");
        world.outcome = None;
    }
}

#[test]
fn the_minimum_of_another_plan_counts_when_it_is_resumed() {
    let mut world = World::new(4, 1);
    failed_release(&mut world);
    let lower = world.resume(&plan("[batch]\nmin_healthy = 1")).expect("it can go on");
    assert_eq!(lower.min_healthy(), 1);
    assert_eq!(world.resume(&plan(LEAVE)).expect("it can go on").min_healthy(), 3);
}

#[test]
fn a_server_that_joins_meanwhile_is_named_and_left_alone() {
    let mut world = World::new(3, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    let newcomer = world.peer(2).clone();
    world.peers.insert(address(7), newcomer);
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let text = " 10.0.0.8:8080 joined the upstream after the release began; it is not released";
    assert_eq!(world.notes.iter().filter(|note| *note == text).count(), 1, "{:?}", world.notes);
    assert_eq!(world.peers[&address(7)].version, 0);
}

#[test]
fn a_server_that_leaves_meanwhile_stops_the_release_before_it_is_touched() {
    let mut world = World::new(3, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    let gone = world.peers.remove(&address(1)).expect("a server");
    while world.outcome.is_none() {
        world.step(&mut rollout);
    }
    let reason = "10.0.0.2:8080: it is not in the upstream any more".to_owned();
    assert_eq!(world.outcome, Some(Outcome::Left { reason }));
    assert_eq!(states(&rollout), [State::Done, State::Failed, State::Ready]);
    world.peers.insert(address(1), gone);
}

#[test]
fn a_server_that_a_proxy_still_needs_is_not_taken_out_because_another_proxy_calls_it_ill() {
    let mut world = World::new(3, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    // One of two proxies sees nobody; through the other one requests run.
    for n in 0..3 {
        let peer = world.peer(n);
        (peer.ill, peer.active) = (true, 5);
    }
    let reason = "10.0.0.1:8080: without it 0 servers would serve, the minimum is 2".to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::Left { reason });
    assert!(!world.trace().contains(&"drain 1".to_owned()), "{:?}", world.trace());
}

#[test]
fn a_server_whose_return_was_written_is_not_taken_out_again() {
    let mut world = World::new(2, 1);
    let plan = plan("");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::SetUp { .. }));
    world.saved = Some(rollout.progress());
    world.peer(0).down = false;
    world.apply();
    world.flights.clear();
    world.forget_trace();
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert_eq!(rollout.left_out(), [address(0)], "not known yet");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert_eq!(world.trace()[..4], ["up 1", "up 1", "barrier 1", "drain 2"]);
}

#[test]
fn a_server_that_somebody_put_back_is_checked_where_it_is_when_it_cannot_be_spared() {
    for sick in [false, true] {
        let mut world = World::new(3, 1);
        let plan = plan(LEAVE);
        let mut rollout = world.rollout(&plan).expect("a release");
        world.run_to(&mut rollout, |action| matches!(action, Action::Probe { .. }));
        world.kill();
        world.forget_drains();
        world.peer(2).ill = true;
        world.forget_trace();
        let mut rollout = world.resume(&plan).expect("it can go on");
        world.run_to(&mut rollout, |action| matches!(action, Action::SetUp { .. }));
        assert_eq!(world.trace(), ["up 1"]);
        // Only its new version is found wanting; the proxies go on sending requests to it.
        if sick {
            let at = rollout.plan().gate.deadline.0 + world.now;
            while world.now < at && world.outcome.is_none() {
                let ill =
                    world.flights.iter().all(|(_, command)| matches!(command.action, Action::Probe { .. }));
                world.peer(0).ill = ill;
                world.step(&mut rollout);
                world.peer(0).ill = false;
            }
        } else {
            world.peer(2).ill = false;
        }
        let outcome = world.run(&mut rollout);
        assert_eq!(outcome == Outcome::Done, !sick, "{outcome}");
        assert_eq!(rollout.left_out(), Vec::<String>::new(), "{}", rollout.last_line());
    }
}

#[test]
fn what_failed_and_is_drained_is_drained_again_when_the_store_forgot_it() {
    let mut world = World::new(4, 1);
    world.peer(0).faults.start = true;
    world.peer(1).faults.stuck = true;
    let text = "[batch]\nmax_unavailable = 2\n[drain]\non_timeout = \"wait\"\n[hooks]\npost_plan = \"x\"";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::RunHook { .. }));
    assert_eq!(rollout.left_out(), [address(0)]);
    rollout.handle(Event::StoreLost, Moment(world.now));
    world.forget_drains();
    rollout.handle(Event::StoreBack, Moment(world.now));
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert!(world.peer(0).down, "{:?}", world.trace());
    assert_eq!(rollout.left_out(), [address(0)]);
}

#[test]
fn a_server_that_somebody_else_takes_out_meanwhile_is_left_alone_or_stays_out() {
    for (text, state, version) in
        [("", State::Maint, 0), ("servers = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]", State::Maint, 1)]
    {
        let mut world = World::new(3, 1);
        let text = format!("{text}\n[batch]\nmin_healthy = 1");
        let mut rollout = world.rollout(&plan(&text)).expect("a release");
        world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
        world.hold(1);
        assert_eq!(world.run(&mut rollout), Outcome::Done, "{}", rollout.last_line());
        assert_eq!(states(&rollout)[..2], [State::Done, state], "{}", rollout.last_line());
        assert_eq!(world.peer(1).version, version);
        assert!(world.peer(1).down, "it was not ours to put back");
        assert!(!world.trace().iter().any(|word| word == "drain 2" || word == "up 2"), "{:?}", world.trace());
        assert!(
            world.notes.iter().any(|note| note.contains("somebody else took it out; ")),
            "{:?}",
            world.notes
        );
    }
}
