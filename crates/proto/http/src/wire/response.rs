//! The head of a peer's response, read line by line as its bytes arrive (RFC 9112, 4 to 6).
//! What is passed on to the client, and what becomes of an interim response, are left to the proxy.

use super::error::shown;
use super::field::{Field, Progress, Span, Strictness, Version, content, length, line_end, members, split};

/// A response head; after an error it holds what had been read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    pub version: Version,
    pub status: u16,
    /// The text behind the status; may be empty.
    pub reason: Span,
    pub fields: Vec<Field>,
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// The peer closes: it says so, or it speaks HTTP/1.0.
    pub connection_close: bool,
    pub connection_keep_alive: bool,
    /// There is an Upgrade header.
    pub upgrade: bool,
    /// Bytes of the complete head with the empty line; 0 until then.
    pub len: u32,
    /// Start of the first line that was not read yet, and an offset before which no LF is.
    line: usize,
    scanned: usize,
    stage: Stage,
    length: Option<Field>,
    encoding: Option<Field>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    StatusLine,
    Fields,
    Complete,
}

/// One check of a response head that failed. The connection cannot be used after any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// No status line of HTTP/1; whether it is taken for HTTP/0.9 is up to the caller.
    #[error("upstream sent no valid HTTP/1.0 header")]
    NotHttp,
    #[error("upstream sent too big header")]
    TooBig,
    /// The line up to the offending byte, and that byte.
    #[error("upstream sent invalid header: \"{line}\\x{byte:02x}...\"")]
    InvalidField { line: String, byte: u8 },
    /// Both lines, the later one first.
    #[error("upstream sent duplicate header line: \"{line}\", previous value: \"{previous}\"")]
    DuplicateField { line: String, previous: String },
    #[error("upstream sent invalid \"Content-Length\" header: \"{0}\"")]
    InvalidLength(String),
    #[error("upstream sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    LengthAndEncoding,
    #[error("upstream sent unknown \"Transfer-Encoding\": \"{0}\"")]
    UnknownEncoding(String),
}

impl ResponseHead {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready for the next head; capacity stays.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Reads the complete lines of `buf`, which starts at the head's first byte and only grows between calls.
    /// The caller bounds the head by the size of its buffer.
    ///
    /// # Errors
    /// The check that failed.
    pub fn advance(&mut self, buf: &[u8]) -> Result<Progress, ResponseError> {
        if u32::try_from(buf.len()).is_err() {
            return Err(ResponseError::TooBig);
        }
        while self.stage != Stage::Complete {
            let Some(end) = line_end(buf, self.scanned) else {
                if self.stage == Stage::StatusLine {
                    precheck(buf)?;
                }
                self.scanned = buf.len();
                return Ok(Progress::Partial);
            };
            let line = content(buf.get(self.line..end).unwrap_or_default());
            match self.stage {
                Stage::StatusLine => {
                    self.status_line(line)?;
                    self.stage = Stage::Fields;
                }
                Stage::Fields if line.is_empty() => {
                    self.len = end as u32;
                    self.stage = Stage::Complete;
                }
                // Some servers send their status line twice.
                Stage::Fields if line.starts_with(b"HTTP/") => {}
                Stage::Fields => self.field(buf, line)?,
                Stage::Complete => {}
            }
            self.line = end;
            self.scanned = end;
        }
        Ok(Progress::Complete)
    }

