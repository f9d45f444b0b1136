//! Agent, catalog and health: the same requests to a real Consul and to the registry, the same answers.

mod support;

use std::net::SocketAddr;

use serde_json::Value;
use support::{Client, Consul, Response, Weir};

/// What has to be alike of two answers.
#[derive(Debug, PartialEq)]
struct Alike {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// How a body is compared.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    /// Byte by byte, but for indexes, ids and hashes.
    Exact,
    /// As JSON whose lists are sorted: Consul has no order there.
    Unordered,
    /// Only how it begins: the rest is the words of another JSON parser.
    Beginning,
}

fn alike(response: &Response, compare: Compare) -> Alike {
    let mut headers: Vec<(String, String)> = response
        .headers
        .iter()
        .filter(|(name, _)| name == "Content-Type" || name == "Allow" || name.starts_with("X-Consul-"))
        .map(|(name, value)| match name.as_str() {
            "X-Consul-Index" | "X-Consul-Contenthash" => (name.clone(), "*".to_owned()),
            // Which of several services it names is chance in Consul.
            "X-Consul-Reason" if compare == Compare::Unordered => (name.clone(), "*".to_owned()),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    headers.sort();
    let body = response.text();
    let body = match compare {
        Compare::Exact => normal(&body),
        Compare::Unordered => sorted(serde_json::from_str(&normal(&body)).unwrap_or_default()).to_string(),
        Compare::Beginning => body.split([':', ';']).next().unwrap_or_default().to_owned(),
    };
    Alike { status: response.status, headers, body }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(sorted).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, sorted(value))).collect(),
        other => other,
    }
}

/// Without what cannot be the same: numbers of indexes and of the servers' ports, UUIDs, hashes; and with one form of
/// "nothing" where Consul has two.
fn normal(body: &str) -> String {
    let mut text = body.to_owned();
    for key in ["CreateIndex", "ModifyIndex"] {
        text = replaced(&text, &format!("\"{key}\":"), |c| c.is_ascii_digit(), "0");
    }
    text = replaced(&text, "\"ContentHash\":\"", |c| c != '"', "*");
    for key in ["TaggedAddresses", "Meta", "NodeMeta"] {
        text = text.replace(&format!("\"{key}\":null"), &format!("\"{key}\":{{}}"));
    }
    // An object that is kept as it came, in the order of its names.
    text = text.replace(r#""Expose":{},"MeshGateway":{}"#, r#""MeshGateway":{},"Expose":{}"#);
    without_ids(&text)
}

/// The characters behind each `key` that are `part` of the value, replaced.
fn replaced(text: &str, key: &str, part: impl Fn(char) -> bool, with: &str) -> String {
    let mut pieces = text.split(key);
    let mut made = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        made.push_str(key);
        made.push_str(with);
        made.push_str(piece.trim_start_matches(&part));
    }
    made
}

fn without_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    text.split('"').map(|word| if is_id(word) { "UUID" } else { word }).collect::<Vec<_>>().join("\"")
}

struct Pair {
    consul: SocketAddr,
    weir: SocketAddr,
    failed: Vec<String>,
}

impl Pair {
    fn ask(&mut self, compare: Compare, method: &str, path: &str, body: &str) {
        let one = |address| alike(&Client::connect(address).ask(method, path, body.as_bytes()), compare);
        let (theirs, ours) = (one(self.consul), one(self.weir));
        if theirs != ours {
            self.failed.push(format!("{method} {path} {body}\n  consul: {theirs:?}\n  weir:   {ours:?}"));
        }
    }

    fn put(&mut self, path: &str, body: &str) {
        self.ask(Compare::Exact, "PUT", path, body);
    }

    fn get(&mut self, paths: &[&str]) {
        for path in paths {
            self.ask(Compare::Exact, "GET", path, "");
        }
    }

    fn unordered(&mut self, paths: &[&str]) {
        for path in paths {
            self.ask(Compare::Unordered, "GET", path, "");
        }
    }

