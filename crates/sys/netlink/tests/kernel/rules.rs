use std::net::IpAddr;

use weir_model::vrrp::{Family, Rule, RuleAction};
use weir_netlink::{Error, Netlink};

use crate::support::{in_namespace, ip};

fn rule() -> Rule {
    Rule {
        family: Family::V4,
        from: None,
        to: None,
        invert: false,
        table: None,
        priority: None,
        input_interface: None,
        output_interface: None,
        mark: None,
        tos: None,
        suppress_prefix_len: None,
        action: RuleAction::Table,
        track: true,
    }
}

fn prefix(text: &str, length: u8) -> Option<(IpAddr, u8)> {
    Some((text.parse().expect("a literal address"), length))
}

/// Every kind of rule that a line of virtual_rules can say, and how ip-rule(8) shows it.
fn cases() -> Vec<(Rule, &'static str, &'static str)> {
    vec![
        (
            Rule { from: prefix("192.0.2.0", 24), table: Some(100), priority: Some(500), ..rule() },
            "-d rule show",
            "500: from 192.0.2.0/24 lookup 100 proto keepalived",
        ),
        (
            Rule { to: prefix("198.51.100.7", 32), table: Some(70000), ..rule() },
            "-d rule show",
            "from all to 198.51.100.7 lookup 70000",
        ),
        (
            Rule {
                input_interface: Some("eth9".to_owned()),
                output_interface: Some("eth8".to_owned()),
                ..rule()
            },
            "rule show",
            "from all iif eth9 [detached] oif eth8 [detached] lookup main",
        ),
        (
            Rule { mark: Some((7, 0xff)), tos: Some(16), invert: true, table: Some(5), ..rule() },
            "rule show",
            "not from all tos 0x10 fwmark 0x7/0xff lookup 5",
        ),
        (
            Rule { suppress_prefix_len: Some(0), ..rule() },
            "rule show",
            "from all lookup main suppress_prefixlength 0",
        ),
        (
            Rule {
                action: RuleAction::Goto(32766),
                priority: Some(40),
                from: prefix("192.0.2.1", 32),
                ..rule()
            },
            "rule show",
            "40: from 192.0.2.1 goto 32766",
        ),
        (Rule { action: RuleAction::Nop, priority: Some(41), ..rule() }, "rule show", "41: from all nop"),
        (
            Rule { action: RuleAction::Blackhole, from: prefix("192.0.2.2", 32), ..rule() },
            "rule show",
            "from 192.0.2.2 blackhole",
        ),
        (
            Rule { action: RuleAction::Unreachable, from: prefix("192.0.2.3", 32), ..rule() },
            "rule show",
            "from 192.0.2.3 unreachable",
        ),
        (
            Rule {
                action: RuleAction::Prohibit,
                from: prefix("0.0.0.0", 0),
                priority: Some(32767),
                ..rule()
            },
            "rule show",
            "32767: from all prohibit",
        ),
        (
            Rule { family: Family::V6, from: prefix("2001:db8::", 32), table: Some(9), ..rule() },
            "-6 rule show",
            "from 2001:db8::/32 lookup 9",
        ),
    ]
}

fn shown(command: &str) -> String {
    ip(command).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn rules_come_and_go() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        for (rule, command, words) in cases() {
            for _ in 0..2 {
                netlink.put_rule(&rule).expect("the kernel takes the rule");
            }
            let found = shown(command);
            assert_eq!(found.matches(words).count(), 1, "{found} shows once: {words}");
            for _ in 0..2 {
                netlink.remove_rule(&rule).expect("the kernel removes the rule");
            }
            assert!(!shown(command).contains(words), "{words} is gone");
        }
    });
}

#[test]
fn rules_of_others_stay() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        ip("rule add from 192.0.2.0/24 lookup 100 priority 600");
        let ours = Rule { from: prefix("192.0.2.0", 24), table: Some(100), ..rule() };
        netlink.put_rule(&ours).expect("the kernel takes the rule");
        assert_eq!(shown("rule show").matches("from 192.0.2.0/24 lookup 100").count(), 2);
        for _ in 0..2 {
            netlink.remove_rule(&ours).expect("the kernel removes the rule");
        }
        assert!(shown("rule show").contains("600: from 192.0.2.0/24 lookup 100"));
    });
}

#[test]
fn mixed_families_are_not_sent() {
    in_namespace(|| {
        let mut netlink = Netlink::open().expect("a socket");
        let mixed = Rule { from: prefix("2001:db8::", 32), table: Some(9), ..rule() };
        let error = netlink.put_rule(&mixed).expect_err("it makes no sense");
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        let text =
            "add rule from 2001:db8::/32 table 9: the selector 2001:db8:: is of another family than the rule";
        assert_eq!(error.to_string(), text);
    });
}
