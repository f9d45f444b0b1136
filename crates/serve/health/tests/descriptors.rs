//! Too few file descriptors say nothing about peers. A process of its own, for the limit is the process'.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_health::Target;
use weir_model::check::{Bytes, StatusClasses};
use weir_model::{Check, ListenAddress, Millis, Probe, UpstreamKey};
use weir_serve_health::Health;

#[test]
fn every_peer_gets_its_verdict() {
    weir_net::set_nofile_limit(128).expect("a lower limit");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = ListenAddress::Inet(listener.local_addr().expect("bound"));
    let (reports, told) = channel();
    let (go, gone) = channel::<()>();
    // Nobody is answered before the checker ran out of descriptors.
    std::thread::spawn(move || {
        gone.recv().expect("the sign comes");
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        }
    });
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let note = move |_, line: String| {
        log.lock().expect("nobody panicked").push(line);
        let _ = go.send(());
    };
    let report = move |report| {
        let _ = reports.send(report);
    };
    let health = Health::start(report, Arc::new(note)).expect("a thread");
    let send = Bytes(b"GET / HTTP/1.0\r\n\r\n".to_vec());
    let check = Arc::new(Check {
        probe: Probe::Http { send, expect: StatusClasses::DEFAULT },
        interval: Millis(3_600_000),
        jitter: Millis(0),
        timeout: Millis(60_000),
        rise: 1,
        fall: 1,
        default_down: true,
        persistent: false,
        port: 0,
        keepalive_requests: 1,
    });
    for number in 0..300 {
        health.watch(Target {
            key: UpstreamKey { name: "app".to_owned(), port: 0, implicit: false },
            index: 0,
            check: Arc::clone(&check),
            peer: format!("peer {number}"),
            address: address.clone(),
            state: Arc::default(),
            known: None,
        });
    }
    for _ in 0..300 {
        let report = told.recv_timeout(Duration::from_secs(60)).expect("a report for each peer");
        assert!(report.passed, "{report:?}");
    }
    let lines = lines.lock().expect("nobody panicked");
    assert!(
        lines[0]
            .starts_with("health checks wait for file descriptors: 64 connections are open, 64 are allowed")
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
}
