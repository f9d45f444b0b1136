//! Probes and warming, with servers of all kinds.

use std::fmt::Write as _;

use crate::support::{Canned, Httpd, free_port, machine, soon};

fn gate(text: &str) -> String {
    format!(
        "upstream = \"web\"\nversion = {{ old = \"6\", new = \"7\" }}\nwarm = {{ requests = 9, path = \"/w\" }}\n[gate]\n{text}"
    )
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let server = Canned::start(Vec::new()).await;
    let (machine, _) = machine(&gate(""));
    machine.probe(&at(server.port), None, false).await.expect("it listens");
    let dead = free_port().await;
    let error = machine.probe(&at(dead), None, false).await.expect_err("nobody listens");
    assert_eq!(error, format!("connection to 127.0.0.1:{dead} refused"));
    let error = machine.probe("no-such-name.invalid:80", None, false).await.expect_err("no such name");
    assert!(error.starts_with("name no-such-name.invalid cannot be resolved: "), "{error}");
    machine.probe(&format!("localhost:{}", server.port), None, false).await.expect("names resolve");
}

#[tokio::test]
async fn no_check_passes_always() {
    let (machine, _) = machine(&gate("check = \"none\""));
    machine.probe(&at(free_port().await), None, false).await.expect("it is not asked");
}

#[tokio::test]
async fn a_request_is_made_as_the_gate_says() {
    let server = Canned::start(answer("200 OK\r\nX-Version: 7", "")).await;
    let text = format!(
        "check = \"/health?deep=1\"\nmethod = \"HEAD\"\nhost = \"app.example\"\nport = {}\nexpect_header = [\"X-Version: {{version}}\"]",
        server.port
    );
    let (machine, _) = machine(&gate(&text));
    machine.probe("127.0.0.1:1", None, false).await.expect("it is healthy");
    let error = machine.probe("127.0.0.1:1", None, true).await.expect_err("the old version is expected");
    assert_eq!(error, "answered 200 with \"7\", expected X-Version: 6");
    let heads = server.heads();
    assert!(heads[0].starts_with("HEAD /health?deep=1 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("\r\nhost: app.example\r\n"), "{heads:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Canned::start(answer("302 Found\r\nLocation: /login", "")).await;
    let (machine, _) = machine(&gate("check = \"/health\""));
    let error = machine.probe(&at(server.port), None, false).await.expect_err("it is not healthy");
    assert_eq!(error, "answered 302 (a redirect to /login, which is not followed), expected 200-299");
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn a_body_without_end_is_not_read_without_end() {
    let mut text = "HTTP/1.1 200 OK\r\n\r\nbegin ".to_owned();
    for n in 0..20_000 {
        write!(text, "{n:07},").expect("a string takes it");
    }
    let server = Canned::start(text.into_bytes()).await;
    let (first, _) = machine(&gate("check = \"/\"\nexpect_body = \"0008000,\""));
    first.probe(&at(server.port), None, false).await.expect("it is within 64 KiB");
    let (second, _) = machine(&gate("check = \"/\"\nexpect_body = \"0009000,\""));
    let error = second.probe(&at(server.port), None, false).await.expect_err("it is behind them");
    assert!(
        error.starts_with("answered 200 without \"0009000,\" in the body; the body begins with \"begin "),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let (machine, _) = machine(&gate("check = \"/\"\ntimeout = \"200ms\""));
    let error = machine.probe(&at(port), None, false).await.expect_err("it is silent");
    assert_eq!(error, "no answer within 200ms");
    let strange = Canned::start(b"SSH-2.0-OpenSSH\r\n".to_vec()).await;
    let error = machine.probe(&at(strange.port), None, false).await.expect_err("it speaks something else");
    assert!(error.starts_with(&format!("no HTTP answer from {}: ", at(strange.port))), "{error}");
    let broken = Canned::start(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()).await;
    let error = machine.probe(&at(broken.port), None, false).await.expect_err("it breaks off");
    assert!(error.starts_with(&format!("the answer 200 of {} broke off: ", at(broken.port))), "{error}");
}

#[tokio::test]
async fn another_process_on_the_port_is_found() {
    let old = Httpd::start("version 6\n").await;
    let text = format!(
        "check = \"/version\"\nexpect_body = \"version {{version}}\"\n[driver.shell]\nstart = 'busybox httpd -f -p {{server}} -h {}'",
        old.folder.path().display()
    );
    let (machine, _) = machine(&gate(&text));
    let server = at(old.port);
    let error = machine.start(&server, None).await.expect_err("the old one has the port");
    assert!(error.starts_with("the command ended with exit status: 1; its last lines:\n"), "{error}");
    assert!(error.to_lowercase().contains("address already in use"), "{error}");
    let error = machine.probe(&server, None, false).await.expect_err("the old version answers");
    assert_eq!(error, "answered 200 without \"version 7\" in the body; the body begins with \"version 6\"");
    machine.probe(&server, None, true).await.expect("it is the old version");
}

#[tokio::test]
async fn through_a_proxy_only_the_status_counts() {
    let good = Canned::start(answer("200 OK", "")).await;
    let bad = Canned::start(answer("502 Bad Gateway", "<html>")).await;
    let (machine, _) = machine(&gate("check = \"/\"\nhost = \"app.example\"\nexpect_body = \"{version}\""));
    let url = |port: u16| format!("http://localhost:{port}/a?b");
    machine.probe("10.0.0.1:1", Some(&url(good.port)), false).await.expect("it answers 200");
    let head = good.heads().remove(0);
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: localhost:{}\r\n", good.port)), "{head}");
    let error = machine.probe("10.0.0.1:1", Some(&url(bad.port)), false).await.expect_err("502");
    let expected = "answered 502, expected 200-299; the body begins with \"<html>\"";
    assert_eq!(error, format!("{}: {expected}", url(bad.port)));
    let secure = format!("https://localhost:{}/", good.port);
    let error = machine.probe("10.0.0.1:1", Some(&secure), false).await.expect_err("it speaks no TLS");
    assert!(error.starts_with(&format!("{secure}: TLS with localhost:{}: ", good.port)), "{error}");
}

#[tokio::test]
async fn warming_sends_its_requests() {
    let server = Canned::start(answer("500 Internal Server Error", "cold")).await;
    let (machine, _) = machine(&gate("check = \"/\"\nhost = \"app.example\""));
    soon("end of the warming", machine.warm(&at(server.port))).await.expect("answers do not count");
    let heads = server.heads();
    assert_eq!(heads.len(), 9);
    assert!(
        heads.iter().all(|head| head.starts_with("GET /w HTTP/1.1\r\nhost: app.example\r\n")),
        "{heads:?}"
    );
    let dead = free_port().await;
    let error = machine.warm(&at(dead)).await.expect_err("nobody listens");
    assert_eq!(error, format!("not warmed up: connection to 127.0.0.1:{dead} refused"));
}
