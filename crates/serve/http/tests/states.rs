//! Peers that are barred: failed checks and the panic rule, draining, maintenance; what becomes of idle connections.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use common::{Proxy, Then, Upstream, key, member, ok, reply, until};
use weir_balance::{Bars, Member, PeerSpec, PeerState};

const METHODS: [&str; 9] = [
    "",
    "least_conn;",
    "ip_hash;",
    "hash $uri;",
    "hash $uri consistent;",
    "random;",
    "random two;",
    "least_time header;",
    "least_time last_byte inflight;",
];

fn conf(servers: &[&Upstream], more: &str) -> String {
    let lines: String = servers.iter().map(|server| format!("server {};", server.address())).collect();
    format!(
        "upstream u {{ {lines} {more} }}
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    )
}

fn states(proxy: &Proxy) -> Vec<Arc<PeerState>> {
    let group = proxy.publisher.group(&key("u")).expect("there is such an upstream");
    group.peers().iter().map(|peer| Arc::clone(&peer.state)).collect()
}

#[test]
fn a_barred_peer_gets_nothing_by_any_method() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    for method in METHODS {
        let proxy = Proxy::new(1, &conf(&[&one, &two], method));
        let states = states(&proxy);
        for bars in [Bars::CHECK, Bars::DRAINING, Bars::MAINTENANCE, Bars::EJECTED, Bars::REMOVED] {
            states[0].bar(bars);
            assert_eq!(proxy.series(6), "222222", "{method} {bars:?}");
            states[0].unbar(bars);
        }
        states.iter().for_each(|state| state.bar(Bars::MAINTENANCE));
        assert_eq!(proxy.get("/").0, 502, "{method}");
    }
}

#[test]
fn when_checks_fail_all_peers_all_of_them_serve() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let count = |proxy: &Proxy, text: &str| proxy.log().matches(text).count();
    const ONSET: &str =
        "checks failed all peers of upstream \"u\", their results are ignored until one passes";
    const END: &str = "checks no longer fail all peers of upstream \"u\", their results count again";
    for method in METHODS {
        let proxy = Proxy::new(2, &conf(&[&one, &two], method));
        let states = states(&proxy);
        states.iter().for_each(|state| state.bar(Bars::CHECK));
        for round in 1..=2 {
            for _ in 0..8 {
                assert_eq!(proxy.get("/").0, 200, "{method}");
            }
            assert_eq!(count(&proxy, ONSET), round, "{method} {}", proxy.log());
            states[1].unbar(Bars::CHECK);
            assert_eq!(proxy.series(4), "2222", "{method}: one passes, so the others are out");
            until("the end in the log", || count(&proxy, END) == round);
            states[1].bar(Bars::CHECK);
        }
        states[1].bar(Bars::DRAINING);
        assert_eq!(proxy.series(4), "1111", "{method}: who was taken out by hand stays out");
        states[0].bar(Bars::MAINTENANCE);
        assert_eq!(proxy.get("/").0, 502, "{method}: nobody stands");
    }
}

#[test]
fn the_panic_rule_can_be_turned_off_and_knows_backups() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let proxy = Proxy::new(1, &conf(&[&one, &two], "check_panic off;"));
    states(&proxy).iter().for_each(|state| state.bar(Bars::CHECK));
    assert_eq!(proxy.get("/").0, 502);

    let text = conf(&[&one], &format!("server {} backup;", two.address()));
    let proxy = Proxy::new(1, &text);
    let states = states(&proxy);
    states[0].bar(Bars::CHECK);
    assert_eq!(proxy.series(3), "222", "the backup passes");
    states[1].bar(Bars::CHECK);
    assert_eq!(proxy.series(3), "111", "nobody passes: the primaries come first again");
}

#[test]
fn a_draining_peer_keeps_those_that_are_bound_to_it() {
    let peers = ["a", "b"].map(Upstream::saying);
    for method in METHODS {
        let lines = format!(
            "server {} route=ra; server {} route=rb; sticky cookie id; {method}",
            peers[0].address(),
            peers[1].address()
        );
        let proxy = Proxy::new(1, &conf(&[], &lines));
        let states = states(&proxy);
        states[0].bar(Bars::DRAINING);
        let mut bound = proxy.client();
        bound.header = "Cookie: id=ra\r\n".to_owned();
        assert_eq!(bound.get("/").1, "a", "{method}");
        assert_eq!(proxy.series(3), "bbb", "{method}");
        states[0].bar(Bars::CHECK);
        assert_eq!(bound.get("/").1, "b", "{method}: a check failed it");
        states[0].unbar(Bars::CHECK);
        states[0].bar(Bars::MAINTENANCE);
        assert_eq!(bound.get("/").1, "b", "{method}: it is in maintenance");
    }
}

