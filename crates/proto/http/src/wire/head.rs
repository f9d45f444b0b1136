//! The head of a request, read line by line as its bytes arrive (RFC 9112, 2 to 6).
//! Choice of the server and decoding of the target are left to the caller.

pub use super::error::HeadError;
pub use super::field::{Field, Progress, Span, Version};
pub use super::request_line::Authority;

use super::error::shown;
use super::field::{Parts, Strictness, content, length, line_end, members, split};
use super::{host, request_line};

/// What a head may be; the names of nginx's directives stand beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Size in `large_client_header_buffers`: bytes of the longest line with its line end.
    pub line: usize,
    /// Number in `large_client_header_buffers`.
    pub buffers: usize,
    /// `client_header_buffer_size`
    pub first: usize,
    /// `max_headers`
    pub max_headers: usize,
    pub ignore_invalid_headers: bool,
    pub underscores_in_headers: bool,
}

impl Default for HeadLimits {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            line: 8192,
            buffers: 4,
            first: 1024,
            max_headers: 1000,
            ignore_invalid_headers: true,
            underscores_in_headers: false,
        }
    }
}

/// A request head; after an error it holds what had been read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    pub method: Span,
    /// The whole request target as sent.
    pub target: Span,
    /// Without its line end.
    pub request_line: Span,
    pub version: Version,
    /// The parts of a target in absolute form.
    pub absolute: Option<Authority>,
    pub fields: Vec<Field>,
    /// Header lines left out because of `ignore_invalid_headers`, for the error log.
    pub ignored: Vec<Span>,
    /// The Host header's value.
    pub host: Option<Span>,
    pub content_length: Option<u64>,
    pub chunked: bool,
    /// Tokens of the Connection headers.
    pub connection_close: bool,
    pub connection_keep_alive: bool,
    pub connection_upgrade: bool,
    /// The first Upgrade header's value.
    pub upgrade: Option<Span>,
    /// `Expect: 100-continue` of an HTTP/1.1 client.
    pub expect_continue: bool,
    /// Bytes of the complete head with the empty line; 0 until then.
    pub len: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    stage: Stage,
    /// Start of the first line that was not read yet.
    line: usize,
    /// No LF before this offset.
    scanned: usize,
    /// End of the buffer that nginx would be filling, and how many large ones it would have taken.
    room: usize,
    buffers: usize,
    /// Bit by `Unique` of each header seen that may stand only once.
    seen: u16,
    length: Option<Span>,
    encoding: Option<Span>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    RequestLine,
    Fields,
    Complete,
}

