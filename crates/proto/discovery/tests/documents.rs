//! What each kind of document says, and what of it is refused.

use weir_discovery::{Defect, Document, Target, consul, etcd2, etcd3, folder};
use weir_model::{ListenAddress, Millis, Peer};

/// A peer with the defaults of the upsync module.
fn template() -> Peer {
    Peer { max_fails: 2, ..Peer::new(ListenAddress::Unix(String::new()), "") }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// One line a peer: its text and what differs from the defaults.
fn lines(document: &Document) -> Vec<String> {
    let line = |peer: &Peer| {
        let mut line =
            format!("{} w{} f{} t{}", peer.server, peer.weight, peer.max_fails, peer.fail_timeout.0);
        for (flag, name) in [(peer.backup, " backup"), (peer.down, " down"), (peer.drain, " drain")] {
            line.push_str(if flag { name } else { "" });
        }
        line
    };
    document.entries.iter().map(|entry| line(&entry.peer)).collect()
}

#[test]
fn keys_of_consul() {
    let body = format!(
        r#"[{{"Key":"upstreams/app/","Flags":0,"Value":null}},
            {{"Key":"upstreams/app/192.0.2.1:80","Value":null,"ModifyIndex":7}},
            {{"Key":"upstreams/app/192.0.2.2:80","Value":"{}"}},
            {{"Key":"upstreams/app/[2001:db8::1]:80","Value":"{}"}},
            {{"Key":"upstreams/app/web.lan:80","Value":""}},
            {{"Key":"upstreams/app/192.0.2.3","Value":null}},
            {{"Key":"upstreams/app/192.0.2.4:80","Value":"{}"}},
            {{"Key":"upstreams/app/192.0.2.5:80","Value":"{}"}},
            {{"Key":"upstreams/app/192.0.2.6:80","Value":"***"}}]"#,
        base64(r#"{"weight":10,"max_fails":3,"fail_timeout":30,"down":1}"#),
        base64(r#"{"weight":"2","backup":"1"}"#),
        base64("weight=3"),
        base64("[1]"),
    );
    let document = consul::keys(body.as_bytes(), &template()).expect("a list of keys");
    assert_eq!(
        lines(&document),
        [
            "192.0.2.1:80 w1 f2 t10000",
            "192.0.2.2:80 w10 f3 t30000 drain",
            "[2001:db8::1]:80 w2 f2 t10000 backup",
            "web.lan:80 w1 f2 t10000",
        ]
    );
    assert_eq!(document.entries[3].target, Target::Name { host: "web.lan".to_owned(), port: 80 });
    assert_eq!(
        document.rejected,
        [
            "192.0.2.3: no port; expected ADDRESS:PORT",
            r#"192.0.2.4:80: its value is no JSON (expected value at line 1 column 1), expected {"weight":1}"#,
            r#"192.0.2.5:80: its value is [1], expected {"weight":1}"#,
            "192.0.2.6:80: its value is no base64: Invalid symbol 42, offset 0.",
        ]
    );
}

#[test]
fn a_long_value_is_read_to_its_end() {
    let value = format!(r#"{{"comment":"{}","weight":4}}"#, "x".repeat(5000));
    let body = format!(r#"[{{"Key":"a/192.0.2.1:80","Value":"{}"}}]"#, base64(&value));
    let document = consul::keys(body.as_bytes(), &template()).expect("a list of keys");
    assert_eq!(lines(&document), ["192.0.2.1:80 w4 f2 t10000"]);
}

#[test]
fn answers_that_are_not_believed() {
    let expected = "a list of keys as Consul's /v1/kv gives it";
    let defect = |body: &str| consul::keys(body.as_bytes(), &template()).expect_err(body);
    assert_eq!(defect(""), Defect::Empty(expected));
    assert_eq!(defect(" \r\n"), Defect::Empty(expected));
    for (body, words) in [
        (r#"[{"Key":"a/192.0.2.1:80","Val"#, "EOF while parsing a string at line 1 column 29"),
        ("<html>", "expected value at line 1 column 1"),
        (r#"{"errors":1}"#, "invalid type: map, expected a sequence at line 1 column 0"),
        ("[]trailing", "trailing characters at line 1 column 3"),
        (r#"[{"Value":null}]"#, "missing field `Key` at line 1 column 15"),
    ] {
        assert_eq!(defect(body), Defect::Unreadable { problem: words.to_owned(), expected }, "{body}");
    }
    assert_eq!(consul::keys(b"[]", &template()), Ok(Document::default()));
}

#[test]
fn services_of_the_catalog() {
    let body = br#"[
        {"Node":"n1","Address":"192.0.2.10","ServiceID":"a","ServiceAddress":"","ServicePort":80,"ServiceTags":null},
        {"Address":"192.0.2.10","ServiceAddress":"192.0.2.11","ServicePort":81,
         "ServiceTags":["weight=5","max_fails=1","fail_timeout=3s","backup","v1"]},
        {"Address":"192.0.2.10","ServiceAddress":"2001:db8::1","ServicePort":82,"ServiceTags":["down"]},
        {"Address":"192.0.2.10","ServiceAddress":"host.lan","ServicePort":83,"ServiceTags":["weight=no"]},
        {"Address":"192.0.2.10","ServiceAddress":"","ServicePort":0}]"#;
    let document = consul::services(body, &template()).expect("a list of services");
    assert_eq!(
        lines(&document),
        [
            "192.0.2.10:80 w1 f2 t10000",
            "192.0.2.11:81 w5 f1 t3000 backup",
            "[2001:db8::1]:82 w1 f2 t10000 drain",
            "host.lan:83 w1 f2 t10000",
        ]
    );
    assert_eq!(
        document.rejected[0],
        r#"host.lan:83: tag "weight=no" is ignored: invalid parameter "weight=no""#
    );
    assert_eq!(document.rejected[1], "192.0.2.10:0: its port is none, expected 1 to 65535");
}

#[test]
fn health_of_a_service() {
    let entry = |port: u16, checks: &str| {
        format!(
            r#"{{"Node":{{"Node":"n","Address":"192.0.2.1"}},"Service":{{"Address":"","Port":{port},"Tags":["weight=2"]}},
                "Checks":{checks}}}"#
        )
    };
    let list = [
        entry(1, r#"[{"CheckID":"serfHealth","Status":"passing"}]"#),
        entry(2, r#"[{"Status":"passing"},{"Status":"warning"}]"#),
        entry(3, r#"[{"Status":"warning"},{"Status":"critical"}]"#),
        entry(4, r#"[{"CheckID":"_service_maintenance:x","Status":"critical"}]"#),
        entry(5, r#"[{"Status":"maintenance"}]"#),
        entry(6, "null"),
    ];
    let document =
        consul::health(format!("[{}]", list.join(",")).as_bytes(), &template()).expect("a list of services");
    assert_eq!(
        lines(&document),
        [
            "192.0.2.1:1 w2 f2 t10000",
            "192.0.2.1:2 w2 f2 t10000 drain",
            "192.0.2.1:3 w2 f2 t10000 down",
            "192.0.2.1:4 w2 f2 t10000 down",
            "192.0.2.1:5 w2 f2 t10000 down",
            "192.0.2.1:6 w2 f2 t10000",
        ]
    );
}

#[test]
fn keys_of_etcd_2() {
    let body = br#"{"action":"get","node":{"key":"/app","dir":true,"nodes":[
        {"key":"/app/192.0.2.1:80","value":"{\"weight\":2}","modifiedIndex":4},
        {"key":"/app/deep","dir":true,"nodes":[{"key":"/app/deep/192.0.2.2:80","value":""}]},
        {"key":"/app/x","value":""}]}}"#;
    let document = etcd2::list(body, &template()).expect("a node");
    assert_eq!(lines(&document), ["192.0.2.1:80 w2 f2 t10000", "192.0.2.2:80 w1 f2 t10000"]);
    assert_eq!(document.rejected, ["x: no port; expected ADDRESS:PORT"]);

    let missing = br#"{"errorCode":100,"message":"Key not found","cause":"/app","index":9}"#;
    assert_eq!(etcd2::list(missing, &template()), Ok(Document::default()));
    let cleared =
        br#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","index":2007}"#;
    let message = "The event in requested index is outdated and cleared".to_owned();
    assert_eq!(etcd2::event(cleared), Err(Defect::Store { code: etcd2::EVENTS_CLEARED, message }));
    assert_eq!(etcd2::event(br#"{"action":"set","node":{"key":"/app/a","value":""}}"#), Ok(()));
    let error = etcd2::list(b"{}", &template()).expect_err("no node");
    assert!(error.to_string().contains(r#"it has no "node""#), "{error}");
}

#[test]
fn keys_of_etcd_3() {
    let pair = |key: &str, value: &str| format!(r#"{{"key":"{}","value":"{}"}}"#, base64(key), base64(value));
    let body = format!(
        r#"{{"header":{{"cluster_id":"1","revision":"12"}},"kvs":[{}],"count":"1"}}"#,
        pair("/app/192.0.2.1:80", r#"{"weight":2}"#)
    );
    let mut keys = etcd3::Keys::list(body.as_bytes()).expect("an answer");
    assert_eq!(
        (keys.revision(), lines(&keys.document(&template()))),
        (12, vec!["192.0.2.1:80 w2 f2 t10000".to_owned()])
    );

    let created = br#"{"result":{"header":{"revision":"12"},"created":true}}"#;
    assert_eq!(keys.apply(created), Ok(etcd3::Step::Nothing));
    let events = format!(
        r#"{{"result":{{"header":{{"revision":"13"}},"events":[{{"kv":{}}},{{"type":"DELETE","kv":{{"key":"{}"}}}}]}}}}"#,
        pair("/app/192.0.2.2:80", ""),
        base64("/app/192.0.2.1:80")
    );
    assert_eq!(keys.apply(events.as_bytes()), Ok(etcd3::Step::Changed));
    assert_eq!(
        (keys.revision(), lines(&keys.document(&template()))),
        (13, vec!["192.0.2.2:80 w1 f2 t10000".to_owned()])
    );

    let compacted = br#"{"result":{"header":{"revision":"99"},"canceled":true,"compact_revision":"50"}}"#;
    assert_eq!(keys.apply(compacted), Ok(etcd3::Step::Relist));
    let denied =
        br#"{"error":"etcdserver: user name is empty","message":"etcdserver: user name is empty","code":3}"#;
    let denied = etcd3::Keys::list(denied).expect_err("an error");
    assert_eq!(denied.to_string(), "the store answers error 3: etcdserver: user name is empty");
    let before = keys.clone();
    for wrong in ["{}", r#"{"result":{"events":[{"kv":{"key":"%"}}]}}"#, "x", ""] {
        assert!(keys.apply(wrong.as_bytes()).is_err(), "{wrong}");
        assert_eq!(keys, before, "{wrong}");
    }
}

#[test]
fn ranges_of_etcd_3_end_behind_the_prefix() {
    for (prefix, key, end) in [("a/", "a/", "a0"), ("", "\0", "\0"), ("z", "z", "{")] {
        let expected = serde_json::json!({ "key": base64(key), "range_end": base64(end) });
        assert_eq!(etcd3::range(prefix), expected.to_string(), "{prefix}");
    }
}

#[test]
fn files_of_a_folder() {
    let text = b"# two servers\nserver 192.0.2.1 weight=3 max_fails=0;\nserver [2001:db8::1]:8080 backup;\n\
        server 192.0.2.2:80 wait=1;\nserver 192.0.2.3:0;\nlocation / { }\nserver unix:/run/app.sock down;\nserver;\n";
    let document = folder::file("app.conf", text, &Peer { fail_timeout: Millis(5000), ..template() })
        .expect("lines that end");
    assert_eq!(
        lines(&document),
        [
            "192.0.2.1 w3 f0 t5000",
            "[2001:db8::1]:8080 w1 f2 t5000 backup",
            "unix:/run/app.sock w1 f2 t5000 down",
        ]
    );
    let rejected = &document.rejected;
    assert!(rejected[0].starts_with(r#"app.conf:4: invalid parameter "wait=1""#), "{rejected:?}");
    assert_eq!(
        rejected[1..],
        [
            "app.conf:5: invalid port; expected ADDRESS:PORT",
            r#"app.conf:6: unexpected "location", expected: server ADDRESS PARAMETERS;"#,
            "app.conf:8: no address, expected: server ADDRESS PARAMETERS;",
        ]
    );
}

#[test]
fn a_file_that_is_half_written_is_not_believed() {
    let half = folder::file("app.conf", b"server 192.0.2.1;\nserver 192.0.2.2", &template())
        .expect_err("half a line");
    assert!(half.contains("unexpected end of file"), "{half}");
    let include = folder::file("app.conf", b"include other.conf;", &template()).expect_err("an include");
    assert!(include.contains("include is not followed"), "{include}");
    for (name, read) in [("a", true), ("a.conf", true), (".a.swp", false), ("a~", false), ("a.tmp", false)] {
        assert_eq!(folder::is_read(name), read, "{name}");
    }
}
