//! Whether a virtual router may take part, and with what priority.

use std::collections::HashMap;
use std::net::IpAddr;

use weir_model::vrrp::{Delivery, Family, Instance, SyncGroup, Track, TrackProxy, Vrrp};

use crate::links::{Links, Presence};
use crate::router::{Port, Router};
use crate::{Finding, Tracker};

/// A tracked value times its weight at or below this is a fault.
const FAULT_VALUE: i64 = -254;
/// The most that one tracker changes.
const MOST: i64 = 253;

/// What is known of trackers.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    findings: HashMap<Tracker, Finding>,
}

impl Trackers {
    /// Whether it differs from before in more than words.
    pub(crate) fn update(&mut self, tracker: &Tracker, finding: Finding) -> bool {
        let old = self.findings.insert(tracker.clone(), finding.clone());
        match (old, finding) {
            (Some(Finding::Up), Finding::Up) | (Some(Finding::Down(_)), Finding::Down(_)) => false,
            (Some(Finding::Value(old)), Finding::Value(new)) => old != new,
            _ => true,
        }
    }

    /// Forgets those that a new configuration defines otherwise or not at all.
    pub(crate) fn retain_equal(&mut self, old: &Vrrp, new: &Vrrp) {
        self.findings.retain(|tracker, _| match tracker {
            Tracker::Script(name) => {
                let find = |config: &Vrrp| config.scripts.iter().find(|one| one.name == *name).cloned();
                find(new).is_some_and(|definition| find(old) == Some(definition))
            }
            Tracker::Process(name) => {
                let find = |config: &Vrrp| config.processes.iter().find(|one| one.name == *name).cloned();
                find(new).is_some_and(|definition| find(old) == Some(definition))
            }
            Tracker::File(name) => {
                let find = |config: &Vrrp| config.files.iter().find(|one| one.name == *name).cloned();
                find(new).is_some_and(|definition| find(old) == Some(definition))
            }
            Tracker::Proxy | Tracker::Upstream(_) => true,
        });
    }

    fn find(&self, tracker: &Tracker) -> Option<&Finding> {
        self.findings.get(tracker)
    }
}

/// Whether a virtual router may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// For an interface that was not seen yet.
    NoLink(String),
    /// For trackers that have not reported yet.
    Unreported(String),
    Fault(String),
}

/// The judgement over one virtual router.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) readiness: Readiness,
    pub(crate) priority: u8,
    /// One line each: faults, then what changes the priority.
    pub(crate) reasons: Vec<String>,
    pub(crate) port: Port,
}

/// Looks at everything that a router depends on. `device` is its virtual interface.
pub(crate) fn assess(
    router: &Router,
    device: Option<&str>,
    links: &Links,
    trackers: &Trackers,
    group: Option<&SyncGroup>,
) -> Verdict {
    let config = &*router.config;
    let mut judge =
        Judge { faults: Vec::new(), weights: Vec::new(), unreported: None, no_link: None, sum: 0 };
    let port = judge.port(config, device, links);
    judge.delivery(config);
    if let Some(failure) = &router.hold_failure {
        judge.faults.push(failure.clone());
    }
    let weighted = group.is_none_or(|group| group.keep_weights) && !config.is_owner();
    judge.interfaces(&config.track_interfaces, links, weighted);
    judge.findings(&config.track_scripts, Tracker::Script, trackers, weighted);
    judge.findings(&config.track_processes, Tracker::Process, trackers, weighted);
    judge.findings(&config.track_files, Tracker::File, trackers, weighted);
    judge.findings(&config.track_upstreams, Tracker::Upstream, trackers, weighted);
    judge.proxy(config.track_proxy, trackers, weighted);
    if let Some(group) = group {
        // Its weights move all members alike.
        let weighted = !config.is_owner();
        judge.interfaces(&group.track_interfaces, links, weighted);
        judge.findings(&group.track_scripts, Tracker::Script, trackers, weighted);
        judge.findings(&group.track_processes, Tracker::Process, trackers, weighted);
        judge.findings(&group.track_files, Tracker::File, trackers, weighted);
    }
    judge.verdict(config, port)
}

struct Judge {
    faults: Vec<String>,
    weights: Vec<String>,
    unreported: Option<String>,
    no_link: Option<String>,
    sum: i64,
}

impl Judge {
    fn verdict(mut self, config: &Instance, port: Port) -> Verdict {
        let priority = if config.is_owner() {
            Instance::OWNER
        } else {
            let sum = (i64::from(config.priority) + self.sum).clamp(1, 254);
            u8::try_from(sum).expect("clamped to the range of priorities")
        };
        let readiness = if let Some(fault) = self.faults.first() {
            Readiness::Fault(fault.clone())
        } else if let Some(name) = self.no_link {
            Readiness::NoLink(format!("interface {name} has not been seen yet"))
        } else if let Some(name) = self.unreported {
            Readiness::Unreported(format!("{name} has not reported yet"))
        } else {
            Readiness::Ready
        };
        self.faults.append(&mut self.weights);
        Verdict { readiness, priority, reasons: self.faults, port }
    }

