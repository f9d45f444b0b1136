//! Ctrl-C at every stage: each ends in a state that the last line names, and from which the release goes on.

use weir_net::Signal;

use crate::common::until;
use crate::load::instance::Instance;
use crate::stage::{Stage, last};

/// A stage, how a release is held there, and what lets it go.
struct Hold {
    shown: &'static str,
    words: Vec<String>,
}

/// Three servers, one after the other, held in the first one.
fn holds(stage: &Stage) -> Vec<Hold> {
    let wait =
        format!("while [ -d {0} ] && ! [ -e {0}/go ]; do sleep 0.02; done", stage.fleet.path().display());
    let hook = |name: &str| vec!["--hook".to_owned(), format!("{name}={wait}")];
    vec![
        Hold { shown: "DRAINED", words: hook("post_drain") },
        Hold { shown: "STOPPED", words: hook("pre_start") },
        Hold { shown: "STARTING", words: hook("post_start") },
        Hold { shown: "CHECKING", words: hook("post_check") },
        Hold { shown: "WARMING", words: hook("pre_undrain") },
        Hold { shown: "WATCHING", words: hook("post_undrain") },
    ]
}

fn begin(stage: &Stage, version: &str, hold: &Hold) -> Instance {
    let _ = std::fs::remove_file(stage.fleet.path().join("go"));
    let words: Vec<&str> = hold.words.iter().map(String::as_str).collect();
    let mut release = stage.begin(version, &words);
    let first = stage.fleet.addresses()[0].clone();
    release.says(&format!("{first}: {}", hold.shown));
    release
}

fn go(stage: &Stage) {
    std::fs::write(stage.fleet.path().join("go"), "").expect("write");
}

#[test]
fn one_finishes_the_batch_and_resume_goes_on() {
    let stage = Stage::new(3);
    for (n, hold) in holds(&stage).iter().enumerate() {
        let version = (n + 2).to_string();
        let mut release = begin(&stage, &version, hold);
        release.signal(if n % 2 == 0 { Signal::Int } else { Signal::Term });
        release.says("the batch is finished, then the release stops");
        go(&stage);
        let (code, log) = release.code();
        assert_eq!(code, 4, "{}: {log}", hold.shown);
        assert!(last(&log).contains("interrupted | "), "{log}");
        let next = "go on: weir rollout resume web --store-address 127.0.0.1:";
        assert!(last(&log).contains(next), "{log}");
        assert_eq!(stage.states(), ["up"; 3], "{}: {log}", hold.shown);
        let (code, log) = stage.told(&["resume"]);
        assert_eq!(code, 0, "{}: {log}", hold.shown);
        assert_eq!(stage.fleet.versions(), [version.as_str(); 3], "{}: {log}", hold.shown);
    }
}

#[test]
fn two_stop_it_at_once_and_resume_goes_on() {
    let stage = Stage::new(3);
    for (n, hold) in holds(&stage).iter().enumerate() {
        let version = (n + 2).to_string();
        let mut release = begin(&stage, &version, hold);
        release.signal(Signal::Int);
        release.says("once more stops it now");
        release.signal(Signal::Int);
        release.says("the release stops now");
        go(&stage);
        let (code, log) = release.code();
        assert_eq!(code, 4, "{}: {log}", hold.shown);
        let states = stage.states();
        assert_eq!(states[1..], ["up", "up"], "{}: {log}", hold.shown);
        let named = last(&log).contains(&format!("{} ", stage.fleet.addresses()[0]));
        assert!(
            named && (states[0] == "up") != last(&log).contains("(drained)"),
            "{}: {states:?} {log}",
            hold.shown
        );
        let (code, log) = stage.told(&["resume"]);
        assert_eq!(code, 0, "{}: {log}", hold.shown);
        assert_eq!(stage.fleet.versions(), [version.as_str(); 3], "{}: {log}", hold.shown);
        assert_eq!(stage.states(), ["up"; 3]);
    }
}

#[test]
fn before_anything_is_changed_it_ends_at_once() {
    let stage = Stage::new(2);
    // Nobody accepts there, so the release waits for its proxy.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = silent.local_addr().expect("bound").to_string();
    let mut words = stage.fleet.words("2");
    words.extend([
        "--store-address".to_owned(),
        format!("127.0.0.1:{}", stage.store),
        "--proxy".to_owned(),
        proxy,
    ]);
    let mut release = stage.spawn("release", words);
    let (_connection, _) = silent.accept().expect("the release asks");
    release.signal(Signal::Int);
    let (code, log) = release.code();
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("SIGINT: nothing was changed"), "{log}");
    assert_eq!(stage.states(), ["up"; 2]);
}

