//! What a keepalived.conf says about virtual routers, with every default filled in.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Micros;

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Everything about virtual routers that one set of keepalived files says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Vrrp {
    pub globals: Globals,
    pub instances: Vec<Instance>,
    pub groups: Vec<SyncGroup>,
    pub scripts: Vec<TrackScript>,
    pub processes: Vec<TrackProcess>,
    pub files: Vec<TrackFile>,
    /// Held while the daemon runs, whatever the elections say.
    pub static_addresses: Vec<Address>,
    pub static_routes: Vec<Route>,
    pub static_rules: Vec<Rule>,
    /// `track_group`
    pub static_groups: Vec<StaticGroup>,
    pub garp_groups: Vec<GarpGroup>,
    /// `interface_up_down_delays`
    pub link_delays: Vec<LinkDelay>,
}

/// `global_defs`, as far as instances have not taken it over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Globals {
    /// Absent: the name of the host.
    pub router_id: Option<String>,
    pub mail: Option<Mail>,
    pub startup_delay: Micros,
    /// `vrrp_delay_after_boot`: counted from the start of the machine.
    pub delay_after_boot: Micros,
    /// `dynamic_interfaces`: a missing interface is no error.
    pub dynamic_interfaces: bool,
    /// `script_user`; absent: `keepalived_script` if there is one, else who runs the daemon.
    pub script_user: Option<ScriptUser>,
    pub enable_script_security: bool,
    /// `notify_fifo` and `vrrp_notify_fifo`
    pub fifos: Vec<Fifo>,
    pub notify_priority_changes: bool,
    pub fifo_write_states_on_reload: bool,
    pub startup_script: Option<Hook>,
    pub shutdown_script: Option<Hook>,
    pub log_unknown_vrids: bool,
    /// `vrrp_rt_priority` 1 to 99; absent: Weir's default.
    pub rt_priority: Option<u8>,
    /// `vrrp_cpu_affinity`
    pub cpu_affinity: Vec<u32>,
    /// How `no_accept` is enforced: the name of the table, `keepalived` unless said.
    pub nftables_table: Option<String>,
    /// `nftables_priority`: of the chains.
    pub nftables_priority: i32,
    /// `nftables_counters`: dropped packets are counted.
    pub nftables_counters: bool,
    /// `disable_local_igmp`: the kernel reports no memberships in 224.0.0.0/24.
    pub disable_local_igmp: bool,
    /// `state_dump_file`, `stats_dump_file`, `json_dump_file`
    pub data_file: Option<String>,
    pub stats_file: Option<String>,
    pub json_file: Option<String>,
    /// `json_version`: 1 or 2
    pub json_version: u8,
    /// `process_name` and the like are without effect; this is `net_namespace`.
    pub net_namespace: Option<String>,
    /// Weir's own: where `weir vip` asks. Absent: below the default run folder.
    pub status_socket: Option<String>,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            router_id: None,
            mail: None,
            startup_delay: Micros(0),
            delay_after_boot: Micros(0),
            dynamic_interfaces: false,
            script_user: None,
            enable_script_security: false,
            fifos: Vec::new(),
            notify_priority_changes: false,
            fifo_write_states_on_reload: false,
            startup_script: None,
            shutdown_script: None,
            log_unknown_vrids: false,
            rt_priority: None,
            cpu_affinity: Vec::new(),
            nftables_table: None,
            nftables_priority: -1,
            nftables_counters: false,
            disable_local_igmp: false,
            data_file: None,
            stats_file: None,
            json_file: None,
            json_version: 1,
            net_namespace: None,
            status_socket: None,
        }
    }
}

/// Who is told by mail. Present when there is a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub to: Vec<String>,
    /// Absent: USER@HOST of the process.
    pub from: Option<String>,
    pub server: String,
    pub port: u16,
    pub timeout: Micros,
    pub helo: Option<String>,
    /// `no_email_faults`
    pub faults: bool,
}

/// A user and group that scripts run as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptUser {
    pub user: String,
    pub group: Option<String>,
}

/// A program with its arguments. Never run by a shell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// Never empty.
    pub argv: Vec<String>,
    /// Absent: [`Globals::script_user`].
    pub user: Option<ScriptUser>,
}

/// A script that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub script: Script,
    pub timeout: Micros,
}

/// A named pipe that gets a line for each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fifo {
    pub path: String,
    /// Who owns the pipe; absent: [`Globals::script_user`].
    pub user: Option<ScriptUser>,
    /// Reads the pipe; gets its path as last argument.
    pub script: Option<Script>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    V2,
    V3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// `auth_type`; version 2 only (RFC 2338 section 10.7; gone since RFC 3768).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authentication {
    None,
    /// At most eight bytes count.
    Pass(String),
    /// At most eight bytes count, as with keepalived.
    Ah(String),
}

