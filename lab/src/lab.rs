//! The laboratory itself: a switch with segments, hosts, a clock, and the ledger of addresses.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::addresses::Ledger;
use crate::error::{Error, Result};
use crate::filter::{self, Rule};
use crate::host::{Host, HostPlan};
use crate::space::Space;
use crate::watch::Watch;

/// Hosts on switches. It goes with the last handle to it, and everything in it goes as well.
///
/// Nothing has a name outside, so any number of laboratories can exist at once.
#[derive(Clone)]
pub struct Lab {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) switch: Space,
    pub(crate) epoch: Instant,
    pub(crate) ledger: Arc<Ledger>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: Vec<String>,
    ports: u32,
    macs: u8,
    blocks: Vec<(u64, Rule)>,
    next_block: u64,
    /// Which ports of the switch a host has.
    wiring: BTreeMap<String, Vec<String>>,
}

/// Frames that are dropped; name it to [`Lab::unblock`] to let them pass again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a block can be lifted only with this"]
pub struct Block(Vec<u64>);

/// Which frames a block means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    /// Share of the frames that are dropped, 0 to 1.
    pub share: f64,
    /// An IP protocol number (112 is VRRP, RFC 5798 section 5.1.1.4); `None`: everything, ARP as well.
    pub protocol: Option<u8>,
}

impl Traffic {
    pub const ALL: Traffic = Traffic { share: 1.0, protocol: None };
    /// Only VRRP, as a filter for multicast or protocol 112 would do it.
    pub const VRRP: Traffic = Traffic { share: 1.0, protocol: Some(112) };
}

impl Lab {
    /// An empty laboratory.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where namespaces cannot be made: root is needed, or a user namespace with a network and
    /// mount namespace in it.
    pub fn new() -> Result<Lab> {
        for name in ["unshare", "nsenter", "ip"] {
            crate::space::tool(name)?;
        }
        let switch = Space::bare("switch")?;
        switch.inside(|| fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))?.ok();
        switch.ip("link set lo up\n")?;
        let state = Mutex::new(State::default());
        Ok(Lab { inner: Arc::new(Inner { switch, epoch: Instant::now(), ledger: Arc::default(), state }) })
    }

    /// Whether users other than root exist inside: not so in a user namespace of one user, where programs cannot
    /// change to `nobody` or `www-data`.
    pub fn has_users() -> bool {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().nth(2).and_then(|count| count.parse().ok()).is_some_and(|count: u64| count > 1)
    }

    /// The time since the laboratory began: the clock of all its records.
    pub fn now(&self) -> Duration {
        self.inner.epoch.elapsed()
    }

    /// Makes a segment: a switch of its own without spanning tree, learning delay or multicast snooping.
    pub fn segment(&self, name: &str) -> Result<()> {
        let mut state = self.inner.state();
        if state.segments.iter().any(|segment| segment == name) {
            return Err(Error::wrong(format!("there are two segments \"{name}\"; give one another name")));
        }
        let bridge = format!("br{}", state.segments.len());
        self.inner.switch.ip(&format!(
            "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {bridge} up\n"
        ))?;
        state.segments.push(name.to_owned());
        Ok(())
    }

    /// Plans a host; [`HostPlan::start`] makes it.
    pub fn host(&self, name: &str) -> HostPlan {
        HostPlan::new(self.clone(), name)
    }

    /// Watches who has an address. What happened before the call is known as well.
    pub fn watch(&self, address: IpAddr) -> Watch {
        Watch::new(self.clone(), address)
    }

    /// Drops what `from` sends to `to`, one way.
    pub fn block(&self, from: &Host, to: &Host) -> Result<Block> {
        self.block_traffic(&[from.name()], &[to.name()], Traffic::ALL)
    }

    /// Drops a part of what hosts send to others. An empty list means everybody.
    pub fn block_traffic(&self, from: &[&str], to: &[&str], traffic: Traffic) -> Result<Block> {
        let mut state = self.inner.state();
        let (sources, targets) = (state.ports(from)?, state.ports(to)?);
        let mut ids = Vec::new();
        for source in &sources {
            for target in targets.iter().filter(|target| *target != source || target.is_none()) {
                let id = state.next_block;
                state.next_block += 1;
                ids.push(id);
                let rule = Rule {
                    from: source.clone(),
                    to: target.clone(),
                    // The range is checked by the clamp.
                    per_million: (traffic.share.clamp(0.0, 1.0) * 1e6) as u32,
                    protocol: traffic.protocol,
                };
                state.blocks.push((id, rule));
            }
        }
        self.inner.apply(&state)?;
        Ok(Block(ids))
    }

    /// Parts the hosts of two lists from each other, both ways.
    pub fn partition(&self, left: &[&str], right: &[&str]) -> Result<Block> {
        let Block(mut ids) = self.block_traffic(left, right, Traffic::ALL)?;
        ids.extend(self.block_traffic(right, left, Traffic::ALL)?.0);
        Ok(Block(ids))
    }

    /// Lets frames pass again.
    pub fn unblock(&self, block: &Block) -> Result<()> {
        let mut state = self.inner.state();
        state.blocks.retain(|(id, _)| !block.0.contains(id));
        self.inner.apply(&state)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, state: &State) -> Result<()> {
        let rules: Vec<Rule> = state.blocks.iter().map(|(_, rule)| rule.clone()).collect();
        self.switch.inside(|| filter::install(&rules))?
    }

    /// Names a port of the switch for a host, and the bridge of its segment; and a hardware address.
    pub(crate) fn plug(&self, host: &str, segment: &str) -> Result<Port> {
        let mut state = self.state();
        let index = state.segments.iter().position(|name| name == segment).ok_or_else(|| {
            let known = state.segments.join(", ");
            Error::wrong(format!(
                "host \"{host}\" is on the segment \"{segment}\", which does not exist; there are: {known}"
            ))
        })?;
        let name = format!("port{}", state.ports);
        state.ports += 1;
        state.macs = state.macs.wrapping_add(1);
        state.wiring.entry(host.to_owned()).or_default().push(name.clone());
        Ok(Port { name, bridge: format!("br{index}"), mac: format!("02:00:00:00:00:{:02x}", state.macs) })
    }

    /// The bridge of a segment.
    pub(crate) fn bridge(&self, segment: &str) -> Result<String> {
        let index = self.state().segments.iter().position(|name| name == segment);
        index
            .map(|index| format!("br{index}"))
            .ok_or_else(|| Error::wrong(format!("there is no segment \"{segment}\"")))
    }
}

impl State {
    /// The ports of some hosts; `None` stands for every port.
    fn ports(&self, hosts: &[&str]) -> Result<Vec<Option<String>>> {
        if hosts.is_empty() {
            return Ok(vec![None]);
        }
        let mut ports = Vec::new();
        for host in hosts {
            let wires =
                self.wiring.get(*host).ok_or_else(|| Error::wrong(format!("there is no host \"{host}\"")))?;
            ports.extend(wires.iter().cloned().map(Some));
        }
        Ok(ports)
    }
}

/// One end of a cable.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) bridge: String,
    pub(crate) mac: String,
}
