//! HTTP as clients of all ages speak it, tokens, TLS, limits, reload and restart.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use support::{Client, Weir, ask};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_model::Secret;
use weir_serve_registry::StartError;

#[test]
fn one_connection_serves_many_requests() {
    let weir = Weir::start();
    let mut client = Client::connect(weir.address);
    assert_eq!(client.ask("PUT", "/v1/kv/a", b"1").text(), "true");
    let read = client.ask("GET", "/v1/kv/a", b"");
    assert_eq!((read.version.as_str(), read.status), ("HTTP/1.1", 200));
    assert_eq!(read.header("X-Consul-Knownleader"), Some("true"));
    assert_eq!(read.header("X-Consul-Lastcontact"), Some("0"));
    assert!(read.index() > 0);
    assert!(read.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{read:?}");
    // Two at once.
    client.send(b"GET /v1/kv/a?raw HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/kv/none HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response(false).text(), "1");
    assert_eq!(client.response(false).status, 404);
}

#[test]
fn a_client_of_http_1_0_reads_to_the_end() {
    let weir = Weir::start();
    ask(weir.address, "PUT", "/v1/kv/a", b"1");
    let mut stream = TcpStream::connect(weir.address).expect("somebody listens");
    stream
        .write_all(b"GET /v1/kv/a?recurse HTTP/1.0\r\nHost: a\r\nAccept: */*\r\n\r\n")
        .expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server ends the connection");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nX-Consul-Index: "), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
    assert!(answer.ends_with("}]"), "{answer}");
}

#[test]
fn a_large_value_is_refused_and_the_client_hears_it() {
    let weir = Weir::start();
    let large = vec![b'x'; 600_000];
    let refused = ask(weir.address, "PUT", "/v1/kv/large", &large);
    assert_eq!(refused.status, 413);
    assert!(refused.text().starts_with("Request body(600000 bytes) too large, max size: 524288 bytes."));
    assert_eq!(refused.header("Connection"), Some("close"));

    let mut client = Client::connect(weir.address);
    client.send(b"PUT /v1/kv/large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{:x}\r\n", large.len()).as_bytes());
    client.send(&large);
    client.send(b"\r\n0\r\n\r\n");
    let refused = client.response(false);
    assert_eq!(refused.status, 413);
    assert!(
        refused.text().starts_with("Request body(more than 524288 bytes) too large"),
        "{}",
        refused.text()
    );
    assert_eq!(ask(weir.address, "GET", "/v1/kv/large", b"").status, 404);

    let largest = vec![b'x'; 512 * 1024];
    assert_eq!(ask(weir.address, "PUT", "/v1/kv/large", &largest).text(), "true");
    assert_eq!(ask(weir.address, "GET", "/v1/kv/large?raw", b"").body, largest);
}

#[test]
fn a_body_may_come_in_chunks_or_after_a_question() {
    let weir = Weir::start();
    let mut client = Client::connect(weir.address);
    client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    assert_eq!(client.response(false).text(), "true");
    assert_eq!(client.ask("GET", "/v1/kv/a?raw", b"").text(), "abc");
    client.send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response(true).status, 100);
    client.send(b"xy");
    assert_eq!(client.response(false).text(), "true");
    assert_eq!(client.ask("GET", "/v1/kv/a?raw", b"").text(), "xy");
}

