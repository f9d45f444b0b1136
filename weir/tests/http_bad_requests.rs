//! Requests that smuggle, attack or make no sense: a clear status, a closed connection, the reason in the error
//! log, and not one byte for the upstream.

mod common;
mod support;

use common::{Server, text, until};
use support::{Client, Upstream, conf, proxy_to};

/// What was sent, the status of the answer, and words of the line in the error log.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    status: u16,
    reason: &'static str,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, status: u16, reason: &'static str) -> Case {
    Case { name, bytes: bytes.into(), status, reason }
}

/// A request that is right but for these header lines, each with its end.
fn with(lines: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

fn chunked(body: &str) -> String {
    with("Transfer-Encoding: chunked\r\n") + body
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: localhost\r\n\r\n")
}

/// Runs every case against one server, and then asks it whether it is still well.
fn run(cases: Vec<Case>, more: &str) {
    let upstream = Upstream::saying("fine");
    let server = proxy_to(&upstream, more);
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(reason) = judge(&server, &upstream, &case) {
            wrong.push(format!("{}: {reason}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(support::get(&server, "/").text(), "fine", "the server serves on");
    let log = server.site.read("error.log");
    for bad in ["[crit]", "[alert]", "[emerg]", "panic"] {
        assert!(!log.contains(bad), "{bad} in {log}");
    }
}

fn judge(server: &Server, upstream: &Upstream, case: &Case) -> Result<(), String> {
    let logged = server.site.read("error.log").len();
    let mut client = Client::to(server);
    client.stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a timeout");
    // The server may answer before it has read everything.
    let _ = client.try_send(&case.bytes);
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    let expected = format!("HTTP/1.1 {} ", case.status);
    if !answer.starts_with(&expected) {
        return Err(format!("expected {expected}, got {:?}", answer.get(..200).unwrap_or(&answer)));
    }
    if answer.matches("HTTP/1.1 ").count() != 1 {
        return Err(format!("expected one answer, got {answer:?}"));
    }
    if !answer.contains("\r\nConnection: close\r\n") {
        return Err(format!("expected Connection: close in {answer:?}"));
    }
    if upstream.connections() != 0 {
        return Err(format!("the upstream was asked {:?}", upstream.requests()));
    }
    let log = server.site.read("error.log");
    let lines = log.get(logged..).unwrap_or_default();
    if !lines.contains(case.reason) {
        return Err(format!("expected {:?} in the error log, got {lines:?}", case.reason));
    }
    Ok(())
}

#[test]
fn two_lengths() {
    let both = "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time";
    let length = "client sent invalid \"Content-Length\" header";
    let twice = "client sent duplicate header line: \"Content-Length: ";
    let encoding = "client sent unknown \"Transfer-Encoding\": ";
    run(
        vec![
            case(
                "both",
                with("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
                400,
                both,
            ),
            case("both, other way", with("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400, both),
            case("two lengths", with("Content-Length: 4\r\nContent-Length: 5\r\n") + "12345", 400, twice),
            case("the same length twice", with("Content-Length: 4\r\nContent-Length: 4\r\n"), 400, twice),
            case("a list of lengths", with("Content-Length: 4, 4\r\n") + "1234", 400, length),
            case("plus", with("Content-Length: +4\r\n") + "1234", 400, length),
            case("minus", with("Content-Length: -4\r\n") + "1234", 400, length),
            case("hexadecimal", with("Content-Length: 0x4\r\n") + "1234", 400, length),
            case("no digits", with("Content-Length: \r\n"), 400, length),
            case("beyond 64 bits", with("Content-Length: 99999999999999999999\r\n"), 400, length),
            case("not chunked", with("Transfer-Encoding: gzip\r\n"), 501, encoding),
            case("chunked is not last", with("Transfer-Encoding: chunked, identity\r\n"), 501, encoding),
            case("nearly chunked", with("Transfer-Encoding: xchunked\r\n"), 501, encoding),
            case(
                "twice chunked",
                with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                400,
                "client sent duplicate header line: \"Transfer-Encoding: ",
            ),
            case(
                "chunked in HTTP/1.0",
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
                "client sent HTTP/1.0 request with \"Transfer-Encoding\" header",
            ),
        ],
        "",
    );
}

#[test]
fn bad_chunks() {
    let bad = "client sent invalid chunked body";
    run(
        vec![
            case("no digit", chunked("zz\r\n"), 400, bad),
            case("minus", chunked("-1\r\n"), 400, bad),
            case("prefix", chunked("0x1\r\na\r\n0\r\n\r\n"), 400, bad),
            case("empty size", chunked("\r\na\r\n"), 400, bad),
            case("beyond 63 bits", chunked("8000000000000000\r\n"), 400, bad),
            case("many digits", chunked("00000000000000001\r\n"), 400, bad),
            case("longer than said", chunked("1\r\nab\r\n0\r\n\r\n"), 400, bad),
            case("bare CR behind the size", chunked("1\ra\r\n0\r\n\r\n"), 400, bad),
            case("bare LF in an extension", chunked("1;a\na\r\n0\r\n\r\n"), 400, bad),
            case("long extension", chunked(&format!("1;{}\r\n", "x".repeat(5000))), 400, bad),
            case("trailer without colon", chunked("0\r\nnonsense\r\n\r\n"), 400, bad),
            case("flood of trailers", chunked(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(5000))), 400, bad),
        ],
        "",
    );
}

#[test]
fn bad_header_lines() {
    let field = "client sent invalid header line: ";
    run(
        vec![
            case("bare CR in a value", with("X-A: a\rb\r\n"), 400, field),
            case("bare CR as an end", "GET / HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n", 400, "client sent"),
            case("NUL in a value", with("X-A: a\0b\r\n"), 400, field),
            case("NUL in a name", with("X\0A: b\r\n"), 400, field),
            case("space before the colon", with("X-A : b\r\n"), 400, field),
            case("smuggled encoding", with("Transfer-Encoding : chunked\r\n"), 400, field),
            case("tab before the colon", with("X-A\t: b\r\n"), 400, field),
            case("continuation", with("X-A: b\r\n c\r\n"), 400, field),
            case("continuation with a tab", with("X-A: b\r\n\tc\r\n"), 400, field),
            case("space first", "GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, field),
            case("no colon", with("nonsense\r\n"), 400, field),
            case("no name", with(": b\r\n"), 400, field),
        ],
        "",
    );
}

#[test]
fn bad_hosts() {
    let none = "client sent HTTP/1.1 request without \"Host\" header";
    let twice = "client sent duplicate host header";
    let bad = "client sent invalid host";
    run(
        vec![
            case("none", "GET / HTTP/1.1\r\n\r\n", 400, none),
            case("two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, twice),
            case("the same twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, twice),
            case("a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, bad),
            case("two dots", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400, bad),
            case("a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, bad),
            case("an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, bad),
            case(
                "in the target",
                "GET http://a..b/ HTTP/1.1\r\nHost: a\r\n\r\n",
                400,
                "client sent invalid host",
            ),
        ],
        "",
    );
}

#[test]
fn bad_first_lines() {
    let method = "client sent invalid method";
    let request = "client sent invalid request";
    let version = "client sent invalid version";
    run(
        vec![
            case("lower case", line("get / HTTP/1.1"), 400, method),
            case("not a letter", line("G@T / HTTP/1.1"), 400, method),
            case("no method", line(" / HTTP/1.1"), 400, method),
            case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, method),
            case("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "client sent invalid"),
            case("TRACE", line("TRACE / HTTP/1.1"), 405, "client sent TRACE method"),
            case("CONNECT", line("CONNECT a:443 HTTP/1.1"), 405, "client sent CONNECT method"),
            case("no slash", line("GET x HTTP/1.1"), 400, request),
            case("a space inside", line("GET /a b HTTP/1.1"), 400, request),
            case("a control character", line("GET /a\x01b HTTP/1.1"), 400, request),
            case("DEL", line("GET /a\x7fb HTTP/1.1"), 400, request),
            case("NUL", line("GET /a\0b HTTP/1.1"), 400, request),
            case("encoded NUL", line("GET /a%00b HTTP/1.1"), 400, request),
            case("half an encoding", line("GET /a%2 HTTP/1.1"), 400, request),
            case("no digits", line("GET /%zz HTTP/1.1"), 400, request),
            case("above the root", line("GET /../etc/passwd HTTP/1.1"), 400, request),
            case("above the root, encoded", line("GET /a/%2e%2e/%2e%2e/etc HTTP/1.1"), 400, request),
            case("another protocol", line("GET / HTTQ/1.1"), 400, request),
            case("a version without numbers", line("GET / HTTP/x.y"), 400, request),
            case("version 2", line("GET / HTTP/2.0"), 505, version),
            case("bare CR", "GET / HTTP/1.1\rHost: localhost\r\n\r\n", 400, request),
        ],
        "",
    );
}

#[test]
fn too_much() {
    let long = "x".repeat(40_000);
    let flood: String = (0..1500).map(|n| format!("X-{n}: y\r\n")).collect();
    let large: String = (0..40).map(|n| format!("X-{n}: {}\r\n", "y".repeat(1000))).collect();
    run(
        vec![
            case("long target", line(&format!("GET /{long} HTTP/1.1")), 414, "client sent too long URI"),
            case("long query", line(&format!("GET /?{long} HTTP/1.1")), 414, "client sent too long URI"),
            case("long value", with(&format!("X-A: {long}\r\n")), 400, "client sent too long header line"),
            case("long name", with(&format!("{long}: x\r\n")), 400, "client sent too long header line"),
            case("flood of lines", with(&flood), 400, "client sent too many header lines"),
            case("large head", with(&large), 400, "client sent too long header line"),
            case(
                "large body",
                with("Content-Length: 2000000\r\n"),
                413,
                "client intended to send too large body: 2000000 bytes",
            ),
            case(
                "large body in chunks",
                chunked(&format!("{:x}\r\n{}", 2_000_000, "x".repeat(1_500_000))),
                413,
                "client intended to send too large chunked body",
            ),
        ],
        "client_max_body_size 1m;",
    );
}

/// A head or body that comes too slowly ends the connection, however regularly its bytes come.
#[test]
fn too_slow() {
    let upstream = Upstream::saying("fine");
    let more = "client_header_timeout 300ms; client_body_timeout 300ms;";
    let server = common::Site::new(&conf(&format!(
        "{more} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{}; }} }}",
        upstream.address()
    )))
    .start();
    let mut nothing = Client::to(&server);
    nothing.expect_end();
    let mut drop_by_drop = Client::to(&server);
    let mut writer = drop_by_drop.stream.try_clone().expect("another handle");
    let feeder = std::thread::spawn(move || {
        use std::io::Write;
        // Each byte is well inside the timeout; all of them are not.
        let begin = std::time::Instant::now();
        let mut bytes = b"GET / HTTP/1.1\r\nX-".iter().chain(std::iter::repeat(&b'a'));
        while begin.elapsed() < std::time::Duration::from_secs(20) {
            let Some(byte) = bytes.next() else { break };
            if writer.write_all(&[*byte]).is_err() {
                return begin.elapsed();
            }
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        begin.elapsed()
    });
    drop_by_drop.rest();
    drop(drop_by_drop);
    let took = feeder.join().expect("it writes and nothing else");
    assert!(took < std::time::Duration::from_secs(10), "the slow head lived for {took:?}");
    let mut body = Client::to(&server);
    body.send(with("Content-Length: 10\r\n") + "12345");
    let answer = text(&body.rest());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(upstream.connections(), 0);
    until("two lines of status 408", || {
        (server.site.read("access.log").matches("\" 408 ").count() >= 2).then_some(())
    });
}

/// What looks like a second request inside a body is a body, and what comes after a refusal is not read.
#[test]
fn nothing_behind_a_refusal_is_served() {
    let upstream = Upstream::saying("fine");
    let server = proxy_to(&upstream, "");
    let mut client = Client::to(&server);
    client.send(
        "GET /one HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\nGET /two HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(client.answer().status, 400);
    client.expect_end();
    assert_eq!(upstream.connections(), 0);
    let inner = "GET /inner HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = Client::to(&server);
    client.send(with(&format!("Content-Length: {}\r\n", inner.len())) + inner);
    assert_eq!(client.answer().status, 200);
    let request = upstream.request();
    assert_eq!((request.target.as_str(), text(&request.body)), ("/x", inner.to_owned()));
}

/// Pipelined behind a good request, a bad one still ends the connection, after the good answer.
#[test]
fn a_bad_request_behind_a_good_one() {
    let upstream = Upstream::saying("fine");
    let server = proxy_to(&upstream, "");
    let mut client = Client::to(&server);
    client
        .send("GET /one HTTP/1.1\r\nHost: localhost\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(client.answer().text(), "fine");
    assert_eq!(client.answer().status, 400);
    client.expect_end();
    assert_eq!(upstream.request().target, "/one");
}

/// With `proxy_request_buffering off` the upstream may have seen the good part of a body; it never sees its end.
#[test]
fn bad_chunks_of_a_streamed_body() {
    let upstream = Upstream::saying("fine");
    let server = proxy_to(&upstream, "proxy_request_buffering off; proxy_http_version 1.1;");
    for body in ["2\r\nab\r\nzz\r\n", "2\r\nabc\r\n0\r\n\r\n", "2\r\nab\r\n0\r\nnonsense\r\n\r\n"] {
        let mut client = Client::to(&server);
        client.send(chunked(body));
        let answer = text(&client.rest());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer:?}");
    }
    assert_eq!(upstream.count(), 0, "{:?}", upstream.requests());
    assert_eq!(support::get(&server, "/").text(), "fine");
}
