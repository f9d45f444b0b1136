//! The end of an instance that serves.

use weir_net::Signal;

use crate::common::free_port;
use crate::stage::{Node, close, key, listens, peer, run, until_peer, until_status, websocket};
use crate::stores::Consul;
use crate::{load, support};

#[test]
fn the_last_requests_end_before_the_application_hears_of_its_end() {
    let node = Node::start();
    let (first, second) = (free_port(), free_port());
    let more = format!("--kv web --drain-timeout 60s --proxy {}", node.control());
    let mut instance = run(node.folder(), node.registry, first, &more, "");
    until_peer(&node, first, "up");
    let mut last = websocket(&node);
    assert_eq!(peer(&node, first), ("up".to_owned(), 1));
    let _other = run(node.folder(), node.registry, second, &more, "");
    until_peer(&node, second, "up");
    instance.signal(Signal::Term);
    until_peer(&node, first, "draining");
    for _ in 0..8 {
        assert_eq!(node.server.get().expect("it answers"), format!("{second} 1 -\n"));
    }
    support::websocket::assert_echo(&mut last, &load::app::frame(load::app::TEXT, b"", None));
    assert!(listens(first), "it has not heard of it: {}", instance.log());
    assert!(!instance.log().contains("no request is left"), "{}", instance.log());
    last.send(load::app::frame(load::app::CLOSE, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4])));
    let (code, log) = instance.code();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains(&format!("no request is left at 127.0.0.1:{first}")), "{log}");
    assert_eq!(key(node.registry, first), None);
}

#[test]
fn a_drain_ends_with_a_second_signal_or_with_its_time() {
    let node = Node::start();
    let (first, second, third) = (free_port(), free_port(), free_port());
    let more = format!("--kv web --proxy {}", node.control());
    let mut instance = run(node.folder(), node.registry, first, &format!("{more} --drain-timeout 10m"), "");
    until_peer(&node, first, "up");
    let mut client = websocket(&node);
    let mut other = run(node.folder(), node.registry, second, &format!("{more} --drain-timeout 300ms"), "");
    until_peer(&node, second, "up");
    instance.signal(Signal::Term);
    until_peer(&node, first, "draining");
    instance.signal(Signal::Int);
    close(&mut client);
    let (code, log) = instance.code();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("a second signal: the drain ends here"), "{log}");
    let mut client = websocket(&node);
    let _third = run(node.folder(), node.registry, third, &more, "");
    until_peer(&node, third, "up");
    other.signal(Signal::Term);
    close(&mut client);
    let (code, log) = other.code();
    assert_eq!(code, 0, "{log}");
    let reason = format!("requests still run at 127.0.0.1:{second} after 300ms");
    assert!(log.contains(&reason), "{log}");
}

#[test]
fn without_a_proxy_to_ask_the_whole_time_is_waited_for() {
    let (consul, folder, port) = (Consul::start(), tempfile::tempdir().expect("a folder"), free_port());
    let mut instance = run(folder.path(), consul.port, port, "--drain-timeout 700ms", "");
    until_status(consul.port, port, "passing");
    instance.signal(Signal::Term);
    until_status(consul.port, port, "maintenance");
    assert_eq!(instance.code().0, 0);
    let reason =
        "no proxy can be asked who is still served (--proxy ADDRESS): the whole 700ms are waited for";
    assert!(instance.log().contains(reason), "{}", instance.log());
}
