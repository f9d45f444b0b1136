//! `map`, `geo` and `split_clients`: from one value to another.

use std::collections::HashMap;
use std::net::IpAddr;

use weir_model::{Geo, Map, MapKey, Template};
use weir_pattern::Captures;

use crate::evaluate::Scope;
use crate::request::Request;
use crate::site::{Matcher, SiteError, matcher};

/// A compiled `map`. Values are indices into the model's entries.
#[derive(Debug)]
pub struct MapTable {
    exact: HashMap<Box<[u8]>, usize>,
    suffixes: HashMap<Box<[u8]>, usize>,
    prefixes: HashMap<Box<[u8]>, usize>,
    patterns: Vec<(Matcher, usize)>,
    hostnames: bool,
}

impl MapTable {
    pub(crate) fn new(map: &Map) -> Result<Self, SiteError> {
        let mut table = Self {
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            prefixes: HashMap::new(),
            patterns: Vec::new(),
            hostnames: map.hostnames,
        };
        for (index, (key, _)) in map.entries.iter().enumerate() {
            let bytes = |text: &str| text.to_lowercase().into_bytes().into_boxed_slice();
            match key {
                MapKey::Exact(text) => drop(table.exact.insert(bytes(text), index)),
                MapKey::Suffix(text) => drop(table.suffixes.insert(bytes(text), index)),
                MapKey::SuffixOrExact(text) => {
                    table.exact.entry(bytes(text)).or_insert(index);
                    table.suffixes.insert(bytes(text), index);
                }
                MapKey::Prefix(text) => drop(table.prefixes.insert(bytes(text), index)),
                MapKey::Regex(regex) => table.patterns.push((matcher(regex)?, index)),
            }
        }
        Ok(table)
    }

    /// The entry for an input. A matching pattern leaves its captures.
    fn find(&self, input: &[u8], captures: &mut Captures) -> Option<(usize, Option<&Matcher>)> {
        let mut key = input.to_ascii_lowercase();
        if self.hostnames && key.last() == Some(&b'.') {
            key.pop();
        }
        if let Some(&index) = self.exact.get(key.as_slice()) {
            return Some((index, None));
        }
        if !self.suffixes.is_empty() {
            for dot in memchr::memchr_iter(b'.', &key) {
                if let Some(&index) = key.get(dot + 1..).and_then(|rest| self.suffixes.get(rest)) {
                    return Some((index, None));
                }
            }
        }
        if !self.prefixes.is_empty() {
            for dot in memchr::memrchr_iter(b'.', &key) {
                if let Some(&index) = key.get(..dot).and_then(|rest| self.prefixes.get(rest)) {
                    return Some((index, None));
                }
            }
        }
        self.patterns
            .iter()
            .find(|(matcher, _)| matcher.pattern.captures(input, captures))
            .map(|(matcher, index)| (*index, Some(matcher)))
    }
}

/// A compiled `geo`: ranges sorted so that the narrowest that holds an address is found first.
#[derive(Debug)]
pub struct GeoTable {
    v4: Vec<(u32, u32, usize)>,
    v6: Vec<(u128, u128, usize)>,
}

impl GeoTable {
    pub(crate) fn new(geo: &Geo) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, (first, last, _)) in geo.ranges.iter().enumerate() {
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    v4.push((u32::from(*first), u32::from(*last), index))
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    v6.push((u128::from(*first), u128::from(*last), index));
                }
                _ => {}
            }
        }
        // Of two ranges with one start the narrower stands later, and a search from the right meets it first.
        v4.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        v6.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        Self { v4, v6 }
    }

    fn find(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => narrowest(&self.v4, u32::from(address)),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(v4) => narrowest(&self.v4, u32::from(v4)),
                None => narrowest(&self.v6, u128::from(address)),
            },
        }
    }
}

