//! Plans as text: what is read, what is wrong, what people are shown.

use weir_rollout::{
    Amount, Check, Driver, Expectation, OnFailure, OnTimeout, Pause, Plan, Refusal, Share, Span, StoreKind,
    environment,
};

use crate::world::{World, plan};

const WHOLE: &str = r#"
upstream = "web"
servers = ["10.0.0.1:8080", "10.0.0.2:8080"]
proxies = ["http://10.0.1.1:8500", "unix:/run/weir/control.sock"]
proxy_token_file = "/etc/weir/token"
proxy_timeout = "10s"
on_failure = "rollback"
slow_start = "30s"
warm = { requests = 50, path = "/warm" }
canary = [{ percent = 5, pause = "10m" }, { percent = "50%", pause = "manual" }]
version = { old = "6", new = "7" }

[store]
kind = "etcd"
endpoints = ["http://10.0.2.1:2379"]
prefix = "/upstreams/web"
token_file = "/etc/weir/store-token"

[batch]
max_unavailable = "25%"
min_healthy = 4

[drain]
timeout = "1m30s"
on_timeout = "force"
websockets = false

[driver.shell]
stop = "systemctl stop app"
start = "systemctl start app"
rollback = "app-rollback"
ssh = "deploy@{host}"
timeout = 60

[gate]
check = "/health"
port = 8081
expect_status = "200 204"
expect_header = ["X-Version: {version}"]
expect_body = "ok"
rise = 5
interval = "500ms"

[hooks]
pre_drain = "notify drain"
timeout = "1m"

[watch]
window = "1m"
max_error_ratio = 0.01
latency_factor = 2.5
"#;

#[test]
fn every_part_of_a_plan_is_read() {
    let plan = Plan::parse(WHOLE).expect("a plan");
    assert_eq!(plan.store.kind, StoreKind::Etcd);
    assert_eq!(plan.batch.max_unavailable, Amount::Percent(25));
    assert_eq!(plan.batch.min_healthy, Some(Amount::Count(4)));
    assert_eq!((plan.drain.timeout, plan.drain.on_timeout), (Span::secs(90), OnTimeout::Force));
    assert!(matches!(&plan.driver, Driver::Shell(shell) if shell.timeout == Span::secs(60)));
    assert_eq!(plan.gate.check, Check::Http("/health".to_owned()));
    let version = Expectation { name: "X-Version".to_owned(), value: Some("{version}".to_owned()) };
    assert_eq!(plan.gate.expect_header, [version]);
    assert_eq!(plan.gate.deadline, Span::secs(120), "the default");
    assert_eq!(plan.canary[1].percent, Share(50));
    assert_eq!(plan.canary[1].pause, Pause::Manual);
    assert_eq!(plan.on_failure, OnFailure::Rollback);
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn a_plan_survives_both_forms() {
    let plan = Plan::parse(WHOLE).expect("a plan");
    let json = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("the same"), plan);
    let text = toml::to_string(&plan).expect("TOML");
    assert_eq!(Plan::parse(&text), Ok(plan));
}

#[test]
fn an_empty_plan_has_careful_defaults() {
    let plan = Plan::parse("").expect("a plan");
    assert_eq!(plan, Plan::default());
    assert_eq!(plan.batch.max_unavailable, Amount::Count(1));
    assert_eq!((plan.drain.timeout, plan.drain.on_timeout), (Span::secs(30), OnTimeout::Abort));
    assert_eq!((plan.gate.rise, plan.gate.interval, plan.gate.timeout), (3, Span::secs(1), Span::secs(5)));
    assert_eq!(plan.on_failure, OnFailure::Leave);
    let missing = plan.check().expect_err("no upstream").to_string();
    assert_eq!(
        missing,
        "no upstream is named; expected upstream = \"NAME\" in the plan or a name after weir rollout"
    );
}

