//! Intervals, leases and gratuitous ARP: what `global_defs` and an instance both may say.

use weir_model::Micros;
use weir_model::vrrp::{Garp, Lease, Version};

use crate::draft::Draft;
use crate::global::Defaults;
use crate::keyword::Action::{Global, Instance};
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, LONGEST, Line, seconds};
use crate::scope::Scope;

const G: Blocks = Blocks::GLOBAL;
const I: Blocks = Blocks::INSTANCE;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::line(
        "vrrp_garp_interval",
        G,
        (1, 1),
        "SECONDS",
        "Least time between two gratuitous ARPs on an interface.",
        Global(garp_interval),
    )
    .default("0"),
    Keyword::line(
        "vrrp_gna_interval",
        G,
        (1, 1),
        "SECONDS",
        "Least time between two unsolicited neighbour advertisements.",
        Global(gna_interval),
    )
    .default("0"),
    Keyword::line(
        "vrrp_garp_master_delay",
        G,
        (1, 1),
        "SECONDS",
        "The second burst comes so long after the change to master.",
        Global(master_delay),
    )
    .default("5"),
    Keyword::line(
        "vrrp_garp_master_repeat",
        G,
        (1, 1),
        "COUNT",
        "Packets for each address in a burst.",
        Global(master_repeat),
    )
    .default("5"),
    Keyword::line(
        "vrrp_garp_master_refresh",
        G,
        (1, 1),
        "SECONDS",
        "A master announces again at this pace; 0 is never.",
        Global(refresh),
    )
    .default("0"),
    Keyword::line(
        "vrrp_garp_master_refresh_repeat",
        G,
        (1, 1),
        "COUNT",
        "Packets for each address then.",
        Global(refresh_repeat),
    )
    .default("1"),
    Keyword::line(
        "vrrp_garp_lower_prio_delay",
        G,
        (1, 1),
        "SECONDS",
        "The second burst after a lower priority was heard.",
        Global(lower_delay),
    )
    .default("vrrp_garp_master_delay"),
    Keyword::line(
        "vrrp_garp_lower_prio_repeat",
        G,
        (1, 1),
        "COUNT",
        "Packets for each address then.",
        Global(lower_repeat),
    )
    .default("vrrp_garp_master_repeat"),
    Keyword::flag("vrrp_min_garp", G, "One packet for each address and no second burst.", Global(min_garp)),
    Keyword::line(
        "vrrp_garp_extra_if",
        G,
        (1, 2),
        "[all] SECONDS",
        "Announces again on other interfaces.",
        Global(extra),
    )
    .default("0"),
    Keyword::line(
        "vrrp_vmac_garp_intvl",
        G,
        (1, 2),
        "[all] SECONDS",
        "The old name of vrrp_garp_extra_if.",
        Global(extra),
    ),
    Keyword::line(
        "garp_master_delay",
        I,
        (1, 1),
        "SECONDS",
        "The second burst comes so long after the change to master.",
        Instance(own_master_delay),
    )
    .default("vrrp_garp_master_delay"),
    Keyword::line(
        "garp_master_repeat",
        I,
        (1, 1),
        "COUNT",
        "Packets for each address in a burst.",
        Instance(own_master_repeat),
    )
    .default("vrrp_garp_master_repeat"),
    Keyword::line(
        "garp_master_refresh",
        I,
        (1, 1),
        "SECONDS",
        "A master announces again at this pace; 0 is never.",
        Instance(own_refresh),
    )
    .default("vrrp_garp_master_refresh"),
    Keyword::line(
        "garp_master_refresh_repeat",
        I,
        (1, 1),
        "COUNT",
        "Packets for each address then.",
        Instance(own_refresh_repeat),
    )
    .default("vrrp_garp_master_refresh_repeat"),
    Keyword::line(
        "garp_lower_prio_delay",
        I,
        (1, 1),
        "SECONDS",
        "The second burst after a lower priority was heard.",
        Instance(own_lower_delay),
    )
    .default("vrrp_garp_lower_prio_delay"),
    Keyword::line(
        "garp_lower_prio_repeat",
        I,
        (1, 1),
        "COUNT",
        "Packets for each address then.",
        Instance(own_lower_repeat),
    )
    .default("vrrp_garp_lower_prio_repeat"),
    Keyword::line(
        "garp_extra_if",
        I,
        (1, 2),
        "[all] SECONDS",
        "Announces again on other interfaces.",
        Instance(own_extra),
    )
    .default("vrrp_garp_extra_if"),
    Keyword::line(
        "vmac_garp_intvl",
        I,
        (1, 2),
        "[all] SECONDS",
        "The old name of garp_extra_if.",
        Instance(own_extra),
    ),
    Keyword::line(
        "advert_int",
        I,
        (1, 1),
        "SECONDS",
        "Time between two advertisements.",
        Instance(advert_int),
    )
    .default("1"),
    Keyword::line("version", I, (1, 1), "2 | 3", "The version of VRRP.", Instance(own_version))
        .default("vrrp_version, 3 for IPv6"),
    Keyword::line(
        "preempt_delay",
        I,
        (1, 1),
        "SECONDS",
        "How long a lower priority is left master, up to 1000 s.",
        Instance(preempt_delay),
    )
    .default("0"),
    Keyword::line(
        "down_timer_adverts",
        I,
        (1, 1),
        "1-100",
        "Missed advertisements before a backup takes over.",
        Instance(down_timer_adverts),
    )
    .default("vrrp_down_timer_adverts")
    .since("2.1.4"),
    Keyword::line(
        "timer_expired_backup",
        I,
        (0, 1),
        "[PRIORITY]",
        "A master that was stalled too long steps back.",
        Instance(timer_expired),
    )
    .default("off, 254")
    .since("2.3.2"),
    Keyword::line(
        "thread_timer_expired",
        I,
        (0, 1),
        "[PRIORITY]",
        "Another name of timer_expired_backup.",
        Instance(timer_expired),
    )
    .since("2.3.2"),
    Keyword::line(
        "address_lease",
        I,
        (1, 2),
        "SECONDS [RENEW] | off",
        "How long the kernel keeps addresses of a process that is gone.",
        Instance(address_lease),
    )
    .default("2 0.5, off for an owner")
    .since("weir"),
];