impl RequestHead {
    /// An empty head.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ready for the next head; capacity stays.
    pub fn clear(&mut self) {
        let (mut fields, mut ignored) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.ignored));
        fields.clear();
        ignored.clear();
        *self = Self { fields, ignored, ..Self::default() };
    }

    /// Reads the complete lines of `buf`, which starts at the head's first byte and only grows between calls.
    /// An obviously bad request line is refused before its end has arrived.
    ///
    /// # Errors
    /// The check that failed; the connection must be closed after the answer.
    pub fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Progress, HeadError> {
        if u32::try_from(buf.len()).is_err() {
            return Err(HeadError::LargeHead);
        }
        if self.state.buffers == 0 {
            self.state.room = limits.first;
        }
        while self.state.stage != Stage::Complete {
            let Some(end) = line_end(buf, self.state.scanned) else {
                self.incomplete(buf, limits)?;
                self.state.scanned = buf.len();
                return Ok(Progress::Partial);
            };
            self.line(buf, end, limits)?;
            self.state.line = end;
            self.state.scanned = end;
        }
        Ok(Progress::Complete)
    }

    /// Reads the line that ends at `end`.
    fn line(&mut self, buf: &[u8], end: usize, limits: &HeadLimits) -> Result<(), HeadError> {
        let start = self.state.line;
        let line = content(buf.get(start..end).unwrap_or_default());
        match self.state.stage {
            // Empty lines before a request are skipped (RFC 9112, 2.2).
            Stage::RequestLine if line.is_empty() => self.take_room(buf, end, limits),
            Stage::RequestLine => {
                request_line::precheck(line)?;
                self.take_room(buf, end, limits)?;
                self.request_line = Span::new(start, start + line.len());
                self.read_request_line(line, start)?;
                self.state.stage = Stage::Fields;
                Ok(())
            }
            Stage::Fields if line.is_empty() => {
                self.take_room(buf, end, limits)?;
                self.finish(buf)?;
                self.len = end as u32;
                self.state.stage = Stage::Complete;
                Ok(())
            }
            Stage::Fields => {
                self.take_room(buf, end, limits)?;
                self.field(buf, line, limits)
            }
            Stage::Complete => Ok(()),
        }
    }

    /// Checks the start of a line whose end is not there.
    fn incomplete(&self, buf: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let line = buf.get(self.state.line..).unwrap_or_default();
        if self.state.stage == Stage::RequestLine && line != b"\r" {
            request_line::precheck(line)?;
        }
        if line.len() >= self.capacity(limits) && !line.is_empty() {
            return Err(self.no_room(line, limits));
        }
        Ok(())
    }

    /// Bytes of the longest line that may come now.
    fn capacity(&self, limits: &HeadLimits) -> usize {
        let fresh = if self.state.buffers < limits.buffers { limits.line } else { 0 };
        fresh.max(self.state.room.saturating_sub(self.state.line))
    }

    /// Accounts for a line as nginx would lay it into its buffers: never across two of them.
    fn take_room(&mut self, buf: &[u8], end: usize, limits: &HeadLimits) -> Result<(), HeadError> {
        if end <= self.state.room {
            return Ok(());
        }
        let start = self.state.line;
        if self.state.buffers >= limits.buffers || end - start > limits.line {
            return Err(self.no_room(buf.get(start..end).unwrap_or_default(), limits));
        }
        self.state.buffers += 1;
        self.state.room = start + limits.line;
        Ok(())
    }

    fn no_room(&self, line: &[u8], limits: &HeadLimits) -> HeadError {
        if self.state.stage == Stage::RequestLine {
            return HeadError::LongRequestLine;
        }
        // No more than fits, so that the message does not depend on how the bytes arrived.
        let fits = self.capacity(limits).min(line.len());
        HeadError::LongField(shown(line.get(..fits).unwrap_or_default()))
    }

    fn read_request_line(&mut self, line: &[u8], start: usize) -> Result<(), HeadError> {
        let found = request_line::parse(line)?;
        let at = |span: Span| Span { start: span.start + start as u32, end: span.end + start as u32 };
        self.method = at(found.method);
        self.target = at(found.target);
        self.version = found.version;
        self.absolute = found.absolute.map(|absolute| Authority {
            scheme: at(absolute.scheme),
            host: at(absolute.host),
            path: at(absolute.path),
        });
        Ok(())
    }

    fn field(&mut self, buf: &[u8], line: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        let start = self.state.line;
        let parts = split(line, Strictness::Client).map_err(|at| HeadError::InvalidField {
            line: shown(line.get(..at).unwrap_or_default()),
            byte: line.get(at).copied().unwrap_or(b'\n'),
        })?;
        let Parts { name_end, value, underscore, unusual } = parts;
        if (unusual || underscore && !limits.underscores_in_headers) && limits.ignore_invalid_headers {
            self.ignored.push(Span::new(start, start + line.len()));
            return Ok(());
        }
        if self.fields.len() >= limits.max_headers {
            return Err(HeadError::ManyFields);
        }
        let field = Field {
            name: Span::new(start, start + name_end),
            value: Span::new(start + value.0, start + value.1),
        };
        self.fields.push(field);
        if unusual || underscore { Ok(()) } else { self.known(buf, field) }
    }

    /// Notes a header that decides how the message is read.
    fn known(&mut self, buf: &[u8], field: Field) -> Result<(), HeadError> {
        let name = field.name.of(buf);
        let value = field.value.of(buf);
        if let Some(unique) = Unique::of(name) {
            self.once(buf, field, unique)?;
            match unique {
                Unique::Host => {
                    self.host = Some(field.value);
                    host::split(value).map_err(|_| HeadError::InvalidHost)?;
                }
                Unique::ContentLength => self.state.length = Some(field.value),
                Unique::TransferEncoding => self.state.encoding = Some(field.value),
                Unique::Expect => {
                    self.expect_continue =
                        self.version == Version::Http11 && value.eq_ignore_ascii_case(b"100-continue");
                }
                _ => {}
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            for token in members(value) {
                self.connection_close |= token.eq_ignore_ascii_case(b"close");
                self.connection_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = self.upgrade.or(Some(field.value));
        }
        Ok(())
    }

    /// Refuses the second line of a header that may stand only once.
    fn once(&mut self, buf: &[u8], field: Field, unique: Unique) -> Result<(), HeadError> {
        let bit = 1_u16 << unique as u16;
        if self.state.seen & bit == 0 {
            self.state.seen |= bit;
            return Ok(());
        }
        let name = field.name.of(buf);
        let shown = |field: &Field| format!("{}: {}", shown(field.name.of(buf)), shown(field.value.of(buf)));
        let first = self.fields.iter().find(|field| field.name.of(buf).eq_ignore_ascii_case(name));
        let (line, previous) = (shown(&field), first.map(shown).unwrap_or_default());
        Err(match unique {
            Unique::Host => HeadError::DuplicateHost { line, previous },
            _ => HeadError::DuplicateField { line, previous },
        })
    }

    /// The checks of the whole head, in nginx's order.
    fn finish(&mut self, buf: &[u8]) -> Result<(), HeadError> {
        if self.host.is_none() && self.version == Version::Http11 {
            return Err(HeadError::NoHost);
        }
        if let Some(span) = self.state.length {
            self.content_length = Some(length(span.of(buf)).ok_or(HeadError::InvalidLength)?);
        }
        if let Some(span) = self.state.encoding {
            let value = span.of(buf);
            if self.version == Version::Http10 {
                return Err(HeadError::EncodingInHttp10);
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::UnknownEncoding(shown(value)));
            }
            // Either length could be the one that the next server believes (RFC 9112, 6.3).
            if self.content_length.is_some() {
                return Err(HeadError::LengthAndEncoding);
            }
            self.chunked = true;
        }
        match self.method.of(buf) {
            b"CONNECT" => Err(HeadError::Connect),
            b"TRACE" => Err(HeadError::Trace),
            _ => Ok(()),
        }
    }
}