    fn port(&mut self, config: &Instance, device: Option<&str>, links: &Links) -> Port {
        let base = self.link(&config.interface, config.ignore_own_interface, links);
        let vmac = device.and_then(|name| self.link(name, config.ignore_own_interface, links));
        let xmit_base = config.vmac.as_ref().is_none_or(|vmac| vmac.xmit_base);
        let out = if xmit_base { base } else { vmac };
        let addresses =
            |link: Option<&crate::Link>| link.map(|link| link.addresses.clone()).unwrap_or_default();
        let source = match config.source {
            Some(source) => {
                if config.track_source && base.is_some() && !links.own_addresses().contains(&source) {
                    self.faults.push(format!("source address {source} is gone from {}", config.interface));
                }
                Some(source)
            }
            None => {
                // A virtual interface may have a link-local address of its own.
                let source = (config.family == Family::V6)
                    .then(|| source_of(config, &addresses(out)))
                    .flatten()
                    .or_else(|| source_of(config, &addresses(base)));
                if base.is_some() && source.is_none() {
                    self.faults.push(format!("interface {} has no address to send from", config.interface));
                }
                source
            }
        };
        let index = |link: Option<&crate::Link>| link.map(|link| link.index);
        Port { base: index(base), vmac: index(vmac), out: index(out), source }
    }

    fn link<'a>(&mut self, name: &str, ignore_state: bool, links: &'a Links) -> Option<&'a crate::Link> {
        match links.find(name) {
            Presence::Unknown => {
                self.no_link.get_or_insert_with(|| name.to_owned());
                None
            }
            Presence::Missing => {
                self.faults.push(format!("interface {name} does not exist"));
                None
            }
            Presence::Gone => {
                self.faults.push(format!("interface {name} is gone"));
                None
            }
            Presence::There { link, up } => {
                if !up && !ignore_state {
                    self.faults.push(format!("interface {name} is down"));
                }
                Some(link)
            }
        }
    }

    fn delivery(&mut self, config: &Instance) {
        if let Delivery::Unicast(unicast) = &config.delivery
            && unicast.fault_without_peer
            && unicast.peers.is_empty()
        {
            self.faults.push("no unicast peer is configured".to_owned());
        }
    }

    fn interfaces(&mut self, tracks: &[Track], links: &Links, weighted: bool) {
        for track in tracks {
            let (up, state) = match links.find(&track.name) {
                Presence::There { up: true, .. } => (true, "up"),
                Presence::There { up: false, .. } => (false, "down"),
                Presence::Gone => (false, "gone"),
                Presence::Missing => (false, "missing"),
                Presence::Unknown => {
                    self.no_link.get_or_insert_with(|| track.name.clone());
                    continue;
                }
            };
            self.apply(track, up, &format!("interface {} is {state}", track.name), weighted);
        }
    }

    fn findings(
        &mut self,
        tracks: &[Track],
        kind: fn(String) -> Tracker,
        trackers: &Trackers,
        weighted: bool,
    ) {
        for track in tracks {
            let tracker = kind(track.name.clone());
            match trackers.find(&tracker) {
                // What has not reported changes no priority.
                None if track.weight == 0 => {
                    self.unreported.get_or_insert_with(|| tracker.to_string());
                }
                None => {}
                Some(finding) => self.finding(track, &tracker, finding, weighted),
            }
        }
    }

    fn finding(&mut self, track: &Track, tracker: &Tracker, finding: &Finding, weighted: bool) {
        let what = format!("{tracker} is {finding}");
        match (finding, tracker) {
            (Finding::Up, Tracker::File(_)) | (Finding::Down(_), Tracker::File(_)) => {
                self.value(track, 0, &what, weighted);
            }
            (Finding::Up, _) => self.apply(track, true, &what, weighted),
            (Finding::Down(_), _) => self.apply(track, false, &what, weighted),
            (Finding::Value(value), _) => self.value(track, *value, &what, weighted),
        }
    }

    /// Up or down: weight zero makes a fault, a positive one counts while up, a negative one while down.
    fn apply(&mut self, track: &Track, up: bool, what: &str, weighted: bool) {
        let up = up != track.reverse;
        let counts = if track.weight >= 0 { up } else { !up };
        match track.weight {
            0 if !up => self.faults.push(what.to_owned()),
            0 => {}
            weight if counts && weighted => self.weigh(weight.into(), what),
            _ => {}
        }
    }

    /// A number: with weight zero any but zero is a fault, else number times weight is added.
    fn value(&mut self, track: &Track, value: i64, what: &str, weighted: bool) {
        if track.weight == 0 {
            if (value != 0) != track.reverse {
                self.faults.push(what.to_owned());
            }
            return;
        }
        let sign = if track.reverse { -1 } else { 1 };
        let change = value.saturating_mul(track.weight.into()).saturating_mul(sign);
        if change <= FAULT_VALUE {
            self.faults.push(what.to_owned());
        } else if change != 0 && weighted {
            self.weigh(change.min(MOST), what);
        }
    }

    fn proxy(&mut self, track: TrackProxy, trackers: &Trackers, weighted: bool) {
        let Some(finding) = trackers.find(&Tracker::Proxy) else { return };
        let weight = match track {
            TrackProxy::Off => return,
            TrackProxy::Fault => 0,
            TrackProxy::Weight(weight) => weight,
        };
        let track = Track { name: String::new(), weight, reverse: false };
        self.finding(&track, &Tracker::Proxy, finding, weighted);
    }

    fn weigh(&mut self, change: i64, what: &str) {
        self.sum = self.sum.saturating_add(change);
        self.weights.push(format!("{change:+}: {what}"));
    }
}

/// The first address, as keepalived chooses it. IPv6 advertisements come from a link-local one (RFC 9568 section
/// 5.1.2.1), but routed unicast cannot.
fn source_of(config: &Instance, addresses: &[IpAddr]) -> Option<IpAddr> {
    let routed = match &config.delivery {
        Delivery::Unicast(unicast) => unicast.peers.iter().any(|peer| !is_link_local(&peer.address)),
        Delivery::Multicast(_) => false,
    };
    let mut usable = addresses.iter().filter(|address| Family::of(address) == config.family);
    match config.family {
        Family::V4 => usable.next().copied(),
        Family::V6 => usable.find(|address| is_link_local(address) != routed).copied(),
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
