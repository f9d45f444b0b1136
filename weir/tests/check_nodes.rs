//! `weir check` with the files of several nodes.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{text, weir};
use serde_json::Value;

/// A node's file with a priority and an interval.
fn routers(priority: u8, interval: u8) -> String {
    format!(
        "vrrp_instance web {{\n    state BACKUP\n    interface eth0\n    virtual_router_id 51\n    \
         priority {priority}\n    advert_int {interval}\n    virtual_ipaddress {{\n        192.0.2.50\n    }}\n}}\n"
    )
}

const PROXY: &str = "events { }\nhttp {\n    server {\n        listen 80;\n        return 204;\n    }\n}\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("its folder");
        fs::write(path, content).expect("write");
    }
    folder
}

fn check(folder: &Path, words: &[&str]) -> Output {
    weir().current_dir(folder).arg("check").args(words).output().expect("run")
}

#[test]
fn nodes_of_one_folder_are_compared() {
    let (one, two) = (routers(150, 1), routers(100, 2));
    let files = [("keepalived-lb01.conf", &*one), ("keepalived-lb02.conf", &two), ("nginx.conf", PROXY)];
    let folder = folder(&files);
    let output = check(folder.path(), &["."]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("./keepalived-lb01.conf: ok\n./keepalived-lb02.conf: ok\n"), "{stdout}");
    assert!(stdout.contains("\nlb01, lb02: not right together, 1 error\n"), "{stdout}");
    let stderr = text(&output.stderr);
    for words in [
        "error: web advertises every 2 s on lb02 and every 1 s on lb01",
        "--> ./keepalived-lb02.conf:6:5",
        "./keepalived-lb01.conf:6: every 1 s on lb01",
        "rule vrrp-interval, nodes lb02, lb01",
    ] {
        assert!(stderr.contains(words), "{words} in {stderr}");
    }
}

#[test]
fn nodes_of_several_folders_are_compared() {
    let (one, two) = (routers(150, 1), routers(100, 1));
    let files = [
        ("lb01/keepalived.conf", &*one),
        ("lb01/nginx.conf", PROXY),
        ("lb02/keepalived.conf", &two),
        ("lb02/nginx.conf", PROXY),
    ];
    let folder = folder(&files);
    let output = check(folder.path(), &["lb01", "lb02"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout).lines().take(5).collect::<Vec<_>>(),
        [
            "lb01/keepalived.conf: ok",
            "lb01/nginx.conf: ok",
            "lb02/keepalived.conf: ok",
            "lb02/nginx.conf: ok",
            "lb01, lb02: ok together",
        ]
    );
}

#[test]
fn a_misspelt_keyword_is_wrong_and_its_node_is_compared() {
    let (one, two) = (routers(150, 1).replace("    state", "    sstate"), routers(150, 1));
    let folder = folder(&[("lb01.conf", &one), ("lb02.conf", &two)]);
    let output = check(folder.path(), &["lb01.conf", "lb02.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("lb01.conf: runs, but not as it is written, 1 warning\n"), "{stdout}");
    assert!(stdout.contains("lb01, lb02: ok together, 1 warning\n"), "{stdout}");
    assert!(text(&output.stderr).contains("unknown keyword \"sstate\""), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_cannot_be_used_keeps_nodes_from_being_compared() {
    let (one, two) = (routers(150, 1).replace("    virtual_router_id 51\n", ""), routers(100, 1));
    let folder = folder(&[("lb01.conf", &one), ("lb02.conf", &two)]);
    let output = check(folder.path(), &["lb01.conf", "lb02.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let expected =
        "lb01.conf: cannot be served\nlb02.conf: ok\nlb02: not compared, because a file cannot be used\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn the_file_that_an_nginx_conf_names_belongs_to_it() {
    let proxy = format!("keepalived routers/lb.conf;\n{PROXY}");
    let strict = routers(150, 1).replace("    state", "    no_accept\n    state");
    let folder = folder(&[("nginx.conf", &proxy), ("routers/lb.conf", &strict)]);
    let output = check(folder.path(), &["nginx.conf"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: no_accept makes lb drop all packets to the addresses of web"),
        "{stderr}"
    );
}

#[test]
fn findings_for_programs() {
    let (one, two) = (routers(150, 1), routers(150, 1));
    let folder = folder(&[("lb01.conf", &one), ("lb02.conf", &two)]);
    let output = check(folder.path(), &["--json", "lb01.conf", "lb02.conf"]);
    assert_eq!(output.status.code(), Some(0), "a warning is no error");
    let found: Value = serde_json::from_slice(&output.stdout).expect("an array");
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    let one = &found[0];
    assert_eq!(
        [&one["file"], &one["rule"], &one["severity"], &one["nodes"][0], &one["related"][0]["file"]],
        ["lb02.conf", "vrrp-priority-equal", "warning", "lb02", "lb01.conf"]
    );
    assert_eq!((&one["line"], &one["column"]), (&Value::from(5), &Value::from(5)));
    assert!(one["help"][0].as_str().is_some_and(|help| help.contains("such as 149")), "{one}");
}

#[test]
fn rules_are_listed() {
    let output = weir().args(["check", "--rules"]).output().expect("run");
    assert!(output.status.success());
    let stdout = text(&output.stdout);
    assert_eq!(stdout.lines().count(), weir_lint::rules().count());
    assert!(stdout.contains("\nvrrp-weight            warning  "), "{stdout}");
}

#[test]
fn here_looks_at_scripts_and_interfaces() {
    let script = "vrrp_script chk {\n    script /no/such/script\n}\n";
    let file = routers(150, 1)
        .replace("eth0", "none9")
        .replace("    state", "    track_script {\n chk\n}\n    state");
    let folder = folder(&[("lb01.conf", &format!("{script}{file}"))]);
    let elsewhere = check(folder.path(), &["lb01.conf"]);
    assert_eq!(elsewhere.status.code(), Some(0), "{}", text(&elsewhere.stderr));
    assert!(text(&elsewhere.stdout).contains("lb01: interfaces and scripts were not looked at"));
    let output = check(folder.path(), &["--here", "lb01.conf"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    for words in ["lb01 has no interface none9", "/no/such/script: No such file or directory"] {
        assert!(stderr.contains(words), "{words} in {stderr}");
    }
}
