//! Canaries, hooks, warming, somebody else who replaces servers, and what is written down.

use serde_json::Value;

use crate::common::until;
use crate::load::Mix;
use crate::stage::{Stage, last, mix};

#[test]
fn a_canary_stands_at_its_share_until_it_is_promoted() {
    let stage = Stage::new(3);
    let load = stage.load(Mix { slow: 0, ..mix() });
    let mut release = stage.begin("2", &["--canary", "10%:manual"]);
    release.says("stands at 10% until: weir rollout promote web");
    until("its share", || (stage.peer(0)["percent"] == 10).then_some(()));
    assert_eq!(stage.attributes(0)["percent"], 10);
    let before = load.tally().by_version.clone();
    load.await_more(1500);
    let now = load.tally().by_version.clone();
    let came = |version: &str| now.get(version).unwrap_or(&0) - before.get(version).unwrap_or(&0);
    let share = came("2") as f64 / (came("1") + came("2")) as f64;
    assert!((0.02..0.09).contains(&share), "1 of 21 is expected, {share} came");
    let (code, told) = stage.told(&["promote"]);
    assert_eq!(code, 0, "{told}");
    let (code, log) = release.code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    assert_eq!(stage.attributes(0), serde_json::json!({ "weight": 1, "note": "kept", "down": 0 }));
    load.finish().assert_nothing_lost();
}

#[test]
fn hooks_run_in_their_order_and_know_where() {
    let stage = Stage::new(1);
    let all = "pre_plan pre_drain post_drain pre_stop post_stop pre_start post_start pre_check post_check \
               pre_undrain post_undrain post_plan";
    let told = stage.fleet.path().join("told");
    let line = format!(
        "echo $WEIR_STAGE $WEIR_UPSTREAM $WEIR_SERVER $WEIR_BATCH $WEIR_OLD_VERSION $WEIR_NEW_VERSION >> {}",
        told.display()
    );
    let mut words =
        vec!["--min-healthy".to_owned(), "0".to_owned(), "--old-version".to_owned(), "1".to_owned()];
    for stage in all.split_whitespace() {
        words.extend(["--hook".to_owned(), format!("{stage}={line}")]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, log) = stage.release("2", &words);
    assert_eq!(code, 0, "{log}");
    let address = &stage.fleet.addresses()[0];
    let expected = all.split_whitespace().fold(String::new(), |text, stage| match stage {
        "pre_plan" | "post_plan" => format!("{text}{stage} web 1 2\n"),
        _ => format!("{text}{stage} web {address} 1 1 2\n"),
    });
    assert_eq!(std::fs::read_to_string(told).expect("the hooks ran"), expected);
    let (code, log) = stage.release("3", &["--min-healthy", "0", "--hook", "pre_stop=echo not now; false"]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("pre_stop") && log.contains("| not now"), "{log}");
    assert_eq!(stage.states(), ["up"], "it was not stopped, so it serves on");
}

#[test]
fn somebody_else_replaces_the_servers() {
    let stage = Stage::new(2);
    let words = [
        "rollout",
        "web",
        "--plain",
        "--external",
        "--check",
        "/health",
        "--rise",
        "1",
        "--interval",
        "50ms",
    ];
    let words = words.map(str::to_owned).into_iter().chain(stage.place());
    let mut release = stage.spawn("release", words);
    for (port, address) in stage.fleet.ports.iter().zip(stage.fleet.addresses()) {
        release.says(&format!("{address}: STARTING"));
        stage.fleet.run("stop", &[&port.to_string()]);
        stage.fleet.run("start", &[&port.to_string(), "2"]);
        let (code, told) = stage.told(&["continue", "--server", &address]);
        assert_eq!(code, 0, "{told}");
    }
    let (code, log) = release.code();
    assert_eq!(code, 0, "{log}");
    assert_eq!(stage.fleet.versions(), ["2", "2"]);
}

#[test]
fn what_was_done_can_be_read() {
    let stage = Stage::new(2);
    let file = stage.fleet.path().join("rollout.toml");
    let plan = format!(
        "upstream = \"web\"\nproxies = [\"{}\"]\n[store]\nendpoints = [\"127.0.0.1:{}\"]\n\
         [driver.shell]\nstop = \"{}\"\nstart = \"{}\"\n\
         [gate]\ncheck = \"/health\"\nrise = 1\ninterval = \"50ms\"\n[warm]\nrequests = 3\n[version]\nold = \"1\"\nnew = \"2\"\n",
        stage.control(),
        stage.store,
        stage.fleet.command("stop", "{port}"),
        stage.fleet.command("start", "{port} $WEIR_NEW_VERSION"),
    );
    std::fs::write(&file, plan).expect("write");
    let file = file.display().to_string();
    let run = |words: &[&str]| {
        let mut all = vec!["rollout"];
        all.extend(words);
        all.extend(["--plan", &file]);
        stage.spawn("release", all.into_iter().map(str::to_owned)).code()
    };
    let (code, text) = run(&["--dry-run"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("release of web: 2 servers in 2 batches; 2 serve now"), "{text}");
    let (code, text) = run(&["--dry-run", "--json"]);
    let planned: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{code}: {error}: {text}"));
    assert_eq!(
        (code, &planned["min_healthy"], &planned["servers"][1]["batch"]),
        (0, &1.into(), &2.into()),
        "{text}"
    );
    assert_eq!(stage.fleet.versions(), ["1", "1"]);
    let (code, log) = run(&["--json"]);
    assert_eq!(code, 0, "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let end = lines.last().expect("a last line");
    assert_eq!(
        (&end["type"], &end["outcome"], &end["exit_code"]),
        (&"end".into(), &"done".into(), &0.into()),
        "{end}"
    );
    let (code, text) = run(&["history"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(" 1 -> 2  done"), "{text}");
    let (_, text) = run(&["show"]);
    assert!(text.contains("result:       done (exit code 0)"), "{text}");
    let (_, text) = run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&status["holder"], &status["progress"]["outcome"]),
        (&Value::Null, &"done".into()),
        "{status}"
    );
    let (code, text) = run(&["show", "--number", "2"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("there is no release 2; the history has 1"), "{text}");
}
