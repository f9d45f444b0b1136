//! Hosts in network namespaces, joined by virtual cables.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Tells a test that it runs in a namespace of its own already.
const MARK: &str = "WEIR_TEST_NAMESPACE";

// The kernel numbers its first namespaces alike everywhere (linux/nsfs.h).

/// the host's own namespace of users, where capabilities count for the whole host
pub(crate) const FIRST_USERS: (&str, u32) = ("user", 0xefff_fffd);
/// the host's own namespace of processes
pub(crate) const FIRST_PROCESSES: (&str, u32) = ("pid", 0xefff_fffc);

/// Whether this process is in that namespace.
pub(crate) fn is_first((kind, number): (&str, u32)) -> bool {
    let name = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("the own namespace");
    name.as_os_str() == format!("{kind}:[{number}]").as_str()
}

/// Runs the body of the test `name` in a process that is root of its own network, with or without root here.
pub(crate) fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let status = Command::new("unshare")
        .args(if weir_net::is_root() { &["--net"][..] } else { &["--user", "--map-root-user", "--net"] })
        .arg(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", name, "--nocapture"])
        .env(MARK, "1")
        .status()
        .expect("unshare(1) is installed");
    assert!(status.success(), "{name} in its namespace: {status}");
}

/// A network namespace.
pub(crate) struct Host {
    space: File,
}

impl Host {
    /// One without interfaces but loopback, which is down.
    pub(crate) fn new() -> Host {
        let before = here();
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        let host = Host { space: here() };
        enter(&before);
        // An address must not wait for duplicate address detection.
        host.run(|| {
            for (setting, value) in [
                ("net/ipv6/conf/default/accept_dad", "0"),
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/default/rp_filter", "0"),
            ] {
                weir_net::write_sysctl(setting, value).expect("a setting of the own network");
            }
        });
        host
    }

    /// Does something there: sockets that are opened stay there, and so do the commands that are started.
    pub(crate) fn run<R>(&self, action: impl FnOnce() -> R) -> R {
        let before = here();
        enter(&self.space);
        let result = action();
        enter(&before);
        result
    }

    /// `ip WORDS` there.
    pub(crate) fn ip(&self, words: &str) {
        let output = self.run(|| Command::new("ip").args(words.split_whitespace()).output());
        let output = output.expect("ip(8) is installed");
        assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A cable: the interface `name` here, with a MAC that ends in `last`, and one of that name at `peer`, whose MAC
    /// ends in `last + 1`. Returns both indexes.
    pub(crate) fn cable(&self, peer: &Host, name: &str, last: u8) -> (u32, u32) {
        let space = format!("/proc/{}/fd/{}", std::process::id(), peer.space.as_raw_fd());
        self.ip(&format!(
            "link add {name} address 02:00:00:00:00:{last:02x} type veth peer name {name} netns {space}"
        ));
        peer.ip(&format!("link set {name} address 02:00:00:00:00:{:02x}", last + 1));
        self.ip(&format!("link set {name} up"));
        peer.ip(&format!("link set {name} up"));
        self.await_up(name);
        peer.await_up(name);
        (self.index(name), peer.index(name))
    }

    /// The kernel lets a cable carry packets some moments after both ends went up; last it makes the link-local address.
    fn await_up(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_up = || {
            let mut addresses = nix::ifaddrs::getifaddrs().expect("the own addresses");
            addresses
                .any(|a| a.interface_name == name && a.address.is_some_and(|a| a.as_sockaddr_in6().is_some()))
        };
        self.run(|| {
            while !is_up() {
                assert!(Instant::now() < deadline, "{name} does not come up");
                std::thread::yield_now();
            }
        });
    }

    fn index(&self, name: &str) -> u32 {
        self.run(|| nix::net::if_::if_nametoindex(name)).expect("an interface")
    }
}

fn here() -> File {
    File::open("/proc/thread-self/ns/net").expect("the own namespace")
}

fn enter(space: &File) {
    setns(space, CloneFlags::CLONE_NEWNET).expect("root of these namespaces");
}

/// Waits until a socket is readable; at most ten seconds.
pub(crate) fn readable(fd: impl AsFd) {
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).expect("poll");
    assert_eq!(ready, 1, "nothing arrived");
}
