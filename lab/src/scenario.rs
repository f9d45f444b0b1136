//! The scenario file: hosts, roles, events, probes and expectations as TOML.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::entry::Part;
use crate::error::{Error, Result};
use crate::probe::ProbePlan;

/// A time such as `10ms`, `3.7s` or `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub Duration);

impl Time {
    pub fn parse(text: &str) -> Result<Time> {
        let wrong = || Error::wrong(format!("\"{text}\" is no time; expected one like 10ms, 3.7s or 2m"));
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        Duration::try_from_secs_f64(number * factor).map(Time).map_err(|_| wrong())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> std::result::Result<Time, D::Error> {
        Time::parse(&String::deserialize(input)?).map_err(D::Error::custom)
    }
}

/// One thing or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> std::result::Result<Vec<T>, D::Error> {
    Ok(match OneOrMany::deserialize(input)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    #[serde(default)]
    pub name: String,
    /// Who plays the role `entry`: `weir` or `keepalived+nginx`.
    pub subject: Option<String>,
    /// How long is observed after the start.
    pub duration: Time,
    /// Addresses that are watched.
    #[serde(default)]
    pub vips: Vec<IpAddr>,
    /// Whether advertisements and gratuitous ARP are recorded (needs tcpdump).
    #[serde(default)]
    pub capture: bool,
    #[serde(default = "lan")]
    pub segments: Vec<String>,
    /// The clock starts when these hosts have these addresses, and every probe was answered once.
    #[serde(default)]
    pub ready: BTreeMap<IpAddr, String>,
    pub host: BTreeMap<String, HostPart>,
    #[serde(default)]
    pub event: Vec<Event>,
    #[serde(default)]
    pub probe: Vec<ProbePart>,
    #[serde(default)]
    pub expect: Expect,
}

fn lan() -> Vec<String> {
    vec!["lan".to_owned()]
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPart {
    /// Addresses of eth0 on the first segment.
    #[serde(default, deserialize_with = "list")]
    pub address: Vec<String>,
    /// Instead of `address`: several cables.
    #[serde(default)]
    pub cable: Vec<CablePart>,
    #[serde(default)]
    pub role: Vec<Role>,
    #[serde(default)]
    pub file: Vec<FilePart>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CablePart {
    pub segment: String,
    pub interface: Option<String>,
    pub mac: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub address: Vec<String>,
}

/// A file of a host: its text here, or from a file beside the scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    pub path: String,
    pub text: Option<String>,
    pub source: Option<PathBuf>,
    /// Octal, as in `755`.
    pub mode: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Play {
    /// Played by the subject.
    Entry,
    Weir,
    #[serde(rename = "keepalived+nginx", alias = "keepalived", alias = "nginx")]
    Rivals,
    /// The built-in application.
    App,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub program: Play,
    /// The name of an application; the host's if it is absent.
    pub name: Option<String>,
    /// The port of an application, 8080 if it is absent.
    pub port: Option<u16>,
    pub nginx: Option<String>,
    pub nginx_file: Option<PathBuf>,
    pub keepalived: Option<String>,
    pub keepalived_file: Option<PathBuf>,
}

impl Role {
    pub(crate) fn new(program: Play) -> Role {
        let (name, port, nginx, keepalived) = (None, None, None, None);
        Role { program, name, port, nginx, nginx_file: None, keepalived, keepalived_file: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SIGKILL, or the event's `signal`, to a part of an entry, or to an application.
    Kill,
    /// SIGTERM to the programs of an entry.
    End,
    Stop,
    Cont,
    /// Starts what was killed or ended.
    Start,
    Restart,
    /// Cuts the host's cables at the switch.
    LinkDown,
    LinkUp,
    /// Drops frames from hosts to hosts, one way.
    Block,
    /// Both ways.
    Partition,
    /// Ends all blocks and partitions.
    Heal,
    DeleteAddress,
    /// Writes the texts of the event and sends SIGHUP.
    Reload,
    AppSlow,
    AppWedge,
    AppWell,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub at: Time,
    pub action: Action,
    pub host: Option<String>,
    /// `all`, `parents`, `vrrp` or `worker`.
    #[serde(default)]
    pub part: PartName,
    /// A signal for `kill`, as in `HUP`.
    pub signal: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub from: Vec<String>,
    #[serde(default, deserialize_with = "list")]
    pub to: Vec<String>,
    /// Share of the frames that a block drops, 0 to 1.
    pub share: Option<f64>,
    /// IP protocol number that a block means.
    pub protocol: Option<u8>,
    pub address: Option<IpAddr>,
    pub nginx: Option<String>,
    pub keepalived: Option<String>,
    /// How slow an application becomes.
    pub time: Option<Time>,
}

impl Event {
    pub(crate) fn new(at: Duration, action: Action, host: &str) -> Event {
        Event {
            at: Time(at),
            action,
            host: Some(host.to_owned()),
            part: PartName::All,
            signal: None,
            from: Vec::new(),
            to: Vec::new(),
            share: None,
            protocol: None,
            address: None,
            nginx: None,
            keepalived: None,
            time: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartName {
    #[default]
    All,
    Parents,
    Vrrp,
    Worker,
    /// The host's application.
    App,
}

impl PartName {
    pub(crate) fn part(self) -> Option<Part> {
        match self {
            PartName::All => Some(Part::All),
            PartName::Parents => Some(Part::Parents),
            PartName::Vrrp => Some(Part::Vrrp),
            PartName::Worker => Some(Part::Worker),
            PartName::App => None,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbePart {
    pub from: String,
    /// A URL as in [`ProbePlan::to`].
    pub to: String,
    pub every: Option<Time>,
    pub timeout: Option<Time>,
}

impl ProbePart {
    pub(crate) fn plan(&self) -> Result<ProbePlan> {
        let mut plan = ProbePlan::to(&self.to)?;
        if let Some(every) = self.every {
            plan = plan.every(every.0);
        }
        Ok(self.timeout.map_or(plan.clone(), |timeout| plan.timeout(timeout.0)))
    }
}

/// What must have been seen. Each is about every watched address, or about all probes together.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// No single time without a holder is longer.
    pub max_without: Option<Time>,
    /// The sum of the times with two holders is not longer.
    pub doubled: Option<Time>,
    pub moves: Option<u32>,
    /// Who has the addresses at the end.
    pub holder: Option<String>,
    pub refused: Option<u64>,
    pub failed: Option<u64>,
    /// The longest time without an answer.
    pub gap: Option<Time>,
}

impl Scenario {
    /// Reads a scenario; files that it names are beside it.
    pub fn load(path: &Path) -> Result<Scenario> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(Error::io(&*name))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut scenario =
            Scenario::parse(&text, folder).map_err(|error| Error::wrong(format!("{name}: {error}")))?;
        if scenario.name.is_empty() {
            scenario.name =
                path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        }
        Ok(scenario)
    }

    /// Reads a text; the message of an error has its line.
    pub fn parse(text: &str, folder: &Path) -> Result<Scenario> {
        let mut scenario: Scenario = toml::from_str(text).map_err(|error| Error::wrong(error.to_string()))?;
        scenario.include(folder)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Puts the texts of named files in the place of their names.
    fn include(&mut self, folder: &Path) -> Result<()> {
        let read = |file: &Path| {
            let path = folder.join(file);
            fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))
        };
        for host in self.host.values_mut() {
            for role in &mut host.role {
                for (text, file) in
                    [(&mut role.nginx, &role.nginx_file), (&mut role.keepalived, &role.keepalived_file)]
                {
                    if let Some(file) = file {
                        *text = Some(read(file)?);
                    }
                }
            }
            for file in &mut host.file {
                if let Some(source) = &file.source {
                    file.text = Some(read(source)?);
                }
            }
        }
        Ok(())
    }

    /// What TOML cannot say: that names lead somewhere.
    pub(crate) fn check(&self) -> Result<()> {
        let known = |name: &str, place: &str| {
            if self.host.contains_key(name) {
                return Ok(());
            }
            let hosts: Vec<&str> = self.host.keys().map(String::as_str).collect();
            Err(Error::wrong(format!("{place} names the host \"{name}\"; there are: {}", hosts.join(", "))))
        };
        for (vip, host) in &self.ready {
            known(host, "ready")?;
            if !self.vips.contains(vip) {
                return Err(Error::wrong(format!(
                    "ready names {vip}, which is not one of the vips; add it there"
                )));
            }
        }
        for (number, probe) in (1..).zip(&self.probe) {
            known(&probe.from, &format!("probe {number}"))?;
            probe.plan()?;
        }
        for (number, event) in (1..).zip(&self.event) {
            let place = format!("event {number}");
            for name in event.host.iter().chain(&event.from).chain(&event.to) {
                known(name, &place)?;
            }
            event.check().map_err(|error| Error::wrong(format!("{place}: {error}")))?;
        }
        Ok(())
    }
}

impl Event {
    fn check(&self) -> Result<()> {
        let without_host = matches!(self.action, Action::Block | Action::Partition | Action::Heal);
        if !without_host && self.host.is_none() {
            return Err(Error::wrong(format!("{:?} needs a host; add host = \"...\"", self.action)));
        }
        if self.action == Action::Partition && (self.from.is_empty() || self.to.is_empty()) {
            return Err(Error::wrong("a partition needs from = [...] and to = [...]"));
        }
        if self.action == Action::DeleteAddress && self.address.is_none() {
            return Err(Error::wrong("delete-address needs address = \"...\""));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "duration = \"1.5s\"\nvips = [\"10.0.0.9\"]\n[host.a]\naddress = \"10.0.0.1/24\"\n";

    fn error(more: &str) -> String {
        Scenario::parse(&format!("{SMALL}{more}"), Path::new(".")).expect_err("an error").to_string()
    }

    #[test]
    fn a_small_scenario_is_read() {
        let scenario = Scenario::parse(SMALL, Path::new(".")).expect("it is right");
        assert_eq!(scenario.duration.0, Duration::from_millis(1500));
        assert_eq!(scenario.host["a"].address, ["10.0.0.1/24"]);
        assert_eq!(scenario.segments, ["lan"]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let unknown = error("[[event]]\nat = \"1s\"\naction = \"kil\"\nhost = \"a\"\n");
        assert!(unknown.contains("line 7") && unknown.contains("kil"), "{unknown}");
        let host = error("[[event]]\nat = \"1s\"\naction = \"kill\"\nhost = \"b\"\n");
        assert!(host.contains("event 1 names the host \"b\"; there are: a"), "{host}");
        let time = error("[[event]]\nat = \"soon\"\naction = \"kill\"\nhost = \"a\"\n");
        assert!(time.contains("line 6") && time.contains("10ms, 3.7s or 2m"), "{time}");
        let address = error("[[event]]\nat = \"1s\"\naction = \"delete-address\"\nhost = \"a\"\n");
        assert!(address.contains("needs address"), "{address}");
    }
}
