//! What all of these tests share: a running checker, responders, targets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use weir_balance::PeerState;
use weir_health::{Report, Target};
use weir_model::check::{Bytes, StatusClasses};
use weir_model::{Check, ListenAddress, Millis, Probe, UpstreamKey};
use weir_serve_health::Health;

/// Longer than anything takes; a test that gets here has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A checker and what it says.
pub(crate) struct Checker {
    pub(crate) health: Health,
    reports: Receiver<Report>,
}

impl Checker {
    pub(crate) fn start() -> Checker {
        let (sender, reports) = channel();
        let note = |_, line: String| eprintln!("{line}");
        let report = move |report| {
            let _ = sender.send(report);
        };
        let health = Health::start(report, Arc::new(note)).expect("a thread");
        Checker { health, reports }
    }

    /// The next report.
    pub(crate) fn report(&self) -> Report {
        self.reports.recv_timeout(LONG).expect("a report comes")
    }

    /// Skips reports until the target is up: servers take a moment to listen.
    pub(crate) fn until_passed(&self) -> Report {
        loop {
            let report = self.report();
            if report.passed {
                return report;
            }
        }
    }

    /// Whether a report is there already.
    pub(crate) fn has_report(&self) -> bool {
        self.reports.try_recv().is_ok()
    }

    /// The words for the first result of a peer.
    pub(crate) fn first(&self, probe: Probe, address: ListenAddress) -> String {
        self.health.watch(target(check(probe), address));
        let report = self.report();
        assert!(report.first, "{report:?}");
        format!("{}: {}", if report.passed { "passed" } else { "failed" }, report.reason)
    }
}

/// A check every 20 ms that is patient, so that a busy machine fails no test.
pub(crate) fn check(probe: Probe) -> Check {
    Check {
        probe,
        interval: Millis(20),
        jitter: Millis(0),
        timeout: Millis(20_000),
        rise: 1,
        fall: 1,
        default_down: true,
        persistent: false,
        port: 0,
        keepalive_requests: 1,
    }
}

pub(crate) fn http(request: &str) -> Probe {
    Probe::Http { send: Bytes(request.as_bytes().to_vec()), expect: StatusClasses::DEFAULT }
}

pub(crate) fn target(check: Check, address: ListenAddress) -> Target {
    Target {
        key: UpstreamKey { name: "app".to_owned(), port: 0, implicit: false },
        index: 0,
        check: Arc::new(check),
        peer: address.to_string(),
        address,
        state: Arc::new(PeerState::default()),
        known: None,
    }
}

/// A server on a free port that gives each connection to `answer`, one after the other.
pub(crate) fn respond(mut answer: impl FnMut(TcpStream) + Send + 'static) -> ListenAddress {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    ListenAddress::Inet(address)
}

/// A server that reads a little, says `bytes` and closes.
pub(crate) fn say(bytes: &'static [u8]) -> ListenAddress {
    respond(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes);
    })
}

/// An address where nobody listens.
pub(crate) fn nobody() -> ListenAddress {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    ListenAddress::Inet(listener.local_addr().expect("bound"))
}

pub(crate) fn inet(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Inet(address) => *address,
        ListenAddress::Unix(path) => panic!("{path} is a path"),
    }
}

/// Reads one request head; false at the end of the connection.
pub(crate) fn read_request(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}
