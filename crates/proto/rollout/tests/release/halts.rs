//! Signals, a store that is away, a lock that is lost.

use weir_rollout::{Action, Event, Moment, Outcome, Rollout, State};

use crate::world::{World, address, plan, states};

fn tell(world: &mut World, rollout: &mut Rollout, event: Event) {
    rollout.handle(event, Moment(world.now));
    world.take(rollout);
}

#[test]
fn the_first_interrupt_finishes_the_batch() {
    let mut world = World::new(4, 1);
    let plan = plan("[batch]\nmax_unavailable = 2");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Stop { .. }));
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(states(&rollout), [State::Done, State::Done, State::Ready, State::Ready]);
    assert_eq!(rollout.outcome().map(Outcome::exit_code), Some(4));
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn the_second_interrupt_puts_back_who_was_not_stopped() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitQuiet { .. }));
    tell(&mut world, &mut rollout, Event::Interrupt);
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(world.trace(), ["drain 1", "barrier 1", "quiet 1", "up 1"]);
    assert_eq!(states(&rollout), [State::Ready, State::Ready]);
}

#[test]
fn the_second_interrupt_waits_for_a_command_that_runs_and_names_who_is_left_drained() {
    let mut world = World::new(2, 1);
    let plan = plan("");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Stop { .. }));
    tell(&mut world, &mut rollout, Event::Interrupt);
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert!(world.outcome.is_none(), "the stop command runs");
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(
        rollout.last_line(),
        "interrupted | 10.0.0.1:8080 STOPPED (drained), 10.0.0.2:8080 READY | \
         go on: weir rollout resume web | give up: weir rollout abort web"
    );
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn nothing_is_asked_while_the_store_is_away_and_the_drain_is_written_again() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitQuiet { .. }));
    world.store_lost = true;
    tell(&mut world, &mut rollout, Event::StoreLost);
    world.forget_trace();
    while world.step(&mut rollout) {}
    assert_eq!(world.trace(), Vec::<String>::new());
    // It comes back without what was written last.
    world.peer(0).down = false;
    world.apply();
    world.store_lost = false;
    tell(&mut world, &mut rollout, Event::StoreBack);
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert_eq!(world.trace()[..4], ["drain 1", "barrier 1", "quiet 1", "stop 1"]);
}

#[test]
fn without_the_lock_nothing_is_written() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    world.forget_trace();
    world.unsure = true;
    tell(&mut world, &mut rollout, Event::LockLost);
    let reason = "the lock was lost: somebody else may release this upstream now".to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::Left { reason });
    assert!(
        world
            .given
            .iter()
            .all(|command| matches!(command.action, Action::Finish { .. } | Action::Cancel { .. }))
    );
    assert_eq!(rollout.left_out(), [address(0)]);
}

#[test]
fn a_store_that_stays_away_does_not_keep_anybody_from_leaving() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitQuiet { .. }));
    (world.store_lost, world.unsure) = (true, true);
    tell(&mut world, &mut rollout, Event::StoreLost);
    tell(&mut world, &mut rollout, Event::Interrupt);
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(rollout.left_out(), [address(0)]);
}

#[test]
fn progress_that_cannot_be_written_ends_the_release() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    let save = rollout.poll_command().expect("the document comes first");
    assert!(matches!(save.action, Action::Save { .. }));
    assert_eq!(rollout.poll_command(), None, "nothing before it is written");
    let refused = Event::Failed { id: save.id, reason: "permission denied".to_owned() };
    rollout.handle(refused, Moment(world.now));
    let reason = "the progress cannot be written: permission denied".to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::Left { reason });
    assert_eq!(world.trace(), Vec::<String>::new());
}

#[test]
fn an_operator_gives_it_up() {
    for (text, code) in [("on_failure = \"leave\"", 2), ("on_failure = \"rollback\"", 1)] {
        let mut world = World::new(3, 1);
        let plan = plan(text);
        let mut rollout = world.rollout(&plan).expect("a release");
        world.run_to(
            &mut rollout,
            |action| matches!(action, Action::SetDrain { server } if *server == address(1)),
        );
        tell(&mut world, &mut rollout, Event::Abort);
        let outcome = world.run(&mut rollout);
        assert_eq!(outcome.exit_code(), code, "{outcome}");
        assert!(outcome.to_string().ends_with("an operator gave the release up"), "{outcome}");
        let first = if code == 1 { State::RolledBack } else { State::Done };
        assert_eq!(states(&rollout), [first, State::Ready, State::Ready]);
    }
}

