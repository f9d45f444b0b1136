//! The API over its sockets, with a real directory behind it.

mod metrics;
mod support;

use std::time::Duration;

use serde_json::json;
use support::{PATIENCE, Stage, name};
use weir_directory::State;
use weir_serve_admin::{Client, ClientError, Listing, Obeyed};

#[tokio::test]
async fn states_are_listed_and_found_by_name() {
    let stage = Stage::new();
    let listing: Listing = stage.fetch("/v1/upstreams").await;
    assert_eq!(listing.upstreams.len(), 2);
    assert_ne!(listing.index, 0);
    let one = stage.get("/v1/upstreams/web").await;
    assert_eq!((one.0, &one.1["peers"][0]["address"]), (200, &json!(name(1))));
    let (status, body) = stage.get("/v1/upstreams/wbe").await;
    assert_eq!(status, 404);
    assert_eq!(body["error"], "there is no upstream wbe; there are: web, api");
    let (status, body) = stage.get("/v2").await;
    assert_eq!((status, &body["error"]), (404, &json!("there is nothing at this path")));
    let (status, body) = stage.ask("POST", "/v1/upstreams/web", "").await;
    assert_eq!((status, &body["error"]), (405, &json!("this path has no such method")));
    let (status, body) = stage.get("/v1/upstreams?colour=red").await;
    assert_eq!(status, 400);
    assert!(body["error"].as_str().is_some_and(|error| error.contains("colour")), "{body}");
}

