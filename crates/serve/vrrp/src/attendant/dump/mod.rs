//! The files that keepalived 2.2.7 writes when it is asked to, in its form, for the exporters that read them.

mod data;
mod json;
mod parts;
mod stats;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use weir_model::vrrp::{Script, Vrrp};
use weir_vrrp::{InstanceStatus, State, Status, Time};

use super::checks::CheckView;
use super::files::FileView;
use super::processes::ProcessView;
use super::security::{self, Identity};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Stats,
    Json,
}

/// What the trackers are in.
#[derive(Clone, Debug, Default)]
pub(super) struct Trackers {
    pub(super) checks: Vec<CheckView>,
    pub(super) files: Vec<FileView>,
    pub(super) processes: Vec<ProcessView>,
}

/// A file to be written, with all that goes into it.
pub(super) struct Dump {
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) trackers: Trackers,
    pub(super) config: Arc<Vrrp>,
    pub(super) router_id: String,
}

impl Dump {
    /// Where the file goes.
    pub(super) fn path(&self) -> String {
        let globals = &self.config.globals;
        let (configured, default) = match self.kind {
            Kind::Data => (&globals.data_file, "/tmp/keepalived.data"),
            Kind::Stats => (&globals.stats_file, "/tmp/keepalived.stats"),
            Kind::Json => (&globals.json_file, "/tmp/keepalived.json"),
        };
        configured.clone().unwrap_or_else(|| default.to_owned())
    }

    /// The file.
    pub(super) fn text(&self) -> String {
        self.at(&Wall::new(self.status.now))
    }

    fn at(&self, wall: &Wall) -> String {
        match self.kind {
            Kind::Data => data::text(self, wall),
            Kind::Stats => stats::text(&self.status),
            Kind::Json => json::text(self, wall),
        }
    }

    /// A script's words as they are run, each quoted, and who runs it.
    fn command(&self, script: &Script) -> (String, Identity) {
        let globals = &self.config.globals;
        let quoted = |words: &mut dyn Iterator<Item = &str>| {
            words.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
        };
        match security::resolve(script, globals) {
            Ok(program) => {
                let path = program.path.display().to_string();
                let mut words = [path.as_str()].into_iter().chain(program.args.iter().map(String::as_str));
                (quoted(&mut words), program.identity)
            }
            Err(_) => {
                let identity = security::identity(script.user.as_ref(), globals);
                let identity = identity.unwrap_or(Identity { uid: 0, gid: 0, other: false });
                (quoted(&mut script.argv.iter().map(String::as_str)), identity)
            }
        }
    }
}

/// The calendar's time of moments that are counted from some fixed start.
struct Wall {
    now: Time,
    date: SystemTime,
    zone: TimeZone,
}

impl Wall {
    fn new(now: Time) -> Self {
        Self { now, date: SystemTime::now(), zone: TimeZone::system() }
    }

    /// Seconds and microseconds since 1970.
    fn stamp(&self, moment: Time) -> Duration {
        let date = match moment.checked_sub(self.now) {
            Some(ahead) => self.date + ahead,
            None => self.date - (self.now - moment),
        };
        date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// `1700000000.000001 (Tue Nov 14 22:13:20.000001 2023)`
    fn text(&self, moment: Time) -> String {
        let stamp = self.stamp(moment);
        let (seconds, micros) = (stamp.as_secs(), stamp.subsec_micros());
        let stamp =
            Timestamp::UNIX_EPOCH.saturating_add(jiff::SignedDuration::try_from(stamp).unwrap_or_default());
        let zoned: Zoned = stamp.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone());
        format!(
            "{seconds}.{micros:06} ({}.{micros:06} {})",
            zoned.strftime("%a %b %e %H:%M:%S"),
            zoned.strftime("%Y")
        )
    }
}

/// What an instance wants to be: keepalived's `wantstate`.
fn want(instance: &InstanceStatus) -> State {
    match instance.state {
        State::Master | State::Backup => instance.state,
        State::Init | State::Fault if instance.config.wants_master => State::Master,
        State::Init | State::Fault => State::Backup,
    }
}

#[cfg(test)]
mod tests;
