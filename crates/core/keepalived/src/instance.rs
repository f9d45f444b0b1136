//! `vrrp_instance`: who the router is, what it holds, and whom it tells.

use weir_model::vrrp::{Mac, Notify, Script, Vmac};
use weir_syntax::Word;

use crate::draft::{AuthType, Draft};
use crate::keyword::Action::{Block, Instance, Later, Silent, WithoutEffect};
use crate::keyword::{Blocks, Keyword};
use crate::line::{self, IGNORED, Line};
use crate::scope::Scope;
use crate::{address, route, rule, script};

const I: Blocks = Blocks::INSTANCE;
const A: Blocks = Blocks::AUTHENTICATION;
const H: Blocks = Blocks::AUTH_HMAC;
const HMAC: &str = "Weir has no auth_hmac: advertisements are sent and accepted without it";
const VIP: &str = "ADDRESS[/LENGTH] [dev IF] [brd A | + | -] [scope S] [label L] [peer A] ...";

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::line(
        "state",
        I,
        (1, 1),
        "MASTER | BACKUP",
        "Whether the router means to be master.",
        Instance(state),
    )
    .default("BACKUP"),
    Keyword::line(
        "interface",
        I,
        (1, 1),
        "INTERFACE",
        "Where advertisements are sent and heard.",
        Instance(interface),
    )
    .default("default_interface"),
    Keyword::line(
        "virtual_router_id",
        I,
        (1, 1),
        "1-255",
        "Which virtual router it is; one on an interface and family.",
        Instance(vrid),
    ),
    Keyword::line(
        "priority",
        I,
        (1, 1),
        "1-255",
        "The highest one is master; 255 owns the addresses.",
        Instance(priority),
    )
    .default("100"),
    Keyword::block("authentication", I, (0, 0), A, "", "A password in advertisements of version 2.", Block),
    Keyword::line("auth_type", A, (1, 1), "PASS | AH", "How it is sent.", Instance(auth_type)),
    Keyword::line("auth_pass", A, (1, usize::MAX), "PASSWORD", "Up to 8 characters.", Instance(auth_pass)),
    Keyword::block("auth_hmac", I, (0, 0), H, "", "A signature in advertisements.", WithoutEffect(HMAC))
        .since("2.4.0"),
    Keyword::line("key", H, (2, 2), "ID VALUE", "A key.", WithoutEffect(HMAC)).since("2.4.0"),
    Keyword::line("active_key", H, (1, 1), "ID", "The key that signs.", WithoutEffect(HMAC)).since("2.4.0"),
    Keyword::line("time_window", H, (1, 1), "SECONDS", "How old a signature may be.", WithoutEffect(HMAC))
        .since("2.4.0"),
    Keyword::line(
        "anti_replay",
        H,
        (1, 1),
        "time | monotonic",
        "How repeated packets are found.",
        WithoutEffect(HMAC),
    )
    .since("2.4.0"),
    Keyword::line(
        "mode",
        H,
        (1, 1),
        "enforce | permissive | receive-only",
        "What happens without.",
        WithoutEffect(HMAC),
    )
    .since("2.4.0"),
    Keyword::list(
        "virtual_ipaddress",
        I,
        VIP,
        "The addresses that are held and advertised.",
        Instance(addresses),
    ),
    Keyword::list(
        "virtual_ipaddress_excluded",
        I,
        VIP,
        "Addresses that are held and not advertised.",
        Instance(excluded),
    ),
    Keyword::bare("no_virtual_ipaddress", I, "The instance may have no address.", Instance(without_address))
        .since("2.2.8"),
    Keyword::list(
        "virtual_routes",
        I,
        "[to] PREFIX | default [via A] [dev IF] [src A] [table T] [metric N] ...",
        "Routes that a master has.",
        Instance(routes),
    ),
    Keyword::list(
        "virtual_rules",
        I,
        "[from P] [to P] [iif IF] [oif IF] [fwmark M] table T ...",
        "Rules that a master has.",
        Instance(rules),
    ),
    Keyword::line(
        "use_vmac",
        I,
        (0, usize::MAX),
        "[NAME] [MAC]",
        "The router has an interface with the standard's hardware address.",
        Instance(vmac),
    ),
    Keyword::bare(
        "vmac_xmit_base",
        I,
        "Advertisements leave by the interface below it.",
        Instance(xmit_base),
    ),
    Keyword::bare(
        "dont_track_primary",
        I,
        "The router's own interface may be down.",
        Instance(ignore_own_interface),
    ),
    Keyword::bare("nopreempt", I, "A backup leaves a lower priority master.", Instance(nopreempt)),
    Keyword::bare("preempt", I, "The opposite of nopreempt.", Instance(preempt)),
    Keyword::flag("strict_mode", I, "RFC 3768 or RFC 9568 to the letter.", Instance(strict))
        .default("vrrp_strict"),
    Keyword::bare("accept", I, "A master takes packets to its addresses.", Instance(accept))
        .default("on, off in strict mode"),
    Keyword::bare(
        "no_accept",
        I,
        "A master drops packets to addresses that it does not own.",
        Instance(no_accept),
    ),
    Keyword::flag(
        "skip_check_adv_addr",
        I,
        "The address list of a known sender is not compared again.",
        Instance(skip_check),
    )
    .default("vrrp_skip_check_adv_addr"),
    Keyword::flag(
        "lower_prio_no_advert",
        I,
        "A master stays silent when it hears a lower priority.",
        Instance(lower_prio_no_advert),
    )
    .default("vrrp_lower_prio_no_advert"),
    Keyword::flag(
        "higher_prio_send_advert",
        I,
        "A master that steps back says so once more.",
        Instance(higher_prio_send_advert),
    )
    .default("vrrp_higher_prio_send_advert"),
    Keyword::flag(
        "owner_ignore_adverts",
        I,
        "An owner of addresses does not listen to others.",
        Instance(owner_ignore_adverts),
    )
    .default("vrrp_owner_ignore_adverts")
    .since("2.3.0"),
    Keyword::bare(
        "promote_secondaries",
        I,
        "Another address of the network stays when the first one goes.",
        Instance(promote_secondaries),
    ),
    Keyword::command("notify_master", I, "Runs when the router becomes master.", Instance(notify)),
    Keyword::command("notify_backup", I, "Runs when the router becomes backup.", Instance(notify)),
    Keyword::command("notify_fault", I, "Runs when the router fails.", Instance(notify)),
    Keyword::command("notify_stop", I, "Runs when VRRP stops.", Instance(notify)),
    Keyword::command(
        "notify_master_rx_lower_pri",
        I,
        "Runs when a master hears a lower priority.",
        Instance(notify),
    ),
    Keyword::command(
        "notify",
        I,
        "Runs at every change with INSTANCE, name, state and priority as further arguments.",
        Instance(notify),
    ),
    Keyword::line(
        "notify_deleted",
        I,
        (0, usize::MAX),
        "[COMMAND [USER [GROUP]]]",
        "A reload that removes the instance tells DELETED instead of FAULT.",
        Instance(notify_deleted),
    ),
    Keyword::flag("smtp_alert", I, "Changes are told by mail.", Instance(smtp_alert))
        .default("smtp_alert_vrrp, smtp_alert"),
    Keyword::flag(
        "notify_priority_changes",
        I,
        "Changes of the priority are told as well.",
        Instance(priority_changes),
    )
    .default("that of the group, vrrp_notify_priority_changes"),
    Keyword::line(
        "debug",
        I,
        (0, 1),
        "[LEVEL]",
        "More is logged.",
        Silent("the level of the log is set for the whole of Weir"),
    ),
    Keyword::line(
        "kernel_rx_buf_size",
        I,
        (1, 1),
        "BYTES",
        "The buffer of the socket.",
        Silent("buffers are sized by Weir"),
    ),
    Keyword::bare(
        "linkbeat_use_polling",
        I,
        "The link is asked for its state.",
        WithoutEffect("the kernel tells Weir about links"),
    ),
    Keyword::line(
        "use_ipvlan",
        I,
        (0, usize::MAX),
        "[NAME] [ADDRESS] [bridge | private | vepa]",
        "The router has an interface of its own.",
        WithoutEffect("Weir makes no ipvlan; addresses go to the interface itself"),
    ),
    Keyword::bare(
        "use_vmac_addr",
        I,
        "Addresses on other interfaces have hardware addresses of their own.",
        WithoutEffect("only the router's own interface gets one"),
    ),
    Keyword::line(
        "vrf",
        I,
        (1, 1),
        "INTERFACE",
        "The routing domain of unicast.",
        WithoutEffect("Weir knows no routing domains"),
    ),
    Keyword::line(
        "lvs_sync_daemon_interface",
        I,
        (1, 1),
        "INTERFACE",
        "Where connections of LVS are told.",
        Later("this version does not balance packets yet"),
    ),
];

