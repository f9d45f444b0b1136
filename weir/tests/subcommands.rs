//! Weir's own commands.

mod common;

use common::{Site, text, until, weir};
use weir_net::{Signal, send_signal};

#[test]
fn help_teaches() {
    let output = weir().arg("--help").output().expect("run");
    assert!(output.status.success());
    let help = text(&output.stdout);
    for words in ["weir demo", "weir check", "weir run", "directives", "-s reload"] {
        assert!(help.contains(words), "{words} in {help}");
    }
}

#[test]
fn check_shows_the_line() {
    let good = Site::saying("hello");
    let bad = Site::new("events { }\nhttp {\n    server {\n        lissten 80;\n    }\n}\n");
    let (good_file, bad_file) = (good.file("nginx.conf"), bad.file("nginx.conf"));
    let output = weir().arg("check").args([&good_file, &bad_file]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert_eq!(stdout, format!("{}: ok\n{}: cannot be served\n", good_file.display(), bad_file.display()));
    let stderr = text(&output.stderr);
    let place = format!("--> {}:4:9", std::fs::canonicalize(&bad_file).expect("a path").display());
    for words in
        ["error: unknown directive \"lissten\"", &place, "        lissten 80;", "^^^^^^^", "`listen`"]
    {
        assert!(stderr.contains(words) || stderr.contains(&words.replace('`', "\"")), "{words} in {stderr}");
    }
    let output = weir().arg("check").arg(good.path()).output().expect("a folder");
    assert!(output.status.success());
}

#[test]
fn keepalived_files_are_told_by_what_is_in_them() {
    let site = Site::new("! a comment\nvrrp_instance VI_1 {\n    state BACKUP\n}\n");
    let output = weir().arg("check").arg(site.file("nginx.conf")).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("virtual_router_id"), "{}", text(&output.stderr));
}

#[test]
fn config_for_programs() {
    let site = Site::saying("hello");
    let output = weir().args(["config", "--json"]).arg(site.file("nginx.conf")).output().expect("run");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let config: weir_model::Config = serde_json::from_slice(&output.stdout).expect("a configuration");
    let http = config.http.expect("an http block");
    assert_eq!(http.listeners[0].address.to_string(), format!("127.0.0.1:{}", site.port));
    let output = weir().arg("config").arg(site.file("nginx.conf")).output().expect("run");
    assert!(text(&output.stdout).starts_with(&format!("listen 127.0.0.1:{}\n", site.port)));
}

#[test]
fn directives_are_explained() {
    let output = weir().args(["directives", "proxy_pass"]).output().expect("run");
    assert!(output.status.success());
    let stdout = text(&output.stdout);
    assert!(stdout.starts_with("proxy_pass "), "{stdout}");
    assert!(stdout.contains("nginx module: ngx_http_proxy_module"), "{stdout}");
    let output = weir().args(["directives", "proxy_pas"]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "weir: there is no directive \"proxy_pas\"; did you mean `proxy_pass`?\n"
    );
    let all = text(&weir().arg("directives").output().expect("run").stdout);
    assert!(all.lines().count() > 300, "{}", all.lines().count());
}

#[test]
fn run_serves_in_the_foreground() {
    let site = Site::saying("hello");
    site.write(&common::one_word("hello").replace("daemon off;", ""));
    let mut child = weir().arg("run").arg(site.file("nginx.conf")).spawn().expect("run");
    until("an answer", || common::get(site.port, "/").ok().filter(|word| word == "hello"));
    assert!(child.try_wait().expect("a child").is_none(), "it stays in the foreground");
    send_signal(child.id(), Signal::Int).expect("it lives");
    assert!(child.wait().expect("a child").success());
}

#[test]
fn run_shows_what_is_wrong() {
    let site = Site::new("events { }\nhttpp { }\n");
    let output = weir().arg("run").arg(site.file("nginx.conf")).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error: unknown directive \"httpp\""), "{}", text(&output.stderr));
    let output = weir().args(["run", "/no/such/file"]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("expected the path of an nginx.conf"), "{}", text(&output.stderr));
}

#[test]
fn the_demo_fails_no_request() {
    let output = weir().args(["demo", "--for", "3s"]).output().expect("run");
    let stdout = text(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", text(&output.stderr));
    for words in
        ["upstream applications {", "application 2 is stopped", "application 2 is started", ", 0 failed"]
    {
        assert!(stdout.contains(words), "{words} in {stdout}");
    }
}
