//! One virtual router: what it knows, and the sums of RFC 9568 section 6.1.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_model::vrrp::{Address, Delivery, Instance, Version};

use crate::adverts::{Foreign, Sequences};
use crate::timers::Timers;
use crate::{Assets, InstanceId, State, Stats, Time};

/// ```text
///                       +---------------+
///            +--------->|  Initialize   |<---------+
///            |          |   or FAULT    |          |
///            |          +---------------+          |
///            |            |           |            |
///            |      owner |           | others     |
///            |            V           V            |
///    +---------------+  master down  +---------------+
///    |    Master     |<--------------|    Backup     |
///    |               |-------------->|               |
///    +---------------+ higher heard  +---------------+
/// ```
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) id: InstanceId,
    pub(crate) config: Arc<Instance>,
    pub(crate) assets: Arc<Assets>,
    /// What is advertised, in its order.
    pub(crate) list: Vec<IpAddr>,
    /// Its place in the node's list of sync groups.
    pub(crate) group: Option<usize>,
    pub(crate) state: State,
    pub(crate) since: Time,
    pub(crate) cause: String,
    /// It would be master, if its sync group were.
    pub(crate) wants_master: bool,
    pub(crate) effective: u8,
    /// Master_Adver_Interval (RFC 9568 section 6.1).
    pub(crate) master_interval: Duration,
    pub(crate) port: Port,
    pub(crate) timers: Timers,
    pub(crate) master: Option<Heard>,
    /// Lower priorities are listened to until then (`preempt_delay`).
    pub(crate) preempt_at: Option<Time>,
    /// When the last advertisement was sent.
    pub(crate) advert_at: Time,
    /// When the leases were last renewed.
    pub(crate) renewed_at: Time,
    /// When any peer was last heard.
    pub(crate) heard_at: Option<Time>,
    /// When an advertisement of a leaving or lower router was last answered.
    pub(crate) answered_at: Option<Time>,
    pub(crate) crossed_at: Option<Time>,
    /// The last claim by another hardware address.
    pub(crate) conflict: Option<(Time, String)>,
    pub(crate) foreign: Vec<Foreign>,
    /// Whose list was looked at last, and when.
    pub(crate) list_seen: Option<(IpAddr, Time)>,
    pub(crate) sequences: Sequences,
    pub(crate) rogue: Rogue,
    pub(crate) adoption: bool,
    /// The predecessor let go a moment ago, and this process saw it.
    pub(crate) handed: bool,
    pub(crate) hold_failure: Option<String>,
    pub(crate) stats: Stats,
}

/// Where packets leave and arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Port {
    /// Index of the interface of the configuration.
    pub(crate) base: Option<u32>,
    /// Index of the virtual interface.
    pub(crate) vmac: Option<u32>,
    /// Index of the one that advertisements leave by.
    pub(crate) out: Option<u32>,
    pub(crate) source: Option<IpAddr>,
}

/// The master that a backup listens to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) address: IpAddr,
    pub(crate) priority: u8,
    pub(crate) at: Time,
}

/// What this owner does about another owner that should step back, as its address is lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rogue {
    None,
    /// So many advertisements are still sent to it before the clock starts.
    Told {
        adverts: u8,
        interval: Duration,
    },
    /// The clock runs: one more advertisement of it, and this node steps back.
    Awaited,
}

