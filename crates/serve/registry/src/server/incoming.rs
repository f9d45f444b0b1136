//! Requests as they come in: heads by weir-http, whose checks are those of the proxy, and bodies as a whole.

use std::io;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use weir_http::wire::chunked::{Chunk, ChunkError, Chunked};
use weir_http::wire::head::{HeadError, HeadLimits, Progress, RequestHead, Version};

use super::mount::covers;
use super::wire::Form;
use crate::http::{Answer, Body, Head};

/// One line of a head may have so many bytes: keys are long, and so are lists of tags.
const LINE: usize = 32 * 1024;
/// A read asks for at least so many bytes.
const STEP: usize = 1024;

/// A head that was read.
pub(super) struct Incoming {
    pub(super) head: Head,
    http10: bool,
    keep_alive: bool,
    length: u64,
    chunked: bool,
    expects: bool,
    /// The head itself, where somebody else answers; empty otherwise.
    pub(super) raw: Vec<u8>,
}

impl Incoming {
    pub(super) fn has_body(&self) -> bool {
        self.chunked || self.length > 0
    }

    /// Whether the client sends its body only when it is asked to.
    pub(super) fn expects(&self) -> bool {
        self.expects
    }

    /// Of the response.
    pub(super) fn form(&self) -> Form {
        let pretty = self.head.target.split(|byte| b"?&;".contains(byte)).skip(1);
        let mut pretty = pretty.filter(|pair| *pair == b"pretty" || pair.starts_with(b"pretty="));
        Form {
            http10: self.http10,
            keep_alive: self.keep_alive,
            bodiless: self.head.method == "HEAD",
            pretty: pretty.next().is_some(),
        }
    }
}

/// Why a request cannot be served. The connection ends with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Flaw {
    #[error(transparent)]
    Gone(#[from] io::Error),
    #[error("{0}")]
    Head(#[from] HeadError),
    #[error("{0}")]
    Chunk(#[from] ChunkError),
    #[error("the request body took too long")]
    SlowBody,
}

impl Flaw {
    pub(super) fn answer(&self) -> Answer {
        let status = match self {
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Head(HeadError::LongField(_) | HeadError::LargeHead | HeadError::ManyFields) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Head(error) => StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST),
            _ => StatusCode::BAD_REQUEST,
        };
        // What was sent is not sent back: a message could hold a token.
        let reason = status.canonical_reason().unwrap_or_default();
        Answer::text(status, format!("{} {reason}", status.as_u16())).close()
    }
}

/// The next head; `buffer` begins with what was read before, and keeps what stands behind the head.
pub(super) async fn read_head<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    mounted: &[&str],
) -> Result<Incoming, Flaw>
where
    S: AsyncRead + Unpin,
{
    let limits =
        HeadLimits { line: LINE, first: STEP, underscores_in_headers: true, ..HeadLimits::default() };
    let mut head = RequestHead::new();
    while head.advance(buffer, &limits)? == Progress::Partial {
        buffer.reserve(STEP);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let mut incoming = Incoming::of(&head, buffer);
    let whole = buffer.drain(..head.len as usize);
    if covers(mounted, &incoming.head.target) {
        incoming.raw = whole.collect();
    }
    Ok(incoming)
}

impl Incoming {
    fn of(head: &RequestHead, buffer: &[u8]) -> Self {
        let http10 = head.version != Version::Http11;
        let target = match &head.absolute {
            Some(absolute) => absolute.path.of(buffer),
            None => head.target.of(buffer),
        };
        Self {
            head: Head {
                method: String::from_utf8_lossy(head.method.of(buffer)).into_owned(),
                target: target.to_vec(),
                token: token(head, buffer),
            },
            http10,
            keep_alive: !head.connection_close && (!http10 || head.connection_keep_alive),
            length: head.content_length.unwrap_or_default(),
            chunked: head.chunked,
            expects: head.expect_continue,
            raw: Vec::new(),
        }
    }
}

/// `X-Consul-Token`, or else what stands behind `Authorization: Bearer`.
fn token(head: &RequestHead, buffer: &[u8]) -> Option<String> {
    let field = |name: &str| {
        let found =
            head.fields.iter().find(|field| field.name.of(buffer).eq_ignore_ascii_case(name.as_bytes()));
        found.and_then(|field| str::from_utf8(field.value.of(buffer)).ok()).filter(|value| !value.is_empty())
    };
    if let Some(token) = field("x-consul-token") {
        return Some(token.to_owned());
    }
    let (scheme, token) = field("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// The body of a request, if it has at most `most` bytes; otherwise it is left where it is.
pub(super) async fn read_body<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    incoming: &Incoming,
    most: usize,
) -> Result<Body, Flaw>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = usize::try_from(incoming.length).unwrap_or(usize::MAX);
    if length > most {
        return Ok(Body::TooLarge(incoming.length.to_string()));
    }
    if incoming.expects && buffer.is_empty() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    if incoming.chunked {
        read_chunks(stream, buffer, most).await
    } else {
        read_length(stream, buffer, length).await
    }
}

async fn read_length<S>(stream: &mut S, buffer: &mut Vec<u8>, length: usize) -> Result<Body, Flaw>
where
    S: AsyncRead + Unpin,
{
    // Room grows with what has come, not with what was announced.
    while buffer.len() < length {
        buffer.reserve(STEP);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let behind = buffer.split_off(length);
    Ok(Body::Whole(Bytes::from(std::mem::replace(buffer, behind))))
}

async fn read_chunks<S>(stream: &mut S, buffer: &mut Vec<u8>, most: usize) -> Result<Body, Flaw>
where
    S: AsyncRead + Unpin,
{
    let mut decoder = Chunked::new();
    let mut body = Vec::new();
    loop {
        let consumed = match decoder.advance(buffer)? {
            Chunk::Data { skip, len } => {
                if len > most - body.len() {
                    return Ok(Body::TooLarge(format!("more than {most}")));
                }
                body.extend_from_slice(buffer.get(skip..skip + len).unwrap_or_default());
                skip + len
            }
            Chunk::NeedMore { consumed } => consumed,
            Chunk::End { consumed } => {
                buffer.drain(..consumed);
                return Ok(Body::Whole(body.into()));
            }
        };
        buffer.drain(..consumed);
        if buffer.is_empty() {
            buffer.reserve(STEP);
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}
