//! Tables: what a peer says, and what it is taken for.

use weir_model::check::{Bytes, HeaderExpectation, HeaderTest, Match, StatusClasses, StatusTest};
use weir_model::{Builtin, Part, Probe, Regex, Template, Variable};

use super::*;
use crate::PlanError;

fn judged(plan: &Plan, answer: &[u8]) -> String {
    talk(plan, [answer]).words()
}

fn regex(source: &str) -> Regex {
    Regex { source: source.to_owned(), caseless: false, names: Vec::new() }
}

#[test]
fn status_line_alone_decides_without_reuse() {
    let plan = plan(http(), 1);
    let table: [(&[u8], &str); 11] = [
        (b"HTTP/1.1 200 OK\r\n", "passed: status 200"),
        (b"HTTP/1.1 200\r\n", "passed: status 200"),
        (b"HTTP/1.0 302 Found\nx", "passed: status 302"),
        (b"HTTP/1.1 404 Not Found\r\n", "failed: status 404"),
        (b"HTTP/1.1 503 Busy\r\nContent-Le", "failed: status 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n", "passed: status 204"),
        (b"HTTP/1.1 200 OK", "failed: closed before the answer was complete, at close"),
        (b"", "failed: closed without an answer, at close"),
        (b"220 mail ready\r\n", "failed: not http: bad status line"),
        (b"HTTP/1.1 2000 OK\r\n", "failed: not http: bad status line"),
        (b"\x15\x03\x01\x00\x02\x02\x46\n", "failed: not http: bad status line"),
    ];
    for (answer, verdict) in table {
        assert_eq!(judged(&plan, answer), verdict, "{}", answer.escape_ascii());
    }
    let endless = vec![b'x'; 20_000];
    assert_eq!(judged(&plan, &endless), "failed: head longer than 16384 bytes");
}

#[test]
fn a_connection_is_used_again_only_after_a_complete_answer() {
    let plan = plan(http(), 100);
    let table: [(&[u8], &str); 15] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "passed: status 200, reusable"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", "failed: status 500, reusable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "passed: status 200, reusable"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "passed: status 204, reusable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\noktrailing", "passed: status 200"),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", "passed: status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "passed: status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\nok", "passed: status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "passed: status 200, at close"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "passed: status 200"),
        (
            b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
            "passed: status 200, reusable",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nno length", "passed: status 200"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
            "passed: status 200, reusable",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd", "passed: status 200"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "passed: status 200"),
    ];
    for (answer, verdict) in table {
        assert_eq!(judged(&plan, answer), verdict, "{}", answer.escape_ascii());
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let send = Bytes(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec());
    let plan = plan(Probe::Http { send, expect: StatusClasses::DEFAULT }, 10);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    assert_eq!(judged(&plan, answer), "passed: status 200, reusable");
}

#[test]
fn health_check_without_a_match_block() {
    let plan = plan(request(None), 1);
    assert_eq!(judged(&plan, b"HTTP/1.1 301 Moved\r\n\r\n"), "passed: status 301");
    assert_eq!(judged(&plan, b"HTTP/1.1 101 Switching\r\n\r\n"), "failed: status 101");
    let broken = b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n";
    assert_eq!(judged(&plan, broken), "failed: not http: bad header line");
    let early = judged(&plan, b"HTTP/1.1 200 OK\r\n");
    assert_eq!(early, "failed: closed before the answer was complete, at close");
}

#[test]
fn statuses_of_a_match_block() {
    let test = StatusTest { ranges: vec![(200, 200), (300, 399)], negated: false };
    let wanted = plan(request(Some(Match { status: Some(test.clone()), ..Match::default() })), 1);
    let negated = StatusTest { negated: true, ..test };
    let unwanted = plan(request(Some(Match { status: Some(negated), ..Match::default() })), 1);
    for (status, passes) in [(200, true), (204, false), (300, true), (399, true), (400, false)] {
        let answer = format!("HTTP/1.1 {status} X\r\n\r\n");
        let word = |passed| if passed { "passed" } else { "failed" };
        assert_eq!(judged(&wanted, answer.as_bytes()), format!("{}: status {status}", word(passes)));
        assert_eq!(judged(&unwanted, answer.as_bytes()), format!("{}: status {status}", word(!passes)));
    }
}

