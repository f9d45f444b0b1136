//! Upstreams as a table for people.

use std::fmt::Write as _;

use weir_directory::{Latency, PeerStatus, SourceStatus, State, UpstreamStatus};

use crate::commands::vip::ago;

const HEADINGS: [&str; 7] = ["PEER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", "FAILED"];
/// Shown once there was an answer.
const ANSWERS: [&str; 3] = ["5XX", "P50", "P99"];

/// All upstreams, one below the other; `now` is milliseconds since 1970.
pub(super) fn draw(upstreams: &[UpstreamStatus], now: u64) -> String {
    if upstreams.is_empty() {
        return "no upstream is configured\n".to_owned();
    }
    let drawn: Vec<String> = upstreams.iter().map(|upstream| draw_one(upstream, now)).collect();
    drawn.join("\n")
}

/// Writing to a string cannot fail.
fn draw_one(upstream: &UpstreamStatus, now: u64) -> String {
    let mut text = String::new();
    let up = upstream.peers.iter().filter(|peer| peer.state.serves()).count();
    let _ =
        writeln!(text, "{}: {}, {up} of {} peers up", upstream.name, upstream.method, upstream.peers.len());
    if upstream.panic {
        text.push_str("  PANIC   every peer that nobody took out failed its checks: all of them serve\n");
    }
    for source in &upstream.sources {
        draw_source(&mut text, source, now);
    }
    let answered = upstream.peers.iter().any(|peer| peer.latency.is_some());
    let headings = HEADINGS.iter().chain(ANSWERS.iter().filter(|_| answered)).chain(&["WHY"]);
    let mut rows: Vec<Vec<String>> = vec![headings.map(|heading| (*heading).to_owned()).collect()];
    rows.extend(upstream.peers.iter().map(|peer| row(peer, answered, now)));
    if rows.len() > 1 {
        draw_rows(&mut text, &rows);
    }
    text
}

fn draw_source(text: &mut String, source: &SourceStatus, now: u64) {
    let SourceStatus { kind, endpoint, peers, .. } = source;
    let _ = write!(text, "  source  {kind} {endpoint}: ");
    match source.age_ms {
        None => text.push_str("nothing was heard yet"),
        Some(age) => {
            let from = if source.remembered { "from the disk " } else { "" };
            let _ = write!(text, "{peers} peers, heard {from}{} ago", ago(age as f64 / 1000.0));
        }
    }
    if let Some(index) = source.index.filter(|index| *index != 0) {
        let served = match source.applied_index {
            Some(served) if served == index => "served".to_owned(),
            Some(served) => format!("{served} is served"),
            None => "not served yet".to_owned(),
        };
        let _ = write!(text, ", index {index} ({served})");
    }
    text.push('\n');
    if let Some(error) = &source.error {
        let since = source.since.map_or_else(String::new, |since| format!(" for {}", span(now, since)));
        let _ = writeln!(text, "          error{since}: {error}");
    }
    for rejected in &source.rejected {
        let _ = writeln!(text, "          skipped: {rejected}");
    }
}

fn row(peer: &PeerStatus, answered: bool, now: u64) -> Vec<String> {
    let backup = if peer.backup { " (backup)" } else { "" };
    let mut weight = match peer.own_weight {
        Some(own) => format!("{} (own {own})", peer.weight),
        None => peer.weight.to_string(),
    };
    if let Some(share) = peer.share.or(peer.percent) {
        let _ = write!(weight, " at {share}%");
    }
    let mut why = why(peer);
    if let Some(end) = peer.expires {
        let _ = write!(why, " (ends in {})", span(end, now));
    }
    let mut row = vec![
        format!("{}{backup}", peer.address),
        peer.state.to_string(),
        peer.since.map_or_else(|| "-".to_owned(), |since| span(now, since)),
        weight,
        peer.active.to_string(),
        peer.requests.to_string(),
        peer.failures.to_string(),
    ];
    if answered {
        let time = |of: fn(&Latency) -> u64| {
            peer.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| short(of(latency)))
        };
        row.push(peer.answers.server_error.to_string());
        row.push(time(|latency| latency.p50_us));
        row.push(time(|latency| latency.p99_us));
    }
    row.push(why);
    row
}

