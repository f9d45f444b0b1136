//! The same requests to a real Consul and to the registry: status, headers and bodies, with ids and indexes made equal.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use support::{Client, Consul, Response, Weir, ask};

/// What of two answers has to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// Status, headers, body.
    All,
    /// Status and headers; of the body of an error only the words up to the first colon, since behind it stands the text of
    /// Go's own library.
    Begin,
    /// Status and headers alone.
    Status,
}

/// Method, path, body, what is compared. `{NAME}` stands for the id that the last `create` of that name answered.
type Step = (&'static str, &'static str, &'static str, Same);

use Same::{All, Begin, Status};

const KEYS: &[Step] = &[
    ("GET", "/v1/kv/none", "", All),
    ("GET", "/v1/kv/none?raw", "", All),
    ("GET", "/v1/kv/none?recurse", "", All),
    ("GET", "/v1/kv/none?keys", "", All),
    ("GET", "/v1/kv/", "", All),
    ("GET", "/v1/kv/?recurse", "", All),
    ("PUT", "/v1/kv/", "x", All),
    ("PUT", "/v1/kv/?recurse", "x", All),
    ("DELETE", "/v1/kv/", "", All),
    ("PUT", "/v1/kv/a/b", "hello", All),
    ("GET", "/v1/kv/a/b", "", All),
    ("GET", "/v1/kv/a/b?raw", "", All),
    ("GET", "/v1/kv/a/b?pretty", "", All),
    ("GET", "/v1/kv/a%2Fb", "", All),
    ("GET", "/v1/kv/a//b", "", Status),
    ("GET", "/v1/kv/a%2F%2Fb", "", Status),
    ("GET", "/v1/kv/a/../b?x=1", "", Status),
    ("PUT", "/v1//kv/z", "x", All),
    ("GET", "/v1/kv", "", Status),
    ("GET", "/v1/x", "", All),
    ("GET", "/v1", "", All),
    ("PUT", "/v1/kv/a/b?flags=42", "hello", All),
    ("GET", "/v1/kv/a/b", "", All),
    ("PUT", "/v1/kv/a/b", "hello", All),
    ("GET", "/v1/kv/a/b", "", All),
    ("PUT", "/v1/kv/empty", "", All),
    ("GET", "/v1/kv/empty", "", All),
    ("GET", "/v1/kv/empty?raw", "", All),
    ("PUT", "/v1/kv/a/c/d", "1", All),
    ("PUT", "/v1/kv/ab", "2", All),
    ("GET", "/v1/kv/a?recurse", "", All),
    ("GET", "/v1/kv/a/?recurse", "", All),
    ("GET", "/v1/kv/a?keys", "", All),
    ("GET", "/v1/kv/a?keys&separator=/", "", All),
    ("GET", "/v1/kv/a/?keys&separator=/", "", All),
    ("GET", "/v1/kv/?keys&separator=%2F", "", All),
    ("GET", "/v1/kv/?keys", "", All),
    ("GET", "/v1/kv/a?recurse&raw", "", All),
    ("GET", "/v1/kv/a?keys&recurse", "", All),
    ("PUT", "/v1/kv/%ff%fe%20a+b", "odd", All),
    ("GET", "/v1/kv/%ff%fe%20a+b", "", All),
    ("GET", "/v1/kv/%ff?keys", "", All),
    ("PUT", "/v1/kv/%3C&%3E", "<&>", All),
    ("GET", "/v1/kv/%3C&%3E", "", All),
    ("PUT", "/v1/kv/f?flags=abc", "x", All),
    ("PUT", "/v1/kv/f?flags=-1", "x", All),
    ("PUT", "/v1/kv/f?flags=", "x", All),
    ("PUT", "/v1/kv/f?flags=18446744073709551615", "x", All),
    ("PUT", "/v1/kv/f?flags=18446744073709551616", "x", All),
    ("GET", "/v1/kv/f", "", All),
    ("PUT", "/v1/kv/f?cas=abc", "x", All),
    ("PUT", "/v1/kv/f?cas=0", "y", All),
    ("PUT", "/v1/kv/f?cas=1", "y", All),
    ("PUT", "/v1/kv/g?cas=1", "y", All),
    ("PUT", "/v1/kv/g?cas=0", "y", All),
    ("PUT", "/v1/kv/f?cas=1&acquire=x", "", All),
    ("PUT", "/v1/kv/f?acquire=x&release=y", "", All),
    ("DELETE", "/v1/kv/f?cas=x", "", All),
    ("DELETE", "/v1/kv/f?cas=0", "", All),
    ("DELETE", "/v1/kv/f?cas=1", "", All),
    ("DELETE", "/v1/kv/f?cas=0&recurse", "", All),
    ("GET", "/v1/kv/f", "", All),
    ("DELETE", "/v1/kv/f", "", All),
    ("DELETE", "/v1/kv/f", "", All),
    ("GET", "/v1/kv/f", "", All),
    ("DELETE", "/v1/kv/a?recurse", "", All),
    ("GET", "/v1/kv/a?recurse", "", All),
    ("DELETE", "/v1/kv/?recurse", "", All),
    ("GET", "/v1/kv/?recurse", "", All),
];

const TRANSPORT: &[Step] = &[
    ("POST", "/v1/kv/a", "", All),
    ("HEAD", "/v1/kv/a", "", All),
    ("OPTIONS", "/v1/kv/a", "", All),
    ("PATCH", "/v1/session/create", "", All),
    ("PUT", "/v1/session/list", "", All),
    ("GET", "/v1/txn", "", All),
    ("OPTIONS", "/v1/txn", "", All),
    ("PUT", "/v1/status/leader", "", All),
    ("DELETE", "/v1/snapshot", "", All),
    ("PUT", "/v1/kv/a", "1", All),
    ("GET", "/v1/kv/a?stale", "", All),
    ("GET", "/v1/kv/a?consistent", "", All),
    ("GET", "/v1/kv/a?stale&consistent", "", All),
    ("GET", "/v1/kv/a?dc=dc1", "", All),
    ("GET", "/v1/kv/a?dc=dc2", "", All),
    ("PUT", "/v1/kv/a?dc=dc2", "x", All),
    ("GET", "/v1/session/list?dc=dc2", "", All),
    ("PUT", "/v1/session/create?dc=dc2", "", All),
    ("GET", "/v1/kv/a?ns=x", "", All),
    ("GET", "/v1/kv/a?wait=1", "", All),
    ("GET", "/v1/kv/a?wait=1s", "", All),
    ("GET", "/v1/kv/a?index=-1", "", All),
    ("GET", "/v1/kv/a?index=x", "", All),
    ("GET", "/v1/kv/a?index=x&wait=y", "", All),
    ("GET", "/v1/kv/a?index=0&wait=1s", "", All),
    ("GET", "/v1/kv/a?index=100000&wait=10ms", "", All),
    ("GET", "/v1/kv/none?index=100000&wait=10ms", "", All),
    ("GET", "/v1/session/list?index=100000&wait=10ms", "", All),
    ("GET", "/v1/kv/a?token=anything", "", All),
    ("GET", "/v1/status/leader", "", All),
    ("GET", "/v1/status/peers", "", All),
    ("GET", "/v1/operator/raft/configuration", "", All),
];

const SESSIONS: &[Step] = &[
    ("GET", "/v1/session/list", "", All),
    ("PUT", "/v1/session/create", "{\"Name\":\"one\"}", All),
    ("GET", "/v1/session/info/{one}", "", All),
    ("GET", "/v1/session/node/node1", "", All),
    ("GET", "/v1/session/node/none", "", All),
    ("GET", "/v1/session/node/", "", All),
    ("GET", "/v1/session/list", "", All),
    (
        "PUT",
        "/v1/session/create",
        "{\"name\":\"two\",\"ttl\":\"10s\",\"LockDelay\":\"1ms\",\"bogus\":1}",
        All,
    ),
    ("GET", "/v1/session/info/{two}", "", All),
    ("PUT", "/v1/session/renew/{two}", "", All),
    ("PUT", "/v1/session/create", "{\"Name\":\"three\",\"LockDelay\":5,\"Behavior\":\"delete\"}", All),
    ("GET", "/v1/session/info/{three}", "", All),
    ("PUT", "/v1/session/create", "{\"TTL\":\"5s\"}", All),
    ("PUT", "/v1/session/create", "{\"TTL\":\"25h\"}", All),
    ("PUT", "/v1/session/create", "{\"TTL\":\"abc\"}", All),
    ("PUT", "/v1/session/create", "{\"TTL\":5000000000}", Begin),
    ("PUT", "/v1/session/create", "{\"LockDelay\":\"abc\"}", All),
    ("PUT", "/v1/session/create", "{", All),
    ("PUT", "/v1/session/create", "[]", Begin),
    ("PUT", "/v1/session/create", "{\"Name\":5}", Begin),
    ("PUT", "/v1/session/create", "{\"Behavior\":\"x\"}", All),
    ("PUT", "/v1/session/create", "{\"Checks\":[\"nochk\"]}", All),
    ("PUT", "/v1/session/create", "{\"NodeChecks\":[\"nochk\"]}", All),
    ("PUT", "/v1/session/create", "{\"ServiceChecks\":[{\"ID\":\"nochk\"}]}", All),
    ("PUT", "/v1/session/create", "{\"Node\":\"nonode\"}", All),
    ("GET", "/v1/session/info/x", "", All),
    ("GET", "/v1/session/info/", "", All),
    ("GET", "/v1/session/info/aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "", All),
    ("PUT", "/v1/session/renew/aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "", All),
    ("PUT", "/v1/session/renew/x", "", All),
    ("PUT", "/v1/session/renew/", "", All),
    ("PUT", "/v1/session/destroy/", "", All),
    ("PUT", "/v1/session/destroy/x", "", All),
    ("PUT", "/v1/session/destroy/aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "", All),
    // Locks.
    ("PUT", "/v1/kv/lock?acquire=x", "v", All),
    ("PUT", "/v1/kv/lock?acquire=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "v", All),
    ("PUT", "/v1/kv/lock?release=x", "v", All),
    ("PUT", "/v1/kv/lock?release=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "v", All),
    ("PUT", "/v1/kv/lock?acquire={one}", "v1", All),
    ("GET", "/v1/kv/lock", "", All),
    ("PUT", "/v1/kv/lock?acquire={one}", "v1", All),
    ("PUT", "/v1/kv/lock?acquire={two}", "v2", All),
    ("PUT", "/v1/kv/lock?release={two}", "v2", All),
    ("PUT", "/v1/kv/lock?release={one}", "gone", All),
    ("GET", "/v1/kv/lock", "", All),
    ("PUT", "/v1/kv/lock?acquire={two}&flags=3304740253564472344", "v2", All),
    ("GET", "/v1/kv/lock", "", All),
    ("PUT", "/v1/session/destroy/{two}", "", All),
    ("GET", "/v1/kv/lock", "", All),
    ("PUT", "/v1/kv/mine?acquire={three}", "v3", All),
    ("GET", "/v1/kv/mine", "", All),
    ("PUT", "/v1/session/destroy/{three}", "", All),
    ("GET", "/v1/kv/mine", "", All),
    // The delay of a lock that its session lost.
    ("PUT", "/v1/kv/late?acquire={one}", "v1", All),
    ("PUT", "/v1/session/create", "{\"Name\":\"four\"}", All),
    ("PUT", "/v1/session/destroy/{one}", "", All),
    ("PUT", "/v1/kv/late?acquire={four}", "v4", All),
    ("GET", "/v1/kv/late", "", All),
];

const TRANSACTIONS: &[Step] = &[
    ("PUT", "/v1/txn", "[]", All),
    ("PUT", "/v1/txn", "null", All),
    ("PUT", "/v1/txn", "[{}]", All),
    ("PUT", "/v1/txn", "{}", Begin),
    ("PUT", "/v1/txn", "x", Begin),
    ("PUT", "/v1/txn", "", All),
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"t/1\",\"Value\":\"aGk=\",\"Flags\":3}},{\"KV\":{\"Verb\":\"get\",\"Key\":\"t/1\"}}]",
        All,
    ),
    ("PUT", "/v1/txn", "[{\"KV\":{\"verb\":\"set\",\"key\":\"t/low\",\"value\":\"aGk=\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"t/1\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"t/none\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"get-tree\",\"Key\":\"t/\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"get-tree\",\"Key\":\"none/\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"bogus\",\"Key\":\"t/\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"cas\",\"Key\":\"t/1\",\"Index\":1,\"Value\":\"aGk=\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"cas\",\"Key\":\"t/2\",\"Index\":0,\"Value\":\"aGk=\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"check-not-exists\",\"Key\":\"t/1\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"check-not-exists\",\"Key\":\"t/none\"}}]", All),
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"check-session\",\"Key\":\"t/1\",\"Session\":\"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\"}}]",
        All,
    ),
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"lock\",\"Key\":\"t/1\",\"Session\":\"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\"}}]",
        All,
    ),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"lock\",\"Key\":\"t/1\"}}]", All),
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"unlock\",\"Key\":\"t/1\",\"Session\":\"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\"}}]",
        All,
    ),
    ("PUT", "/v1/session/create", "{\"Name\":\"txn\"}", All),
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"lock\",\"Key\":\"t/l\",\"Value\":\"aGk=\",\"Session\":\"{txn}\"}}]",
        All,
    ),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"check-session\",\"Key\":\"t/l\",\"Session\":\"{txn}\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"unlock\",\"Key\":\"t/l\",\"Session\":\"{txn}\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"t/v\",\"Value\":\"!!\"}}]", Begin),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"delete-cas\",\"Key\":\"t/1\",\"Index\":1}}]", All),
    // All or nothing.
    (
        "PUT",
        "/v1/txn",
        "[{\"KV\":{\"Verb\":\"set\",\"Key\":\"t/new\",\"Value\":\"aGk=\"}},{\"KV\":{\"Verb\":\"check-not-exists\",\"Key\":\"t/1\"}}]",
        All,
    ),
    ("GET", "/v1/kv/t/new", "", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"delete\",\"Key\":\"t/none\"}}]", All),
    ("PUT", "/v1/txn", "[{\"KV\":{\"Verb\":\"delete-tree\",\"Key\":\"t/\"}}]", All),
    ("GET", "/v1/kv/t?recurse", "", All),
    ("PUT", "/v1/txn?dc=x", "[]", All),
];

