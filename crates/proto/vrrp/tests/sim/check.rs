//! What must never happen.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use weir_vrrp::Time;

use super::host::Host;
use super::scene::Scene;

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    at: Time,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(at: Time, what: String) -> Self {
        Self { at, what }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}: {}", self.at.as_secs_f64() - 1000.0, self.what)
    }
}

/// How long each state that should not last may last. Absent: for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) two_masters: Option<Duration>,
    pub(crate) no_master: Option<Duration>,
    pub(crate) two_holders: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Watch {
    two_masters: Option<Time>,
    no_master: Option<Time>,
    two_holders: Option<Time>,
}

pub(crate) struct Check {
    limits: Limits,
    /// The first address of each instance.
    addresses: Vec<IpAddr>,
    watches: Vec<Watch>,
}

impl Check {
    pub(crate) fn new(scene: &Scene) -> Self {
        let addresses = scene.addresses();
        Self { limits: scene.limits(), watches: vec![Watch::default(); addresses.len()], addresses }
    }

    pub(crate) fn lift(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Something happened that makes routers wait anew.
    pub(crate) fn disturb(&mut self) {
        for watch in &mut self.watches {
            watch.no_master = None;
        }
    }

    /// A holder stopped to run: its leases end by themselves.
    pub(crate) fn orphan(&mut self, now: Time) {
        for watch in &mut self.watches {
            watch.two_holders = watch.two_holders.map(|_| now);
        }
    }

    /// Nothing has changed since the last look.
    pub(crate) fn verify(&self, now: Time) -> Result<(), Violation> {
        let over = |since: Option<Time>, limit: Option<Duration>| match (since, limit) {
            (Some(since), Some(limit)) => (now.saturating_sub(since) > limit).then_some(limit),
            _ => None,
        };
        for (i, watch) in self.watches.iter().enumerate() {
            for (what, over) in [
                ("two masters", over(watch.two_masters, self.limits.two_masters)),
                ("no master", over(watch.no_master, self.limits.no_master)),
                ("two holders", over(watch.two_holders, self.limits.two_holders)),
            ] {
                if let Some(limit) = over {
                    return Err(Violation::new(
                        now,
                        format!("instance {i}: {what} for longer than {limit:?}"),
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn look(&mut self, now: Time, hosts: &[Host]) {
        let eligible = hosts.iter().any(Host::is_eligible);
        for (i, (watch, address)) in self.watches.iter_mut().zip(&self.addresses).enumerate() {
            let masters = hosts.iter().filter(|host| host.runs() && host.is_master(i)).count();
            let holders = hosts.iter().filter(|host| host.kernel.contains_key(address)).count();
            let mark = |since: &mut Option<Time>, holds: bool| {
                *since = holds.then(|| since.unwrap_or(now));
            };
            mark(&mut watch.two_masters, masters > 1);
            mark(&mut watch.no_master, masters == 0 && eligible);
            mark(&mut watch.two_holders, holders > 1);
        }
    }
}
