//! One HTTP/1.1 request on a connection of its own.

use std::io;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use weir_model::source::ClientTls;

use super::address::bracketed;

/// So much of a body is kept.
const MOST: usize = 64 * 1024;

/// What carries a request.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
}

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// What `Host` says.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
}

/// What came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The beginning of it.
    pub(crate) body: Vec<u8>,
}

impl Target {
    /// Of `http://HOST[:PORT][/PATH]` or with https, and the path with its query.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(url: &str) -> Result<(Self, String), String> {
        let wrong = || format!("{url:?} is no URL; expected one like http://10.0.0.1/health");
        let uri: hyper::Uri = url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let host = uri.host().map(|host| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty());
        let host = host.ok_or_else(wrong)?.to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok((Self { host, port, tls }, path))
    }

    /// `10.0.0.1:8080`
    pub(crate) fn text(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    /// # Errors
    /// The name is unknown, or nobody listens.
    pub(crate) async fn connect(&self) -> Result<TcpStream, String> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<_> =
            found.map_err(|error| format!("name {} cannot be resolved: {error}", self.host))?.collect();
        TcpStream::connect(found.as_slice()).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("connection to {} refused", self.text()),
            _ => format!("connection to {} failed: {error}", self.text()),
        })
    }

    /// Over a connection that is there.
    ///
    /// # Errors
    /// What came is no whole answer.
    pub(crate) async fn exchange(&self, stream: TcpStream, ask: &Ask<'_>) -> Result<Reply, String> {
        let stream: Box<dyn Io> =
            if self.tls { Box::new(self.secured(stream).await?) } else { Box::new(stream) };
        let broken = |error: hyper::Error| format!("no HTTP answer from {}: {error}", self.text());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header("host", ask.host)
            .header("user-agent", "weir")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("no request can be made of {} {}: {error}", ask.method, ask.path))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            let body = beginning(response.into_body())
                .await
                .map_err(|error| format!("the answer {status} of {} broke off: {error}", self.text()))?;
            Ok(Reply { status, headers, body })
        };
        tokio::pin!(connection, answer);
        // The connection ends with this future; what is wrong with it the answer tells.
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    }

    async fn secured(&self, stream: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| format!("{:?} cannot be the name of a certificate", self.host))?;
        let connector = TlsConnector::from(tls()?);
        connector.connect(name, stream).await.map_err(|error| format!("TLS with {}: {error}", self.text()))
    }
}

/// Made once: the roots of the machine are hundreds of files.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static MADE: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    MADE.get_or_init(|| weir_tls::client_config(&ClientTls::default()).map_err(|error| error.to_string()))
        .clone()
}

async fn beginning(mut body: hyper::body::Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            read.extend(data.iter().take(MOST - read.len()));
        }
        if read.len() == MOST {
            break;
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read() {
        let target = |host: &str, port, tls| Target { host: host.to_owned(), port, tls };
        assert_eq!(
            Target::parse("http://web.example"),
            Ok((target("web.example", 80, false), "/".to_owned()))
        );
        assert_eq!(
            Target::parse("https://[::1]:8443/a?b=c"),
            Ok((target("::1", 8443, true), "/a?b=c".to_owned()))
        );
        for url in ["ftp://a", "web.example", "http://", "/health"] {
            let wrong = format!("{url:?} is no URL; expected one like http://10.0.0.1/health");
            assert_eq!(Target::parse(url), Err(wrong));
        }
    }
}
