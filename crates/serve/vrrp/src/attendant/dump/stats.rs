//! `keepalived.stats`: counters of each instance.

use std::fmt::Write;

use weir_vrrp::{Stats, Status};

/// The whole file.
pub(super) fn text(status: &Status) -> String {
    let mut text = String::new();
    for instance in &status.instances {
        _ = writeln!(text, "VRRP Instance: {}", instance.name);
        counters(&mut text, &instance.stats);
    }
    text
}

fn counters(text: &mut String, stats: &Stats) {
    let lines: [(&str, Option<u64>); 18] = [
        ("  Advertisements", None),
        ("    Received", Some(stats.advert_rcvd)),
        ("    Sent", Some(stats.advert_sent)),
        ("  Became master", Some(stats.become_master)),
        ("  Released master", Some(stats.release_master)),
        ("  Packet Errors", None),
        ("    Length", Some(stats.packet_len_err)),
        ("    TTL", Some(stats.ip_ttl_err)),
        ("    Invalid Type", Some(stats.invalid_type_rcvd)),
        ("    Advertisement Interval", Some(stats.advert_interval_err)),
        ("    Address List", Some(stats.addr_list_err)),
        ("  Authentication Errors", None),
        ("    Invalid Type", Some(stats.invalid_authtype)),
        ("    Type Mismatch", Some(stats.authtype_mismatch)),
        ("    Failure", Some(stats.auth_failure)),
        ("  Priority Zero", None),
        ("    Received", Some(stats.pri_zero_rcvd)),
        ("    Sent", Some(stats.pri_zero_sent)),
    ];
    for (name, value) in lines {
        _ = match value {
            Some(value) => writeln!(text, "{name}: {value}"),
            None => writeln!(text, "{name}:"),
        };
    }
}
