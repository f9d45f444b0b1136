//! Which server and which location a request belongs to (nginx document "How nginx processes a request").

use std::collections::HashMap;

use weir_model::{Handler, Http, Listener, LocationId, LocationKind, ServerName};
use weir_pattern::Captures;

use crate::site::{Matcher, Site, SiteError, matcher};

/// The servers of one listening address by name.
#[derive(Debug)]
pub struct NameTable {
    exact: HashMap<Box<[u8]>, usize>,
    /// `*.example.com` as `example.com`, the longest wins.
    suffixes: HashMap<Box<[u8]>, usize>,
    /// `www.*` as `www`, the longest wins.
    prefixes: HashMap<Box<[u8]>, usize>,
    patterns: Vec<(Matcher, usize)>,
    pub default: usize,
}

impl NameTable {
    pub(crate) fn new(http: &Http, listener: &Listener) -> Result<Self, SiteError> {
        let mut table = Self {
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            prefixes: HashMap::new(),
            patterns: Vec::new(),
            default: listener.default_server,
        };
        let bytes = |name: &str| name.as_bytes().to_vec().into_boxed_slice();
        for &index in &listener.servers {
            let server = http.servers.get(index).ok_or(SiteError::Missing { what: "server", index })?;
            for name in &server.names {
                // The first server that claims a name keeps it; the check warned about the others.
                match name {
                    ServerName::Exact(name) => {
                        table.exact.entry(bytes(name)).or_insert(index);
                    }
                    ServerName::Suffix(name) => {
                        table.suffixes.entry(bytes(name)).or_insert(index);
                    }
                    ServerName::SuffixOrExact(name) => {
                        table.exact.entry(bytes(name)).or_insert(index);
                        table.suffixes.entry(bytes(name)).or_insert(index);
                    }
                    ServerName::Prefix(name) => {
                        table.prefixes.entry(bytes(name)).or_insert(index);
                    }
                    ServerName::Regex(regex) => table.patterns.push((matcher(regex)?, index)),
                }
            }
        }
        Ok(table)
    }

    /// The server for a lower-case host without port. A matching pattern leaves its captures.
    pub fn find<'a>(&'a self, host: &[u8], captures: &mut Captures) -> (usize, Option<&'a Matcher>) {
        if self.exact.len() + self.suffixes.len() + self.prefixes.len() + self.patterns.len() == 0 {
            return (self.default, None);
        }
        if let Some(&index) = self.exact.get(host) {
            return (index, None);
        }
        if !self.suffixes.is_empty() {
            // From the left: the first hit is the longest suffix.
            for dot in memchr::memchr_iter(b'.', host).filter(|&dot| dot > 0) {
                if let Some(&index) = host.get(dot + 1..).and_then(|rest| self.suffixes.get(rest)) {
                    return (index, None);
                }
            }
        }
        if !self.prefixes.is_empty() {
            for dot in memchr::memrchr_iter(b'.', host) {
                if let Some(&index) = host.get(..dot).and_then(|rest| self.prefixes.get(rest)) {
                    return (index, None);
                }
            }
        }
        if !host.is_empty() {
            for (matcher, index) in &self.patterns {
                if matcher.pattern.captures(host, captures) {
                    return (*index, Some(matcher));
                }
            }
        }
        (self.default, None)
    }
}

/// The locations of one level.
#[derive(Debug, Default)]
pub struct Children {
    exact: HashMap<Box<[u8]>, LocationId>,
    /// Longest first; looked up one by one while they are few.
    prefixes: Vec<(Box<[u8]>, LocationId)>,
    /// For many prefixes: their lengths, longest first, and the names.
    lengths: Vec<usize>,
    by_name: HashMap<Box<[u8]>, LocationId>,
    patterns: Vec<(Matcher, LocationId)>,
    /// Proxied prefixes that end in a slash, without it.
    redirecting: HashMap<Box<[u8]>, LocationId>,
}

const FEW: usize = 16;