impl std::fmt::Debug for Authentication {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Pass(_) => "Pass(..)",
            Self::Ah(_) => "Ah(..)",
        })
    }
}

/// Where advertisements go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// The group, 224.0.0.18 or ff02::12 unless said.
    Multicast(IpAddr),
    Unicast(Unicast),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unicast {
    /// Not empty, except with `unicast_fault_no_peer` or on purpose.
    pub peers: Vec<UnicastPeer>,
    /// `unicast_ttl`: of what is sent; 255 unless said.
    pub ttl: u8,
    /// `check_unicast_src`: only the peers are listened to.
    pub check_source: bool,
    /// `unicast_fault_no_peer`
    pub fault_without_peer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnicastPeer {
    pub address: IpAddr,
    /// Hop limits of what is accepted from it.
    pub min_ttl: u8,
    pub max_ttl: u8,
}

/// The form of the checksum of version 3 over IPv4 that is sent. Both are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Checksum {
    /// With a pseudo header: what keepalived and RFC 5798 as it is read by most send.
    PseudoHeader,
    /// Without (RFC 9568 section 5.2.8): `v3_checksum_as_v2`.
    Plain,
}

/// Gratuitous ARP and unsolicited neighbour advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garp {
    /// The second burst comes so long after the change to master; zero: none comes.
    pub master_delay: Micros,
    /// packets for each address in a burst
    pub master_repeat: u32,
    /// Zero: never again.
    pub refresh: Micros,
    pub refresh_repeat: u32,
    /// After an advertisement of lower priority was heard by a master.
    pub lower_prio_delay: Micros,
    pub lower_prio_repeat: u32,
    /// Least time between two packets on one interface; zero: none. For IPv4 and IPv6.
    pub interval: Micros,
    pub gna_interval: Micros,
    /// `garp_extra_if`: a master announces again at this pace what it holds on interfaces of its own making; zero:
    /// never.
    pub extra: Micros,
    /// The same for every interface other than that of the instance.
    pub extra_all: bool,
}

impl Default for Garp {
    fn default() -> Self {
        let delay = Micros::from_secs(5);
        Self {
            master_delay: delay,
            master_repeat: 5,
            refresh: Micros(0),
            refresh_repeat: 1,
            lower_prio_delay: delay,
            lower_prio_repeat: 5,
            interval: Micros(0),
            gna_interval: Micros(0),
            extra: Micros(0),
            extra_all: false,
        }
    }
}

/// `use_vmac`: the virtual router has an interface with the standard's hardware address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmac {
    /// Absent: `vrrp.VRID`, or `vrrp6.VRID` if that is taken by the other family.
    pub name: Option<String>,
    /// Absent: 00:00:5e:00:01:VRID or 00:00:5e:00:02:VRID (RFC 9568 section 7.3).
    pub mac: Option<Mac>,
    /// Advertisements leave by the interface below.
    pub xmit_base: bool,
}

/// Addresses as leases that the kernel takes back when nobody renews them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// `valid_lft` in seconds, the kernel's unit; at least 1.
    pub seconds: u32,
    pub renew: Micros,
}

impl Lease {
    /// The kernel counts whole seconds.
    pub const SHORTEST: Self = Self { seconds: 1, renew: Micros(250_000) };
}

impl Default for Lease {
    fn default() -> Self {
        Self { seconds: 2, renew: Micros(500_000) }
    }
}

/// What a fault of this node's own proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackProxy {
    Off,
    /// No worker, a stuck data thread or a lost listener is a fault: the address is given away.
    Fault,
    /// The same only changes the priority by this, as the weight of a tracker does.
    Weight(i32),
}

