//! One probe of one target: what is asked, and what came of it.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use weir_registry::Status;

use super::{grpc, http};

/// Consul's `CheckOutputMaxSize`: bytes of an answer that a check keeps; nothing more is read.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

/// Names are resolved by the machine's resolver in threads that may hang, so only some at once.
static RESOLVING: Semaphore = Semaphore::const_new(8);

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `host:port`; a connection is proof enough.
    Tcp(String),
    Http(http::Ask),
    Grpc(grpc::Ask),
}

/// What a probe found, as the check shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) status: Status,
    pub(crate) output: String,
}

impl Verdict {
    pub(crate) fn passing(output: String) -> Self {
        Self { status: Status::Passing, output }
    }

    pub(crate) fn critical(output: impl Into<String>) -> Self {
        Self { status: Status::Critical, output: output.into() }
    }
}

/// Asks once; the answer is there after `timeout` at the latest.
pub(crate) async fn probe(target: &Target, timeout: Duration) -> Verdict {
    let answer = tokio::time::timeout(timeout, async {
        match target {
            Target::Tcp(address) => tcp(address).await,
            Target::Http(ask) => http::probe(ask, timeout).await,
            Target::Grpc(ask) => grpc::probe(ask).await,
        }
    });
    answer.await.unwrap_or_else(|_| Verdict::critical(target.late(timeout)))
}

impl Target {
    fn late(&self, timeout: Duration) -> String {
        match self {
            Self::Tcp(address) => format!("dial tcp {address}: no connection within {timeout:?}"),
            Self::Http(ask) => format!("{}: no answer within {timeout:?}", ask.failed()),
            Self::Grpc(ask) => {
                format!(
                    "rpc error: code = DeadlineExceeded desc = no answer of {} within {timeout:?}",
                    ask.name()
                )
            }
        }
    }
}

async fn tcp(address: &str) -> Verdict {
    match connect(address).await {
        Ok(_) => Verdict::passing(format!("TCP connect {address}: Success")),
        Err(reason) => Verdict::critical(reason),
    }
}

/// Connects to `host:port`, one address of a name after the other. The error is a line for the check's output.
pub(crate) async fn connect(address: &str) -> Result<TcpStream, String> {
    if address.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(format!("dial tcp: address {address}: missing port in address; expected host:port"));
    }
    let mut failed = format!("dial tcp {address}: the name has no address");
    for peer in resolve(address).await? {
        match TcpStream::connect(peer).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = format!("dial tcp {peer}: connect: {}", reason(&error)),
        }
    }
    Err(failed)
}

async fn resolve(address: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    if let Ok(peer) = address.parse() {
        return Ok(vec![peer]);
    }
    let _permit = RESOLVING.acquire().await.expect("the semaphore is never closed");
    match tokio::net::lookup_host(address).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(format!("dial tcp: lookup {address}: {}", reason(&error))),
    }
}

/// The system's words without its number, in lower case.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
