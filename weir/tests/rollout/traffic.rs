//! Releases under traffic: what clients see of them is nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_net::Signal;

use crate::common::until;
use crate::load::{Mix, Tally};
use crate::stage::{PREFIX, Registry, Stage, last, mix};

const TWO: [&str; 2] = ["--max-unavailable", "2"];

/// The full measure: 2,000 requests a second, six servers, two at a time, POST bodies, slow answers, and WebSockets that nobody
/// ends before the time of the drain is over.
#[test]
fn six_servers_in_batches_of_two_lose_nothing() {
    const DRAIN: Duration = Duration::from_secs(2);
    let stage = Stage::new(6);
    let load = stage.load(Mix { requests_per_second: 2000, connections: 48, websockets: 24, ..mix() });
    let (instant, wall) = (Instant::now(), SystemTime::now());
    let words = ["--json", "--drain-timeout", "2s", "--on-drain-timeout", "force"];
    let mut all = stage.fleet.words("2");
    all.retain(|word| word != "--plain");
    let place = stage.place();
    let words = all.into_iter().chain(place).chain(TWO.iter().chain(&words).map(|word| (*word).to_owned()));
    let (code, log) = stage.spawn("release", words).code();
    load.await_more(2000);
    let tally = load.finish();
    println!(
        "{} requests, {} slow, {} websockets, 99 % within {} ms",
        tally.requests, tally.slow, tally.websockets_opened, tally.p99_ms
    );
    assert_eq!(code, 0, "{log}");
    tally.assert_nothing_lost();
    assert_eq!(stage.fleet.versions(), ["2"; 6]);
    assert!(tally.by_version.keys().eq(["1", "2"].iter()), "{:?}", tally.by_version);
    assert!(tally.slow > 0 && tally.websockets_closed.len() >= 24, "{tally:?}");
    let began = drains(&log);
    assert_eq!(began.len(), 6, "{log}");
    for end in &tally.websockets_closed {
        let told = began.iter().find(|(server, _)| server.ends_with(&end.server)).expect("of a server");
        let told = UNIX_EPOCH + Duration::from_millis(told.1);
        let ended = wall + end.ended.duration_since(instant);
        let lived = ended.duration_since(told).expect("it was closed after the drain began");
        assert!(lived >= DRAIN, "it was closed {lived:?} after the drain of {} began", end.server);
    }
    assert_eq!(stage.attributes(0)["note"], "kept", "what others wrote there stays");
}

/// When each server began to drain, of lines in JSON.
fn drains(log: &str) -> Vec<(String, u64)> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut found: Vec<(String, u64)> = Vec::new();
    for line in lines.filter(|line| line["type"] == "state" && line["state"] == "DRAINING") {
        let server = line["server"].as_str().expect("a server").to_owned();
        if !found.iter().any(|(known, _)| *known == server) {
            found.push((server, line["at"].as_u64().expect("a moment")));
        }
    }
    found
}

#[test]
fn a_version_that_never_becomes_healthy_stops_at_the_first_batch_and_nothing_is_lost() {
    let stage = Stage::new(6);
    let load = stage.load(mix());
    let start = stage.fleet.command("start", "{port} $WEIR_NEW_VERSION --never-ready");
    let words = ["--start", &start, "--deadline", "1s"];
    let (code, log) = release_with(&stage, "2", &words);
    let tally = load.finish();
    assert_eq!(code, 2, "{log}");
    tally.assert_nothing_lost();
    assert_eq!(stage.states(), ["draining", "draining", "up", "up", "up", "up"], "{log}");
    assert!(tally.by_version.keys().eq(["1"].iter()), "{:?}", tally.by_version);
    let line = last(&log);
    assert!(line.contains("it was not healthy within 1s: answered 503, expected 200-299"), "{line}");
    assert!(line.contains("FAILED (drained)") && line.contains("READY"), "{line}");
    // What it was begun with reaches it again.
    let place = format!("web --store-address 127.0.0.1:{} --proxy {}", stage.store, stage.control());
    assert!(line.contains(&format!("go on: weir rollout resume {place} | ")), "{line}");
    assert!(line.ends_with(&format!("give up: weir rollout abort {place}")), "{line}");
    // The next version takes in what this one left.
    let (code, log) = stage.release("3", &TWO);
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["3"; 6]);
    assert_eq!(stage.states(), ["up"; 6]);
}

