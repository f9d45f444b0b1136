//! Peers that answer well, badly, slowly or not at all.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;

use weir_model::check::{Match, StatusClasses};
use weir_model::{Check, ListenAddress, Millis, Probe, Regex};

use crate::support::*;

const GET: &str = "GET / HTTP/1.0\r\n\r\n";

#[test]
fn tcp() {
    let checker = Checker::start();
    assert_eq!(checker.first(Probe::Tcp, nobody()), "failed: connect: connection refused (111)");
    let open = respond(|mut stream| {
        let _ = stream.read(&mut [0; 16]);
    });
    assert_eq!(checker.first(Probe::Tcp, open), "passed: connected");
}

#[test]
fn http_answers() {
    let checker = Checker::start();
    let ok = say(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(checker.first(http(GET), ok), "passed: status 200");
    let busy = say(b"HTTP/1.0 503 Busy\r\n\r\n");
    assert_eq!(checker.first(http(GET), busy), "failed: status 503");
    assert_eq!(checker.first(http(GET), say(b"")), "failed: closed without an answer");
    assert_eq!(checker.first(http(GET), say(b"HTTP/1.")), "failed: closed before the answer was complete");
    assert_eq!(checker.first(http(GET), say(b"SSH-2.0-x\r\n")), "failed: not http: bad status line");
    assert_eq!(checker.first(http(GET), nobody()), "failed: connect: connection refused (111)");
    let flood = respond(|mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    assert_eq!(checker.first(http(GET), flood), "failed: head longer than 16384 bytes");
}

#[test]
fn bytes_that_drip_are_an_answer() {
    let checker = Checker::start();
    let drip = respond(|mut stream| {
        stream.set_nodelay(true).expect("a socket");
        assert!(read_request(&mut stream));
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes" {
            let _ = stream.write_all(&[*byte]);
        }
    });
    let body = Some((Regex { source: "^yes$".to_owned(), caseless: false, names: Vec::new() }, true));
    let head = weir_model::check::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let probe = Probe::Request { head, expect: Some(Match { body, ..Match::default() }) };
    assert_eq!(checker.first(probe, drip), "passed: status 200");
}

#[test]
fn silence_ends_at_the_timeout() {
    let checker = Checker::start();
    let (keep, _kept) = std::sync::mpsc::channel();
    let silent = respond(move |stream| {
        let _ = keep.send(stream);
    });
    let brief = Check { timeout: Millis(50), ..check(http(GET)) };
    checker.health.watch(target(brief, silent));
    let report = checker.report();
    assert_eq!((report.passed, report.reason.as_str()), (false, "no answer within 50 ms"));
}

#[test]
fn an_answer_that_never_ends_is_cut_off() {
    let checker = Checker::start();
    let flood = respond(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let body = Some((Regex { source: "y".to_owned(), caseless: false, names: Vec::new() }, true));
    let head = weir_model::check::Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let probe = Probe::Request { head, expect: Some(Match { body, ..Match::default() }) };
    assert_eq!(checker.first(probe, flood), "failed: body does not match \"y\"");
}

#[test]
fn mysql_greets_first() {
    let checker = Checker::start();
    let greet = respond(|mut stream| {
        let _ = stream.write_all(b"\x5d\0\0\0\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\0");
        let _ = stream.read(&mut [0; 16]);
    });
    assert_eq!(checker.first(Probe::Mysql, greet), "passed: greeting");
    let full = respond(|mut stream| {
        let _ = stream.write_all(b"\x17\0\0\0\xff\x10\x04Too many connections");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read(&mut [0; 16]);
    });
    assert_eq!(checker.first(Probe::Mysql, full), "failed: error 1040 in place of a greeting");
}

#[test]
fn ajp_pongs() {
    let checker = Checker::start();
    let pong = respond(|mut stream| {
        let mut ping = [0; 5];
        stream.read_exact(&mut ping).expect("a ping");
        let reply: &[u8] = if ping == [0x12, 0x34, 0, 1, 10] { &[0x41, 0x42, 0, 1, 9] } else { b"?" };
        let _ = stream.write_all(reply);
    });
    assert_eq!(checker.first(Probe::Ajp, pong), "passed: pong");
}

/// Reads records until the empty STDIN; answers the parameters' bytes.
fn read_fastcgi(stream: &mut impl Read) -> Vec<u8> {
    let mut params = Vec::new();
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).expect("a record");
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]]))];
        stream.read_exact(&mut content).expect("its content");
        match (header[1], content.is_empty()) {
            (4, false) => params.extend(content),
            (5, true) => return params,
            _ => {}
        }
    }
}

#[test]
fn fastcgi_applications_get_their_parameters() {
    let checker = Checker::start();
    let application = respond(|mut stream| {
        let params = read_fastcgi(&mut stream);
        let status: &[u8] = if params == b"\x0e\x03REQUEST_METHODGET" { b"200" } else { b"500" };
        let output = [b"Status: ", status, b" X\r\n\r\n"].concat();
        let length = u8::try_from(output.len()).expect("short");
        let _ = stream.write_all(&[&[1, 6, 0, 1, 0, length, 0, 0], &output[..]].concat());
        let _ = stream.write_all(&[1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
    let params = vec![("REQUEST_METHOD".to_owned(), "GET".to_owned())];
    let probe = Probe::Fastcgi { params, expect: StatusClasses::DEFAULT };
    assert_eq!(checker.first(probe, application), "passed: status 200");
}

#[test]
fn sockets_in_the_file_system() {
    let checker = Checker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let address = |path: &std::path::Path| ListenAddress::Unix(path.to_string_lossy().into_owned());
    assert_eq!(checker.first(http(GET), address(&path)), "passed: status 204");
    let missing = folder.path().join("missing.sock");
    assert_eq!(checker.first(http(GET), address(&missing)), "failed: connect: no such file or directory (2)");
    let long = ListenAddress::Unix(format!("/{}", "x".repeat(200)));
    let refused = checker.first(http(GET), long);
    assert!(refused.starts_with("failed: address unix:/xxx"), "{refused}");
}

#[test]
fn a_check_may_have_a_port_of_its_own() {
    let checker = Checker::start();
    let port = inet(&say(b"HTTP/1.1 200 OK\r\n\r\n")).port();
    let elsewhere = Check { port, ..check(http(GET)) };
    checker.health.watch(target(elsewhere, nobody()));
    let report = checker.report();
    assert_eq!((report.passed, report.reason.as_str()), (true, "status 200"));
}
