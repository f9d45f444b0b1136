//! Wrong lines and what is said about each.

mod support;

use support::{Machine, first, instance, said};
use weir_keepalived::{Action, Blocks, Keyword, Shape, keywords};
use weir_model::vrrp::{Authentication, Delivery};

/// Lines of `vrrp_instance` and what is said about them.
const INSTANCE: &[(&str, &str)] = &[
    ("priority 256", "warning: priority 256 is not in 1 to 255; 100 is used"),
    ("priority 100x", "warning: priority \"100x\" is no number; 100 is used"),
    ("priority", "warning: priority has too few words; it is ignored"),
    ("priority 100 50", "warning: \"50\" is one word too many; it is ignored"),
    ("state master", "warning: state \"master\" is neither MASTER nor BACKUP; BACKUP is used"),
    ("advert_int 0", "warning: advert_int 0 is not in 0.01 to 255 s; the line is ignored"),
    ("advert_int 1s", "warning: advert_int \"1s\" has more than a number; 1 is used"),
    ("advert_int soon", "warning: advert_int \"soon\" is no time; the line is ignored"),
    (
        "advert_int 1.4",
        "warning: advert_int 1.4 does not fit version 2, which has whole seconds up to 255; 1 is used",
    ),
    (
        "interface averyveryverylongname",
        "warning: \"averyveryverylongname\" is longer than 15 bytes; no interface has such a name",
    ),
    ("interface a/b", "warning: \"a/b\" is no name of an interface; it is ignored"),
    ("version 4", "warning: version 4 is not in 2 to 3; the line is ignored"),
    ("smtp_alert maybe", "warning: smtp_alert \"maybe\" is neither on nor off; the line is ignored"),
    (
        "authentication {\nauth_type plain\n}",
        "warning: auth_type \"plain\" is neither PASS nor AH; the line is ignored",
    ),
    ("authentication {\nauth_type PASS\n}", "warning: authentication has no password; it is ignored"),
    (
        "authentication {\nauth_pass x\n}",
        "warning: a password without auth_type is not used; there is no authentication",
    ),
    ("unicast_peer {\nhere\n}", "warning: \"here\" is no IP address; it is ignored"),
    (
        "unicast_peer {\n::1\n}\nunicast_fault_no_peer",
        "warning: ::1 is ignored: the instance is an IPv4 one by what stands before",
    ),
    (
        "unicast_peer {\n10.9.0.2 ttl 3\n}",
        "warning: a peer has no option \"ttl\"; the rest of the line is ignored",
    ),
    (
        "unicast_src_ip 10.9.0.1",
        "warning: there are keywords of unicast and no unicast_peer: the multicast group is used",
    ),
    ("unicast_ttl 3", "warning: unicast_ttl has no effect without unicast_peer"),
    ("mcast_dst_ip 10.0.0.1", "warning: 10.0.0.1 is no multicast group of the link; the line is ignored"),
    ("track_interface {\neth0\neth0\n}", "warning: \"eth0\" is tracked here before; the line is ignored"),
    (
        "track_interface {\neth0 wieght 3\n}",
        "warning: track_interface has no option \"wieght\"; the line is ignored",
    ),
    ("track_script {\nnone\n}", "error: vrrp_script \"none\" is defined nowhere"),
    ("track_file {\nnone\n}", "error: track_file \"none\" is defined nowhere"),
    ("track_process {\nnone\n}", "error: vrrp_track_process \"none\" is defined nowhere"),
    ("track_bfd {\nnone\n}", "warning: track_bfd has no effect: Weir does not speak BFD; nothing is tracked"),
    ("virtual_ipaddress {\n10.9.0.300\n}", "warning: \"10.9.0.300\" is no IP address; it is ignored"),
    ("virtual_ipaddress {\n10.9.0.3/33\n}", "warning: \"33\" is no prefix length of 10.9.0.3; 32 is used"),
    ("virtual_ipaddress {\n10.9.0.3 dev\n}", "warning: dev has no value; 10.9.0.3 is ignored"),
    (
        "virtual_ipaddress {\n10.9.0.3 lable x\n}",
        "warning: an address has no option \"lable\"; it is ignored",
    ),
    (
        "virtual_ipaddress {\n10.9.0.3 brd +\n}",
        "warning: a network of length 32 has no broadcast address; brd is ignored",
    ),
    ("virtual_routes {\ndev eth0\n}", "warning: it has no destination; the route is ignored"),
    (
        "virtual_routes {\ndefault via ::1 src 10.9.0.1\n}",
        "warning: \"10.9.0.1\" mixes IPv4 and IPv6; the route is ignored",
    ),
    (
        "virtual_routes {\ndefault dev eth0 table blue\n}",
        "warning: no routing table has the name \"blue\"; the line is ignored",
    ),
    (
        "virtual_rules {\nfrom 10.9.0.0/24\n}",
        "warning: it has neither a table nor another action; the rule is ignored",
    ),
    (
        "virtual_rules {\nfrom 10.9.0.0/24 goto 5 preference 9\n}",
        "warning: goto 5 does not lead behind 9; the rule is ignored",
    ),
    ("use_vmac x 01:02:03:04:05:06", "warning: 01:02:03:04:05:06 is a multicast address; it is ignored"),
    (
        "use_vmac x 00:00:5e:00:01:06",
        "warning: 00:00:5e:00:01:06 is an address of the standard; it is ignored",
    ),
    ("preempt_delay 1001", "warning: preempt_delay 1001 is not in 0 to 1000 s; 0 is used"),
    ("nopreempt\npreempt_delay 3", "warning: preempt_delay does not go with nopreempt; it is ignored"),
    ("nopreempt\npriority 255", "warning: nopreempt does not go with priority 255; it is ignored"),
    (
        "nopreempt\nstate MASTER\npriority 9",
        "warning: nopreempt does not go with state MASTER; it is ignored",
    ),
    ("notify_master /bin/a b c d", "warning: \"b c d\" is more than a user and a group; the line is ignored"),
    (
        "notify_master \"/bin/a 'b\"",
        "warning: the command of notify_master cannot be used: a ' is never closed; the line is ignored",
    ),
    ("notify /bin/a\nnotify /bin/b", "warning: notify stands here for the second time; the line is ignored"),
    ("garp_master_repeat 0", "warning: garp_master_repeat is at least 1; 1 is used"),
    ("down_timer_adverts 0", "warning: down_timer_adverts 0 is not in 1 to 100; the line is ignored"),
    ("vrrp_strict", "warning: \"vrrp_strict\" has no meaning in vrrp_instance; it is ignored"),
    ("adress_lease 2", "warning: unknown keyword \"adress_lease\"; it is ignored"),
    (
        "address_lease 3 2",
        "warning: address_lease of 3 s is renewed every 2 s: one renewal that comes late loses the addresses",
    ),
    ("address_lease long", "warning: address_lease \"long\" is no number; the line is ignored"),
    ("track_proxy weight", "warning: weight has no value; the line is ignored"),
    (
        "track_proxy sometimes",
        "warning: track_proxy \"sometimes\" is neither on nor off; the line is ignored",
    ),
    (
        "skip_check_adv_addr off",
        "warning: keepalived switches skip_check_adv_addr on by this line; Weir leaves it off as it says",
    ),
    (
        "lvs_sync_daemon_interface eth0",
        "warning: lvs_sync_daemon_interface: this version does not balance packets yet; the line is read and has no effect",
    ),
];

