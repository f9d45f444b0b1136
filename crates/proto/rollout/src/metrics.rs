//! What clients got from a server, and whether a new one is worse than the others.

use serde::{Deserialize, Serialize};

use crate::plan::Watch;
use crate::view::PeerState;

/// So much of the answers came faster than the latency that is compared.
const QUANTILE: f64 = 0.95;

/// One reading: counters since some moment that only the proxies know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    pub server: Counters,
    /// The sum over the others.
    pub others: Counters,
    /// How the proxies see the server now; absent: unknown.
    pub state: Option<PeerState>,
}

/// Counters that only grow, until a proxy starts anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Answers of any status.
    pub requests: u64,
    /// Answers 5xx, and answers that did not come in time.
    pub errors: u64,
    pub connect_errors: u64,
    /// Times to an answer, the shortest first; the same bounds in each reading.
    pub latency: Vec<Bucket>,
}

/// Answers that took at most so long, and longer than the bucket before allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub up_to_us: u64,
    pub count: u64,
}

impl Counters {
    /// What came since an earlier reading. A proxy that started anew counts from 0 again: then everything is new.
    fn since(&self, earlier: &Self) -> Self {
        let anew = self.requests < earlier.requests || self.connect_errors < earlier.connect_errors;
        let nothing = Self::default();
        let earlier = if anew { &nothing } else { earlier };
        let before = |up_to_us: u64| {
            earlier.latency.iter().find(|bucket| bucket.up_to_us == up_to_us).map_or(0, |bucket| bucket.count)
        };
        let newer = |bucket: &Bucket| Bucket {
            up_to_us: bucket.up_to_us,
            count: bucket.count.saturating_sub(before(bucket.up_to_us)),
        };
        Self {
            requests: self.requests - earlier.requests,
            errors: self.errors.saturating_sub(earlier.errors),
            connect_errors: self.connect_errors.saturating_sub(earlier.connect_errors),
            latency: self.latency.iter().map(newer).collect(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn error_ratio(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// The bound of the bucket that the quantile falls into, microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a quantile of a histogram")]
    fn quantile(&self) -> Option<u64> {
        let total: u64 = self.latency.iter().map(|bucket| bucket.count).sum();
        let mut seen = 0;
        self.latency
            .iter()
            .find(|bucket| {
                seen += bucket.count;
                seen > 0 && seen as f64 >= total as f64 * QUANTILE
            })
            .map(|bucket| bucket.up_to_us)
    }
}

impl Watch {
    /// Whether the server is no worse than it may be, by what came between two readings.
    ///
    /// # Errors
    /// What was found and what was allowed.
    pub(crate) fn judge(&self, before: &Metrics, now: &Metrics) -> Result<(), String> {
        if let Some(state) = now.state.filter(|state| matches!(state, PeerState::Failed | PeerState::Ejected))
        {
            return Err(format!("the proxies see it as {state}"));
        }
        let server = now.server.since(&before.server);
        if server.connect_errors > self.max_connect_errors {
            return Err(format!(
                "{} connections to it failed, at most {} may",
                server.connect_errors, self.max_connect_errors
            ));
        }
        if server.requests < self.min_requests.max(1) {
            return Ok(());
        }
        let others = now.others.since(&before.others);
        let (ratio, allowed) = (server.error_ratio(), others.error_ratio() + self.max_error_ratio);
        if ratio > allowed {
            return Err(format!(
                "{} of {} answers were errors ({:.1} %), {:.1} % are allowed ({:.1} % of the others)",
                server.errors,
                server.requests,
                ratio * 100.0,
                allowed * 100.0,
                others.error_ratio() * 100.0
            ));
        }
        self.judge_latency(&server, &others)
    }

    /// The answers that came, where they are too few to be compared.
    pub(crate) fn too_few(&self, before: &Metrics, now: &Metrics) -> Option<u64> {
        let requests = now.server.since(&before.server).requests;
        (requests < self.min_requests.max(1)).then_some(requests)
    }

    #[expect(clippy::cast_precision_loss, reason = "a factor of two latencies")]
    fn judge_latency(&self, server: &Counters, others: &Counters) -> Result<(), String> {
        let Some(factor) = self.latency_factor else { return Ok(()) };
        // Few answers of the others say as little as few of the server.
        if others.requests < self.min_requests.max(1) {
            return Ok(());
        }
        match (server.quantile(), others.quantile()) {
            (Some(found), Some(usual)) if found as f64 > usual as f64 * factor => Err(format!(
                "95 % of its answers took up to {found} us, of the others up to {usual} us; {factor} times that is allowed"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(requests: u64, errors: u64, connect_errors: u64, slow: u64) -> Counters {
        let latency = vec![
            Bucket { up_to_us: 1_000, count: requests - slow },
            Bucket { up_to_us: 64_000, count: slow },
        ];
        Counters { requests, errors, connect_errors, latency }
    }

    fn reading(server: Counters, others: Counters) -> Metrics {
        Metrics { server, others, state: Some(PeerState::Up) }
    }

    fn judge(watch: &Watch, server: Counters, others: Counters) -> Result<(), String> {
        let before = reading(counters(1_000, 900, 40, 900), counters(1_000, 0, 0, 0));
        let add = |a: &Counters, b: &Counters| Counters {
            requests: a.requests + b.requests,
            errors: a.errors + b.errors,
            connect_errors: a.connect_errors + b.connect_errors,
            latency: a
                .latency
                .iter()
                .zip(&b.latency)
                .map(|(a, b)| Bucket { up_to_us: a.up_to_us, count: a.count + b.count })
                .collect(),
        };
        watch.judge(&before, &reading(add(&before.server, &server), add(&before.others, &others)))
    }

    #[test]
    fn only_what_came_within_the_window_counts() {
        assert_eq!(judge(&Watch::default(), counters(100, 0, 0, 0), counters(500, 0, 0, 0)), Ok(()));
    }

    #[test]
    fn errors_above_those_of_the_others() {
        let watch = Watch::default();
        assert_eq!(
            judge(&watch, counters(100, 20, 0, 0), counters(400, 40, 0, 0)),
            Err("20 of 100 answers were errors (20.0 %), 15.0 % are allowed (10.0 % of the others)"
                .to_owned())
        );
        assert_eq!(judge(&watch, counters(100, 20, 0, 0), counters(400, 80, 0, 0)), Ok(()), "all are ill");
        assert_eq!(judge(&watch, counters(49, 49, 0, 0), counters(400, 0, 0, 0)), Ok(()), "too few");
    }

    #[test]
    fn refused_connections_count_without_answers() {
        assert_eq!(
            judge(&Watch::default(), counters(0, 0, 3, 0), counters(0, 0, 0, 0)),
            Err("3 connections to it failed, at most 0 may".to_owned())
        );
    }

    #[test]
    fn latency_is_compared_by_quantile() {
        let watch = Watch { latency_factor: Some(4.0), ..Watch::default() };
        assert_eq!(
            judge(&watch, counters(100, 0, 0, 10), counters(400, 0, 0, 0)),
            Err("95 % of its answers took up to 64000 us, of the others up to 1000 us; 4 times that is allowed".to_owned())
        );
        assert_eq!(judge(&watch, counters(100, 0, 0, 4), counters(400, 0, 0, 0)), Ok(()));
        assert_eq!(judge(&watch, counters(100, 0, 0, 10), counters(49, 0, 0, 0)), Ok(()), "no yardstick");
    }

    #[test]
    fn a_proxy_that_started_anew_counts_from_nothing() {
        let before = reading(counters(1_000, 0, 0, 0), counters(1_000, 0, 0, 0));
        let now = reading(counters(100, 90, 0, 0), counters(100, 0, 0, 0));
        assert!(Watch::default().judge(&before, &now).is_err());
    }

    #[test]
    fn what_the_proxies_see_counts() {
        let before = Metrics::default();
        let now = Metrics { state: Some(PeerState::Failed), ..Metrics::default() };
        assert_eq!(Watch::default().judge(&before, &now), Err("the proxies see it as failed".to_owned()));
    }
}
