//! Chunked bodies.

use crate::wire::chunked::{Chunk, ChunkError, Chunked, write_chunk_head};

/// The data of a body, and the bytes behind it.
fn decode(decoder: &mut Chunked, mut input: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ChunkError> {
    let mut data = Vec::new();
    loop {
        match decoder.advance(input)? {
            Chunk::Data { skip, len } => {
                assert!(len > 0);
                data.extend_from_slice(&input[skip..skip + len]);
                input = &input[skip + len..];
            }
            Chunk::NeedMore { consumed } => {
                assert_eq!(consumed, input.len());
                return Ok((data, Vec::new()));
            }
            Chunk::End { consumed } => return Ok((data, input[consumed..].to_vec())),
        }
    }
}

fn refused(body: &str) -> ChunkError {
    decode(&mut Chunked::new(), body.as_bytes()).expect_err(body)
}

#[test]
fn whole_bodies() {
    for (body, data, rest) in [
        ("0\r\n\r\nGET", "", "GET"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
        ("A;x=y\r\n0123456789\r\n3 \t\r\nabc\r\n0;z\r\n\r\nnext", "0123456789abc", "next"),
        ("0000000000000001\r\nx\r\n00\r\n\r\n", "x", ""),
    ] {
        let mut decoder = Chunked::new();
        let found = decode(&mut decoder, body.as_bytes()).expect(body);
        assert_eq!(found, (data.into(), rest.into()), "{body:?}");
        assert!(decoder.is_complete() && decoder.remaining_hint() == 0);
        assert_eq!(decoder.trailers(), b"");
    }
}

#[test]
fn trailers() {
    let mut decoder = Chunked::new();
    let (_, rest) = decode(&mut decoder, b"0\r\nX-A: 1\r\nx_b:  2 \r\n\r\nrest").expect("a valid body");
    assert_eq!(rest, b"rest");
    assert_eq!(decoder.trailers(), b"X-A: 1\r\nx_b:  2 \r\n");
    assert_eq!(decoder.fields().collect::<Vec<_>>(), [(&b"X-A"[..], &b"1"[..]), (b"x_b", b"2")]);
    decoder.clear();
    assert_eq!(decode(&mut decoder, b"1\r\nz\r\n0\r\n\r\n"), Ok((b"z".to_vec(), Vec::new())));
    for body in [
        "A: b\n\r\n",
        " a: b\r\n\r\n",
        "a\r\n\r\n",
        "a : b\r\n\r\n",
        ": b\r\n\r\n",
        "a: b\0\r\n\r\n",
        "\n",
        "\r\r\n",
    ] {
        assert_eq!(refused(&format!("0\r\n{body}")), ChunkError::Trailer, "{body:?}");
    }
    assert_eq!(refused(&format!("0\r\nA: {}\r\n\r\n", "b".repeat(16 * 1024))), ChunkError::LargeTrailers);
    assert_eq!(refused(&format!("0\r\n{}", "A: b\r\n".repeat(4096))), ChunkError::LargeTrailers);
}

#[test]
fn bad_framing() {
    for (body, error) in [
        ("", None),
        ("\r\n", Some(ChunkError::Size(b'\r'))),
        (";a\r\n", Some(ChunkError::Size(b';'))),
        ("-1\r\n", Some(ChunkError::Size(b'-'))),
        ("+1\r\n", Some(ChunkError::Size(b'+'))),
        ("0x1\r\n", Some(ChunkError::Size(b'x'))),
        ("1g\r\n", Some(ChunkError::Size(b'g'))),
        (" 1\r\n", Some(ChunkError::Size(b' '))),
        ("1\n", Some(ChunkError::Size(b'\n'))),
        ("1;a\nb", Some(ChunkError::BareLf)),
        ("1\rx", Some(ChunkError::BareCr(b'x'))),
        ("1;a\rx", Some(ChunkError::BareCr(b'x'))),
        ("4\r\nSEE-THIS\r\n0\r\n\r\n", Some(ChunkError::AfterData(b'T'))),
        ("1\r\na\n0\r\n\r\n", Some(ChunkError::AfterData(b'\n'))),
        ("1\r\na\rb", Some(ChunkError::BareCr(b'b'))),
        ("7fffffffffffffff\r\n", None),
        ("8000000000000000\r\n", Some(ChunkError::LargeSize)),
        ("ffffffffffffffff\r\n", Some(ChunkError::LargeSize)),
        ("00000000000000001\r\n", Some(ChunkError::LargeSize)),
        ("10000000000000000\r\n", Some(ChunkError::LargeSize)),
    ] {
        assert_eq!(decode(&mut Chunked::new(), body.as_bytes()).err(), error, "{body:?}");
    }
    let extension = |len: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(len));
    assert!(decode(&mut Chunked::new(), extension(4096).as_bytes()).is_ok());
    assert_eq!(refused(&extension(4097)), ChunkError::LongExtension);
}

#[test]
fn least_number_of_bytes_to_come() {
    for (start, hint) in [
        ("", 5),
        ("0", 4),
        ("0;", 4),
        ("0\r", 3),
        ("0\r\n", 2),
        ("0\r\n\r", 1),
        ("0\r\nA: b", 2),
        ("0\r\n\r\n", 0),
        ("3", 12),
        ("3;", 12),
        ("3\r", 11),
        ("3\r\n", 10),
        ("3\r\na", 9),
        ("3\r\nabc", 7),
        ("3\r\nabc\r", 6),
        ("3\r\nabc\r\n", 5),
    ] {
        let mut decoder = Chunked::new();
        decode(&mut decoder, start.as_bytes()).expect(start);
        assert_eq!(decoder.remaining_hint(), hint, "{start:?}");
    }
}

#[test]
fn chunk_heads() {
    for (len, head) in [
        (0, "0\r\n"),
        (9, "9\r\n"),
        (16, "10\r\n"),
        (0xabcdef, "abcdef\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = b"x".to_vec();
        write_chunk_head(&mut out, len);
        assert_eq!(String::from_utf8_lossy(&out), format!("x{head}"));
    }
}