#[test]
fn headers_of_a_match_block() {
    let header = |test| HeaderTest { name: "x-state".to_owned(), test };
    let table = [
        (HeaderExpectation::Present, "", "header x-state is missing"),
        (HeaderExpectation::Present, "X-State: 1\r\n", ""),
        (HeaderExpectation::Absent, "X-State: 1\r\n", "header x-state is there"),
        (HeaderExpectation::Absent, "", ""),
        (HeaderExpectation::Equals("on".into()), "X-STATE: on\r\n", ""),
        (HeaderExpectation::Equals("on".into()), "X-State: off\r\n", "header x-state is not \"on\""),
        (HeaderExpectation::Equals("on".into()), "X-State: off\r\nX-State: on\r\n", ""),
        (HeaderExpectation::Differs("on".into()), "X-State: on\r\n", "header x-state is \"on\""),
        (HeaderExpectation::Differs("on".into()), "", ""),
        (HeaderExpectation::Matches(regex("^o[nk]$")), "X-State: ok\r\n", ""),
        (
            HeaderExpectation::Matches(regex("^o$")),
            "X-State: ok\r\n",
            "header x-state does not match \"^o$\"",
        ),
        (HeaderExpectation::DoesNotMatch(regex("k")), "X-State: ok\r\n", "header x-state matches \"k\""),
    ];
    for (test, line, failure) in table {
        let block = Match { headers: vec![header(test.clone())], ..Match::default() };
        let plan = plan(request(Some(block)), 1);
        let answer = format!("HTTP/1.1 200 OK\r\n{line}\r\n");
        let expected =
            if failure.is_empty() { "passed: status 200".to_owned() } else { format!("failed: {failure}") };
        assert_eq!(judged(&plan, answer.as_bytes()), expected, "{test:?} {line:?}");
    }
}

#[test]
fn body_of_a_match_block() {
    let wanted = |keepalive| {
        let block = Match { body: Some((regex("Welcome"), true)), ..Match::default() };
        plan(request(Some(block)), keepalive)
    };
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nWelcome!\n";
    assert_eq!(judged(&wanted(1), length), "passed: status 200");
    assert_eq!(judged(&wanted(5), length), "passed: status 200, reusable");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nWel\r\n4\r\ncome\r\n0\r\n\r\n";
    assert_eq!(judged(&wanted(5), chunked), "passed: status 200, reusable");
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nWelcome";
    assert_eq!(judged(&wanted(5), until_close), "passed: status 200, at close");
    let other = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBye";
    assert_eq!(judged(&wanted(5), other), "failed: body does not match \"Welcome\", reusable");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nWelcome";
    assert_eq!(judged(&wanted(1), cut), "failed: closed before the answer was complete, at close");
    let bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nWelcome\r\n";
    assert_eq!(judged(&wanted(1), bad), "failed: not http: bad chunk");
    let block = Match { body: Some((regex("error"), false)), ..Match::default() };
    let unwanted = plan(request(Some(block)), 1);
    let error = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nerror";
    assert_eq!(judged(&unwanted, error), "failed: body matches \"error\"");
}

#[test]
fn a_body_is_judged_by_its_first_part() {
    let block = Match { body: Some((regex("END"), true)), ..Match::default() };
    let plan = plan(request(Some(block)), 5);
    for (at, verdict) in [
        (crate::BODY_LIMIT - 3, "passed: status 200"),
        (crate::BODY_LIMIT - 2, "failed: body does not match \"END\""),
    ] {
        let mut body = vec![b'x'; 1_000_000];
        body[at..at + 3].copy_from_slice(b"END");
        let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", &body[..]].concat();
        assert_eq!(judged(&plan, &answer), verdict);
        let answer = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf4240\r\n", &body[..]].concat();
        assert_eq!(judged(&plan, &answer), verdict);
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n", &body[..]].concat();
        assert_eq!(judged(&plan, &answer), verdict);
    }
}

#[test]
fn required_values() {
    let variable = Part::Variable(Variable::UpstreamHttp("x_ready".to_owned()));
    let block = Match { require: vec![Template(vec![variable])], ..Match::default() };
    let plan = plan(request(Some(block)), 1);
    let failure = "failed: $upstream_http_x_ready is empty or 0";
    for (line, verdict) in
        [("", failure), ("X-Ready: 0\r\n", failure), ("X-Ready: 00\r\n", "passed: status 200")]
    {
        assert_eq!(judged(&plan, format!("HTTP/1.1 200 OK\r\n{line}\r\n").as_bytes()), verdict);
    }
    let other = Template(vec![Part::Variable(Variable::Builtin(Builtin::Host))]);
    let block = Match { require: vec![other], ..Match::default() };
    let error = Plan::new(&check(request(Some(block)), 1), "backend").expect_err("a probe has no client");
    assert_eq!(error, PlanError::Variable("host".to_owned()));
}

#[test]
fn an_invalid_pattern_is_named() {
    let block = Match { body: Some((regex("(a"), true)), ..Match::default() };
    let error = Plan::new(&check(request(Some(block)), 1), "backend").expect_err("a group is open");
    assert!(error.to_string().starts_with("a pattern of the match block is invalid: pcre2_compile() failed"));
}

