//! One generation of the configuration: what all threads share of it, and what each thread makes of it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use weir_http::Site;
use weir_log::{AccessOptions, AccessSink, ErrorLog, LogFile, Output, Sink, Syslog};
use weir_model::log::AccessTarget;
use weir_model::{ListenAddress, LogTarget, Template};

use crate::access::zones::Zones;
use crate::membership::Membership;
use crate::proxy::sticky::Sticky;
use crate::thread::Thread;
use crate::upstream::UpstreamLive;

/// Opened log files of a generation, by target.
pub(crate) type Files = HashMap<LogTarget, Arc<LogFile>>;

/// The part of a generation that all threads share.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) site: Site,
    /// Of each upstream.
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
        let sticky = Sticky::all(site.http(), previous.map_or(&[][..], |previous| &previous.sticky));
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
        Self { number, site, sticky, zones, error_logs, main_log, files, syslogs, by_address }
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
    pub(crate) upstreams: Vec<Rc<UpstreamLive>>,
    /// Of each location.
    pub(crate) access: Vec<Vec<AccessLine>>,
}

impl Live {
    /// `memberships`: of each upstream.
    pub(crate) fn new(shared: Arc<Prepared>, memberships: Vec<Arc<Membership>>, thread: &Thread) -> Self {
        let pairs = shared.site.http().upstreams.iter().zip(memberships);
        let upstreams = pairs.map(|(upstream, membership)| thread.upstream(upstream, membership)).collect();
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
