//! Random plans, faults, signals and kills; the seed of a failure is printed by proptest.

use proptest::prelude::*;
use weir_rollout::{
    Amount, Event, Moment, OnFailure, OnTimeout, Outcome, Plan, Refusal, Rollout, Span, Stage, State, Warm,
    Watch,
};

use crate::world::{Faults, Random, World, address, plan, states};

fn random_plan(random: &mut Random, servers: u64) -> Plan {
    let mut plan = plan(&format!("[batch]\nmax_unavailable = {}", 1 + random.below(servers)));
    if random.one_in(2) {
        plan.batch.min_healthy = Some(Amount::Count(random.below(servers) as usize));
    }
    if random.one_in(2) {
        plan.on_failure = OnFailure::Rollback;
    }
    plan.drain.on_timeout = match random.below(3) {
        0 => OnTimeout::Abort,
        1 => OnTimeout::Force,
        _ => OnTimeout::Wait,
    };
    let hook = |random: &mut Random| random.one_in(3).then(|| "hook".to_owned());
    plan.hooks.pre_plan = hook(random);
    plan.hooks.post_plan = hook(random);
    plan.hooks.pre_drain = hook(random);
    plan.hooks.pre_stop = hook(random);
    plan.hooks.post_start = hook(random);
    plan.hooks.pre_undrain = hook(random);
    plan.hooks.on_fail = hook(random);
    if random.one_in(3) {
        plan.watch = Some(Watch::default());
    }
    if random.one_in(3) {
        plan.warm = Some(Warm::default());
    }
    if random.one_in(3) {
        plan.canary = vec!["5%:10s".parse().expect("a step"), "50%:20s".parse().expect("a step")];
    }
    if random.one_in(4) {
        plan.gate.through_proxy = Some("http://10.1.1.1/".to_owned());
    }
    if random.one_in(4) {
        plan.gate.min_healthy_time = Span::secs(5);
    }
    plan
}

/// Faults that do not depend on when something is done.
fn steady_faults(random: &mut Random) -> Faults {
    let mut faults = Faults::default();
    match random.below(24) {
        0 => faults.stop = true,
        1 => faults.start = true,
        2 => faults.sick = true,
        3 => faults.stuck = true,
        4 => faults.drain = true,
        5 => faults.hook = Some(Stage::PreDrain),
        6 => faults.hook = Some(Stage::PreStop),
        7 => faults.hook = Some(Stage::PreUndrain),
        8 => faults.hook = Some(Stage::PostStart),
        _ => {}
    }
    faults.rollback = random.one_in(12);
    faults
}

fn any_faults(random: &mut Random) -> Faults {
    let mut faults = steady_faults(random);
    match random.below(16) {
        0 => faults.crash = Some(random.below(40_000)),
        1 => faults.up = true,
        2 => faults.barrier = true,
        3 => faults.late = Some(15_000),
        _ => {}
    }
    faults
}

/// A world, a plan and the release, or nothing where the plan is refused.
fn scene(seed: u64, faults: fn(&mut Random) -> Faults) -> Option<(World, Plan, Rollout)> {
    let mut random = Random(seed);
    let servers = 1 + random.below(6);
    let mut plan = random_plan(&mut random, servers);
    let mut world = World::new(servers as usize, random.next());
    for n in 0..servers as usize {
        world.peer(n).faults = faults(&mut random);
        world.peer(n).ill = false;
    }
    if servers > 2 && random.one_in(4) {
        world.hold(0);
        match random.below(3) {
            0 => plan.batch.surge = vec![address(0)],
            1 => plan.servers = (0..servers as usize).map(address).collect(),
            _ => {}
        }
    }
    if servers > 3 && random.one_in(6) {
        world.peer(3).backup = true;
    }
    world.slowness = [1, 50, 5_000][random.below(3) as usize];
    let rollout = world.rollout(&plan).ok()?;
    Some((world, plan, rollout))
}

/// Something from outside, at any time.
fn disturb(world: &mut World, rollout: &mut Rollout, random: &mut Random) {
    let event = match random.below(12) {
        0 | 1 => Event::Interrupt,
        2..=4 if world.store_lost => {
            world.store_lost = false;
            if random.one_in(2) {
                world.forget_drains();
            }
            Event::StoreBack
        }
        2..=4 => {
            world.store_lost = true;
            Event::StoreLost
        }
        5 => {
            world.unsure = true;
            Event::LockLost
        }
        6 => Event::Abort,
        7 | 8 => Event::Promote,
        9 => {
            let n = random.below(world.peers.len() as u64) as usize;
            let ill = &mut world.peer(n).ill;
            *ill = !*ill;
            return;
        }
        10 => Event::Active { server: address(0), active: 7 },
        _ => Event::Ran { id: random.below(200), result: Err("an answer that nobody waits for".to_owned()) },
    };
    // An answer with the id of a command that runs would be a lie of the world.
    if matches!(event, Event::Ran { .. }) {
        return;
    }
    world.unsure |= world.store_lost && matches!(event, Event::Interrupt);
    rollout.handle(event, Moment(world.now));
}

