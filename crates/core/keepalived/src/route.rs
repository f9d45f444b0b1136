//! A line of `virtual_routes` or `static_routes`.

use std::net::IpAddr;

use weir_model::vrrp::{Family, NextHop, Route, RouteKind};
use weir_syntax::Word;
use weir_syntax::keepalived::Statement;

use crate::address::{bits, prefix};
use crate::line;
use crate::names::{self, KEEPALIVED};
use crate::scope::Scope;

/// What a line says, with the track group of a static route.
pub(crate) struct Line<'a> {
    pub(crate) route: Route,
    pub(crate) track_group: Option<&'a Word>,
}

/// Options that Weir reads and leaves out, and how many words follow each. `lock` may stand before a value.
const LEFT_OUT: &[(&str, usize)] = &[
    ("tos", 1),
    ("dsfield", 1),
    ("from", 1),
    ("expires", 1),
    ("hoplimit", 1),
    ("rtt", 1),
    ("rttvar", 1),
    ("reordering", 1),
    ("window", 1),
    ("cwnd", 1),
    ("ssthresh", 1),
    ("realms", 1),
    ("rto_min", 1),
    ("initcwnd", 1),
    ("initrwnd", 1),
    ("features", 1),
    ("quickack", 1),
    ("congctl", 1),
    ("pref", 1),
    ("ttl-propagate", 1),
    ("fastopen_no_cookie", 1),
    ("vrf", 1),
    ("add", 0),
    ("append", 0),
    ("prepend", 0),
];

struct Reading<'a, 's, 'e> {
    words: std::slice::Iter<'a, Word>,
    item: &'a Statement,
    family: Option<Family>,
    destination: Option<Option<(IpAddr, u8)>>,
    route: Route,
    track_group: Option<&'a Word>,
    scope: &'s mut Scope<'e>,
}

/// Reads a line; what makes keepalived leave the route out makes it absent.
pub(crate) fn read<'a>(item: &'a Statement, is_static: bool, scope: &mut Scope<'_>) -> Option<Line<'a>> {
    let mut reading = Reading {
        words: item.args.iter(),
        item,
        family: None,
        destination: None,
        route: empty(),
        track_group: None,
        scope,
    };
    // The grammar does not set the first word of an item apart.
    reading.option(&item.name, is_static)?;
    while let Some(word) = reading.words.next() {
        reading.option(word, is_static)?;
    }
    reading.finish()
}

const fn empty() -> Route {
    Route {
        kind: RouteKind::Unicast,
        destination: None,
        family: Family::V4,
        gateway: None,
        source: None,
        interface: None,
        table: 254,
        metric: None,
        scope: None,
        protocol: Some(KEEPALIVED),
        onlink: false,
        mtu: None,
        advmss: None,
        track: true,
        next_hops: Vec::new(),
    }
}

fn kind(text: &str) -> Option<RouteKind> {
    Some(match text {
        "unicast" => RouteKind::Unicast,
        "blackhole" => RouteKind::Blackhole,
        "unreachable" => RouteKind::Unreachable,
        "prohibit" => RouteKind::Prohibit,
        "throw" => RouteKind::Throw,
        _ => return None,
    })
}

impl<'a> Reading<'a, '_, '_> {
    /// Notes why the whole route is left out.
    fn refuse<T>(&mut self, word: &Word, why: &str) -> Option<T> {
        self.scope.warn(word.span, format!("{why}; the route is ignored"));
        None
    }

