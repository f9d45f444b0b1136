//! `global_defs`, as far as it has an effect; mail has a file of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_model::Micros;
use weir_model::vrrp::{Checksum, Fifo, Garp, Globals, Hook, Lease, Script, TrackProxy, Version};

use crate::keyword::Action::Global;
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, LONGEST, Line};
use crate::mail::MailDraft;
use crate::scope::Scope;
use crate::{pace, script, uses};

/// The block as it is read: what stays global, and what instances take over.
#[derive(Debug)]
pub struct Defaults {
    pub(crate) globals: Globals,
    pub(crate) mail: MailDraft,
    pub(crate) startup_timeout: Option<Micros>,
    pub(crate) shutdown_timeout: Option<Micros>,
    pub(crate) fifo: FifoDraft,
    pub(crate) vrrp_fifo: FifoDraft,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) smtp_alert_vrrp: Option<bool>,
    pub(crate) default_interface: Option<String>,
    pub(crate) group4: Ipv4Addr,
    pub(crate) group6: Ipv6Addr,
    pub(crate) garp: Garp,
    pub(crate) lower_prio_delay: Option<Micros>,
    pub(crate) lower_prio_repeat: Option<u32>,
    pub(crate) down_timer_adverts: u8,
    pub(crate) lower_prio_no_advert: bool,
    pub(crate) higher_prio_send_advert: bool,
    pub(crate) owner_ignore_adverts: bool,
    pub(crate) skip_check_adv_addr: bool,
    pub(crate) check_unicast_source: bool,
    pub(crate) checksum: Checksum,
    pub(crate) version: Version,
    pub(crate) strict: bool,
    pub(crate) lease: Option<Option<Lease>>,
    pub(crate) track_proxy: TrackProxy,
}

/// A pipe and its reader, which stand on two lines in any order.
#[derive(Debug, Default)]
pub(crate) struct FifoDraft {
    pub(crate) fifo: Option<Fifo>,
    pub(crate) script: Option<Script>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            globals: Globals::default(),
            mail: MailDraft::default(),
            startup_timeout: None,
            shutdown_timeout: None,
            fifo: FifoDraft::default(),
            vrrp_fifo: FifoDraft::default(),
            smtp_alert: None,
            smtp_alert_vrrp: None,
            default_interface: None,
            group4: Ipv4Addr::new(224, 0, 0, 18),
            group6: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12),
            garp: Garp::default(),
            lower_prio_delay: None,
            lower_prio_repeat: None,
            down_timer_adverts: 3,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            skip_check_adv_addr: false,
            check_unicast_source: false,
            checksum: Checksum::PseudoHeader,
            version: Version::V2,
            strict: false,
            lease: None,
            track_proxy: TrackProxy::Fault,
        }
    }
}

impl Defaults {
    /// Whether an instance or a group sends mail that says nothing about it.
    pub(crate) fn alerts(&self) -> bool {
        self.smtp_alert_vrrp.or(self.smtp_alert).unwrap_or(false)
    }

    /// Puts together what stands on several lines.
    pub(crate) fn complete(&mut self) {
        // A hook without a line about its time has keepalived's ten seconds.
        let timeout = Micros::from_secs(10);
        if let Some(hook) = &mut self.globals.startup_script {
            hook.timeout = self.startup_timeout.unwrap_or(timeout);
        }
        if let Some(hook) = &mut self.globals.shutdown_script {
            hook.timeout = self.shutdown_timeout.unwrap_or(timeout);
        }
        for draft in [&mut self.fifo, &mut self.vrrp_fifo] {
            if let Some(mut fifo) = draft.fifo.take() {
                fifo.script = draft.script.take();
                self.globals.fifos.push(fifo);
            }
        }
        self.garp.lower_prio_delay = self.lower_prio_delay.unwrap_or(self.garp.master_delay);
        self.garp.lower_prio_repeat = self.lower_prio_repeat.unwrap_or(self.garp.master_repeat);
        self.globals.mail = self.mail.complete();
    }
}

