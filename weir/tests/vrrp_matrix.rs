//! The kill matrix, judged by what happened and not by how long it took: `weir lab --matrix` prints the times.

use std::path::Path;

use weir_lab::matrix::{Case, Cell, Pair, measure};

const MASTER: &str = "a";
const BACKUP: &str = "b";

/// Runs one event on a pair of Weirs, and on Weir with keepalived as its backup.
fn happens(case: Case) -> Vec<Cell> {
    let weir = Path::new(env!("CARGO_BIN_EXE_weir"));
    std::thread::scope(|scope| {
        let cells = [Pair::Weir, Pair::Mixed].map(|pair| scope.spawn(move || measure(case, pair, weir)));
        cells.map(|cell| cell.join().expect("no panic").expect("it can be measured")).into()
    })
}

/// The address went over to the backup, once, and the old master has it no more.
fn moved(case: Case) {
    for cell in happens(case) {
        assert_eq!(cell.account.holders, [BACKUP], "{cell:?}");
        assert_eq!(cell.account.moves, 1, "{cell:?}");
        assert!(cell.left_after.is_some() && cell.left_after <= cell.taken_after, "{cell:?}");
    }
}

/// The address stayed where it was, and nobody was refused.
fn stayed(case: Case) {
    for cell in happens(case) {
        assert_eq!(cell.account.holders, [MASTER], "{cell:?}");
        assert_eq!((cell.account.moves, cell.probe.refused), (0, 0), "{cell:?}");
    }
}

#[test]
fn an_orderly_end_moves_the_address() {
    moved(Case::Term);
}

#[test]
fn the_kernel_takes_the_address_back_when_everything_is_killed() {
    moved(Case::KillAll);
}

#[test]
fn a_killed_keeper_moves_the_address_once() {
    moved(Case::KillVrrp);
}

#[test]
fn a_killed_worker_moves_nothing_and_refuses_nobody() {
    stayed(Case::KillWorker);
}

#[test]
fn a_stalled_node_loses_its_address_and_is_never_doubled_for_long() {
    for cell in happens(Case::StopAndContinue) {
        assert!(!cell.account.doubled_at_end, "{cell:?}");
        assert!(cell.left_after <= cell.taken_after, "gone before the backup had it: {cell:?}");
    }
}

#[test]
fn a_broken_reload_changes_nothing() {
    stayed(Case::BrokenReload);
}

#[test]
fn differing_address_lists_never_split() {
    for cell in happens(Case::DifferingAddresses) {
        assert_eq!(cell.account.holders, [MASTER], "{cell:?}");
    }
}

#[test]
fn a_deleted_address_is_put_back() {
    stayed(Case::AddressDeleted);
}

#[test]
fn a_wedged_proxy_gives_the_address_away() {
    moved(Case::ProxyWedged);
}

#[test]
fn a_cut_cable_moves_the_address() {
    moved(Case::LinkDown);
    moved(Case::LinkDownFast);
}