    /// `HTTP/x.y NNN[ reason]`, with nginx's tolerance for more spaces and for `403.1`.
    fn status_line(&mut self, line: &[u8]) -> Result<(), ResponseError> {
        let version = line.strip_prefix(b"HTTP/").ok_or(ResponseError::NotHttp)?;
        let space = memchr::memchr(b' ', version).ok_or(ResponseError::NotHttp)?;
        let (version, rest) = version.split_at_checked(space).ok_or(ResponseError::NotHttp)?;
        self.version = read_version(version).ok_or(ResponseError::NotHttp)?;
        let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
        let rest = rest.get(spaces..).unwrap_or_default();
        let (digits, rest) = rest.split_at_checked(3).ok_or(ResponseError::NotHttp)?;
        let status = length(digits).filter(|status| *status >= 100).ok_or(ResponseError::NotHttp)?;
        let reason = match rest {
            [] => rest,
            [b' ' | b'.', reason @ ..] if memchr::memchr2(b'\r', 0, reason).is_none() => reason,
            _ => return Err(ResponseError::NotHttp),
        };
        self.status = status as u16;
        self.reason = Span::new(line.len() - reason.len(), line.len());
        self.connection_close = self.version == Version::Http10;
        Ok(())
    }

    fn field(&mut self, buf: &[u8], line: &[u8]) -> Result<(), ResponseError> {
        let start = self.line;
        let parts = split(line, Strictness::Peer).map_err(|at| ResponseError::InvalidField {
            line: shown(line.get(..at).unwrap_or_default()),
            byte: line.get(at).copied().unwrap_or(b'\n'),
        })?;
        let field = Field {
            name: Span::new(start, start + parts.name_end),
            value: Span::new(start + parts.value.0, start + parts.value.1),
        };
        self.fields.push(field);
        // The fields of early hints (RFC 8297) say nothing about this message.
        if parts.unusual || parts.underscore || self.status == 103 {
            return Ok(());
        }
        let name = field.name.of(buf);
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in members(field.value.of(buf)) {
                    self.connection_close |= token.eq_ignore_ascii_case(b"close");
                    self.connection_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => return self.read_length(buf, field),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => return self.read_encoding(buf, field),
            _ => {}
        }
        Ok(())
    }

    fn read_length(&mut self, buf: &[u8], field: Field) -> Result<(), ResponseError> {
        if let Some(previous) = self.length {
            return Err(duplicate(buf, field, previous));
        }
        if self.encoding.is_some() {
            return Err(ResponseError::LengthAndEncoding);
        }
        self.length = Some(field);
        let found = length(field.value.of(buf));
        self.content_length = Some(found.ok_or_else(|| ResponseError::InvalidLength(text(buf, field)))?);
        Ok(())
    }

    fn read_encoding(&mut self, buf: &[u8], field: Field) -> Result<(), ResponseError> {
        if let Some(previous) = self.encoding {
            return Err(duplicate(buf, field, previous));
        }
        if self.length.is_some() {
            return Err(ResponseError::LengthAndEncoding);
        }
        self.encoding = Some(field);
        let value = field.value.of(buf);
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(ResponseError::UnknownEncoding(shown(value)));
        }
        self.chunked = true;
        Ok(())
    }
}

/// Refuses what cannot become a status line any more.
fn precheck(buf: &[u8]) -> Result<(), ResponseError> {
    let same = buf.iter().zip(b"HTTP/").all(|(found, expected)| found == expected);
    if same { Ok(()) } else { Err(ResponseError::NotHttp) }
}

/// `1.0` and the like; every later version is read as 1.1.
fn read_version(text: &[u8]) -> Option<Version> {
    let dot = memchr::memchr(b'.', text)?;
    let (major, minor) = (text.get(..dot)?, text.get(dot + 1..)?);
    if major.len() > 3 || minor.len() > 3 || major.first() == Some(&b'0') {
        return None;
    }
    let (major, minor) = (length(major)?, length(minor)?);
    Some(if (major, minor) == (1, 0) { Version::Http10 } else { Version::Http11 })
}

fn duplicate(buf: &[u8], field: Field, previous: Field) -> ResponseError {
    ResponseError::DuplicateField { line: text(buf, field), previous: text(buf, previous) }
}

fn text(buf: &[u8], field: Field) -> String {
    format!("{}: {}", shown(field.name.of(buf)), shown(field.value.of(buf)))
}