#[test]
fn a_release_that_stopped_can_be_given_up_later() {
    let mut world = World::new(3, 1);
    world.peer(1).faults.sick = true;
    let mut rollout = world.rollout(&plan("on_failure = \"leave\"")).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    world.forget_trace();
    let mut rollout = world.resume(&plan("on_failure = \"rollback\"")).expect("it can be taken up");
    rollout.handle(Event::Abort, Moment(world.now));
    assert!(matches!(world.run(&mut rollout), Outcome::RolledBack { .. }));
    assert_eq!(states(&rollout), [State::RolledBack, State::RolledBack, State::Ready]);
}

#[test]
fn answers_that_nobody_waits_for_are_ignored() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.take(&mut rollout);
    let before = rollout.progress();
    for event in [
        Event::Applied { id: 900, index: 3 },
        Event::Saved { id: 900 },
        Event::Quiet { id: 900, active: 0 },
        Event::Failed { id: 900, reason: "late".to_owned() },
        Event::Active { server: "10.9.9.9:1".to_owned(), active: 4 },
        Event::Promote,
        Event::StoreBack,
    ] {
        rollout.handle(event, Moment(world.now));
    }
    assert_eq!(rollout.progress(), before);
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn a_change_that_the_store_forgot_before_the_proxies_saw_it_is_written_again() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitApplied { .. }));
    tell(&mut world, &mut rollout, Event::StoreLost);
    world.forget_drains();
    world.forget_trace();
    tell(&mut world, &mut rollout, Event::StoreBack);
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert_eq!(world.trace()[..3], ["drain 1", "barrier 1", "quiet 1"]);
}

#[test]
fn a_resumed_server_is_out_before_anything_is_done_to_it() {
    let mut world = World::new(2, 1);
    let plan = plan("");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    world.kill();
    // Somebody put it back meanwhile.
    world.forget_drains();
    world.forget_trace();
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    // What the start command started before it was killed may hold the port, and only the stop command knows it.
    assert_eq!(world.trace()[..6], ["drain 1", "barrier 1", "quiet 1", "stop 1", "start 1", "up 1"]);
}

#[test]
fn a_release_that_was_killed_while_it_failed_does_not_go_on_upgrading() {
    let mut world = World::new(3, 1);
    world.peer(0).faults.drain = true;
    let plan = plan("[batch]\nmax_unavailable = 2\nmin_healthy = 1");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::SetDrain { .. }));
    world.step(&mut rollout);
    // The first has failed, and the second is being drained.
    world.saved = Some(rollout.progress());
    world.kill();
    world.forget_trace();
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Failed, State::Ready, State::Ready]);
    assert!(!world.trace().iter().any(|word| word.starts_with("stop")), "{:?}", world.trace());
}

#[test]
fn an_interrupt_before_the_first_batch_starts_no_spare() {
    let mut world = World::new(3, 1);
    world.hold(2);
    let text = "[batch]\nsurge = [\"10.0.0.3:8080\"]\n[hooks]\npre_plan = \"x\"";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::RunHook { .. }));
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(world.trace(), Vec::<String>::new());
}

#[test]
fn a_release_with_a_first_hook_is_given_up_as_well() {
    for (text, code) in [("on_failure = \"leave\"", 2), ("on_failure = \"rollback\"", 1)] {
        let mut world = World::new(3, 1);
        world.peer(1).faults.sick = true;
        let mut rollout = world.rollout(&plan("on_failure = \"leave\"")).expect("a release");
        assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
        world.forget_trace();
        let plan = plan(&format!("{text}\n[hooks]\npre_plan = \"x\""));
        let mut rollout = world.resume(&plan).expect("it can be taken up");
        rollout.handle(Event::Abort, Moment(world.now));
        let outcome = world.run(&mut rollout);
        assert_eq!(outcome.exit_code(), code, "{}", rollout.last_line());
        let started = world.trace().iter().any(|word| word.starts_with("start"));
        assert!(!started, "the new version is not tried again: {:?}", world.trace());
        if code == 1 {
            assert_eq!(states(&rollout), [State::RolledBack, State::RolledBack, State::Ready]);
            assert_eq!(rollout.left_out(), Vec::<String>::new());
        } else {
            assert_eq!(rollout.left_out(), [address(1)]);
        }
    }
}

