//! Why there is no answer.

use std::time::Duration;

/// Why there is no answer; each variant names the endpoint.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no endpoint is named; at least one is expected")]
    NoEndpoint,
    #[error("{endpoint}: the request cannot be written: {problem}")]
    Request { endpoint: String, problem: String },
    #[error("{endpoint}: this process has no registry; add registry {{ }} or name another endpoint")]
    NoRegistry { endpoint: String },
    #[error("{endpoint}: cannot connect: {source}")]
    Connect { endpoint: String, source: std::io::Error },
    #[error("{endpoint}: {source}")]
    Settings { endpoint: String, source: Box<weir_tls::Error> },
    #[error("{endpoint}: no TLS: {source}")]
    Tls { endpoint: String, source: std::io::Error },
    #[error("{endpoint}: no answer within {} ms", .limit.as_millis())]
    Timeout { endpoint: String, limit: Duration },
    #[error("{endpoint}: {problem}")]
    Exchange { endpoint: String, problem: String, sent: bool },
    #[error("{endpoint}: the connection is closed")]
    Closed { endpoint: String },
    #[error("{endpoint}: the answer is larger than {limit} bytes; it is not read")]
    TooLarge { endpoint: String, limit: usize },
    #[error(
        "{endpoint}: answers {status} and points to {location:?}; redirects are not followed, name the address itself"
    )]
    Redirect { endpoint: String, status: u16, location: String },
}

impl ClientError {
    /// Whether the store may have got the request, so that it may have had its effect.
    #[must_use]
    pub const fn sent(&self) -> bool {
        match self {
            Self::NoEndpoint
            | Self::Request { .. }
            | Self::NoRegistry { .. }
            | Self::Connect { .. }
            | Self::Settings { .. }
            | Self::Tls { .. }
            | Self::Closed { .. } => false,
            Self::Exchange { sent, .. } => *sent,
            Self::Timeout { .. } | Self::TooLarge { .. } | Self::Redirect { .. } => true,
        }
    }

    pub(crate) fn exchange(endpoint: &str, error: &hyper::Error) -> Self {
        use std::error::Error as _;
        let mut problem = if error.is_incomplete_message() {
            "the connection ended within the answer".to_owned()
        } else {
            error.to_string()
        };
        if let Some(source) = error.source() {
            problem = format!("{problem}: {source}");
        }
        Self::Exchange { endpoint: endpoint.to_owned(), problem, sent: !error.is_canceled() }
    }
}