#[test]
fn lines_of_instances() {
    let mut wrong = Vec::new();
    for (lines, expected) in INSTANCE {
        let said = said(&instance(lines));
        if !said.iter().any(|line| line == expected) {
            wrong.push(format!("{lines:?}: {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A block, and what is said when an instance follows it; nothing for what is silent.
const ROOT: &[(&str, &str)] = &[
    ("global_defs {\nvrrp_garp_interval 0\nvrrp_gna_interval 0\n}\n", ""),
    (
        "global_defs {\nvrrp_mcast_group4 10.0.0.1\n}\n",
        "warning: 10.0.0.1 is no IPv4 multicast group; the line is ignored",
    ),
    (
        "global_defs {\nvrrp_mcast_group6 ff05::1\n}\n",
        "warning: ff05::1 does not stay on the link, as VRRP has to",
    ),
    (
        "global_defs {\nenable_snmp_vrrp\n}\n",
        "warning: enable_snmp_vrrp has no effect: Weir has no SNMP; the dumps and weir vip tell the same",
    ),
    (
        "global_defs {\nlvs_id x\n}\n",
        "warning: lvs_id has no effect: keepalived does not know it any more; write router_id",
    ),
    ("vrrp_script s {\ninterval 1\n}\n", "warning: vrrp_script s has no script; it is ignored"),
    ("vrrp_script s {\nscript /bin/a\n}\n", "warning: vrrp_script s is tracked by nobody and not run"),
    ("track_file f {\nweight 1\n}\n", "warning: track_file f has no file; it is ignored"),
    ("vrrp_instance {\n}\n", "warning: vrrp_instance has too few words; it is ignored"),
    ("vrrp_sync_group g {\n}\n", "warning: sync group g has no members; it is ignored"),
    ("vrrp_sync_group g {\ngroup {\nB\n}\n}\n", "warning: no instance has the name \"B\"; it is ignored"),
    (
        "vrrp_sync_group g {\ngroup {\nA\n}\n}\n",
        "warning: sync group g has one member, which has nothing to change with",
    ),
    (
        "bfd_instance b {\nneighbor_ip 10.9.0.2\n}\n",
        "warning: bfd_instance has no effect: Weir does not speak BFD",
    ),
    (
        "virtual_server_group g {\n10.9.0.9 80\n}\n",
        "warning: virtual_server_group: this version does not balance packets yet; the block is read and has no effect",
    ),
    ("static_ipaddress {\n10.9.0.7 track_group g\n}\n", "error: track_group \"g\" is defined nowhere"),
    ("vrrp_instnace B {\n}\n", "warning: unknown keyword \"vrrp_instnace\"; it is ignored"),
];

#[test]
fn blocks() {
    let mut wrong = Vec::new();
    for (text, expected) in ROOT {
        let said = said(&format!("{text}{}", instance("")));
        let silent = expected.is_empty() && said.is_empty();
        if !silent && !said.iter().any(|line| line == expected) {
            wrong.push(format!("{text:?}: {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let failure = Machine::default().load().expect_err("there is no file");
    assert!(failure.first().is_some(), "{:?}", failure.diagnostics);
}

#[test]
fn a_brace_too_many_is_a_warning() {
    let text = format!("{}}}\n", instance(""));
    let loaded = Machine::with(&text).load().expect("keepalived goes on");
    assert_eq!(loaded.vrrp.instances.len(), 1);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
}

#[test]
fn includes_and_their_places() {
    let machine = Machine::with("include /k/*.part\n").file("/k/a.part", &instance("priority 0"));
    let loaded = machine.load().expect("it is only a warning");
    let lines: Vec<_> = loaded.warnings.iter().map(|one| one.nginx_line(&loaded.tree.files)).collect();
    assert_eq!(lines, ["priority 0 is not in 1 to 255; 100 is used in /k/a.part:7"]);
}

#[test]
fn strict_mode_keeps_peers_and_drops_passwords() {
    let lines = "strict_mode\npriority 9\nauthentication {\nauth_type PASS\nauth_pass x\n}\nunicast_peer {\n10.9.0.2\n}";
    let instance = first(&instance(lines));
    assert!(matches!(instance.delivery, Delivery::Unicast(_)), "{:?}", instance.delivery);
    assert_eq!(instance.authentication, Authentication::None);
    assert!(!instance.accept && instance.lower_prio_no_advert);
    assert_eq!(instance.garp.lower_prio_repeat, 0);
}

#[test]
fn a_password_is_not_shown() {
    for words in ["Tr0ub4dor&3", "Tr0ub4dor 3"] {
        let text = instance(&format!("authentication {{\nauth_type PASS\nauth_pass {words}\n}}"));
        let loaded = Machine::with(&text).load().expect("it is only a warning");
        let shown: String = loaded.warnings.iter().map(|one| one.render(&loaded.tree.files, false)).collect();
        assert!(shown.contains("password") && !shown.contains("Tr0ub4dor"), "{shown}");
    }
}

#[test]
fn addresses_beyond_a_packet_are_held_and_not_advertised() {
    let addresses: Vec<_> = (0..300).map(|i| format!("10.{}.{}.1", i / 200, i % 200)).collect();
    let text = format!(
        "vrrp_instance A {{\ninterface eth0\nvirtual_router_id 5\nvirtual_ipaddress {{\n{}\n}}\n}}\n",
        addresses.join("\n")
    );
    let instance = first(&text);
    assert_eq!((instance.addresses.len(), instance.excluded.len()), (255, 45));
    assert_eq!(instance.excluded[0].address.to_string(), "10.1.55.1");
}

/// A text in which a line stands in a block.
fn inside(block: Blocks, line: &str) -> String {
    let layers: &[&str] = match block {
        Blocks::ROOT => &[],
        Blocks::GLOBAL => &["global_defs"],
        Blocks::INSTANCE => &["vrrp_instance I"],
        Blocks::AUTHENTICATION => &["vrrp_instance I", "authentication"],
        Blocks::AUTH_HMAC => &["vrrp_instance I", "auth_hmac"],
        Blocks::GROUP => &["vrrp_sync_group G"],
        Blocks::SCRIPT => &["vrrp_script S"],
        Blocks::PROCESS => &["vrrp_track_process P"],
        Blocks::FILE => &["track_file F"],
        Blocks::GARP_GROUP => &["garp_group"],
        Blocks::STATIC_GROUP => &["track_group T"],
        Blocks::BFD => &["bfd_instance B"],
        Blocks::SSL => &["SSL"],
        Blocks::VIRTUAL_SERVER => &["virtual_server 10.0.0.1 80"],
        Blocks::REAL_SERVER => &["virtual_server 10.0.0.1 80", "real_server 10.0.0.2 80"],
        Blocks::CHECKER => &["virtual_server 10.0.0.1 80", "real_server 10.0.0.2 80", "HTTP_GET"],
        Blocks::URL => &["virtual_server 10.0.0.1 80", "real_server 10.0.0.2 80", "HTTP_GET", "url"],
        Blocks::HOST => &["virtual_server 10.0.0.1 80", "real_server 10.0.0.2 80", "SMTP_CHECK", "host"],
        other => panic!("{other:?} is one block"),
    };
    let mut text = String::new();
    for layer in layers {
        text.push_str(&format!("{layer} {{\n"));
    }
    text.push_str(line);
    text.push('\n');
    text.push_str(&"}\n".repeat(layers.len()));
    text
}

/// The line with a block where the keyword has one.
fn written(keyword: &Keyword, name: &str) -> String {
    let words = match keyword.shape {
        Shape::Words(from, _) => vec!["1"; from].join(" "),
        Shape::Command => "/bin/true".to_owned(),
        Shape::List => "{\n}".to_owned(),
        Shape::Block { from, .. } => format!("{} {{\n}}", vec!["X"; from].join(" ")),
    };
    format!("{name} {words}")
}

#[test]
fn every_keyword_is_known_where_it_stands() {
    for keyword in keywords() {
        for block in keyword.blocks.each() {
            let said = said(&inside(block, &written(keyword, keyword.name)));
            let stranger = said.iter().find(|line| line.contains("unknown") || line.contains("no meaning"));
            assert_eq!(stranger, None, "{} in {:?}", keyword.name, block.names().collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_keyword_misspelt_is_named() {
    for keyword in keywords() {
        let name = format!("{}q", keyword.name);
        for block in keyword.blocks.each() {
            let expected = format!("warning: unknown keyword {name:?}; it is ignored");
            let said = said(&inside(block, &written(keyword, &name)));
            assert!(said.contains(&expected), "{name}: {said:#?}");
        }
    }
}

#[test]
fn every_keyword_that_works_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/keepalived.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let works = |keyword: &&Keyword| {
        !matches!(keyword.action, Action::Silent(_) | Action::WithoutEffect(_) | Action::Later(_))
    };
    let named =
        |name: &str| [format!("`{name}`"), format!("`{name} ")].iter().any(|form| text.contains(form));
    let missing: Vec<_> = keywords().filter(works).map(|one| one.name).filter(|name| !named(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