/// One `vrrp_instance`: a virtual router on one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    /// `state MASTER`: wants to be master from the start. Everyone listens first, unless it is the owner.
    pub wants_master: bool,
    pub interface: String,
    pub vrid: u8,
    /// 1 to 255; 255 owns the addresses.
    pub priority: u8,
    pub version: Version,
    pub family: Family,
    pub advert_interval: Micros,
    pub authentication: Authentication,
    pub delivery: Delivery,
    /// `unicast_src_ip`, `mcast_src_ip`; absent: the first address of the interface.
    pub source: Option<IpAddr>,
    /// `track_src_ip`
    pub track_source: bool,
    /// `virtual_ipaddress`: advertised. All of one family, [`Self::family`].
    pub addresses: Vec<Address>,
    /// `virtual_ipaddress_excluded`: held, not advertised; of any family.
    pub excluded: Vec<Address>,
    pub routes: Vec<Route>,
    pub rules: Vec<Rule>,
    pub vmac: Option<Vmac>,
    /// `dont_track_primary`
    pub ignore_own_interface: bool,
    pub track_interfaces: Vec<Track>,
    pub track_scripts: Vec<Track>,
    pub track_processes: Vec<Track>,
    pub track_files: Vec<Track>,
    pub track_proxy: TrackProxy,
    /// Weir's own: upstreams without a usable peer; never a fault, so each has a weight other than zero.
    pub track_upstreams: Vec<Track>,
    pub nopreempt: bool,
    /// Zero: none.
    pub preempt_delay: Micros,
    pub garp: Garp,
    /// A master stays silent when it hears a lower priority.
    pub lower_prio_no_advert: bool,
    /// A master that steps back says so once more.
    pub higher_prio_send_advert: bool,
    pub owner_ignore_adverts: bool,
    pub skip_check_adv_addr: bool,
    /// `strict_mode`, `vrrp_strict`; what follows from it is already in the other fields.
    pub strict: bool,
    /// Whether packets to the addresses are accepted by a master that does not own them.
    pub accept: bool,
    /// advertisements missed before a backup takes over
    pub down_timer_adverts: u8,
    /// `timer_expired_backup`, `thread_timer_expired`
    pub timer_expired_backup: bool,
    /// Its argument: the highest priority that another router may have, 1 to 254.
    pub highest_other_priority: u8,
    pub checksum: Checksum,
    pub promote_secondaries: bool,
    pub notify: Notify,
    /// `notify_deleted`: what a reload removes is told as DELETED, not as FAULT.
    pub notify_deleted: bool,
    pub smtp_alert: bool,
    pub notify_priority_changes: bool,
    /// `debug N` is without effect; absent lease: addresses stay until they are removed.
    pub lease: Option<Lease>,
}

impl Instance {
    /// The priority that owns its addresses.
    pub const OWNER: u8 = 255;

    /// Whether the router owns its addresses (RFC 9568 section 1.7).
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.priority == Self::OWNER
    }

    /// Names and keeps what keepalived fills in for an instance of which only this is said.
    #[must_use]
    pub fn new(name: impl Into<String>, interface: impl Into<String>, vrid: u8) -> Self {
        Self {
            name: name.into(),
            wants_master: false,
            interface: interface.into(),
            vrid,
            priority: 100,
            version: Version::V2,
            family: Family::V4,
            advert_interval: Micros::from_secs(1),
            authentication: Authentication::None,
            delivery: Delivery::Multicast(IpAddr::from([224, 0, 0, 18])),
            source: None,
            track_source: false,
            addresses: Vec::new(),
            excluded: Vec::new(),
            routes: Vec::new(),
            rules: Vec::new(),
            vmac: None,
            ignore_own_interface: false,
            track_interfaces: Vec::new(),
            track_scripts: Vec::new(),
            track_processes: Vec::new(),
            track_files: Vec::new(),
            track_proxy: TrackProxy::Fault,
            track_upstreams: Vec::new(),
            nopreempt: false,
            preempt_delay: Micros(0),
            garp: Garp::default(),
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            skip_check_adv_addr: false,
            strict: false,
            accept: true,
            down_timer_adverts: 3,
            timer_expired_backup: false,
            highest_other_priority: 254,
            checksum: Checksum::PseudoHeader,
            promote_secondaries: false,
            notify: Notify::default(),
            notify_deleted: false,
            smtp_alert: false,
            notify_priority_changes: false,
            lease: Some(Lease::default()),
        }
    }
}

/// The use of a tracker, an interface or an upstream by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    pub name: String,
    /// Zero: a failure is a fault. Positive: added while up. Negative: added while down.
    pub weight: i32,
    /// Swaps up and down.
    pub reverse: bool,
}

/// Scripts of an instance or a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    pub master: Option<Script>,
    pub backup: Option<Script>,
    pub fault: Option<Script>,
    pub stop: Option<Script>,
    pub deleted: Option<Script>,
    pub master_rx_lower_pri: Option<Script>,
    /// `notify`: gets kind, name, state and priority as further arguments.
    pub any: Option<Script>,
}

/// `vrrp_sync_group`: its members change together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncGroup {
    pub name: String,
    /// names of instances
    pub members: Vec<String>,
    pub notify: Notify,
    pub smtp_alert: bool,
    pub track_interfaces: Vec<Track>,
    pub track_scripts: Vec<Track>,
    pub track_processes: Vec<Track>,
    pub track_files: Vec<Track>,
    /// `sync_group_tracking_weight`: members keep their weights.
    pub keep_weights: bool,
    pub notify_priority_changes: bool,
}

/// `vrrp_script`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackScript {
    pub name: String,
    pub script: Script,
    pub interval: Micros,
    pub timeout: Micros,
    /// Used where [`Track::weight`] is not given; already filled in there.
    pub weight: i32,
    pub reverse: bool,
    /// successes in a row that make it up, failures that make it down; at least 1
    pub rise: u32,
    pub fall: u32,
    /// Counts as failed until it succeeds.
    pub init_fail: bool,
}

