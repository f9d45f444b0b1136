//! How peers and upstreams are shown.

use std::sync::Arc;

use weir_balance::{Bars, PeerState};
use weir_model::{Check, Method};

use crate::record::{Cause, From, Record, Seat, Verdict};
use crate::slot::kind;
use crate::upstream::Upstream;
use crate::{Answers, Bucket, By, CheckStatus, Latency, Now, PeerStatus, State, UpstreamStatus};

impl By {
    /// Absent: there is no such check any more.
    pub(crate) fn check(index: usize, checks: &[Arc<Check>]) -> Option<By> {
        let kind = checks.get(index)?.probe.name().to_owned();
        Some(By::Check { index, kind })
    }
}

impl Record {
    /// Who stands behind a cause.
    pub(crate) fn by(&self, cause: Cause, checks: &[Arc<Check>]) -> Option<By> {
        match cause {
            Cause::Nobody => None,
            Cause::Configuration => Some(By::Configuration),
            Cause::Operator => self.order.as_ref().map(|order| By::Operator(order.who.clone())),
            Cause::Source(withdrawn) => Some(By::Source(withdrawn.kind.to_owned())),
            Cause::Check(index) | Cause::Awaited(index) => By::check(index, checks),
        }
    }

    /// Why the peer is in its state.
    pub(crate) fn reason(&self) -> String {
        match self.cause {
            Cause::Nobody => String::new(),
            Cause::Configuration => format!("`{}` in its server line", self.word()),
            Cause::Operator => self.order.as_ref().map_or_else(String::new, |order| order.reason.clone()),
            Cause::Source(withdrawn) => withdrawn.why.to_owned(),
            Cause::Check(index) => {
                self.verdicts.get(index).map_or_else(String::new, |verdict| verdict.reason.to_string())
            }
            Cause::Awaited(_) => "no result yet".to_owned(),
        }
    }

    fn word(&self) -> &'static str {
        if self.state == State::Down { "down" } else { "drain" }
    }

    fn sources(&self, upstream: &Upstream) -> Vec<String> {
        let lines = (From::Configuration.bit() & self.named != 0).then(|| "configuration".to_owned());
        let lists = upstream.sources.iter().enumerate().filter_map(|(index, slot)| {
            let kind = kind(&slot.source.origin);
            let named = From::Source { index, kind }.bit() & self.named != 0;
            named.then(|| kind.to_owned())
        });
        lines.into_iter().chain(lists).collect()
    }
}

impl Seat {
    /// Whether failed requests keep the peer out.
    fn is_ejected(&self, now: Now) -> bool {
        if self.state.bars().has(Bars::EJECTED) {
            return true;
        }
        self.spec.is_disabled(&self.state, now.mono)
    }

    fn status(&self, record: &Record, upstream: &Upstream, now: Now) -> PeerStatus {
        let checks = &upstream.checks;
        let ejected = record.state == State::Up && self.is_ejected(now);
        let (state, since, by, reason) = if ejected {
            let (fails, rest) = (self.state.fails(), self.spec.fail_timeout);
            let reason = format!("{fails} failed requests; tried again {rest} ms after the last");
            (State::Ejected, None, Some(By::Requests), reason)
        } else {
            (record.state, Some(record.since), record.by(record.cause, checks), record.reason())
        };
        let check =
            |(check, verdict): (&Arc<Check>, &Verdict)| check_status(check, verdict, self.state.as_ref());
        PeerStatus {
            address: self.spec.name.clone(),
            server: self.spec.server.clone(),
            weight: self.spec.weight,
            own_weight: (self.own_weight != self.spec.weight).then_some(self.own_weight),
            percent: Some(record.percent(self)).filter(|percent| *percent < 100),
            share: Some(self.spec.share).filter(|share| *share < 100 && record.state == State::Up),
            backup: self.spec.backup,
            state,
            since,
            by,
            reason,
            expires: record.order.as_ref().and_then(|order| order.expires),
            active: self.state.conns(),
            requests: self.state.requests(),
            failures: self.state.failures(),
            upgraded: self.state.upgraded(),
            answers: answers(&self.state),
            connect_errors: self.state.connect_errors(),
            timeouts: self.state.timeouts(),
            latency: latency(&self.state),
            checks: checks.iter().zip(&record.verdicts).map(check).collect(),
            sources: record.sources(upstream),
        }
    }
}

fn answers(state: &PeerState) -> Answers {
    let [informational, successful, redirection, client_error, server_error] = state.answers();
    Answers { informational, successful, redirection, client_error, server_error }
}

fn latency(state: &PeerState) -> Option<Latency> {
    let latency = state.latency();
    let bucket = |bucket: &weir_balance::Bucket| Bucket { up_to_us: bucket.up_to_us, count: bucket.count };
    Some(Latency {
        p50_us: latency.percentile(50)?,
        p90_us: latency.percentile(90)?,
        p99_us: latency.percentile(99)?,
        sum_us: latency.sum_us,
        buckets: latency.buckets.iter().map(bucket).collect(),
    })
}

fn check_status(check: &Check, verdict: &Verdict, state: &PeerState) -> CheckStatus {
    CheckStatus {
        kind: check.probe.name().to_owned(),
        passed: verdict.passed,
        rise: state.rise(),
        fall: state.fall(),
        reason: verdict.reason.to_string(),
        since: verdict.passed.map(|_| verdict.since),
    }
}

impl Upstream {
    pub(crate) fn status(&self, now: Now) -> UpstreamStatus {
        let seats = self.roster.iter().flat_map(|record| record.seats().map(move |seat| (record, seat)));
        UpstreamStatus {
            name: self.name.clone(),
            method: words(&self.method).to_owned(),
            change: self.change,
            sources: self.sources.iter().map(|slot| slot.status(now)).collect(),
            peers: seats.map(|(record, seat)| seat.status(record, self, now)).collect(),
            panic: self.is_panicking(),
        }
    }
}

/// The directive that chooses a method, with its words.
const fn words(method: &Method) -> &'static str {
    match method {
        Method::RoundRobin => "round_robin",
        Method::LeastConn => "least_conn",
        Method::IpHash => "ip_hash",
        Method::Hash { consistent: false, .. } => "hash",
        Method::Hash { consistent: true, .. } => "hash consistent",
        Method::Random { two: false } => "random",
        Method::Random { two: true } => "random two",
        Method::LeastTime { last_byte: false, .. } => "least_time header",
        Method::LeastTime { last_byte: true, .. } => "least_time last_byte",
    }
}
