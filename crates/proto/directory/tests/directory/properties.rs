//! Whatever comes in whatever order.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use weir_balance::{Bars, PeerState};
use weir_directory::{AdminState, Change, Memory, Order};
use weir_model::{Peer, Upstream};

use crate::support::{Rig, check, key, list, name, order, peer, source, upstream};

#[derive(Debug, Clone)]
enum Step {
    List { source: usize, peers: Vec<(u16, u32, bool)> },
    Check { n: u16, passed: bool },
    Order { n: u16, state: Option<AdminState>, weight: Option<u32>, expires: Option<u64>, force: bool },
    Forget(u16),
    Reload(usize),
    Serve,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let n = 0..6_u16;
    let listed = prop::collection::vec((0..6_u16, 0..4_u32, any::<bool>()), 0..6);
    let state = prop::sample::select(vec![
        None,
        Some(AdminState::Up),
        Some(AdminState::Drain),
        Some(AdminState::Maintenance),
    ]);
    prop_oneof![
        4 => (0..2_usize, listed).prop_map(|(source, peers)| Step::List { source, peers }),
        3 => (n.clone(), any::<bool>()).prop_map(|(n, passed)| Step::Check { n, passed }),
        3 => (n.clone(), state, prop::option::of(0..3_u32), prop::option::of(0..1000_u64), any::<bool>())
            .prop_map(|(n, state, weight, expires, force)| Step::Order { n, state, weight, expires, force }),
        1 => n.prop_map(Step::Forget),
        1 => (0..4_usize).prop_map(Step::Reload),
        3 => Just(Step::Serve),
        2 => (1..600_u64).prop_map(Step::Pass),
    ]
}

fn configuration(n: usize) -> Vec<Upstream> {
    let mut web = upstream("web", vec![peer(0), Peer { down: true, ..peer(1) }, peer(2)]);
    web.sources = vec![source("web", n == 1), source("more", false)];
    web.checks = if n == 2 { Vec::new() } else { vec![check(true)] };
    if n == 3 {
        web.peers = vec![peer(3), peer(3)];
        web.sources.swap(0, 1);
    }
    vec![web]
}

fn apply(rig: &mut Rig, step: &Step) {
    match step {
        Step::List { source, peers } => {
            let mut seen = Vec::new();
            let once = peers.iter().filter(|(n, ..)| {
                let new = !seen.contains(n);
                seen.push(*n);
                new
            });
            let peers = once.map(|(n, weight, backup)| Peer { weight: *weight, backup: *backup, ..peer(*n) });
            rig.list("web", *source, list(rig.now.mono, peers.collect()));
        }
        Step::Check { n, passed } => rig.check("web", *n, *passed, "seen"),
        Step::Order { n, state, weight, expires, force } => {
            let wish = Order::Set { state: *state, weight: *weight, percent: None };
            let change = order(*n, AdminState::Up);
            let _ = rig.set(Change { order: wish, expires_ms: *expires, force: *force, ..change });
        }
        Step::Forget(n) => {
            let _ = rig.set(Change { order: Order::Forget, ..order(*n, AdminState::Up) });
        }
        Step::Reload(n) => {
            rig.configure(&configuration(*n));
        }
        Step::Serve => rig.serve(),
        Step::Pass(ms) => {
            rig.pass(*ms);
            if rig.directory.poll_timeout().is_some_and(|due| due <= rig.now.mono) {
                rig.directory.handle_timeout(rig.now);
                rig.run();
                assert!(rig.directory.poll_timeout().is_none_or(|due| due > rig.now.mono));
            }
        }
    }
}

/// Every state that was ever published.
type Seen = Vec<Arc<PeerState>>;

fn note_all(rig: &Rig, seen: &mut Seen) {
    for (_, state) in &rig.groups[&key("web")] {
        if !seen.iter().any(|known| Arc::ptr_eq(known, state)) {
            seen.push(Arc::clone(state));
        }
    }
}

