//! Whether the application answers: probes from here, with Consul's semantics of rise and fall.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use crate::plan::Plan;

/// A probe may take at least so long.
const LEAST: Duration = Duration::from_secs(1);
/// So much of a health page is read.
const MOST: usize = 64 * 1024;

/// What is asked of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection to its port succeeds.
    Tcp { host: String, port: u16 },
    /// `GET` answers 200 to 299.
    Http { host: String, port: u16, path: String },
}

/// Why a check cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("check {0:?} is by TLS, which is not probed; give tcp, or an http:// address")]
    Tls(String),
    #[error("check {0:?}; expected tcp, a path as /health, or http://HOST:PORT/PATH")]
    Unknown(String),
}

impl Check {
    /// Reads `tcp`, `/PATH` or `http://HOST[:PORT][/PATH]`; what is left out is the application's own: 127.0.0.1 and
    /// `port`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str, port: u16) -> Result<Self, CheckError> {
        let host = Ipv4Addr::LOCALHOST.to_string();
        if text == "tcp" {
            return Ok(Self::Tcp { host, port });
        }
        if text.starts_with('/') {
            return Ok(Self::Http { host, port, path: text.to_owned() });
        }
        if text.starts_with("https://") {
            return Err(CheckError::Tls(text.to_owned()));
        }
        let unknown = || CheckError::Unknown(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(unknown)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let uri: hyper::http::uri::Authority = authority.parse().map_err(|_| unknown())?;
        if path.parse::<hyper::Uri>().is_err() || uri.host().is_empty() {
            return Err(unknown());
        }
        let host = uri.host().trim_matches(['[', ']']).to_owned();
        Ok(Self::Http { host, port: uri.port_u16().unwrap_or(80), path: path.to_owned() })
    }

    /// One probe; the error says what was seen.
    async fn probe(&self) -> Result<(), String> {
        let (Self::Tcp { host, port } | Self::Http { host, port, .. }) = self;
        let at = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let stream =
            TcpStream::connect((host.as_str(), *port)).await.map_err(|error| format!("{at}: {error}"))?;
        let Self::Http { path, .. } = self else { return Ok(()) };
        let seen = get(stream, &at, path).await.map_err(|error| format!("http://{at}{path}: {error}"))?;
        if (200..300).contains(&seen) { Ok(()) } else { Err(format!("http://{at}{path}: status {seen}")) }
    }
}

/// The status of a page. Its body is read as well: an application whose answer breaks off is not well.
async fn get(stream: TcpStream, host: &str, path: &str) -> Result<u16, String> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", host)
        .header("user-agent", "weir")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string());
    let result = match response {
        Ok(response) => {
            let status = response.status().as_u16();
            let mut body = response.into_body();
            let mut read = 0;
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(error)) => break Err(error.to_string()),
                    None => break Ok(status),
                }
                if read > MOST {
                    break Ok(status);
                }
            }
        }
        Err(error) => Err(error),
    };
    driver.abort();
    result
}

/// What the probes say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not yet that it is well; what was seen last.
    Starting(String),
    Passing,
    Failing(String),
}

/// Probes until nobody listens. With `ready` the application itself says when it is well for the first time, and is asked
/// from then on.
pub(crate) async fn watch(plan: Plan, verdict: watch::Sender<Verdict>, ready: Option<oneshot::Receiver<()>>) {
    let limit = plan.interval.max(LEAST);
    if let Some(ready) = ready {
        verdict.send_replace(Verdict::Starting("the application has not said READY=1".to_owned()));
        if ready.await.is_err() {
            return;
        }
        verdict.send_replace(Verdict::Passing);
        tokio::time::sleep(plan.interval).await;
    }
    let (mut good, mut bad) = (0_u32, 0_u32);
    while !verdict.is_closed() {
        let seen = tokio::time::timeout(limit, plan.check.probe()).await;
        let seen = seen.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
        (good, bad) = if seen.is_ok() { (good.saturating_add(1), 0) } else { (0, bad.saturating_add(1)) };
        let now = verdict.borrow().clone();
        let next = match (seen, &now) {
            (Ok(()), Verdict::Starting(_) | Verdict::Failing(_)) if good >= plan.rise => Verdict::Passing,
            (Err(text), Verdict::Starting(_)) => Verdict::Starting(text),
            (Err(text), Verdict::Passing) if bad >= plan.fall => Verdict::Failing(text),
            _ => now.clone(),
        };
        if next != now {
            verdict.send_replace(next);
        }
        // A start is watched more closely: traffic waits for it.
        let starting = matches!(*verdict.borrow(), Verdict::Starting(_));
        let pause = if starting { plan.interval.min(Duration::from_millis(200)) } else { plan.interval };
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_read() {
        let tcp = Check::Tcp { host: "127.0.0.1".into(), port: 8080 };
        assert_eq!(Check::parse("tcp", 8080), Ok(tcp));
        let http = |host: &str, port, path: &str| Check::Http { host: host.into(), port, path: path.into() };
        assert_eq!(Check::parse("/health", 8080), Ok(http("127.0.0.1", 8080, "/health")));
        assert_eq!(Check::parse("http://[::1]:9/a?b=c", 1), Ok(http("::1", 9, "/a?b=c")));
        assert_eq!(Check::parse("http://app", 1), Ok(http("app", 80, "/")));
        assert_eq!(Check::parse("https://app/", 1), Err(CheckError::Tls("https://app/".into())));
        assert_eq!(Check::parse("udp", 1), Err(CheckError::Unknown("udp".into())));
        assert_eq!(Check::parse("http:///x", 1), Err(CheckError::Unknown("http:///x".into())));
    }
}