const G: Blocks = Blocks::GLOBAL;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::line(
        "router_id",
        G,
        (1, 1),
        "NAME",
        "The name of this node in mails and dumps.",
        Global(router_id),
    )
    .default("the host's name"),
    Keyword::line(
        "vrrp_version",
        G,
        (1, 1),
        "2 | 3",
        "The version of IPv4 instances that say nothing.",
        Global(version),
    )
    .default("2"),
    Keyword::flag("vrrp_strict", G, "RFC 3768 or RFC 9568 to the letter in every instance.", Global(strict)),
    Keyword::flag(
        "vrrp_skip_check_adv_addr",
        G,
        "The address list of a known sender is not compared again.",
        Global(skip_check),
    ),
    Keyword::flag(
        "vrrp_check_unicast_src",
        G,
        "Unicast instances listen to their peers alone.",
        Global(check_unicast_source),
    ),
    Keyword::flag(
        "v3_checksum_as_v2",
        G,
        "Version 3 over IPv4 is sent without a pseudo header in its checksum.",
        Global(checksum),
    )
    .since("2.2.8"),
    Keyword::line("vrrp_mcast_group4", G, (1, 1), "ADDRESS", "The group of IPv4 instances.", Global(group4))
        .default("224.0.0.18"),
    Keyword::line("vrrp_mcast_group6", G, (1, 1), "ADDRESS", "The group of IPv6 instances.", Global(group6))
        .default("ff02::12"),
    Keyword::line(
        "vrrp_down_timer_adverts",
        G,
        (1, 1),
        "1-100",
        "Missed advertisements before a backup takes over.",
        Global(down_timer_adverts),
    )
    .default("3")
    .since("2.1.4"),
    Keyword::flag(
        "vrrp_lower_prio_no_advert",
        G,
        "A master stays silent when it hears a lower priority.",
        Global(lower_prio_no_advert),
    ),
    Keyword::flag(
        "vrrp_higher_prio_send_advert",
        G,
        "A master that steps back says so once more.",
        Global(higher_prio_send_advert),
    ),
    Keyword::flag(
        "vrrp_owner_ignore_adverts",
        G,
        "An owner of addresses does not listen to others.",
        Global(owner_ignore_adverts),
    )
    .since("2.3.0"),
    Keyword::line(
        "vrrp_startup_delay",
        G,
        (1, 1),
        "SECONDS",
        "Nothing is heard or sent for so long after the start.",
        Global(startup_delay),
    )
    .default("0")
    .since("2.0.10"),
    Keyword::line(
        "vrrp_delay_after_boot",
        G,
        (1, 1),
        "SECONDS",
        "The same, counted from the start of the machine.",
        Global(delay_after_boot),
    )
    .default("0")
    .since("2.3.0"),
    Keyword::flag(
        "log_unknown_vrids",
        G,
        "Advertisements of routers that nobody configured are logged.",
        Global(log_unknown_vrids),
    )
    .since("2.2.3"),
    Keyword::line(
        "default_interface",
        G,
        (1, 1),
        "INTERFACE",
        "The interface of static addresses that name none.",
        Global(default_interface),
    )
    .default("eth0"),
    Keyword::line(
        "dynamic_interfaces",
        G,
        (0, 1),
        "[allow_if_changes]",
        "Interfaces may come later.",
        Global(dynamic_interfaces),
    ),
    Keyword::line(
        "script_user",
        G,
        (1, 2),
        "USER [GROUP]",
        "Who runs scripts that name nobody.",
        Global(script_user),
    )
    .default("keepalived_script, or who runs the daemon"),
    Keyword::flag(
        "enable_script_security",
        G,
        "Scripts of root that others may write are not run.",
        Global(script_security),
    ),
    Keyword::line(
        "notify_fifo",
        G,
        (1, 3),
        "PATH [USER [GROUP]]",
        "A pipe that gets a line for every change.",
        Global(notify_fifo),
    ),
    Keyword::command("notify_fifo_script", G, "Reads the pipe.", Global(notify_fifo_script)),
    Keyword::line(
        "vrrp_notify_fifo",
        G,
        (1, 3),
        "PATH [USER [GROUP]]",
        "A pipe for the changes of instances and groups.",
        Global(vrrp_notify_fifo),
    ),
    Keyword::command("vrrp_notify_fifo_script", G, "Reads the pipe.", Global(vrrp_notify_fifo_script)),
    Keyword::flag(
        "vrrp_notify_priority_changes",
        G,
        "Changes of the priority are told as well.",
        Global(notify_priority_changes),
    ),
    Keyword::flag(
        "fifo_write_vrrp_states_on_reload",
        G,
        "A reload tells all states again.",
        Global(states_on_reload),
    ),
    Keyword::command("startup_script", G, "Runs before everything else.", Global(startup_script)),
    Keyword::line(
        "startup_script_timeout",
        G,
        (1, 1),
        "1-1000",
        "Seconds that it has.",
        Global(startup_timeout),
    )
    .default("10"),
    Keyword::command("shutdown_script", G, "Runs after everything else.", Global(shutdown_script)),
    Keyword::line(
        "shutdown_script_timeout",
        G,
        (1, 1),
        "1-1000",
        "Seconds that it has.",
        Global(shutdown_timeout),
    )
    .default("10"),
    Keyword::line(
        "vrrp_rt_priority",
        G,
        (1, 1),
        "1-99",
        "The real-time priority of the thread that speaks VRRP.",
        Global(rt_priority),
    ),
    Keyword::line(
        "vrrp_cpu_affinity",
        G,
        (1, usize::MAX),
        "CPU ...",
        "The processors of the thread that speaks VRRP.",
        Global(cpu_affinity),
    ),
    Keyword::line(
        "nftables",
        G,
        (0, 1),
        "[TABLE]",
        "The table that guards addresses of no_accept.",
        Global(nftables),
    )
    .default("keepalived"),
    Keyword::line(
        "nftables_priority",
        G,
        (1, 1),
        "PRIORITY",
        "The priority of its chains.",
        Global(nftables_priority),
    )
    .default("-1"),
    Keyword::flag("nftables_counters", G, "Dropped packets are counted.", Global(nftables_counters)),
    Keyword::flag(
        "disable_local_igmp",
        G,
        "The kernel reports no memberships in 224.0.0.0/24.",
        Global(disable_local_igmp),
    )
    .since("2.2.8"),
    Keyword::line("json_version", G, (1, 1), "1 | 2", "The form of the JSON dump.", Global(json_version))
        .default("1")
        .since("2.2.8"),
    Keyword::line("state_dump_file", G, (1, 1), "PATH", "Where SIGUSR1 writes.", Global(data_file))
        .default("/tmp/keepalived.data")
        .since("2.3.0"),
    Keyword::line("stats_dump_file", G, (1, 1), "PATH", "Where SIGUSR2 writes.", Global(stats_file))
        .default("/tmp/keepalived.stats")
        .since("2.3.0"),
    Keyword::line("json_dump_file", G, (1, 1), "PATH", "Where the JSON dump is written.", Global(json_file))
        .default("/tmp/keepalived.json")
        .since("2.3.0"),
    Keyword::line("status_socket", G, (1, 1), "PATH", "Where weir vip asks.", Global(status_socket))
        .since("weir"),
    Keyword::line(
        "address_lease",
        G,
        (1, 2),
        "SECONDS [RENEW] | off",
        "How long the kernel keeps addresses of a process that is gone.",
        Global(address_lease),
    )
    .default("2 0.5")
    .since("weir"),
    Keyword::line(
        "track_proxy",
        G,
        (0, 2),
        "[on | off | weight N]",
        "What a fault of this node's own proxy does.",
        Global(track_proxy),
    )
    .default("on")
    .since("weir"),
];

