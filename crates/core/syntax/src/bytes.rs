//! Text that may hold bytes that are not UTF-8, kept without loss in a `String`.

use std::borrow::Cow;

/// An invalid byte `b` (0x80 to 0xff) is kept as the private-use character `U+F700 + b`.
const BASE: u32 = 0xF700;

/// Text of a file: valid UTF-8 stays, each other byte becomes a private-use character (U+F780 to U+F7FF).
#[must_use]
pub fn decode(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(BASE + u32::from(*byte))));
    }
    text
}

/// The bytes that [`decode`] was given.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, [u8]> {
    if !text.chars().any(|letter| byte_of(letter).is_some()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for letter in text.chars() {
        match byte_of(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

fn byte_of(letter: char) -> Option<u8> {
    u32::from(letter).checked_sub(BASE).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_survive() {
        let raw = b"a \xff\xfe \xc3\xa9 \xc3".to_vec();
        let text = decode(raw.clone());
        assert_eq!(text, "a \u{f7ff}\u{f7fe} \u{e9} \u{f7c3}");
        assert_eq!(encode(&text).as_ref(), raw);
    }
}
