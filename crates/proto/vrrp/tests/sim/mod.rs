//! Real nodes on a modelled network, with a modelled kernel and virtual time.

pub(crate) mod chaos;
pub(crate) mod check;
pub(crate) mod host;
pub(crate) mod rng;
pub(crate) mod scene;
pub(crate) mod strict;
pub(crate) mod world;

use check::Violation;
use rng::Rng;
use scene::{Mutation, Scene};
use world::World;

/// One seeded run: trouble, then peace, then exactly one master.
pub(crate) fn run(seed: u64, mutation: Mutation) -> Result<(), Violation> {
    simulate(seed, mutation, false).1
}

/// The same with what happened.
pub(crate) fn trace(seed: u64, mutation: Mutation) -> Vec<String> {
    simulate(seed, mutation, true).0
}

fn simulate(seed: u64, mutation: Mutation, trace: bool) -> (Vec<String>, Result<(), Violation>) {
    let mut rng = Rng::new(seed);
    let scene = Scene::new(&mut rng, mutation);
    let mut world = World::new(scene, rng, trace);
    world.note_scene();
    let result = chaos::trouble(&mut world).and_then(|()| chaos::peace(&mut world));
    (world.trace.unwrap_or_default(), result)
}
