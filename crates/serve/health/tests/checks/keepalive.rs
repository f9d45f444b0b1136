//! Connections that carry more than one check.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::mpsc::channel;

use weir_model::{Check, Probe};

use crate::support::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_carries_so_many_checks() {
    let checker = Checker::start();
    let (lengths, told) = channel();
    let address = respond(move |mut stream| {
        let mut requests = 0;
        while read_request(&mut stream) {
            requests += 1;
            let _ = stream.write_all(OK);
        }
        let _ = lengths.send(requests);
    });
    checker.health.watch(target(Check { keepalive_requests: 5, ..check(http(GET)) }, address));
    assert!(checker.report().passed);
    for _ in 0..3 {
        assert_eq!(told.recv_timeout(LONG).expect("connections end"), 5);
    }
    assert!(!checker.has_report(), "the verdict did not change");
}

#[test]
fn a_connection_that_died_idle_is_no_failure() {
    let checker = Checker::start();
    let (served, told) = channel();
    let address = respond(move |mut stream| {
        for _ in 0..2 {
            if read_request(&mut stream) {
                let _ = stream.write_all(OK);
            }
        }
        // Closed although the peer was told that it may go on.
        let _ = served.send(());
    });
    checker.health.watch(target(Check { keepalive_requests: 1000, ..check(http(GET)) }, address));
    assert!(checker.report().first);
    for _ in 0..20 {
        told.recv_timeout(LONG).expect("another connection");
    }
    assert!(!checker.has_report(), "the verdict did not change");
}

#[test]
fn a_server_that_closes_in_place_of_the_second_answer_is_asked_anew() {
    let checker = Checker::start();
    let (served, told) = channel();
    let address = respond(move |mut stream| {
        if read_request(&mut stream) {
            let _ = stream.write_all(OK);
        }
        let _ = read_request(&mut stream);
        let _ = served.send(());
    });
    checker.health.watch(target(Check { keepalive_requests: 1000, ..check(http(GET)) }, address));
    for _ in 0..20 {
        told.recv_timeout(LONG).expect("another connection");
    }
    assert!(checker.report().first);
    assert!(!checker.has_report(), "the verdict did not change");
}

#[test]
fn tcp_connections_are_kept_and_replaced() {
    let checker = Checker::start();
    let (ended, told) = channel();
    let address = respond(move |mut stream| {
        // Ends when the checker has used it up.
        let _ = stream.read(&mut [0; 1]);
        let _ = ended.send(());
    });
    let target = target(Check { keepalive_requests: 10, ..check(Probe::Tcp) }, address);
    let state = Arc::clone(&target.state);
    checker.health.watch(target);
    assert!(checker.report().passed);
    told.recv_timeout(LONG).expect("a connection ends");
    // The count follows the close.
    assert!(state.rise() >= 9, "it ended after {} checks", state.rise());
    told.recv_timeout(LONG).expect("and the next");
    assert!(state.rise() >= 19, "it ended after {} checks", state.rise());
    assert!(!checker.has_report(), "the verdict did not change");
}

#[test]
fn a_tcp_peer_that_goes_away_is_noticed_on_a_kept_connection() {
    let checker = Checker::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = weir_model::ListenAddress::Inet(listener.local_addr().expect("bound"));
    checker.health.watch(target(Check { keepalive_requests: 1_000_000, ..check(Probe::Tcp) }, address));
    let (stream, _) = listener.accept().expect("a connection");
    assert!(checker.report().passed);
    drop(listener);
    drop(stream);
    let report = checker.report();
    assert_eq!((report.passed, report.reason.as_str()), (false, "connect: connection refused (111)"));
}

#[test]
fn grpc_calls_share_a_connection() {
    let checker = Checker::start();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let (served, told) = channel();
    let address = respond(move |mut stream| {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).expect("a preface");
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let mut header = [0; 9];
        while stream.read_exact(&mut header).is_ok() {
            let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
            stream.read_exact(&mut payload).expect("a payload");
            if header[3] == 0 {
                let id = &header[5..9];
                let head = [&[0, 0, 1, 1, 4][..], id, &[0x88]].concat();
                let data = [&[0, 0, 7, 0, 0][..], id, &[0, 0, 0, 0, 2, 8, 1]].concat();
                let tail = [&[0, 0, 15, 1, 5][..], id, b"\0\x0bgrpc-status\x010"].concat();
                let _ = stream.write_all(&[head, data, tail].concat());
                counted.fetch_add(1, SeqCst);
            }
        }
        let _ = served.send(());
    });
    let probe = Probe::Grpc { service: String::new(), status: None };
    checker.health.watch(target(Check { keepalive_requests: 7, ..check(probe) }, address));
    let report = checker.report();
    assert_eq!((report.passed, report.reason.as_str()), (true, "serving"));
    told.recv_timeout(LONG).expect("the connection ends");
    assert_eq!(calls.load(SeqCst), 7);
}