fn router_id(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.router_id = line.text(0).map(str::to_owned);
}

fn version(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(version) = pace::version(line, scope) {
        defaults.version = version;
    }
}

/// Setters of one flag each, and how the line is read.
macro_rules! flags {
    ($read:ident { $($name:ident => $($field:ident).+;)+ }) => {
        $(fn $name(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
            if let Some(value) = line.$read(scope) {
                defaults.$($field).+ = value;
            }
        })+
    };
}

flags!(flag {
    lower_prio_no_advert => lower_prio_no_advert;
    higher_prio_send_advert => higher_prio_send_advert;
    owner_ignore_adverts => owner_ignore_adverts;
    notify_priority_changes => globals.notify_priority_changes;
});

flags!(unread_flag {
    strict => strict;
    skip_check => skip_check_adv_addr;
    check_unicast_source => check_unicast_source;
    log_unknown_vrids => globals.log_unknown_vrids;
    script_security => globals.enable_script_security;
    states_on_reload => globals.fifo_write_states_on_reload;
    nftables_counters => globals.nftables_counters;
    disable_local_igmp => globals.disable_local_igmp;
});

fn checksum(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(plain) = line.unread_flag(scope) {
        defaults.checksum = if plain { Checksum::Plain } else { Checksum::PseudoHeader };
    }
}

fn group4(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    match line.address(0, scope) {
        Some(IpAddr::V4(group)) if group.is_multicast() => defaults.group4 = group,
        Some(other) => scope.warn(line.span_of(0), format!("{other} is no IPv4 multicast group; {IGNORED}")),
        None => {}
    }
}

fn group6(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(address) = line.address(0, scope) else { return };
    let IpAddr::V6(group) = address else {
        scope.warn(line.span_of(0), format!("{address} is no IPv6 multicast group; {IGNORED}"));
        return;
    };
    if !group.is_multicast() {
        scope.warn(line.span_of(0), format!("{group} is no IPv6 multicast group; {IGNORED}"));
        return;
    }
    // RFC 4291 section 2.7: the low four bits of the second octet are the scope, 2 is the link.
    if group.segments().first().is_some_and(|first| first & 0xf != 2) {
        scope.warn(line.span_of(0), format!("{group} does not stay on the link, as VRRP has to"));
    }
    defaults.group6 = group;
}