#[test]
fn stickiness_goes_by_who_a_peer_is() {
    let peers = ["a", "b", "c"].map(Upstream::saying);
    let of = |peer: usize| -> Member {
        let spec = PeerSpec::new(peers[peer].address().to_string());
        (PeerSpec { route: Some(format!("r{peer}")), ..spec }, Arc::default())
    };
    let proxy = Proxy::new(2, &conf(&[&peers[0]], "sticky cookie id;"));
    let members = [of(0), of(1), of(2)];
    proxy.publish(2, "u", members.to_vec());
    let mut bound = proxy.client();
    bound.header = "Cookie: id=r1\r\n".to_owned();
    assert_eq!(bound.get("/").1, "b");
    proxy.publish(3, "u", vec![members[2].clone(), members[1].clone()]);
    let (_, head, body) = bound.send("GET", "/");
    assert_eq!(body, "b");
    assert!(head.contains("Set-Cookie: id=r1"), "{head}");
    proxy.publish(4, "u", vec![members[2].clone()]);
    let (_, head, body) = bound.send("GET", "/");
    assert_eq!(body, "c", "its peer has left");
    assert!(head.contains("Set-Cookie: id=r2"), "{head}");
}

#[test]
fn idle_connections_to_peers_that_are_out_are_closed() {
    let open = Arc::new(AtomicUsize::new(0));
    let peer = |word: &'static str| {
        let open = Arc::clone(&open);
        Upstream::new(move |_, stream| {
            open.fetch_add(1, SeqCst);
            let (mut copy, open) = (stream.try_clone().expect("a copy"), Arc::clone(&open));
            let answer = ok(word);
            reply(stream, &answer);
            std::thread::spawn(move || {
                // The proxy asks once in this test, so what comes next is the end.
                let _ = std::io::Read::read(&mut copy, &mut [0]);
                open.fetch_sub(1, SeqCst);
            })
            .join()
            .expect("it reads");
            Then::Close
        })
    };
    let (one, two) = (peer("1"), peer("2"));
    let proxy = Proxy::new(1, &conf(&[&one], ""));
    assert_eq!(proxy.get("/").1, "1");
    assert_eq!(open.load(SeqCst), 1, "kept");
    proxy.publish(2, "u", vec![member(two.address())]);
    until("the end of a connection to a peer that left", || open.load(SeqCst) == 0);
    for bars in [Bars::DRAINING, Bars::MAINTENANCE] {
        assert_eq!(proxy.get("/").1, "2");
        assert_eq!(open.load(SeqCst), 1, "kept");
        let state = &states(&proxy)[0];
        state.bar(bars);
        until("the end of a connection to a peer that is out", || open.load(SeqCst) == 0);
        state.unbar(bars);
    }
}

#[test]
fn the_limit_of_connections_is_one_over_all_changes() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let first = AtomicBool::new(true);
    let slow = Upstream::new(move |_, stream| {
        if first.swap(false, SeqCst) {
            let _ = held.lock().expect("one at a time").recv();
        }
        reply(stream, &ok("slow"))
    });
    let proxy = Proxy::new(1, &conf(&[&slow], ""));
    let state: Arc<PeerState> = Arc::default();
    let list = |limit| -> Vec<Member> {
        let spec = PeerSpec::new(slow.address().to_string());
        vec![(PeerSpec { max_conns: limit, ..spec }, Arc::clone(&state))]
    };
    proxy.publish(2, "u", list(1));
    let mut client = proxy.client();
    client.begin("GET", "/");
    until("the request", || slow.count() == 1);
    proxy.publish(3, "u", list(1));
    assert_eq!(proxy.get("/").0, 502, "the place is taken, whatever list it was taken by");
    proxy.publish(4, "u", list(2));
    assert_eq!(proxy.get("/").1, "slow");
    hold.send(()).expect("it waits");
    assert_eq!(client.answer("GET").2, "slow");
    until("the count", || state.conns() == 0);
    proxy.publish(5, "u", list(1));
    assert_eq!(proxy.get("/").1, "slow");
}