#[test]
fn what_is_wrong_is_shown_with_its_line_and_the_nearest_word() {
    for (text, message) in [
        (
            "upstream = \"web\"\n[batch]\nmax_unavalable = 2\n",
            "line 3, column 1: unknown key \"max_unavalable\"; nearest is \"max_unavailable\", known are \
             max_unavailable, min_healthy, surge\n  max_unavalable = 2",
        ),
        (
            "[driver.shel]\nstart = \"x\"",
            "line 1, column 9: unknown value \"shel\"; nearest is \"shell\", known are shell, systemd, docker, \
             external\n  [driver.shel]",
        ),
        (
            "[drain]\non_timeout = \"abandon\"",
            "line 2, column 14: unknown value \"abandon\"; nearest is \"abort\", known are abort, force, wait\n  \
             on_timeout = \"abandon\"",
        ),
        (
            "[gate]\ndeadline = \"soon\"",
            "line 2, column 12: \"soon\" is no time; expected one like 500ms, 30s, 5m, 1m30s, 2h or 1d\n  \
             deadline = \"soon\"",
        ),
        (
            "[gate]\ncheck = \"health\"",
            "line 2, column 9: \"health\" is no check; expected a path like /health, or tcp, or none\n  \
             check = \"health\"",
        ),
        (
            "[batch]\nmin_healthy = \"150%\"",
            "line 2, column 15: \"150%\" is no number of servers; expected one like 2 or 25% (0% to 100%)\n  \
             min_healthy = \"150%\"",
        ),
    ] {
        assert_eq!(Plan::parse(text).expect_err(text).to_string(), message);
    }
    let broken = Plan::parse("\nupstream = web\nservers = []").expect_err("no TOML");
    assert_eq!((broken.line, broken.text.as_deref()), (Some(2), Some("upstream = web")));
}

#[test]
fn values_that_do_not_go_together_are_wrong() {
    for (text, message) in [
        (
            "[batch]\nmax_unavailable = 0",
            "batch.max_unavailable is 0; expected at least 1, or a part like 25%",
        ),
        ("[gate]\nrise = 0", "gate.rise is 0; expected 1 or more"),
        ("[gate]\ninterval = 0", "gate.interval is 0; expected a time like 1s"),
        (
            "[gate]\nexpect_body = \"ok\"",
            "gate.expect_header and gate.expect_body need an HTTP check, but gate.check is \"tcp\"; expected a path like /health",
        ),
        ("[driver.shell]\nstop = \"x\"", "driver.shell has no start; expected a command"),
        ("[driver.systemd]", "driver.systemd has no unit; expected one like app.service"),
        ("[driver.docker]\ncontainer = \"a\"", "driver.docker has no image; expected the new one"),
        (
            "on_failure = \"rollback\"",
            "on_failure is \"rollback\", but the external driver has no rollback command; choose another driver, or on_failure = \"leave\"",
        ),
        (
            "on_failure = \"rollback\"\n[driver.shell]\nstart = \"x\"",
            "on_failure is \"rollback\", but the shell driver has no rollback command; expected driver.shell.rollback, or on_failure = \"leave\"",
        ),
        ("[watch]\nmax_error_ratio = 5.0", "watch.max_error_ratio is 5; expected 0.0 to 1.0"),
        ("[watch]\nlatency_factor = nan", "watch.latency_factor is NaN; expected 1.0 or more"),
        ("warm = { path = \"x\" }", "warm.path is \"x\"; expected one that begins with /"),
    ] {
        let plan = Plan::parse(&format!("upstream = \"web\"\n{text}")).expect(text);
        assert_eq!(plan.check().expect_err(text).message, message);
    }
}

