//! Starts in virtual time: spread, steady, and without bursts after a hold-up.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use weir_model::{ListenAddress, Millis, Probe, UpstreamKey};

use super::check;
use crate::{Rhythm, Target, Timers, Turn};

fn target(number: usize, interval: u64, jitter: u64) -> Target {
    let check =
        weir_model::Check { interval: Millis(interval), jitter: Millis(jitter), ..check(Probe::Tcp, 1) };
    let peer = format!("10.0.{}.{}:80", number / 250, number % 250);
    Target {
        key: UpstreamKey { name: "app".to_owned(), port: 0, implicit: false },
        index: 0,
        check: Arc::new(check),
        address: ListenAddress::Inet(peer.parse().expect("an address")),
        peer,
        state: Arc::default(),
        known: Some(true),
    }
}

/// Runs `rhythms` from `from` to `to` in steps of a tick; answers the starts of each tick.
fn run(rhythms: &mut [Rhythm], from: u64, to: u64) -> Vec<usize> {
    let tick = |now| {
        let mut starts = 0;
        for rhythm in rhythms.iter_mut() {
            if rhythm.due() <= now && rhythm.turn(now) == Turn::Start {
                rhythm.started(now, false);
                rhythm.ended(now);
                starts += 1;
            }
        }
        starts
    };
    (from..to).step_by(5).map(tick).collect()
}

#[test]
fn many_targets_never_fire_together() {
    let mut rhythms: Vec<Rhythm> = (0..10_000).map(|n| Rhythm::new(&target(n, 1000, 0), 0, false)).collect();
    let starts = run(&mut rhythms, 5, 5005);
    // Five rounds, and the sixth of those whose phase is the last tick.
    assert!((50_000..50_100).contains(&starts.iter().sum::<usize>()));
    let most = starts.iter().max().expect("there are ticks");
    assert!(*most < 100, "{most} starts in 5 ms where 50 are the mean");
}

#[test]
fn targets_that_start_at_once_are_spread_afterwards() {
    let mut rhythms: Vec<Rhythm> = (0..10_000).map(|n| Rhythm::new(&target(n, 1000, 0), 0, true)).collect();
    for rhythm in &mut rhythms {
        assert_eq!(rhythm.due(), 0);
        assert_eq!(rhythm.turn(0), Turn::Start);
        rhythm.started(0, true);
        assert!((500..1500).contains(&rhythm.due()), "{}", rhythm.due());
    }
    let starts = run(&mut rhythms, 5, 5005);
    let most = starts.iter().max().expect("there are ticks");
    assert!(*most < 100, "{most} starts in 5 ms where 50 are the mean");
}

#[test]
fn a_hold_up_is_followed_by_the_usual_pace() {
    let mut rhythms: Vec<Rhythm> = (0..10_000).map(|n| Rhythm::new(&target(n, 1000, 0), 0, false)).collect();
    run(&mut rhythms, 5, 3005);
    let starts = run(&mut rhythms, 6305, 8305);
    // Only those that are late by a tenth of the interval at most are made up for.
    assert!(starts[0] < 1500, "{} starts at once", starts[0]);
    let most = starts[1..].iter().max().expect("there are ticks");
    assert!(*most < 100, "{most} starts in 5 ms where 50 are the mean");
    assert!(starts.iter().sum::<usize>() > 19_000);
}

#[test]
fn a_loop_that_is_always_late_starts_nevertheless() {
    let mut rhythm = Rhythm::new(&target(1, 100, 0), 0, false);
    let mut starts = 0;
    let mut now = rhythm.due();
    for _ in 0..100 {
        now = now.max(rhythm.due()) + 60;
        if rhythm.turn(now) == Turn::Start {
            rhythm.started(now, false);
            starts += 1;
        }
    }
    assert_eq!(starts, 50);
}

proptest! {
    #[test]
    fn starts_are_an_interval_apart(
        number in 0_usize..5000, interval in 1_u64..5000, jitter in 0_u64..300, now in 0_u64..100_000,
    ) {
        let mut rhythm = Rhythm::new(&target(number, interval, jitter), now, false);
        prop_assert!(rhythm.due() >= now && rhythm.due() < now + interval);
        for _ in 0..50 {
            let due = rhythm.due();
            prop_assert_eq!(rhythm.turn(due), Turn::Start);
            rhythm.started(due, false);
            let pause = rhythm.due() - due;
            prop_assert!(pause >= interval && pause <= interval + jitter, "{} after {}", pause, interval);
        }
    }

    #[test]
    fn the_next_start_is_never_in_the_past(
        interval in 1_u64..2000, jitter in 0_u64..50, lates in proptest::collection::vec((0_u64..5000, 0_u64..5000), 1..80),
    ) {
        let mut rhythm = Rhythm::new(&target(7, interval, jitter), 0, true);
        let mut now = 0;
        for (late, long) in lates {
            now = now.max(rhythm.due()) + late;
            match rhythm.turn(now) {
                Turn::Skip => {
                    prop_assert!(late > 20 && late > interval / 10);
                    prop_assert!(rhythm.due() >= now && rhythm.due() < now + interval);
                    now = rhythm.due();
                    prop_assert_eq!(rhythm.turn(now + late), Turn::Start);
                }
                Turn::Start => {}
            }
            rhythm.started(now, false);
            prop_assert!(rhythm.due() > now);
            now += long;
            rhythm.ended(now);
            prop_assert!(rhythm.due() >= now);
        }
    }

    #[test]
    fn timers_agree_with_a_table(
        steps in proptest::collection::vec((0_usize..12, 0_u64..200, any::<bool>(), 0_u64..30), 1..200),
    ) {
        let mut timers = Timers::default();
        let mut table: HashMap<usize, u64> = HashMap::new();
        let mut now = 0;
        for (id, ahead, disarm, pass) in steps {
            if disarm {
                timers.disarm(id);
                table.remove(&id);
            } else {
                timers.arm(id, now + ahead);
                table.insert(id, now + ahead);
            }
            now += pass;
            let mut popped = Vec::new();
            while let Some(id) = timers.pop(now) {
                popped.push(id);
            }
            popped.sort_unstable();
            let mut due: Vec<usize> =
                table.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
            due.sort_unstable();
            prop_assert_eq!(popped, due);
            table.retain(|_, at| *at > now);
            if let Some(first) = table.values().min() {
                prop_assert!(timers.next().is_some_and(|next| next <= *first));
            }
        }
    }
}
