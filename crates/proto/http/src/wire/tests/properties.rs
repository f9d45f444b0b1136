//! What holds for every input: no panic, and no difference from how the bytes were cut.

use proptest::prelude::*;

use crate::wire::chunked::{Chunk, ChunkError, Chunked};
use crate::wire::head::{HeadError, HeadLimits, Progress, RequestHead};
use crate::wire::host::parse_host;
use crate::wire::response::{ResponseError, ResponseHead};
use crate::wire::uri::{Unescape, normalize, unescape};

/// Heads that are valid, or made invalid in one or two places.
fn near_head(first: Vec<&'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    let before = prop_oneof![8 => Just(&b""[..]), 1 => Just(&b"\r\n\n"[..]), 1 => Just(&b"\r\r\n"[..])];
    let first = prop::sample::select(first);
    let field = prop_oneof![
        6 => prop::sample::select(vec![
            &b"Host: a\r\n"[..],
            b"Host: b:80\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"a:  b  \r\n",
            b"Connection: close, upgrade\r\n",
            b"Upgrade: x\r\n",
            b"x_y: z\r\n",
            b"c:\r\n",
            b"d: e\tf\n",
            b"Expect: 100-continue\n",
            b"If-Match: *\r\n",
        ])
        .prop_map(<[u8]>::to_vec),
        1 => (0_usize..300).prop_map(|len| [&b"long: "[..], &vec![b'a'; len], b"\r\n"].concat()),
    ];
    let junk = prop_oneof![
        prop::sample::select(b"\r\n \t:\0\x7f_(\xff".to_vec()).prop_map(|byte| vec![byte]),
        prop::collection::vec(any::<u8>(), 1..4),
        (200_usize..300).prop_map(|len| vec![b'a'; len]),
    ];
    let junk = prop::collection::vec((any::<prop::sample::Index>(), junk), 0..3);
    (before, first, prop::collection::vec(field, 0..5), junk).prop_map(|(before, first, fields, junk)| {
        let mut head = [before, first, &fields.concat(), b"\r\nbody"].concat();
        for (at, junk) in junk {
            let at = at.index(head.len());
            head.splice(at..at, junk);
        }
        head
    })
}

fn near_request() -> impl Strategy<Value = Vec<u8>> {
    near_head(vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/1.1\r\n",
        b"GET /a%20b/../c?d#e  HTTP/1.0 \n",
        b"POST http://a:1/b?c HTTP/1.1\r\nHost: y\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
    ])
}

fn near_response() -> impl Strategy<Value = Vec<u8>> {
    near_head(vec![b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 403.1 x\n", b"HTTP/1.1 103 x\r\n"])
}

fn near_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n",
            b"A;x=y\r\n0123456789\r\n",
            b"0\r\nA: b\r\n\r\n",
            b"\r\n",
            b"\n",
            b"f",
            b";",
            b"7fffffffffffffff\r\n",
            b"0\r\n",
        ])
        .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

fn limits() -> HeadLimits {
    HeadLimits { first: 128, line: 256, buffers: 3, max_headers: 8, ..HeadLimits::default() }
}

/// Feeds a growing buffer; stops where the reader does.
fn request(bytes: &[u8], cuts: impl Iterator<Item = usize>) -> (Result<Progress, HeadError>, RequestHead) {
    let mut head = RequestHead::new();
    for cut in cuts {
        match head.advance(&bytes[..cut], &limits()) {
            Ok(Progress::Partial) => {}
            done => return (done, head),
        }
    }
    (Ok(Progress::Partial), head)
}

fn response(
    bytes: &[u8],
    cuts: impl Iterator<Item = usize>,
) -> (Result<Progress, ResponseError>, ResponseHead) {
    let mut head = ResponseHead::new();
    for cut in cuts {
        match head.advance(&bytes[..cut]) {
            Ok(Progress::Partial) => {}
            done => return (done, head),
        }
    }
    (Ok(Progress::Partial), head)
}

/// The data, the number of bytes consumed, and how it ended.
fn chunked(bytes: &[u8], step: usize) -> (Vec<u8>, Result<Option<usize>, ChunkError>, Vec<u8>) {
    let (mut decoder, mut data, mut at) = (Chunked::new(), Vec::new(), 0);
    for part in bytes.chunks(step) {
        let mut part = part;
        loop {
            match decoder.advance(part) {
                Err(error) => return (data, Err(error), Vec::new()),
                Ok(Chunk::Data { skip, len }) => {
                    data.extend_from_slice(&part[skip..skip + len]);
                    part = &part[skip + len..];
                    at += skip + len;
                }
                Ok(Chunk::NeedMore { consumed }) => {
                    at += consumed;
                    break;
                }
                Ok(Chunk::End { consumed }) => {
                    return (data, Ok(Some(at + consumed)), decoder.trailers().to_vec());
                }
            }
        }
    }
    (data, Ok(None), Vec::new())
}

proptest! {
    #[test]
    fn request_heads_do_not_depend_on_cuts(bytes in near_request()) {
        let (whole, head) = request(&bytes, std::iter::once(bytes.len()));
        let (cut, same) = request(&bytes, 0..=bytes.len());
        prop_assert_eq!(&whole, &cut);
        if whole == Ok(Progress::Complete) {
            prop_assert_eq!(head, same);
        }
    }

    #[test]
    fn response_heads_do_not_depend_on_cuts(bytes in near_response()) {
        let (whole, head) = response(&bytes, std::iter::once(bytes.len()));
        let (cut, same) = response(&bytes, 0..=bytes.len());
        prop_assert_eq!(&whole, &cut);
        if whole == Ok(Progress::Complete) {
            prop_assert_eq!(head, same);
        }
    }

    #[test]
    fn chunked_bodies_do_not_depend_on_cuts(bytes in near_chunked(), step in 1_usize..9) {
        prop_assert_eq!(chunked(&bytes, bytes.len().max(1)), chunked(&bytes, step));
    }

    #[test]
    fn complete_heads_hold_no_line_ends(bytes in near_request()) {
        if let (Ok(Progress::Complete), head) = request(&bytes, std::iter::once(bytes.len())) {
            let spans = head.fields.iter().flat_map(|field| [field.name, field.value]);
            for span in spans.chain([head.target, head.request_line]) {
                prop_assert!(!span.of(&bytes).iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
            prop_assert!(!(head.chunked && head.content_length.is_some()));
        }
    }

    #[test]
    fn normal_forms_stay_below_the_root(text in "[/.%2eEfFa?#+ ]{0,24}", merge: bool) {
        let (mut uri, mut args) = (Vec::new(), Vec::new());
        if normalize(format!("/{text}").as_bytes(), merge, &mut uri, &mut args).is_ok() {
            prop_assert_eq!(uri.first(), Some(&b'/'));
            prop_assert!(!uri.windows(4).any(|window| window == b"/../"));
            prop_assert!(!uri.ends_with(b"/.."));
            prop_assert!(!merge || !uri.windows(2).any(|window| window == b"//"));
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let _ = normalize(&bytes, true, &mut a, &mut b);
        let _ = normalize(&bytes, false, &mut a, &mut b);
        let _ = parse_host(&bytes, &mut a);
        for kind in [Unescape::Plain, Unescape::Uri, Unescape::Redirect] {
            unescape(kind, &bytes, &mut a);
        }
    }
}
