//! What Prometheus is told, read by the rules of its text format 0.0.4.

use std::collections::{BTreeMap, HashMap, HashSet};

use weir_directory::{Answers, Bucket, Latency, State, UpstreamStatus};
use weir_serve_admin::{METRICS_TYPE, metrics};

use crate::support::{Stage, name as peer_name};

type Labels = BTreeMap<String, String>;

/// One metric with its samples, by the suffix of the name and the labels.
#[derive(Default)]
struct Family {
    kind: String,
    samples: HashMap<(String, Labels), f64>,
}

/// Reads an exposition and panics where it breaks a rule.
fn parse(text: &str) -> HashMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends with a line feed");
    let mut families: HashMap<String, Family> = HashMap::new();
    let (mut present, mut helped) = (String::new(), HashSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "one HELP each: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(helped.contains(name), "HELP before TYPE: {line}");
            name.clone_into(&mut present);
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(families.insert(present.clone(), family).is_none(), "one TYPE each: {line}");
        } else {
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(&present).unwrap_or_else(|| panic!("{line} among {present}"));
            let family = families.get_mut(&present).expect("TYPE before samples");
            let suffixes: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line} of a {}", family.kind);
            assert_eq!(family.kind == "counter", present.ends_with("_total"), "{line}");
            let before = family.samples.insert((suffix.to_owned(), labels), value);
            assert!(before.is_none(), "twice: {line}");
        }
    }
    families
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `NAME{LABEL="VALUE",...} NUMBER`
fn sample(line: &str) -> (&str, Labels, f64) {
    let (name, rest) = line.split_once('{').expect("labels");
    assert!(is_name(name), "{line}");
    let (mut labels, mut rest) = (Labels::new(), rest);
    loop {
        let (label, behind) = rest.split_once("=\"").expect("a label with a value");
        assert!(is_name(label), "{line}");
        let (mut value, mut letters) = (String::new(), behind.char_indices());
        let end = loop {
            match letters.next().expect("a closing quote") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match letters.next().map(|(_, letter)| letter) {
                    Some('n') => '\n',
                    Some(letter @ ('\\' | '"')) => letter,
                    other => panic!("an escape that is none, {other:?}: {line}"),
                }),
                (_, letter) => value.push(letter),
            }
        };
        assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
        rest = &behind[end..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").expect("a value behind the labels");
    (name, labels, value.parse().unwrap_or_else(|_| panic!("a number: {line}")))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn value(
    families: &HashMap<String, Family>,
    name: &str,
    suffix: &str,
    pairs: &[(&str, &str)],
) -> Option<f64> {
    families.get(name)?.samples.get(&(suffix.to_owned(), labels(pairs))).copied()
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let stage = Stage::new();
    stage.control.list(7);
    stage.control.serve_all();
    let request =
        "GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer reader\r\nconnection: close\r\n\r\n";
    let answer = String::from_utf8(stage.raw_tcp(request.as_bytes()).await).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-type: {METRICS_TYPE}")),
        "{head}"
    );
    let families = parse(body);
    let peer = peer_name(5);
    let up = [("upstream", "web"), ("peer", peer.as_str()), ("state", "up")];
    assert_eq!(value(&families, "weir_upstream_peer_state", "", &up), Some(1.0));
    let source = [("upstream", "web"), ("source", "0"), ("kind", "consul"), ("endpoint", "registry")];
    assert_eq!(value(&families, "weir_upstream_source_index", "", &source), Some(7.0));
    assert_eq!(value(&families, "weir_upstream_source_applied_index", "", &source), Some(7.0));
    assert_eq!(value(&families, "weir_upstream_source_age_seconds", "", &source), Some(0.0));
    let without = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(stage.raw_tcp(without).await.starts_with(b"HTTP/1.1 403 "), "reading needs the token as well");
}

#[tokio::test]
async fn counters_and_times_of_a_peer() {
    let stage = Stage::new();
    let mut upstream: UpstreamStatus = stage.fetch("/v1/upstreams/api").await;
    upstream.name = "a \"b\"\\c\nd".to_owned();
    let peer = &mut upstream.peers[0];
    peer.state = State::Ejected;
    (peer.requests, peer.failures, peer.connect_errors, peer.timeouts) = (12, 3, 2, 1);
    (peer.share, peer.weight) = (Some(25), 4);
    peer.answers = Answers { successful: 8, server_error: 1, ..Answers::default() };
    let bucket = |up_to_us, count| Bucket { up_to_us, count };
    let buckets = vec![bucket(64, 5), bucket(80, 2), bucket(128, 1), bucket(67_108_864, 1)];
    peer.latency = Some(Latency { p50_us: 64, p90_us: 1, p99_us: 1, sum_us: 70_000_500, buckets });
    let twin = upstream.peers[0].clone();
    upstream.peers.push(twin);
    let families = parse(&metrics(&[upstream]));
    let of = |name: &str, suffix: &str, more: &[(&str, &str)]| {
        let address = peer_name(1);
        let mut pairs = vec![("upstream", "a \"b\"\\c\nd"), ("peer", address.as_str())];
        pairs.extend(more);
        value(&families, &format!("weir_upstream_peer_{name}"), suffix, &pairs)
    };
    assert_eq!((of("requests_total", "", &[]), of("failures_total", "", &[])), (Some(12.0), Some(3.0)));
    assert_eq!((of("connect_errors_total", "", &[]), of("timeouts_total", "", &[])), (Some(2.0), Some(1.0)));
    assert_eq!((of("weight", "", &[]), of("share", "", &[])), (Some(4.0), Some(0.25)));
    assert_eq!(of("answers_total", "", &[("class", "2xx")]), Some(8.0));
    assert_eq!(of("state", "", &[("state", "ejected")]), Some(1.0));
    assert_eq!(of("state", "", &[("state", "up")]), Some(0.0));
    let up_to = |le: &str| of("response_seconds", "_bucket", &[("le", le)]);
    assert_eq!([up_to("0.000064"), up_to("0.000128"), up_to("33.554432")], [Some(5.0), Some(8.0), Some(8.0)]);
    assert_eq!((up_to("+Inf"), of("response_seconds", "_count", &[])), (Some(9.0), Some(9.0)));
    assert_eq!(of("response_seconds", "_sum", &[]), Some(70.0005));
    let second = format!("{}#2", peer_name(1));
    assert!(families["weir_upstream_peer_weight"].samples.keys().any(|(_, labels)| labels["peer"] == second));
}
