//! How releases go and how they end, command by command.

use weir_rollout::{Action, Outcome, Stage, State};

use crate::world::{World, address, plan, states};

const LEAVE: &str = "on_failure = \"leave\"";
const ROLLBACK: &str = "on_failure = \"rollback\"";

#[test]
fn a_server_goes_through_every_step_before_the_next() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("warm = { requests = 3 }")).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let each = |n: u32| {
        ["drain", "barrier", "quiet", "stop", "start", "warm", "up", "barrier"]
            .map(|word| format!("{word} {n}"))
    };
    assert_eq!(world.trace(), [each(1), each(2)].concat());
    assert_eq!(rollout.last_line(), "done | 10.0.0.1:8080 DONE, 10.0.0.2:8080 DONE");
    assert_eq!(rollout.outcome().map(Outcome::exit_code), Some(0));
}

#[test]
fn servers_of_a_batch_go_together() {
    let mut world = World::new(4, 1);
    let mut rollout = world.rollout(&plan("[batch]\nmax_unavailable = 2")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    assert_eq!(states(&rollout)[2..], [State::Ready, State::Ready]);
    let drained: Vec<String> = world.trace().into_iter().filter(|word| word.starts_with("drain")).collect();
    assert_eq!(drained, ["drain 1", "drain 2"]);
    assert_eq!(world.run(&mut rollout), Outcome::Done);
}

#[test]
fn hooks_run_in_order_and_know_how_it_ended() {
    let mut world = World::new(1, 1);
    let stages = [
        "pre_plan",
        "pre_drain",
        "post_drain",
        "pre_stop",
        "post_stop",
        "pre_start",
        "post_start",
        "pre_check",
        "post_check",
        "pre_undrain",
        "post_undrain",
        "post_plan",
        "on_fail",
    ];
    let hooks: String = stages.iter().map(|stage| format!("{stage} = \"true\"\n")).collect();
    let plan = plan(&format!("[batch]\nmin_healthy = 0\n[hooks]\n{hooks}"));
    let mut rollout = world.rollout(&plan).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let hook = |action: &Action| match action {
        Action::RunHook { stage, result, .. } => Some((stage.name(), result.clone().unwrap_or_default())),
        _ => None,
    };
    let ran: Vec<(&str, String)> = world.given.iter().filter_map(|command| hook(&command.action)).collect();
    let names: Vec<&str> = ran.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, stages[..12], "all but on_fail");
    assert_eq!(ran.last().map(|(_, result)| result.as_str()), Some("done"));
}

/// A fault, and what becomes of the first batch of three servers when it fails at the second.
#[test]
fn a_failure_leaves_the_others_serving_and_says_what_state_each_is_in() {
    type Fault = fn(&mut crate::world::Faults);
    let cases: [(Fault, &str, bool); 6] = [
        (|f| f.stop = true, "stop: exit status 1", true),
        (|f| f.start = true, "start: exit status 1", true),
        (|f| f.sick = true, "it was not healthy within 2m: connection refused", true),
        (|f| f.stuck = true, "1 request still ran after 30s of draining", false),
        (|f| f.hook = Some(Stage::PreStop), "hook pre_stop: exit status 1", false),
        (|f| f.drain = true, "it could not be drained: the key is gone", false),
    ];
    for (fault, reason, drained) in cases {
        let mut world = World::new(3, 1);
        fault(&mut world.peer(1).faults);
        let plan = plan(&format!("{LEAVE}\n[hooks]\npre_stop = \"true\"\non_fail = \"true\""));
        let mut rollout = world.rollout(&plan).expect("a release");
        let reason = format!("10.0.0.2:8080: {reason}");
        assert_eq!(world.run(&mut rollout), Outcome::Left { reason: reason.clone() });
        assert_eq!(states(&rollout), [State::Done, State::Failed, State::Ready], "{reason}");
        assert_eq!(rollout.left_out(), if drained { vec![address(1)] } else { vec![] }, "{reason}");
        assert_eq!(world.peer(1).down, drained, "{reason}");
        let place = if drained { " (drained)" } else { "" };
        assert_eq!(
            rollout.last_line(),
            format!(
                "failed: {reason} | 10.0.0.1:8080 DONE, 10.0.0.2:8080 FAILED{place}, 10.0.0.3:8080 READY | \
                 go on: weir rollout resume web | give up: weir rollout abort web"
            )
        );
        let failed = |action: &Action| match action {
            Action::RunHook { stage: Stage::OnFail, result, .. } => result.clone(),
            _ => None,
        };
        let told: Vec<String> = world.given.iter().filter_map(|command| failed(&command.action)).collect();
        assert_eq!(told, [format!("failed: {}", reason.trim_start_matches("10.0.0.2:8080: "))]);
    }
}

#[test]
fn the_rest_of_a_batch_is_put_back_before_it_is_stopped_and_finished_after() {
    let mut world = World::new(3, 1);
    world.peer(0).faults.start = true;
    // The second hangs in draining while the first fails.
    world.peer(1).faults.stuck = true;
    let plan = plan("[batch]\nmax_unavailable = 2\nmin_healthy = 1");
    let mut rollout = world.rollout(&plan).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Failed, State::Ready, State::Ready]);
    let second: Vec<String> = world.trace().into_iter().filter(|word| word.ends_with('2')).collect();
    assert_eq!(second, ["drain 2", "barrier 2", "quiet 2", "up 2", "barrier 2"]);

    let mut world = World::new(3, 1);
    world.peer(0).faults.sick = true;
    let mut rollout = world.rollout(&plan).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Failed, State::Done, State::Ready]);
}

