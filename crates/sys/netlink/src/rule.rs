//! Policy rules of virtual routers.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteHeader, RouteProtocol};
use netlink_packet_route::rule::{RuleAction as Action, RuleAttribute, RuleFlags, RuleHeader, RuleMessage};
use rustix::io::Errno;
use weir_model::vrrp::{Rule, RuleAction};

use crate::family::{address_family, check_prefix};
use crate::link::check_name;
use crate::route::ROUTE_PROTOCOL;
use crate::socket::Request;
use crate::{Error, Netlink};

impl Netlink {
    /// Adds a rule; one that is there already is kept. A rule without priority gets one from the kernel, ahead of
    /// all but the first, and replaces the one that Weir made before.
    ///
    /// # Errors
    /// [`Error::Invalid`] for mixed families; else the refusal.
    pub fn put_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        let describe = || format!("add {}", Text(rule));
        let message = message(rule, describe)?;
        let mut requests = Vec::new();
        if rule.priority.is_none() {
            // The kernel compares the priority that it gave, so it would add a second one.
            requests.push(Request { message: RouteNetlinkMessage::DelRule(message.clone()), flags: 0 });
        }
        let message = RouteNetlinkMessage::NewRule(message);
        requests.push(Request { message, flags: NLM_F_CREATE | NLM_F_EXCL });
        match self.ask(requests, describe)? {
            Err(refusal) if refusal.errno != Errno::EXIST.raw_os_error() => {
                Err(Error::refused(describe(), None, refusal))
            }
            _ => Ok(()),
        }
    }

    /// Removes a rule that was put; one that is absent counts as removed. Rules of others stay, alike as they are.
    ///
    /// # Errors
    /// [`Error::Invalid`] for mixed families; else the refusal.
    pub fn remove_rule(&mut self, rule: &Rule) -> Result<(), Error> {
        let describe = || format!("remove {}", Text(rule));
        let message = RouteNetlinkMessage::DelRule(message(rule, describe)?);
        match self.ask(vec![Request { message, flags: 0 }], describe)? {
            Err(refusal) if refusal.errno != Errno::NOENT.raw_os_error() => {
                Err(Error::refused(describe(), None, refusal))
            }
            _ => Ok(()),
        }
    }
}

/// A rule in words.
struct Text<'a>(&'a Rule);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0;
        f.write_str(if rule.invert { "rule not" } else { "rule" })?;
        if let Some((address, length)) = rule.from {
            write!(f, " from {address}/{length}")?;
        }
        if let Some((address, length)) = rule.to {
            write!(f, " to {address}/{length}")?;
        }
        if let Some(name) = &rule.input_interface {
            write!(f, " iif {name}")?;
        }
        if let Some(table) = rule.table {
            write!(f, " table {table}")?;
        }
        match rule.priority {
            Some(priority) => write!(f, " priority {priority}"),
            None => Ok(()),
        }
    }
}

fn message(rule: &Rule, describe: impl Fn() -> String) -> Result<RuleMessage, Error> {
    check(rule).map_err(|reason| Error::Invalid { request: describe(), reason })?;
    let mut message = RuleMessage::default();
    let table = table(rule);
    message.header = header(rule, table);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Table(table));
    attributes.extend(selector(rule.from).map(RuleAttribute::Source));
    attributes.extend(selector(rule.to).map(RuleAttribute::Destination));
    attributes.extend(rule.priority.map(RuleAttribute::Priority));
    attributes.extend(rule.input_interface.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.output_interface.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(rule.suppress_prefix_len.map(RuleAttribute::SuppressPrefixLen));
    if let RuleAction::Goto(target) = rule.action {
        attributes.push(RuleAttribute::Goto(target));
    }
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)));
    Ok(message)
}

fn check(rule: &Rule) -> Result<(), String> {
    for prefix in [rule.from, rule.to].into_iter().flatten() {
        check_prefix(rule.family, "rule", "selector", prefix)?;
    }
    for name in [&rule.input_interface, &rule.output_interface].into_iter().flatten() {
        check_name("name of an interface", name)?;
    }
    Ok(())
}

/// A prefix of no length selects everything and is left out, as the kernel has it.
fn selector(prefix: Option<(IpAddr, u8)>) -> Option<IpAddr> {
    prefix.filter(|(_, length)| *length > 0).map(|(address, _)| address)
}

/// A rule that looks up a table and names none means main (ip-rule(8)).
fn table(rule: &Rule) -> u32 {
    let absent = match rule.action {
        RuleAction::Table => RouteHeader::RT_TABLE_MAIN,
        _ => RouteHeader::RT_TABLE_UNSPEC,
    };
    rule.table.unwrap_or_else(|| absent.into())
}

fn header(rule: &Rule, table: u32) -> RuleHeader {
    RuleHeader {
        family: address_family(rule.family),
        dst_len: rule.to.map_or(0, |(_, length)| length),
        src_len: rule.from.map_or(0, |(_, length)| length),
        tos: rule.tos.unwrap_or_default(),
        // A table above 255 is in the attribute alone.
        table: u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        action: match rule.action {
            RuleAction::Table => Action::ToTable,
            RuleAction::Goto(_) => Action::Goto,
            RuleAction::Nop => Action::Nop,
            RuleAction::Blackhole => Action::Blackhole,
            RuleAction::Unreachable => Action::Unreachable,
            RuleAction::Prohibit => Action::Prohibit,
        },
        flags: if rule.invert { RuleFlags::Invert } else { RuleFlags::empty() },
    }
}
