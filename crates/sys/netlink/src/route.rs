//! Routes of virtual routers.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType,
};
use rustix::io::Errno;
use weir_model::vrrp::{Family, NextHop, Route, RouteKind};

use crate::family::{address_family, check_family, check_prefix, family_of};
use crate::socket::Request;
use crate::{Error, Netlink};

/// The protocol of routes and rules that name none: keepalived's number (`RTPROT_KEEPALIVED`), which filters of
/// routing daemons know.
pub const ROUTE_PROTOCOL: u8 = 18;

/// So many fit one attribute, whose length is of 16 bits.
const NEXT_HOPS: usize = 1024;

/// Finds the index of an interface by name.
type Resolve<'a> = &'a dyn Fn(&str) -> Option<u32>;

impl Netlink {
    /// Adds a route; one that is there already in every detail is kept, and a different one to the same destination
    /// stays behind it. `interface` is the index used where the route names none and has to have one: without
    /// gateway, with a link-local gateway, or onlink.
    ///
    /// # Errors
    /// [`Error::NoInterface`] for a name that `resolve` does not know; [`Error::Invalid`] for mixed families; else
    /// the refusal.
    pub fn put_route(
        &mut self,
        route: &Route,
        interface: Option<u32>,
        resolve: Resolve<'_>,
    ) -> Result<(), Error> {
        let describe = || format!("add {}", Text(route));
        let message = RouteNetlinkMessage::NewRoute(message(route, interface, resolve, describe)?);
        match self.ask(vec![Request { message, flags: NLM_F_CREATE }], describe)? {
            Err(refusal) if refusal.errno != Errno::EXIST.raw_os_error() => {
                Err(Error::refused(describe(), interface, refusal))
            }
            _ => Ok(()),
        }
    }

    /// Removes a route that was put with the same arguments; one that is absent, or whose interface is, counts as
    /// removed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for mixed families; else the refusal.
    pub fn remove_route(
        &mut self,
        route: &Route,
        interface: Option<u32>,
        resolve: Resolve<'_>,
    ) -> Result<(), Error> {
        let describe = || format!("remove {}", Text(route));
        let message = match message(route, interface, resolve, describe) {
            Ok(message) => RouteNetlinkMessage::DelRoute(message),
            Err(Error::NoInterface { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let gone = [Errno::SRCH, Errno::NODEV];
        match self.ask(vec![Request { message, flags: 0 }], describe)? {
            Err(refusal) if !gone.contains(&Errno::from_raw_os_error(refusal.errno)) => {
                Err(Error::refused(describe(), interface, refusal))
            }
            _ => Ok(()),
        }
    }
}

/// A route in words.
struct Text<'a>(&'a Route);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.0;
        f.write_str(match route.kind {
            RouteKind::Unicast => "route",
            RouteKind::Blackhole => "blackhole route",
            RouteKind::Unreachable => "unreachable route",
            RouteKind::Prohibit => "prohibit route",
            RouteKind::Throw => "throw route",
        })?;
        match route.destination {
            Some((address, length)) => write!(f, " to {address}/{length}")?,
            None => f.write_str(" to default")?,
        }
        if let Some(gateway) = route.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(interface) = &route.interface {
            write!(f, " dev {interface}")?;
        }
        write!(f, " table {}", route.table)
    }
}

fn message(
    route: &Route,
    interface: Option<u32>,
    resolve: Resolve<'_>,
    describe: impl Fn() -> String,
) -> Result<RouteMessage, Error> {
    check(route).map_err(|reason| Error::Invalid { request: describe(), reason })?;
    let interface = Interface { default: interface, resolve, describe: &describe };
    let mut message = RouteMessage::default();
    message.header = header(route);
    message.attributes = attributes(route);
    if route.kind != RouteKind::Unicast {
        return Ok(message);
    }
    if !route.next_hops.is_empty() {
        let hops = route.next_hops.iter().map(|hop| next_hop(route.family, hop, &interface));
        message.attributes.push(RouteAttribute::MultiPath(hops.collect::<Result<_, _>>()?));
        return Ok(message);
    }
    message.attributes.extend(route.gateway.map(|gateway| via(route.family, gateway)));
    let index = interface.of(route.interface.as_deref(), route.gateway, route.onlink)?;
    message.attributes.extend(index.map(RouteAttribute::Oif));
    Ok(message)
}