#[test]
fn a_version_that_crashes_after_three_seconds_is_caught_by_the_watch_window() {
    let stage = Stage::new(6);
    let load = stage.load(mix());
    let start = stage.fleet.command("start", "{port} $WEIR_NEW_VERSION --crash-after 3000");
    let back =
        format!("{}; {}", stage.fleet.command("stop", "{port}"), stage.fleet.command("start", "{port} 1"));
    let words = [
        "--start",
        &start,
        "--watch",
        "20s",
        "--rollback",
        &back,
        "--on-failure",
        "rollback",
        "--old-version",
        "1",
    ];
    let (code, log) = release_with(&stage, "2", &words);
    let tally = load.finish();
    assert_eq!(code, 1, "{log}");
    assert!(last(&log).contains("rolled back: "), "{log}");
    assert_eq!(stage.fleet.versions(), ["1"; 6]);
    stage.until_all_serve();
    lost_only_with_the_crash(&tally);
}

/// A server that dies takes with it what it had begun to answer; what can be asked again is.
fn lost_only_with_the_crash(tally: &Tally) {
    let begun = |text: &&String| text.contains("POST /") || text.contains("/slow");
    let others: Vec<&String> = tally.failed.iter().filter(|text| !begun(text)).collect();
    assert!(others.is_empty(), "{others:#?}");
    // Two servers died, each with at most the requests of its connections.
    assert!(tally.failures <= 2 * 28, "{} of {}: {:#?}", tally.failures, tally.requests, tally.failed);
}

#[test]
fn a_registry_that_dies_in_the_middle_is_waited_for_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut registry = Registry::start(folder.path());
    let source = format!("127.0.0.1:{}/v1/kv/{PREFIX}/ upsync_type=consul", registry.port);
    let stage = Stage::with(6, registry.port, "", &source);
    let load = stage.load(mix());
    let mut release = stage.begin("2", &TWO);
    release.says("STARTING");
    registry.kill();
    release.says("the store does not answer: the release waits for it");
    load.await_more(500);
    registry.again();
    let (code, log) = release.code();
    let tally = load.finish();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("the store answers again"), "{log}");
    tally.assert_nothing_lost();
    assert_eq!(stage.fleet.versions(), ["2"; 6]);
}

#[test]
fn a_release_that_is_killed_and_resumed_loses_nothing() {
    let stage = Stage::new(6);
    let load = stage.load(mix());
    for (version, moment) in [("2", "DRAINING"), ("3", "STARTING"), ("4", "CHECKING")] {
        let mut release = stage.begin(version, &TWO);
        release.says(moment);
        release.signal(Signal::Kill);
        release.wait();
        let refused = stage.release("9", &[]);
        assert_eq!(refused.0, 3, "{}", refused.1);
        // Where nobody does it the lock ends by itself, after a while.
        if version != "4" {
            let (code, told) = stage.told(&["break-lock"]);
            assert_eq!(code, 0, "{told}");
        }
        let (code, log) = stage.told(&["resume"]);
        assert_eq!(code, 0, "{log}");
        assert_eq!(stage.fleet.versions(), [version; 6], "{log}");
    }
    let tally = load.finish();
    tally.assert_nothing_lost();
    until("all serve", || (stage.states() == ["up"; 6]).then_some(()));
}

/// The usual words, two at a time, with some of them given anew.
fn release_with(stage: &Stage, version: &str, words: &[&str]) -> (i32, String) {
    let mut all = stage.fleet.words(version);
    for pair in words.chunks(2) {
        if let Some(at) = all.iter().position(|word| word == pair[0]) {
            all.drain(at..at + 2);
        }
    }
    let more = TWO.iter().chain(words).map(|word| (*word).to_owned());
    stage.spawn(&format!("release-{version}"), all.into_iter().chain(stage.place()).chain(more)).code()
}
