//! A namespace for a test, and what it needs there.

use std::any::type_name;
use std::collections::VecDeque;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weir_model::vrrp::Address;
use weir_netlink::{AddressWish, Event, Monitor, Netlink};

const STAGE: &str = "WEIR_NETLINK_TEST_STAGE";

/// Runs the body of the test that calls it in a new network namespace: the test starts itself once more, alone.
pub(crate) fn in_namespace<F: FnOnce()>(body: F) {
    in_stage(&[], body);
}

/// Runs the body in a new network namespace, without CAP_NET_ADMIN in it.
pub(crate) fn without_capability<F: FnOnce()>(body: F) {
    in_stage(&["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"], body);
}

fn in_stage<F: FnOnce()>(wrapper: &[&str], body: F) {
    if std::env::var_os(STAGE).is_some() {
        return body();
    }
    let root = rustix::process::geteuid().is_root();
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    let name = type_name::<F>().trim_end_matches("::{{closure}}");
    let name = name.split_once("::").map_or(name, |(_, name)| name);
    let exe = std::env::current_exe().expect("the test has a path");
    let output = Command::new("unshare")
        .arg("--net")
        .args(user)
        .args(wrapper)
        .arg(exe)
        .args(["--exact", name, "--nocapture"])
        .env(STAGE, "")
        .stdin(Stdio::null())
        .output()
        .expect("unshare of util-linux is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

/// Runs ip(8) and returns what it prints.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip(8) is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the links east and west, two ends of a cable, sets them up, and returns the index of east.
pub(crate) fn cable(netlink: &mut Netlink) -> u32 {
    ip("link add east type veth peer name west");
    ip("link set lo up");
    ip("link set east up");
    ip("link set west up");
    index(netlink, "east")
}

pub(crate) fn index(netlink: &mut Netlink, name: &str) -> u32 {
    let links = netlink.links().expect("links can be read");
    links.iter().find(|link| link.name == name).map(|link| link.index).expect("the link was made")
}

pub(crate) fn address(text: &str, prefix_len: u8) -> Address {
    let mut address = Address::new(text.parse().expect("a literal address"));
    address.prefix_len = prefix_len;
    address
}

pub(crate) fn wish(address: &Address, interface: u32, lease: Option<u32>) -> AddressWish<'_> {
    AddressWish { address, interface, lease }
}

/// Puts addresses, all of which the kernel has to take.
pub(crate) fn put(netlink: &mut Netlink, wishes: &[AddressWish<'_>]) {
    let results = netlink.put_addresses(wishes).expect("the kernel answers");
    assert_eq!(results.len(), wishes.len());
    for result in results {
        result.expect("the kernel takes the address");
    }
}

/// A monitor and what it has read and nobody has asked for yet.
pub(crate) struct News {
    monitor: Monitor,
    pending: VecDeque<Event>,
}

impl News {
    pub(crate) fn open() -> Self {
        Self { monitor: Monitor::open().expect("a monitor"), pending: VecDeque::new() }
    }

    /// Waits for the first event for which `pick` has a value; earlier events are dropped.
    pub(crate) fn first<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            while let Some(event) = self.pending.pop_front() {
                if let Some(found) = pick(event) {
                    return found;
                }
            }
            let mut fds = [PollFd::new(&self.monitor, PollFlags::IN)];
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let ready = poll(&mut fds, Some(&patience)).expect("a monitor can be polled");
            assert_eq!(ready, 1, "no such event in 20 s");
            let events = self.read();
            self.pending.extend(events);
        }
    }

    /// All that is there.
    pub(crate) fn read(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.monitor.read(&mut events).expect("a monitor can be read");
        events
    }
}
