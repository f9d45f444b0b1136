//! `upstream_show` and `check_status` as a client sees them.

mod common;

use std::sync::Arc;

use common::{Proxy, Upstream, key, member};
use weir_balance::Bars;

fn proxy(upstreams: &str) -> Proxy {
    Proxy::new(
        1,
        &format!(
            "{upstreams}
             server {{ listen 127.0.0.1:PORT;
                location /show {{ upstream_show; }}
                location /status {{ check_status; }}
                location /csv {{ check_status csv; }} }}"
        ),
    )
}

#[test]
fn the_list_of_peers_is_the_one_in_force() {
    let peer = Upstream::saying("x");
    let proxy =
        proxy("upstream one { server 127.0.0.1:1 weight=3; } upstream two { server 127.0.0.1:2 down; }");
    let one = "Upstream name: one; Backend server count: 1\n        server 127.0.0.1:1 weight=3 max_fails=1 fail_timeout=10s;\n";
    let two = "Upstream name: two; Backend server count: 1\n        server 127.0.0.1:2 weight=1 max_fails=1 fail_timeout=10s down;\n";
    assert_eq!(proxy.get("/show"), (200, format!("{one}\n{two}\n")));
    assert_eq!(proxy.get("/show?TWO"), (200, two.to_owned()));
    let missing = "The upstream you requested does not exist. Please double-check the name";
    assert_eq!(proxy.get("/show?three"), (200, missing.to_owned()));
    assert_eq!(proxy.client().send("HEAD", "/show").0, 200);
    assert_eq!(proxy.client().send("DELETE", "/show").0, 405);
    proxy.publish(2, "one", vec![member(peer.address())]);
    let address = peer.address();
    let one = format!(
        "Upstream name: one; Backend server count: 1\n        server {address} weight=1 max_fails=1 fail_timeout=10s;\n"
    );
    assert_eq!(proxy.get("/show?one"), (200, one));
}

#[test]
fn checked_peers_are_shown_in_three_forms() {
    let proxy = proxy(
        "upstream plain { server 127.0.0.1:1; }
         upstream web { server 127.0.0.1:2; server 127.0.0.1:3; check interval=3000 type=http port=8080; }",
    );
    let group = proxy.publisher.group(&key("web")).expect("there is one");
    group.peers()[0].state.count_checks(7, 0);
    group.peers()[1].state.count_checks(0, 2);
    group.peers()[1].state.bar(Bars::CHECK);
    let (up, down) = ("0,web,127.0.0.1:2,up,7,0,http,8080\n", "1,web,127.0.0.1:3,down,0,2,http,8080\n");
    assert_eq!(proxy.get("/csv"), (200, format!("{up}{down}")));
    assert_eq!(proxy.get("/status?format=csv&status=up"), (200, up.to_owned()));
    assert_eq!(proxy.get("/csv?status=DOWN"), (200, down.to_owned()));
    let (status, head, page) = proxy.client().send("GET", "/status");
    assert_eq!(status, 200);
    assert!(head.contains("Content-Type: text/html"), "{head}");
    assert!(page.contains("<h2>Check upstream server number: 2, generation: 1</h2>"), "{page}");
    let (_, head, page) = proxy.client().send("GET", "/csv?format=json&status=down");
    assert!(head.contains("Content-Type: application/json"), "{head}");
    assert!(page.starts_with("{\"servers\": {\n  \"total\": 1,\n  \"generation\": 1,\n"), "{page}");
    assert_eq!(proxy.client().send("HEAD", "/status").0, 200);
    assert_eq!(proxy.client().send("POST", "/status").0, 405);
    assert_eq!(proxy.get("/csv?status=odd").0, 200);
    assert!(proxy.log().contains("http upstream check, bad argument: \"odd\""), "{}", proxy.log());
    let text = proxy.get("/csv").1;
    proxy.publish(2, "web", vec![(group.peers()[1].spec.clone(), Arc::clone(&group.peers()[1].state))]);
    assert_ne!(proxy.get("/csv").1, text, "the list in force");
}

#[test]
fn without_checks_the_page_is_an_error() {
    let proxy = proxy("upstream plain { server 127.0.0.1:1; }");
    assert_eq!(proxy.get("/status").0, 500);
    let line =
        "http upstream check module can not find any check server, make sure you've added the check servers";
    assert!(proxy.log().contains(line), "{}", proxy.log());
}
