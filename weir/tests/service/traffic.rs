//! Instances that come and go under traffic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weir_net::Signal;

use crate::common::{free_port, until};
use crate::load::instance::Instance;
use crate::load::{Load, Mix};
use crate::stage::{Node, bare, run, until_peer};

#[test]
fn keys_come_and_go_under_traffic_and_nothing_is_lost() {
    come_and_go(&Node::start(), "--kv web");
}

#[test]
fn keys_of_a_consul_come_and_go_under_traffic_and_nothing_is_lost() {
    let (node, _consul) = Node::beside_consul("/v1/kv/web/ upsync_type=consul");
    come_and_go(&node, "--kv web");
}

#[test]
fn services_of_a_consul_come_and_go_under_traffic_and_nothing_is_lost() {
    let (node, _consul) = Node::beside_consul("/v1/health/service/web upsync_type=consul_health");
    come_and_go(&node, "");
}

/// From 2 instances to 20, and to the 2 that came last.
fn come_and_go(node: &Node, form: &str) {
    const LIMIT: Duration = Duration::from_secs(1);
    let more = format!("{form} --proxy {} --drain-timeout 1s", node.control());
    let start = |count| -> Vec<(u16, Instance)> {
        let ports = std::iter::repeat_with(free_port).take(count);
        ports.map(|port| (port, run(node.folder(), node.registry, port, &more, ""))).collect()
    };
    let mut instances = start(2);
    instances.iter().for_each(|(port, _)| until_peer(node, *port, "up"));
    let mix = Mix {
        requests_per_second: 1000,
        connections: 24,
        posts: 0.2,
        post_bytes: 3000,
        websockets: 40,
        slow: 4,
        slow_ms: 200,
        host: "localhost",
    };
    let load = Load::start(([127, 0, 0, 1], node.server.site.port).into(), mix);
    load.await_more(200);
    instances.extend(start(18));
    until("all serve", || (load.tally().by_server.len() == 20).then_some(()));
    load.await_more(500);
    let mut ends = BTreeMap::new();
    for (port, instance) in &instances[..18] {
        ends.insert(port.to_string(), Instant::now());
        instance.signal(Signal::Term);
    }
    for (_, instance) in &mut instances[..18] {
        let (code, log) = instance.code();
        assert_eq!(code, 0, "{log}");
    }
    load.await_more(500);
    let tally = load.finish();
    println!(
        "{} requests, {} slow, {} websockets, 99 % within {} ms",
        tally.requests, tally.slow, tally.websockets_opened, tally.p99_ms
    );
    tally.assert_nothing_lost();
    assert!(tally.slow > 0 && tally.websockets_opened >= 40, "{tally:?}");
    for end in &tally.websockets_closed {
        let told = ends.get(&end.server).expect("only those that ended close a websocket");
        assert!(end.ended - *told >= LIMIT, "it was closed before the time of the drain was over: {end:?}");
    }
}

/// A count of nothing lost is worth as much as the eye that looks.
#[test]
fn what_is_lost_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let mix = Mix {
        requests_per_second: 200,
        connections: 4,
        posts: 0.5,
        post_bytes: 100_000,
        websockets: 2,
        slow: 1,
        slow_ms: 50,
        host: "localhost",
    };
    for (words, expected) in
        [("--fail-after 700", "status 500 of server"), ("--crash-after 700", "connect: ")]
    {
        let port = free_port();
        let mut app = bare(folder.path(), port, words);
        let load = Load::start(([127, 0, 0, 1], port).into(), mix.clone());
        until("a loss", || load.tally().failed.iter().any(|text| text.contains(expected)).then_some(()));
        let crashed = words.contains("crash");
        if crashed {
            assert_eq!(app.code().0, 1);
            until("cut websockets", || (load.tally().websockets_cut.len() == 2).then_some(()));
        }
        let tally = load.finish();
        assert!(tally.requests > 0 && tally.failures > 0, "{tally:?}");
        assert!(tally.websockets_closed.is_empty(), "{tally:?}");
        assert_eq!(tally.websockets_cut.is_empty(), !crashed, "{tally:?}");
    }
    // One that ends as it should loses nothing that it had, and refuses what comes later.
    let port = free_port();
    let mut app = bare(folder.path(), port, "");
    let load = Load::start(([127, 0, 0, 1], port).into(), mix);
    load.await_more(20);
    app.signal(Signal::Term);
    assert_eq!(app.code().0, 0);
    load.await_more(1);
    let tally = load.finish();
    assert!(tally.failed.iter().all(|text| text.contains("connect: ")), "{:#?}", tally.failed);
    assert_eq!((tally.websockets_closed.len(), tally.websockets_cut.len()), (2, 0), "{tally:?}");
}