/// The most whole seconds of an unsigned 32-bit number of microseconds.
const LONGEST_SECONDS: i64 = 4294;

pub(crate) fn version(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Version> {
    let number = line.loose_number::<u8>(0, 2..=3, IGNORED, scope)?;
    Some(if number == 2 { Version::V2 } else { Version::V3 })
}

/// `SECONDS [RENEW] | off`; the inner value is absent for `off`.
pub(crate) fn lease(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Option<Lease>> {
    if line.text(0) == Some("off") {
        return Some(None);
    }
    let seconds_long = line.number::<u32>(0, 1..=3600, IGNORED, scope)?;
    let whole = Micros::from_secs(u64::from(seconds_long));
    let renew = if line.words().len() > 1 {
        line.timer(1, 10_000..=whole.0, "a quarter of the lease is used", scope)
    } else {
        None
    };
    let renew = renew.unwrap_or(Micros(whole.0 / 4));
    if renew.0 * 2 > whole.0 {
        let message = format!(
            "address_lease of {seconds_long} s is renewed every {} s: one renewal that comes late loses the addresses",
            seconds(renew)
        );
        scope.advise(line.span(), message, "renew at least twice in a lease");
    }
    Some(Some(Lease { seconds: seconds_long, renew }))
}

/// A count that keepalived takes as 1 when it is 0.
fn count(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<u32> {
    let count = line.loose_number::<u32>(0, 0..=i64::from(u32::MAX), IGNORED, scope)?;
    if count == 0 {
        scope.warn(line.span_of(0), format!("{} is at least 1; 1 is used", line.name()));
    }
    Some(count.max(1))
}

/// `[all] SECONDS`
fn extra_pace(garp: &mut Garp, line: &Line<'_>, scope: &mut Scope<'_>) {
    let at = line.words().iter().position(|word| word.text != "all");
    let Some(at) = at else {
        scope.warn(line.span(), format!("{} names no time; {IGNORED}", line.name()));
        return;
    };
    if let Some(pace) = line.loose_number::<u32>(at, 0..=86400, IGNORED, scope) {
        garp.extra = Micros::from_secs(u64::from(pace));
        garp.extra_all = line.words().iter().any(|word| word.text == "all");
    }
}

/// Setters of one field from one reader, for a target.
macro_rules! setters {
    ($target:ty { $($name:ident => $($field:ident).+ = $read:expr;)+ }) => {
        $(fn $name(target: &mut $target, line: &Line<'_>, scope: &mut Scope<'_>) {
            let read: fn(&Line<'_>, &mut Scope<'_>) -> Option<_> = $read;
            if let Some(value) = read(line, scope) {
                target.$($field).+ = value.into();
            }
        })+
    };
}

setters!(Defaults {
    garp_interval => garp.interval = packet_pace;
    gna_interval => garp.gna_interval = packet_pace;
    master_delay => garp.master_delay = burst_delay;
    master_repeat => garp.master_repeat = count;
    refresh => garp.refresh = refresh_pace;
    refresh_repeat => garp.refresh_repeat = count;
    lower_delay => lower_prio_delay = burst_delay;
    lower_repeat => lower_prio_repeat = lower_count;
});

setters!(Draft {
    own_master_delay => instance.garp.master_delay = burst_delay;
    own_master_repeat => instance.garp.master_repeat = count;
    own_refresh => instance.garp.refresh = refresh_pace;
    own_refresh_repeat => instance.garp.refresh_repeat = count;
    own_lower_delay => lower_prio_delay = burst_delay;
    own_lower_repeat => lower_prio_repeat = lower_count;
});

/// The packaged samples say 0, which later parsers call out of range; it means no pacing.
fn packet_pace(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    let pace = line.timer(0, 0..=LONGEST, IGNORED, scope)?;
    if pace >= Micros::from_secs(1) {
        let message = format!("{} of {} s makes a change to master very slow", line.name(), seconds(pace));
        scope.warn(line.span_of(0), message);
    }
    Some(pace)
}

fn burst_delay(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    line.whole_seconds(0..=LONGEST_SECONDS, scope)
}

fn refresh_pace(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    line.whole_seconds(0..=i64::from(u32::MAX), scope)
}

fn lower_count(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<u32> {
    line.loose_number(0, 0..=i64::from(i32::MAX), IGNORED, scope)
}

/// Changes what still has its default, as keepalived does.
fn min_garp(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    if line.flag(scope) != Some(true) {
        return;
    }
    let (garp, usual) = (&mut defaults.garp, Garp::default());
    if garp.master_repeat == usual.master_repeat {
        garp.master_repeat = 1;
    }
    if garp.refresh_repeat == usual.refresh_repeat {
        garp.refresh_repeat = 0;
    }
    if garp.master_delay == usual.master_delay {
        garp.master_delay = Micros(0);
    }
}

fn extra(defaults: &mut Defaults, line: &Line<'_>, scope: &mut Scope<'_>) {
    extra_pace(&mut defaults.garp, line, scope);
}

fn own_extra(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    extra_pace(&mut draft.instance.garp, line, scope);
}

fn advert_int(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(interval) = line.timer(0, 10_000..=255_000_000, IGNORED, scope) {
        draft.advert_interval = Some(interval);
    }
}

fn own_version(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(version) = version(line, scope) else { return };
    if draft.version.is_some_and(|other| other != version) {
        scope.warn(line.span(), format!("the version was said to be another one before; {IGNORED}"));
        return;
    }
    draft.version = Some(version);
}

fn preempt_delay(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let delay = line.timer(0, 0..=1_000_000_000, "0 is used", scope);
    draft.instance.preempt_delay = delay.unwrap_or(Micros(0));
}

fn down_timer_adverts(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(count) = line.loose_number(0, 1..=100, IGNORED, scope) {
        draft.instance.down_timer_adverts = count;
    }
}

fn timer_expired(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let priority = if line.words().is_empty() { Some(254) } else { line.number(0, 1..=254, IGNORED, scope) };
    if let Some(priority) = priority {
        draft.instance.timer_expired_backup = true;
        draft.instance.highest_other_priority = priority;
    }
}

fn address_lease(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.lease = lease(line, scope).or(draft.lease);
}
