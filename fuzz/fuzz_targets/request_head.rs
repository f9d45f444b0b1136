//! Any bytes as a request head: no panic, the same result however they are cut, and no head that smuggles.
//! The first byte chooses where the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_http::wire::head::{HeadError, HeadLimits, Progress, RequestHead};
use weir_http::wire::host::parse_host;
use weir_http::wire::uri::normalize;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let limits = HeadLimits { first: 128, line: 512, buffers: 4, max_headers: 16, ..HeadLimits::default() };
    let mut whole = RequestHead::new();
    let result = whole.advance(bytes, &limits);
    let mut parts = RequestHead::new();
    let again = feed(&mut parts, bytes, usize::from(cut).max(1), &limits);
    assert_eq!(result, again);
    if result == Ok(Progress::Complete) {
        assert_eq!(whole, parts);
        check(&whole, bytes);
    }
});

fn feed(
    head: &mut RequestHead,
    bytes: &[u8],
    step: usize,
    limits: &HeadLimits,
) -> Result<Progress, HeadError> {
    for end in (step..bytes.len()).step_by(step) {
        match head.advance(bytes.get(..end).unwrap_or_default(), limits) {
            Ok(Progress::Partial) => {}
            done => return done,
        }
    }
    head.advance(bytes, limits)
}

/// What every accepted head keeps to.
fn check(head: &RequestHead, bytes: &[u8]) {
    assert!(!(head.chunked && head.content_length.is_some()));
    assert!(head.len as usize <= bytes.len());
    for field in &head.fields {
        assert!(!field.name.is_empty());
        for span in [field.name, field.value] {
            assert!(!span.of(bytes).iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
    let mut host = Vec::new();
    if let Some(span) = head.host {
        parse_host(span.of(bytes), &mut host).expect("the head has checked its host");
    }
    let target = head.absolute.map_or(head.target, |absolute| absolute.path).of(bytes);
    let (mut uri, mut args) = (Vec::new(), Vec::new());
    if normalize(target, true, &mut uri, &mut args).is_ok() {
        assert!(uri.starts_with(b"/") && !uri.windows(4).any(|window| window == b"/../"));
    }
}
