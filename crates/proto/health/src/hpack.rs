//! Reading header blocks of HTTP/2 (HPACK, RFC 7541) without a dynamic table, which our settings forbid.

/// Bits of the Huffman code of each byte (RFC 7541, appendix B). The code is canonical: within one length, and from one
/// length to the next, codes go up with the bytes, so the lengths say everything.
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

/// The longest code; only EOS and bytes that no header has come near it.
const LONGEST: u32 = 30;

/// The block does not follow RFC 7541, or refers to a dynamic table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Calls `each` with name and value of every field. Names of the static table other than `:status` come as empty.
pub(crate) fn fields(block: &[u8], mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Malformed> {
    let mut rest = block;
    while let Some(first) = rest.first() {
        match first {
            0x80.. => {
                let (name, value) = indexed(integer(&mut rest, 7)?)?;
                each(name, value);
            }
            0x20..0x40 => {
                if integer(&mut rest, 5)? != 0 {
                    return Err(Malformed);
                }
            }
            _ => {
                let prefix = if *first >= 0x40 { 6 } else { 4 };
                let index = integer(&mut rest, prefix)?;
                let name = if index == 0 { string(&mut rest)? } else { indexed(index)?.0.to_vec() };
                let value = string(&mut rest)?;
                each(&name, &value);
            }
        }
    }
    Ok(())
}

/// An entry of the static table (RFC 7541, appendix A).
fn indexed(index: usize) -> Result<(&'static [u8], &'static [u8]), Malformed> {
    const STATUSES: [&[u8]; 7] = [b"200", b"204", b"206", b"304", b"400", b"404", b"500"];
    match index {
        8..=14 => Ok((b":status", STATUSES.get(index - 8).copied().unwrap_or_default())),
        1..=61 => Ok((b"", b"")),
        _ => Err(Malformed),
    }
}

/// RFC 7541, section 5.1; at most 2^28.
fn integer(rest: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (first, mut tail) = rest.split_first().ok_or(Malformed)?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14, 21] {
            let (byte, after) = tail.split_first().ok_or(Malformed)?;
            tail = after;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = tail;
                return Ok(value);
            }
        }
        return Err(Malformed);
    }
    *rest = tail;
    Ok(value)
}

/// RFC 7541, section 5.2.
fn string(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let packed = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (bytes, tail) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = tail;
    if packed { unpack(bytes) } else { Ok(bytes.to_vec()) }
}

/// Decodes the Huffman code bit by bit: health answers are a few bytes long.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    let mut code = Code::default();
    for byte in bytes {
        for bit in (0..8).rev() {
            if let Some(symbol) = code.push(byte >> bit & 1)? {
                out.push(symbol);
                code = Code::default();
            }
        }
    }
    // What is left are at most seven bits of ones.
    if code.bits < 8 && code.value == (1 << code.bits) - 1 { Ok(out) } else { Err(Malformed) }
}

/// A code as far as it was read.
#[derive(Default)]
struct Code {
    bits: u32,
    value: u32,
    /// The first code of this length.
    first: u32,
}

impl Code {
    fn push(&mut self, bit: u8) -> Result<Option<u8>, Malformed> {
        if self.bits == LONGEST {
            return Err(Malformed);
        }
        self.bits += 1;
        self.value = self.value << 1 | u32::from(bit);
        self.first <<= 1;
        let same = |length: &u8| u32::from(*length) == self.bits;
        let count = BITS.iter().filter(|length| same(length)).count() as u32;
        let place = self.value.wrapping_sub(self.first);
        if place < count {
            let mut symbols = (0_u8..=255).zip(&BITS).filter(|(_, length)| same(length));
            return Ok(symbols.nth(place as usize).map(|(symbol, _)| symbol));
        }
        self.first += count;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(block: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields(block, |name, value| found.push((text(name), text(value))))?;
        Ok(found)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn huffman_examples_of_the_rfc() {
        // RFC 7541, sections C.4.1 to C.4.3
        let host = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(unpack(&host), Ok(b"www.example.com".to_vec()));
        assert_eq!(unpack(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]), Ok(b"no-cache".to_vec()));
        let key = [0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
        assert_eq!(unpack(&key), Ok(b"custom-key".to_vec()));
        let date = [
            0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66,
            0xe0, 0x82, 0xa6, 0x2d, 0x1b, 0xff,
        ];
        assert_eq!(unpack(&date), Ok(b"Mon, 21 Oct 2013 20:13:21 GMT".to_vec()));
    }

    #[test]
    fn fields_of_an_answer() {
        let mut block = vec![0x20, 0x88]; // size update to 0, :status 200
        block.extend(b"\x40\x0bgrpc-status\x0212");
        block.extend(b"\x0f\x10\x03a/b"); // content-type by its index
        let expected = [pair(":status", "200"), pair("grpc-status", "12"), pair("", "a/b")];
        assert_eq!(read(&block), Ok(expected.to_vec()));
    }

    #[test]
    fn what_needs_a_dynamic_table_is_malformed() {
        for block in [&[0xbe][..], &[0x80], &[0x3f, 0xe1, 0x1f], &[0x40, 0x05, b'a'], &[0xff, 0xff]] {
            assert_eq!(read(block), Err(Malformed), "{block:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(block in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&block);
        }
    }
}
