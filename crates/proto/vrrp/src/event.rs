//! What happened, for the log and the history.

use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::time::Duration;

use weir_model::vrrp::Mac;

use crate::{Defect, Finding, State, Tracker};

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Notice,
    Warning,
    /// Somebody has to do something; the text says what.
    Alarm,
}

/// One thing that happened. Those that packets from the network cause are limited to one line per kind, sender and
/// minute; `suppressed` counts what was not said since the last one.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An instance changed its state.
    Transition { instance: String, from: State, to: State, priority: u8, cause: String },
    /// A sync group changed its state.
    GroupTransition { group: String, from: State, to: State, cause: String },
    /// The effective priority changed.
    PriorityChanged { instance: String, from: u8, to: u8, cause: String },
    /// A script, process, file or the like found something else than before.
    TrackerChanged { tracker: Tracker, finding: Finding },
    /// A backup listens to another master.
    MasterChanged { instance: String, address: IpAddr, priority: u8 },
    /// A packet was not listened to. Without instance: it was too short to tell whom it is for.
    Dropped { instance: Option<String>, source: IpAddr, defect: Defect, suppressed: u64 },
    /// Somebody speaks of a virtual router that this node does not know.
    UnknownVrid { interface: String, source: IpAddr, vrid: u8, suppressed: u64 },
    /// A version 3 master has another interval; it is taken over (RFC 9568 section 6.4.2).
    IntervalDiffers { instance: String, source: IpAddr, found: Duration, expected: Duration },
    /// A peer advertises other addresses.
    AddressesDiffer {
        instance: String,
        source: IpAddr,
        only_here: Vec<IpAddr>,
        only_there: Vec<IpAddr>,
        suppressed: u64,
    },
    /// A master heard a peer again.
    ContactResumed { instance: String, source: IpAddr, silence: Duration },
    /// Two masters heard each other; this one stays.
    Crossed { instance: String, source: IpAddr, priority: u8, own_priority: u8, suppressed: u64 },
    /// Another hardware address answers for an address that is held here.
    Conflict { instance: String, address: IpAddr, mac: Mac, suppressed: u64 },
    /// Two routers say that they own the addresses.
    TwoOwners { instance: String, source: IpAddr, suppressed: u64 },
    /// Somebody deleted an address, and it was put back.
    Restored { instance: String, interface: String, address: IpAddr, by: Option<u32>, suppressed: u64 },
    /// The process did not run in time. Whether it stepped down because a peer may have taken over.
    Stalled { instance: String, late: Duration, stepped_down: bool },
    /// The addresses of a predecessor were taken over without a break.
    Adopted { instance: String },
    /// The addresses of a predecessor were found, but the election has to start anew.
    AdoptionRefused { instance: String, cause: String },
    /// One difference that a reload made.
    Reload { change: String },
    /// An interface that instances need vanished.
    InterfaceGone { interface: String },
    /// An interface that instances need is there.
    InterfaceBack { interface: String },
    /// The addresses could not be put on the interface.
    HoldFailed { instance: String, reason: String, retry: Duration },
}

impl Event {
    /// How much it matters.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Transition { to: State::Fault, .. } | Self::GroupTransition { to: State::Fault, .. } => {
                Severity::Warning
            }
            Self::Transition { .. } | Self::GroupTransition { .. } => Severity::Notice,
            Self::PriorityChanged { .. }
            | Self::Reload { .. }
            | Self::InterfaceBack { .. }
            | Self::Adopted { .. } => Severity::Notice,
            Self::TrackerChanged { .. } | Self::MasterChanged { .. } => Severity::Info,
            Self::UnknownVrid { .. } | Self::IntervalDiffers { .. } => Severity::Notice,
            Self::Dropped { .. } | Self::ContactResumed { .. } | Self::AdoptionRefused { .. } => {
                Severity::Warning
            }
            Self::Stalled { .. } | Self::InterfaceGone { .. } => Severity::Warning,
            Self::AddressesDiffer { .. }
            | Self::Crossed { .. }
            | Self::Conflict { .. }
            | Self::TwoOwners { .. }
            | Self::Restored { .. }
            | Self::HoldFailed { .. } => Severity::Alarm,
        }
    }

    /// The name of the instance that it is about.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Transition { instance, .. }
            | Self::PriorityChanged { instance, .. }
            | Self::MasterChanged { instance, .. }
            | Self::IntervalDiffers { instance, .. }
            | Self::AddressesDiffer { instance, .. }
            | Self::ContactResumed { instance, .. }
            | Self::Crossed { instance, .. }
            | Self::Conflict { instance, .. }
            | Self::TwoOwners { instance, .. }
            | Self::Restored { instance, .. }
            | Self::Stalled { instance, .. }
            | Self::Adopted { instance }
            | Self::AdoptionRefused { instance, .. }
            | Self::HoldFailed { instance, .. } => Some(instance),
            Self::Dropped { instance, .. } => instance.as_deref(),
            Self::GroupTransition { .. }
            | Self::TrackerChanged { .. }
            | Self::UnknownVrid { .. }
            | Self::Reload { .. }
            | Self::InterfaceGone { .. }
            | Self::InterfaceBack { .. } => None,
        }
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { instance, from, to, priority, cause } => {
                write!(f, "{instance}: {} -> {} with priority {priority}: {cause}", from.word(), to.word())
            }
            Self::GroupTransition { group, from, to, cause } => {
                write!(f, "group {group}: {} -> {}: {cause}", from.word(), to.word())
            }
            Self::PriorityChanged { instance, from, to, cause } => {
                write!(f, "{instance}: priority {from} -> {to}: {cause}")
            }
            Self::TrackerChanged { tracker, finding } => write!(f, "{tracker}: {finding}"),
            Self::MasterChanged { instance, address, priority } => {
                write!(f, "{instance}: master is {address} with priority {priority}")
            }
            Self::Reload { change } => write!(f, "reload: {change}"),
            Self::InterfaceGone { interface } => write!(f, "interface {interface} vanished"),
            Self::InterfaceBack { interface } => write!(f, "interface {interface} is there"),
            Self::Adopted { instance } => {
                write!(f, "{instance}: a predecessor's addresses are still leased, master without a break")
            }
            Self::AdoptionRefused { instance, cause } => {
                write!(
                    f,
                    "{instance}: a predecessor's addresses are removed, the election starts anew: {cause}"
                )
            }
            Self::Stalled { instance, late, stepped_down } => write_stall(f, instance, *late, *stepped_down),
            Self::HoldFailed { instance, reason, retry } => write!(
                f,
                "{instance}: the addresses cannot be held: {reason}; look at the interface and the configuration, the \
                 next attempt is in {} s",
                retry.as_secs_f64()
            ),
            other => other.write_packet_event(f),
        }
    }
}

