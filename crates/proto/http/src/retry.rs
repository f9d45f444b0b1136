//! When a request may go to another peer (nginx document "proxy_next_upstream").

use weir_model::NextUpstream;

/// What went wrong with a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Connecting, sending or reading the head failed.
    Error,
    Timeout,
    /// The peer answered something that is no HTTP head.
    InvalidHeader,
    /// The peer answered with this status.
    Status(u16),
}

/// The state of a request when a try has failed.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// Tries that are left, without the failed one.
    pub tries_left: u32,
    /// Milliseconds since the first try, and the limit (0: none).
    pub elapsed: u64,
    pub timeout: u64,
    /// POST, LOCK or PATCH: repeating it may do its work twice.
    pub non_idempotent: bool,
    /// Bytes of the request have been sent to the peer.
    pub request_sent: bool,
    /// Bytes of a body that cannot be sent again have left.
    pub body_spent: bool,
}

/// Whether a failed try may be repeated on another peer. The caller has sent nothing to the client yet.
#[must_use]
pub fn may_retry(policy: &NextUpstream, event: Event, situation: &Situation) -> bool {
    let wanted = match event {
        Event::Error => policy.error,
        Event::Timeout => policy.timeout,
        Event::InvalidHeader => policy.invalid_header,
        Event::Status(status) => policy.status(status),
    };
    wanted
        && situation.tries_left > 0
        && !situation.body_spent
        && !(situation.request_sent && situation.non_idempotent && !policy.non_idempotent)
        && (situation.timeout == 0 || situation.elapsed < situation.timeout)
}

/// The status for the client when no try is left.
#[must_use]
pub fn final_status(event: Event) -> u16 {
    match event {
        Event::Error | Event::InvalidHeader => 502,
        Event::Timeout => 504,
        Event::Status(status) => status,
    }
}

/// Whether repeating a method could do its work twice (nginx counts POST, LOCK and PATCH).
#[must_use]
pub fn is_non_idempotent(method: &[u8]) -> bool {
    matches!(method, b"POST" | b"LOCK" | b"PATCH")
}
