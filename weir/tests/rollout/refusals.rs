//! What is not begun: exit code 3, a reason, and nothing changed.

use crate::common::{free_port, text, weir};
use crate::stage::Stage;

#[test]
fn what_cannot_be_carried_out_is_refused_with_a_reason() {
    let stage = Stage::new(3);
    let server = stage.fleet.addresses();
    let cases: &[(&[&str], &str)] = &[
        (&["--server", "127.0.0.1:9"], "server 127.0.0.1:9 is not in upstream web; did you mean 127.0.0.1:"),
        (&["--server", &server[0], "--server", &server[0]], "stands twice in the plan, expected once"),
        (&["--min-healthy", "3"], "would leave 2 servers serving, the minimum is 3; make batches smaller"),
        (&["--max-unavailable", "4"], "batch.max_unavailable is 4, but only 3 servers are released"),
        (&["--max-unavailable", "0"], "batch.max_unavailable is 0; expected at least 1"),
        (&["--rise-twice", "3"], "unexpected argument '--rise-twice' found"),
        (&["--drain-timeout", "soon"], "\"soon\" is no time; expected one like 500ms, 30s"),
        (&["--hook", "pre_stopp=x"], "\"pre_stopp\" is no stage; expected one of pre_plan"),
        (
            &["--on-failure", "rollback"],
            "on_failure is \"rollback\", but the shell driver has no rollback command",
        ),
        (&["--surge", &server[0]], "serves already; expected one that stands by drained"),
        (&["--prefix", "upstreams/wbe"], "has no key upstreams/wbe/127.0.0.1:"),
        (&["--ssh", "no one@{host}"], "no one"),
    ];
    for (words, expected) in cases {
        let (code, log) = stage.release("2", words);
        assert_eq!(code, 3, "{words:?}: {log}");
        assert!(log.contains(expected), "{words:?}: {log}");
    }
    assert_eq!(stage.states(), ["up"; 3]);
    assert_eq!(stage.fleet.versions(), ["1"; 3]);
    assert_eq!(stage.attributes(0)["down"], serde_json::Value::Null, "nothing was written");
    let (_, history) = stage.told(&["history"]);
    assert_eq!(history, "no release ended yet\n");
}

#[test]
fn an_upstream_that_is_not_there() {
    let stage = Stage::new(1);
    let mut words = stage.fleet.words("2");
    words[1] = "wbe".to_owned();
    let (code, log) = stage.spawn("release", words.into_iter().chain(stage.place())).code();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("there is no upstream wbe; there are: web"), "{log}");
}

#[test]
fn places_where_nobody_answers() {
    let stage = Stage::new(1);
    let dead = format!("127.0.0.1:{}", free_port());
    let rollout = |words: &[&str]| {
        let output = weir().arg("rollout").args(words).output().expect("it runs");
        (output.status.code(), text(&output.stderr))
    };
    let (code, told) =
        rollout(&["web", "--start", "true", "--store-address", &dead, "--proxy", &stage.control()]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains(&format!("the store at {dead}: ")) && told.contains("--store-address"), "{told}");
    let missing = format!("unix:{}", stage.fleet.path().join("nobody.sock").display());
    let store = format!("127.0.0.1:{}", stage.store);
    let (code, told) = rollout(&["web", "--start", "true", "--store-address", &store, "--proxy", &missing]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("cannot be reached") && told.contains("take it out of --proxy"), "{told}");
    let (code, told) = rollout(&["status", "web", "--store-address", &dead]);
    assert_eq!(code, Some(3), "{told}");
    let (code, told) = rollout(&["web", "--store-address", &store]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("nothing is said of what is done at a server of web"), "{told}");
    let (code, told) = rollout(&["--start", "true"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("no upstream is named"), "{told}");
    let (code, told) = rollout(&["promote", "web", "--store-address", &store]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("no release of web runs"), "{told}");
    let (code, told) = rollout(&["resume", "web", "--store-address", &store]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("there was no release of web yet"), "{told}");
}

#[test]
fn a_plan_that_is_wrong_is_shown_with_its_line() {
    let stage = Stage::new(1);
    let file = stage.fleet.path().join("rollout.toml");
    std::fs::write(&file, "upstream = \"web\"\n[batch]\nmax_unavailble = 2\n").expect("write");
    let file = file.display().to_string();
    let (code, log) = stage.release("2", &["--plan", &file]);
    assert_eq!(code, 3, "{log}");
    let expected =
        "rollout.toml: line 3, column 1: unknown key \"max_unavailble\"; nearest is \"max_unavailable\"";
    assert!(log.contains(expected), "{log}");
    let (code, log) = stage.release("2", &["--plan", "/nowhere/rollout.toml"]);
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("/nowhere/rollout.toml: No such file"), "{log}");
}