/// Headers that may stand only once in a request, as in nginx.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unique {
    Host,
    ContentLength,
    TransferEncoding,
    Expect,
    Authorization,
    ProxyAuthorization,
    ContentRange,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
}

impl Unique {
    fn of(name: &[u8]) -> Option<Self> {
        let (unique, text) = match (name.len(), name.first().map(u8::to_ascii_lowercase)?) {
            (4, b'h') => (Self::Host, "host"),
            (6, b'e') => (Self::Expect, "expect"),
            (8, b'i') if name.eq_ignore_ascii_case(b"if-match") => return Some(Self::IfMatch),
            (8, b'i') => (Self::IfRange, "if-range"),
            (13, b'a') => (Self::Authorization, "authorization"),
            (13, b'c') => (Self::ContentRange, "content-range"),
            (13, b'i') => (Self::IfNoneMatch, "if-none-match"),
            (14, b'c') => (Self::ContentLength, "content-length"),
            (17, b't') => (Self::TransferEncoding, "transfer-encoding"),
            (17, b'i') => (Self::IfModifiedSince, "if-modified-since"),
            (19, b'i') => (Self::IfUnmodifiedSince, "if-unmodified-since"),
            (19, b'p') => (Self::ProxyAuthorization, "proxy-authorization"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(text.as_bytes()).then_some(unique)
    }
}
