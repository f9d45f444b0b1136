//! From the start of an application to its end, and what dies in between.

use std::process::Command;

use weir_net::{Signal, send_signal};

use crate::common::{self, free_port, until};
use crate::load::instance::Instance;
use crate::stage::{Node, alone, key, listens, run, status, until_key, until_status, words};
use crate::stores::{Consul, Stopped, get, put};

#[test]
fn a_service_is_there_as_long_as_the_application() {
    let (node, consul) = (Node::start(), Consul::start());
    for registry in [node.registry, consul.port] {
        let port = free_port();
        let mut instance =
            run(node.folder(), registry, port, "--tag blue --meta a=b --weight 3 --drain-timeout 0", "");
        until_status(registry, port, "passing");
        let (_, body) = get(registry, "/v1/health/service/web").expect("it answers");
        for expected in [r#""blue""#, r#""a":"b""#, r#""Passing":3"#] {
            assert!(body.replace(": ", ":").contains(expected), "{expected} in {body}");
        }
        instance.signal(Signal::Term);
        let (code, log) = instance.code();
        assert_eq!(code, 0, "{log}");
        assert_eq!(status(registry, port), "none", "{log}");
        assert!(log.contains("deregistered"), "{log}");
    }
}

#[test]
fn a_key_is_there_as_long_as_the_application() {
    let (node, consul) = (Node::start(), Consul::start());
    for registry in [node.registry, consul.port] {
        let port = free_port();
        let mut instance = run(node.folder(), registry, port, "--kv web --weight 3 --drain-timeout 0", "");
        until_key(registry, port, true);
        let value = key(registry, port).expect("a key");
        assert!(value.contains(r#""weight":3"#) && value.contains(r#""down":0"#), "{value}");
        instance.signal(Signal::Int);
        let (code, log) = instance.code();
        assert_eq!(code, 0, "{log}");
        assert_eq!(key(registry, port), None, "{log}");
    }
}

#[test]
fn signals_output_and_exit_code_are_the_applications() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; trap 'echo usr2' USR2; trap 'echo winch' WINCH;
                  trap 'echo quit; exit 7' QUIT; echo ready; while :; do sleep 0.02; done";
    let mut instance = alone(folder.path(), script);
    instance.says("ready");
    let signals =
        [(Signal::Hup, "hup"), (Signal::Usr1, "usr1"), (Signal::Usr2, "usr2"), (Signal::Winch, "winch")];
    for (signal, word) in signals {
        instance.signal(signal);
        instance.says(word);
    }
    instance.signal(Signal::Quit);
    let (code, log) = instance.code();
    assert_eq!(code, 7, "{log}");
    for (script, expected) in [
        ("exit 0", 0),
        ("exit 41", 41),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
    ] {
        let (code, log) = alone(folder.path(), script).code();
        assert_eq!(code, expected, "{script}: {log}");
    }
    // Before the check has passed nobody is served: the signal goes through at once.
    let mut instance = alone(folder.path(), "echo ready; exec sleep 100");
    instance.says("ready");
    instance.signal(Signal::Term);
    assert_eq!(instance.code().0, 143);
}

#[test]
fn as_process_1_it_reaps_orphans() {
    let folder = tempfile::tempdir().expect("a folder");
    // The orphan's parent ends before it, and it in front of the eyes of process 1.
    let script = "sh -c 'sh -c \"echo \\$\\$ >orphan.part; mv orphan.part orphan; exec sleep 0.2\" & exit 0'
                  while ! [ -e orphan ]; do sleep 0.02; done
                  while [ -e /proc/$(cat orphan) ]; do sleep 0.02; done
                  echo \"parent $PPID\"
                  trap 'exit 5' TERM; echo waiting; while :; do sleep 0.02; done";
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc", "--kill-child", env!("CARGO_BIN_EXE_weir"), "service", "run"]);
    command.args(words("--service web --port 9 --registry 127.0.0.1:9 -- /bin/sh -c")).arg(script);
    command.current_dir(folder.path());
    let mut instance = Instance::spawn(folder.path(), "first", command);
    instance.says("waiting");
    assert!(instance.log().contains("parent 1\n"), "{}", instance.log());
    let children = format!("/proc/{0}/task/{0}/children", instance.process.id());
    let first = std::fs::read_to_string(children).expect("the kernel tells of children");
    send_signal(first.trim().parse().expect("process 1"), Signal::Term).expect("it runs");
    assert_eq!(instance.code().0, 5, "{}", instance.log());
}

#[test]
fn an_application_that_is_killed_is_gone_at_once() {
    let (node, consul) = (Node::start(), Consul::start());
    for registry in [node.registry, consul.port] {
        let port = free_port();
        let mut instance = run(node.folder(), registry, port, "", "");
        until_status(registry, port, "passing");
        send_signal(instance.application(), Signal::Kill).expect("it runs");
        let (code, log) = instance.code();
        assert_eq!(code, 137, "{log}");
        assert_eq!(status(registry, port), "none", "{log}");
        assert!(log.contains("ended by itself"), "{log}");
    }
}

#[test]
fn without_its_service_an_application_ends_and_its_registration_runs_out() {
    let (node, consul) = (Node::start(), Consul::start());
    for (registry, left) in [(node.registry, "none"), (consul.port, "critical")] {
        let port = free_port();
        let mut instance = run(node.folder(), registry, port, "", "");
        until_status(registry, port, "passing");
        instance.signal(Signal::Kill);
        instance.wait();
        until("the application ends", || (!listens(port)).then_some(()));
        until_status(registry, port, left);
    }
    let port = free_port();
    let mut instance = run(node.folder(), node.registry, port, "--kv web", "");
    until_key(node.registry, port, true);
    instance.signal(Signal::Kill);
    instance.wait();
    until_key(node.registry, port, false);
}

#[test]
fn a_registry_that_comes_back_is_told_again() {
    let mut node = Node::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (port, key_port) = (free_port(), free_port());
    let mut instance = run(folder.path(), node.registry, port, "--drain-timeout 0", "");
    let _key = run(folder.path(), node.registry, key_port, "--kv web", "");
    until_status(node.registry, port, "passing");
    until_key(node.registry, key_port, true);
    for empty in [false, true] {
        let place = node.kill();
        if empty {
            std::fs::remove_dir_all(place.0.file("registry")).expect("remove");
        }
        node = Node::again(place);
        until_status(node.registry, port, "passing");
        until_key(node.registry, key_port, true);
        // And it stays: what the dead registry had is not cleaned away later under the new one.
        let body = r#"{"down":0}"#;
        assert_eq!(put(node.registry, "/v1/kv/unrelated", body).0, 200);
    }
    instance.signal(Signal::Term);
    assert_eq!(instance.code().0, 0);
    assert_eq!(status(node.registry, port), "none", "{}", instance.log());
}

#[test]
fn a_consul_that_comes_back_is_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut consul = Consul::start();
    let (port, key_port) = (free_port(), free_port());
    let _instance = run(folder.path(), consul.port, port, "", "");
    let _key = run(folder.path(), consul.port, key_port, "--kv web", "");
    for start in [Stopped::start, Stopped::start_empty] {
        until_status(consul.port, port, "passing");
        until_key(consul.port, key_port, true);
        consul = start(consul.kill());
    }
    until_status(consul.port, port, "passing");
    until_key(consul.port, key_port, true);
}

