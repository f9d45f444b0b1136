//! The chunked transfer coding (RFC 9112, 7.1): finds the data in a stream, and writes chunk heads.
//! The data itself is not copied; what is done with trailers is left to the caller.

use super::field::{Strictness, content, split};

/// Digits of a chunk size.
const SIZE_MAX: u8 = 16;
/// Bytes of a chunk's extensions.
const EXTENSION_MAX: u16 = 4096;
/// Bytes of all trailer lines.
const TRAILERS_MAX: usize = 16 * 1024;

/// Decoder of one chunked body.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    /// Bytes of the current chunk that are still to come.
    size: u64,
    /// Digits of the size, then bytes of the extensions.
    count: u16,
    /// Trailer lines with their line ends.
    trailers: Vec<u8>,
    /// Start of the trailer line that is being read.
    line: usize,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    End,
}

/// What the front of the input was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// `input[skip..skip + len]` is data of the body; all of `skip + len` is consumed.
    Data { skip: usize, len: usize },
    /// All of the input is consumed, and none of it was data.
    NeedMore { consumed: usize },
    /// The body has ended; bytes behind `consumed` belong to the next message.
    End { consumed: usize },
}

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("byte 0x{0:02x} in a chunk size, expected a hexadecimal digit")]
    Size(u8),
    #[error("a chunk size is too large, expected less than 2^63 in at most 16 digits")]
    LargeSize,
    #[error("the extensions of a chunk are longer than 4096 bytes")]
    LongExtension,
    #[error("line feed without carriage return in a chunk's extensions")]
    BareLf,
    #[error("byte 0x{0:02x} after a carriage return, expected a line feed")]
    BareCr(u8),
    #[error("byte 0x{0:02x} after the data of a chunk, expected the end of a line")]
    AfterData(u8),
    #[error("the trailers are longer than 16384 bytes")]
    LargeTrailers,
    #[error("invalid trailer line, expected \"name: value\" and CR LF")]
    Trailer,
}

impl Chunked {
    /// Ready for a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready for the next body; capacity stays.
    pub fn clear(&mut self) {
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.clear();
        *self = Self { trailers, ..Self::default() };
    }

    /// Reads the front of `input`, up to the end of the first run of data in it.
    ///
    /// # Errors
    /// The check that failed; nothing after it can be trusted.
    pub fn advance(&mut self, input: &[u8]) -> Result<Chunk, ChunkError> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            if self.state == State::End {
                return Ok(Chunk::End { consumed: at });
            }
            let Some(&byte) = rest.first() else {
                return Ok(Chunk::NeedMore { consumed: at });
            };
            match self.state {
                State::Data => {
                    let len = rest.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
                    self.size -= len as u64;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Chunk::Data { skip: at, len });
                }
                State::Trailer => at += self.trailer(rest)?,
                _ => {
                    self.framing(byte)?;
                    at += 1;
                }
            }
        }
    }

    /// One byte outside of data and trailers.
    fn framing(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size, _) => return self.size(byte),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\n') => return Err(ChunkError::BareLf),
            (State::Extension, _) if self.count >= EXTENSION_MAX => return Err(ChunkError::LongExtension),
            (State::Extension, _) => {
                self.count += 1;
                State::Extension
            }
            (State::SizeLf, b'\n') if self.size == 0 => State::Trailer,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr, _) => return Err(ChunkError::AfterData(byte)),
            (State::DataLf, b'\n') => {
                self.count = 0;
                State::Size
            }
            (_, _) => return Err(ChunkError::BareCr(byte)),
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<(), ChunkError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.count >= u16::from(SIZE_MAX) || self.size > i64::MAX as u64 >> 4 {
                return Err(ChunkError::LargeSize);
            }
            self.count += 1;
            self.size = self.size << 4 | u64::from(digit);
            return Ok(());
        }
        self.state = match byte {
            b'\r' if self.count > 0 => State::SizeLf,
            b';' | b' ' | b'\t' if self.count > 0 => State::Extension,
            _ => return Err(ChunkError::Size(byte)),
        };
        self.count = 0;
        Ok(())
    }

    /// Takes the part of a trailer line that is there; returns its length.
    fn trailer(&mut self, rest: &[u8]) -> Result<usize, ChunkError> {
        let end = memchr::memchr(b'\n', rest);
        let part = rest.get(..end.map_or(rest.len(), |at| at + 1)).unwrap_or_default();
        let free = TRAILERS_MAX - self.trailers.len().min(TRAILERS_MAX);
        if part.len() > free {
            return Err(ChunkError::LargeTrailers);
        }
        self.trailers.extend_from_slice(part);
        if end.is_none() {
            return Ok(part.len());
        }
        let line = self.trailers.get(self.line..).unwrap_or_default();
        if !line.ends_with(b"\r\n") {
            return Err(ChunkError::Trailer);
        }
        let line = content(line);
        if line.is_empty() {
            self.trailers.truncate(self.line);
            self.state = State::End;
        } else {
            split(line, Strictness::Client).map_err(|_| ChunkError::Trailer)?;
            self.line = self.trailers.len();
        }
        Ok(part.len())
    }

    /// Whether the body has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// The trailer lines with their line ends; empty until the body has ended.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        if self.is_complete() { &self.trailers } else { &[] }
    }

    /// Name and value of each trailer.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.trailers().split_inclusive(|&byte| byte == b'\n').filter_map(|line| {
            let line = content(line);
            let parts = split(line, Strictness::Client).ok()?;
            Some((line.get(..parts.name_end)?, line.get(parts.value.0..parts.value.1)?))
        })
    }

    /// Bytes of data that the current chunk has announced and that are still to come; what was read of a size
    /// counts, because more digits make it only larger.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.size
    }

    /// The least number of bytes that are still to come, of data and framing.
    #[must_use]
    pub fn remaining_hint(&self) -> u64 {
        let after = |digits: u64| self.size.saturating_add(digits);
        match self.state {
            State::Size if self.count == 0 => 5,
            State::Size | State::Extension if self.size == 0 => 4,
            State::SizeLf if self.size == 0 => 3,
            State::Size | State::Extension => after(9),
            State::SizeLf => after(8),
            State::Data => after(7),
            State::DataCr => 7,
            State::DataLf => 6,
            State::Trailer if self.trailers.ends_with(b"\r") => 1,
            State::Trailer => 2,
            State::End => 0,
        }
    }
}

/// Writes `SIZE CR LF`. The data and another CR LF follow; a size of 0 ends the body after the trailers.
pub fn write_chunk_head(out: &mut Vec<u8>, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.extend(DIGITS.get(len >> (place * 4) & 15));
    }
    out.extend_from_slice(b"\r\n");
}
