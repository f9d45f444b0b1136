//! The last line of every outcome: how it ended, how each server stands, what to type.

use weir_rollout::{Action, Event, Moment, Outcome};

use crate::world::{Faults, World, plan};

/// Runs a release of two servers and returns its last line.
fn last_line(text: &str, fault: impl Fn(usize, &mut Faults)) -> String {
    let mut world = World::new(2, 1);
    for n in 0..2 {
        fault(n, &mut world.peer(n).faults);
    }
    let mut rollout = world.rollout(&plan(text)).expect("a release");
    world.run(&mut rollout);
    rollout.last_line()
}

const NEXT: &str = "go on: weir rollout resume web | give up: weir rollout abort web";

#[test]
fn done() {
    assert_eq!(last_line("", |_, _| {}), "done | 10.0.0.1:8080 DONE, 10.0.0.2:8080 DONE");
}

#[test]
fn rolled_back() {
    assert_eq!(
        last_line("on_failure = \"rollback\"", |n, faults| faults.start = n == 1),
        "rolled back: 10.0.0.2:8080: start: exit status 1 | 10.0.0.1:8080 ROLLED_BACK, 10.0.0.2:8080 ROLLED_BACK | \
         the old version serves; when the new one is mended, release it: weir rollout web"
    );
}

#[test]
fn left() {
    assert_eq!(
        last_line("", |n, faults| faults.stop = n == 0),
        format!(
            "failed: 10.0.0.1:8080: stop: exit status 1 | 10.0.0.1:8080 FAILED (drained), 10.0.0.2:8080 READY | {NEXT}"
        )
    );
}

#[test]
fn left_because_the_way_back_failed_as_well() {
    let line = last_line("on_failure = \"rollback\"", |n, faults| {
        (faults.start, faults.rollback) = (n == 1, n == 1);
    });
    assert_eq!(
        line,
        format!(
            "failed: 10.0.0.2:8080: start: exit status 1; the old version could not be brought back to 10.0.0.2:8080: \
             rollback: exit status 1 | 10.0.0.1:8080 DONE, 10.0.0.2:8080 FAILED (drained) | {NEXT}"
        )
    );
}

#[test]
fn interrupted() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    assert_eq!(rollout.last_line(), format!("running | 10.0.0.1:8080 READY, 10.0.0.2:8080 READY | {NEXT}"));
    world.run_to(&mut rollout, |action| matches!(action, Action::Stop { .. }));
    rollout.handle(Event::Interrupt, Moment(world.now));
    assert_eq!(world.run(&mut rollout), Outcome::Interrupted);
    assert_eq!(
        rollout.last_line(),
        format!("interrupted | 10.0.0.1:8080 DONE, 10.0.0.2:8080 READY | {NEXT}")
    );
}

#[test]
fn the_lock_was_lost() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::AwaitQuiet { .. }));
    world.unsure = true;
    rollout.handle(Event::LockLost, Moment(world.now));
    world.run(&mut rollout);
    assert_eq!(
        rollout.last_line(),
        format!(
            "failed: the lock was lost: somebody else may release this upstream now | \
             10.0.0.1:8080 DRAINING (drained), 10.0.0.2:8080 READY | see who releases now: weir rollout status web | {NEXT}"
        )
    );
}

#[test]
fn an_answer_of_several_lines_stays_one_line() {
    let mut world = World::new(2, 1);
    let mut rollout = world.rollout(&plan("")).expect("a release");
    world.run_to(&mut rollout, |action| matches!(action, Action::Stop { .. }));
    let id =
        world.given.iter().rev().find(|c| matches!(c.action, Action::Stop { .. })).expect("it was given").id;
    world.flights.clear();
    let result = Err("exit status 1:\r\n  no such unit\n".to_owned());
    rollout.handle(Event::Ran { id, result }, Moment(world.now));
    world.run(&mut rollout);
    let line = rollout.last_line();
    assert!(line.starts_with("failed: 10.0.0.1:8080: stop: exit status 1: no such unit | "), "{line}");
}