fn invariants(rig: &Rig, seen: &Seen, all_served: bool) {
    let members = &rig.groups[&key("web")];
    let status = rig.status("web");
    assert_eq!(status.peers.len(), members.len(), "what is published is what is shown");
    let mut states: Vec<*const PeerState> = members.iter().map(|(_, state)| Arc::as_ptr(state)).collect();
    states.sort_unstable();
    states.dedup();
    assert_eq!(states.len(), members.len(), "one state for each member");
    for (shown, (spec, state)) in status.peers.iter().zip(members) {
        assert_eq!((&shown.address, shown.weight), (&spec.name, spec.weight));
        assert!(spec.weight >= 1);
        assert!(!state.bars().has(Bars::REMOVED), "{} is a member", spec.name);
        let barred = state.bars().any() || spec.down || spec.drain;
        assert_eq!(shown.state.serves(), !barred, "{}: {} with {:?}", spec.name, shown.state, state.bars());
    }
    if all_served {
        for state in seen {
            let member = members.iter().any(|(_, known)| Arc::ptr_eq(known, state));
            assert_eq!(member, !state.bars().has(Bars::REMOVED), "removed if and only if no member");
        }
    }
    let checks = if rig.watched.is_empty() { 0 } else { 1 };
    let names: HashMap<&str, ()> = members.iter().map(|(spec, _)| (spec.name.as_str(), ())).collect();
    assert_eq!(rig.watched.len(), names.len() * checks, "every address is checked once");
    assert_eq!(rig.remembered, rig.directory.memory(), "whatever changes the memory says so");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn invariants_hold_after_every_step(steps in prop::collection::vec(step(), 1..40)) {
        let mut rig = Rig::of(&configuration(0));
        let mut seen = Seen::new();
        note_all(&rig, &mut seen);
        for step in &steps {
            apply(&mut rig, step);
            note_all(&rig, &mut seen);
            invariants(&rig, &seen, matches!(step, Step::Serve));
        }
    }

    #[test]
    fn the_same_again_is_no_news(steps in prop::collection::vec(step(), 1..30), peers in prop::collection::vec(0..6_u16, 0..6)) {
        let mut rig = Rig::of(&configuration(0));
        steps.iter().for_each(|step| apply(&mut rig, step));
        let mut peers: Vec<u16> = peers;
        peers.sort_unstable();
        peers.dedup();
        let same = || list(5, peers.iter().map(|n| peer(*n)).collect());
        rig.list("web", 0, same());
        rig.serve();
        let (published, moved, shown) = (rig.publications, rig.transitions.len(), rig.status("web"));
        rig.list("web", 0, same());
        prop_assert_eq!((rig.publications, rig.transitions.len()), (published, moved));
        prop_assert_eq!(rig.status("web"), shown);
    }

    #[test]
    fn a_reload_of_the_same_file_changes_nothing(steps in prop::collection::vec(step(), 1..30), n in 0..4_usize) {
        let mut rig = Rig::of(&configuration(n));
        for step in steps.iter().filter(|step| !matches!(step, Step::Reload(_))) {
            apply(&mut rig, step);
        }
        rig.serve();
        let (before, watched, shown) = (rig.groups.clone(), rig.watched.clone(), rig.status("web"));
        let (moved, remembered) = (rig.transitions.len(), rig.remembered.clone());
        rig.configure(&configuration(n));
        let after = &rig.groups[&key("web")];
        prop_assert_eq!(after.len(), before[&key("web")].len());
        for ((spec, state), (known, kept)) in after.iter().zip(&before[&key("web")]) {
            prop_assert_eq!(spec, known);
            prop_assert!(Arc::ptr_eq(state, kept));
        }
        prop_assert_eq!(&rig.watched, &watched);
        prop_assert_eq!((rig.transitions.len(), &rig.remembered), (moved, &remembered));
        prop_assert_eq!(rig.status("web").peers, shown.peers);
    }

    #[test]
    fn the_memory_comes_back_as_it_was(steps in prop::collection::vec(step(), 1..30)) {
        let mut rig = Rig::of(&configuration(0));
        for step in steps.iter().filter(|step| !matches!(step, Step::List { .. } | Step::Reload(_))) {
            apply(&mut rig, step);
        }
        let text = serde_json::to_string(&rig.directory.memory()).expect("a document");
        let memory: Memory = serde_json::from_str(&text).expect("its own document");
        prop_assert_eq!(&memory, &rig.directory.memory());
        let mut again = Rig::new(memory.clone());
        again.now = rig.now;
        again.configure(&configuration(0));
        prop_assert_eq!(again.directory.memory(), memory);
        for n in 0..3 {
            let bars = |rig: &Rig| rig.bars("web", n).without(Bars::CHECK);
            prop_assert_eq!(bars(&again), bars(&rig), "{}", name(n));
            prop_assert_eq!(again.peer(n).weight, rig.peer(n).weight);
        }
    }
}
