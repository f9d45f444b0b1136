//! The figures that Weir sets itself, and whether a run met them. A missed one is reported, never an
//! error.

use serde::Serialize;

use crate::proxy::Kind;
use crate::results::{Metric, Results};
use crate::{cases, idle, reload};

/// One limit for Weir.
pub(crate) struct Target {
    title: &'static str,
    case: &'static str,
    metric: Metric,
    /// The limit holds for the ratio to nginx in the same run, not for the figure itself.
    ratio: bool,
    limit: f64,
}

/// In the order of the report.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        title: "CPU per small request, 64 connections, access log on",
        case: "small-64",
        metric: Metric::CpuMicros,
        ratio: true,
        limit: 0.95,
    },
    Target {
        title: "CPU per 16 KiB body",
        case: "body-16k",
        metric: Metric::CpuMicros,
        ratio: true,
        limit: 0.90,
    },
    Target {
        title: "CPU per 1 MiB body",
        case: "body-1m",
        metric: Metric::CpuMicros,
        ratio: true,
        limit: 0.75,
    },
    Target {
        title: "CPU per request on a new connection",
        case: "new-connection",
        metric: Metric::CpuMicros,
        ratio: true,
        limit: 1.0,
    },
    Target {
        title: "p99 at equal load",
        case: cases::LATENCY,
        metric: Metric::P99Micros,
        ratio: true,
        limit: 1.0,
    },
    Target {
        title: "bytes per idle keep-alive connection",
        case: idle::NAME,
        metric: Metric::IdleBytes,
        ratio: false,
        limit: 2048.0,
    },
    Target {
        title: "failed requests over 20 reloads",
        case: reload::NAME,
        metric: Metric::FailedRequests,
        ratio: false,
        limit: 0.0,
    },
    Target {
        title: "WebSockets lost over 20 reloads",
        case: reload::NAME,
        metric: Metric::LostWebsockets,
        ratio: false,
        limit: 0.0,
    },
];

/// What a run says about a target.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) title: &'static str,
    pub(crate) ratio: bool,
    pub(crate) limit: f64,
    /// `None` when it was not measured.
    pub(crate) value: Option<f64>,
    pub(crate) met: Option<bool>,
}

/// All targets against `results`.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    TARGETS
        .iter()
        .map(|target| {
            let value = if target.ratio {
                results.ratio(target.case, Kind::Weir, target.metric).map(|ratio| ratio.median)
            } else {
                results.median(target.case, Kind::Weir, target.metric)
            };
            Verdict {
                title: target.title,
                ratio: target.ratio,
                limit: target.limit,
                value,
                met: value.map(|value| value <= target.limit),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;

    #[test]
    fn met_missed_and_not_measured() {
        let mut results = Results::default();
        let sample = |metric, value| Sample::from([(metric, value)]);
        results.insert("small-64", Kind::Nginx, 0, sample(Metric::CpuMicros, 10.0));
        results.insert("small-64", Kind::Weir, 0, sample(Metric::CpuMicros, 9.0));
        results.insert(idle::NAME, Kind::Weir, 0, sample(Metric::IdleBytes, 4096.0));
        let met: Vec<Option<bool>> = judge(&results).iter().map(|verdict| verdict.met).collect();
        assert_eq!(met[0], Some(true));
        assert_eq!(met[1], None);
        assert_eq!(met[5], Some(false));
    }
}