#[test]
fn tls_servers() {
    let plan = plan(Probe::SslHello, 10);
    let table: [(&[u8], &str); 7] = [
        (&[22, 3, 3, 0, 90, 2, 0, 0, 86], "passed: server hello"),
        (&[22, 3, 3, 0, 90], "failed: closed before the answer was complete, at close"),
        (&[21, 3, 1, 0, 2, 2, 40], "failed: tls alert 40 (handshake failure)"),
        (&[21, 3, 3, 0, 2, 2, 112], "failed: tls alert 112 (unrecognized name)"),
        (&[22, 3, 3, 0, 90, 11], "failed: not tls: first message is no server hello"),
        (b"HTTP/1.1 400 Bad", "failed: not tls: first record is no handshake"),
        (&[], "failed: closed without an answer, at close"),
    ];
    for (answer, verdict) in table {
        assert_eq!(judged(&plan, answer), verdict, "{answer:x?}");
    }
}

#[test]
fn client_hello_has_the_lengths_that_it_says() {
    let plan = plan(Probe::SslHello, 1);
    let mut exchange = Exchange::default();
    exchange.begin(&plan, true);
    let hello = send_all(&mut exchange, &plan);
    assert_eq!(hello[..3], [22, 3, 1]);
    assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
    assert_eq!(hello[5], 1);
    assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
}

#[test]
fn mysql_servers() {
    let plan = plan(Probe::Mysql, 10);
    let table: [(&[u8], &str); 6] = [
        (b"\x5d\0\0\0\x0a5.5.5-10.11.6-MariaDB\0", "passed: greeting"),
        (b"\x45\0\0\0\xff\x10\x04Too many connections", "failed: error 1040 in place of a greeting"),
        (b"\x5d\0\0\x01\x0a5.5", "failed: not mysql: first packet is not number 0"),
        (b"\x5d\0\0\0\x07", "failed: not mysql: unknown protocol version"),
        (b"\x5d\0\0", "failed: closed before the answer was complete, at close"),
        (b"", "failed: closed without an answer, at close"),
    ];
    for (answer, verdict) in table {
        assert_eq!(judged(&plan, answer), verdict, "{}", answer.escape_ascii());
    }
}

#[test]
fn ajp_containers() {
    let plan = plan(Probe::Ajp, 10);
    let mut exchange = Exchange::default();
    exchange.begin(&plan, true);
    assert_eq!(send_all(&mut exchange, &plan), [0x12, 0x34, 0, 1, 0x0a]);
    assert_eq!(judged(&plan, &[0x41, 0x42, 0, 1, 9]), "passed: pong, reusable");
    assert_eq!(judged(&plan, &[0x41, 0x42, 0, 1, 5]), "failed: not ajp: no cpong packet");
    assert_eq!(judged(&plan, &[0x41]), "failed: closed before the answer was complete, at close");
}

