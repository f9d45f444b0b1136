//! Which routers there are, and what they are told to be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use weir_model::Micros;
use weir_model::vrrp::{
    Address, Authentication, Delivery, Family, Instance, Script, SyncGroup, Track, TrackScript, Unicast,
    UnicastPeer, Version, Vrrp,
};

use super::check::Limits;
use super::host::NAME;
use super::rng::Rng;
use super::world::Network;

/// A fault that the checks have to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    None,
    /// This host hears nothing.
    Deaf(usize),
    /// Released addresses stay.
    Clinging,
}

pub(crate) struct Scene {
    /// Every packet arrives soon.
    pub(crate) reliable: bool,
    pub(crate) mutation: Mutation,
    pub(crate) hosts: Vec<(Arc<Vrrp>, IpAddr)>,
}

/// What all hosts have in common.
struct Common {
    version: Version,
    family: Family,
    interval: Duration,
    unicast: bool,
    authentication: Authentication,
    instances: u8,
    script_weight: Option<i32>,
    lower_prio_no_advert: bool,
}

impl Scene {
    pub(crate) fn new(rng: &mut Rng, mutation: Mutation) -> Self {
        let reliable = mutation != Mutation::None || rng.percent(60);
        let count = 2 + u8::try_from(rng.below(4)).unwrap_or(0);
        let common = Common::new(rng);
        let addresses: Vec<IpAddr> = (1..=count).map(|n| common.host_address(n)).collect();
        let equal = rng.percent(15);
        let mut priorities: Vec<u8> = (0..count).map(|n| if equal { 100 } else { 60 + 40 * n }).collect();
        for i in 0..priorities.len() {
            let other = rng.index(priorities.len());
            priorities.swap(i, other);
        }
        if rng.percent(10) {
            priorities[0] = 254;
        }
        let differing = rng.percent(10);
        let hosts = (0..usize::from(count))
            .map(|n| {
                let mut config = common.config(rng, &addresses, n, priorities[n]);
                if differing && n == 0 {
                    let extra = common.virtual_address(99);
                    config.instances[0].addresses.push(Address::new(extra));
                }
                (Arc::new(config), addresses[n])
            })
            .collect();
        Self { reliable, mutation, hosts }
    }

    fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.hosts.iter().flat_map(|(config, _)| &config.instances)
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.hosts[0].0.instances.iter().map(|instance| instance.addresses[0].address).collect()
    }

    pub(crate) fn interval(&self) -> Duration {
        self.instances().map(|instance| instance.advert_interval.duration()).max().unwrap_or_default()
    }

    /// The longest Master_Down_Interval.
    pub(crate) fn master_down(&self) -> Duration {
        self.interval() * 3 + self.interval().max(Duration::from_secs(1))
    }

    pub(crate) fn preempt_delay(&self) -> Duration {
        self.instances().map(|instance| instance.preempt_delay.duration()).max().unwrap_or_default()
    }

    pub(crate) fn all_preempt(&self) -> bool {
        self.instances().all(|instance| !instance.nopreempt)
    }

    pub(crate) fn limits(&self) -> Limits {
        if !self.reliable {
            return Limits { two_masters: None, no_master: None, two_holders: None };
        }
        let flight = Network::reliable().delay.1;
        let silent = self.instances().any(|instance| instance.lower_prio_no_advert);
        let exchange = if silent { self.interval() } else { self.interval() / 8 } + flight * 4;
        // A router that dies may have renewed its lease just now, and the next one may be about to preempt it.
        let lease = Duration::from_millis(2350);
        Limits {
            two_masters: Some(exchange),
            no_master: Some(self.master_down() + flight * 4),
            two_holders: Some(exchange + lease),
        }
    }
}

impl Common {
    fn new(rng: &mut Rng) -> Self {
        let version = *rng.pick(&[Version::V2, Version::V2, Version::V3]);
        let family = if version == Version::V3 && rng.percent(50) { Family::V6 } else { Family::V4 };
        let interval = match version {
            Version::V2 => Duration::from_secs(1 + rng.below(5) / 4),
            Version::V3 => Duration::from_millis(*rng.pick(&[100, 300, 500, 1000, 1000, 1500])),
        };
        let authentication = match (version, rng.below(10)) {
            (Version::V2, 0..=2) => Authentication::Pass("sesame".to_owned()),
            (Version::V2, 3) => Authentication::Ah("open sesame".to_owned()),
            _ => Authentication::None,
        };
        Self {
            version,
            family,
            interval,
            unicast: rng.percent(25),
            authentication,
            instances: if rng.percent(20) { 2 } else { 1 },
            script_weight: *rng.pick(&[None, None, Some(0), Some(-100), Some(20)]),
            lower_prio_no_advert: rng.percent(10),
        }
    }

    fn host_address(&self, n: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, 77, 0, n).into(),
            Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n.into()).into(),
        }
    }

    fn virtual_address(&self, n: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(10, 77, 1, n).into(),
            Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, n.into()).into(),
        }
    }

    fn config(&self, rng: &mut Rng, addresses: &[IpAddr], n: usize, priority: u8) -> Vrrp {
        let mut config = Vrrp::default();
        let nopreempt = rng.percent(15);
        let wants_master = rng.percent(30);
        let preempt_delay = if rng.percent(10) { Micros::from_secs(1 + rng.below(4)) } else { Micros(0) };
        // Version 3 routers may differ in their intervals.
        let halves = if self.version == Version::V3 && rng.percent(15) { 2 } else { 1 };
        let interval = Micros(u64::try_from(self.interval.as_micros()).unwrap_or(u64::MAX) / halves);
        for k in 1..=self.instances {
            let mut instance = Instance::new(format!("web{k}"), NAME, 50 + k);
            instance.priority = priority;
            instance.version = self.version;
            instance.family = self.family;
            instance.advert_interval = interval;
            instance.authentication = self.authentication.clone();
            instance.delivery = self.delivery(addresses, n);
            instance.addresses = vec![Address::new(self.virtual_address(k))];
            instance.nopreempt = nopreempt;
            instance.wants_master = wants_master;
            instance.preempt_delay = preempt_delay;
            instance.lower_prio_no_advert = self.lower_prio_no_advert;
            if let Some(weight) = self.script_weight {
                instance.track_scripts.push(Track { name: "chk".to_owned(), weight, reverse: false });
            }
            config.instances.push(instance);
        }
        if self.instances > 1 {
            let members = config.instances.iter().map(|instance| instance.name.clone()).collect();
            config.groups.push(SyncGroup { name: "all".to_owned(), members, ..SyncGroup::default() });
        }
        if self.script_weight.is_some() {
            config.scripts.push(script());
        }
        config
    }

    fn delivery(&self, addresses: &[IpAddr], n: usize) -> Delivery {
        if !self.unicast {
            return Delivery::Multicast(match self.family {
                Family::V4 => Ipv4Addr::new(224, 0, 0, 18).into(),
                Family::V6 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
            });
        }
        let others = addresses.iter().enumerate().filter(|(other, _)| *other != n);
        let peers = others
            .map(|(_, address)| UnicastPeer { address: *address, min_ttl: 255, max_ttl: 255 })
            .collect();
        Delivery::Unicast(Unicast { peers, ttl: 255, check_source: true, fault_without_peer: false })
    }
}

fn script() -> TrackScript {
    TrackScript {
        name: "chk".to_owned(),
        script: Script { argv: vec!["/usr/bin/true".to_owned()], user: None },
        interval: Micros::from_secs(1),
        timeout: Micros::from_secs(1),
        weight: 0,
        reverse: false,
        rise: 1,
        fall: 1,
        init_fail: false,
    }
}
