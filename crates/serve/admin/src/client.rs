//! The other side: requests to the API over its socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Bytes of an answer: thousands of peers fit.
const ANSWER: usize = 256 * 1024 * 1024;

/// Asks the API at one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or the permissions of the socket forbid it.
    #[error("{0}")]
    Connect(io::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("{0}")]
    Runtime(io::Error),
}

impl Client {
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Client {
        Client { socket: socket.into() }
    }

    /// One request on a connection of its own. The target is a path, with names escaped by [`segment`], and a query.
    ///
    /// # Errors
    /// When there is no answer at all; an answer that refuses is one.
    pub async fn send(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Reply, ClientError> {
        let exchange = self.exchange(method, target, body);
        tokio::time::timeout(patience, exchange).await.unwrap_or(Err(ClientError::Timeout(patience)))
    }

    async fn exchange(&self, method: Method, target: &str, body: Vec<u8>) -> Result<Reply, ClientError> {
        let broken = |error: &dyn std::fmt::Display| ClientError::Broken(error.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(ClientError::Connect)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "localhost")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        driver.abort();
        Ok(Reply { status, body })
    }

    /// The same for a program that has no runtime.
    ///
    /// # Errors
    /// As `send`.
    pub fn send_blocking(
        &self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Reply, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ClientError::Runtime)?;
        runtime.block_on(self.send(method, target, body, patience))
    }
}

/// A name as a part of a path (RFC 3986, section 3.3), slashes escaped as well.
#[must_use]
pub fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(segment("10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(segment("[::1]:80"), "%5B::1%5D:80");
        assert_eq!(segment("unix:/run/a b"), "unix:%2Frun%2Fa%20b");
    }
}