#[test]
fn fastcgi_applications() {
    let params = vec![("REQUEST_METHOD".to_owned(), "GET".to_owned()), ("X".to_owned(), "y".repeat(200))];
    let plan = plan(Probe::Fastcgi { params, expect: StatusClasses::DEFAULT }, 10);
    let mut exchange = Exchange::default();
    exchange.begin(&plan, true);
    let request = send_all(&mut exchange, &plan);
    assert_eq!(request[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(request[16..26], [1, 4, 0, 1, 0, 19 + 206, 0, 0, 14, 3]);
    assert!(request.ends_with(&[1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0]));

    let end = record(3, &[0; 8], 0);
    let output = |text: &[u8]| record(6, text, 3);
    let table = [
        ([output(b"Content-Type: a/b\r\n\r\nhi"), end.clone()].concat(), "passed: status 200, reusable"),
        ([output(b"Status: 404 Not Found\r\n\r\n"), end.clone()].concat(), "failed: status 404, reusable"),
        ([output(b"Location: /a\n\n"), end.clone()].concat(), "passed: status 302, reusable"),
        (
            [output(b"HTTP/1.1 503 Busy\r\nA: b\r\n\r\n"), end.clone()].concat(),
            "failed: status 503, reusable",
        ),
        ([output(b"Stat"), output(b"us: 201\r\n\r\n"), end.clone()].concat(), "passed: status 201, reusable"),
        (
            [record(7, b"warning", 1), output(b"A: b\r\n\r\n"), end.clone()].concat(),
            "passed: status 200, reusable",
        ),
        (output(b"Status: 200\r\n\r\n"), "passed: status 200, at close"),
        (record(3, &[0, 0, 0, 0, 2, 0, 0, 0], 0), "failed: fastcgi application refused: protocol status 2"),
        (end.clone(), "failed: not fastcgi: output without a valid head, reusable"),
        (b"HTTP/1.1 400 Bad Request".to_vec(), "failed: not fastcgi: bad record"),
        (vec![1, 6, 0, 9, 0, 0, 0, 0], "failed: not fastcgi: bad record"),
        (output(&[b'x'; 20_000]), "failed: head longer than 16384 bytes"),
    ];
    for (answer, verdict) in table {
        assert_eq!(judged(&plan, &answer), verdict, "{}", answer.escape_ascii());
    }
}

/// An answer of the health service: settings, the head, a message, the trailers.
fn health(message: &[u8], grpc_status: &str) -> Vec<u8> {
    let status = [b"\x00\x0bgrpc-status", &[grpc_status.len() as u8][..], grpc_status.as_bytes()].concat();
    let data = if message.is_empty() { Vec::new() } else { frame(0, 0, 1, message) };
    [frame(4, 0, 0, &[]), frame(4, 1, 0, &[]), frame(1, 4, 1, &[0x88]), data, frame(1, 5, 1, &status)]
        .concat()
}

#[test]
fn grpc_servers() {
    let grpc = |status| plan(Probe::Grpc { service: "shop".to_owned(), status }, 1);
    let serving = health(&[0, 0, 0, 0, 2, 8, 1], "0");
    let unimplemented = [frame(4, 0, 0, &[]), frame(1, 5, 1, b"\x88\x00\x0bgrpc-status\x0212")].concat();
    let table = [
        (None, serving.clone(), "passed: serving"),
        (None, health(&[0, 0, 0, 0, 2, 8, 2], "0"), "failed: not serving"),
        (None, health(&[0, 0, 0, 0, 0], "0"), "failed: health status unknown"),
        (None, health(&[], "0"), "failed: not grpc: bad health message"),
        (None, health(&[], "14"), "failed: grpc status 14 (unavailable)"),
        (None, unimplemented.clone(), "failed: grpc status 12 (unimplemented)"),
        (Some(12), unimplemented, "passed: grpc status 12 (unimplemented)"),
        (Some(12), serving, "passed: serving"),
        (Some(12), health(&[], "5"), "failed: grpc status 5 (not found)"),
        (None, [frame(4, 0, 0, &[]), frame(3, 0, 1, &[0, 0, 0, 7])].concat(), "failed: http/2 error 7"),
        (
            None,
            [frame(4, 0, 0, &[]), frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11])].concat(),
            "failed: http/2 error 11",
        ),
        (None, b"HTTP/1.1 400 Bad".to_vec(), "failed: not grpc: first frame is no settings"),
        (None, [frame(4, 0, 0, &[]), frame(1, 5, 1, &[0x8d])].concat(), "failed: status 404"),
        (
            None,
            [frame(4, 0, 0, &[]), vec![1, 0, 0, 0]].concat(),
            "failed: closed before the answer was complete, at close",
        ),
    ];
    for (status, answer, verdict) in table {
        assert_eq!(judged(&grpc(status), &answer), verdict, "{}", answer.escape_ascii());
    }
}

#[test]
fn grpc_calls_follow_one_another_on_a_connection() {
    let plan = plan(Probe::Grpc { service: String::new(), status: None }, 100);
    let mut exchange = Exchange::default();
    exchange.begin(&plan, true);
    let opening = send_all(&mut exchange, &plan);
    assert!(opening.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x0c\x04\0\0\0\0\0"));
    assert!(opening.ends_with(&frame(0, 1, 1, &[0; 5])));
    assert_eq!(exchange.receive(&plan, &frame(4, 0, 0, &[0, 3, 0, 0, 0, 9])), Progress::More);
    assert_eq!(exchange.receive(&plan, &frame(6, 0, 0, b"12345678")), Progress::More);
    assert_eq!(send_all(&mut exchange, &plan), [frame(4, 1, 0, &[]), frame(6, 1, 0, b"12345678")].concat());
    for stream in [1, 3, 5] {
        if stream != 1 {
            exchange.begin(&plan, false);
            let call = send_all(&mut exchange, &plan);
            assert_eq!(call[3..9], [1, 4, 0, 0, 0, stream]);
        }
        let stream = u32::from(stream);
        let head = frame(1, 4, stream, &[0x88]);
        let data = frame(0, 8, stream, &[2, 0, 0, 0, 0, 2, 8, 1, 0, 0]);
        let trailers = frame(1, 5, stream, b"\x00\x0bgrpc-status\x010");
        let answer = [head, data, trailers].concat();
        let expected = Progress::Done { verdict: Verdict::pass(crate::Reason::Serving), reusable: true };
        assert_eq!(exchange.receive(&plan, &answer), expected);
    }
}