/// Headers that clients read.
const HEADERS: &[&str] = &[
    "Content-Type",
    "X-Consul-Index",
    "X-Consul-Knownleader",
    "X-Consul-Lastcontact",
    "X-Consul-Effective-Consistency",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Allow",
    "Location",
];

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
}

fn seen(response: &Response, same: Same) -> Seen {
    let mut headers = BTreeMap::new();
    for name in HEADERS {
        if let Some(value) = response.header(name) {
            let value = if *name == "X-Consul-Index" { "some" } else { value };
            headers.insert(*name, value.to_owned());
        }
    }
    if response.status == 301 {
        // A page for people is no part of the API.
        headers.remove("Content-Type");
    }
    let text = response.text();
    let body = match same {
        Status => String::new(),
        Begin => text.split(':').next().unwrap_or_default().to_owned(),
        All => match serde_json::from_str::<Value>(&text) {
            Ok(value) => plain(value).to_string(),
            Err(_) => masked(&text),
        },
    };
    Seen { status: response.status, headers, body }
}

/// Indexes of entries, ids and addresses made equal.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let counts = matches!(name.as_str(), "CreateIndex" | "ModifyIndex");
                let value =
                    if counts && value.as_u64() > Some(0) { Value::from("some") } else { plain(value) };
                (name, value)
            })
            .collect(),
        Value::String(text) => Value::String(masked(&text)),
        other => other,
    }
}