#[test]
fn a_registry_that_is_away_at_the_start_is_told_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Node::start().kill();
    let (port, key_port) = (free_port(), free_port());
    let mut instance = run(folder.path(), place.1, port, "", "");
    let mut key = run(folder.path(), place.1, key_port, "--kv web", "");
    instance.says("tried again and again");
    key.says("tried again and again");
    assert_eq!(common::get(port, "/").expect("it serves"), format!("{port} 1 -\n"));
    let node = Node::again(place);
    until_status(node.registry, port, "passing");
    until_key(node.registry, key_port, true);
    assert_eq!(instance.log().matches("tried again and again").count(), 1, "{}", instance.log());
}

#[test]
fn what_is_never_ready_is_never_registered() {
    let node = Node::start();
    let port = free_port();
    let mut instance = run(node.folder(), node.registry, port, "--start-deadline 1s", "--never-ready");
    let (code, log) = instance.code();
    assert_eq!(code, 1, "{log}");
    let reason = format!(
        "not ready within 1s (--start-deadline) and is ended; its check: http://127.0.0.1:{port}/health: status 503"
    );
    assert!(log.contains(&reason), "{log}");
    assert!(!log.contains("registered at"), "{log}");
    assert!(!listens(port));
    // Slow is not never.
    let port = free_port();
    let mut instance = run(node.folder(), node.registry, port, "", "--delay-ready 600");
    until_status(node.registry, port, "passing");
    instance.says("answers its check");
}

#[test]
fn a_check_that_fails_takes_the_traffic_away_and_not_the_application() {
    let node = Node::start();
    let (port, key_port) = (free_port(), free_port());
    let mut instance = run(node.folder(), node.registry, port, "", "--sick-after 1500");
    let _key = run(node.folder(), node.registry, key_port, "--kv web", "--sick-after 1500");
    until_status(node.registry, port, "passing");
    until_status(node.registry, port, "critical");
    instance.says("status 503");
    until("down", || key(node.registry, key_port)?.contains(r#""down":1"#).then_some(()));
    assert!(instance.is_running());
}
