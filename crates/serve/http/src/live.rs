//! One generation of the configuration: what all threads share of it, and what each thread makes of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use weir_balance::{Group, Method, PeerSpec, Selector};
use weir_http::Site;
use weir_log::{AccessOptions, AccessSink, ErrorLog, LogFile, Output, Sink, Syslog};
use weir_model::log::AccessTarget;
use weir_model::{ListenAddress, LogTarget, Template, Upstream};

use crate::access::zones::Zones;
use crate::proxy::pool::Pool;
use crate::proxy::sticky::Sticky;
use crate::thread::Thread;

/// Opened log files of a generation, by target.
pub(crate) type Files = HashMap<LogTarget, Arc<LogFile>>;

/// The part of a generation that all threads share.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) site: Site,
    /// Of each upstream.
    pub(crate) groups: Vec<Arc<Group>>,
    pub(crate) sticky: Vec<Option<Sticky>>,
    pub(crate) zones: Zones,
    /// Of each location.
    pub(crate) error_logs: Vec<ErrorLog>,
    pub(crate) main_log: ErrorLog,
    pub(crate) files: Files,
    pub(crate) syslogs: HashMap<LogTarget, Arc<Syslog>>,
    /// Listeners by address.
    pub(crate) by_address: HashMap<ListenAddress, usize>,
}

impl Prepared {
    pub(crate) fn new(
        number: u64,
        site: Site,
        logs: HashMap<LogTarget, OwnedFd>,
        previous: Option<&Prepared>,
    ) -> Self {
        let files: Files =
            logs.into_iter().map(|(target, fd)| (target, Arc::new(LogFile::new(fd)))).collect();
        let groups: Vec<_> = site
            .http()
            .upstreams
            .iter()
            .map(|upstream| {
                let before = previous.and_then(|previous| previous.group(upstream));
                Arc::new(group(upstream, before))
            })
            .collect();
        let sticky = Sticky::all(site.http(), &groups, previous.map_or(&[][..], |previous| &previous.sticky));
        let zones = Zones::new(site.http(), previous.map(|previous| &previous.zones));
        let mut syslogs = HashMap::new();
        for target in targets(&site) {
            if let LogTarget::Syslog(syslog) = target
                && let Ok(open) = Syslog::new(syslog)
            {
                syslogs.entry(target.clone()).or_insert_with(|| Arc::new(open));
            }
        }
        let open = |lines: &[weir_model::ErrorLog]| error_log(lines, &files, &syslogs);
        let error_logs = site.places.iter().map(|place| open(&place.settings.error_log)).collect();
        let main_log = open(&site.config.process.error_log);
        let by_address = site
            .http()
            .listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| (listener.address.clone(), index))
            .collect();
        Self { number, site, groups, sticky, zones, error_logs, main_log, files, syslogs, by_address }
    }

    fn group(&self, upstream: &Upstream) -> Option<&Group> {
        let same = |other: &&Upstream| {
            other.name == upstream.name && other.port == upstream.port && other.implicit == upstream.implicit
        };
        let index = self.site.http().upstreams.iter().position(|other| same(&other))?;
        self.groups.get(index).map(AsRef::as_ref)
    }
}

fn targets(site: &Site) -> impl Iterator<Item = &LogTarget> {
    let places = site.places.iter().flat_map(|place| {
        let errors = place.settings.error_log.iter().map(|log| &log.target);
        let access = place.settings.access_log.iter().filter_map(|log| match &log.target {
            AccessTarget::Log(target) => Some(target),
            AccessTarget::Template(_) => None,
        });
        errors.chain(access)
    });
    places.chain(site.config.process.error_log.iter().map(|log| &log.target))
}

fn error_log(
    lines: &[weir_model::ErrorLog],
    files: &Files,
    syslogs: &HashMap<LogTarget, Arc<Syslog>>,
) -> ErrorLog {
    let output = |line: &weir_model::ErrorLog| {
        let sink = match &line.target {
            LogTarget::File(_) => Sink::File(Arc::clone(files.get(&line.target)?)),
            LogTarget::Stderr => Sink::Stderr,
            LogTarget::Syslog(_) => Sink::Syslog(Arc::clone(syslogs.get(&line.target)?)),
            LogTarget::Memory => Sink::Memory,
        };
        Some(Output { sink, level: line.level })
    };
    ErrorLog::new(lines.iter().filter_map(output).collect())
}

