//! Weir and keepalived as peers: each takes over from the other, in both roles, in every form of advertisement.

mod common;
mod routers;

use std::time::Duration;

use routers::{ADDRESS, FAST, Instance, PATIENCE, Start, holds, host, keepalived, lab, watch, weir};
use weir_lab::Signal;

/// Two masters hear each other within one advertisement; what is longer is a split.
const EXCHANGE: Duration = Duration::from_secs(1);

/// What an instance says besides its name, interface and priority.
struct Form {
    address: &'static str,
    /// Written into both files; `SELF` and `PEER` stand for the nodes' own addresses.
    body: &'static str,
    global: &'static str,
}

const V4: Form = Form { address: ADDRESS, body: "", global: "" };
const V6: Form = Form { address: "fd09::100", body: FAST, global: "" };

fn file(form: &Form, own: usize, priority: u8) -> String {
    let own_addresses =
        if form.address.contains(':') { ["fe80::1", "fe80::2"] } else { ["10.9.0.1", "10.9.0.2"] };
    let body = form.body.replace("SELF", own_addresses[own]).replace("PEER", own_addresses[1 - own]);
    let instance = Instance { priority, addresses: form.address, body: &body, ..Instance::default() };
    format!("global_defs {{\n router_id node{own}\n {}\n}}\n{}", form.global, instance.text())
}

/// The master ends, the backup takes over; the master returns and takes back what is its own.
fn play(form: &Form, master: Start, backup: Start) {
    let lab = lab();
    let (a, b) = (host(&lab, "a", 1), host(&lab, "b", 2));
    let watch = watch(&lab, form.address);
    let other = backup(&b, &file(form, 1, 100));
    let first = master(&a, &file(form, 0, 150));
    holds(&watch, &["a"], &[&first, &other]);
    first.program.signal(Signal::TERM).expect("it is told to end");
    holds(&watch, &["b"], &[&first, &other]);
    first.program.wait(PATIENCE).expect("it ends");
    let again = master(&a, &file(form, 0, 150));
    holds(&watch, &["a"], &[&again, &other]);
    other.end();
    assert_eq!(watch.holders(), ["a"], "the end of a backup moves nothing");
    let account = watch.account(Duration::ZERO, lab.now());
    assert!(account.doubled < EXCHANGE, "two holders for {:?}: {:?}", account.doubled, watch.intervals());
}

fn both_roles(form: &Form) {
    play(form, weir, keepalived);
    play(form, keepalived, weir);
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
    both_roles(&Form { body: FAST, ..V4 });
}

#[test]
fn version_3_unicast() {
    let body = format!("{FAST}\n {UNICAST}");
    both_roles(&Form { body: Box::leak(body.into_boxed_str()), ..V4 });
}

#[test]
fn version_3_over_ipv6() {
    both_roles(&V6);
}

#[test]
fn version_3_over_ipv6_unicast() {
    let body = format!("{FAST}\n {UNICAST}");
    both_roles(&Form { body: Box::leak(body.into_boxed_str()), ..V6 });
}

#[test]
fn weir_alone() {
    play(&V4, weir, weir);
    play(&V6, weir, weir);
}

#[test]
fn a_virtual_hardware_address() {
    both_roles(&Form { body: "use_vmac", ..V4 });
}