    /// Consul's agent tells its catalog a little later: nothing is compared before all of these are there.
    fn settle(&self, service: &str, checks: usize) {
        self.until(service, |list| list.len() == checks);
    }

    fn until(&self, service: &str, fits: impl Fn(&[Value]) -> bool) {
        let mut index = 0;
        loop {
            let path = format!("/v1/health/checks/{service}?wait=1s&index={index}");
            let answer = Client::connect(self.consul).ask("GET", &path, b"");
            if answer.json().as_array().is_some_and(|list| fits(list)) {
                return;
            }
            index = answer.index();
        }
    }
}

#[test]
fn answers_are_those_of_consul() {
    let (consul, weir) = (Consul::server(), Weir::start());
    let mut pair = Pair { consul: consul.address, weir: weir.address, failed: Vec::new() };
    registrations(&mut pair);
    agent_reads(&mut pair);
    checks(&mut pair);
    maintenance(&mut pair);
    catalog(&mut pair);
    health(&mut pair);
    removal(&mut pair);
    assert!(pair.failed.is_empty(), "{} differ\n{}", pair.failed.len(), pair.failed.join("\n"));
}

fn registrations(pair: &mut Pair) {
    let register = "/v1/agent/service/register";
    for body in [
        r#"{"Name":"web","ID":"web1","Tags":["a","b"],"Address":"198.51.100.1","Port":80,"Meta":{"k":"v"},"Check":{"TTL":"300s"}}"#,
        r#"{"Name":"web","ID":"web2","Tags":["b"],"Port":81,"Checks":[{"TTL":"300s","Status":"passing","Name":"first"},{"TTL":"300s","Status":"warning","CheckID":"mine","Notes":"n"}],"TaggedAddresses":{"lan":{"Address":"192.0.2.4","Port":5}}}"#,
        r#"{"Name":"plain"}"#,
        r#"{"name":"lower","tags":["q"],"port":3,"enable_tag_override":true,"check":{"ttl":"300s","deregister_critical_service_after":"90m"}}"#,
        r#"{"Name":"six","Address":"2001:db8::6","Port":6,"Weights":{"Passing":10,"Warning":2}}"#,
        r#"{"Name":"side","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"web","MeshGateway":{},"Expose":{}},"Port":1}"#,
        r#"{"ID":"x"}"#,
        r#"{"Name":"y","Address":"0.0.0.0"}"#,
        r#"{"Name":"y","Weights":{"Passing":0,"Warning":0}}"#,
        r#"{"Name":"y","Weights":{"Passing":-5}}"#,
        r#"{"Name":"y","Weights":{"Passing":1,"Warning":-5}}"#,
        r#"{"Name":"y","Weights":{"Passing":70000}}"#,
        r#"{"Name":"y","Check":{"HTTP":"http://x/"}}"#,
        r#"{"Name":"y","Check":{"HTTP":"http://x/","TTL":"5s","Interval":"5s"}}"#,
        r#"{"Name":"y","Check":{"Name":"nothing"}}"#,
        r#"{"Name":"y","Check":{"TTL":"5s","Status":"bogus"}}"#,
        r#"{"Name":"y","Check":{"TTL":"5s","AliasService":"web"}}"#,
        r#"{"Name":"y","Check":{"TCP":"a:1","Interval":"5s","AliasService":"web"}}"#,
        r#"{"Name":"y","Meta":{"a b":"c"}}"#,
        r#"{"Name":"y","Meta":{"consul-x":"c"}}"#,
        "",
        r#"{"Name":"#,
    ] {
        pair.put(register, body);
    }
    for body in [r#"{"Name":"y","Check":{"TTL":"5x"}}"#, "{bad", r#"{"Name":5}"#] {
        pair.ask(Compare::Beginning, "PUT", register, body);
    }
    pair.ask(
        Compare::Beginning,
        "PUT",
        register,
        r#"{"Name":"y","Check":{"Args":["/bin/true"],"Interval":"5s"}}"#,
    );
    pair.ask(Compare::Exact, "POST", register, "{}");
    pair.ask(Compare::Exact, "DELETE", "/v1/agent/services", "");
    pair.ask(Compare::Exact, "OPTIONS", "/v1/agent/services", "");
    pair.settle("web", 3);
    pair.settle("lower", 1);
}

