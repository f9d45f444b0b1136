//! `sd_notify`: what the application says, and what the supervisor is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use weir_net::{Signal, send_signal};

use crate::common::{PATIENCE, free_port, until, weir};
use crate::load::instance::Instance;
use crate::load::program;
use crate::stage::{Node, key, run, status, until_key, words};

/// A supervisor's socket.
fn supervisor(folder: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(folder.join("supervisor")).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time");
    socket
}

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 64];
    let count = socket.recv(&mut bytes).expect("it is told");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// A service whose supervisor listens in the folder.
fn supervised(folder: &Path, options: &str) -> Instance {
    let mut command = weir();
    command.args(["service", "run"]).args(words(options)).env("NOTIFY_SOCKET", folder.join("supervisor"));
    Instance::spawn(folder, "supervised", command)
}

#[test]
fn ready_replaces_the_first_check_and_stopping_drains() {
    let node = Node::start();
    let (port, registry) = (free_port(), node.registry);
    let socket = supervisor(node.folder());
    let app = program(node.folder()).display().to_string();
    let mut instance = supervised(
        node.folder(),
        &format!(
            "--service web --port {port} --registry 127.0.0.1:{registry} --kv web --check tcp --notify \
             -- {app} --port {port} --delay-ready 300 --slow-stop 60000"
        ),
    );
    assert_eq!(heard(&socket), "READY=1");
    instance.says("has said READY=1");
    assert!(key(registry, port).expect("registered before it was told").contains(r#""down":0"#));
    send_signal(instance.application(), Signal::Term).expect("it runs");
    assert_eq!(heard(&socket), "STOPPING=1");
    until("the drain", || key(registry, port)?.contains(r#""down":1"#).then_some(()));
    instance.says("has said that it stops (STOPPING=1)");
    send_signal(instance.application(), Signal::Kill).expect("it still runs");
    let (code, log) = instance.code();
    assert_eq!(code, 137, "{log}");
    assert!(!log.contains("ended by itself"), "{log}");
    until_key(registry, port, false);
}

#[test]
fn a_check_that_passes_is_not_enough() {
    let node = Node::start();
    let port = free_port();
    let more = "--notify --check tcp --start-deadline 1s";
    let mut instance = run(node.folder(), node.registry, port, more, "--never-ready");
    let (code, log) = instance.code();
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("its check: the application has not said READY=1"), "{log}");
    assert!(!log.contains("registered at"), "{log}");
    assert_eq!(status(node.registry, port), "none");
}

#[test]
fn the_supervisor_is_told_and_the_application_does_not_see_it() {
    let node = Node::start();
    let (port, registry) = (free_port(), node.registry);
    let socket = supervisor(node.folder());
    let app = program(node.folder()).display().to_string();
    let mut all = words(&format!(
        "service run --service web --port {port} --registry 127.0.0.1:{registry} --check /health --drain-timeout 0 \
         -- /bin/sh -c"
    ));
    all.push(format!("echo \"it sees '$NOTIFY_SOCKET'\"; exec {app} --port {port}"));
    let mut command = weir();
    command.args(all).env("NOTIFY_SOCKET", node.folder().join("supervisor"));
    let mut instance = Instance::spawn(node.folder(), "supervised", command);
    assert_eq!(heard(&socket), "READY=1");
    assert_eq!(status(registry, port), "passing");
    instance.signal(Signal::Term);
    assert_eq!(heard(&socket), "STOPPING=1");
    let (code, log) = instance.code();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("it sees ''\n"), "{log}");
}
