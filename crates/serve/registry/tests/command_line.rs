//! The `consul` command line as a client of the registry.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use support::{Weir, ask};

fn consul(weir: &Weir, arguments: &[&str]) -> Command {
    let mut command = Command::new("consul");
    command.args(arguments).env("CONSUL_HTTP_ADDR", weir.address.to_string()).stdin(Stdio::null());
    command
}

fn run(weir: &Weir, arguments: &[&str]) -> Output {
    consul(weir, arguments).output().expect("consul is installed")
}

/// What it printed; it has to succeed.
fn done(weir: &Weir, arguments: &[&str]) -> String {
    let output = run(weir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[test]
fn keys_are_put_read_exported_and_deleted() {
    let weir = Weir::start();
    assert_eq!(done(&weir, &["kv", "put", "app/one", "1"]), "Success! Data written to: app/one");
    assert_eq!(done(&weir, &["kv", "get", "app/one"]), "1");
    done(&weir, &["kv", "put", "-flags=42", "app/two/deep", "2"]);
    assert!(done(&weir, &["kv", "get", "-detailed", "app/two/deep"]).contains("Flags            42"));
    assert_eq!(done(&weir, &["kv", "get", "-recurse", "app/"]), "app/one:1\napp/two/deep:2");
    assert_eq!(done(&weir, &["kv", "get", "-keys", "app/"]), "app/one\napp/two/");
    assert!(!run(&weir, &["kv", "get", "none"]).status.success());

    let stale = run(&weir, &["kv", "put", "-cas", "-modify-index=1", "app/one", "x"]);
    assert!(!stale.status.success());
    assert!(String::from_utf8_lossy(&stale.stderr).contains("CAS failed"), "{stale:?}");
    let index = ask(weir.address, "GET", "/v1/kv/app/one", b"").json()[0]["ModifyIndex"].to_string();
    done(&weir, &["kv", "put", "-cas", "-modify-index", &index, "app/one", "3"]);
    assert_eq!(done(&weir, &["kv", "get", "app/one"]), "3");

    let exported = done(&weir, &["kv", "export", "app/"]);
    done(&weir, &["kv", "delete", "app/one"]);
    done(&weir, &["kv", "delete", "-recurse", "app/"]);
    assert_eq!(done(&weir, &["kv", "get", "-recurse", "app/"]), "");
    done(&weir, &["kv", "import", &exported]);
    assert_eq!(done(&weir, &["kv", "export", "app/"]), exported);
}

#[test]
fn the_server_and_the_snapshot_are_known() {
    let weir = Weir::start();
    let peers = done(&weir, &["operator", "raft", "list-peers"]);
    assert!(peers.lines().any(|line| line.contains("node1") && line.contains("leader")), "{peers}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("saved.snap");
    let file = file.to_str().expect("a path in UTF-8");
    done(&weir, &["kv", "put", "kept", "1"]);
    let saved = done(&weir, &["snapshot", "save", file]);
    assert!(saved.starts_with("Saved and verified snapshot to index"), "{saved}");
    let inspected = done(&weir, &["snapshot", "inspect", file]);
    assert!(inspected.contains("Index"), "{inspected}");
    let before = ask(weir.address, "GET", "/v1/kv/kept", b"").index();
    done(&weir, &["kv", "delete", "kept"]);
    done(&weir, &["kv", "put", "later", "1"]);
    assert_eq!(done(&weir, &["snapshot", "restore", file]), "Restored snapshot");
    assert_eq!(done(&weir, &["kv", "get", "kept"]), "1");
    assert!(!run(&weir, &["kv", "get", "later"]).status.success());
    assert!(ask(weir.address, "GET", "/v1/kv/kept", b"").index() >= before);
    let junk = ask(weir.address, "PUT", "/v1/snapshot", b"junk");
    assert_eq!(junk.status, 500);
    assert!(junk.text().starts_with("failed to decompress snapshot"), "{}", junk.text());
    assert_eq!(done(&weir, &["kv", "get", "kept"]), "1");
}

/// What a program prints.
type Lines = Box<dyn Iterator<Item = String>>;

/// Killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    fn start(weir: &Weir, arguments: &[&str]) -> (Self, Lines) {
        let mut child = consul(weir, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("consul is installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        (Self(child), Box::new(lines.map(|line| line.expect("text"))))
    }
}

#[test]
fn a_lock_is_held_by_one_client_at_a_time() {
    let weir = Weir::start();
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().expect("mkfifo is there");
    assert!(made.success());
    let held = format!("echo first begins; cat {gate:?}; echo first ends");
    let (mut first, mut first_lines) = Running::start(&weir, &["lock", "job", &held]);
    assert_eq!(first_lines.next().as_deref(), Some("first begins"));

    let sessions = |count: usize| {
        let mut index = 0;
        loop {
            let list = ask(weir.address, "GET", &format!("/v1/session/list?index={index}"), b"");
            if list.json().as_array().map(Vec::len) == Some(count) {
                return;
            }
            index = list.index();
        }
    };
    let (mut second, mut second_lines) = Running::start(&weir, &["lock", "job", "echo second runs"]);
    sessions(2);
    std::fs::OpenOptions::new()
        .write(true)
        .open(&gate)
        .expect("the first one reads")
        .write_all(b"go\n")
        .expect("the first one reads");
    assert_eq!(first_lines.by_ref().take(2).collect::<Vec<_>>(), ["go", "first ends"]);
    assert_eq!(second_lines.next().as_deref(), Some("second runs"));
    assert!(first.0.wait().expect("it ends").success());
    assert!(second.0.wait().expect("it ends").success());
    assert_eq!(ask(weir.address, "GET", "/v1/session/list", b"").text(), "[]");
    assert_eq!(ask(weir.address, "GET", "/v1/kv/job?keys", b"").status, 404);
}

#[test]
fn keys_and_prefixes_are_watched() {
    let weir = Weir::start();
    ask(weir.address, "PUT", "/v1/kv/w/a", b"1");
    let (_key, mut key) = Running::start(&weir, &["watch", "-type=key", "-key=w/a", "cat; echo"]);
    let (_prefix, mut prefix) =
        Running::start(&weir, &["watch", "-type=keyprefix", "-prefix=w/", "cat; echo"]);
    let value = |line: Option<String>| -> serde_json::Value {
        serde_json::from_str(&line.expect("another line")).expect("JSON")
    };
    let lines = |watched: &mut Lines| value(watched.find(|line| !line.is_empty()));
    assert_eq!(lines(&mut key)["Value"], "MQ==");
    assert_eq!(lines(&mut prefix).as_array().map(Vec::len), Some(1));
    ask(weir.address, "PUT", "/v1/kv/w/a", b"2");
    assert_eq!(lines(&mut key)["Value"], "Mg==");
    assert_eq!(lines(&mut prefix)[0]["Value"], "Mg==");
    ask(weir.address, "PUT", "/v1/kv/w/b", b"1");
    assert_eq!(lines(&mut prefix).as_array().map(Vec::len), Some(2));
}
