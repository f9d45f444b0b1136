//! Command lines of virtual routers: keepalived's own, `weir run`, `weir vip`, `weir directives`, `weir config`.

mod common;
mod routers;

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use common::{text, until, weir};
use routers::{ADDRESS, FAST, Node, PATIENCE, holds, instance, run, saying, shell, status, watch};
use serde_json::Value;
use weir_lab::{Host, Lab};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// What is wrong with a file in the eyes of keepalived.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Right,
    Wrong,
    /// keepalived looks the other way; the text says why Weir does not.
    Stricter(&'static str),
}

use Verdict::{Right, Stricter, Wrong};

/// Files, by what stands in front of the usual instance, in it, and behind it.
const FILES: [(&str, &str, &str, &str, Verdict); 30] = [
    ("plain", "", "", "", Right),
    ("an unknown block", "vrrp_instnce V {\n}\n", "", "", Wrong),
    ("an unknown keyword", "", "nonsense 1", "", Wrong),
    ("a misspelt global_defs", "globaldefs {\n router_id x\n}\n", "", "", Wrong),
    (
        "a virtual server",
        "",
        "",
        "virtual_server 10.9.0.100 80 {\n lb_algo rr\n lb_kind DR\n protocol TCP\n real_server 10.9.0.1 80 {\n TCP_CHECK {\n }\n }\n}\n",
        Right,
    ),
    (
        "a mistake in a virtual server",
        "",
        "",
        "virtual_server 10.9.0.100 80 {\n protocol TCP\n delay_lop 6\n real_server 10.9.0.1 80 {\n }\n}\n",
        Wrong,
    ),
    ("another interface that does not exist", "", "track_interface {\n eth9\n }", "", Wrong),
    ("a number that is too large", "", "garp_master_refresh_repeat 1\n priority 300", "", Wrong),
    ("an interface that does not exist", "", "interface eth7", "", Wrong),
    ("words too many", "", "garp_master_delay 1 2", "", Stricter("half of the line would be ignored")),
    (
        "a script",
        "global_defs {\n script_user root\n enable_script_security\n}\nvrrp_script s {\n script \"/bin/true\"\n}\n",
        "track_script {\n s\n }",
        "",
        Right,
    ),
    (
        "a script that does not exist",
        "vrrp_script s {\n script \"/nowhere/check\"\n}\n",
        "track_script {\n s\n }",
        "",
        Wrong,
    ),
    ("a tracker without definition", "", "track_script {\n s\n }", "", Wrong),
    (
        "a definition behind its use",
        "",
        "track_script {\n s\n }",
        "vrrp_script s {\n script \"/bin/true\"\n}\n",
        Wrong,
    ),
    ("a long password", "", "authentication {\n auth_type PASS\n auth_pass 123456789\n }", "", Wrong),
    (
        "a password in version 3",
        "",
        "version 3\n authentication {\n auth_type PASS\n auth_pass 1234\n }",
        "",
        Wrong,
    ),
    ("nopreempt of a master", "", "nopreempt\n state MASTER", "", Wrong),
    ("unicast", "", "unicast_src_ip 10.9.0.1\n unicast_peer {\n 10.9.0.2\n }", "", Right),
    ("SNMP", "global_defs {\n enable_snmp_vrrp\n}\n", "", "", Right),
    ("D-Bus", "global_defs {\n enable_dbus\n}\n", "", "", Right),
    ("settings of its processes", "global_defs {\n process_names\n max_auto_priority\n}\n", "", "", Right),
    ("an extra brace", "", "", "}\n", Wrong),
    ("a definition", "$P=10\n", "garp_master_delay $P", "", Right),
    ("an undefined name", "", "garp_master_delay $P", "", Wrong),
    (
        "an included file that is missing",
        "include /nowhere/x.conf\n",
        "",
        "",
        Stricter("a part that is missing is no small thing"),
    ),
    (
        "the same instance again",
        "",
        "",
        "vrrp_instance V {\n interface eth0\n virtual_router_id 10\n virtual_ipaddress {\n 10.9.0.101\n }\n}\n",
        Wrong,
    ),
    ("a group of strangers", "vrrp_sync_group G {\n group {\n V\n W\n }\n}\n", "", "", Wrong),
    (
        "mail",
        "global_defs {\n notification_email {\n a@b.example\n }\n smtp_server 127.0.0.1\n}\n",
        "",
        "",
        Right,
    ),
    ("BFD", "", "", "bfd_instance b {\n neighbor_ip 10.9.0.7\n}\n", Right),
    ("static addresses", "static_ipaddress {\n 10.9.9.1/24 dev eth0\n}\n", "", "", Right),
];

