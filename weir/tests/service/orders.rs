//! Single orders, and words that are wrong.

use crate::common::{free_port, text, weir};
use crate::load;
use crate::stage::{Node, bare, peer, service, status, told, until_peer, until_status, websocket, words};
use crate::stores::Consul;

fn done(registry: u16, words: &str) -> String {
    let output = service(registry, words);
    assert!(output.status.success(), "{words}: {}", told(&output));
    text(&output.stdout)
}

#[test]
fn services_by_single_orders() {
    let (node, consul) = (Node::start(), Consul::start());
    for registry in [node.registry, consul.port] {
        let port = free_port();
        let app = bare(node.folder(), port, "");
        let id = format!("web-127.0.0.1-{port}");
        let said = done(
            registry,
            &format!("register --service web --port {port} --check /health --interval 1s --tag a"),
        );
        assert_eq!(said, format!("{id} is registered\n"));
        until_status(registry, port, "passing");
        let list = done(registry, "list");
        assert!(list.starts_with("SERVICE"), "{list}");
        assert!(list.contains(&format!("{id}  127.0.0.1:{port}")), "{list}");
        assert_eq!(done(registry, &format!("drain {id}")), format!("{id} drains\n"));
        assert_eq!(status(registry, port), "maintenance");
        assert_eq!(done(registry, &format!("drain {id} --off")), format!("{id} gets traffic again\n"));
        until_status(registry, port, "passing");
        drop(app);
        until_status(registry, port, "critical");
        for _ in 0..2 {
            assert_eq!(
                done(registry, &format!("deregister {id}")),
                format!("{id} is not registered any more\n")
            );
        }
        assert_eq!(status(registry, port), "none");
        let refused = service(registry, "drain nobody");
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains("No service registered with ID \"nobody\""), "{}", told(&refused));
    }
}

#[test]
fn keys_by_single_orders() {
    let node = Node::start();
    let (registry, port, other) = (node.registry, free_port(), free_port());
    let _apps = [bare(node.folder(), port, ""), bare(node.folder(), other, "")];
    done(registry, &format!("register --service web --port {port} --kv web"));
    until_peer(&node, port, "up");
    let mut client = websocket(&node);
    done(registry, &format!("register --service web --port {other} --kv web"));
    until_peer(&node, other, "up");
    let list = done(registry, "list --kv web");
    assert_eq!(list.lines().filter(|line| line.ends_with("  up")).count(), 2, "{list}");
    let drain = format!(
        "drain 127.0.0.1:{port} --kv web --peer 127.0.0.1:{port} --upstream web --proxy {} --drain-timeout",
        node.control()
    );
    let output = service(registry, &format!("{drain} 500ms"));
    assert_eq!(output.status.code(), Some(3), "{}", told(&output));
    assert!(told(&output).contains("drains, but requests still run after 500ms"), "{}", told(&output));
    assert_eq!(peer(&node, port), ("draining".to_owned(), 1));
    assert!(done(registry, "list --kv web").contains("  down"));
    client.send(load::app::frame(load::app::CLOSE, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4])));
    assert!(done(registry, &format!("{drain} 60s")).contains("is drained, no request is left"));
    done(registry, &format!("drain 127.0.0.1:{port} --kv web --off"));
    until_peer(&node, port, "up");
    done(registry, &format!("deregister 127.0.0.1:{port} --kv web"));
    until_peer(&node, port, "none");
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    let run = "run --service web --port 80";
    let cases = [
        (run.to_owned(), 2, "<COMMAND>"),
        ("run --service web -- true".to_owned(), 2, "--port"),
        ("run --service web --port 0 -- true".to_owned(), 2, "1.."),
        (format!("{run} --weight 0 -- true"), 2, "1.."),
        (
            format!("{run} --interval soon -- true"),
            2,
            "\"soon\" is no time; expected 500ms, 30s, 10m, 2h or 1d",
        ),
        (format!("{run} --meta x -- true"), 2, "expected KEY=VALUE"),
        (
            format!("{run} --check udp -- true"),
            1,
            "expected tcp, a path as /health, or http://HOST:PORT/PATH",
        ),
        (format!("{run} --check https://a/ -- true"), 1, "by TLS, which is not probed"),
        (format!("{run} --address 0.0.0.0 -- true"), 1, "give the address that proxies connect to"),
        (format!("{run} --proxy nowhere -- true"), 1, "expected HOST:PORT, https://HOST:PORT or unix:PATH"),
        (format!("{run} --token-file /nowhere/token -- true"), 1, "/nowhere/token"),
        (format!("{run} -- /nowhere/app"), 127, "cannot start /nowhere/app"),
        (format!("{run} -- /"), 126, "cannot start /"),
        ("drain a --peer 127.0.0.1:80".to_owned(), 2, "--proxy"),
        ("drain a --peer nobody --proxy 127.0.0.1:1 --upstream a".to_owned(), 2, "nobody"),
        ("list web --kv web".to_owned(), 2, "cannot be used with"),
        ("list --registry 127.0.0.1:1".to_owned(), 1, "127.0.0.1:1"),
    ];
    for (line, code, expected) in cases {
        let output = weir().arg("service").args(words(&line)).output().expect("run");
        assert_eq!(output.status.code(), Some(code), "{line}: {}", told(&output));
        assert!(told(&output).contains(expected), "{line}: no {expected:?} in {}", told(&output));
    }
}
