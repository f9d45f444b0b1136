//! Any bytes as a chunked body: no panic, the same data however they are cut, and what was decoded survives
//! being encoded again. The first byte chooses where the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_http::wire::chunked::{Chunk, ChunkError, Chunked, write_chunk_head};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, usize::from(cut).max(1)));
    if let Ok(Body { data, end: Some(end), .. }) = whole {
        assert!(end <= bytes.len());
        let mut coded = Vec::new();
        for part in data.chunks(7) {
            write_chunk_head(&mut coded, part.len());
            coded.extend_from_slice(part);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        let again = decode(&coded, 3).expect("our own coding");
        assert_eq!((again.data, again.end), (data, Some(coded.len())));
    }
});

#[derive(Debug, Default, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<u8>,
    /// Bytes consumed when the body ended.
    end: Option<usize>,
}

fn decode(bytes: &[u8], step: usize) -> Result<Body, ChunkError> {
    let (mut decoder, mut body, mut at) = (Chunked::new(), Body::default(), 0);
    for part in bytes.chunks(step) {
        let mut rest = part;
        while !rest.is_empty() {
            let used = match decoder.advance(rest)? {
                Chunk::Data { skip, len } => {
                    assert!(len > 0);
                    body.data
                        .extend_from_slice(rest.get(skip..skip + len).expect("data lies within the input"));
                    skip + len
                }
                Chunk::NeedMore { consumed } => {
                    assert_eq!(consumed, rest.len());
                    consumed
                }
                Chunk::End { consumed } => {
                    body.end = Some(at + consumed);
                    body.trailers = decoder.trailers().to_vec();
                    return Ok(body);
                }
            };
            at += used;
            rest = rest.get(used..).expect("no more is consumed than there was");
        }
    }
    Ok(body)
}
