//! Request heads: what is accepted, and the reason of each refusal.

use crate::wire::head::{HeadError, HeadLimits, Progress, RequestHead, Version};

fn read(head: &[u8]) -> Result<RequestHead, HeadError> {
    read_with(head, &HeadLimits::default())
}

fn read_with(head: &[u8], limits: &HeadLimits) -> Result<RequestHead, HeadError> {
    let mut found = RequestHead::new();
    match found.advance(head, limits)? {
        Progress::Complete => Ok(found),
        Progress::Partial => panic!("{:?} is not complete", String::from_utf8_lossy(head)),
    }
}

/// The error of an HTTP/1.1 request with these header lines besides Host.
fn refused(lines: &str) -> HeadError {
    read(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").as_bytes()).expect_err(lines)
}

fn line_error(line: &str) -> HeadError {
    read(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).expect_err(line)
}

#[test]
fn a_plain_request() {
    let bytes = b"GET /a?b HTTP/1.1\r\nHost: Example.com:80\r\nX-Empty:\r\nAccept:   a, b  \r\n\r\nbody";
    let head = read(bytes).expect("a valid head");
    assert_eq!(head.method.of(bytes), b"GET");
    assert_eq!(head.target.of(bytes), b"/a?b");
    assert_eq!(head.request_line.of(bytes), b"GET /a?b HTTP/1.1");
    assert_eq!((head.version, head.absolute), (Version::Http11, None));
    assert_eq!(head.host.expect("a host").of(bytes), b"Example.com:80");
    assert_eq!(head.len as usize, bytes.len() - 4);
    let fields: Vec<_> =
        head.fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes))).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"Example.com:80"[..]), (b"X-Empty", b""), (b"Accept", b"a, b")]);
}

#[test]
fn line_feeds_alone_and_empty_lines_before() {
    let bytes = b"\r\n\n\r\nGET  /  HTTP/1.0  \nA: b\n\n";
    let head = read(bytes).expect("a valid head");
    assert_eq!(head.request_line.of(bytes), b"GET  /  HTTP/1.0  ");
    assert_eq!(head.target.of(bytes), b"/");
    assert_eq!((head.version, head.len as usize), (Version::Http10, bytes.len()));
}

#[test]
fn headers_that_decide() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\nConnection: foo , Close\r\n\
        connection: keep-alive,UPGRADE\r\nUpgrade: websocket\r\nExpect: 100-Continue\r\n\r\n";
    let head = read(bytes).expect("a valid head");
    assert_eq!(head.content_length, Some(12));
    assert!(head.connection_close && head.connection_keep_alive && head.connection_upgrade);
    assert_eq!(head.upgrade.expect("an upgrade").of(bytes), b"websocket");
    assert!(head.expect_continue && !head.chunked);
    let head = read(b"POST / HTTP/1.0\r\nConnection: closed, xkeep-alive\r\nExpect: 100-continue\r\n\r\n");
    let head = head.expect("a valid head");
    assert!(!head.connection_close && !head.connection_keep_alive && !head.expect_continue);
    assert!(
        read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("valid").chunked
    );
}