impl Event {
    /// What others on the network caused.
    fn write_packet_event(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped { instance, source, defect, suppressed } => {
                let name = instance.as_deref().unwrap_or("vrrp");
                write!(f, "{name}: packet from {source} dropped: {defect}{}", Suppressed(*suppressed))
            }
            Self::UnknownVrid { interface, source, vrid, suppressed } => write!(
                f,
                "{source} advertises virtual router {vrid} on {interface}, which is not configured here{}",
                Suppressed(*suppressed)
            ),
            Self::IntervalDiffers { instance, source, found, expected } => write!(
                f,
                "{instance}: {source} advertises every {} s, here it is every {} s; its interval is taken over",
                found.as_secs_f64(),
                expected.as_secs_f64()
            ),
            Self::AddressesDiffer { instance, source, only_here, only_there, suppressed } => write!(
                f,
                "{instance}: {source} advertises other addresses (only here: {}; only there: {}); make the lists of \
                 virtual_ipaddress equal{}",
                List(only_here),
                List(only_there),
                Suppressed(*suppressed)
            ),
            Self::ContactResumed { instance, source, silence } => write!(
                f,
                "{instance}: {source} is heard again after {:.1} s; neighbours are told once more who has the addresses",
                silence.as_secs_f64()
            ),
            Self::Crossed { instance, source, priority, own_priority, suppressed } => write!(
                f,
                "{instance}: {source} is master too, with priority {priority} (here {own_priority}), so it did not hear \
                 this node; look for lost multicast, a firewall (protocol 112) or differing settings{}",
                Suppressed(*suppressed)
            ),
            Self::Conflict { instance, address, mac, suppressed } => write!(
                f,
                "{instance}: {mac} answers for {address}, which is held here; find that host and remove the address \
                 there{}",
                Suppressed(*suppressed)
            ),
            Self::TwoOwners { instance, source, suppressed } => write!(
                f,
                "{instance}: {source} says that it owns the addresses too; give one of the two a priority below 255{}",
                Suppressed(*suppressed)
            ),
            Self::Restored { instance, interface, address, by, suppressed } => {
                write!(f, "{instance}: {address} was deleted from {interface}")?;
                if let Some(port) = by {
                    write!(f, " by the process behind netlink port {port}")?;
                }
                write!(f, " and is put back; find out who did it{}", Suppressed(*suppressed))
            }
            // The rest is in `fmt`.
            _ => Ok(()),
        }
    }
}

fn write_stall(f: &mut Formatter<'_>, instance: &str, late: Duration, stepped_down: bool) -> fmt::Result {
    write!(
        f,
        "{instance}: this process did not run for {:.3} s longer than it should; ",
        late.as_secs_f64()
    )?;
    f.write_str(if stepped_down {
        "a peer may be master by now, so it listens first"
    } else {
        "no peer can have taken over in that time"
    })
}

impl Display for Tracker {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(name) => write!(f, "script {name}"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Proxy => f.write_str("proxy"),
            Self::Upstream(name) => write!(f, "upstream {name}"),
        }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down(why) => write!(f, "down ({why})"),
            Self::Value(value) => write!(f, "{value}"),
        }
    }
}

struct List<'a>(&'a [IpAddr]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else { return f.write_str("none") };
        write!(f, "{first}")?;
        rest.iter().try_for_each(|address| write!(f, ", {address}"))
    }
}

struct Suppressed(u64);

impl Display for Suppressed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more of these were not logged)"),
        }
    }
}
