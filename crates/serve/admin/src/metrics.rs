//! The states of peers as Prometheus reads them: text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use std::collections::HashMap;
use std::fmt::{Display, Write as _};

use weir_directory::{Latency, PeerStatus, SourceStatus, State, UpstreamStatus};

/// The `Content-Type` of [`metrics`].
pub const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// All upstreams in the text format. A second member of one address (two equal `server` lines) is `ADDRESS#2`.
#[must_use]
pub fn metrics(upstreams: &[UpstreamStatus]) -> String {
    let mut text = String::new();
    for upstream in OF_UPSTREAM {
        upstream.begin(&mut text);
        for status in upstreams {
            (upstream.write)(
                &mut Lines::new(&mut text, upstream.name, &[("upstream", &status.name)]),
                status,
            );
        }
    }
    for source in OF_SOURCE {
        source.begin(&mut text);
        for status in upstreams {
            for (place, found) in status.sources.iter().enumerate() {
                let place = place.to_string();
                let labels = [
                    ("upstream", status.name.as_str()),
                    ("source", &place),
                    ("kind", &found.kind),
                    ("endpoint", &found.endpoint),
                ];
                (source.write)(&mut Lines::new(&mut text, source.name, &labels), found);
            }
        }
    }
    let names: Vec<Vec<String>> = upstreams.iter().map(names).collect();
    for peer in OF_PEER {
        peer.begin(&mut text);
        for (status, names) in upstreams.iter().zip(&names) {
            for (found, name) in status.peers.iter().zip(names) {
                let labels = [("upstream", status.name.as_str()), ("peer", name)];
                (peer.write)(&mut Lines::new(&mut text, peer.name, &labels), found);
            }
        }
    }
    text
}

/// A name of its own for each member.
fn names(upstream: &UpstreamStatus) -> Vec<String> {
    let mut met: HashMap<&str, u32> = HashMap::with_capacity(upstream.peers.len());
    let mut names = Vec::with_capacity(upstream.peers.len());
    for PeerStatus { address, .. } in &upstream.peers {
        let count = met.entry(address).or_default();
        *count += 1;
        names.push(if *count == 1 { address.clone() } else { format!("{address}#{count}") });
    }
    names
}

