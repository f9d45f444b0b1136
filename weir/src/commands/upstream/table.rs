//! Upstreams as a table for people.

use std::fmt::Write as _;

use weir_directory::{PeerStatus, SourceStatus, State, UpstreamStatus};

use crate::commands::vip::ago;

const HEADINGS: [&str; 8] = ["PEER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", "FAILED", "WHY"];

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
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(upstream.peers.iter().map(|peer| row(peer, now)));
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

fn row(peer: &PeerStatus, now: u64) -> [String; 8] {
    let backup = if peer.backup { " (backup)" } else { "" };
    let weight = match peer.own_weight {
        Some(own) => format!("{} (own {own})", peer.weight),
        None => peer.weight.to_string(),
    };
    let mut why = why(peer);
    if let Some(end) = peer.expires {
        let _ = write!(why, " (ends in {})", span(end, now));
    }
    [
        format!("{}{backup}", peer.address),
        peer.state.to_string(),
        peer.since.map_or_else(|| "-".to_owned(), |since| span(now, since)),
        weight,
        peer.active.to_string(),
        peer.requests.to_string(),
        peer.failures.to_string(),
        why,
    ]
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
fn draw_rows(text: &mut String, rows: &[[String; 8]]) {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(widest);
    for row in rows {
        let mut line = String::from(" ");
        for (entry, width) in row.iter().zip(widths) {
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
}