fn agent_reads(pair: &mut Pair) {
    pair.get(&[
        "/v1/agent/services",
        "/v1/agent/services?filter=Service%3D%3Dweb",
        "/v1/agent/services?filter=%22b%22%20in%20Tags%20and%20not%20Port%3D%3D80",
        "/v1/agent/service/web1",
        "/v1/agent/service/web2",
        "/v1/agent/service/none",
        "/v1/agent/service/",
        "/v1/agent/checks",
        "/v1/agent/checks?filter=CheckID%3D%3Dmine",
        "/v1/agent/members?segment=foo",
    ]);
    pair.unordered(&["/v1/agent/service/side"]);
}

fn checks(pair: &mut Pair) {
    for word in ["pass", "warn", "fail", "pass"] {
        pair.put(&format!("/v1/agent/check/{word}/service:web1?note=hello%20{word}"), "");
    }
    pair.get(&["/v1/agent/checks"]);
    for path in ["pass/none", "pass/", "warn/nothing"] {
        pair.put(&format!("/v1/agent/check/{path}"), "");
    }
    pair.ask(Compare::Exact, "GET", "/v1/agent/check/pass/service:web1", "");
    for (id, body) in [
        ("service:web1", r#"{"Status":"passing","Output":"fine"}"#),
        ("service:web1", r#"{"Status":"bogus","Output":"fine"}"#),
        ("none", r#"{"Status":"passing","Output":"fine"}"#),
        ("service:web1", ""),
        ("service:web1", "{"),
    ] {
        pair.put(&format!("/v1/agent/check/update/{id}"), body);
    }
    for body in [
        r#"{"Name":"of node","TTL":"300s","Status":"passing"}"#,
        r#"{"ID":"c2","Name":"svc check","ServiceID":"web1","TTL":"300s","Notes":"zz","Status":"passing"}"#,
        r#"{"Name":"bad","ServiceID":"nosuch","TTL":"20s"}"#,
        r#"{"TTL":"20s"}"#,
        r#"{"Name":"q"}"#,
        r#"{"Name":"q","TTL":"10s","Status":"what"}"#,
    ] {
        pair.put("/v1/agent/check/register", body);
    }
    pair.settle("web", 4);
    pair.get(&["/v1/agent/checks"]);
    for path in ["none", "c2", ""] {
        pair.put(&format!("/v1/agent/check/deregister/{path}"), "");
    }
    pair.settle("web", 3);
    // Consul tells an output that changes alone to its catalog minutes later.
    for (word, status) in [("fail", "critical"), ("pass", "passing")] {
        pair.put(&format!("/v1/agent/check/{word}/service:web1?note=done"), "");
        pair.until("web", |list| {
            list.iter().any(|check| check["Output"] == "done" && check["Status"] == status)
        });
    }
    pair.get(&["/v1/health/checks/web", "/v1/catalog/node/node1?filter=Service%3D%3Dweb"]);
}

fn maintenance(pair: &mut Pair) {
    pair.unordered(&["/v1/agent/health/service/name/web", "/v1/agent/health/service/id/web1"]);
    for path in [
        "web2?enable=true&reason=because%20of%20x",
        "web2",
        "web2?enable=maybe",
        "none?enable=true",
        "?enable=true",
        "web1?enable=1",
    ] {
        pair.put(&format!("/v1/agent/service/maintenance/{path}"), "");
    }
    pair.settle("web", 5);
    pair.get(&["/v1/agent/checks", "/v1/health/checks/web"]);
    pair.unordered(&["/v1/agent/health/service/name/web", "/v1/agent/health/service/id/web2"]);
    pair.unordered(&["/v1/agent/health/service/id/plain"]);
    pair.get(&[
        "/v1/agent/health/service/id/web2?format=text",
        "/v1/agent/health/service/id/plain?format=text",
        "/v1/agent/health/service/id/none",
        "/v1/agent/health/service/name/none",
        "/v1/agent/health/service/name/none?format=text",
        "/v1/agent/health/service/id/",
        "/v1/agent/health/service/name/",
    ]);
    pair.put("/v1/agent/maintenance", "");
    pair.put("/v1/agent/maintenance?enable=true", "");
    pair.get(&["/v1/agent/checks", "/v1/agent/health/service/id/six?format=text"]);
    pair.put("/v1/agent/maintenance?enable=false", "");
    pair.put("/v1/agent/service/maintenance/web2?enable=false", "");
    pair.put("/v1/agent/service/maintenance/web1?enable=0", "");
    pair.settle("web", 3);
    pair.get(&["/v1/agent/checks"]);
}

fn catalog(pair: &mut Pair) {
    let register = "/v1/catalog/register";
    for body in [
        r#"{"Node":"ext","Address":"203.0.113.9","NodeMeta":{"m":"1"},"TaggedAddresses":{"lan":"203.0.113.9"},"Service":{"Service":"ext-svc","Tags":["x"],"Port":99,"Meta":{"a":"b"}},"Check":{"Name":"chk","Status":"passing","ServiceID":"ext-svc","Notes":"n","Output":"o"}}"#,
        r#"{"Node":"ext2","Address":"203.0.113.8","NodeMeta":{"m":"2"},"Checks":[{"CheckID":"n","Name":"nodechk","Status":"warning"}],"Service":{"ID":"e2","Service":"ext-svc","Address":"ext.example.org","Port":98,"Meta":{"z":"y"}}}"#,
        r#"{"Node":"nope"}"#,
        r#"{"Address":"192.0.2.3"}"#,
        r#"{"Node":"e3","Address":"192.0.2.3","Service":{"ID":"only"}}"#,
        r#"{"Node":"e3","Address":"192.0.2.3","Datacenter":"dc9"}"#,
        "",
        "{",
    ] {
        pair.put(register, body);
    }
    for body in ["{}", r#"{"Node":"gone"}"#, "", r#"{"Node":"ext","Datacenter":"dc9"}"#] {
        pair.put("/v1/catalog/deregister", body);
    }
    pair.get(&[
        "/v1/catalog/datacenters",
        "/v1/catalog/services?node-meta=m:1",
        "/v1/catalog/service/web",
        "/v1/catalog/service/WEB",
        "/v1/catalog/service/web?tag=a",
        "/v1/catalog/service/web?tag=a&tag=b",
        "/v1/catalog/service/web?tag=A",
        "/v1/catalog/service/web?tag=none",
        "/v1/catalog/service/six",
        "/v1/catalog/service/side",
        "/v1/catalog/service/ext-svc",
        "/v1/catalog/service/ext-svc?node-meta=m:1",
        "/v1/catalog/service/ext-svc?near=_agent",
        "/v1/catalog/service/ext-svc?filter=ServiceMeta.a%3D%3Db",
        "/v1/catalog/service/none",
        "/v1/catalog/service/",
        "/v1/catalog/nodes",
        "/v1/catalog/nodes?node-meta=m:1",
        "/v1/catalog/nodes?node-meta=zz:1",
        "/v1/catalog/nodes?filter=Node%3D%3Dext",
        "/v1/catalog/node/ext",
        "/v1/catalog/node/ext2",
        "/v1/catalog/node/none",
        "/v1/catalog/node/",
        "/v1/catalog/service/web?stale&consistent",
        "/v1/catalog/service/web?index=x",
        "/v1/catalog/service/web?wait=1",
    ]);
    pair.unordered(&["/v1/catalog/services"]);
}

fn health(pair: &mut Pair) {
    pair.get(&[
        "/v1/health/service/ext-svc",
        "/v1/health/service/ext-svc?passing",
        "/v1/health/service/ext-svc?passing=false",
        "/v1/health/service/ext-svc?passing=maybe",
        "/v1/health/service/ext-svc?passing=1",
        "/v1/health/service/ext-svc?tag=x",
        "/v1/health/service/ext-svc?near=node1",
        "/v1/health/service/ext-svc?filter=Node.Meta.m%3D%3D1",
        "/v1/health/service/ext-svc?node-meta=m:1",
        "/v1/health/service/none",
        "/v1/health/service/",
        "/v1/health/node/ext",
        "/v1/health/node/ext2",
        "/v1/health/node/none",
        "/v1/health/node/",
        "/v1/health/checks/ext-svc",
        "/v1/health/checks/none",
        "/v1/health/checks/",
        "/v1/health/checks/ext-svc?filter=Status%3D%3Dpassing",
        "/v1/health/checks/ext-svc?node-meta=m:2",
        "/v1/health/state/",
        "/v1/health/state/bogus",
        "/v1/health/state/warning",
    ]);
    pair.unordered(&[
        "/v1/health/service/web",
        "/v1/health/service/web?passing",
        "/v1/health/service/six",
        "/v1/health/node/node1",
        "/v1/health/state/any",
        "/v1/health/state/passing",
        "/v1/health/state/critical",
    ]);
}

fn removal(pair: &mut Pair) {
    pair.put("/v1/agent/service/register?replace-existing-checks=true", r#"{"Name":"web","ID":"web2","Tags":["b"],"Port":81,"Check":{"TTL":"300s","CheckID":"new","Status":"passing"}}"#);
    pair.settle("web", 2);
    pair.get(&["/v1/agent/checks", "/v1/health/checks/web"]);
    for path in ["none", "web1", ""] {
        pair.put(&format!("/v1/agent/service/deregister/{path}"), "");
    }
    pair.put("/v1/catalog/deregister", r#"{"Node":"ext2","ServiceID":"e2"}"#);
    pair.put("/v1/catalog/deregister", r#"{"Node":"ext2","CheckID":"n"}"#);
    pair.put("/v1/catalog/deregister", r#"{"Node":"ext"}"#);
    pair.settle("web", 1);
    pair.get(&[
        "/v1/agent/services",
        "/v1/agent/checks",
        "/v1/health/checks/web",
        "/v1/catalog/nodes",
        "/v1/catalog/node/ext2",
    ]);
}

#[test]
fn fields_of_newer_clients_are_taken_and_scripts_are_not() {
    let weir = Weir::start();
    let put = |body: &str| {
        let answer = Client::connect(weir.address).ask("PUT", "/v1/agent/service/register", body.as_bytes());
        (answer.status, answer.text())
    };
    let newer = r#"{"Name":"web","Locality":{"Region":"r"},"Ports":null,"Check":{"TTL":"5m","TLSServerName":"a","DisableRedirects":true}}"#;
    assert_eq!(put(newer), (200, String::new()));
    let script = r#"{"Name":"bad","Check":{"Args":["/bin/true"],"Interval":"5s"}}"#;
    let (status, text) = put(script);
    assert_eq!(status, 500);
    assert!(text.ends_with("use an HTTP, TCP, gRPC or TTL check"), "{text}");
    let services = Client::connect(weir.address).ask("GET", "/v1/agent/services", b"").json();
    assert_eq!(services.as_object().map(|all| all.keys().cloned().collect()), Some(vec!["web".to_owned()]));
}

#[test]
fn a_description_has_what_clients_read() {
    let weir = Weir::start();
    let own = Client::connect(weir.address).ask("GET", "/v1/agent/self", b"").json();
    assert_eq!(own["Config"]["Datacenter"], "dc1");
    assert_eq!(own["Config"]["NodeName"], "node1");
    assert_eq!(own["Config"]["Version"], "1.8.7");
    assert_eq!(own["Member"]["Status"], 1);
    assert_eq!(own["Config"]["NodeID"], own["Member"]["Tags"]["id"]);
    assert_eq!(own["Stats"]["consul"]["leader_addr"], "127.0.0.1:8300");
}
