//! `strict_mode`, `vrrp_strict`: what keepalived takes from an instance so that it follows the standard to the letter.
//! Whatever surprises is said.

use weir_model::Micros;
use weir_model::vrrp::{Family, Version};

use crate::draft::Draft;
use crate::scope::Scope;

/// What the rest of the instance is worked out from.
pub(crate) fn before(draft: &mut Draft, scope: &mut Scope<'_>) {
    if !draft.instance.strict {
        return;
    }
    let owner = draft.instance.is_owner();
    if draft.instance.wants_master != owner {
        let (is, state) = if owner { ("an", "MASTER") } else { ("no", "BACKUP") };
        let message =
            format!("strict mode: {is} owner of addresses (priority 255) has state {state}; it is used");
        scope.warn(draft.at("state"), message);
        draft.instance.wants_master = owner;
    }
    if draft.auth_type.take().is_some() {
        let help = "peers that are not strict have to leave their passwords out, or strict mode has to go";
        scope.advise(draft.at("auth_type"), "strict mode clears authentication", help);
        draft.auth_pass = None;
    }
    if !draft.peers.is_empty() {
        let message = "strict mode knows multicast alone; the peers are used as keepalived 2.2 uses them";
        scope.advise(draft.at("unicast_peer"), message, "later releases of keepalived refuse the file");
    }
    if draft.without_address {
        scope.warn(
            draft.at("no_virtual_ipaddress"),
            "strict mode needs an address; no_virtual_ipaddress is ignored",
        );
        draft.without_address = false;
    }
    if draft.xmit_base && draft.instance.vmac.is_some() && !draft.unicast {
        scope.warn(draft.at("vmac_xmit_base"), "strict mode has no vmac_xmit_base; it is ignored");
        draft.xmit_base = false;
    }
    if draft.instance.vmac.as_mut().and_then(|vmac| vmac.mac.take()).is_some() {
        let message = "strict mode uses the hardware address of the standard; the given one is ignored";
        scope.warn(draft.at("use_vmac"), message);
    }
}

/// What has a default of its own in strict mode, and the defaults without.
pub(crate) fn after(draft: &mut Draft, scope: &mut Scope<'_>) {
    if draft.instance.strict {
        timers(draft, scope);
    }
    accept(draft, scope);
    lower_priority(draft, scope);
    owner(draft, scope);
}

fn timers(draft: &mut Draft, scope: &mut Scope<'_>) {
    if draft.instance.preempt_delay > Micros(0) {
        scope.warn(draft.at("preempt_delay"), "strict mode has no preempt_delay; it is ignored");
        draft.instance.preempt_delay = Micros(0);
    }
    if draft.instance.down_timer_adverts != 3 {
        scope.warn(draft.at("down_timer_adverts"), "strict mode waits for 3 advertisements; 3 is used");
        draft.instance.down_timer_adverts = 3;
    }
}

fn accept(draft: &mut Draft, scope: &mut Scope<'_>) {
    let (owner, strict) = (draft.instance.is_owner(), draft.instance.strict);
    let accept = draft.accept.unwrap_or(owner || !strict);
    if !strict || owner {
        draft.instance.accept = accept;
        return;
    }
    let second = draft.instance.version == Version::V2;
    draft.instance.accept = accept && !second;
    if accept && second {
        // RFC 3768 section 6.4.3 has no such choice.
        scope.warn(
            draft.at("accept"),
            "strict mode of version 2 drops packets to the addresses; accept is ignored",
        );
    } else if draft.accept.is_none() {
        let message = "strict mode drops packets to the addresses, ping and connections to a proxy included";
        let help = match draft.instance.family {
            Family::V4 if second => "take strict mode out, or use version 3 with accept",
            _ => "write accept, or take strict mode out",
        };
        scope.advise(draft.at("strict_mode"), message, help);
    }
}

fn lower_priority(draft: &mut Draft, scope: &mut Scope<'_>) {
    let strict = draft.instance.strict;
    if strict {
        reset(
            draft.lower_prio_repeat,
            0,
            draft.at("garp_lower_prio_repeat"),
            "garp_lower_prio_repeat",
            scope,
        );
        reset(
            draft.lower_prio_delay,
            Micros(0),
            draft.at("garp_lower_prio_delay"),
            "garp_lower_prio_delay",
            scope,
        );
        reset(
            draft.lower_prio_no_advert,
            true,
            draft.at("lower_prio_no_advert"),
            "lower_prio_no_advert",
            scope,
        );
        let keyword = "higher_prio_send_advert";
        reset(draft.higher_prio_send_advert, false, draft.at(keyword), keyword, scope);
    }
    let defaults = &scope.defaults;
    let instance = &mut draft.instance;
    if strict {
        instance.garp.lower_prio_repeat = 0;
        instance.garp.lower_prio_delay = Micros(0);
        instance.lower_prio_no_advert = true;
        instance.higher_prio_send_advert = false;
    } else {
        instance.garp.lower_prio_repeat = draft.lower_prio_repeat.unwrap_or(defaults.garp.lower_prio_repeat);
        instance.garp.lower_prio_delay = draft.lower_prio_delay.unwrap_or(defaults.garp.lower_prio_delay);
        instance.lower_prio_no_advert = draft.lower_prio_no_advert.unwrap_or(defaults.lower_prio_no_advert);
        instance.higher_prio_send_advert =
            draft.higher_prio_send_advert.unwrap_or(defaults.higher_prio_send_advert);
    }
}

/// Says that a value gives way when it is another one than strict mode has.
fn reset<T: PartialEq>(
    said: Option<T>,
    strict: T,
    at: weir_syntax::Span,
    keyword: &str,
    scope: &mut Scope<'_>,
) {
    if said.is_some_and(|said| said != strict) {
        scope.warn(at, format!("strict mode has a {keyword} of its own; the line is ignored"));
    }
}

fn owner(draft: &mut Draft, scope: &mut Scope<'_>) {
    let (owner, strict) = (draft.instance.is_owner(), draft.instance.strict);
    let at = draft.at("owner_ignore_adverts");
    draft.instance.owner_ignore_adverts = match draft.owner_ignore_adverts {
        Some(true) if !owner => {
            scope.warn(at, "owner_ignore_adverts needs priority 255; it is ignored");
            false
        }
        Some(false) if owner && strict => {
            scope.warn(at, "strict mode with priority 255 does not listen to others; the line is ignored");
            true
        }
        Some(value) => value,
        None => owner && (strict || scope.defaults.owner_ignore_adverts),
    };
}