    fn value(&mut self, option: &Word) -> Option<&'a Word> {
        match self.words.next() {
            Some(word) => Some(word),
            None => self.refuse(option, &format!("{} has no value", option.text)),
        }
    }

    /// Takes the family of an address unless there is another one.
    fn is_of(&mut self, word: &Word, family: Family) -> Option<()> {
        if *self.family.get_or_insert(family) == family {
            return Some(());
        }
        self.refuse(word, &format!("{:?} mixes IPv4 and IPv6", word.text))
    }

    fn address(&mut self, option: &Word) -> Option<IpAddr> {
        let mut word = self.value(option)?;
        let said = match word.text.as_str() {
            "inet" => Some(Family::V4),
            "inet6" => Some(Family::V6),
            _ => None,
        };
        if let Some(family) = said {
            self.is_of(word, family)?;
            word = self.value(option)?;
        }
        let Ok(address) = word.text.parse() else {
            return self.refuse(word, &format!("{:?} is no IP address", word.text));
        };
        self.is_of(word, Family::of(&address))?;
        Some(address)
    }

    fn number(&mut self, option: &Word) -> Option<u32> {
        let mut word = self.value(option)?;
        if word.text == "lock" {
            self.scope.warn(word.span, "lock is not supported; it is ignored");
            word = self.value(option)?;
        }
        match names::number(&word.text) {
            Some(number) => Some(number),
            None => self.refuse(word, &format!("{} {:?} is no number", option.text, word.text)),
        }
    }

    /// A number of one octet that has names.
    fn named(&mut self, option: &Word, read: fn(&str) -> Option<u8>) -> Option<u8> {
        let word = self.value(option)?;
        match read(&word.text) {
            Some(number) => Some(number),
            None => self.refuse(word, &format!("{} {:?} is not known", option.text, word.text)),
        }
    }

    fn interface(&mut self, option: &Word) -> Option<String> {
        let word = self.value(option)?;
        line::interface(word, self.scope)
    }

    fn option(&mut self, option: &'a Word, is_static: bool) -> Option<()> {
        match option.text.as_str() {
            "inet" => self.is_of(option, Family::V4)?,
            "inet6" => self.is_of(option, Family::V6)?,
            "src" => self.route.source = Some(self.address(option)?),
            "via" | "gw" => self.route.gateway = Some(self.address(option)?),
            "dev" | "oif" => self.route.interface = Some(self.interface(option)?),
            "table" => {
                let word = self.value(option)?;
                self.route.table = names::table(word, self.scope)?;
            }
            "metric" | "priority" | "preference" => self.route.metric = Some(self.number(option)?),
            "scope" => self.route.scope = Some(self.named(option, names::scope_number)?),
            "protocol" => self.route.protocol = Some(self.named(option, names::protocol)?),
            "onlink" => self.route.onlink = true,
            "mtu" => self.route.mtu = Some(self.number(option)?),
            "advmss" => self.route.advmss = Some(self.number(option)?),
            "no_track" => self.route.track = false,
            "track_group" if is_static => self.track_group = Some(self.value(option)?),
            "nexthop" => self.next_hops()?,
            "or" => self.alternative(option)?,
            "encap" => return self.refuse(option, "encap is not supported"),
            text => match LEFT_OUT.iter().find(|(name, _)| *name == text) {
                Some((_, count)) => self.leave_out(option, *count)?,
                None => self.destination(option)?,
            },
        }
        Some(())
    }

    fn leave_out(&mut self, option: &Word, count: usize) -> Option<()> {
        self.scope.warn(option.span, format!("{} of a route is not supported; it is ignored", option.text));
        if count > 0 && self.value(option)?.text == "lock" {
            self.value(option)?;
        }
        Some(())
    }

    /// `[to] [TYPE] PREFIX | default`
    fn destination(&mut self, first: &'a Word) -> Option<()> {
        let mut word = first;
        if word.text == "to" {
            word = self.value(first)?;
        }
        if let Some(kind) = kind(&word.text) {
            self.route.kind = kind;
            word = self.value(word)?;
        }
        self.destination = Some(match word.text.as_str() {
            "default" | "any" | "all" => None,
            "default6" => {
                self.is_of(word, Family::V6)?;
                None
            }
            text => {
                let Some((address, length)) = prefix(word, self.scope) else {
                    return self.refuse(word, &format!("a route has no option {text:?}"));
                };
                self.is_of(word, Family::of(&address))?;
                Some((address, length.unwrap_or(bits(&address))))
            }
        });
        Some(())
    }

    /// `nexthop [via ADDRESS] [dev IF] [weight N] [onlink] ...`, up to the end of the line.
    fn next_hops(&mut self) -> Option<()> {
        loop {
            let mut hop = NextHop { gateway: None, interface: None, weight: 1, onlink: false };
            let mut more = false;
            while let Some(word) = self.words.next() {
                match word.text.as_str() {
                    "via" => hop.gateway = Some(self.address(word)?),
                    "dev" => hop.interface = Some(self.interface(word)?),
                    "weight" => hop.weight = self.hop_weight(word)?,
                    "onlink" => hop.onlink = true,
                    "realms" => self.leave_out(word, 1)?,
                    "nexthop" => {
                        more = true;
                        break;
                    }
                    other => return self.refuse(word, &format!("a next hop has no option {other:?}")),
                }
            }
            self.route.next_hops.push(hop);
            if !more {
                return Some(());
            }
        }
    }

    fn hop_weight(&mut self, option: &Word) -> Option<u16> {
        let weight = self.number(option)?;
        match u16::try_from(weight) {
            Ok(weight @ 1..=256) => Some(weight),
            _ => self.refuse(option, &format!("weight {weight} is not in 1 to 256")),
        }
    }

    /// `via A or B`: two next hops in the words of keepalived before 2.0.
    fn alternative(&mut self, option: &Word) -> Option<()> {
        if !self.route.next_hops.is_empty() {
            return self.refuse(option, "there are two alternatives at most");
        }
        let second = self.address(option)?;
        let first = self.route.gateway.take();
        for gateway in [first, Some(second)] {
            self.route.next_hops.push(NextHop { gateway, interface: None, weight: 1, onlink: false });
        }
        Some(())
    }

    fn finish(mut self) -> Option<Line<'a>> {
        let item = self.item;
        let Some(destination) = self.destination else {
            return self.refuse(&item.name, "it has no destination");
        };
        self.route.destination = destination;
        self.route.family = self.family.unwrap_or(Family::V4);
        if self.route.track {
            if self.route.protocol != Some(KEEPALIVED) {
                self.scope.warn(item.span, format!("a tracked route has protocol {KEEPALIVED}; it is used"));
                self.route.protocol = Some(KEEPALIVED);
            }
            // What went away with its interface could not be told from what somebody took away.
            if self.route.interface.is_none() {
                self.scope.advise(
                    item.span,
                    "a route without an interface is not tracked",
                    "name one with dev, or write no_track",
                );
                self.route.track = false;
            }
        }
        Some(Line { route: self.route, track_group: self.track_group })
    }
}
