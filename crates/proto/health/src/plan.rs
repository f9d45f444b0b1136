//! A check made ready: the bytes to send and the judge of the answer.

use weir_model::check::StatusClasses;
use weir_model::{Check, Probe};
use weir_pattern::PatternError;

use crate::expect::Expected;
use crate::{fastcgi, grpc, hello, http};

/// Why a check cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("a pattern of the match block is invalid: {0}")]
    Pattern(#[from] PatternError),
    #[error(
        "variable ${0} is not there in a health check, expected $status or $upstream_http_NAME in \"require\""
    )]
    Variable(String),
}

/// One check, shared by the targets that have it.
#[derive(Debug)]
pub struct Plan {
    pub(crate) opening: Vec<u8>,
    pub(crate) protocol: Protocol,
    /// The connection may carry more than one probe.
    pub(crate) reuse: bool,
}

#[derive(Debug)]
pub(crate) enum Protocol {
    Connect,
    Http { judge: http::Judge, reading: http::Reading },
    Tls,
    Mysql,
    Ajp,
    Fastcgi(StatusClasses),
    Grpc(grpc::Call),
}

impl Plan {
    /// `authority` names the upstream to protocols that tell servers by name.
    ///
    /// # Errors
    /// A part of a `match` block that cannot be evaluated.
    pub fn new(check: &Check, authority: &str) -> Result<Self, PlanError> {
        // Greeting and hello come once a connection.
        let once = matches!(check.probe, Probe::Mysql | Probe::SslHello);
        let reuse = check.keepalive_requests > 1 && !once;
        let reading = |request: &[u8]| http::Reading { bodiless: request.starts_with(b"HEAD "), reuse };
        let (opening, protocol) = match &check.probe {
            Probe::Tcp => (Vec::new(), Protocol::Connect),
            Probe::Http { send, expect } => {
                let protocol =
                    Protocol::Http { judge: http::Judge::Classes(*expect), reading: reading(&send.0) };
                (send.0.clone(), protocol)
            }
            Probe::Request { head, expect } => {
                let judge = http::Judge::Expected(Box::new(Expected::new(expect.as_ref())?));
                (head.0.clone(), Protocol::Http { judge, reading: reading(&head.0) })
            }
            Probe::SslHello => (hello::client_hello(), Protocol::Tls),
            Probe::Mysql => (Vec::new(), Protocol::Mysql),
            Probe::Ajp => (hello::AJP_PING.to_vec(), Protocol::Ajp),
            Probe::Fastcgi { params, expect } => {
                (fastcgi::request(params, reuse), Protocol::Fastcgi(*expect))
            }
            Probe::Grpc { service, status } => {
                (Vec::new(), Protocol::Grpc(grpc::Call::new(service, *status, authority)))
            }
        };
        Ok(Self { opening, protocol, reuse })
    }

    /// A connection is all that is asked for.
    #[must_use]
    pub fn connects_only(&self) -> bool {
        matches!(self.protocol, Protocol::Connect)
    }

    /// Whether a connection may be kept for the next probe.
    #[must_use]
    pub fn reuses(&self) -> bool {
        self.reuse
    }
}