#[test]
fn a_rollback_goes_backwards_and_through_the_gate() {
    let mut world = World::new(4, 1);
    world.peer(2).faults.start = true;
    let mut rollout = world.rollout(&plan(ROLLBACK)).expect("a release");
    let reason = "10.0.0.3:8080: start: exit status 1".to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::RolledBack { reason });
    assert_eq!(states(&rollout), [State::RolledBack, State::RolledBack, State::RolledBack, State::Ready]);
    let trace = world.trace();
    let way = trace.iter().position(|word| word == "start 3").expect("the start that failed") + 1;
    let back =
        |n: u32| ["drain", "barrier", "quiet", "rollback", "up", "barrier"].map(|word| format!("{word} {n}"));
    assert_eq!(trace[way..], [back(3), back(2), back(1)].concat());
    let old = |action: &Action| matches!(action, Action::Probe { rollback: true, .. });
    assert_eq!(world.given.iter().filter(|command| old(&command.action)).count(), 9);
    assert_eq!(rollout.outcome().map(Outcome::exit_code), Some(1));
}

#[test]
fn a_rollback_that_fails_stops_there() {
    let mut world = World::new(3, 1);
    world.peer(2).faults.start = true;
    world.peer(1).faults.rollback = true;
    let mut rollout = world.rollout(&plan(ROLLBACK)).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    assert_eq!(states(&rollout), [State::Done, State::Failed, State::RolledBack]);
    assert_eq!(rollout.left_out(), [address(1)]);
}

#[test]
fn what_did_not_succeed_is_tried_again_when_it_is_resumed() {
    let mut world = World::new(3, 1);
    world.peer(1).faults.sick = true;
    let plan = plan(LEAVE);
    let mut rollout = world.rollout(&plan).expect("a release");
    assert!(matches!(world.run(&mut rollout), Outcome::Left { .. }));
    world.peer(1).faults.sick = false;
    world.forget_trace();
    let mut rollout = world.resume(&plan).expect("it can go on");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert!(world.trace().iter().all(|word| !word.ends_with('1')), "the first is done: {:?}", world.trace());
    assert!(world.resume(&plan).err().expect("a refusal").to_string().contains("is over (done)"));
}

#[test]
fn servers_that_somebody_else_took_out_are_left_alone_or_stay_out() {
    let mut world = World::new(3, 1);
    world.hold(1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert_eq!(world.peer(1).version, 0);
    assert_eq!(rollout.last_line(), "done | 10.0.0.1:8080 DONE, 10.0.0.3:8080 DONE, 10.0.0.2:8080 MAINT");

    let named = plan("servers = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]");
    let mut rollout = world.rollout(&named).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    assert_eq!(world.peer(1).version, 1);
    assert!(world.peer(1).down, "it was out before");
    assert_eq!(states(&rollout), [State::Done, State::Maint]);
}

#[test]
fn spares_help_out_while_it_runs() {
    let mut world = World::new(3, 1);
    world.hold(2);
    let plan = plan("[batch]\nmin_healthy = 2\nsurge = [\"10.0.0.3:8080\"]");
    let mut rollout = world.rollout(&plan).expect("a release");
    assert_eq!(world.run(&mut rollout), Outcome::Done);
    let trace = world.trace();
    assert_eq!(trace[..3], ["start 3", "up 3", "barrier 3"]);
    assert_eq!(trace[trace.len() - 4..], ["drain 3", "barrier 3", "quiet 3", "stop 3"]);
    assert!(world.peer(2).down && !world.peer(2).running);
    assert_eq!(states(&rollout), [State::Done, State::Done, State::Maint]);
}

#[test]
fn a_batch_waits_for_others_to_serve_and_then_gives_up() {
    let mut world = World::new(3, 1);
    let plan = plan("[batch]\nmin_healthy = 2");
    let mut rollout = world.rollout(&plan).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Start { .. }));
    world.peer(2).ill = true;
    let reason = "10.0.0.2:8080: without it 1 server would serve, the minimum is 2".to_owned();
    assert_eq!(world.run(&mut rollout), Outcome::Left { reason });
    assert_eq!(states(&rollout), [State::Done, State::Failed, State::Ready]);
    assert!(!world.trace().contains(&"drain 2".to_owned()));
}

#[test]
fn the_history_has_who_when_and_how() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("version = { old = \"6\", new = \"7\" }")).expect("a release");
    assert_eq!(rollout.history("ada@build"), None);
    world.run(&mut rollout);
    let history = rollout.history("ada@build").expect("it ended");
    assert_eq!((history.who.as_str(), history.version.new.as_deref()), ("ada@build", Some("7")));
    assert_eq!(history.servers, [(address(0), State::Done), (address(1), State::Done)]);
    assert!(history.ended > history.started);
}