/// A metric of each `T`.
struct Family<T> {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    write: fn(&mut Lines<'_>, &T),
}

impl<T> Family<T> {
    fn begin(&self, text: &mut String) {
        let Self { name, kind, help, .. } = self;
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }
}

const OF_UPSTREAM: &[Family<UpstreamStatus>] = &[
    Family {
        name: "weir_upstream_panic",
        kind: "gauge",
        help: "1 while checks failed every peer that nobody took out, so that all of them serve.",
        write: |lines, upstream| lines.put(&[], u8::from(upstream.panic)),
    },
    Family {
        name: "weir_upstream_change",
        kind: "gauge",
        help: "Number of the change that the peers came with.",
        write: |lines, upstream| lines.put(&[], upstream.change),
    },
];

const OF_SOURCE: &[Family<SourceStatus>] = &[
    Family {
        name: "weir_upstream_source_up",
        kind: "gauge",
        help: "0 while an error keeps newer lists of the source away.",
        write: |lines, source| lines.put(&[], u8::from(source.error.is_none())),
    },
    Family {
        name: "weir_upstream_source_age_seconds",
        kind: "gauge",
        help: "Time since the newest list of the source.",
        write: |lines, source| lines.put_some(source.age_ms.map(|age| age as f64 / 1e3)),
    },
    Family {
        name: "weir_upstream_source_index",
        kind: "gauge",
        help: "The source's own count of its changes in the newest list.",
        write: |lines, source| lines.put_some(source.index),
    },
    Family {
        name: "weir_upstream_source_applied_index",
        kind: "gauge",
        help: "The same of the newest list that every data thread serves.",
        write: |lines, source| lines.put_some(source.applied_index),
    },
    Family {
        name: "weir_upstream_source_peers",
        kind: "gauge",
        help: "Peers of the newest list of the source.",
        write: |lines, source| lines.put(&[], source.peers),
    },
    Family {
        name: "weir_upstream_source_rejected",
        kind: "gauge",
        help: "Entries of the newest list that were skipped.",
        write: |lines, source| lines.put(&[], source.rejected.len()),
    },
];

const STATES: [State; 6] =
    [State::Maintenance, State::Down, State::Draining, State::Failed, State::Ejected, State::Up];

const OF_PEER: &[Family<PeerStatus>] = &[
    Family {
        name: "weir_upstream_peer_state",
        kind: "gauge",
        help: "1 for the state of the peer, 0 for the others.",
        write: |lines, peer| {
            for state in STATES {
                lines.put(&[("state", state.name())], u8::from(peer.state == state));
            }
        },
    },
    Family {
        name: "weir_upstream_peer_weight",
        kind: "gauge",
        help: "Weight of the peer.",
        write: |lines, peer| lines.put(&[], peer.weight),
    },
    Family {
        name: "weir_upstream_peer_share",
        kind: "gauge",
        help: "Part of the weight that counts at present, up to 1.",
        write: |lines, peer| lines.put(&[], f64::from(peer.share.or(peer.percent).unwrap_or(100)) / 100.0),
    },
    Family {
        name: "weir_upstream_peer_active",
        kind: "gauge",
        help: "Requests that run.",
        write: |lines, peer| lines.put(&[], peer.active),
    },
    Family {
        name: "weir_upstream_peer_upgraded",
        kind: "gauge",
        help: "Of the requests that run, upgraded connections.",
        write: |lines, peer| lines.put(&[], peer.upgraded),
    },
    Family {
        name: "weir_upstream_peer_requests_total",
        kind: "counter",
        help: "Requests that were sent to the peer, each attempt by itself.",
        write: |lines, peer| lines.put(&[], peer.requests),
    },
    Family {
        name: "weir_upstream_peer_failures_total",
        kind: "counter",
        help: "Attempts that failed.",
        write: |lines, peer| lines.put(&[], peer.failures),
    },
    Family {
        name: "weir_upstream_peer_answers_total",
        kind: "counter",
        help: "Answers of the peer by the class of their status.",
        write: |lines, peer| {
            for (class, count) in peer.answers.classes() {
                lines.put(&[("class", class)], count);
            }
        },
    },
    Family {
        name: "weir_upstream_peer_connect_errors_total",
        kind: "counter",
        help: "Connections to the peer that were refused or did not come in time.",
        write: |lines, peer| lines.put(&[], peer.connect_errors),
    },
    Family {
        name: "weir_upstream_peer_timeouts_total",
        kind: "counter",
        help: "Requests that the peer did not take or answer in time.",
        write: |lines, peer| lines.put(&[], peer.timeouts),
    },
    Family {
        name: "weir_upstream_peer_response_seconds",
        kind: "histogram",
        help: "Time from the request sent to the head of the answer.",
        write: |lines, peer| lines.histogram(peer.latency.as_ref()),
    },
    Family {
        name: "weir_upstream_peer_check_passed",
        kind: "gauge",
        help: "1 while the active check passes, 0 while it fails; absent before its first result.",
        write: |lines, peer| {
            for (place, check) in peer.checks.iter().enumerate() {
                if let Some(passed) = check.passed {
                    lines.put(&[("check", &place.to_string()), ("kind", &check.kind)], u8::from(passed));
                }
            }
        },
    },
];

/// Samples of one family that have these labels.
struct Lines<'a> {
    text: &'a mut String,
    name: &'static str,
    labels: String,
}

impl<'a> Lines<'a> {
    fn new(text: &'a mut String, name: &'static str, labels: &[(&str, &str)]) -> Lines<'a> {
        Lines { text, name, labels: joined(labels) }
    }

    fn put(&mut self, more: &[(&str, &str)], value: impl Display) {
        self.sample("", more, value);
    }

    fn put_some(&mut self, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(&[], value);
        }
    }

    fn sample(&mut self, suffix: &str, more: &[(&str, &str)], value: impl Display) {
        let Self { text, name, labels } = self;
        let comma = if more.is_empty() { "" } else { "," };
        let _ = writeln!(text, "{name}{suffix}{{{labels}{comma}{}}} {value}", joined(more));
    }

    /// By octaves: four buckets in each would be too many series. Peers without an answer have none.
    fn histogram(&mut self, latency: Option<&Latency>) {
        let Some(latency) = latency else { return };
        let count_up_to = |end: u64| -> u64 {
            let below = latency.buckets.iter().take_while(|bucket| bucket.up_to_us <= end);
            below.map(|bucket| bucket.count).sum()
        };
        for power in OCTAVES {
            let end = 1_u64 << power;
            self.sample("_bucket", &[("le", &(end as f64 / 1e6).to_string())], count_up_to(end));
        }
        let count = count_up_to(u64::MAX);
        self.sample("_bucket", &[("le", "+Inf")], count);
        self.sample("_sum", &[], latency.sum_us as f64 / 1e6);
        self.sample("_count", &[], count);
    }
}

/// 64 us to 34 s; the last bucket of the peers' own has all longer times.
const OCTAVES: std::ops::RangeInclusive<u32> = 6..=25;

fn joined(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}
