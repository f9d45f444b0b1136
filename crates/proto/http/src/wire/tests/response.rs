//! Response heads of peers.

use crate::wire::field::{Progress, Version};
use crate::wire::response::{ResponseError, ResponseHead};

fn read(bytes: &[u8]) -> Result<ResponseHead, ResponseError> {
    let mut head = ResponseHead::new();
    assert_eq!(head.advance(bytes)?, Progress::Complete, "{:?}", String::from_utf8_lossy(bytes));
    Ok(head)
}

fn refused(lines: &str) -> ResponseError {
    read(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").as_bytes()).expect_err(lines)
}

#[test]
fn a_plain_response() {
    let bytes = b"HTTP/1.1 200 Very OK\r\nContent-Length: 5\r\n\
        connection: Close\r\nx_y(z: \x01\xff\r\nalone\r\n\r\n12345";
    let head = read(bytes).expect("a valid head");
    assert_eq!((head.status, head.version, head.content_length), (200, Version::Http11, Some(5)));
    assert_eq!(head.reason.of(bytes), b"Very OK");
    assert_eq!(head.len as usize, bytes.len() - 5);
    assert!(head.connection_close && !head.connection_keep_alive && !head.chunked && !head.upgrade);
    let fields: Vec<_> =
        head.fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes))).collect();
    assert_eq!(fields[2..], [(&b"x_y(z"[..], &b"\x01\xff"[..]), (b"alone", b"")]);
}

#[test]
fn status_lines() {
    for (line, status, reason) in [
        ("HTTP/1.1 204 No Content", 204, "No Content"),
        ("HTTP/1.1 404", 404, ""),
        ("HTTP/1.1 404 ", 404, ""),
        ("HTTP/1.1   403.1 Forbidden", 403, "1 Forbidden"),
        ("HTTP/1.0 599 x", 599, "x"),
        ("HTTP/2.0 200 OK", 200, "OK"),
    ] {
        let bytes = format!("{line}\n\n").into_bytes();
        let head = read(&bytes).expect(line);
        assert_eq!((head.status, head.reason.of(&bytes)), (status, reason.as_bytes()), "{line}");
        assert_eq!(head.connection_close, line.starts_with("HTTP/1.0"), "{line}");
    }
    for line in [
        "",
        "x",
        "HTTP",
        "HTTP/1.1",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 -20",
        "HTTP/1.1 2x0 OK",
        "HTTP/1 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.1111 200",
        "HTTP/1.1 200x",
        "HTTP/1.1\t200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 099 x",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1 200 a\0",
        " HTTP/1.1 200 OK",
    ] {
        assert_eq!(read(format!("{line}\r\n\r\n").as_bytes()), Err(ResponseError::NotHttp), "{line:?}");
    }
}

#[test]
fn garbage_is_seen_at_once() {
    assert_eq!(ResponseHead::new().advance(b"HTTP/1."), Ok(Progress::Partial));
    assert_eq!(ResponseHead::new().advance(b""), Ok(Progress::Partial));
    assert_eq!(ResponseHead::new().advance(b"SSH-2.0"), Err(ResponseError::NotHttp));
    assert_eq!(ResponseHead::new().advance(b"HTX"), Err(ResponseError::NotHttp));
}

#[test]
fn bad_header_lines() {
    let at = |line: &str, byte: u8| ResponseError::InvalidField { line: line.to_owned(), byte };
    assert_eq!(refused(" a: b"), at("", b' '));
    assert_eq!(refused("a : b"), at("a", b' '));
    assert_eq!(refused(": b"), at("", b':'));
    assert_eq!(refused("a\0: b"), at("a", 0));
    assert_eq!(refused("a: b\0c"), at("a: b", 0));
    assert_eq!(refused("a: b\rc"), at("a: b", b'\r'));
    assert_eq!(refused("a: b\0").to_string(), "upstream sent invalid header: \"a: b\\x00...\"");
}

#[test]
fn body_lengths() {
    let duplicate = |name: &str, value: &str| ResponseError::DuplicateField {
        line: format!("{name}: {value}"),
        previous: format!("{name}: {value}"),
    };
    assert_eq!(refused("Content-Length: 0\r\nContent-Length: 0"), duplicate("Content-Length", "0"));
    assert_eq!(
        refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        duplicate("Transfer-Encoding", "chunked")
    );
    assert_eq!(
        refused("Content-Length: foo"),
        ResponseError::InvalidLength("Content-Length: foo".to_owned())
    );
    assert_eq!(
        refused("Content-Length: -1").to_string(),
        "upstream sent invalid \"Content-Length\" header: \"Content-Length: -1\""
    );
    assert_eq!(refused("Transfer-Encoding: foo"), ResponseError::UnknownEncoding("foo".to_owned()));
    for lines in
        ["Content-Length: 0\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 0"]
    {
        assert_eq!(refused(lines), ResponseError::LengthAndEncoding);
    }
    assert!(read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").expect("valid").chunked);
}

#[test]
fn early_hints_and_doubled_status_lines() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let head = read(hints).expect("a valid head");
    assert_eq!((head.status, head.content_length, head.fields.len()), (103, None, 2));
    let rest = &hints[head.len as usize..];
    assert_eq!(read(rest).expect("a valid head").status, 200);
    let head = read(b"HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nUpgrade: x\r\n\r\n").expect("a valid head");
    assert!(head.upgrade && head.fields.len() == 1);
}