fn down_timer_adverts(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(count) = line.loose_number(0, 1..=100, IGNORED, scope) {
        defaults.down_timer_adverts = count;
    }
}

fn startup_delay(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(delay) = line.timer(0, 1000..=LONGEST, IGNORED, scope) {
        defaults.globals.startup_delay = delay;
    }
}

fn delay_after_boot(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(delay) = line.timer(0, 1000..=LONGEST, IGNORED, scope) {
        defaults.globals.delay_after_boot = delay;
    }
}

fn default_interface(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(name) = line.interface(0, scope) {
        defaults.default_interface = Some(name);
    }
}

fn dynamic_interfaces(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.globals.dynamic_interfaces = true;
    if let Some(word) = line.words().first()
        && word.text != "allow_if_changes"
    {
        let message = format!("dynamic_interfaces has no option {:?}; it is ignored", word.text);
        scope.warn(word.span, message);
    }
}

fn script_user(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.script_user = script::user(line.words());
}

fn fifo(draft: &mut FifoDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if draft.fifo.is_some() {
        scope.warn(line.span(), format!("{} stands here for the second time; {IGNORED}", line.name()));
    } else if let Some(path) = line.text(0) {
        let user = script::user(line.words().get(1..).unwrap_or_default());
        draft.fifo = Some(Fifo { path: path.to_owned(), user, script: None });
    }
}

fn notify_fifo(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    fifo(&mut defaults.fifo, line, scope);
}

fn vrrp_notify_fifo(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    fifo(&mut defaults.vrrp_fifo, line, scope);
}

fn notify_fifo_script(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    script::once(&mut defaults.fifo.script, line, scope);
}

fn vrrp_notify_fifo_script(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    script::once(&mut defaults.vrrp_fifo.script, line, scope);
}

fn hook(slot: &mut Option<Hook>, line: &Line<'_>, scope: &mut Scope<'_>) {
    let mut script = slot.take().map(|hook| hook.script);
    script::once(&mut script, line, scope);
    *slot = script.map(|script| Hook { script, timeout: Micros(0) });
}

fn startup_script(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    hook(&mut defaults.globals.startup_script, line, scope);
}

fn shutdown_script(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    hook(&mut defaults.globals.shutdown_script, line, scope);
}

fn startup_timeout(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.startup_timeout = line.whole_seconds(1..=1000, scope).or(defaults.startup_timeout);
}

fn shutdown_timeout(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.shutdown_timeout = line.whole_seconds(1..=1000, scope).or(defaults.shutdown_timeout);
}

fn rt_priority(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    let Some(priority) = line.loose_number::<i64>(0, range, IGNORED, scope) else { return };
    let nearest = priority.clamp(1, 99);
    if nearest != priority {
        scope.warn(
            line.span_of(0),
            format!("vrrp_rt_priority {priority} is not in 1 to 99; {nearest} is used"),
        );
    }
    defaults.globals.rt_priority = u8::try_from(nearest).ok();
}

fn cpu_affinity(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    let cpus = (0..line.words().len()).map(|i| line.loose_number(i, 0..=8191, IGNORED, scope));
    if let Some(cpus) = cpus.collect::<Option<Vec<u32>>>() {
        defaults.globals.cpu_affinity = cpus;
    }
}

fn nftables(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.nftables_table = Some(line.text(0).unwrap_or("keepalived").to_owned());
}

fn nftables_priority(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
    if let Some(priority) = line.number(0, range, IGNORED, scope) {
        defaults.globals.nftables_priority = priority;
    }
}

fn json_version(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(version) = line.loose_number(0, 1..=2, IGNORED, scope) {
        defaults.globals.json_version = version;
    }
}

fn data_file(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.data_file = line.text(0).map(str::to_owned);
}

fn stats_file(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.stats_file = line.text(0).map(str::to_owned);
}

fn json_file(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.json_file = line.text(0).map(str::to_owned);
}

fn status_socket(defaults: &mut Defaults, line: &Line<'_>, _: &mut Scope<'_>) {
    defaults.globals.status_socket = line.text(0).map(str::to_owned);
}

fn address_lease(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    defaults.lease = pace::lease(line, scope).or(defaults.lease);
}

fn track_proxy(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(track) = uses::track_proxy(line, scope) {
        defaults.track_proxy = track;
    }
}
