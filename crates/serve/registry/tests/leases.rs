//! Registrations that live as long as the connection that made them.

mod support;

use std::net::SocketAddr;

use support::{Client, Weir, ask};

/// The state of a service once it is another than `not`, by a blocking question.
fn instances(address: SocketAddr, service: &str, wanted: usize) -> serde_json::Value {
    let path = format!("/v1/health/service/{service}");
    let mut index = 0;
    loop {
        let answer = ask(address, "GET", &format!("{path}?index={index}&wait=20s"), b"");
        let rows = answer.json();
        if rows.as_array().map(Vec::len) == Some(wanted) {
            return rows;
        }
        assert_ne!(index, answer.index(), "no change within the wait: {rows}");
        index = answer.index();
    }
}

fn open(address: SocketAddr, path: &str) -> Client {
    let mut connection = Client::connect(address);
    connection.send(format!("PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes());
    connection
}

#[test]
fn a_service_goes_with_its_connection() {
    let weir = Weir::start();
    let connection = open(weir.address, "/v1/weir/register?service=web&port=8080&tag=a&meta=zone:b&weight=3");
    let rows = instances(weir.address, "web", 1);
    let service = &rows[0]["Service"];
    assert_eq!(service["ID"], "web-127.0.0.1-8080");
    assert_eq!(service["Address"], "127.0.0.1");
    assert_eq!((&service["Tags"][0], &service["Meta"]["zone"]), (&"a".into(), &"b".into()));
    assert_eq!(service["Weights"]["Passing"], 3);
    drop(connection);
    instances(weir.address, "web", 0);
}

#[test]
fn an_old_connection_does_not_take_a_new_one_s_service_away() {
    let weir = Weir::start();
    let path = "/v1/weir/register?service=web&port=8080";
    let old = open(weir.address, path);
    instances(weir.address, "web", 1);
    let mut new = open(weir.address, &format!("{path}&tag=new"));
    assert!(new.line_starts_with("HTTP/1.1 200"));
    drop(old);
    // A later registration and its end are seen after the old connection's end.
    let other = open(weir.address, "/v1/weir/register?service=other&port=1");
    instances(weir.address, "other", 1);
    drop(other);
    instances(weir.address, "other", 0);
    let rows = instances(weir.address, "web", 1);
    assert_eq!(rows[0]["Service"]["Tags"][0], "new");
}

#[test]
fn a_key_goes_with_its_connection_and_keeps_what_others_wrote() {
    let weir = Weir::start();
    let key = "/v1/kv/upstreams/web/127.0.0.1:8080";
    ask(weir.address, "PUT", key, br#"{"weight":7}"#);
    let mut connection = open(weir.address, "/v1/weir/register?kv=upstreams/web&port=8080");
    assert!(connection.line_starts_with("HTTP/1.1 200"));
    let entry = ask(weir.address, "GET", key, b"");
    assert!(entry.json()[0]["Session"].is_string());
    assert_eq!(ask(weir.address, "GET", &format!("{key}?raw"), b"").text(), r#"{"weight":7}"#);
    drop(connection);
    let gone = ask(weir.address, "GET", &format!("{key}?index={}&wait=20s", entry.index()), b"");
    assert_eq!(gone.status, 404);
}

#[test]
fn a_registry_that_restarts_keeps_what_is_registered() {
    let weir = Weir::start();
    let _connection = open(weir.address, "/v1/weir/register?service=web&port=8080");
    instances(weir.address, "web", 1);
    let weir = weir.restart();
    let rows = instances(weir.address, "web", 1);
    assert_eq!(rows[0]["Checks"][1]["Status"], "passing");
}

#[test]
fn what_is_wrong_is_said() {
    let weir = Weir::start();
    for (query, text) in [
        (
            "port=1",
            "no service= in the query; expected /v1/weir/register?service=NAME&port=PORT or ?kv=PREFIX",
        ),
        ("service=a", "port \"\"; expected port=1 to port=65535"),
        ("service=a&port=1&address=x", "address \"x\"; expected an IP address, or none for your own"),
        ("service=a&port=1&ttl=5", "ttl= is no time; expected a number with a unit, as 10s"),
        ("service=a&port=1&meta=x", "meta=x has no colon; expected meta=KEY:VALUE"),
        ("service=a&port=1&status=x", "status \"x\"; expected passing, warning or critical"),
        ("kv=/", "kv= is empty; expected kv=PREFIX/ADDRESS:PORT, or kv=PREFIX with port=PORT"),
    ] {
        let answer = ask(weir.address, "PUT", &format!("/v1/weir/register?{query}"), b"");
        assert_eq!((answer.status, answer.text()), (400, text.to_owned()));
    }
    let answer = ask(weir.address, "PUT", "/v1/weir/register?service=a&port=1&ttl=10s", b"");
    assert_eq!(answer.json()["ID"], "a-127.0.0.1-1");
    assert_eq!(ask(weir.address, "GET", "/v1/weir/version", b"").json()["Features"][0], "lease");
}