/// Runs with disturbances and kills until it ends, then resumes what can be resumed without any.
fn run_disturbed(seed: u64) {
    let Some((mut world, plan, mut rollout)) = scene(seed, any_faults) else { return };
    let mut random = Random(seed ^ 0x5eed);
    for _ in 0..600 {
        world.take(&mut rollout);
        if world.outcome.is_some() {
            break;
        }
        if random.one_in(30) {
            disturb(&mut world, &mut rollout, &mut random);
        } else if random.one_in(80) {
            world.kill();
            world.store_lost = false;
            rollout = match world.resume(&plan) {
                Ok(rollout) => rollout,
                Err(refusal) => {
                    assert!(world.saved.is_none() || refusal.to_string().contains("over"), "{refusal}");
                    return;
                }
            };
        } else if !world.step(&mut rollout) && world.store_lost {
            world.store_lost = false;
            rollout.handle(Event::StoreBack, Moment(world.now));
        }
    }
    if world.store_lost {
        world.store_lost = false;
        rollout.handle(Event::StoreBack, Moment(world.now));
    }
    let outcome = match world.outcome.clone() {
        Some(outcome) => outcome,
        None => world.run(&mut rollout),
    };
    if matches!(outcome, Outcome::Done | Outcome::RolledBack { .. }) {
        return;
    }
    // Everything is mended. The first try may still have to end what failed before, the next one brings it to a good end.
    world.kill();
    for peer in world.peers.values_mut() {
        peer.faults = Faults::default();
        peer.ill = false;
    }
    world.apply();
    let good = |outcome: &Outcome| matches!(outcome, Outcome::Done | Outcome::RolledBack { .. });
    let mut again = world.resume(&plan).expect("what did not succeed can go on");
    let mut last = world.run(&mut again);
    if !good(&last) {
        again = world.resume(&plan).expect("what did not succeed can go on");
        last = world.run(&mut again);
    }
    assert!(good(&last), "after {outcome:?}: {}", again.last_line());
    for (address, peer) in &world.peers {
        assert!(peer.ordered || !peer.down, "{address} was forgotten: {}", again.last_line());
        assert!(peer.ordered || world.serving(address), "{address} does not serve: {}", again.last_line());
    }
}

/// How a release ends: its kind, the states, and what is written in the store.
fn ending(world: &World, rollout: &Rollout, outcome: &Outcome) -> (u8, Vec<State>, Vec<(bool, u32, u8)>) {
    let peers = world.peers.values().map(|peer| (peer.down, peer.version, peer.percent)).collect();
    (outcome.exit_code(), states(rollout), peers)
}

/// Kills the process after so many commands, resumes, and ends as if nothing had been.
fn run_killed(seed: u64, after: usize, one_by_one: bool) {
    let Some((mut world, mut plan, _)) = scene(seed, steady_faults) else { return };
    if one_by_one {
        plan.batch.max_unavailable = Amount::Count(1);
    }
    let Ok(mut rollout) = world.rollout(&plan) else { return };
    let outcome = world.run(&mut rollout);
    // In a larger batch chance decides who fails first, and so whether the others are turned round.
    if !one_by_one && outcome != Outcome::Done {
        return;
    }
    let expected = ending(&world, &rollout, &outcome);

    let (mut world, _, _) = scene(seed, steady_faults).expect("the same scene");
    let mut rollout = world.rollout(&plan).expect("the same plan");
    world.take(&mut rollout);
    while world.given.len() < after && world.outcome.is_none() {
        world.step(&mut rollout);
    }
    if world.outcome.is_some() {
        return;
    }
    world.kill();
    let mut rollout = match world.resume(&plan) {
        Ok(rollout) => rollout,
        // The last document was written, only the end was not heard.
        Err(Refusal::Finished { .. }) => return,
        Err(refusal) => panic!("{refusal}"),
    };
    let retried = world.saved.as_ref().is_some_and(|saved| saved.outcome.is_some());
    let outcome = world.run(&mut rollout);
    if !retried {
        assert_eq!(
            ending(&world, &rollout, &outcome),
            expected,
            "killed after {after}: {}",
            rollout.last_line()
        );
    }
}

/// Seeds that once found something.
const REMEMBERED: [u64; 2] = [1_606_316_750_125_235_151, 4_234_044_733_890_586_001];

/// Other releases in every run; a failure names its seed. `PROPTEST_CASES` asks for more of them.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { 3_000 };
    ProptestConfig { cases, max_shrink_iters: 0, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_it_ends_in_a_defined_state(seed in any::<u64>()) {
        run_disturbed(seed);
    }

    #[test]
    fn a_release_that_was_killed_ends_as_if_nothing_had_been(seed in any::<u64>(), after in 1_usize..150, one in any::<bool>()) {
        run_killed(seed, after, one);
    }
}

#[test]
fn releases_that_once_ended_wrongly() {
    for seed in REMEMBERED {
        run_disturbed(seed);
    }
}

#[test]
fn a_kill_after_every_single_command() {
    for seed in [1, 2, 3, 5, 8, 13, 21, 34] {
        for after in 1..160 {
            run_killed(seed, after, true);
            run_killed(seed, after, false);
        }
    }
}
