//! Peers that change under traffic: publishing, reloading, the numbers of changes.

mod common;

use std::sync::Arc;
use std::sync::mpsc::channel;

use common::{Proxy, Then, Upstream, key, member, nowhere, ok, reply, until};
use weir_balance::{Bars, Member, PeerSpec};

/// An upstream `u` whose server lines are these addresses, and a server that passes everything to it.
fn conf(servers: &[&Upstream], more: &str) -> String {
    let lines: String = servers.iter().map(|server| format!("server {};", server.address())).collect();
    format!(
        "upstream u {{ {lines} {more} }}
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} location /show {{ upstream_show; }} }}"
    )
}

#[test]
fn every_thread_serves_other_peers_once_it_says_so() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let proxy = Proxy::new(3, &conf(&[&one], ""));
    assert_eq!(proxy.publisher.served(), 1);
    for round in 0..20 {
        let (peer, word) = if round % 2 == 0 { (&two, "2") } else { (&one, "1") };
        proxy.publish(2 + round, "u", vec![member(peer.address())]);
        assert_eq!(proxy.publisher.served(), 2 + round);
        for _ in 0..6 {
            assert_eq!(proxy.get("/"), (200, word.to_owned()), "round {round}");
        }
    }
    let group = proxy.publisher.group(&key("u")).expect("there is such an upstream");
    assert_eq!(group.peers()[0].spec.name, one.address().to_string());
    assert!(proxy.publisher.group(&key("other")).is_none());
}

#[test]
fn the_same_list_again_does_not_begin_a_round_anew() {
    let peers = ["a", "b", "c"].map(Upstream::saying);
    let members: Vec<Member> = peers.iter().map(|peer| member(peer.address())).collect();
    let mut proxy = Proxy::new(1, &conf(&[&peers[0], &peers[1], &peers[2]], ""));
    proxy.publish(2, "u", members.clone());
    let mut client = proxy.client();
    let mut words = String::new();
    for round in 0..9 {
        words += &client.get("/").1;
        proxy.publish(3 + round, "u", members.clone());
    }
    assert_eq!(words, "abcabcabc");
    words.clear();
    for _ in 0..6 {
        words += &client.get("/").1;
        let text = conf(&[&peers[0], &peers[1], &peers[2]], "");
        proxy.load(1, &text);
    }
    assert_eq!(words, "abcabc", "nor does a reload");
}

#[test]
fn the_higher_number_holds_over_a_reload() {
    let peers = ["1", "2", "3"].map(Upstream::saying);
    let list = |peer: usize| vec![member(peers[peer].address())];
    let mut proxy = Proxy::new(2, &conf(&[&peers[0]], ""));
    let config = proxy.config(2, &conf(&[&peers[0]], "least_conn;"));
    let prepared = vec![list(1)];
    // The generation's list has the number 5; what is published meanwhile is newer.
    proxy.publish(6, "u", list(2));
    proxy.apply(config.clone(), 5, prepared);
    assert_eq!(proxy.publisher.served(), 6);
    assert_eq!(proxy.series(4), "3333", "what was published between is not lost");
    proxy.publish(4, "u", list(0));
    assert_eq!(proxy.series(2), "33", "an older list comes too late");
    proxy.apply(config, 7, vec![list(1)]);
    assert_eq!(proxy.series(2), "22", "a newer generation says it anew");
    assert_eq!(proxy.publisher.served(), 7);
}

#[test]
fn a_list_for_an_upstream_that_is_yet_to_come_waits_for_it() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let mut proxy = Proxy::new(1, &conf(&[&one], ""));
    assert!(!proxy.publisher.publish(3, &key("v"), vec![member(two.address())]));
    proxy.wait_served(3);
    let text = format!(
        "upstream v {{ server {0}; }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://v; }} }}",
        one.address()
    );
    let config = proxy.config(1, &text);
    proxy.apply(config, 2, vec![vec![member(one.address())]]);
    assert_eq!(proxy.get("/").1, "2");
}

#[test]
fn one_list_for_each_upstream() {
    let one = Upstream::saying("1");
    let mut proxy = Proxy::new(1, &conf(&[&one], ""));
    let config = Arc::new(proxy.config(1, &conf(&[&one], "")));
    let generation = weir_serve_http::Generation {
        number: 2,
        config,
        listeners: Vec::new(),
        logs: std::collections::HashMap::new(),
        members: Vec::new(),
        change: 2,
    };
    let error = proxy.worker.apply(generation).expect_err("a list is missing");
    assert_eq!(error, "there are 0 lists of peers for 1 upstreams, which has to be one for each");
    assert_eq!(proxy.get("/"), (200, "1".to_owned()));
}

