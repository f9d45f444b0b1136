//! Whatever stands behind a directive of sources, checks and what runs beside the traffic: it loads or it is refused, and
//! what loads keeps its promises.

mod support;

use proptest::prelude::*;
use support::Machine;
use weir_model::{Origin, Upstream};

/// Pieces of which words are made.
const PIECES: [&str; 48] = [
    "upsync_type=",
    "consul",
    "consul_health",
    "etcd",
    "etcd3",
    "dns",
    "folder",
    "registry",
    "unix:",
    "https://",
    "http://",
    "127.0.0.1",
    "[::1]",
    "app.test",
    ":8500",
    ":",
    "/",
    "/v1/kv/",
    "/v1/health/service/",
    "/v2/keys/",
    ",",
    "@",
    "?",
    "%",
    "service=",
    "kv=",
    "prefix=",
    "tag=",
    "passing=",
    "resolver=",
    "system",
    "token=",
    "replace",
    "interval=",
    "timeout=",
    "1s",
    "0",
    "99999999999999999999",
    "type=",
    "http",
    "port=",
    "uri=",
    "match=",
    "on",
    "\u{fc}",
    "*",
    "-",
    "!",
];

const LINES: [&str; 9] = [
    "upsync",
    "source",
    "server",
    "check",
    "check_http_expect_alive",
    "resolver",
    "health_check",
    "listen",
    "status",
];

fn word() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 1..6).prop_map(|pieces| pieces.concat())
}

fn line() -> impl Strategy<Value = String> {
    (prop::sample::select(&LINES[..]), prop::collection::vec(word(), 1..5))
        .prop_map(|(name, words)| format!("{name} {};", words.join(" ")))
}

fn keeps_promises(upstream: &Upstream) {
    assert!(!upstream.peers.is_empty() || !upstream.sources.is_empty(), "{upstream:?}");
    for source in &upstream.sources {
        assert!(source.interval.0 > 0 && source.timeout.0 > 0, "{source:?}");
        if let Some(store) = source.origin.store() {
            assert!(!store.endpoints.is_empty(), "{source:?}");
        }
        match &source.origin {
            Origin::ConsulKv { path, .. } => assert!(path.starts_with("/v1/kv/"), "{path}"),
            Origin::ConsulServices { path, .. } => {
                assert!(path.starts_with("/v1/catalog/service/"), "{path}")
            }
            Origin::ConsulHealth { path, .. } => assert!(path.starts_with("/v1/health/service/"), "{path}"),
            Origin::Etcd2 { path, .. } => assert!(path.starts_with("/v2/keys/"), "{path}"),
            Origin::Etcd3 { prefix, .. } => assert!(!prefix.is_empty()),
            Origin::Folder { path } => assert!(path.starts_with('/'), "{path}"),
            Origin::Dns(query) => assert!(!query.name.is_empty() && query.port > 0, "{query:?}"),
        }
    }
    for check in &upstream.checks {
        assert!(check.interval.0 > 0 && check.timeout.0 > 0 && check.rise > 0 && check.fall > 0, "{check:?}");
        assert!(check.keepalive_requests > 0, "{check:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_words(line in line()) {
        let text = format!(
            "events {{ }}\nregistry {{ }}\nhttp {{ upstream a {{ {line} server 10.0.0.1; }} server {{ location / {{ proxy_pass http://a; }} }} }}"
        );
        if let Ok(loaded) = Machine::with(&text).load() {
            loaded.config.http.iter().flat_map(|http| &http.upstreams).for_each(keeps_promises);
        }
        for block in ["registry", "admin", "http { match a", "http { server { location /"] {
            let closing = "}".repeat(block.matches('{').count() + 1);
            let _ = Machine::with(&format!("events {{ }}\n{block} {{ {line} {closing}")).load();
        }
    }

    #[test]
    fn any_source(words in prop::collection::vec(word(), 1..4), kind in prop::sample::select(&["consul", "etcd", "dns", "folder"][..])) {
        for line in [
            format!("source {kind} {};", words.join(" ")),
            format!("source {kind} 10.0.0.1 {};", words.join(" ")),
            format!("upsync {} upsync_type={kind};", words.join(" ")),
            format!("upsync {} upsync_type=etcd3;", words.join(" ")),
        ] {
            let text = format!("events {{ }}\nregistry {{ }}\nhttp {{ upstream a {{ {line} }} }}");
            if let Ok(loaded) = Machine::with(&text).load() {
                loaded.config.http.iter().flat_map(|http| &http.upstreams).for_each(keeps_promises);
            }
        }
    }
}