impl Children {
    pub(crate) fn new(http: &Http, ids: &[LocationId]) -> Result<Self, SiteError> {
        let mut children = Self::default();
        let bytes = |name: &str| name.as_bytes().to_vec().into_boxed_slice();
        for &id in ids {
            let index = id.0 as usize;
            let location = http.locations.get(index).ok_or(SiteError::Missing { what: "location", index })?;
            match &location.kind {
                LocationKind::Exact(name) => {
                    children.exact.insert(bytes(name), id);
                }
                LocationKind::Prefix(name) | LocationKind::PrefixNoRegex(name) => {
                    children.prefixes.push((bytes(name), id));
                    if let (Handler::Proxy(_), Some(short)) = (&location.handler, name.strip_suffix('/')) {
                        children.redirecting.insert(bytes(short), id);
                    }
                }
                LocationKind::Regex(regex) => children.patterns.push((matcher(regex)?, id)),
                LocationKind::Named(_) | LocationKind::Nameless(_) | LocationKind::Server => {}
            }
        }
        children.prefixes.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        if children.prefixes.len() > FEW {
            children.lengths = children.prefixes.iter().map(|(name, _)| name.len()).collect();
            children.lengths.dedup();
            children.by_name = children.prefixes.iter().cloned().collect();
        }
        Ok(children)
    }

    fn longest_prefix(&self, uri: &[u8]) -> Option<LocationId> {
        if self.lengths.is_empty() {
            return self.prefixes.iter().find(|(name, _)| uri.starts_with(name)).map(|(_, id)| *id);
        }
        self.lengths
            .iter()
            .find_map(|&length| uri.get(..length).and_then(|head| self.by_name.get(head)).copied())
    }
}

/// Where a URI leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Location(LocationId),
    /// The URI lacks the final slash of a proxied location: 301 to it with the slash.
    AddSlash(LocationId),
}

/// Finds the location below `start` for a decoded URI. A matching pattern leaves its captures and is
/// returned for its named groups.
pub fn find_location<'a>(
    site: &'a Site,
    start: LocationId,
    uri: &[u8],
    captures: &mut Captures,
) -> (Found, Option<&'a Matcher>) {
    let mut search = Search { site, uri, captures, found: Found::Location(start), matched: None };
    search.level(start);
    (search.found, search.matched)
}

struct Search<'a, 'b> {
    site: &'a Site,
    uri: &'b [u8],
    captures: &'b mut Captures,
    found: Found,
    matched: Option<&'a Matcher>,
}

impl<'a> Search<'a, '_> {
    /// True when the search is over: an exact, redirecting or pattern location was found.
    fn level(&mut self, at: LocationId) -> bool {
        let site = self.site;
        let children = &site.place(at).children;
        if let Some(&id) = children.exact.get(self.uri) {
            self.found = Found::Location(id);
            return true;
        }
        if let Some(id) = self.with_slash(children) {
            self.found = Found::AddSlash(id);
            return true;
        }
        let mut no_regex = false;
        if let Some(id) = children.longest_prefix(self.uri) {
            self.found = Found::Location(id);
            no_regex = matches!(site.place(id).kind, LocationKind::PrefixNoRegex(_));
            if self.level(id) {
                return true;
            }
        }
        if no_regex {
            return false;
        }
        for (matcher, id) in &children.patterns {
            if matcher.pattern.captures(self.uri, self.captures) {
                self.found = Found::Location(*id);
                self.matched = Some(matcher);
                self.level(*id);
                return true;
            }
        }
        false
    }

    fn with_slash(&self, children: &Children) -> Option<LocationId> {
        if children.redirecting.is_empty() {
            return None;
        }
        // A location with exactly this name wins over the redirect; it is the longest prefix then.
        let id = children.redirecting.get(self.uri)?;
        match children.longest_prefix(self.uri) {
            Some(other) if self.site.place(other).kind.name().as_bytes() == self.uri => None,
            _ => Some(*id),
        }
    }
}
