//! The list as lines for nginx.

use std::fmt::Write as _;

use weir_model::Peer;

/// One `server` line per peer, in the form of `upsync_dump_path`, with `backup`, which the module forgets:
/// `server 192.0.2.1:80 weight=1 max_fails=2 fail_timeout=10s down;`. A peer that drains is `down` there.
#[must_use]
pub fn dump(peers: &[Peer]) -> String {
    let mut text = String::with_capacity(peers.len() * 72);
    for peer in peers {
        let down = if peer.down || peer.drain { " down" } else { "" };
        let backup = if peer.backup { " backup" } else { "" };
        let _ = writeln!(
            text,
            "server {} weight={} max_fails={} fail_timeout={}s{down}{backup};",
            peer.address,
            peer.weight,
            peer.max_fails,
            peer.fail_timeout.0 / 1000
        );
    }
    text
}