/// Microseconds in three digits.
fn short(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Who put a peer into its state, and the reason.
pub(super) fn why(peer: &PeerStatus) -> String {
    match &peer.by {
        None if peer.state == State::Up => String::new(),
        None => peer.reason.clone(),
        Some(by) if peer.reason.is_empty() => by.to_string(),
        Some(by) => format!("{by}: {}", peer.reason),
    }
}

fn span(later: u64, earlier: u64) -> String {
    ago(later.saturating_sub(earlier) as f64 / 1000.0)
}

/// Columns as wide as their widest entry; the last one ends where it ends.
fn draw_rows(text: &mut String, rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = (*width).max(entry.chars().count());
        }
    }
    for row in rows {
        let mut line = String::from(" ");
        for (entry, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {entry:<width$} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"[{"name": "web", "method": "round_robin", "change": 4, "panic": false,
        "sources": [{"kind": "consul", "endpoint": "http://10.1.1.1:8500", "index": 17, "applied_index": 16,
            "age_ms": 3200, "error": "connection refused", "since": 88000, "remembered": false, "peers": 2,
            "rejected": ["10.0.0.x:80: no address"]}],
        "peers": [
            {"address": "10.0.0.1:80", "server": "10.0.0.1:80", "weight": 1, "own_weight": null, "backup": false,
             "state": "up", "since": 40000, "by": null, "reason": "", "expires": null, "active": 12,
             "requests": 34567, "failures": 2, "checks": [], "sources": ["consul"]},
            {"address": "10.0.0.2:80", "server": "10.0.0.2:80", "weight": 5, "own_weight": 1, "backup": true,
             "state": "draining", "since": 95000, "by": {"operator": "ann@desk"}, "reason": "release 42",
             "expires": 400000, "active": 3, "requests": 7, "failures": 0, "checks": [], "sources": ["consul"]}]}]"#;

    #[test]
    fn an_upstream_is_told_in_words() {
        let upstreams: Vec<UpstreamStatus> = serde_json::from_str(DOCUMENT).expect("a document");
        let expected = "\
web: round_robin, 1 of 2 peers up
  source  consul http://10.1.1.1:8500: 2 peers, heard 3.2 s ago, index 17 (16 is served)
          error for 12 s: connection refused
          skipped: 10.0.0.x:80: no address
  PEER                  STATE     SINCE  WEIGHT     ACTIVE  REQUESTS  FAILED  WHY
  10.0.0.1:80           up        60 s   1          12      34567     2
  10.0.0.2:80 (backup)  draining  5.0 s  5 (own 1)  3       7         0       ann@desk: release 42 (ends in 5 min 0 s)
";
        assert_eq!(draw(&upstreams, 100_000), expected);
        assert_eq!(draw(&[], 0), "no upstream is configured\n");
    }

    #[test]
    fn answers_and_shares_have_their_columns() {
        let mut upstreams: Vec<UpstreamStatus> = serde_json::from_str(DOCUMENT).expect("a document");
        upstreams[0].sources.clear();
        let peers = &mut upstreams[0].peers;
        peers[0].share = Some(24);
        peers[0].answers.server_error = 3;
        peers[0].latency =
            Some(Latency { p50_us: 960, p90_us: 1280, p99_us: 57_344, sum_us: 0, buckets: Vec::new() });
        let expected = "\
web: round_robin, 1 of 2 peers up
  PEER                  STATE     SINCE  WEIGHT     ACTIVE  REQUESTS  FAILED  5XX  P50     P99    WHY
  10.0.0.1:80           up        60 s   1 at 24%   12      34567     2       3    960 us  57 ms
  10.0.0.2:80 (backup)  draining  5.0 s  5 (own 1)  3       7         0       0    -       -      ann@desk: release 42 (ends in 5 min 0 s)
";
        assert_eq!(draw(&upstreams, 100_000), expected);
        assert_eq!([64, 1280, 999_999, 67_108_864].map(short), ["64 us", "1.3 ms", "999 ms", "67.1 s"]);
    }
}
