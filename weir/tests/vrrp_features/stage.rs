//! What the cases share beyond the routers: a second network, and what programs of a host print.

use std::time::Duration;

use weir_lab::{Host, Lab, Outcome, ProbePlan};

use crate::common::{seek, text};
use crate::routers::{self, FAST, instance};

/// Hosts on one segment, or on the two that a router stands between.
pub(crate) fn lab() -> Lab {
    let lab = routers::lab();
    lab.segment("wan").expect("a switch");
    lab
}

/// Host `name` with 10.9.0.N on eth0 and 10.8.0.N on eth1.
pub(crate) fn gateway(lab: &Lab, name: &str, number: u8) -> Host {
    let host = lab.host(name).cable("lan").address(&format!("10.9.0.{number}/24"));
    host.cable("wan").address(&format!("10.8.0.{number}/24")).start().expect("a host")
}

/// The only instance of a file, with some priority and more lines.
pub(crate) fn one(priority: u8, body: &str) -> String {
    instance(priority, &format!("{FAST}\n {body}"))
}

/// What a program of a host prints.
pub(crate) fn output(host: &Host, words: &str) -> String {
    let mut words = words.split_whitespace();
    let program = words.next().expect("a program");
    let output = host.run(program, &words.collect::<Vec<_>>()).expect("it runs");
    text(&output.stdout) + &text(&output.stderr)
}

/// Waits until what a program prints is right.
pub(crate) fn prints(host: &Host, words: &str, is: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    let found = seek(|| {
        last = output(host, words);
        is(&last).then(|| last.clone())
    });
    found.unwrap_or_else(|| panic!("{words} prints:\n{last}"))
}

/// The hardware address that a host has for a neighbour.
pub(crate) fn neighbour(host: &Host, address: &str) -> Option<String> {
    let text = output(host, &format!("ip neighbour show {address}"));
    let mut words = text.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).map(str::to_owned)
}

/// The hardware address of an interface.
pub(crate) fn mac(host: &Host, interface: &str) -> String {
    let text = output(host, &format!("ip -o link show {interface}"));
    let mut words = text.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap_or_else(|| panic!("no hardware address: {text}")).to_owned()
}

/// Pings until the first ping is accounted for, and tells what became of it.
pub(crate) fn ping(host: &Host, address: &str) -> Outcome {
    let url =
        format!("ping://{}", if address.contains(':') { format!("[{address}]") } else { address.to_owned() });
    let plan = ProbePlan::to(&url).expect("an address").every(Duration::from_millis(20));
    let probe = host.probe(plan).expect("a probe");
    seek(|| probe.requests().first().map(|one| one.outcome.clone())).expect("an account")
}
