//! `limit_rate`: how much of an answer may leave by now.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use weir_http::Request;
use weir_http::evaluate::size;
use weir_log::clock;
use weir_model::{Level, Template};

use crate::deadline;
use crate::exchange::Exchange;
use crate::respond::{self, Gone};

/// The budget of one answer: `after` bytes at once, then `rate` bytes for each second since the request began,
/// the first second in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Throttle {
    /// Bytes a second; not 0.
    rate: u64,
    /// Bytes that cost nothing.
    after: u64,
    /// Monotonic milliseconds of the request's start.
    started: u64,
}

/// What a throttle says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// So many bytes may leave now; at least one.
    Bytes(u64),
    /// Ask again after this time.
    Wait(Duration),
}

/// A throttled answer leaves in at most so many pieces a second, unless that makes pieces larger than `PIECE`.
const PIECES: u64 = 8;
const PIECE: u64 = 64 * 1024;
/// Milliseconds of the longest wait.
const LONGEST: u64 = 3_600_000;

impl Throttle {
    /// Asks how much of `wanted` bytes may leave after `sent` bytes did. `now` is in monotonic milliseconds.
    pub(crate) fn allowed(&self, now: u64, sent: u64, wanted: u64) -> Allowed {
        let elapsed = u128::from(now.saturating_sub(self.started)) + 1000;
        let earned = u128::from(self.rate).saturating_mul(elapsed) / 1000;
        let budget = (u128::from(self.after) + earned).saturating_sub(u128::from(sent));
        // Less than this is not worth a system call, unless it is all that is left.
        let least = u128::from((self.rate / PIECES).clamp(1, PIECE).min(wanted.max(1)));
        if budget >= least {
            let bytes = u64::try_from(budget).unwrap_or(u64::MAX).min(wanted.max(1));
            return Allowed::Bytes(bytes);
        }
        let missing = u128::from(sent) + least - u128::from(self.after) - earned;
        let wait = missing.saturating_mul(1000).div_ceil(u128::from(self.rate));
        // Whoever waited asks again, so an absurd time can be cut.
        Allowed::Wait(Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX).clamp(1, LONGEST)))
    }

    /// The throttle of an exchange; `None` when its answer is not limited, which costs two checks.
    pub(crate) fn of(exchange: &mut Exchange<'_>) -> Option<Self> {
        let live = exchange.live();
        let settings = &live.site().place(exchange.request.location).settings.client;
        if exchange.request.limit_rate.is_none() && settings.limit_rate.0.is_empty() {
            return None;
        }
        let rate = match exchange.request.limit_rate {
            Some(rate) => rate,
            None => {
                let rate = expanded(exchange, &settings.limit_rate);
                size_or_none(exchange, &rate)
            }
        };
        // What holds now holds to the end, and `$limit_rate` shows it.
        exchange.request.limit_rate = Some(rate);
        if rate == 0 {
            return None;
        }
        let after = expanded(exchange, &settings.limit_rate_after);
        let after = size_or_none(exchange, &after);
        Some(Self { rate, after, started: exchange.request.started })
    }

    /// The throttle of what is read from a peer (`proxy_limit_rate`), from now on.
    pub(crate) fn of_intake(exchange: &mut Exchange<'_>, limit: &Template) -> Option<Self> {
        if limit.0.is_empty() {
            return None;
        }
        let rate = expanded(exchange, limit);
        let rate = size_or_none(exchange, &rate);
        (rate > 0).then(|| Self { rate, after: 0, started: clock::mono_ms() })
    }

    /// Waits until some of `wanted` bytes may leave and says how many, unless the client leaves first.
    pub(crate) async fn pass(&self, exchange: &mut Exchange<'_>, wanted: u64) -> Result<u64, Gone> {
        let mut now = clock::mono_ms();
        loop {
            match self.allowed(now, exchange.request.sent, wanted) {
                Allowed::Bytes(count) => return Ok(count),
                Allowed::Wait(time) => {
                    let until = deadline::now() + time;
                    let gone = poll_fn(|cx| {
                        if exchange.client_gone(cx) {
                            return Poll::Ready(true);
                        }
                        exchange.client.deadline.poll(cx, until).map(|()| false)
                    });
                    if gone.await {
                        exchange.keep = false;
                        exchange.log(
                            Level::Info,
                            format_args!("client closed connection while sending to client"),
                        );
                        return Err(Gone);
                    }
                    // A busy loop may not have looked at the clock meanwhile.
                    now = clock::tick().mono_ms;
                }
            }
        }
    }
}

/// Writes bytes that are ready for the wire, no faster than the throttle allows.
pub(crate) async fn write(
    exchange: &mut Exchange<'_>,
    throttle: Option<&Throttle>,
    mut bytes: &[u8],
) -> Result<(), Gone> {
    let Some(throttle) = throttle else { return respond::write(exchange, bytes).await };
    while !bytes.is_empty() {
        let count = throttle.pass(exchange, bytes.len() as u64).await?;
        let (now, later) = bytes.split_at(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()));
        respond::write(exchange, now).await?;
        bytes = later;
    }
    Ok(())
}

fn expanded(exchange: &mut Exchange<'_>, template: &Template) -> Vec<u8> {
    exchange.evaluate(|request: &mut Request, scope, _| request.expanded(scope, template))
}

/// An empty or wrong size limits nothing.
fn size_or_none(exchange: &Exchange<'_>, text: &[u8]) -> u64 {
    if text.is_empty() {
        return 0;
    }
    size(text).unwrap_or_else(|| {
        exchange.log(Level::Error, format_args!("invalid size \"{}\"", String::from_utf8_lossy(text)));
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Throttle = Throttle { rate: 1000, after: 200, started: 5000 };

    #[test]
    fn the_first_second_is_given_in_advance() {
        assert_eq!(T.allowed(5000, 0, 5000), Allowed::Bytes(1200));
        assert_eq!(T.allowed(5000, 0, 700), Allowed::Bytes(700));
    }

    #[test]
    fn a_spent_budget_waits_for_a_piece() {
        assert_eq!(T.allowed(5000, 1200, 5000), Allowed::Wait(Duration::from_millis(125)));
        assert_eq!(T.allowed(5125, 1200, 5000), Allowed::Bytes(125));
        assert_eq!(T.allowed(5100, 1200, 5000), Allowed::Wait(Duration::from_millis(25)));
    }

    #[test]
    fn the_last_bytes_do_not_wait_for_a_whole_piece() {
        assert_eq!(T.allowed(5000, 1200, 10), Allowed::Wait(Duration::from_millis(10)));
        assert_eq!(T.allowed(5010, 1200, 10), Allowed::Bytes(10));
    }

    #[test]
    fn following_the_waits_sends_at_the_rate() {
        let (mut now, mut sent) = (5000, 0);
        let total = 12_200;
        while sent < total {
            match T.allowed(now, sent, total - sent) {
                Allowed::Bytes(count) => sent += count,
                Allowed::Wait(time) => now += u64::try_from(time.as_millis()).expect("short"),
            }
        }
        assert_eq!(now, 5000 + 11_000);
    }

    #[test]
    fn huge_rates_and_times_do_not_overflow() {
        let throttle = Throttle { rate: u64::MAX, after: u64::MAX, started: 0 };
        assert_eq!(throttle.allowed(u64::MAX, 0, u64::MAX), Allowed::Bytes(u64::MAX));
        let slow = Throttle { rate: 1, after: 0, started: 0 };
        assert_eq!(slow.allowed(0, u64::MAX, 1), Allowed::Wait(Duration::from_millis(LONGEST)));
    }
}