#[test]
fn a_drained_server_of_an_interrupted_release_is_put_back_when_it_is_given_up() {
    let mut world = World::new(2, 1);
    let plan = plan("[hooks]\npre_plan = \"x\"");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitQuiet { .. }));
    (world.store_lost, world.unsure) = (true, true);
    tell(&mut world, &mut rollout, Event::StoreLost);
    tell(&mut world, &mut rollout, Event::Interrupt);
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    world.saved = Some(rollout.progress());
    (world.store_lost, world.unsure) = (false, false);
    let mut rollout = world.resume(&plan).expect("it can be taken up");
    rollout.handle(Event::Abort, Moment(world.now));
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Ready, State::Ready]);
    assert!(!world.peer(0).down);
}

#[test]
fn a_stopped_server_of_an_interrupted_release_comes_to_its_end_when_it_is_given_up() {
    let mut world = World::new(2, 1);
    let plan = plan("[hooks]\npre_plan = \"x\"");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Stop { .. }));
    tell(&mut world, &mut rollout, Event::Interrupt);
    tell(&mut world, &mut rollout, Event::Interrupt);
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    let mut rollout = world.resume(&plan).expect("it can be taken up");
    rollout.handle(Event::Abort, Moment(world.now));
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Done, State::Ready], "{}", rollout.last_line());
}

#[test]
fn who_gives_up_after_the_last_batch_gets_the_old_version_back() {
    let mut world = World::new(2, 1);
    let text = "on_failure = \"rollback\"\n[hooks]\npost_plan = \"smoke test\"";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::RunHook { .. }));
    tell(&mut world, &mut rollout, Event::Abort);
    assert!(matches!(world.run(&mut rollout), Outcome::RolledBack { .. }));
    assert_eq!(states(&rollout), [State::RolledBack, State::RolledBack]);
}

/// Everything that can come from outside, after every single command of a release.
#[test]
fn whatever_comes_after_any_command_ends_in_a_defined_state() {
    let cases: [(&str, &[Event]); 7] = [
        ("an interrupt", &[Event::Interrupt]),
        ("two interrupts", &[Event::Interrupt, Event::Interrupt]),
        ("a store that is away for a while", &[Event::StoreLost, Event::StoreBack]),
        ("an interrupt while the store is away", &[Event::StoreLost, Event::Interrupt, Event::StoreBack]),
        ("a lost lock", &[Event::LockLost]),
        ("an abort", &[Event::Abort]),
        ("an early promotion", &[Event::Promote]),
    ];
    let text = "warm = { requests = 3 }\ncanary = [{ percent = 5, pause = \"10s\" }]\n\
                [batch]\nmax_unavailable = 2\nmin_healthy = 1\nsurge = [\"10.0.0.4:8080\"]\n\
                [hooks]\npre_plan = \"x\"\npre_stop = \"x\"\npost_plan = \"x\"\n[watch]\nwindow = \"5s\"";
    for failure in ["leave", "rollback"] {
        let plan = plan(&format!("on_failure = \"{failure}\"\n{text}"));
        for (name, events) in cases {
            for after in 0..250 {
                let mut world = World::new(4, after as u64);
                world.hold(3);
                let mut rollout = world.rollout(&plan).expect("a release");
                while world.given.len() < after && world.outcome.is_none() {
                    world.step(&mut rollout);
                }
                if world.outcome.is_some() {
                    break;
                }
                world.unsure = name == "a lost lock";
                for event in events {
                    tell(&mut world, &mut rollout, event.clone());
                }
                let outcome = world.run(&mut rollout);
                let gone = !matches!(name, "a store that is away for a while" | "an early promotion");
                assert!(gone || outcome == Outcome::Done, "{name} after {after}: {}", rollout.last_line());
                if matches!(outcome, Outcome::Done | Outcome::RolledBack { .. }) {
                    continue;
                }
                world.unsure = false;
                let mut rollout = world.resume(&plan).expect("it can go on");
                let outcome = world.run(&mut rollout);
                assert!(outcome.exit_code() < 2, "{name} after {after}, resumed: {}", rollout.last_line());
            }
        }
    }
}
