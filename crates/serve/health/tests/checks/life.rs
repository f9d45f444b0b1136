//! Verdicts over time: first results, changes, reloads, many targets.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;

use weir_health::Target;
use weir_model::{Check, ListenAddress, Millis, Probe};

use crate::support::*;

const GET: &str = "GET / HTTP/1.0\r\n\r\n";

/// A server whose answers turn bad and good again.
fn switched() -> (ListenAddress, Arc<AtomicBool>) {
    let good = Arc::new(AtomicBool::new(true));
    let is_good = Arc::clone(&good);
    let address = respond(move |mut stream| {
        if read_request(&mut stream) {
            let status = if is_good.load(SeqCst) { "200 OK" } else { "500 No" };
            let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes());
        }
    });
    (address, good)
}

#[test]
fn rise_and_fall() {
    let checker = Checker::start();
    let (address, good) = switched();
    let target = target(Check { rise: 2, fall: 3, ..check(http(GET)) }, address.clone());
    let state = Arc::clone(&target.state);
    checker.health.watch(target);
    let report = checker.report();
    assert_eq!((report.passed, report.first, report.after), (true, true, 1));
    assert_eq!((report.key.name.as_str(), report.index, report.peer), ("app", 0, address.to_string()));
    good.store(false, SeqCst);
    let report = checker.report();
    assert_eq!((report.passed, report.first, report.after), (false, false, 3));
    assert_eq!(report.reason, "status 500");
    assert!(state.fall() >= 3 && state.rise() == 0);
    good.store(true, SeqCst);
    let report = checker.report();
    assert_eq!((report.passed, report.first, report.after), (true, false, 2));
}

#[test]
fn what_is_known_lives_through_a_reload() {
    let checker = Checker::start();
    let (address, good) = switched();
    let first = target(Check { fall: 4, ..check(http(GET)) }, address);
    checker.health.watch(first.clone());
    assert!(checker.report().first);
    // The same check: nothing is told again.
    checker.health.watch(Target { known: Some(true), ..first.clone() });
    // Another check of the same peer: still nothing, for what is known stays known.
    let changed = Arc::new(Check { fall: 2, ..check(http(GET)) });
    checker.health.watch(Target { known: Some(true), check: changed, ..first });
    good.store(false, SeqCst);
    let report = checker.report();
    assert_eq!((report.passed, report.first), (false, false));
    // Both configurations may have counted failures.
    assert!((2..=4).contains(&report.after), "{report:?}");
}

#[test]
fn nothing_comes_after_unwatch() {
    let checker = Checker::start();
    let (address, good) = switched();
    let gone = target(check(http(GET)), address.clone());
    checker.health.watch(gone.clone());
    assert!(checker.report().first);
    checker.health.unwatch(&gone.key, gone.index, &gone.peer);
    // Orders are kept in their order: the result of another target is a sign that this one was forgotten.
    let (other, _) = switched();
    checker.health.watch(target(check(http(GET)), other.clone()));
    assert_eq!(checker.report().peer, other.to_string());
    good.store(false, SeqCst);
    let fails = target(check(Probe::Tcp), nobody());
    checker.health.watch(fails.clone());
    assert_eq!(checker.report().peer, fails.peer);
    checker.health.stop();
}

#[test]
fn the_first_result_does_not_wait_for_the_interval() {
    let checker = Checker::start();
    let (address, _) = switched();
    checker.health.watch(target(Check { interval: Millis(3_600_000), ..check(http(GET)) }, address));
    assert!(checker.report().first);
}

#[test]
fn a_peer_that_is_up_by_default_is_told_up_until_enough_failures() {
    let checker = Checker::start();
    let check = Check { default_down: false, fall: 3, ..check(Probe::Tcp) };
    checker.health.watch(target(check, nobody()));
    let report = checker.report();
    assert_eq!((report.passed, report.first, report.after), (true, true, 1));
    assert_eq!(report.reason, "connect: connection refused (111)");
    let report = checker.report();
    assert_eq!((report.passed, report.first, report.after), (false, false, 3));
}

#[test]
fn many_first_results_at_once_are_bounded() {
    let checker = Checker::start();
    let open = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (sender, streams) = channel();
    let address = {
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        respond(move |stream| {
            most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            let _ = sender.send(stream);
        })
    };
    // Answers come only when nobody connects any more, so that the bound is reached.
    std::thread::spawn(move || {
        let mut held = Vec::new();
        loop {
            match streams.recv_timeout(std::time::Duration::from_millis(300)) {
                Ok(stream) => held.push(stream),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    for mut stream in held.drain(..) {
                        open.fetch_sub(1, SeqCst);
                        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    let slow = Check { interval: Millis(3_600_000), ..check(http(GET)) };
    for number in 0..1500 {
        let peer = format!("peer {number}");
        checker.health.watch(Target { peer, ..target(slow.clone(), address.clone()) });
    }
    for _ in 0..1500 {
        assert!(checker.report().passed);
    }
    let most = most.load(SeqCst);
    assert!((1..=512).contains(&most), "{most} connections at once");
}
