//! Weir and keepalived as peers: each takes over from the other, in both roles, in every form of advertisement.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use weir_lab::{Host, Lab, Program, Signal, Watch};

/// Enough for two master-down times on a busy machine; nothing waits longer than it has to.
const PATIENCE: Duration = Duration::from_secs(30);
/// Two masters hear each other within one advertisement; what is longer is a split.
const EXCHANGE: Duration = Duration::from_secs(1);

/// What an instance says besides its name, interface and priority.
struct Form {
    address: &'static str,
    /// Written into both files; `SELF` and `PEER` stand for the nodes' own addresses.
    body: &'static str,
    global: &'static str,
}

const V4: Form = Form { address: "10.9.0.100", body: "", global: "" };
const V6: Form = Form { address: "fd09::100", body: "version 3\n advert_int 0.2", global: "" };

#[derive(Clone, Copy, PartialEq)]
enum Player {
    Weir,
    Keepalived,
}

struct Node<'l> {
    host: &'l Host,
    player: Player,
    file: String,
}

impl Node<'_> {
    fn start(&self) -> Program {
        self.host.write("/etc/keepalived/keepalived.conf", &self.file).expect("its file");
        let mut command = match self.player {
            Player::Weir => Command::new(env!("CARGO_BIN_EXE_weir")),
            Player::Keepalived => Command::new("keepalived"),
        };
        match self.player {
            Player::Weir => command.args(["run", "/etc/keepalived/keepalived.conf"]),
            Player::Keepalived => {
                command.args(["-n", "-l", "-D", "-P", "-p", "/run/keepalived.pid", "-r", "/run/vrrp.pid"])
            }
        };
        self.host.spawn("vrrp", &command).expect("it starts")
    }
}

fn file(form: &Form, own: usize, priority: u8) -> String {
    let addresses =
        if form.address.contains(':') { ["fe80::a", "fe80::b"] } else { ["10.9.0.1", "10.9.0.2"] };
    let body = form.body.replace("SELF", addresses[own]).replace("PEER", addresses[1 - own]);
    format!(
        "global_defs {{\n router_id node{own}\n {}\n}}\nvrrp_instance V {{\n state BACKUP\n interface eth0\n \
         virtual_router_id 9\n priority {priority}\n {body}\n virtual_ipaddress {{\n {}\n }}\n}}\n",
        form.global, form.address
    )
}

/// The master ends, the backup takes over; the master returns and takes back what is its own.
fn play(form: &Form, master: Player, backup: Player) {
    let lab = Lab::new().unwrap_or_else(|error| panic!("these tests need hosts of their own: {error}"));
    lab.segment("lan").expect("a switch");
    let host = |name, v4, v6| lab.host(name).address(v4).address(v6).start().expect("a host");
    let (a, b) = (host("a", "10.9.0.1/24", "fe80::a/64"), host("b", "10.9.0.2/24", "fe80::b/64"));
    let address: IpAddr = form.address.parse().expect("an address");
    let watch = lab.watch(address);
    let master = Node { host: &a, player: master, file: file(form, 0, 150) };
    let backup = Node { host: &b, player: backup, file: file(form, 1, 100) };
    let other = backup.start();
    let first = master.start();
    holds(&watch, "a", &[&first, &other], &a, &b);
    first.signal(Signal::TERM).expect("it is told to end");
    holds(&watch, "b", &[&first, &other], &a, &b);
    first.wait(PATIENCE).expect("it ends");
    let again = master.start();
    holds(&watch, "a", &[&again, &other], &a, &b);
    other.signal(Signal::TERM).expect("it is told to end");
    other.wait(PATIENCE).expect("it ends");
    assert_eq!(watch.holders(), ["a"], "the end of a backup moves nothing");
    let account = watch.account(Duration::ZERO, lab.now());
    assert!(account.doubled < EXCHANGE, "two holders for {:?}: {:?}", account.doubled, watch.intervals());
}

fn holds(watch: &Watch, name: &str, programs: &[&Program], a: &Host, b: &Host) {
    if let Err(error) = watch.wait_holders(&[name], PATIENCE) {
        let log = |host: &Host| {
            programs.iter().map(|one| host.read(one.log()).unwrap_or_default()).collect::<String>()
        };
        panic!("{error}\n{:?}\na says:\n{}\nb says:\n{}", watch.intervals(), log(a), log(b));
    }
}

fn both_roles(form: &Form) {
    play(form, Player::Weir, Player::Keepalived);
    play(form, Player::Keepalived, Player::Weir);
}

const UNICAST: &str = "unicast_src_ip SELF\n unicast_peer {\n PEER\n }";
const PASSWORD: &str = "authentication {\n auth_type PASS\n auth_pass secret12\n }";

#[test]
fn version_2() {
    both_roles(&V4);
}

#[test]
fn version_2_with_a_password() {
    both_roles(&Form { body: PASSWORD, ..V4 });
}

#[test]
fn version_2_with_ah() {
    both_roles(&Form { body: "authentication {\n auth_type AH\n auth_pass secret12\n }", ..V4 });
}

#[test]
fn version_2_unicast() {
    let body = format!("{UNICAST}\n {PASSWORD}");
    both_roles(&Form { body: Box::leak(body.into_boxed_str()), ..V4 });
}

#[test]
fn version_2_strict() {
    // Strict mode clears the password on both sides, whatever the file says.
    both_roles(&Form { body: PASSWORD, global: "vrrp_strict", ..V4 });
}

#[test]
fn version_3() {
    both_roles(&Form { body: "version 3\n advert_int 0.2", ..V4 });
}

#[test]
fn version_3_unicast() {
    let body = format!("version 3\n advert_int 0.2\n {UNICAST}");
    both_roles(&Form { body: Box::leak(body.into_boxed_str()), ..V4 });
}

#[test]
fn version_3_over_ipv6() {
    both_roles(&V6);
}

#[test]
fn version_3_over_ipv6_unicast() {
    let body = format!("version 3\n advert_int 0.2\n {UNICAST}");
    both_roles(&Form { body: Box::leak(body.into_boxed_str()), ..V6 });
}

#[test]
fn weir_alone() {
    play(&V4, Player::Weir, Player::Weir);
    play(&V6, Player::Weir, Player::Weir);
}

#[test]
fn a_virtual_hardware_address() {
    both_roles(&Form { body: "use_vmac", ..V4 });
}
