//! Canaries, the watch window and the way through the proxy.

use weir_rollout::{Action, Event, Moment, Outcome, State};

use crate::world::{World, address, plan, states};

const WATCH: &str = "[watch]\nwindow = \"30s\"";

#[test]
fn a_server_that_dies_within_the_window_is_taken_out_again() {
    for (text, reason) in [
        (WATCH, "connections to it failed, at most 0 may"),
        ("[watch]\nmax_connect_errors = 1000000", "it served, but then connection refused"),
    ] {
        let mut world = World::new(3, 1);
        world.peer(0).faults.crash = Some(7_000);
        let mut rollout = world.rollout(&plan(text)).expect("a release");
        let outcome = world.run(&mut rollout);
        assert!(outcome.to_string().contains(reason), "{outcome}");
        assert_eq!(states(&rollout), [State::Failed, State::Ready, State::Ready]);
        assert_eq!(rollout.left_out(), [address(0)]);
    }
}

#[test]
fn a_failed_server_is_not_taken_out_when_too_few_others_serve() {
    let mut world = World::new(2, 1);
    let text = "canary = [{ percent = 50, pause = \"manual\" }]\n[batch]\nmin_healthy = 1";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { .. }));
    world.peer(1).ill = true;
    rollout.handle(Event::Abort, Moment(world.now));
    let outcome = world.run(&mut rollout);
    assert!(matches!(outcome, Outcome::Left { .. }));
    assert!(!world.peer(0).down);
    assert_eq!(
        rollout.status()[0].detail,
        "an operator gave the release up; it was not taken out, because without it 0 servers would serve, \
         the minimum is 1; still serves"
    );
}

#[test]
fn a_canary_grows_step_by_step() {
    let mut world = World::new(3, 1);
    let text = "canary = [{ percent = 5, pause = \"10m\" }, { percent = \"50%\", pause = \"manual\" }]\n[batch]\nmax_unavailable = 2\nmin_healthy = 1";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    let begun = world.now;
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { until: None, .. }));
    assert!(world.now - begun >= 600_000);
    assert_eq!(world.peer(0).percent, 50);
    for _ in 0..50 {
        world.step(&mut rollout);
    }
    assert_eq!(states(&rollout), [State::Watching, State::Ready, State::Ready]);
    rollout.handle(Event::Promote, Moment(world.now));
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let shares: Vec<(String, u8)> = world
        .given
        .iter()
        .filter_map(|command| match &command.action {
            Action::SetUp { server, percent, .. } | Action::SetPercent { server, percent } => {
                Some((server.clone(), percent.0))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        shares,
        [(address(0), 5), (address(0), 50), (address(0), 100), (address(1), 100), (address(2), 100)]
    );
}

#[test]
fn an_interrupted_canary_keeps_its_share_and_goes_on_there() {
    let mut world = World::new(2, 1);
    let plan = plan("canary = [{ percent = 5, pause = \"1m\" }, { percent = 50, pause = \"manual\" }]");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { until: None, .. }));
    rollout.handle(Event::Interrupt, Moment(world.now));
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(rollout.status()[0].detail, "the canary was not finished, its share is 50%; serves");
    world.forget_trace();
    let mut rollout = world.resume(&plan).expect("it can go on");
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { until: None, .. }));
    assert!(!world.trace().iter().any(|word| word.starts_with("stop")), "{:?}", world.trace());
    rollout.handle(Event::Promote, Moment(world.now));
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn an_operator_aborts_the_canary() {
    let mut world = World::new(3, 1);
    let text = "on_failure = \"rollback\"\ncanary = [{ percent = 5, pause = \"manual\" }]";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { .. }));
    rollout.handle(Event::Abort, Moment(world.now));
    assert!(matches!(world.run(&mut rollout), Outcome::RolledBack { .. }));
    assert_eq!(world.peer(0).percent, 100);
    assert_eq!(states(&rollout), [State::RolledBack, State::Ready, State::Ready]);
}

#[test]
fn numbers_that_are_not_there_are_waited_for_but_not_forever() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan(WATCH)).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::ReadMetrics { .. }));
    let mut now = world.now;
    for _ in 0..2_000 {
        let mut read = Vec::new();
        while let Some(command) = rollout.poll_command() {
            read.push(command);
        }
        let asked = world.given.drain(..).chain(read);
        let mut events: Vec<Event> = Vec::new();
        for command in asked {
            match command.action {
                Action::ReadMetrics { .. } => {
                    events.push(Event::Failed { id: command.id, reason: "proxy a: timeout".to_owned() });
                }
                Action::Probe { .. } => events.push(Event::Probed { id: command.id, result: Ok(()) }),
                Action::Save { .. } => events.push(Event::Saved { id: command.id }),
                _ => {}
            }
        }
        for event in events {
            rollout.handle(event, Moment(now));
        }
        if states(&rollout)[0] == State::Failed {
            let detail = rollout.progress().servers[0].reason.clone();
            assert_eq!(detail, "it could not be compared with the others: proxy a: timeout");
            assert!(now - world.now >= 150_000, "window and deadline");
            return;
        }
        if let Some(due) = rollout.poll_timeout() {
            now = now.max(due.0);
            rollout.handle(Event::Tick, Moment(now));
        }
    }
    panic!("it is compared forever");
}