/// `vrrp_track_process`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackProcess {
    pub name: String,
    pub process: String,
    pub parameters: Vec<String>,
    /// Absent: parameters are not looked at unless given; then they have to be equal.
    pub parameter_match: Option<ParameterMatch>,
    pub full_command: bool,
    pub weight: i32,
    pub reverse: bool,
    pub quorum: u32,
    pub quorum_max: Option<u32>,
    /// A process that has come counts after this, one that has gone after that.
    pub fork_delay: Micros,
    pub terminate_delay: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterMatch {
    Exact,
    /// The first parameters are these.
    Initial,
    /// The first parameters start with these.
    Partial,
}

/// `track_file`, `vrrp_track_file`: the number in the file times the weight is added to the priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackFile {
    pub name: String,
    pub path: String,
    pub weight: i32,
    pub reverse: bool,
    pub init: Option<InitFile>,
}

/// `init_file`: written at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFile {
    pub value: i64,
    pub overwrite: bool,
}

/// A line of `virtual_ipaddress`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub address: IpAddr,
    pub prefix_len: u8,
    pub broadcast: Broadcast,
    /// Absent: the interface of the instance (its own, with `use_vmac`).
    pub interface: Option<String>,
    /// As the kernel's number: 0 is global, 253 link, 254 host.
    pub scope: u8,
    pub label: Option<String>,
    pub peer: Option<(IpAddr, u8)>,
    pub home: bool,
    pub nodad: bool,
    pub mngtmpaddr: bool,
    pub noprefixroute: bool,
    pub autojoin: bool,
    /// `preferred_lft` in seconds; absent: for ever. keepalived gives an IPv6 /128 zero.
    pub preferred: Option<u32>,
    pub track: bool,
}

impl Address {
    /// A line with the address alone.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        let (prefix_len, nodad, preferred) = match address {
            IpAddr::V4(_) => (32, false, None),
            IpAddr::V6(_) => (128, true, Some(0)),
        };
        Self {
            address,
            prefix_len,
            broadcast: Broadcast::None,
            interface: None,
            scope: 0,
            label: None,
            peer: None,
            home: false,
            nodad,
            mngtmpaddr: false,
            noprefixroute: false,
            autojoin: false,
            preferred,
            track: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broadcast {
    None,
    /// `brd +`: host bits set.
    Ones,
    /// `brd -`: host bits clear.
    Zeros,
    Given(IpAddr),
}

/// A line of `virtual_routes` or `static_routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub kind: RouteKind,
    /// `None` is `default`; its family is then that of the gateway or source, or IPv4.
    pub destination: Option<(IpAddr, u8)>,
    pub family: Family,
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    /// Absent: the kernel finds it, or it is that of the instance when there is no gateway.
    pub interface: Option<String>,
    /// 254 is main.
    pub table: u32,
    pub metric: Option<u32>,
    /// The kernel's number, such as 253 for link.
    pub scope: Option<u8>,
    /// 18 is what keepalived's routes have.
    pub protocol: Option<u8>,
    pub onlink: bool,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
    pub track: bool,
    pub next_hops: Vec<NextHop>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    pub gateway: Option<IpAddr>,
    pub interface: Option<String>,
    /// 1 to 256
    pub weight: u16,
    pub onlink: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteKind {
    Unicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
}

/// A line of `virtual_rules` or `static_rules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub family: Family,
    pub from: Option<(IpAddr, u8)>,
    pub to: Option<(IpAddr, u8)>,
    pub invert: bool,
    pub table: Option<u32>,
    pub priority: Option<u32>,
    pub input_interface: Option<String>,
    pub output_interface: Option<String>,
    /// value and mask
    pub mark: Option<(u32, u32)>,
    pub tos: Option<u8>,
    pub suppress_prefix_len: Option<u32>,
    pub action: RuleAction,
    pub track: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    Table,
    Goto(u32),
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// `track_group`: instances that fail when something static on which they rely is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticGroup {
    pub name: String,
    /// names of instances
    pub members: Vec<String>,
    /// Indices into [`Vrrp::static_addresses`].
    pub addresses: Vec<usize>,
    /// Indices into [`Vrrp::static_routes`].
    pub routes: Vec<usize>,
    /// Indices into [`Vrrp::static_rules`].
    pub rules: Vec<usize>,
}

/// `garp_group`: interfaces that share a pace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarpGroup {
    pub interfaces: Vec<String>,
    pub interval: Micros,
    pub gna_interval: Micros,
}

/// How long an interface has to be down or up before that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkDelay {
    pub interface: String,
    pub down: Micros,
    pub up: Micros,
}
