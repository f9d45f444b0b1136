//! gRPC checks: `grpc.health.v1.Health/Check` over HTTP/2 (github.com/grpc/grpc, doc/health-checking.md). The two
//! messages have one field each, so they are read and written by hand.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::probe::{OUTPUT_LIMIT, Verdict, connect};
use super::tls;

const UNHEALTHY: &str = "gRPC application didn't report service healthy";
/// `HealthCheckResponse.SERVING`.
const SERVING: u64 = 1;

/// What a gRPC check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// `host:port`.
    pub(crate) address: String,
    /// Empty: the server as a whole.
    pub(crate) service: String,
    pub(crate) tls: bool,
    pub(crate) skip_verify: bool,
}

impl Ask {
    /// `host:port` or `host:port/service`.
    pub(crate) fn parse(target: &str, tls: bool, skip_verify: bool) -> Self {
        let (address, service) = target.split_once('/').unwrap_or((target, ""));
        Self { address: address.to_owned(), service: service.to_owned(), tls, skip_verify }
    }

    /// The target as the definition has it.
    pub(crate) fn name(&self) -> String {
        if self.service.is_empty() {
            self.address.clone()
        } else {
            format!("{}/{}", self.address, self.service)
        }
    }
}

pub(crate) async fn probe(ask: &Ask) -> Verdict {
    match exchange(ask).await {
        Ok(true) => Verdict::passing(format!("gRPC check {}: success", ask.name())),
        Ok(false) => Verdict::critical(UNHEALTHY),
        Err(reason) => Verdict::critical(reason),
    }
}

async fn exchange(ask: &Ask) -> Result<bool, String> {
    let stream = connect(&ask.address).await.map_err(|reason| unavailable(&reason))?;
    if !ask.tls {
        return call(ask, stream, "http").await;
    }
    let host = ask.address.rsplit_once(':').map_or(ask.address.as_str(), |(host, _)| host);
    let stream = tls::handshake(stream, host, ask.skip_verify, &[b"h2"]).await;
    call(ask, stream.map_err(|reason| unavailable(&reason))?, "https").await
}

async fn call<S>(ask: &Ask, stream: S, scheme: &str) -> Result<bool, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(16 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unavailable(&error))?;
    // The set ends the connection when this function ends, on its timeout too.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::post(format!("{scheme}://{}/grpc.health.v1.Health/Check", ask.address))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(question(&ask.service)))
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let response = sender.send_request(request).await.map_err(|error| unavailable(&error))?;
    answer(response).await
}

async fn answer(response: Response<Incoming>) -> Result<bool, String> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        return Err(unavailable(&format!("unexpected HTTP status {}", head.status)));
    }
    // An answer that is an error alone carries the status in its head.
    refusal(&head.headers)?;
    let body = Limited::new(body, OUTPUT_LIMIT).collect().await.map_err(|error| unavailable(&error))?;
    if let Some(trailers) = body.trailers() {
        refusal(trailers)?;
    }
    Ok(serving(&body.to_bytes()))
}

fn unavailable(reason: &dyn std::fmt::Display) -> String {
    format!("rpc error: code = Unavailable desc = {reason}")
}

fn refusal(headers: &HeaderMap) -> Result<(), String> {
    let Some(code) = headers.get("grpc-status").filter(|code| code.as_bytes() != b"0") else { return Ok(()) };
    let message = headers.get("grpc-message").map(|message| String::from_utf8_lossy(message.as_bytes()));
    let name =
        code.to_str().ok().and_then(|code| code.parse::<usize>().ok()).and_then(|code| CODES.get(code));
    let name = name.copied().unwrap_or("Unknown");
    Err(format!("rpc error: code = {name} desc = {}", message.unwrap_or_default()))
}

/// The names of gRPC's status codes by number (grpc.io/docs/guides/status-codes).
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// `HealthCheckRequest { string service = 1; }` with gRPC's frame around it: a byte "not compressed" and the length.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Whether `HealthCheckResponse { ServingStatus status = 1; }` says SERVING. A compressed answer was not offered, so it
/// is no answer; unknown fields that are numbers are skipped, anything else is not of this message.
fn serving(frame: &[u8]) -> bool {
    let Some((&[0, _, _, _, _], mut message)) = frame.split_first_chunk::<5>() else { return false };
    let mut status = 0;
    while let Some(tag) = take_varint(&mut message) {
        if tag & 7 != 0 {
            return false;
        }
        match take_varint(&mut message) {
            Some(value) if tag == 0x08 => status = value,
            Some(_) => {}
            None => return false,
        }
    }
    status == SERVING
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_framed_with_the_service_as_field_one() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("web")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'w', b'e', b'b']);
    }

    #[test]
    fn only_the_status_serving_is_healthy() {
        assert!(serving(&[0, 0, 0, 0, 2, 0x08, 1]));
        assert!(serving(&[0, 0, 0, 0, 4, 0x10, 9, 0x08, 1]), "an unknown number is skipped");
        assert!(!serving(&[0, 0, 0, 0, 2, 0x08, 2]), "NOT_SERVING");
        assert!(!serving(&[0, 0, 0, 0, 0]), "no field is UNKNOWN");
        assert!(!serving(&[1, 0, 0, 0, 2, 0x08, 1]), "compressed");
        assert!(!serving(&[0, 0, 0, 0, 2, 0x08]), "cut off");
        assert!(!serving(&[0, 0, 0]), "no frame");
        assert!(!serving(&[
            0, 0, 0, 0, 11, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88
        ]));
    }
}