#[test]
fn the_way_through_the_proxy_is_asked_as_well() {
    let mut world = World::new(2, 1);
    let text = "[gate]\nthrough_proxy = \"http://10.1.1.1/health\"";
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let through = |action: &Action| matches!(action, Action::Probe { through: Some(_), .. });
    assert_eq!(world.given.iter().filter(|command| through(&command.action)).count(), 6);
}

#[test]
fn a_server_has_to_stay_healthy_for_a_while() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("[gate]\nmin_healthy_time = \"20s\"")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    let begun = world.now;
    world.run_to(&mut rollout, |action| matches!(action, Action::SetUp { .. }));
    assert!(world.now - begun >= 20_000);
    // One that dies meanwhile is not put back.
    let mut world = World::new(2, 1);
    world.peer(0).faults.crash = Some(10_000);
    let mut rollout = world.rollout(&plan("[gate]\nmin_healthy_time = \"20s\"")).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert!(!world.trace().contains(&"up 1".to_owned()));
}

#[test]
fn passes_have_to_come_in_a_row() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    // Two passes, one failure, again and again.
    for n in 0.. {
        world.peer(0).ill = n % 3 == 2;
        world.run_to(&mut rollout, |action| matches!(action, Action::Probe { .. } | Action::Finish { .. }));
        if world.outcome.is_some() {
            break;
        }
    }
    assert!(!world.trace().contains(&"up 1".to_owned()));
    let reason = rollout.progress().servers[0].reason.clone();
    assert!(reason.starts_with("it was not healthy within 2m"), "{reason}");
}

#[test]
fn a_crash_is_found_while_the_window_lasts() {
    for late in [None, Some(0)] {
        let mut world = World::new(3, 1);
        world.peer(0).faults.late = late;
        let mut rollout =
            world.rollout(&plan("[gate]\nrise = 1\n[watch]\nwindow = \"10m\"")).expect("a release");
        world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
        world.peer(0).faults.crash = Some(3_000);
        let begun = world.now;
        assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
        assert!(world.now - begun < 10_000, "not only at the end of the window: {} ms", world.now - begun);
        assert_eq!(states(&rollout), [State::Failed, State::Ready, State::Ready]);
        let up = rollout.progress().servers[0].reason.contains("the proxies see it as failed");
        assert!(up || late.is_none(), "{}", rollout.last_line());
    }
}

#[test]
fn proxies_that_have_not_checked_it_again_are_waited_for_but_not_forever() {
    let mut world = World::new(2, 1);
    world.peer(0).faults.late = Some(20_000);
    let mut rollout = world.rollout(&plan(WATCH)).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert!(
        world.notes.iter().any(|note| note.ends_with("the proxies still see it as failed")),
        "{:?}",
        world.notes
    );

    let mut world = World::new(2, 1);
    world.peer(0).faults.late = Some(u64::MAX / 2);
    let mut rollout = world.rollout(&plan(WATCH)).expect("a release");
    let reason =
        "10.0.0.1:8080: it could not be compared with the others: the proxies still see it as failed"
            .to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::Left { reason });
}

#[test]
fn a_canary_that_is_promoted_too_early_waits_and_says_so() {
    let mut world = World::new(3, 1);
    let mut rollout =
        world.rollout(&plan("canary = [{ percent = 5, pause = \"manual\" }]")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    rollout.handle(Event::Promote, Moment(world.now));
    world.run_to(&mut rollout, |action| matches!(action, Action::Pause { .. }));
    let text = " promoted too early: no canary pauses now; promote it again when one does";
    assert!(world.notes.iter().any(|note| note == text), "{:?}", world.notes);
    for _ in 0..50 {
        world.step(&mut rollout);
    }
    assert_eq!(states(&rollout)[0], State::Watching);
    rollout.handle(Event::Promote, Moment(world.now));
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn a_canary_that_cannot_be_spared_keeps_its_share() {
    let mut world = World::new(2, 1);
    let text = "canary = [{ percent = 5, pause = \"manual\" }]\n[batch]\nmin_healthy = 1";
    let plan = plan(text);
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    world.kill();
    // Somebody put it back, and the other one fell ill.
    world.peer(0).percent = 5;
    world.forget_drains();
    world.peer(1).ill = true;
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!((world.peer(0).percent, world.peer(0).down), (5, false), "{}", rollout.last_line());
}