#[test]
fn a_group_may_be_empty_for_a_while() {
    let one = Upstream::saying("1");
    for method in
        ["", "least_conn;", "ip_hash;", "hash $uri;", "hash $uri consistent;", "random;", "random two;"]
    {
        let proxy = Proxy::new(1, &conf(&[&one], method));
        proxy.publish(2, "u", Vec::new());
        assert_eq!(proxy.get("/").0, 502, "{method}");
        assert!(proxy.log().contains("no live upstreams while connecting to upstream"), "{}", proxy.log());
        assert_eq!(proxy.get("/show").1, "Upstream name: u; Backend server count: 0\n\n");
        proxy.publish(3, "u", vec![member(one.address())]);
        assert_eq!(proxy.get("/"), (200, "1".to_owned()), "{method}");
    }
}

#[test]
fn a_request_in_flight_ends_at_its_peer_and_tries_again_at_the_new_ones() {
    let (asked, was_asked) = channel();
    let (go, went) = channel::<bool>();
    let went = std::sync::Mutex::new(went);
    let slow = Upstream::new(move |request, stream| {
        asked.send(()).expect("the test waits");
        let answers = went.lock().expect("one at a time").recv().unwrap_or(false);
        match answers {
            true => reply(stream, &ok(&format!("slow {}", request.target))),
            false => Then::Close,
        }
    });
    let fresh = Upstream::saying("fresh");
    let proxy = Proxy::new(1, &conf(&[&slow], ""));
    let old = proxy.publisher.group(&key("u")).expect("there is such an upstream");
    let state = Arc::clone(&old.peers()[0].state);

    let mut client = proxy.client();
    client.begin("GET", "/1");
    was_asked.recv().expect("it is asked");
    proxy.publish(2, "u", vec![member(fresh.address())]);
    state.bar(Bars::REMOVED);
    assert_eq!(proxy.get("/").1, "fresh");
    assert_eq!(state.conns(), 1, "still counted at its peer");
    go.send(true).expect("it waits");
    assert_eq!(client.answer("GET").2, "slow /1");
    until("the count", || state.conns() == 0);

    let back: Vec<Member> = vec![(PeerSpec::new(slow.address().to_string()), Arc::clone(&state))];
    state.unbar(Bars::REMOVED);
    proxy.publish(3, "u", back);
    client.begin("GET", "/2");
    was_asked.recv().expect("it is asked");
    proxy.publish(4, "u", vec![member(fresh.address())]);
    state.bar(Bars::REMOVED);
    go.send(false).expect("it waits");
    assert_eq!(client.answer("GET").2, "fresh", "its only peer died, and another has come meanwhile");
    assert_eq!((state.conns(), state.failures()), (0, 1));
}

#[test]
fn peers_that_were_tried_stay_tried_when_the_list_changes() {
    let (asked, was_asked) = channel();
    let (go, went) = channel::<()>();
    let went = std::sync::Mutex::new(went);
    let dying = Upstream::new(move |_, _| {
        asked.send(()).expect("the test waits");
        let _ = went.lock().expect("one at a time").recv();
        Then::Close
    });
    let gone = nowhere();
    let proxy = Proxy::new(1, &conf(&[&dying], ""));
    let state = Arc::clone(&proxy.publisher.group(&key("u")).expect("there is one").peers()[0].state);
    let mut client = proxy.client();
    client.begin("GET", "/");
    was_asked.recv().expect("it is asked");
    // The same peer at another place of the list, and one that refuses.
    let stays: Member = (PeerSpec::new(dying.address().to_string()), Arc::clone(&state));
    proxy.publish(2, "u", vec![member(gone), stays]);
    go.send(()).expect("it waits");
    assert_eq!(client.answer("GET").0, 502);
    assert_eq!(dying.count(), 1, "it is not asked again");
    assert_eq!(state.failures(), 1);
}

#[test]
fn removed_peers_serve_until_a_thread_knows_who_stands_in() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let proxy = Proxy::new(1, &conf(&[&one], ""));
    let state = Arc::clone(&proxy.publisher.group(&key("u")).expect("there is one").peers()[0].state);
    state.bar(Bars::REMOVED);
    assert_eq!(proxy.get("/"), (200, "1".to_owned()), "the list that replaces it is on its way");
    let (stays, goes) = (member(two.address()), member(one.address()));
    goes.1.bar(Bars::REMOVED);
    proxy.publish(2, "u", vec![stays, goes]);
    assert_eq!(proxy.series(4), "2222", "while others can be had it gets nothing");
}