fn one_host() -> (Lab, Host) {
    let lab = routers::lab();
    let host = routers::host(&lab, "a", 1);
    (lab, host)
}

#[test]
fn the_test_of_a_file_agrees_with_keepalived() {
    let (_lab, host) = one_host();
    let mut failures = Vec::new();
    for (name, front, body, back, verdict) in FILES {
        let file = format!("{front}{}{back}", instance(100, body));
        host.write("/etc/keepalived/keepalived.conf", &file).expect("its file");
        let keepalived =
            host.run("keepalived", &["-t", "-f", "/etc/keepalived/keepalived.conf"]).expect("it runs");
        let own = run(&host, &["keepalived", "-t"]);
        let (theirs, ours) = match verdict {
            Right => (true, true),
            Wrong => (false, false),
            Stricter(_) => (true, false),
        };
        if keepalived.status.success() != theirs {
            failures.push(format!("{name}: keepalived says {:?}", text(&keepalived.stderr)));
        }
        if own.status.code() != Some(if ours { 0 } else { 4 }) {
            failures.push(format!("{name}: {:?} {:?}", own.status.code(), text(&own.stderr)));
        }
        if !ours && text(&own.stderr).is_empty() {
            failures.push(format!("{name}: nothing is said"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_test_says_where_to_its_file() {
    let (_lab, host) = one_host();
    host.write("/etc/k.conf", &instance(100, "nonsense 1")).expect("its file");
    let output = run(&host, &["keepalived", "--config-test=/tmp/said", "-f", "/etc/k.conf"]);
    assert_eq!(output.status.code(), Some(4));
    let said = host.read("/tmp/said").expect("what is wrong");
    assert!(said.contains("unknown keyword \"nonsense\"; it is ignored in /etc/k.conf:6"), "{said}");
    let missing = run(&host, &["keepalived", "-t", "-f", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(4));
    assert!(text(&missing.stderr).contains("/nowhere"), "{}", text(&missing.stderr));
}

#[test]
fn keepalived_in_the_background_with_syslog() {
    let (lab, host) = one_host();
    shell(&host, &format!("ln -s {WEIR} /usr/local/bin/keepalived"));
    host.write(
        "/etc/k.conf",
        &format!("@one {}", instance(100, FAST).replace('\n', "\n@one ").trim_end_matches("@one ")),
    )
    .expect("its file");
    std::fs::remove_file(host.outside("/dev/log")).ok();
    let log = host.outside("/run/log");
    let journal = UnixDatagram::bind(&log).expect("a socket");
    journal.set_read_timeout(Some(PATIENCE)).expect("a limit");
    shell(&host, "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && ln -s /run/log /dev/log");
    let output = host.run(
        "/usr/local/bin/keepalived",
        &["-P", "-D", "-f", "/etc/k.conf", "-i", "one", "-p", "/run/k.pid"],
    );
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    let watch = watch(&lab, ADDRESS);
    watch.wait_holders(&["a"], PATIENCE).expect("it elects");
    let mut bytes = [0; 2048];
    let mut said = String::new();
    while !said.contains("BACKUP -> MASTER") {
        let length = journal.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}: {said}"));
        let line = text(bytes.get(..length).expect("as long as it says"));
        assert!(line.starts_with('<') && line.contains("Keepalived"), "{line}");
        said.push_str(&line);
    }
    let pid = host.read("/run/k.pid").expect("its pid file");
    shell(&host, &format!("kill -TERM {pid}"));
    watch.wait_holders(&[], PATIENCE).expect("it gives it up");
    until("the pid file goes", || (!host.outside("/run/k.pid").exists()).then_some(()));
}

#[test]
fn keepalived_in_the_foreground() {
    let (lab, host) = one_host();
    host.write("/etc/keepalived/keepalived.conf", &instance(100, FAST)).expect("its file");
    let mut command = Command::new(WEIR);
    command.args(["keepalived", "-n", "-l", "-D", "-d", "-P"]);
    let node = Node::spawn(&host, &command);
    holds(&watch(&lab, ADDRESS), &["a"], &[&node]);
    let log = node.log();
    assert!(log.contains("\"virtual_router_id\"") || log.contains("\"vrid\": 9"), "{log}");
    node.program.signal(weir_lab::Signal::TERM).expect("it runs");
    assert_eq!(node.program.wait(PATIENCE).expect("it ends").code(), Some(0));
}

#[test]
fn words_that_keepalived_does_not_have() {
    for (words, code, said) in [
        (&["keepalived", "--signum=NONE"][..], 1, "expected STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON"),
        (&["keepalived", "-C"], 1, "expected -P or neither"),
        (&["keepalived", "-f", "/nowhere/k.conf", "-n", "-l"], 4, "/nowhere/k.conf"),
        (&["keepalived", "-S", "local9"], 1, "expected 0 to 7, local0 to local7, user or daemon"),
        (&["keepalived", "--nonsense"], 1, "--nonsense"),
    ] {
        let output = weir().args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{words:?}: {}", text(&output.stderr));
    }
    for (name, number) in [
        ("STOP", "15"),
        ("RELOAD", "1"),
        ("DATA", "10"),
        ("STATS", "12"),
        ("STATS_CLEAR", "63"),
        ("JSON", "36"),
    ] {
        let output = weir().args(["keepalived", &format!("--signum={name}")]).output().expect("it runs");
        assert_eq!(text(&output.stdout).trim(), number, "{name}");
    }
    let version = weir().args(["keepalived", "-v"]).output().expect("it runs");
    assert!(text(&version.stderr).starts_with("Keepalived v2."), "{}", text(&version.stderr));
}

#[test]
fn what_cannot_be_run_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (nginx, keepalived, other) = (path("nginx.conf"), path("keepalived.conf"), path("other.conf"));
    let named = path("named.conf");
    std::fs::write(&nginx, "events { }\n").expect("write");
    std::fs::write(&keepalived, instance(100, "")).expect("write");
    std::fs::write(&other, instance(100, "")).expect("write");
    std::fs::write(&named, format!("keepalived {};\nevents {{ }}\n", path("absent.conf"))).expect("write");
    let folder = dir.path().display().to_string();
    for (files, said) in [
        (vec![&nginx, &nginx], "2 files for one nginx.conf; expected one, which may `include` others"),
        (
            vec![&keepalived, &other],
            "2 files for one keepalived.conf; expected one, which may `include` others",
        ),
        (vec![&path("none.conf")], "No such file or directory"),
        (vec![&folder], "Is a directory"),
        (vec![&named], "absent.conf"),
        (vec![&named, &keepalived], "names another file"),
    ] {
        let output = weir().arg("run").args(&files).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{files:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{files:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_state_of_a_node() {
    let (lab, host) = one_host();
    let nobody = run(&host, &["vip"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        text(&nobody.stderr).contains("expected a running node with virtual routers"),
        "{}",
        text(&nobody.stderr)
    );
    let node = routers::weir(&host, &instance(100, FAST));
    holds(&watch(&lab, ADDRESS), &["a"], &[&node]);
    let unknown = run(&host, &["vip", "W"]);
    assert_eq!(
        (unknown.status.code(), text(&unknown.stderr).as_str()),
        (Some(1), "weir: there is no vrrp_instance W; there are: V\n")
    );
    let all = run(&host, &["vip", "--json"]);
    let all: Value = serde_json::from_slice(&all.stdout).expect("a document");
    for key in ["pid", "version", "socket", "now", "instances", "node"] {
        assert!(!all[key].is_null(), "{key} in {all:#}");
    }
    // Programs rely on these.
    let row = status(&host, "V");
    for key in [
        "name",
        "state",
        "since_unix",
        "cause",
        "base_priority",
        "effective_priority",
        "reasons",
        "alarms",
        "stats",
        "holds",
        "interface",
        "vrid",
        "vrrp_version",
        "delivery",
        "advert_interval",
        "addresses",
        "excluded",
        "preempt",
        "lease",
        "history",
    ] {
        assert!(!row[key].is_null(), "{key} in {row:#}");
    }
    assert_eq!((&row["state"], &row["holds"]), (&"master".into(), &true.into()));
    if Lab::has_users() {
        let output =
            host.run("setpriv", &["--reuid", "65534", "--clear-groups", WEIR, "vip"]).expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains("Permission denied") && said.contains("root"), "{said}");
    }
}

#[test]
fn keywords_of_keepalived_are_explained() {
    let one = |name: &str| text(&weir().args(["directives", name]).output().expect("it runs").stdout);
    let addresses = one("virtual_ipaddress");
    assert!(addresses.starts_with("virtual_ipaddress {"), "{addresses}");
    assert!(addresses.contains("allowed in: vrrp_instance"), "{addresses}");
    let include = one("keepalived");
    assert!(include.contains("allowed in: main"), "{include}");
    let later = one("virtual_server");
    assert!(later.contains("Weir: not supported by this version"), "{later}");
    let output = weir().args(["directives", "virtual_ipadress"]).output().expect("it runs");
    assert_eq!(
        text(&output.stderr),
        "weir: there is no directive \"virtual_ipadress\"; did you mean `virtual_ipaddress`?\n"
    );
    let list = text(&weir().arg("directives").output().expect("it runs").stdout);
    assert!(
        list.lines().any(|line| line.starts_with("virtual_ipaddress ") && line.contains(" keepalived ")),
        "{list}"
    );
    assert!(list.lines().any(|line| line.starts_with("proxy_pass ") && line.contains(" nginx ")), "{list}");
}

#[test]
fn passwords_are_not_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keepalived.conf");
    std::fs::write(&file, instance(100, "authentication {\n auth_type PASS\n auth_pass secret12\n }"))
        .expect("write");
    let output = weir().args(["config", "--json"]).arg(&file).output().expect("it runs");
    let shown = text(&output.stdout);
    assert!(output.status.success() && shown.contains("(hidden)"), "{shown}");
    assert!(!shown.contains("secret12"), "{shown}");
}

#[test]
fn included_files_that_can_be_executed_are_left_out() {
    let (_lab, host) = one_host();
    let more =
        instance(100, "").replace("V {", "W {").replace("_id 9", "_id 10").replace(ADDRESS, "10.9.0.101");
    host.write_mode("/etc/keepalived/a.conf", &more, 0o755).expect("its file");
    host.write("/etc/keepalived/keepalived.conf", &format!("include a.conf\n{}", instance(100, "")))
        .expect("its file");
    let shown = run(&host, &["config", "/etc/keepalived/keepalived.conf"]);
    assert!(!text(&shown.stdout).contains("vrrp_instance W"), "{}", text(&shown.stdout));
    host.write_mode("/etc/keepalived/a.conf", &more, 0o644).expect("its file");
    let shown = run(&host, &["config", "/etc/keepalived/keepalived.conf"]);
    assert!(text(&shown.stdout).contains("vrrp_instance W"), "{}", text(&shown.stdout));
    // The grammar of nginx does not mind.
    host.write_mode("/etc/nginx/nginx.conf", &saying("a"), 0o755).expect("its file");
    assert!(run(&host, &["check", "/etc/nginx/nginx.conf"]).status.success());
}