impl Router {
    pub(crate) fn new(now: Time, id: InstanceId, config: Arc<Instance>, device: Option<String>) -> Self {
        Self {
            id,
            assets: Arc::new(assets(&config, device)),
            list: list(&config),
            group: None,
            state: State::Init,
            since: now,
            cause: "started".to_owned(),
            wants_master: false,
            effective: config.priority,
            master_interval: config.advert_interval.duration(),
            port: Port::default(),
            timers: Timers::default(),
            master: None,
            preempt_at: None,
            advert_at: now,
            renewed_at: now,
            heard_at: None,
            answered_at: None,
            crossed_at: None,
            conflict: None,
            foreign: Vec::new(),
            list_seen: None,
            sequences: Sequences::new(now),
            rogue: Rogue::None,
            adoption: false,
            handed: false,
            hold_failure: None,
            stats: Stats::default(),
            config,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.config.name.clone()
    }

    pub(crate) fn is_master(&self) -> bool {
        self.state == State::Master
    }

    /// Its own interval between two advertisements.
    pub(crate) fn interval(&self) -> Duration {
        self.config.advert_interval.duration().max(LEAST_INTERVAL)
    }

    /// Skew_Time: RFC 3768 section 6.1 counts from one second, RFC 9568 section 6.1 from the master's interval.
    pub(crate) fn skew(&self) -> Duration {
        skew(self.config.version, self.master_interval, self.effective)
    }

    /// Master_Down_Interval, with keepalived's `down_timer_adverts` instead of 3.
    pub(crate) fn master_down(&self) -> Duration {
        self.master_interval * u32::from(self.config.down_timer_adverts) + self.skew()
    }

    /// How long a master may be silent before a peer with priority 254 takes over.
    pub(crate) fn stall_limit(&self) -> Duration {
        // One advertisement alone would make every hiccup of the scheduler a stall.
        let adverts = u32::from(self.config.down_timer_adverts.max(2));
        self.interval() * adverts + skew(self.config.version, self.interval(), Instance::OWNER - 1)
    }

    /// How long it listens that wants to be master together with its sync group.
    pub(crate) fn one_advert(&self) -> Duration {
        self.interval() + skew(self.config.version, self.interval(), Instance::OWNER)
    }

    /// The least time between two answers to advertisements that others should not have sent.
    pub(crate) fn pause(&self) -> Duration {
        self.interval() / 8
    }

    pub(crate) fn may_answer(&self, now: Time) -> bool {
        self.answered_at.is_none_or(|at| now.saturating_sub(at) >= self.pause())
    }

    /// Compares what a peer says with this router: higher priority wins, then the higher address (RFC 9568 section
    /// 6.4.3).
    pub(crate) fn rank_of(&self, priority: u8, source: IpAddr) -> Ordering {
        priority.cmp(&self.effective).then_with(|| Some(source).cmp(&self.port.source))
    }

    /// Whether a sender is one of the configured peers.
    pub(crate) fn has_peer(&self, source: IpAddr) -> bool {
        match &self.config.delivery {
            Delivery::Multicast(_) => false,
            Delivery::Unicast(unicast) => unicast.peers.iter().any(|peer| peer.address == source),
        }
    }

    /// When a silent peer is heard again, that is worth a word.
    pub(crate) fn silence(&self, now: Time) -> Duration {
        now.saturating_sub(self.heard_at.map_or(self.since, |heard| heard.max(self.since)))
    }

    /// Whether a predecessor's addresses are leased so shortly that no peer can have taken over while they last: how
    /// long after the start that holds.
    pub(crate) fn adoption_window(&self) -> Result<Duration, String> {
        if self.handed {
            // The last advertisement is one interval old at most, and a peer waits for three.
            return Ok(self.interval());
        }
        let lease = self.config.lease.ok_or("addresses without a lease may be as old as the machine")?;
        let lease = Duration::from_secs(lease.seconds.into()) + LEASE_SLACK;
        let least = self.interval() * u32::from(self.config.down_timer_adverts.min(3));
        match least.checked_sub(lease) {
            Some(window) if !window.is_zero() => Ok(window),
            _ => Err(format!(
                "a lease of {} s outlasts {} s without advertisements, after which a peer is master",
                lease.as_secs_f64(),
                least.as_secs_f64()
            )),
        }
    }

    /// Whether the kernel may have taken leased addresses away since they were last renewed.
    pub(crate) fn lease_may_be_over(&self, now: Time) -> bool {
        self.assets.lease.is_some_and(|lease| {
            now.saturating_sub(self.renewed_at) >= Duration::from_secs(lease.seconds.into())
        })
    }
}

/// What a packet of version 3 can say.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// How long after its end the kernel may still keep a leased address, and a little more.
const LEASE_SLACK: Duration = Duration::from_millis(400);

fn skew(version: Version, interval: Duration, priority: u8) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    whole * (256 - u32::from(priority)) / 256
}

/// What a master of this configuration holds. `device` is the virtual interface.
pub(crate) fn assets(config: &Instance, device: Option<String>) -> Assets {
    Assets {
        addresses: config.addresses.iter().chain(&config.excluded).cloned().collect(),
        routes: config.routes.clone(),
        rules: config.rules.clone(),
        interface: device.unwrap_or_else(|| config.interface.clone()),
        lease: config.lease,
        promote_secondaries: config.promote_secondaries,
    }
}

pub(crate) fn list(config: &Instance) -> Vec<IpAddr> {
    config.addresses.iter().map(|line: &Address| line.address).collect()
}
