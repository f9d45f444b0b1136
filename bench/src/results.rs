//! The figures of all rounds, and how they are combined: medians, and ratios within a round.
//! Measures nothing and prints nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::proxy::Kind;

/// One kind of figure; the name says its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// CPU time of all the proxy's processes per request.
    CpuMicros,
    /// The part of it spent outside the kernel.
    UserMicros,
    RequestsPerSecond,
    P50Micros,
    P99Micros,
    /// How busy the proxy's core was.
    CorePercent,
    /// Memory per idle keep-alive connection.
    IdleBytes,
    /// Memory before the connections came.
    BaseBytes,
    /// From the signal until a new connection is served by the new configuration: median, and worst.
    ReloadMillis,
    WorstReloadMillis,
    Requests,
    FailedRequests,
    LostWebsockets,
}

/// The figures of one proxy in one round of one case.
pub(crate) type Sample = BTreeMap<Metric, f64>;

/// Everything that was measured, and what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<(&'static str, Kind), BTreeMap<usize, Sample>>,
    /// Measurements that could not be made and replies that were wrong.
    pub(crate) problems: Vec<String>,
    /// What a reader should know beside the figures.
    pub(crate) notes: Vec<String>,
}

/// A median with the smallest and the largest round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// One line of the machine-readable output.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    case: &'static str,
    proxy: Kind,
    round: usize,
    figures: &'a Sample,
}

impl Results {
    pub(crate) fn insert(&mut self, case: &'static str, kind: Kind, round: usize, sample: Sample) {
        self.samples.entry((case, kind)).or_default().insert(round, sample);
    }

    /// Median over the rounds; `None` when nothing was measured.
    pub(crate) fn median(&self, case: &'static str, kind: Kind, metric: Metric) -> Option<f64> {
        let rounds = self.samples.get(&(case, kind))?;
        let values = rounds.values().filter_map(|sample| sample.get(&metric).copied());
        spread(values.collect()).map(|spread| spread.median)
    }

    /// The proxy's figure divided by nginx's of the same round, over the rounds that both have.
    pub(crate) fn ratio(&self, case: &'static str, kind: Kind, metric: Metric) -> Option<Spread> {
        let base = self.samples.get(&(case, Kind::Nginx))?;
        let rounds = self.samples.get(&(case, kind))?;
        let ratios = rounds.iter().filter_map(|(round, sample)| {
            let nginx = base.get(round)?.get(&metric)?;
            let own = sample.get(&metric)?;
            (*nginx > 0.0).then(|| own / nginx)
        });
        spread(ratios.collect())
    }

    pub(crate) fn records(&self) -> Vec<Record<'_>> {
        self.samples
            .iter()
            .flat_map(|((case, proxy), rounds)| {
                rounds.iter().map(|(round, figures)| Record { case, proxy: *proxy, round: *round, figures })
            })
            .collect()
    }
}

/// Median, least and most; `None` without values.
pub(crate) fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    };
    Some(Spread { median, least, most })
}

/// The value that `percent` of the sorted values do not exceed (nearest rank).
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_pair_the_rounds_that_both_have() {
        let mut results = Results::default();
        for (round, nginx, weir) in [(0, 8.0, Some(6.0)), (1, 20.0, None), (2, 8.0, Some(4.0))] {
            let sample = |value| Sample::from([(Metric::CpuMicros, value)]);
            results.insert("small-64", Kind::Nginx, round, sample(nginx));
            if let Some(weir) = weir {
                results.insert("small-64", Kind::Weir, round, sample(weir));
            }
        }
        let ratio = results.ratio("small-64", Kind::Weir, Metric::CpuMicros);
        assert_eq!(ratio, Some(Spread { median: 0.625, least: 0.5, most: 0.75 }));
        assert_eq!(results.median("small-64", Kind::Nginx, Metric::CpuMicros), Some(8.0));
        assert_eq!(results.ratio("small-64", Kind::Haproxy, Metric::CpuMicros), None);
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values[..1], 99.0), Some(1.0));
        assert_eq!(percentile(&[], 99.0), None);
    }
}
