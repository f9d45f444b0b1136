//! One generation of the configuration, compiled for lookup; shared by all data threads and never changed.

use std::collections::HashMap;
use std::sync::Arc;

use weir_model::{
    Condition, Config, Handler, Http, LocationId, LocationKind, Regex, Rewrite, RewriteFlag, Settings,
    Template, Variable,
};
use weir_pattern::Pattern;

use crate::lookup::{GeoTable, MapTable};
use crate::route::{Children, NameTable};

/// What could not be compiled; the configuration was checked before, so this names an inconsistency.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("the configuration has no http block")]
    NoHttp,
    #[error("pattern \"{source_text}\" does not compile: {reason}")]
    Pattern { source_text: String, reason: String },
    #[error("the configuration names {what} {index}, which is not in it")]
    Missing { what: &'static str, index: usize },
}

/// A pattern with the user variables that its groups set.
#[derive(Debug)]
pub struct Matcher {
    pub pattern: Pattern,
    pub names: Vec<(u16, u32)>,
}

/// One compiled step of a rewrite program.
#[derive(Debug)]
pub enum Step {
    Set { variable: Variable, value: Template },
    Rewrite { matcher: Matcher, replacement: Template, flag: RewriteFlag },
    Return { status: u16, text: Option<Template> },
    Break,
    If { condition: Test, then: Vec<Step>, location: Option<LocationId> },
}

/// A compiled condition.
#[derive(Debug)]
pub enum Test {
    Plain(Condition),
    Match { variable: Variable, matcher: Matcher, negate: bool },
}

/// What of the URI `alias` stands in place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alias {
    /// It is a `root`: the whole URI follows.
    None,
    /// So many first bytes: the name of the location that has the `alias`.
    Name(usize),
    /// All of it: captures of the location's pattern make the path.
    Whole,
}

/// A compiled location.
#[derive(Debug)]
pub struct Place {
    pub kind: LocationKind,
    pub children: Children,
    pub rewrite: Vec<Step>,
    pub handler: Handler,
    pub internal: bool,
    pub limit_except: Option<(Vec<String>, LocationId)>,
    pub settings: Settings,
    pub alias: Alias,
    /// Patterns of `proxy_redirect`, `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`, in
    /// that order, one for each regex entry.
    pub redirect_matchers: Vec<Option<Matcher>>,
    pub cookie_domain_matchers: Vec<Option<Matcher>>,
    pub cookie_path_matchers: Vec<Option<Matcher>>,
    pub cookie_flag_matchers: Vec<Option<Matcher>>,
    pub gzip_disable: Vec<Matcher>,
    /// Names that `proxy_set_header` sets, and the hop-by-hop ones: not copied from the client. Lower case.
    pub replaced_headers: Vec<String>,
    /// Whether `proxy_set_header` names Host.
    pub sets_host: bool,
}