fn state(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let master = match line.text(0) {
        Some("MASTER") => true,
        Some("BACKUP") if draft.wants_master == Some(true) => {
            scope.warn(line.span(), format!("the state was said to be MASTER before; {IGNORED}"));
            return;
        }
        Some("BACKUP") => false,
        other => {
            let message =
                format!("state {:?} is neither MASTER nor BACKUP; BACKUP is used", other.unwrap_or(""));
            scope.advise(line.span_of(0), message, "write MASTER or BACKUP, in capitals");
            false
        }
    };
    draft.wants_master = Some(master);
}

fn interface(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.interface = line.interface(0, scope).or(draft.interface.take());
}

fn vrid(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.vrid = line.number(0, 1..=255, IGNORED, scope).or(draft.vrid);
}

fn priority(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.priority = line.number(0, 1..=255, "100 is used", scope).or(Some(100));
}

fn auth_type(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    match line.text(0) {
        Some("PASS") => draft.auth_type = Some(AuthType::Pass),
        Some("AH") => draft.auth_type = Some(AuthType::Ah),
        other => {
            let message = format!("auth_type {:?} is neither PASS nor AH; {IGNORED}", other.unwrap_or(""));
            scope.advise(line.span_of(0), message, "write PASS or AH, in capitals");
        }
    }
}

