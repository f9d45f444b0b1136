//! Results of single probes, and the words for them.

use std::fmt;
use std::io;
use std::sync::Arc;

use weir_model::Millis;

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub passed: bool,
    pub reason: Reason,
}

impl Verdict {
    pub(crate) const fn pass(reason: Reason) -> Self {
        Self { passed: true, reason }
    }

    #[must_use]
    pub const fn fail(reason: Reason) -> Self {
        Self { passed: false, reason }
    }
}

/// Why a probe passed or failed. Made without an allocation; [`fmt::Display`] has the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The connection was made, or is still there.
    Connected,
    /// Of an HTTP or FastCGI response.
    Status(u16),
    /// A TLS server answered.
    ServerHello,
    /// A database greeted.
    Greeting,
    /// An AJP container answered.
    Pong,
    /// The gRPC health service says that it serves.
    Serving,
    /// The gRPC health service says something else: its number (`grpc.health.v1.HealthCheckResponse.ServingStatus`).
    NotServing(u32),
    /// The status of the gRPC call.
    GrpcStatus(u32),
    /// A line of the `match` block that does not hold.
    Mismatch(Arc<str>),
    /// A TLS alert in place of a server hello: its number.
    Alert(u8),
    /// An error packet in place of a greeting: its number.
    SqlError(u16),
    /// `protocolStatus` of a FastCGI application that took no request.
    FastcgiRefused(u8),
    /// An HTTP/2 error code: of the stream or of the connection.
    Reset(u32),
    /// What came is not the protocol: what was expected, and what is wrong.
    Garbage(&'static str, &'static str),
    /// The head of the answer is longer than [`crate::HEAD_LIMIT`].
    LongHead,
    /// The peer closed before its first byte.
    ClosedUnanswered,
    /// The peer closed before its answer was complete.
    ClosedEarly,
    /// The time was over before there was a connection.
    NotConnected(Millis),
    /// The time was over before the answer was complete.
    NoAnswer(Millis),
    /// A system call and its error number.
    System(&'static str, i32),
}

/// gRPC status codes 0 to 16 (<https://grpc.io/docs/guides/status-codes/>).
const GRPC: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid argument",
    "deadline exceeded",
    "not found",
    "already exists",
    "permission denied",
    "resource exhausted",
    "failed precondition",
    "aborted",
    "out of range",
    "unimplemented",
    "internal",
    "unavailable",
    "data loss",
    "unauthenticated",
];

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("connected"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::ServerHello => f.write_str("server hello"),
            Self::Greeting => f.write_str("greeting"),
            Self::Pong => f.write_str("pong"),
            Self::Serving => f.write_str("serving"),
            Self::NotServing(status) => write_serving(f, *status),
            Self::GrpcStatus(status) => write_grpc(f, *status),
            Self::Mismatch(line) => f.write_str(line),
            Self::Alert(alert) => write_alert(f, *alert),
            Self::SqlError(code) => write!(f, "error {code} in place of a greeting"),
            Self::FastcgiRefused(status) => {
                write!(f, "fastcgi application refused: protocol status {status}")
            }
            Self::Reset(code) => write!(f, "http/2 error {code}"),
            Self::Garbage(expected, found) => write!(f, "not {expected}: {found}"),
            Self::LongHead => write!(f, "head longer than {} bytes", crate::HEAD_LIMIT),
            Self::ClosedUnanswered => f.write_str("closed without an answer"),
            Self::ClosedEarly => f.write_str("closed before the answer was complete"),
            Self::NotConnected(limit) => write!(f, "no connection within {} ms", limit.0),
            Self::NoAnswer(limit) => write!(f, "no answer within {} ms", limit.0),
            Self::System(call, code) => write_system(f, call, *code),
        }
    }
}

fn write_serving(f: &mut fmt::Formatter<'_>, status: u32) -> fmt::Result {
    match status {
        0 => f.write_str("health status unknown"),
        2 => f.write_str("not serving"),
        3 => f.write_str("service unknown"),
        other => write!(f, "health status {other}"),
    }
}

fn write_grpc(f: &mut fmt::Formatter<'_>, status: u32) -> fmt::Result {
    write!(f, "grpc status {status}")?;
    let name = usize::try_from(status).ok().and_then(|status| GRPC.get(status));
    name.map_or(Ok(()), |name| write!(f, " ({name})"))
}

/// Alerts that servers send for a hello (RFC 8446, section 6).
fn write_alert(f: &mut fmt::Formatter<'_>, alert: u8) -> fmt::Result {
    write!(f, "tls alert {alert}")?;
    match alert {
        40 => f.write_str(" (handshake failure)"),
        47 => f.write_str(" (illegal parameter)"),
        50 => f.write_str(" (decode error)"),
        70 => f.write_str(" (protocol version)"),
        71 => f.write_str(" (insufficient security)"),
        80 => f.write_str(" (internal error)"),
        109 => f.write_str(" (missing extension)"),
        112 => f.write_str(" (unrecognized name)"),
        _ => Ok(()),
    }
}

/// `connect: connection refused (111)`.
fn write_system(f: &mut fmt::Formatter<'_>, call: &str, code: i32) -> fmt::Result {
    let text = io::Error::from_raw_os_error(code).to_string();
    let text = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    write!(f, "{call}: {} ({code})", text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let told = [
            (Reason::System("connect", 111), "connect: connection refused (111)"),
            (Reason::Status(503), "status 503"),
            (Reason::NoAnswer(Millis(1000)), "no answer within 1000 ms"),
            (Reason::NotConnected(Millis(5)), "no connection within 5 ms"),
            (Reason::GrpcStatus(12), "grpc status 12 (unimplemented)"),
            (Reason::GrpcStatus(99), "grpc status 99"),
            (Reason::NotServing(2), "not serving"),
            (Reason::Alert(70), "tls alert 70 (protocol version)"),
            (Reason::Garbage("http", "bad status line"), "not http: bad status line"),
            (Reason::LongHead, "head longer than 16384 bytes"),
        ];
        for (reason, words) in told {
            assert_eq!(reason.to_string(), words);
        }
    }
}
