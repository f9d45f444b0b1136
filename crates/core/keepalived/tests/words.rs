//! Lines of words at random: whatever they say, reading them ends with a model or with messages.

mod support;

use proptest::prelude::*;
use support::Machine;
use weir_keepalived::keywords;

const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "255",
    "256",
    "4294967296",
    "1.5",
    "1s",
    "0x10",
    "on",
    "off",
    "MASTER",
    "BACKUP",
    "PASS",
    "eth0",
    "10.0.0.1",
    "10.0.0.1/24",
    "10.0.0.1/99",
    "::1",
    "fe80::1/64",
    "ff02::12",
    "224.0.0.18",
    "default",
    "dev",
    "via",
    "to",
    "from",
    "table",
    "main",
    "weight",
    "reverse",
    "nexthop",
    "or",
    "brd",
    "+",
    "label",
    "peer",
    "scope",
    "link",
    "track_group",
    "metric",
    "mtu",
    "lock",
    "type",
    "goto",
    "fwmark",
    "1/2",
    "min_ttl",
    "\"a b\"",
    "'",
    "\\x",
    "00:11:22:33:44:55",
    "0:1:2:3:4",
    "é",
    "{",
    "}",
    "$X",
    "~SEQ(a,1,3)",
    "@x",
];

fn line() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keywords().map(|keyword| keyword.name).collect();
    let name = proptest::sample::select(names);
    let words = proptest::collection::vec(proptest::sample::select(WORDS), 0..6);
    (name, words, any::<bool>())
        .prop_map(|(name, words, open)| format!("{name} {}{}", words.join(" "), if open { " {" } else { "" }))
}

proptest! {
    #[test]
    fn no_text_panics(lines in proptest::collection::vec(line(), 0..30)) {
        let text = format!("vrrp_instance A {{\n{}\n}}\n", lines.join("\n"));
        let _ = Machine::with(&text).load();
    }

    #[test]
    fn no_list_panics(list in 0..8_usize, items in proptest::collection::vec(
        proptest::collection::vec(proptest::sample::select(WORDS), 1..8), 0..6)) {
        const LISTS: [&str; 8] = [
            "virtual_ipaddress", "virtual_ipaddress_excluded", "virtual_routes", "virtual_rules", "unicast_peer",
            "track_interface", "track_upstream", "track_script",
        ];
        let items: Vec<String> = items.iter().map(|words| words.join(" ")).collect();
        let text = format!("vrrp_instance A {{\n{} {{\n{}\n}}\n}}\n", LISTS[list], items.join("\n"));
        let _ = Machine::with(&text).load();
    }
}
