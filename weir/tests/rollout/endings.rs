//! How servers and their commands can fail, and what the last line says of it.

use weir_net::Signal;

use crate::common::{free_port, until};
use crate::load::instance::Instance;
use crate::stage::{Stage, last};

/// A release of the first server only, with some words given anew.
fn one(stage: &Stage, words: &[(&str, &str)]) -> (i32, String) {
    let mut all = stage.fleet.words("2");
    for (flag, value) in words {
        if let Some(at) = all.iter().position(|word| word == flag) {
            all.drain(at..at + 2);
        }
        all.extend([(*flag).to_owned(), (*value).to_owned()]);
    }
    let server = ["--server".to_owned(), stage.fleet.addresses()[0].clone()];
    stage.spawn("release", all.into_iter().chain(stage.place()).chain(server)).code()
}

#[test]
fn a_stop_command_that_fails() {
    let stage = Stage::new(2);
    let (code, log) = one(&stage, &[("--stop", "echo the disk is full; exit 7")]);
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("| the disk is full"), "{log}");
    assert!(last(&log).contains("exit status: 7") && last(&log).contains("FAILED (drained)"), "{log}");
    assert_eq!(stage.states(), ["draining", "up"]);
    let (_, status) = stage.told(&["status"]);
    assert!(status.contains("nobody releases now") && status.contains("stays drained"), "{status}");
    let (_, history) = stage.told(&["history"]);
    assert!(history.lines().count() == 1 && history.trim_end().ends_with("exit status: 7"), "{history}");
}

#[test]
fn a_command_that_hangs_is_ended() {
    let stage = Stage::new(2);
    let (code, log) = one(&stage, &[("--stop", "echo asked; sleep 1000"), ("--command-timeout", "300ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("did not end within 300ms") && log.contains("| asked"), "{log}");
    assert_eq!(stage.states(), ["draining", "up"]);
}

#[test]
fn a_port_that_another_process_holds() {
    let stage = Stage::new(2);
    // The old version goes on, and the new one cannot have its port.
    let (code, log) = one(&stage, &[("--stop", "true"), ("--deadline", "500ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("answered 200 with \"1\", expected X-Version: 2"), "{log}");
    assert_eq!(stage.states(), ["draining", "up"]);
    assert!(log.contains("warning: it was stopped, but its port still takes connections"), "{log}");
}

#[test]
fn a_check_that_redirects_or_answers_for_another_body() {
    let stage = Stage::new(2);
    let (code, log) = one(&stage, &[("--check", "/redirect"), ("--deadline", "300ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("which is not followed), expected 200-299"), "{log}");
    let (code, log) = one(&stage, &[("--expect-body", "ready to serve"), ("--deadline", "300ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("without \"ready to serve\" in the body"), "{log}");
    let port = free_port().to_string();
    let (code, log) = one(&stage, &[("--check-port", &port), ("--deadline", "300ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("refused"), "{log}");
    // With what is right it is taken in again.
    let (code, log) = one(&stage, &[]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.states(), ["up", "up"]);
}

#[test]
fn requests_that_do_not_end_put_the_server_back_or_do_not_stop_the_release() {
    let stage = Stage::new(2);
    let port = stage.server.site.port;
    let mut clients: Vec<_> = (0..2).map(|_| crate::support::websocket::open(port)).collect();
    until("both have one", || stage.peers().iter().all(|peer| peer["active"] == 1).then_some(()));
    let (code, log) = one(&stage, &[("--drain-timeout", "300ms")]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("1 request still ran after 300ms of draining"), "{log}");
    assert_eq!(stage.states(), ["up", "up"], "it was not stopped, so it serves on");
    assert_eq!(stage.fleet.versions(), ["1", "1"]);
    let force = [("--drain-timeout", "300ms"), ("--on-drain-timeout", "force")];
    let (code, log) = one(&stage, &force);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("it is stopped all the same"), "{log}");
    assert_eq!(stage.fleet.versions(), ["2", "1"]);
    clients.clear();
}

#[test]
fn two_releases_at_once() {
    let stage = Stage::new(3);
    let mut words = stage.fleet.words("2");
    let at = words.iter().position(|word| word == "--start").expect("it is there");
    words[at + 1] = format!(
        "while [ -d {0} ] && ! [ -e {0}/go ]; do sleep 0.02; done; {1}",
        stage.fleet.path().display(),
        words[at + 1]
    );
    let mut first: Instance = stage.spawn("first", words.into_iter().chain(stage.place()));
    first.says("STARTING");
    let (code, log) = stage.release("3", &[]);
    assert_eq!(code, 3, "{log}");
    assert!(
        log.contains("version 2) releases this upstream now; wait, or look with weir rollout status"),
        "{log}"
    );
    let (_, status) = stage.told(&["status"]);
    assert!(status.contains("version 2) releases, for") && status.contains("STARTING"), "{status}");
    let dry = stage.release("3", &["--dry-run"]);
    assert_eq!(dry.0, 0, "{}", dry.1);
    assert!(dry.1.contains("so this one would be refused"), "{}", dry.1);
    std::fs::write(stage.fleet.path().join("go"), "").expect("write");
    let (code, log) = first.code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
}

#[test]
fn a_lock_that_is_broken_stops_its_release() {
    let stage = Stage::new(3);
    let mut words = stage.fleet.words("2");
    let at = words.iter().position(|word| word == "--start").expect("it is there");
    words[at + 1] = "sleep 1000".to_owned();
    let mut first: Instance = stage.spawn("first", words.into_iter().chain(stage.place()));
    first.says("STARTING");
    let (code, told) = stage.told(&["break-lock"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("is broken"), "{told}");
    first.says("the lock is lost: broken by ");
    first.signal(Signal::Int);
    first.signal(Signal::Int);
    let log = first.log();
    assert!(log.contains("the lock is lost"), "{log}");
    first.signal(Signal::Kill);
    first.wait();
    let (code, told) = stage.told(&["break-lock"]);
    assert_eq!((code, told.as_str()), (0, "there was no lock\n"));
}