#[test]
fn one_that_was_killed_can_be_given_up() {
    let stage = Stage::new(3);
    let hold = Hold {
        shown: "STARTING",
        words: vec![
            "--hook".to_owned(),
            format!(
                "post_start=while [ -d {0} ] && ! [ -e {0}/go ]; do sleep 0.02; done",
                stage.fleet.path().display()
            ),
        ],
    };
    let mut release = begin(&stage, "2", &hold);
    release.signal(Signal::Kill);
    release.wait();
    go(&stage);
    let (_, status) = stage.told(&["break-lock"]);
    assert!(status.contains("is broken"), "{status}");
    let (_, status) = stage.told(&["status"]);
    assert!(status.contains("was interrupted without a word: weir rollout resume web"), "{status}");
    let (code, log) = stage.told(&["abort", "--plain"]);
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("an operator gave the release up"), "{log}");
    until("all serve", || (stage.states() == ["up"; 3]).then_some(()));
    assert_eq!(stage.fleet.versions(), ["2", "1", "1"], "{log}");
}

#[test]
fn one_that_runs_can_be_given_up_from_another_terminal() {
    let stage = Stage::new(3);
    let holds = holds(&stage);
    let hold = holds.iter().find(|hold| hold.shown == "CHECKING").expect("it is there");
    let mut release = begin(&stage, "2", hold);
    let (code, told) = stage.told(&["abort"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("was told"), "{told}");
    go(&stage);
    let (code, log) = release.code();
    assert_eq!(code, 2, "{log}");
    assert!(last(&log).contains("an operator gave the release up"), "{log}");
    assert_eq!(stage.fleet.versions(), ["2", "1", "1"]);
    assert_eq!(stage.states(), ["up"; 3]);
}

/// A command was wrong: it is set right in the plan's file, or by a flag.
#[test]
fn a_release_goes_on_with_words_set_right() {
    let stage = Stage::new(3);
    let file = stage.fleet.path().join("rollout.toml");
    let write = |stop: &str, more: &str| {
        let start = stage.fleet.command("start", "{port} $WEIR_NEW_VERSION");
        let driver = format!("[driver.shell]\nstop = '{stop}'\nstart = '{start}'\n");
        let gate = "[gate]\ncheck = \"/health\"\nrise = 1\ninterval = \"50ms\"\n";
        std::fs::write(&file, format!("upstream = \"web\"\n{more}{driver}{gate}")).expect("write");
    };
    let plan = file.display().to_string();
    let right = stage.fleet.command("stop", "{port}");
    write("exit 7", "");
    let begin = ["rollout", "--plain", "--plan", &plan, "--new-version", "2"].map(str::to_owned);
    let (code, log) = stage.spawn("release", begin.into_iter().chain(stage.place())).code();
    assert_eq!((code, last(&log).contains("exit status: 7")), (2, true), "{log}");
    // The file alone changes nothing: what was begun may have been begun with flags.
    write(&right, "");
    let (code, log) = stage.told(&["resume", "--plan", &plan]);
    assert_eq!((code, log.contains("exit status: 7")), (2, true), "{log}");
    assert!(log.contains("what the file says now counts with --replan"), "{log}");
    // Another version is another release.
    for words in [&["--new-version", "3"][..], &["--max-unavailable", "2"]] {
        let (code, log) = stage.told(&[&["resume"], words].concat());
        assert_eq!((code, log.contains("a release that was begun keeps its ")), (3, true), "{log}");
    }
    write(&right, "batch = { max_unavailable = 2 }\n");
    let (code, log) = stage.told(&["resume", "--plan", &plan, "--replan"]);
    assert_eq!((code, log.contains("keeps its batch.max_unavailable")), (3, true), "{log}");
    assert_eq!(stage.fleet.versions(), ["1"; 3]);
    write(&right, "");
    let (code, log) = stage.told(&["resume", "--plan", &plan, "--replan"]);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("goes on with driver of the plan's file"), "{log}");
    assert_eq!(stage.fleet.versions(), ["2"; 3]);
    let (code, log) =
        stage.release("3", &["--server", &stage.fleet.addresses()[0], "--hook", "pre_stop=exit 9"]);
    assert_eq!(code, 2, "{log}");
    let (code, log) = stage.told(&["resume", "--hook", "pre_stop=true"]);
    assert_eq!((code, stage.fleet.versions()), (0, ["3", "2", "2"].map(str::to_owned).into()), "{log}");
}