/// Peers in the order of the group: primaries, then backups.
pub(crate) fn ordered(upstream: &Upstream) -> impl Iterator<Item = &weir_model::Peer> {
    let primaries = upstream.peers.iter().filter(|peer| !peer.backup);
    primaries.chain(upstream.peers.iter().filter(|peer| peer.backup))
}

fn group(upstream: &Upstream, previous: Option<&Group>) -> Group {
    let peers = ordered(upstream)
        .map(|peer| PeerSpec {
            name: peer.address.to_string(),
            server: peer.server.clone(),
            weight: peer.weight,
            max_fails: peer.max_fails,
            fail_timeout: peer.fail_timeout.0,
            max_conns: peer.max_conns,
            backup: peer.backup,
            down: peer.down,
            drain: peer.drain,
            route: peer.route.clone(),
            address: peer.address.clone(),
        })
        .collect();
    let method = match &upstream.method {
        weir_model::Method::RoundRobin => Method::RoundRobin,
        weir_model::Method::LeastConn => Method::LeastConn,
        weir_model::Method::IpHash => Method::IpHash,
        weir_model::Method::Hash { consistent, .. } => Method::Hash { consistent: *consistent },
        weir_model::Method::Random { two } => Method::Random { two: *two },
        weir_model::Method::LeastTime { last_byte, inflight } => {
            Method::LeastTime { last_byte: *last_byte, inflight: *inflight }
        }
    };
    Group::new(upstream.name.clone(), method, peers, previous)
}

/// One upstream on one thread.
pub(crate) struct UpstreamLive {
    pub(crate) selector: RefCell<Selector>,
    pub(crate) name: Rc<str>,
    /// In the group's order.
    pub(crate) addresses: Vec<ListenAddress>,
    /// `$upstream_addr` of each of them.
    pub(crate) peer_names: Vec<Rc<str>>,
    pub(crate) pool: Rc<Pool>,
}

/// One `access_log` of a place on one thread.
pub(crate) struct AccessLine {
    pub(crate) sink: AccessOut,
    pub(crate) format: usize,
    pub(crate) condition: Option<Template>,
}

/// Where a line goes.
pub(crate) enum AccessOut {
    Sink(Rc<AccessSink>),
    Path(Template),
}

/// A generation on one thread.
pub(crate) struct Live {
    pub(crate) shared: Arc<Prepared>,
    pub(crate) upstreams: Vec<UpstreamLive>,
    /// Of each location.
    pub(crate) access: Vec<Vec<AccessLine>>,
}

impl Live {
    pub(crate) fn new(shared: Arc<Prepared>, thread: &Thread) -> Self {
        let http = shared.site.http();
        let upstreams = http
            .upstreams
            .iter()
            .zip(&shared.groups)
            .map(|(upstream, group)| UpstreamLive {
                selector: RefCell::new(Selector::new(Arc::clone(group), thread.seed())),
                name: upstream.name.as_str().into(),
                peer_names: ordered(upstream).map(|peer| peer.address.to_string().into()).collect(),
                addresses: ordered(upstream).map(|peer| peer.address.clone()).collect(),
                pool: thread.pool(upstream),
            })
            .collect();
        let access = shared
            .site
            .places
            .iter()
            .map(|place| {
                let lines = place.settings.access_log.iter();
                lines.filter_map(|log| access_line(&shared, thread, log)).collect()
            })
            .collect();
        Self { upstreams, access, shared }
    }

    /// The name of an upstream.
    pub(crate) fn name_of(&self, upstream: usize) -> Rc<str> {
        self.upstreams.get(upstream).map_or_else(|| "".into(), |upstream| Rc::clone(&upstream.name))
    }

    pub(crate) fn site(&self) -> &Site {
        &self.shared.site
    }
}

fn access_line(shared: &Prepared, thread: &Thread, log: &weir_model::AccessLog) -> Option<AccessLine> {
    let sink = match &log.target {
        AccessTarget::Template(path) => AccessOut::Path(path.clone()),
        AccessTarget::Log(target) => {
            let options = AccessOptions {
                buffer: log.buffer.map(|bytes| bytes as usize),
                flush_ms: log.flush.map(|flush| flush.0),
                gzip: log.gzip,
            };
            AccessOut::Sink(thread.sink(shared, target, options)?)
        }
    };
    Some(AccessLine { sink, format: log.format, condition: log.condition.clone() })
}
