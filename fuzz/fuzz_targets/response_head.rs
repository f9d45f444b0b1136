//! Any bytes as a response head: no panic, and the same result however they are cut.
//! The first byte chooses where the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_http::wire::field::Progress;
use weir_http::wire::response::{ResponseError, ResponseHead};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let mut whole = ResponseHead::new();
    let result = whole.advance(bytes);
    let mut parts = ResponseHead::new();
    assert_eq!(result, feed(&mut parts, bytes, usize::from(cut).max(1)));
    if result == Ok(Progress::Complete) {
        assert_eq!(whole, parts);
        assert!(!(whole.chunked && whole.content_length.is_some()));
        assert!((100..1000).contains(&whole.status));
        for span in whole.fields.iter().flat_map(|field| [field.name, field.value]).chain([whole.reason]) {
            assert!(!span.of(bytes).iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
});

fn feed(head: &mut ResponseHead, bytes: &[u8], step: usize) -> Result<Progress, ResponseError> {
    for end in (step..bytes.len()).step_by(step) {
        match head.advance(bytes.get(..end).unwrap_or_default()) {
            Ok(Progress::Partial) => {}
            done => return done,
        }
    }
    head.advance(bytes)
}
