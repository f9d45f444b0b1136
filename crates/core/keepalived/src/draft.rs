//! An instance as far as its block says it, before the defaults and the rules of 2.4 and 2.10 are applied.

use std::collections::HashMap;
use std::net::IpAddr;

use weir_model::Micros;
use weir_model::vrrp::{
    Authentication, Family, Instance, Lease, Script, ScriptUser, TrackProxy, TrackScript, UnicastPeer,
    Version,
};
use weir_syntax::Span;

use crate::line::Line;
use crate::scope::Scope;

/// Starts from an instance that has the global defaults; what depends on other keywords waits in options. It holds a
/// password and is therefore never printed.
pub struct Draft {
    pub(crate) instance: Instance,
    /// The line that opens the block.
    pub(crate) span: Span,
    /// The last line of each keyword, for messages about what the whole says.
    lines: HashMap<String, Span>,
    pub(crate) interface: Option<String>,
    pub(crate) vrid: Option<u8>,
    pub(crate) priority: Option<u8>,
    pub(crate) wants_master: Option<bool>,
    pub(crate) version: Option<Version>,
    /// That of the first address that the block names.
    pub(crate) family: Option<Family>,
    pub(crate) advert_interval: Option<Micros>,
    pub(crate) auth_type: Option<AuthType>,
    pub(crate) auth_pass: Option<String>,
    /// A keyword of unicast was met.
    pub(crate) unicast: bool,
    pub(crate) peers: Vec<UnicastPeer>,
    pub(crate) unicast_ttl: Option<u8>,
    pub(crate) check_unicast_source: bool,
    pub(crate) fault_without_peer: bool,
    pub(crate) group_address: Option<IpAddr>,
    /// `no_virtual_ipaddress`
    pub(crate) without_address: bool,
    /// `use_vmac` gave five octets: the last one is the VRID.
    pub(crate) mac_ends_with_vrid: bool,
    pub(crate) xmit_base: bool,
    pub(crate) strict: Option<bool>,
    pub(crate) accept: Option<bool>,
    pub(crate) lower_prio_delay: Option<Micros>,
    pub(crate) lower_prio_repeat: Option<u32>,
    pub(crate) lower_prio_no_advert: Option<bool>,
    pub(crate) higher_prio_send_advert: Option<bool>,
    pub(crate) owner_ignore_adverts: Option<bool>,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) notify_priority_changes: Option<bool>,
    /// The inner one is absent for `off`.
    pub(crate) lease: Option<Option<Lease>>,
    pub(crate) track_proxy: Option<TrackProxy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthType {
    Pass,
    Ah,
}

impl AuthType {
    pub(crate) const fn with(self, password: String) -> Authentication {
        match self {
            Self::Pass => Authentication::Pass(password),
            Self::Ah => Authentication::Ah(password),
        }
    }
}

impl Draft {
    pub(crate) fn new(name: &str, span: Span, scope: &Scope<'_>) -> Self {
        let defaults = &scope.defaults;
        let mut instance = Instance::new(name, "", 0);
        instance.garp = defaults.garp;
        instance.skip_check_adv_addr = defaults.skip_check_adv_addr;
        instance.down_timer_adverts = defaults.down_timer_adverts;
        instance.checksum = defaults.checksum;
        Self {
            instance,
            span,
            lines: HashMap::new(),
            interface: None,
            vrid: None,
            priority: None,
            wants_master: None,
            version: None,
            family: None,
            advert_interval: None,
            auth_type: None,
            auth_pass: None,
            unicast: false,
            peers: Vec::new(),
            unicast_ttl: None,
            check_unicast_source: defaults.check_unicast_source,
            fault_without_peer: false,
            group_address: None,
            without_address: false,
            mac_ends_with_vrid: false,
            xmit_base: false,
            strict: None,
            accept: None,
            lower_prio_delay: None,
            lower_prio_repeat: None,
            lower_prio_no_advert: None,
            higher_prio_send_advert: None,
            owner_ignore_adverts: None,
            smtp_alert: None,
            notify_priority_changes: None,
            lease: None,
            track_proxy: None,
        }
    }

    pub(crate) fn met(&mut self, line: &Line<'_>) {
        self.lines.insert(line.name().to_owned(), line.span());
    }

    /// Whether a keyword stands in the block.
    pub(crate) fn has(&self, keyword: &str) -> bool {
        self.lines.contains_key(keyword)
    }

    /// Where a keyword stands; the head of the block where it does not stand at all.
    pub(crate) fn at(&self, keyword: &str) -> Span {
        self.lines.get(keyword).copied().unwrap_or(self.span)
    }

    /// Takes the family of an address unless there is one; false when it is another one.
    pub(crate) fn is_of_family(&mut self, address: &IpAddr) -> bool {
        let family = Family::of(address);
        *self.family.get_or_insert(family) == family
    }
}

/// A `vrrp_script` before the user of the block goes to the command.
#[derive(Debug)]
pub struct ScriptDraft {
    pub(crate) script: TrackScript,
    pub(crate) timeout: Option<Micros>,
    pub(crate) user: Option<ScriptUser>,
}

impl ScriptDraft {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            script: TrackScript {
                name: name.to_owned(),
                script: Script { argv: Vec::new(), user: None },
                interval: Micros::from_secs(1),
                timeout: Micros::from_secs(1),
                weight: 0,
                reverse: false,
                rise: 1,
                fall: 1,
                init_fail: false,
            },
            timeout: None,
            user: None,
        }
    }
}
