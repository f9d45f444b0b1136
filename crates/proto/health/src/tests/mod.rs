//! Answers and their verdicts, in any cut; the schedule in virtual time.

mod answers;
mod cuts;
mod schedule;

use weir_model::check::{Bytes, Match, StatusClasses};
use weir_model::{Check, Millis, Probe};

use crate::{Exchange, Plan, Progress, Verdict};

pub(crate) fn check(probe: Probe, keepalive_requests: u32) -> Check {
    Check {
        probe,
        interval: Millis(1000),
        jitter: Millis(0),
        timeout: Millis(1000),
        rise: 2,
        fall: 3,
        default_down: true,
        persistent: false,
        port: 0,
        keepalive_requests,
    }
}

pub(crate) fn plan(probe: Probe, keepalive_requests: u32) -> Plan {
    Plan::new(&check(probe, keepalive_requests), "backend").expect("the check is valid")
}

pub(crate) fn http() -> Probe {
    Probe::Http { send: Bytes(b"GET / HTTP/1.0\r\n\r\n".to_vec()), expect: StatusClasses::DEFAULT }
}

pub(crate) fn request(expect: Option<Match>) -> Probe {
    Probe::Request { head: Bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()), expect }
}

/// The end of a talk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Judged {
        verdict: Verdict,
        reusable: bool,
    },
    /// The verdict that the peer's close leads to.
    Closed(Verdict),
}

impl End {
    pub(crate) fn words(&self) -> String {
        let (verdict, suffix) = match self {
            Self::Judged { verdict, reusable: true } => (verdict, ", reusable"),
            Self::Judged { verdict, reusable: false } => (verdict, ""),
            Self::Closed(verdict) => (verdict, ", at close"),
        };
        format!("{}: {}{suffix}", if verdict.passed { "passed" } else { "failed" }, verdict.reason)
    }
}

/// A fresh probe that gets `pieces` and then the close.
pub(crate) fn talk<'a>(plan: &Plan, pieces: impl IntoIterator<Item = &'a [u8]>) -> End {
    let mut exchange = Exchange::default();
    exchange.begin(plan, true);
    send_all(&mut exchange, plan);
    for piece in pieces {
        if let Progress::Done { verdict, reusable } = exchange.receive(plan, piece) {
            return End::Judged { verdict, reusable };
        }
        send_all(&mut exchange, plan);
    }
    End::Closed(exchange.close(plan))
}

pub(crate) fn send_all(exchange: &mut Exchange, plan: &Plan) -> Vec<u8> {
    let bytes = exchange.unsent(plan).to_vec();
    exchange.sent(bytes.len());
    bytes
}

/// One frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One record of FastCGI.
pub(crate) fn record(kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    let padding_byte = u8::try_from(padding).expect("short");
    [&[1, kind, 0, 1], &length[..], &[padding_byte, 0], content, &vec![0; padding]].concat()
}