/// A text without ids, without the port of a server, without the numbers that indexes have in texts.
fn masked(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(['"', '\'', ',', '\n']);
        let is_id = bare.len() == 36
            && bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
            && !bare.starts_with("aaaa");
        if is_id {
            word.replace(bare, "ID")
        } else if bare.starts_with("127.0.0.1:") {
            word.replace(bare, "ADDRESS")
        } else {
            word.to_owned()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Sends the steps; gives what was seen at each.
fn run(address: SocketAddr, steps: &[Step]) -> Vec<Seen> {
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let fill = |text: &str, ids: &BTreeMap<String, String>| {
        ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    };
    let mut all = Vec::new();
    for (method, path, body, same) in steps {
        let response = ask(address, method, &fill(path, &ids), fill(body, &ids).as_bytes());
        if *path == "/v1/session/create" && response.status == 200 {
            let asked: Value = serde_json::from_str(body).unwrap_or_default();
            let name = asked.get("Name").or(asked.get("name")).and_then(Value::as_str).unwrap_or_default();
            let id = response.json()["ID"].as_str().expect("an id").to_owned();
            ids.insert(name.to_owned(), id);
        }
        all.push(seen(&response, *same));
    }
    all
}

fn compare(consul: &Consul) {
    let mut differ = Vec::new();
    for steps in [KEYS, TRANSPORT, SESSIONS, TRANSACTIONS] {
        let weir = Weir::start();
        let answers = run(consul.address, steps).into_iter().zip(run(weir.address, steps));
        for (step, (theirs, ours)) in steps.iter().zip(answers) {
            if theirs != ours {
                differ.push(format!(
                    "{} {} {}\n  consul {theirs:?}\n  weir   {ours:?}",
                    step.0, step.1, step.2
                ));
            }
        }
    }
    assert!(differ.is_empty(), "{} answers differ:\n{}", differ.len(), differ.join("\n"));
}

#[test]
fn the_dev_agent_and_the_registry_answer_alike() {
    compare(&Consul::dev());
}

#[test]
fn a_persisted_server_and_the_registry_answer_alike() {
    compare(&Consul::server());
}

/// What a watcher sees while somebody writes: of each wake, whether the index grew, and the value.
fn watched(address: SocketAddr) -> Vec<(bool, u16, String)> {
    let mut writer = Client::connect(address);
    let mut seen = Vec::new();
    let mut watch = |path: &str, write: (&str, &str, &str)| {
        let mut watcher = Client::connect(address);
        let first = watcher.ask("GET", path, b"");
        let joint = if path.contains('?') { '&' } else { '?' };
        let blocking = format!("GET {path}{joint}index={} HTTP/1.1\r\nHost: a\r\n\r\n", first.index());
        watcher.send(blocking.as_bytes());
        writer.ask(write.0, write.1, write.2.as_bytes());
        let woken = watcher.response(false);
        let body = match serde_json::from_slice::<Value>(&woken.body) {
            Ok(value) => plain(value).to_string(),
            Err(_) => woken.text(),
        };
        seen.push((woken.index() > first.index(), woken.status, body));
    };
    watch("/v1/kv/w/one", ("PUT", "/v1/kv/w/one", "1"));
    watch("/v1/kv/w/one", ("PUT", "/v1/kv/w/one", "2"));
    watch("/v1/kv/w/one?raw", ("PUT", "/v1/kv/w/one?flags=7", "3"));
    watch("/v1/kv/w/?recurse", ("PUT", "/v1/kv/w/two", "1"));
    watch("/v1/kv/w/?keys", ("PUT", "/v1/kv/w/three", "1"));
    watch("/v1/kv/w/?recurse", ("DELETE", "/v1/kv/w/two", ""));
    watch("/v1/kv/w/one", ("DELETE", "/v1/kv/w/one", ""));
    watch("/v1/kv/w/?recurse", ("DELETE", "/v1/kv/w/?recurse", ""));
    watch("/v1/kv/w/?recurse", ("PUT", "/v1/kv/w/four", "1"));
    watch("/v1/session/list", ("PUT", "/v1/session/create", "{\"Name\":\"w\"}"));
    seen
}

#[test]
fn watchers_are_woken_alike() {
    let (consul, weir) = (Consul::dev(), Weir::start());
    assert_eq!(watched(weir.address), watched(consul.address));
}

#[test]
fn other_writes_do_not_wake_a_watcher() {
    let weir = Weir::start();
    ask(weir.address, "PUT", "/v1/kv/a", b"1");
    let index = ask(weir.address, "GET", "/v1/kv/a", b"").index();
    let mut watcher = Client::connect(weir.address);
    watcher.send(format!("GET /v1/kv/a?index={index}&wait=5m HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    for other in ["b", "aa", "a/b"] {
        ask(weir.address, "PUT", &format!("/v1/kv/{other}"), b"1");
    }
    // The same value again is no change.
    ask(weir.address, "PUT", "/v1/kv/a", b"1");
    ask(weir.address, "PUT", "/v1/kv/a", b"2");
    let woken = watcher.response(false);
    assert!(woken.index() > index);
    assert_eq!(woken.json()[0]["Value"], "Mg==");
    assert_eq!(woken.json()[0]["ModifyIndex"], woken.index());
}