/// The octets of a password that keepalived sends.
const PASSWORD_LEN: usize = 8;

/// Messages point at the block: those who read a log are not to see the password.
fn auth_pass(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(password) = line.text(0) else { return };
    let at = draft.at("authentication");
    if line.words().len() > 1 {
        scope.advise(
            at,
            "auth_pass has more than one word; the first one is used",
            "put the password in quotes",
        );
    }
    let mut end = PASSWORD_LEN.min(password.len());
    while !password.is_char_boundary(end) {
        end += 1;
    }
    if password.len() > PASSWORD_LEN {
        let message =
            format!("the password is longer than {PASSWORD_LEN} characters; what follows is cut off");
        scope.warn(at, message);
    }
    draft.auth_pass = password.get(..end).map(str::to_owned);
}

fn addresses(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        let Some(read) = address::read(item, false, scope) else { continue };
        if draft.is_of_family(&read.address.address) {
            draft.instance.addresses.push(read.address);
        } else {
            let address = read.address.address;
            let message = format!("{address} is ignored: addresses of one instance are of one family");
            let help = "put it into virtual_ipaddress_excluded, or into an instance of its own";
            scope.advise(item.name.span, message, help);
        }
    }
}

fn excluded(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        draft.instance.excluded.extend(address::read(item, false, scope).map(|read| read.address));
    }
}

fn without_address(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.without_address = true;
}

fn routes(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        draft.instance.routes.extend(route::read(item, false, scope).map(|read| read.route));
    }
}

fn rules(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    for item in line.items() {
        draft.instance.rules.extend(rule::read(item, false, scope).map(|read| read.rule));
    }
}