#[test]
fn what_is_no_http_is_refused() {
    let weir = Weir::start();
    for (sent, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /v1/kv/a HTTP/1.1\r\n\r\n", 400),
        (b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /v1/kv/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut client = Client::connect(weir.address);
        client.send(sent);
        assert_eq!(client.response(false).status, status, "{}", sent.escape_ascii());
        assert!(client.ended(), "{}", sent.escape_ascii());
    }
    let mut client = Client::connect(weir.address);
    client.send(format!("GET /v1/kv/a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000)).as_bytes());
    assert_eq!(client.response(false).status, 431);
    assert_eq!(ask(weir.address, "GET", "/v1/status/leader", b"").status, 200);
}

#[test]
fn tokens_decide_who_reads_and_who_writes() {
    let weir = Weir::with(|registry| {
        registry.write_token = Some(Secret("writer".to_owned()));
        registry.read_token = Some(Secret("reader".to_owned()));
    });
    let with = |method: &str, path: &str, header: &str| {
        let mut client = Client::connect(weir.address);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n").as_bytes());
        let answer = client.response(false);
        (answer.status, answer.text())
    };
    let denied = (403, "Permission denied".to_owned());
    assert_eq!(with("PUT", "/v1/kv/a", ""), denied);
    assert_eq!(with("PUT", "/v1/kv/a", "X-Consul-Token: reader\r\n"), denied);
    assert_eq!(with("DELETE", "/v1/kv/a?token=wrong", ""), denied);
    assert_eq!(with("GET", "/v1/kv/a", ""), denied);
    assert_eq!(with("GET", "/v1/agent/self", ""), denied);
    assert_eq!(with("GET", "/v1/kv/a?token=reader", "").0, 404);
    assert_eq!(with("PUT", "/v1/kv/a", "X-Consul-Token: writer\r\n"), (200, "true".to_owned()));
    assert_eq!(with("GET", "/v1/kv/a?raw", "Authorization: Bearer reader\r\n").0, 200);
    assert_eq!(with("DELETE", "/v1/kv/a?token=writer", ""), (200, "true".to_owned()));
}

#[test]
fn a_reload_changes_tokens_and_listeners_and_keeps_connections() {
    let weir = Weir::start();
    let mut old = Client::connect(weir.address);
    assert_eq!(old.ask("PUT", "/v1/kv/a", b"1").text(), "true");
    let (options, address) = weir.options(|registry| registry.write_token = Some(Secret("w".to_owned())));
    weir.running.reconfigure(options).expect("tokens may change");
    assert_eq!(old.ask("PUT", "/v1/kv/a", b"2").status, 403);
    assert_eq!(old.ask("GET", "/v1/kv/a?raw", b"").text(), "1");
    assert_eq!(ask(address, "GET", "/v1/kv/a?raw", b"").text(), "1");
    assert!(TcpStream::connect(weir.address).is_err(), "the old listener is closed");

    let (options, _) = weir.options(|registry| registry.datacenter = "other".to_owned());
    let error = weir.running.reconfigure(options).expect_err("the datacenter is fixed");
    assert!(matches!(error, StartError::Fixed { what: "datacenter", .. }), "{error}");
    assert_eq!(ask(address, "GET", "/v1/kv/a?raw", b"").text(), "1");
}

#[test]
fn a_restart_keeps_everything_and_the_index_goes_on() {
    let weir = Weir::start();
    ask(weir.address, "PUT", "/v1/kv/a", b"1");
    let before = ask(weir.address, "GET", "/v1/kv/a", b"");
    let weir = weir.restart();
    let after = ask(weir.address, "GET", "/v1/kv/a", b"");
    assert_eq!(after.body, before.body);
    assert!(after.index() >= before.index());
    ask(weir.address, "PUT", "/v1/kv/b", b"1");
    assert!(ask(weir.address, "GET", "/v1/kv/b", b"").index() > before.index());
}

#[test]
fn a_connection_from_inside_has_all_rights() {
    let weir = Weir::with(|registry| {
        registry.write_token = Some(Secret("w".to_owned()));
        registry.read_token = Some(Secret("r".to_owned()));
    });
    let connector = weir.running.connector();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = |connector: &weir_serve_registry::Connector, request: &'static [u8]| {
        let mut stream = connector();
        runtime.block_on(async move {
            // After a stop nobody takes it.
            drop(stream.write_all(request).await);
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("text");
            answer
        })
    };
    let put = b"PUT /v1/kv/a HTTP/1.1\r\nHost: registry\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1";
    assert!(answer(&connector, put).ends_with("true"));
    assert!(answer(&connector, b"GET /v1/kv/a?raw HTTP/1.0\r\n\r\n").ends_with("1"));
    weir.running.stop();
    assert_eq!(answer(&connector, put), "");
}

#[test]
fn tls_is_served_with_the_certificate_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let made =
        rcgen::generate_simple_self_signed(vec!["registry.example".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("it is written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it is written");
    let text = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let weir = Weir::with(|registry| registry.tls = Some((text(&cert), text(&key))));

    let tls = weir_model::source::ClientTls { ca: Some(text(&cert)), ..Default::default() };
    let config = weir_tls::client_config(&tls).expect("a client");
    let name = "registry.example".try_into().expect("a name");
    let client = rustls::ClientConnection::new(Arc::clone(&config), name).expect("a session");
    let mut stream =
        rustls::StreamOwned::new(client, TcpStream::connect(weir.address).expect("somebody listens"));
    stream
        .write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = Vec::new();
    // The end comes without a close of TLS at times.
    drop(stream.read_to_end(&mut answer));
    assert!(answer.ends_with(b"\"127.0.0.1:8300\""), "{}", answer.escape_ascii());

    let mut plain = Client::connect(weir.address);
    plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!plain.line_starts_with("HTTP/"));
}

#[test]
fn a_missing_certificate_stops_the_start() {
    let (options, _) = Weir::start()
        .options(|registry| registry.tls = Some(("/nowhere/cert.pem".to_owned(), String::new())));
    let error = match weir_serve_registry::Running::start(options) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    };
    assert!(error.starts_with("cannot read \"/nowhere/cert.pem\""), "{error}");
}
