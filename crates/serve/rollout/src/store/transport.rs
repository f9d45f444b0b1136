//! How bytes come to stores and proxies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::{HeaderMap, Method};

/// A complete answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// A client of one store or of one control API: several endpoints of one store are its own affair.
pub trait Transport: Send + Sync {
    /// One exchange within `timeout`. `path_and_query` is escaped already; the headers hold the token, if there is one.
    ///
    /// # Errors
    /// When there is no answer; the text names the endpoint. The request may have had its effect all the same.
    fn send<'a>(
        &'a self,
        method: Method,
        path_and_query: &'a str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>>;
}

/// A token that is never shown.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// Of a file's text; white space around it does not count.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A name as one part of a path or of a key (RFC 3986, section 3.3).
pub(crate) fn segment(name: &str) -> String {
    escape(name, b"-._~:@")
}

/// A key as the end of a path: its slashes stay.
pub(crate) fn path(key: &str) -> String {
    escape(key, b"-._~:@/")
}

fn escape(text: &str, plain: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// What an answer says, short enough for a line.
pub(crate) fn said(body: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(body).replace(char::is_control, " ");
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push_str("...");
    }
    line
}