#[tokio::test]
async fn an_order_is_obeyed_and_forgotten() {
    let stage = Stage::new();
    let wish =
        r#"{"state": "drain", "weight": 9, "reason": "release 42", "expires": "10m", "who": "ann@desk"}"#;
    let (status, body) = stage.ask("PUT", &format!("/v1/upstreams/web/peers/{}", name(1)), wish).await;
    assert_eq!(status, 200, "{body}");
    let obeyed: Obeyed = serde_json::from_value(body).expect("what became of it");
    assert_eq!((obeyed.served, obeyed.quiet), (false, false));
    let peer = obeyed.peer.expect("the peer");
    assert_eq!((peer.state, peer.weight, peer.reason.as_str()), (State::Draining, 9, "release 42"));
    assert_eq!(peer.by.map(|by| by.to_string()).as_deref(), Some("ann@desk"));
    assert_eq!(peer.expires, Some(peer.since.expect("since when") + 600_000));
    let (status, body) = stage.ask("DELETE", &format!("/v1/upstreams/web/peers/{}", name(1)), "").await;
    assert_eq!((status, &body["peer"]["state"], &body["peer"]["weight"]), (200, &json!("up"), &json!(1)));
    // Who opened the socket is known without being said.
    let (_, body) =
        stage.ask("PUT", &format!("/v1/upstreams/web/peers/{}", name(1)), r#"{"state":"maintenance"}"#).await;
    let by = body["peer"]["by"]["operator"].as_str().expect("an operator");
    assert!(by.starts_with("uid "), "{by}");
}

#[tokio::test]
async fn orders_that_cannot_be_are_refused_with_the_reason() {
    let stage = Stage::new();
    let path = format!("/v1/upstreams/web/peers/{}", name(1));
    let long = format!(r#"{{"state":"drain","reason":"{}"}}"#, "x".repeat(600));
    for (body, error) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "neither state nor weight"),
        (r#"{"state": "asleep"}"#, "unknown variant `asleep`"),
        (r#"{"state": "drain", "colour": 1}"#, "unknown field `colour`"),
        (r#"{"state": "drain", "expires": "soon"}"#, "\"soon\" is no time"),
        (r#"{"state": "drain", "reason": "a\nb"}"#, "reason has a control character"),
        (r#"{"weight": 0}"#, "weight 0; expected 1 to 65535"),
        (long.as_str(), "reason has 600 bytes; expected at most 512"),
    ] {
        let (status, answer) = stage.ask("PUT", &path, body).await;
        let told = answer["error"].as_str().expect("an error");
        assert!(status == 400 && told.starts_with(error), "{body}: {status} {told}");
        assert!(answer["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{answer}");
    }
    let huge = format!(r#"{{"state":"drain","reason":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(stage.ask("PUT", &path, &huge).await.0, 413);
    let (status, body) =
        stage.ask("PUT", "/v1/upstreams/web/peers/10.0.0.9:81", r#"{"state":"drain"}"#).await;
    assert_eq!(status, 404);
    assert_eq!(
        body["error"],
        "upstream web has no peer 10.0.0.9:81; there are: 10.0.0.1:80, 10.0.0.2:80, unix:/run/a b.sock"
    );
    let listing: Listing = stage.fetch("/v1/upstreams").await;
    assert!(listing.upstreams[0].peers.iter().all(|peer| peer.state == State::Up), "nothing was done");
}

#[tokio::test]
async fn the_last_peer_is_not_taken_out_by_mistake() {
    let stage = Stage::new();
    let path = format!("/v1/upstreams/api/peers/{}", name(1));
    let (status, body) = stage.ask("PUT", &path, r#"{"state":"drain"}"#).await;
    assert_eq!((status, &body["hint"]), (409, &json!("bring another peer up, or send \"force\": true")));
    assert_eq!(stage.ask("PUT", &path, r#"{"state":"drain","force":true}"#).await.0, 200);
    let (_, health) = stage.get("/v1/health").await;
    assert_eq!(
        health,
        json!({"status": "degraded", "upstreams": 2, "problems": ["upstream api: no peer is up"]})
    );
}

#[tokio::test]
async fn names_with_slashes_and_blanks_are_found() {
    let stage = Stage::new();
    let escaped = weir_serve_admin::segment("unix:/run/a b.sock");
    let wish = r#"{"state":"drain"}"#;
    let (status, body) = stage.ask("PUT", &format!("/v1/upstreams/web/peers/{escaped}"), wish).await;
    assert_eq!((status, &body["peer"]["address"]), (200, &json!("unix:/run/a b.sock")));
}

#[tokio::test]
async fn an_order_can_wait_until_it_is_served_and_quiet() {
    let stage = Stage::new();
    let path = format!("/v1/upstreams/web/peers/{}?wait=quiet&timeout=60s", name(1));
    let wish = r#"{"state":"drain","weight":5}"#;
    stage.control.begin_request(&name(1));
    let asked = stage.ask("PUT", &path, wish);
    tokio::pin!(asked);
    stage.control.waiting_for_served(&mut asked).await;
    stage.control.serve_all();
    stage.control.waiting_for_quiet(&mut asked).await;
    stage.control.end_request(&name(1));
    let (status, body) = asked.await;
    assert_eq!((status, &body["served"], &body["quiet"]), (200, &json!(true), &json!(true)));
}

#[tokio::test]
async fn a_wait_that_is_over_says_where_things_stand() {
    let stage = Stage::new();
    stage.control.begin_request(&name(1));
    let ask = async |until: &str, weight: u32| {
        let path = format!("/v1/upstreams/web/peers/{}?wait={until}&timeout=1ms", name(1));
        stage.ask("PUT", &path, &format!(r#"{{"state":"drain","weight":{weight}}}"#)).await
    };
    let (status, body) = ask("served", 5).await;
    assert_eq!((status, &body["served"]), (504, &json!(false)));
    assert_eq!(body["error"], "not all data threads have taken the order over");
    stage.control.serve_all();
    let (status, body) = ask("quiet", 5).await;
    assert_eq!((status, &body["active"]), (504, &json!(1)));
    assert_eq!(body["error"], "1 requests still run at 10.0.0.1:80 of upstream web");
    let (_, shown) = stage.get("/v1/upstreams/web").await;
    assert_eq!(shown["peers"][0]["state"], "draining", "the order holds");
}

#[tokio::test]
async fn the_barrier_opens_when_the_index_is_served() {
    let stage = Stage::new();
    let asked = stage.get("/v1/upstreams/web/wait-applied?index=7&timeout=60s");
    tokio::pin!(asked);
    stage.control.waiting_for_index(&mut asked).await;
    stage.control.list(7);
    stage.control.serve_all();
    assert_eq!(asked.await, (200, json!({"index": 7, "served": 7})));
    let (status, body) = stage.get("/v1/upstreams/web/wait-applied?index=8&timeout=1ms").await;
    assert_eq!((status, &body["index"], &body["served"]), (504, &json!(7), &json!(7)));
    assert_eq!(body["hint"], "its source has told of index 7 only: look at its error in /v1/upstreams/web");
    let (status, body) = stage.get("/v1/upstreams/api/wait-applied?index=8").await;
    assert_eq!((status, &body["error"]), (409, &json!("upstream api has no source that counts its changes")));
    assert_eq!(stage.get("/v1/upstreams/wbe/wait-applied?index=8").await.0, 404);
    assert_eq!(stage.get("/v1/upstreams/web/wait-applied").await.0, 400);
    assert_eq!(stage.get("/v1/upstreams/web/wait-applied?index=8&timeout=soon").await.0, 400);
}

#[tokio::test]
async fn a_long_poll_is_answered_by_what_is_new() {
    let stage = Stage::new();
    let first: Listing = stage.fetch("/v1/upstreams").await;
    let index = first.index;
    let same: Listing = stage.fetch(&format!("/v1/upstreams?index={index}&wait=1ms")).await;
    assert_eq!(same.index, index);
    let at_once: Listing = stage.fetch("/v1/upstreams?index=0&wait=600s").await;
    assert_eq!(at_once.index, index);
    let path = format!("/v1/upstreams?index={index}&wait=600s");
    let asked = stage.fetch::<Listing>(&path);
    tokio::pin!(asked);
    stage.control.waiting_for_change(&mut asked).await;
    stage.control.list(3);
    let next = asked.await;
    assert!(next.index > index);
    assert_eq!(next.upstreams[0].sources[0].index, Some(3));
}

#[tokio::test]
async fn over_tcp_tokens_decide() {
    let stage = Stage::new();
    let path = format!("/v1/upstreams/web/peers/{}", name(1));
    let wish = r#"{"state":"drain"}"#;
    for (method, token, status, error) in [
        ("GET", "", 403, "no token; expected Authorization: Bearer TOKEN"),
        ("GET", "wrong", 403, "wrong token"),
        ("GET", "reader", 200, ""),
        ("PUT", "", 403, "no token; expected Authorization: Bearer TOKEN"),
        ("PUT", "reader", 403, "this token may only read"),
        ("PUT", "writer", 200, ""),
        ("GET", "writer", 200, ""),
    ] {
        let target = if method == "GET" { "/v1/upstreams/web" } else { &path };
        let (found, body) = stage.ask_tcp(method, target, token, wish).await;
        assert_eq!(found, status, "{method} {token}: {body}");
        assert_eq!(body["error"].as_str().unwrap_or_default(), error);
        let drained = stage.control.state(&name(1)) == State::Draining;
        assert_eq!(drained, (method, status) == ("PUT", 200) || token == "writer", "403 and nothing done");
    }
}

#[tokio::test]
async fn nonsense_on_the_wire_harms_nobody() {
    let stage = Stage::new();
    for nonsense in ["\0\0\0", "GET\r\n\r\n", "GET / HTTP/1.1\r\nhost\r\n\r\n", &"x".repeat(100_000)] {
        let answer = stage.raw_tcp(nonsense.as_bytes()).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(stage.get("/v1/health").await.0, 200);
}

#[test]
fn without_a_node_the_client_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Client::new(folder.path().join("control.sock"));
    let error = client.send_blocking("GET".parse().expect("a method"), "/", Vec::new(), PATIENCE);
    assert!(matches!(error, Err(ClientError::Connect(_))), "{error:?}");
    let silent = std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).expect("bind");
    let short = Duration::from_millis(1);
    let error = client.send_blocking("GET".parse().expect("a method"), "/", Vec::new(), short);
    assert!(matches!(error, Err(ClientError::Timeout(_))), "{error:?}");
    drop(silent);
}