/// Ranges nest (they are networks) or are disjoint, so the last range that starts at or before the address
/// and holds it is the narrowest.
fn narrowest<N: Ord + Copy>(ranges: &[(N, N, usize)], address: N) -> Option<usize> {
    let end = ranges.partition_point(|(first, _, _)| *first <= address);
    ranges.get(..end)?.iter().rev().find(|(_, last, _)| address <= *last).map(|(_, _, index)| *index)
}

impl Request {
    pub(crate) fn map(&mut self, scope: Scope<'_>, index: usize) -> Vec<u8> {
        let site = scope.site;
        let (Some(map), Some(table)) = (site.http().maps.get(index), site.maps.get(index)) else {
            return Vec::new();
        };
        let input = self.expanded(scope, &map.input);
        let mut captures = std::mem::take(&mut self.captures);
        let found = table.find(&input, &mut captures);
        self.captures = captures;
        let value: &Template = match found {
            Some((entry, matched)) => {
                if let Some(matcher) = matched {
                    self.matched(matcher, &input);
                }
                map.entries.get(entry).map_or(&map.default, |(_, value)| value)
            }
            None => &map.default,
        };
        self.expanded(scope, value)
    }

    pub(crate) fn geo(&mut self, scope: Scope<'_>, index: usize) -> Vec<u8> {
        let site = scope.site;
        let (Some(geo), Some(table)) = (site.http().geos.get(index), site.geos.get(index)) else {
            return Vec::new();
        };
        let address = match &geo.input {
            Some(input) => {
                let text = self.expanded(scope, input);
                std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())
            }
            None => self.remote(),
        };
        let address = address.map(|address| self.behind_proxies(geo, address));
        // An address that is none (a unix socket) is looked up as the broadcast address.
        let address = address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::BROADCAST));
        table
            .find(address)
            .and_then(|entry| geo.ranges.get(entry))
            .map_or(geo.default.as_bytes(), |(_, _, value)| value.as_bytes())
            .to_vec()
    }

    fn behind_proxies(&self, geo: &Geo, address: IpAddr) -> IpAddr {
        let trusted =
            |address: IpAddr| geo.proxies.iter().any(|(first, last)| *first <= address && address <= *last);
        let forwarded: Vec<&[u8]> = self
            .head
            .fields
            .iter()
            .filter(|field| self.text(field.name).eq_ignore_ascii_case(b"x-forwarded-for"))
            .flat_map(|field| self.text(field.value).split(|&byte| byte == b','))
            .collect();
        let mut address = address;
        for text in forwarded.iter().rev() {
            if !trusted(address) {
                break;
            }
            match forwarded_address(text) {
                Some(next) => address = next,
                None => break,
            }
            if !geo.proxy_recursive {
                break;
            }
        }
        address
    }

    pub(crate) fn split(&mut self, scope: Scope<'_>, index: usize) -> Vec<u8> {
        let site = scope.site;
        let Some(split) = site.http().splits.get(index) else { return Vec::new() };
        let input = self.expanded(scope, &split.input);
        let hash = murmur2(&input);
        match split.parts.iter().find(|(bound, _)| hash < *bound || *bound == u32::MAX) {
            Some((_, value)) => self.expanded(scope, value),
            None => Vec::new(),
        }
    }
}

/// One element of X-Forwarded-For, with an optional port.
#[must_use]
pub fn forwarded_address(text: &[u8]) -> Option<IpAddr> {
    forwarded_socket(text).map(|(address, _)| address)
}

/// One element of X-Forwarded-For with its port, 0 when it has none.
#[must_use]
pub fn forwarded_socket(text: &[u8]) -> Option<(IpAddr, u16)> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, 0));
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some((socket.ip(), socket.port()));
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(|address| (IpAddr::V6(address), 0))
}

/// MurmurHash2 with seed 0 (Austin Appleby), little endian words.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    for (index, &byte) in rest.iter().enumerate() {
        hash ^= u32::from(byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}
