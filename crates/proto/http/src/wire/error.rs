//! Why a request head is refused, in the words that nginx writes to its error log.
//! How the refusal is answered and logged is left to the server.

/// One check of a request head that failed. The connection cannot be used after any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("client sent invalid method")]
    InvalidMethod,
    #[error("client sent invalid request")]
    InvalidRequest,
    #[error("client sent invalid version")]
    InvalidVersion,
    #[error("client sent invalid host in request line")]
    InvalidAuthority,
    /// The request line does not fit a buffer of `large_client_header_buffers`.
    #[error("client sent too long URI")]
    LongRequestLine,
    /// A header line does not fit the buffers that are left; its start.
    #[error("client sent too long header line: \"{0}...\"")]
    LongField(String),
    /// The head does not fit the offsets of its spans, 4 GiB.
    #[error("client sent too large request")]
    LargeHead,
    #[error("client sent too many header lines")]
    ManyFields,
    /// The line up to the offending byte, and that byte.
    #[error("client sent invalid header line: \"{line}\\x{byte:02x}...\"")]
    InvalidField { line: String, byte: u8 },
    /// Both lines, the later one first.
    #[error("client sent duplicate header line: \"{line}\", previous value: \"{previous}\"")]
    DuplicateField { line: String, previous: String },
    #[error("client sent duplicate host header: \"{line}\", previous value: \"{previous}\"")]
    DuplicateHost { line: String, previous: String },
    #[error("client sent invalid host header")]
    InvalidHost,
    #[error("client sent HTTP/1.1 request without \"Host\" header")]
    NoHost,
    #[error("client sent invalid \"Content-Length\" header")]
    InvalidLength,
    #[error("client sent HTTP/1.0 request with \"Transfer-Encoding\" header")]
    EncodingInHttp10,
    #[error("client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    LengthAndEncoding,
    #[error("client sent unknown \"Transfer-Encoding\": \"{0}\"")]
    UnknownEncoding(String),
    #[error("client sent CONNECT method")]
    Connect,
    #[error("client sent TRACE method")]
    Trace,
}

impl HeadError {
    /// The status to answer; 494 is nginx's internal code for a head that is too large, shown as 400.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidVersion => 505,
            Self::LongRequestLine => 414,
            Self::LongField(_) | Self::LargeHead | Self::ManyFields => 494,
            Self::UnknownEncoding(_) => 501,
            Self::Connect | Self::Trace => 405,
            _ => 400,
        }
    }
}

/// Bytes of a peer for a message: at most 1,700, as much as fits a line of the error log.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..1700).unwrap_or(bytes)).into_owned()
}
