//! Peers that die under requests: what is tried again, and what is not.

mod common;

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;

use common::{Client, Proxy, Then, Upstream, key, member, nowhere, ok, reply, until};
use weir_balance::{Bars, Member};

fn conf(servers: &[&Upstream], more: &str) -> String {
    let lines: String = servers.iter().map(|server| format!("server {};", server.address())).collect();
    format!(
        "upstream u {{ {lines} {more} }}
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}"
    )
}

/// Sends requests from several clients until told to stop; every answer has to be 200.
fn under_load(port: u16, clients: usize, meanwhile: impl FnOnce(&AtomicU64)) {
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                let mut client = Client::new(port);
                let mut failed = Vec::new();
                while !stop.load(Relaxed) {
                    match client.get("/").0 {
                        200 => served.fetch_add(1, Relaxed),
                        status => {
                            failed.push(status);
                            0
                        }
                    };
                }
                failed
            })
        })
        .collect();
    meanwhile(&served);
    stop.store(true, Relaxed);
    let failed: Vec<u16> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), served.load(Relaxed));
}

/// Waits until so many more requests were served.
fn more(served: &AtomicU64, count: u64) {
    let begun = served.load(Relaxed);
    until("so many answers", || served.load(Relaxed) >= begun + count);
}

#[test]
fn peers_that_are_killed_and_come_back_fail_no_idempotent_request() {
    let (mut one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let address = one.address();
    let proxy = Proxy::new(2, &conf(&[&one, &two], ""));
    under_load(proxy.port, 4, |served| {
        for _ in 0..8 {
            more(served, 100);
            one.stop();
            more(served, 100);
            one = Upstream::on(address, |_, stream| reply(stream, &ok("1")));
            // It rests after its failure; a list that says the same forgets nothing, a new one does.
            let change = proxy.publisher.served() + 1;
            proxy.publish(change, "u", vec![member(address), member(two.address())]);
        }
    });
}

#[test]
fn lists_that_change_all_the_time_fail_no_request() {
    let peers: Vec<Upstream> = (0..4).map(|_| Upstream::saying("x")).collect();
    let members: Vec<Member> = peers.iter().map(|peer| member(peer.address())).collect();
    let mut proxy = Proxy::new(2, &conf(&[&peers[0]], ""));
    let config = proxy.config(2, &conf(&[&peers[0]], ""));
    let port = proxy.port;
    under_load(port, 4, |served| {
        for round in 0..200_usize {
            // Half of the peers leave at once: they are barred first, as by whoever keeps the states.
            let stays = [round % 4, (round + 1) % 4];
            for (at, (_, state)) in members.iter().enumerate() {
                if stays.contains(&at) { state.unbar(Bars::REMOVED) } else { state.bar(Bars::REMOVED) }
            }
            let list = stays.iter().map(|&at| members[at].clone()).collect::<Vec<_>>();
            let change = proxy.publisher.served() + 1;
            if round % 20 == 19 {
                proxy.apply(config.clone(), change, vec![list]);
            } else {
                proxy.publish(change, "u", list);
            }
        }
        more(served, 10);
    });
}

#[test]
fn a_peer_that_breaks_off_inside_its_head_is_replaced() {
    let broken = Upstream::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
        // With unread bytes or without: a reset or an end.
        let _ = stream.shutdown(Shutdown::Both);
        Then::Close
    });
    let good = Upstream::saying("good");
    let proxy = Proxy::new(1, &conf(&[&broken, &good], ""));
    assert_eq!(proxy.series(6), "good".repeat(6));
    assert!(broken.count() > 0);
}

#[test]
fn a_kept_connection_that_is_reset_costs_a_get_nothing_and_a_post_its_answer() {
    let calls = AtomicU64::new(0);
    let peer = Upstream::new(move |_, stream| {
        // The second request on a connection finds it dead, after it was sent.
        if calls.fetch_add(1, Relaxed).is_multiple_of(2) { reply(stream, &ok("once")) } else { Then::Close }
    });
    let other = Upstream::saying("other");
    let proxy = Proxy::new(1, &conf(&[&peer, &other], "random;"));
    proxy.publish(2, "u", vec![member(peer.address())]);
    let group = proxy.publisher.group(&key("u")).expect("there is one");
    assert_eq!(proxy.get("/").1, "once");
    assert_eq!(proxy.get("/").1, "once", "a new connection to the same peer");
    assert_eq!(group.peers()[0].state.failures(), 0, "nobody is to blame");
    assert_eq!(proxy.client().send("POST", "/").0, 502, "it may have been done");
}

/// A listener whose queue is full: connections to it neither come nor fail.
fn deaf() -> (TcpListener, Vec<socket::Pending>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    rustix::net::listen(listener.as_fd(), 0).expect("a short queue");
    let address = listener.local_addr().expect("bound");
    let pending = (0..8).map(|_| socket::begin(address)).collect();
    (listener, pending)
}

mod socket {
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

    pub(crate) type Pending = OwnedFd;

    /// A connection that is begun and not waited for.
    pub(crate) fn begin(address: SocketAddr) -> Pending {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None);
        let socket = socket.expect("a socket");
        let _ = connect(&socket, &address);
        socket
    }
}

#[test]
fn a_peer_that_is_barred_while_it_is_connected_to_is_left() {
    let (listener, _pending) = deaf();
    let deaf = listener.local_addr().expect("bound");
    let good = Upstream::saying("good");
    for bars in [Bars::CHECK, Bars::MAINTENANCE, Bars::REMOVED] {
        let proxy = Proxy::new(1, &conf(&[&good], ""));
        let lost = member(deaf);
        let state = Arc::clone(&lost.1);
        proxy.publish(2, "u", vec![lost, member(good.address())]);
        let mut client = proxy.client();
        client.begin("POST", "/");
        until("the attempt", || state.conns() == 1);
        state.bar(bars);
        assert_eq!(client.answer("POST").2, "good", "{bars:?}");
        assert!(
            proxy.log().contains("upstream server was taken away while connecting to upstream"),
            "{}",
            proxy.log()
        );
    }
}

#[test]
fn a_peer_that_leaves_the_list_while_it_is_connected_to_is_left() {
    let (listener, _pending) = deaf();
    let good = Upstream::saying("good");
    let proxy = Proxy::new(1, &conf(&[&good], ""));
    let lost = member(listener.local_addr().expect("bound"));
    let state = Arc::clone(&lost.1);
    proxy.publish(2, "u", vec![lost]);
    let (sent, answered) = channel();
    let port = proxy.port;
    let thread = std::thread::spawn(move || {
        sent.send(()).expect("the test waits");
        Client::new(port).get("/")
    });
    answered.recv().expect("it begins");
    until("the attempt", || state.conns() == 1);
    proxy.publish(3, "u", vec![member(good.address())]);
    assert_eq!(thread.join().expect("no panic"), (200, "good".to_owned()));
    assert_eq!(state.conns(), 0);
}

#[test]
fn the_only_peer_is_waited_for_whatever_is_said_of_it() {
    let refuses = nowhere();
    let good = Upstream::saying("good");
    let proxy = Proxy::new(1, &conf(&[&good], ""));
    let (dead, alive) = (member(refuses), member(good.address()));
    let state = Arc::clone(&dead.1);
    proxy.publish(2, "u", vec![dead, alive.clone()]);
    // Both failed their checks: they count as if nobody had looked, and one of them answers.
    state.bar(Bars::CHECK);
    alive.1.bar(Bars::CHECK);
    assert_eq!(proxy.series(4), "good".repeat(4));
}