#[test]
fn absolute_form() {
    for (target, scheme, host, path) in [
        ("http://localhost", "http", "localhost", ""),
        ("http://localhost:8080/", "http", "localhost:8080", "/"),
        ("hTTp+x.1-://A.b:?args#frag", "hTTp+x.1-", "A.b:", "?args#frag"),
        ("https://[::1]:5/x?y", "https", "[::1]:5", "/x?y"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        let absolute = read(&bytes).expect(target).absolute.expect(target);
        assert_eq!(absolute.scheme.of(&bytes), scheme.as_bytes(), "{target}");
        assert_eq!(absolute.host.of(&bytes), host.as_bytes(), "{target}");
        assert_eq!(absolute.path.of(&bytes), path.as_bytes(), "{target}");
    }
    for target in ["http:///", "http://", "http://.", "http://a:65536/", "http://a:123456/", "http://a..b/"] {
        assert_eq!(line_error(&format!("GET {target} HTTP/1.1")), HeadError::InvalidAuthority, "{target}");
    }
    for target in [
        "http:/a",
        "http:a",
        "ht_tp://a/",
        "1ttp://a/",
        "http",
        "http://a:1:2/",
        "http://a:b/",
        "http://a_b/",
        "http://[::1]x/",
        "http://[::1]./",
        "http://[::1/",
        "http://x[::1]/",
        "http://a#b",
        "http://u@a/",
        "http://a\\/",
    ] {
        assert_eq!(line_error(&format!("GET {target} HTTP/1.1")), HeadError::InvalidRequest, "{target}");
    }
    assert_eq!(line_error("GET http://[a:\\:b]/ HTTP/1.1"), HeadError::InvalidAuthority);
}

#[test]
fn bad_methods() {
    let long = format!("{} / HTTP/1.1", "A".repeat(33));
    for line in
        ["get / HTTP/1.1", " GET / HTTP/1.1", "G\tET / HTTP/1.1", "G3T / HTTP/1.1", "GET", "\u{1}", &long]
    {
        assert_eq!(line_error(line), HeadError::InvalidMethod, "{line:?}");
    }
    assert_eq!(line_error("\rGET / HTTP/1.1"), HeadError::InvalidMethod);
    assert!(read(format!("{} / HTTP/1.0\r\n\r\n", "A".repeat(32)).as_bytes()).is_ok());
    assert!(read(b"M-SEARCH_X / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn bad_targets_and_versions() {
    for line in [
        "GET",
        "GET /",
        "GET / ",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET / / HTTP/1.1",
        "GET /\u{2} HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / HTTP/1.1\r",
        "GET / HTTP/1.1\t",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/0.9",
        "GET / HTTP/01.1",
        "GET / HTTP/1.1111",
        "GET / HTTP/1.x",
        "GET / HTTP/1.1,",
        "GET / XTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        let error = line_error(line);
        assert_eq!(error.status(), 400, "{line:?}");
        assert!(matches!(error, HeadError::InvalidRequest | HeadError::InvalidMethod), "{line:?}: {error:?}");
    }
    for line in ["GET / HTTP/2.0", "GET / HTTP/10.1", "GET / HTTP/11.1", "GET / HTTP/3"] {
        assert_eq!(line_error(line), HeadError::InvalidVersion, "{line:?}");
        assert_eq!(line_error(line).status(), 505);
    }
    for (line, version) in [("1.0", Version::Http10), ("1.00", Version::Http10), ("1.2", Version::Http11)] {
        let head = read(format!("GET / HTTP/{line}\r\nHost: a\r\n\r\n").as_bytes()).expect(line);
        assert_eq!(head.version, version);
    }
}

#[test]
fn methods_that_are_not_allowed() {
    assert_eq!(line_error("TRACE / HTTP/1.1"), HeadError::Trace);
    assert_eq!(line_error("CONNECT localhost:8080 HTTP/1.1"), HeadError::Connect);
    assert_eq!(HeadError::Trace.status(), 405);
    assert_eq!(HeadError::Connect.status(), 405);
    for line in ["CONNECT / HTTP/1.1", "CONNECT localhost HTTP/1.1", "CONNECT localhost: HTTP/1.1"] {
        assert_eq!(line_error(line), HeadError::InvalidRequest, "{line}");
    }
}

#[test]
fn bad_header_lines() {
    let at = |line: &str, byte: u8| HeadError::InvalidField { line: line.to_owned(), byte };
    assert_eq!(refused(":foo: x"), at("", b':'));
    assert_eq!(refused(" foo: x"), at("", b' '));
    assert_eq!(refused("A: b\r\n c"), at("", b' '));
    assert_eq!(refused("A: b\r\n\tc"), at("", b'\t'));
    assert_eq!(refused("foo : x"), at("foo", b' '));
    assert_eq!(refused("foo\u{2}: x"), at("foo", 2));
    assert_eq!(refused("foo\u{7f}: x"), at("foo", 0x7f));
    assert_eq!(refused("foo\t: x"), at("foo", 9));
    assert_eq!(refused("foo\0: x"), at("foo", 0));
    assert_eq!(refused("foo"), at("foo", b'\n'));
    assert_eq!(refused("foo: a\0b"), at("foo: a", 0));
    assert_eq!(refused("foo: a\u{1}b"), at("foo: a", 1));
    assert_eq!(refused("foo: a\rb"), at("foo: a", b'\r'));
    assert_eq!(refused("foo: a\r\r\nB: c"), at("foo: a", b'\r'));
    assert_eq!(refused("foo\r: a"), at("foo", b'\r'));
    assert_eq!(refused("\rfoo: a"), at("", b'\r'));
    assert_eq!(refused("x(y: a\0"), at("x(y: a", 0));
    assert_eq!(refused("foo : x").to_string(), "client sent invalid header line: \"foo\\x20...\"");
    assert!(read(b"GET / HTTP/1.0\r\nA:\tb\tc\xff\r\n\r\n").is_ok());
}

#[test]
fn unusual_names() {
    let bytes = b"GET / HTTP/1.0\r\nx_a: 1\r\n_b: 2\r\nx.c: 3\r\n</d>: 4\r\ne-0: 5\r\n\r\n";
    let names = |ignore_invalid_headers, underscores_in_headers| {
        let limits = HeadLimits { ignore_invalid_headers, underscores_in_headers, ..HeadLimits::default() };
        let head = read_with(bytes, &limits).expect("a valid head");
        assert_eq!(head.fields.len() + head.ignored.len(), 5);
        head.fields
            .iter()
            .map(|field| String::from_utf8_lossy(field.name.of(bytes)).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(true, false), ["e-0"]);
    assert_eq!(names(true, true), ["x_a", "_b", "e-0"]);
    assert_eq!(names(false, false), ["x_a", "_b", "x.c", "</d>", "e-0"]);
    let head = read(bytes).expect("a valid head");
    assert_eq!(head.ignored[0].of(bytes), b"x_a: 1");
}

#[test]
fn headers_that_may_stand_once() {
    for name in [
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Match",
        "If-None-Match",
        "Content-Length",
        "Content-Range",
        "If-Range",
        "Transfer-Encoding",
        "Expect",
        "Authorization",
        "Proxy-Authorization",
    ] {
        let expected = HeadError::DuplicateField {
            line: format!("{}: 1", name.to_uppercase()),
            previous: format!("{name}: 0"),
        };
        assert_eq!(refused(&format!("{name}: 0\r\n{}: 1", name.to_uppercase())), expected);
    }
    assert_eq!(
        refused("hOST: b").to_string(),
        "client sent duplicate host header: \"hOST: b\", previous value: \"Host: a\""
    );
    assert_eq!(refused("Content-Length: 5\r\nContent-Length: 5").status(), 400);
    assert!(read(b"GET / HTTP/1.0\r\nCookie: a\r\nCookie: b\r\n\r\n").is_ok());
}

#[test]
fn hosts() {
    assert_eq!(read(b"GET / HTTP/1.1\r\n\r\n"), Err(HeadError::NoHost));
    assert_eq!(read(b"GET http://a/ HTTP/1.1\r\n\r\n"), Err(HeadError::NoHost));
    assert!(read(b"GET / HTTP/1.0\r\n\r\n").is_ok());
    for host in ["", ".", "a..b", "a b", "a:1.2", "a/b", "[::1", "a:98777", "a@b", "\tb"] {
        let bytes = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
        assert_eq!(read(bytes.as_bytes()), Err(HeadError::InvalidHost), "{host:?}");
    }
}

#[test]
fn body_lengths() {
    for value in
        ["", "-1", "+1", "1a", "0x1", "1 1", "1,1", "9223372036854775808", "99999999999999999999", "\t1"]
    {
        assert_eq!(refused(&format!("Content-Length: {value}")), HeadError::InvalidLength, "{value:?}");
    }
    let head = read(b"GET / HTTP/1.0\r\nContent-Length: 9223372036854775807\r\n\r\n").expect("a valid head");
    assert_eq!(head.content_length, Some(i64::MAX as u64));
    for lines in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        assert_eq!(refused(lines), HeadError::LengthAndEncoding);
    }
    for value in ["", "identity", "chunked, identity", "gzip, chunked", "chunked,", "\tchunked", "xchunked"] {
        let error = refused(&format!("Transfer-Encoding: {value}"));
        assert_eq!((error.status(), error), (501, HeadError::UnknownEncoding(value.to_owned())));
    }
    assert_eq!(
        read(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(HeadError::EncodingInHttp10)
    );
}

#[test]
fn refused_before_the_line_has_ended() {
    let limits = HeadLimits::default();
    for (start, expected) in [
        (&b"\x16\x03\x01"[..], HeadError::InvalidMethod),
        (b"get", HeadError::InvalidMethod),
        (b"\rG", HeadError::InvalidMethod),
        (b"GET *", HeadError::InvalidRequest),
        (b"GET   \x01", HeadError::InvalidRequest),
        (&[b'A'; 33], HeadError::InvalidMethod),
    ] {
        assert_eq!(RequestHead::new().advance(start, &limits), Err(expected), "{start:?}");
    }
    for start in [&b""[..], b"\r", b"\r\n", b"G", b"GET", b"GET ", b"GET /a b", b"GET / HTTP/1.1\r\nHost"] {
        assert_eq!(RequestHead::new().advance(start, &limits), Ok(Progress::Partial), "{start:?}");
    }
}

/// As in nginx's `http_header_buffers.t`: a first buffer of 128 bytes, large ones of 256.
fn small(buffers: usize) -> HeadLimits {
    HeadLimits { first: 128, line: 256, buffers, ..HeadLimits::default() }
}

#[test]
fn lines_fill_buffers() {
    let field = format!("X-Foo: {}\r\n", "1234567890".repeat(20));
    let head = |fields: usize| format!("GET / HTTP/1.0\r\nHost: foo\r\n{}\r\n", field.repeat(fields));
    assert!(read_with(head(5).as_bytes(), &small(5)).is_ok());
    let error = read_with(head(6).as_bytes(), &small(5)).expect_err("six large lines");
    assert!(matches!(&error, HeadError::LongField(line) if line.starts_with("X-Foo: 123")), "{error:?}");
    assert_eq!(error.status(), 494);
    let line = |len: usize| format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(len - 16));
    assert!(read_with(line(256).as_bytes(), &small(1)).is_err(), "no room for the empty line");
    assert!(read_with(line(256).as_bytes(), &small(2)).is_ok());
    let error = read_with(line(257).as_bytes(), &small(2)).expect_err("a long line");
    assert_eq!((error.status(), error), (414, HeadError::LongRequestLine));
    let partial = vec![b'a'; 251];
    let partial = [b"GET /", partial.as_slice()].concat();
    assert_eq!(RequestHead::new().advance(&partial, &small(2)), Err(HeadError::LongRequestLine));
    assert_eq!(RequestHead::new().advance(&partial[..255], &small(2)), Ok(Progress::Partial));
}

#[test]
fn header_floods() {
    let limits = HeadLimits { max_headers: 3, ..HeadLimits::default() };
    let head = |count: usize| format!("GET / HTTP/1.0\r\n{}x_y: ignored\r\n\r\n", "A: b\r\n".repeat(count));
    assert!(read_with(head(3).as_bytes(), &limits).is_ok());
    let error = read_with(head(4).as_bytes(), &limits).expect_err("four headers");
    assert_eq!((error.status(), error), (494, HeadError::ManyFields));
}

#[test]
fn empty_lines_do_not_go_on_for_ever() {
    let blank = b"\r\n".repeat(4000);
    assert_eq!(RequestHead::new().advance(&blank, &small(2)), Err(HeadError::LongRequestLine));
}

#[test]
fn cleared_for_the_next_request() {
    let mut head = RequestHead::new();
    head.advance(b"GET / HTTP/1.0\r\nConnection: close\r\nA_b: c\r\n\r\n", &HeadLimits::default())
        .expect("valid");
    head.clear();
    assert_eq!(head, RequestHead::new());
    assert!(head.fields.capacity() > 0);
}
