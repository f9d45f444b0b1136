//! Dumps on signals, beside those of keepalived in the same state.

use serde_json::{Map, Value};

use crate::routers::{ADDRESS, FAST, Instance, PATIENCE, Start, holds, keepalived, watch, weir};
use crate::stage::{gateway, lab, output};

const FILES: [(&str, &str); 3] =
    [("USR1", "/tmp/keepalived.data"), ("USR2", "/tmp/keepalived.stats"), ("JSON", "/tmp/keepalived.json")];

/// What is written on the three signals by a master with a bit of everything. `sockets`: what stands in the first dump
/// behind the instances.
fn dumps(start: Start, sockets: &str) -> [String; 3] {
    let lab = lab();
    let a = gateway(&lab, "a", 1);
    a.write("/etc/keepalived/well.sh", "#!/bin/sh\nexit 0\n").expect("a script");
    a.write("/etc/keepalived/rank", "3\n").expect("a file");
    let body = format!(
        "{FAST}\n track_interface {{\n eth1 weight 5\n }}\n track_script {{\n well\n }}\n track_file {{\n rank weight 2\n }}\n \
         virtual_ipaddress_excluded {{\n 10.9.0.110\n }}\n virtual_routes {{\n 10.20.0.0/16 via 10.9.0.9\n }}\n \
         virtual_rules {{\n from 10.9.0.100 table 100 priority 1000\n }}\n notify_master /etc/keepalived/well.sh\n \
         notify /etc/keepalived/well.sh"
    );
    let inside = Instance { addresses: "10.9.0.100/24 label eth0:v", body: &body, ..Instance::default() };
    let old = "version 2\n advert_int 1\n authentication {\n auth_type PASS\n auth_pass secret12\n }";
    let outside =
        Instance { name: "W", vrid: 10, interface: "eth1", addresses: "10.8.0.101", body: old, priority: 90 };
    let file = format!(
        "global_defs {{\n router_id edge\n notification_email {{\n ops@example.net\n }}\n notification_email_from \
         edge@example.net\n smtp_server 10.9.0.3\n}}\nvrrp_script well {{\n script /etc/keepalived/well.sh\n interval 1\n \
         weight 10\n}}\ntrack_file rank {{\n file /etc/keepalived/rank\n}}\n{}{}",
        inside.text(),
        outside.text()
    );
    // The process id stands where keepalived's does.
    let router = start(&a, &file);
    holds(&watch(&lab, ADDRESS), &["a"], &[&router]);
    holds(&watch(&lab, "10.8.0.101"), &["a"], &[&router]);
    a.wait_file("/run/keepalived.pid", PATIENCE).expect("a process id");
    FILES.map(|(signal, path)| {
        let number = if signal == "JSON" { "36" } else { signal };
        output(&a, &format!("rm -f {path}"));
        let pid = a.read("/run/keepalived.pid").expect("a process id");
        output(&a, &format!("kill -{number} {}", pid.trim()));
        // Both write the last lines last; keepalived writes in place.
        let end = match signal {
            "USR1" => sockets,
            "JSON" => "pri_zero_sent",
            _ => "",
        };
        a.wait_text(path, end, PATIENCE).unwrap_or_else(|error| panic!("{error}: {}", router.log()));
        a.read(path).expect("a dump")
    })
}

/// The names of a document in their order, with the values of all that does not count or tell the time.
fn shape(value: &Value) -> Value {
    match value {
        Value::Array(all) => Value::Array(all.iter().map(shape).collect()),
        Value::Object(fields) => {
            let moving = |name: &str| name == "last_transition" || name.ends_with("_sent");
            let field = |(name, value): (&String, &Value)| {
                (name.clone(), if moving(name) { Value::Null } else { shape(value) })
            };
            Value::Object(fields.iter().map(field).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

#[test]
fn dumps_are_those_of_keepalived() {
    let (ours, theirs) = (dumps(weir, ""), dumps(keepalived, "VRRP Sockpool"));
    let json =
        |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (a, b) = (shape(&json(&ours[2])), shape(&json(&theirs[2])));
    // Passwords stay where they are.
    let secret = r#"[1].data.auth_data: here "********", keepalived "secret12""#;
    assert_eq!(differing("", &a, &b), [secret]);
    // The names of a line, up to its value.
    let names = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split([':', '=']).next().unwrap_or(line).trim_end().to_owned()).collect()
    };
    assert_eq!(names(&ours[1]), names(&theirs[1]), "{}\n{}", ours[1], theirs[1]);
    let (ours, theirs) = (names(&ours[0]), names(&theirs[0]));
    let place = |all: &[String], text: &str| all.iter().position(|line| line.contains(text));
    let begin = |all: &[String]| place(all, "VRRP Topology").expect("the instances");
    // What follows is about keepalived's own sockets and its view of the interfaces.
    let end = place(&theirs, "VRRP Sockpool").expect("the sockets");
    let (ours, about_instances) = (&ours[begin(&ours)..], &theirs[begin(&theirs)..end]);
    let inner = |line: &str| line.contains("fd_in") || line.contains("Using src_ip");
    let missing: Vec<_> =
        about_instances.iter().filter(|line| !ours.contains(line) && !inner(line)).collect();
    let more: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "only keepalived: {missing:#?}\nonly here: {more:#?}");
}

fn differing(place: &str, ours: &Value, theirs: &Value) -> Vec<String> {
    match (ours, theirs) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .flat_map(|(n, (a, b))| differing(&format!("{place}[{n}]"), a, b))
            .collect(),
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a
            .iter()
            .flat_map(|(name, value)| differing(&format!("{place}.{name}"), value, &b[name]))
            .collect(),
        (a, b) if a == b => Vec::new(),
        (a, b) => vec![format!("{place}: here {a}, keepalived {b}")],
    }
}