#[test]
fn people_see_the_plan_before_it_is_carried_out() {
    let mut world = World::new(5, 1);
    world.hold(4);
    let text = "canary = [{ percent = 5, pause = \"10m\" }]\nwarm = { requests = 20 }\n\
                [batch]\nmax_unavailable = 2\n[gate]\ncheck = \"/health\"\n[watch]\nwindow = \"30s\"";
    let rollout = world.rollout(&plan(text)).expect("a release");
    assert_eq!(
        rollout.plan_text(&world.view()),
        "release of web: 4 servers in 3 batches; 4 serve now, at least 2 others serve at any time\n\
         each: drain (at most 30s, then give up), stop and start (shell), check /health 3 times in a row within 2m, \
         warm up with 20 requests, put back, watch for 30s\n\
         canary: 5% for 10m\n\
         batch 1: 10.0.0.1:8080\n\
         batch 2: 10.0.0.2:8080, 10.0.0.3:8080\n\
         batch 3: 10.0.0.4:8080\n\
         10.0.0.5:8080: somebody else took it out; left alone\n\
         on a failure: stop; upgraded servers keep the new version\n\
         takes about 11m51s, at most about 19m15s\n"
    );
}

#[test]
fn commands_find_what_they_need_in_their_environment() {
    let plan = Plan::parse(WHOLE).expect("a plan");
    let all = environment(&plan, "pre_drain", Some("10.0.0.1:8080"), Some(2), Some("ok"));
    let words: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        words,
        [
            "WEIR_UPSTREAM=web",
            "WEIR_SERVER=10.0.0.1:8080",
            "WEIR_BATCH=2",
            "WEIR_OLD_VERSION=6",
            "WEIR_NEW_VERSION=7",
            "WEIR_STAGE=pre_drain",
            "WEIR_RESULT=ok"
        ]
    );
}

#[test]
fn a_document_of_another_release_is_refused() {
    let mut world = World::new(2, 1);
    let web = plan("");
    let mut rollout = world.rollout(&web).expect("a release");
    world.take(&mut rollout);
    world.step(&mut rollout);
    let mut other = web.clone();
    other.upstream = "api".to_owned();
    assert_eq!(
        world.resume(&other).err().expect("a refusal").to_string(),
        "the release that was interrupted is of upstream web, expected api"
    );
    let mut newer = world.saved.clone().expect("a document");
    newer.schema = 2;
    world.saved = Some(newer);
    assert!(
        world.resume(&web).err().expect("a refusal").to_string().contains("in form 2, this program knows 1")
    );
    if let Some(saved) = &mut world.saved {
        saved.schema = 1;
    }
    world.peers.remove("10.0.0.2:8080");
    assert!(
        world
            .resume(&web)
            .err()
            .expect("a refusal")
            .to_string()
            .contains("10.0.0.2:8080 of the interrupted release")
    );
}

#[test]
fn a_plan_for_a_release_that_was_begun() {
    let begun = Plan::parse(WHOLE).expect("a plan");
    let changed = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        begun.replanned(&Plan::parse(&WHOLE.replace(from, to)).expect("a plan"))
    };
    assert_eq!(changed("rise = 5", "rise = 5"), Ok((begun.clone(), Vec::new())));
    // What is not named stays: it may have been a flag.
    let little = Plan::parse("upstream = \"web\"").expect("a plan");
    assert_eq!(begun.replanned(&little), Ok((begun.clone(), Vec::new())));
    let (plan, keys) = changed("systemctl start app", "app start").expect("it goes on");
    assert_eq!(keys, ["driver"]);
    let Driver::Shell(shell) = plan.driver else { panic!("{:?}", plan.driver) };
    assert_eq!(shell.start.as_deref(), Some("app start"));
    let (plan, keys) = changed("min_healthy = 4", "min_healthy = 3").expect("it goes on");
    assert_eq!((keys, plan.batch.min_healthy), (vec!["batch.min_healthy"], Some(Amount::Count(3))));
    for (from, to, key) in [
        ("new = \"7\"", "new = \"8\"", "version.new"),
        ("\"25%\"", "\"50%\"", "batch.max_unavailable"),
        (", \"10.0.0.2:8080\"", "", "servers"),
        ("percent = 5,", "percent = 6,", "canary"),
    ] {
        let refusal = Refusal::AnotherRelease { upstream: "web".to_owned(), key };
        assert_eq!(changed(from, to), Err(refusal), "{key}");
    }
}
