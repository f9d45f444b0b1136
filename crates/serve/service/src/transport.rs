//! How a registry or a proxy is asked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where lines for people go, one text without a newline each.
pub type Log = Arc<dyn Fn(String) + Send + Sync>;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body for people: its first line, cut to a readable length.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.lines().next().unwrap_or_default().chars().take(200).collect()
    }

    /// The body, or what was answered instead.
    pub(crate) fn accepted(self) -> Result<Vec<u8>, String> {
        match self.status {
            200 => Ok(self.body),
            status => Err(format!("status {status}: {}", self.text())),
        }
    }
}

/// An answer that is read while it comes. Dropped, its connection ends.
pub trait Stream: Send {
    /// The next bytes; absent at the end. The future may be dropped before it is ready, and nothing is lost.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;
}

/// One registry behind one or several addresses, or one proxy. A token is the transport's own business.
pub trait Transport: Send + Sync {
    /// Who is asked next, for people.
    fn name(&self) -> String;

    /// One exchange within `timeout`; the error is a text for people.
    fn send<'a>(
        &'a self,
        method: &'a str,
        path_and_query: &'a str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Reply, String>>;

    /// A POST over a connection of its own, whose answer is read while it comes. An answer with a status other than
    /// 200 is an error with its text.
    fn open<'a>(
        &'a self,
        path_and_query: &'a str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Box<dyn Stream>, String>>;
}

/// Any text as a part of a path or a query.
pub(crate) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

/// A key as a part of a path: its slashes stay.
pub(crate) fn escape_key(key: &str) -> String {
    key.split('/').map(escape).collect::<Vec<_>>().join("/")
}