fn vmac(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let mut vmac = Vmac { name: None, mac: None, xmit_base: false };
    let mut words = line.words().iter();
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "netlink_notify_msg" => scope.warn(word.span, "netlink_notify_msg of use_vmac is ignored"),
            "group" => {
                scope.warn(word.span, "group of use_vmac is not supported; it is ignored");
                words.next();
            }
            "name" => vmac.name = words.next().and_then(|word| line::interface(word, scope)),
            text if text.contains(':') => {
                if let Some((mac, short)) = mac(word, scope) {
                    vmac.mac = Some(mac);
                    draft.mac_ends_with_vrid = short;
                }
            }
            text if vmac.name.is_some() => {
                scope.warn(word.span, format!("{text:?} is a second name; it is ignored"));
            }
            _ => vmac.name = line::interface(word, scope),
        }
    }
    draft.instance.vmac = Some(vmac);
}

/// Six octets, or five: then the VRID is the last one.
fn mac(word: &Word, scope: &mut Scope<'_>) -> Option<(Mac, bool)> {
    let text = word.text.strip_suffix(':').unwrap_or(&word.text);
    let octet = |part: &str| {
        let fits = part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        u8::from_str_radix(part, 16).ok().filter(|_| fits)
    };
    let octets = text.split(':').map(octet).collect::<Option<Vec<u8>>>();
    let (mac, short) = match octets.as_deref() {
        Some(&[a, b, c, d, e, f]) => (Mac([a, b, c, d, e, f]), false),
        Some(&[a, b, c, d, e]) => (Mac([a, b, c, d, e, 0]), true),
        _ => {
            scope.warn(word.span, format!("{:?} is no hardware address; it is ignored", word.text));
            return None;
        }
    };
    let Mac([first, ..]) = mac;
    if first & 1 != 0 {
        scope.warn(word.span, format!("{mac} is a multicast address; it is ignored"));
        return None;
    }
    // RFC 9568 section 7.3: these belong to the virtual routers themselves.
    if matches!(mac, Mac([0, 0, 0x5e, 0, 1 | 2, _])) {
        scope.warn(word.span, format!("{mac} is an address of the standard; it is ignored"));
        return None;
    }
    Some((mac, short))
}

fn xmit_base(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.xmit_base = true;
}

fn ignore_own_interface(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.instance.ignore_own_interface = true;
}

fn nopreempt(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.instance.nopreempt = true;
}

fn preempt(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.instance.nopreempt = false;
}

fn accept(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.accept = Some(true);
}

fn no_accept(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.accept = Some(false);
}

fn promote_secondaries(draft: &mut Draft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.instance.promote_secondaries = true;
}

/// Setters of an optional flag.
macro_rules! flags {
    ($($name:ident => $field:ident;)+) => {
        $(fn $name(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
            draft.$field = line.flag(scope).or(draft.$field);
        })+
    };
}

flags! {
    strict => strict;
    lower_prio_no_advert => lower_prio_no_advert;
    higher_prio_send_advert => higher_prio_send_advert;
    owner_ignore_adverts => owner_ignore_adverts;
    smtp_alert => smtp_alert;
    priority_changes => notify_priority_changes;
}

fn skip_check(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(value) = line.unread_flag(scope) {
        draft.instance.skip_check_adv_addr = value;
    }
}

fn notify(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(slot) = slot(&mut draft.instance.notify, line.name()) {
        script::once(slot, line, scope);
    }
}

/// The script of a notify keyword.
pub(crate) fn slot<'n>(notify: &'n mut Notify, keyword: &str) -> Option<&'n mut Option<Script>> {
    Some(match keyword {
        "notify_master" => &mut notify.master,
        "notify_backup" => &mut notify.backup,
        "notify_fault" => &mut notify.fault,
        "notify_stop" => &mut notify.stop,
        "notify_master_rx_lower_pri" => &mut notify.master_rx_lower_pri,
        "notify" => &mut notify.any,
        _ => return None,
    })
}

fn notify_deleted(draft: &mut Draft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.instance.notify_deleted = true;
    if !line.words().is_empty() {
        script::once(&mut draft.instance.notify.deleted, line, scope);
    }
}