/// A compiled configuration.
pub struct Site {
    pub config: Arc<Config>,
    pub places: Vec<Place>,
    /// Of each listener, in the model's order.
    pub names: Vec<NameTable>,
    pub maps: Vec<MapTable>,
    pub geos: Vec<GeoTable>,
    /// Of each server: its named locations.
    pub named: Vec<HashMap<String, LocationId>>,
    /// Upstreams by name for `proxy_pass` with variables.
    pub upstreams: HashMap<(String, u16), usize>,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl Site {
    /// Compiles patterns and tables.
    ///
    /// # Errors
    /// When a pattern does not compile or an index points nowhere.
    pub fn new(config: Arc<Config>) -> Result<Self, SiteError> {
        let http = config.http.as_ref().ok_or(SiteError::NoHttp)?;
        let mut places =
            (0..http.locations.len()).map(|index| place(http, index)).collect::<Result<Vec<_>, _>>()?;
        for server in &http.servers {
            hand_down_alias(http, server.root, &mut places);
        }
        let names =
            http.listeners.iter().map(|listener| NameTable::new(http, listener)).collect::<Result<_, _>>()?;
        let maps = http.maps.iter().map(MapTable::new).collect::<Result<_, _>>()?;
        let geos = http.geos.iter().map(GeoTable::new).collect();
        let named = http
            .servers
            .iter()
            .map(|server| {
                let mut found = HashMap::new();
                collect_named(http, server.root, &mut found);
                found
            })
            .collect();
        let upstreams = http
            .upstreams
            .iter()
            .enumerate()
            .filter(|(_, upstream)| !upstream.implicit || upstream.port > 0)
            .map(|(index, upstream)| ((upstream.name.to_ascii_lowercase(), upstream.port), index))
            .collect();
        Ok(Self { places, names, maps, geos, named, upstreams, config: Arc::clone(&config) })
    }

    /// The http block.
    #[must_use]
    pub fn http(&self) -> &Http {
        self.config.http.as_ref().expect("a site is only made of a configuration with an http block")
    }

    /// The place of an id; ids come from the same configuration.
    #[must_use]
    pub fn place(&self, id: LocationId) -> &Place {
        self.places.get(id.0 as usize).expect("location ids point into their own configuration")
    }
}

pub(crate) fn matcher(regex: &Regex) -> Result<Matcher, SiteError> {
    let pattern = Pattern::new(&regex.source, regex.caseless).map_err(|error| SiteError::Pattern {
        source_text: regex.source.clone(),
        reason: error.to_string(),
    })?;
    Ok(Matcher { pattern, names: regex.names.clone() })
}

fn steps(program: &[Rewrite]) -> Result<Vec<Step>, SiteError> {
    program
        .iter()
        .map(|step| {
            Ok(match step {
                Rewrite::Set { variable, value } => {
                    Step::Set { variable: variable.clone(), value: value.clone() }
                }
                Rewrite::Rewrite { regex, replacement, flag } => {
                    Step::Rewrite { matcher: matcher(regex)?, replacement: replacement.clone(), flag: *flag }
                }
                Rewrite::Return { status, text } => Step::Return { status: *status, text: text.clone() },
                Rewrite::Break => Step::Break,
                Rewrite::If { condition, then, location } => {
                    Step::If { condition: test(condition)?, then: steps(then)?, location: *location }
                }
            })
        })
        .collect()
}

fn test(condition: &Condition) -> Result<Test, SiteError> {
    Ok(match condition {
        Condition::Match { variable, regex, negate } => {
            Test::Match { variable: variable.clone(), matcher: matcher(regex)?, negate: *negate }
        }
        other => Test::Plain(other.clone()),
    })
}

fn place(http: &Http, index: usize) -> Result<Place, SiteError> {
    use weir_model::proxy::{CookiePattern, Redirects};
    let location = http.locations.get(index).ok_or(SiteError::Missing { what: "location", index })?;
    let pattern = |pattern: &CookiePattern| match pattern {
        CookiePattern::Text(_) => Ok(None),
        CookiePattern::Regex(regex) => matcher(regex).map(Some),
    };
    let pairs = |list: &[(CookiePattern, Template)]| {
        list.iter().map(|(from, _)| pattern(from)).collect::<Result<Vec<_>, _>>()
    };
    let proxy = &location.settings.proxy;
    let mut replaced: Vec<String> =
        ["host", "connection", "proxy-connection", "content-length", "transfer-encoding", "te", "keep-alive"]
            .into_iter()
            .chain(["expect", "upgrade"])
            .map(str::to_owned)
            .collect();
    replaced.extend(proxy.set_headers.iter().map(|(name, _)| name.to_ascii_lowercase()));
    Ok(Place {
        children: Children::new(http, &location.children)?,
        rewrite: steps(&location.rewrite)?,
        redirect_matchers: match &proxy.redirect {
            Redirects::List(list) => pairs(list)?,
            _ => Vec::new(),
        },
        cookie_domain_matchers: pairs(&proxy.cookie_domain)?,
        cookie_path_matchers: pairs(&proxy.cookie_path)?,
        cookie_flag_matchers: proxy
            .cookie_flags
            .iter()
            .map(|flags| pattern(&flags.cookie))
            .collect::<Result<_, _>>()?,
        gzip_disable: location
            .settings
            .response
            .gzip
            .disable
            .iter()
            .map(matcher)
            .collect::<Result<_, _>>()?,
        sets_host: proxy.set_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")),
        replaced_headers: replaced,
        kind: location.kind.clone(),
        handler: location.handler.clone(),
        internal: location.internal,
        limit_except: location.limit_except.clone(),
        settings: location.settings.clone(),
        alias: match &location.kind {
            _ if !location.settings.files.alias => Alias::None,
            LocationKind::Regex(_) => Alias::Whole,
            kind => Alias::Name(kind.name().len()),
        },
    })
}

/// Locations by pattern and nameless ones inherit an `alias` with what it stands in place of: their own name
/// is no part of a path.
fn hand_down_alias(http: &Http, outer: LocationId, places: &mut [Place]) {
    let Some(location) = http.locations.get(outer.0 as usize) else { return };
    let (root, alias) = (&location.settings.files.root, places[outer.0 as usize].alias);
    let nameless = location.rewrite.iter().filter_map(|step| match step {
        Rewrite::If { location, .. } => *location,
        _ => None,
    });
    let inner = location.children.iter().copied().chain(nameless);
    for id in inner.chain(location.limit_except.iter().map(|(_, id)| *id)) {
        let Some(place) = places.get_mut(id.0 as usize) else { continue };
        let unnamed = matches!(place.kind, LocationKind::Regex(_) | LocationKind::Nameless(_));
        if unnamed && place.settings.files.alias && alias != Alias::None && place.settings.files.root == *root
        {
            place.alias = alias;
        }
        hand_down_alias(http, id, places);
    }
}

fn collect_named(http: &Http, id: LocationId, found: &mut HashMap<String, LocationId>) {
    let Some(location) = http.locations.get(id.0 as usize) else { return };
    if let LocationKind::Named(name) = &location.kind {
        found.insert(name.clone(), id);
    }
    for child in &location.children {
        collect_named(http, *child, found);
    }
}