fn check(route: &Route) -> Result<(), String> {
    if let Some(destination) = route.destination {
        check_prefix(route.family, "route", "destination", destination)?;
    }
    if let Some(source) = route.source {
        check_family(route.family, "route", "source", source)?;
    }
    // Only IPv4 goes by gateways of the other family.
    if route.family == Family::V6 {
        gateways(route).try_for_each(|gateway| check_family(Family::V6, "route", "gateway", gateway))?;
    }
    if route.next_hops.len() > NEXT_HOPS {
        return Err(format!("{} next hops, expected at most {NEXT_HOPS}", route.next_hops.len()));
    }
    Ok(())
}

fn gateways(route: &Route) -> impl Iterator<Item = IpAddr> {
    route.gateway.into_iter().chain(route.next_hops.iter().filter_map(|hop| hop.gateway))
}

fn header(route: &Route) -> RouteHeader {
    RouteHeader {
        address_family: address_family(route.family),
        destination_prefix_length: route.destination.map_or(0, |(_, length)| length),
        source_prefix_length: 0,
        tos: 0,
        // A table above 255 is in the attribute alone.
        table: u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: RouteProtocol::from(route.protocol.unwrap_or(ROUTE_PROTOCOL)),
        scope: scope(route),
        kind: match route.kind {
            RouteKind::Unicast => RouteType::Unicast,
            RouteKind::Blackhole => RouteType::BlackHole,
            RouteKind::Unreachable => RouteType::Unreachable,
            RouteKind::Prohibit => RouteType::Prohibit,
            RouteKind::Throw => RouteType::Throw,
        },
        flags: if route.onlink { RouteFlags::Onlink } else { RouteFlags::empty() },
    }
}

/// As ip-route(8): link for direct unicast routes, else global. IPv6 has no scopes here.
fn scope(route: &Route) -> RouteScope {
    let direct = route.kind == RouteKind::Unicast && route.gateway.is_none() && route.next_hops.is_empty();
    match route.scope {
        Some(scope) => scope.into(),
        None if direct && route.family == Family::V4 => RouteScope::Link,
        None => RouteScope::Universe,
    }
}

/// All but the way: gateway, interface and next hops.
fn attributes(route: &Route) -> Vec<RouteAttribute> {
    let mut attributes = vec![RouteAttribute::Table(route.table)];
    attributes.extend(route.destination.map(|(address, _)| RouteAttribute::Destination(address.into())));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    let metrics: Vec<RouteMetric> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    attributes
}

/// A gateway of the other family has an attribute of its own (RFC 8950).
fn via(family: Family, gateway: IpAddr) -> RouteAttribute {
    if family_of(gateway) == family {
        RouteAttribute::Gateway(gateway.into())
    } else {
        RouteAttribute::Via(gateway.into())
    }
}

fn next_hop<D: Fn() -> String>(
    family: Family,
    hop: &NextHop,
    interface: &Interface<'_, D>,
) -> Result<RouteNextHop, Error> {
    let mut message = RouteNextHop::default();
    message.flags = if hop.onlink { RouteNextHopFlags::Onlink } else { RouteNextHopFlags::empty() };
    message.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    message.interface_index =
        interface.of(hop.interface.as_deref(), hop.gateway, hop.onlink)?.unwrap_or_default();
    message.attributes.extend(hop.gateway.map(|gateway| via(family, gateway)));
    Ok(message)
}

/// How a way finds its interface.
struct Interface<'a, D> {
    default: Option<u32>,
    resolve: Resolve<'a>,
    describe: &'a D,
}

impl<D: Fn() -> String> Interface<'_, D> {
    /// The one of the name, else the default where the kernel could not find one by the gateway.
    fn of(&self, name: Option<&str>, gateway: Option<IpAddr>, onlink: bool) -> Result<Option<u32>, Error> {
        let Some(name) = name else {
            let local = matches!(gateway, Some(IpAddr::V6(gateway)) if gateway.is_unicast_link_local());
            return Ok(self.default.filter(|_| gateway.is_none() || local || onlink));
        };
        let missing = || Error::NoInterface { request: (self.describe)(), interface: name.to_owned() };
        (self.resolve)(name).map(Some).ok_or_else(missing)
    }
}
